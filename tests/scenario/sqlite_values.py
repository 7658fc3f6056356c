#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Edge values into SQLite columns of every declared type: what we load stands there, type and all, as
when the sqlite3 shell had imported the same file; and a value that the column would change (the shell
stores it all the same) is refused with its reason.

usage: sqlite_values.py [--build build/dev]"""
import argparse
import csv
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from cluster import Report  # noqa: E402
from loads import Loads  # noqa: E402

INTEGERS = ['0', '-0', '-1', '007', '+5', '9223372036854775807', '-9223372036854775808', '9223372036854775808', '1.0',
            '1e3', '12abc', ' 12', '0x10', 'x', '']
REALS = ['0.1', '-0.0', '-0', '1e308', '5e-324', '2.2250738585072014e-308', '1.7976931348623157e308', '1e309', '-1e309',
         'NaN', 'Infinity', '-inf', '0.30000000000000004', '123456789012345678', '3', '1.50', '.5', '5.', 'one', '']
DECIMALS = ['12345678901234567890123456789012345678', '-99999999999999999999999999999999999999',
            '0.00000000000000000000000000000000000001', '1.5', '1.50', '0.1', '100', '1e10', '-0.00', '12a', '']
STAMPS = ['2024-02-29', '0001-01-01', '9999-12-31', '0044-03-15 BC', '2016-12-31 23:59:60', '2024-01-02T03:04:05.123456Z',
          '20240102', '2024', '2023-02-29', '24:00:00', 'infinity', '']
TEXTS = ['', 'plain', "it's", 'a\\b', 'tab\there', 'line\nbreak', 'cr\r\nlf', '😀 𝔸', '\\N', 'NULL', ' 12 ', '007', '1e3',
         '12345678901234567890', '\x01\x7f', 'x' * 1048576, '"', '""', ',', "x'00'", '\ufeffbom', '\uffff']
# Declared type -> values. A type named after '!' is of a STRICT table.
VALUES = {
    'INTEGER': INTEGERS, 'BIGINT': INTEGERS, 'INTEGER PRIMARY KEY': ['1', '9223372036854775807', '-5', '1.0', '007', 'x'],
    'BOOLEAN': ['0', '1', 'true', 'FALSE', 'maybe'],
    'REAL': REALS, 'DOUBLE PRECISION': REALS, 'FLOAT': REALS,
    'NUMERIC': DECIMALS + REALS, 'DECIMAL(38,10)': DECIMALS,
    'DATE': STAMPS, 'DATETIME': STAMPS, 'TIMESTAMP': STAMPS, 'TIME': STAMPS,
    'TEXT': TEXTS, 'VARCHAR(5)': TEXTS, 'CLOB': TEXTS, 'JSON': TEXTS,
    '': TEXTS + INTEGERS, 'BLOB': TEXTS + INTEGERS,
    '!INTEGER': INTEGERS, '!REAL': REALS, '!TEXT': TEXTS, '!ANY': TEXTS + INTEGERS,
}


class Story(Loads):
    def __init__(self, args, folder, report):
        super().__init__(args.build, folder, None)
        self.report = report

    def make(self, name, kind):
        path = os.path.join(self.folder, name)
        strict = ' STRICT' if kind.startswith('!') else ''
        with sqlite3.connect(path) as database:
            database.execute(f'CREATE TABLE t(n INTEGER, v {kind.lstrip("!")}){strict}')
        return path

    @staticmethod
    def read(path):
        """n -> (type, what it is as a literal, whether it reads back as the text that was given)."""
        with sqlite3.connect(path) as database:
            return {n: (kind, text) for n, kind, text in database.execute('SELECT n, typeof(v), quote(v) FROM t')}

    def by_shell(self, name, kind, values):
        """Each value by a file of its own: the shell goes on after a row that is refused, but not always."""
        path = self.make(name, kind)
        rows = os.path.join(self.folder, 'rows.csv')
        with open(rows, 'w', newline='', encoding='utf-8') as out:
            csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator='\n').writerows(enumerate(values))
        subprocess.run(['sqlite3', '-cmd', '.mode csv', path, f'.import {rows} t'], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=120, check=False)
        found = self.read(path)
        with sqlite3.connect(path) as database:
            same = {n for n, text in database.execute('SELECT n, CAST(v AS TEXT) FROM t') if text == values[n]}
        return found, same

    def type(self, number, kind, values):
        shell, same = self.by_shell(f'shell{number}.db', kind, values)
        path = self.make(f'ours{number}.db', kind)
        done = self.load(list(enumerate(values)), ['n', 'v'], 't', '--set',
                         'columns=[{name: n, type: bigint}, {name: v, type: text}]', url=f'sqlite:{path}')
        if done.returncode not in (0, 3):
            self.report.case(False, f'{kind}: load ended with {done.returncode}: {done.stderr[-400:]}')
            return
        ours = self.read(path)
        with sqlite3.connect(path) as database:
            rejects = database.execute('SELECT count(*), count(DISTINCT line) FROM t_rejects').fetchone()
        wrong = []
        for n, value in enumerate(values):
            if n in ours and ours[n] != shell.get(n):
                wrong.append(f'{value[:40]!r}: {ours[n]}, by the shell {shell.get(n)}'[:200])
            if n not in ours and n in same:
                wrong.append(f'{value[:40]!r}: refused, though it reads back as it is')
        if rejects != (len(values) - len(ours),) * 2:
            wrong.append(f'{rejects} rejects of {len(values) - len(ours)} refused')
        self.report.case(not wrong and ours, f'{kind or "(none)"}: {len(values)} values, {len(ours)} as the shell writes '
                         f'them, {len(values) - len(ours)} refused' + ''.join(f'; {w}' for w in wrong[:5]))

    def nulls(self):
        """NULL is an unquoted empty field, whatever the column."""
        rows = os.path.join(self.folder, 'nulls.csv')
        with open(rows, 'w', encoding='ascii') as out:
            out.write('n,v\n1,\n2,""\n3,x\n')
        path = os.path.join(self.folder, 'nulls.db')
        subprocess.run([self.penstock, 'load', rows, '--into', f'sqlite:{path}', '--table', 't', '--state',
                        os.path.join(self.folder, 'nulls')], capture_output=True, timeout=120, check=True)
        found = self.read(path)
        self.report.case(found == {1: ('null', 'NULL'), 2: ('text', "''"), 3: ('text', "'x'")}, f'NULL and empty: {found}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    args = parser.parse_args()
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-values-', dir='/tmp')
    try:
        story = Story(args, folder, report)
        for number, (kind, values) in enumerate(VALUES.items()):
            story.type(number, kind, values)
        story.nulls()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
