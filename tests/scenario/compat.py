#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an older version left behind is understood: catalog, ledger, ranges and resume tokens.

usage: compat.py --build build/dev
       compat.py --build build/dev --make 0.1.0      # once a version, before it is tagged

A fixture (tests/golden/compat/VERSION) is an interrupted load as text: the SQL dumps of catalog and
destination, and the input files with their times. Keys are absolute paths, so the input is laid out
where it stood, below /tmp/penstock-compat-VERSION. Two loads follow: one with the old catalog, one
without it; both must end with every row of the input once, and load nothing that was there."""
import argparse
import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, 'tests/golden/compat')
MTIME_NS = 1_700_000_000_123_456_789
ROWS = 400
LOAD = ['--into', 'sqlite:out.db', '--table', 't', '--name', 'golden', '--state', 'state', '--leaves', '2',
        '--set', 'limits.batch_bytes=128']
CATALOG = 'state/coordinator/catalog.db'


def place(version):
    return f'/tmp/penstock-compat-{version}'


def dump(path):
    """A database as SQL text, with what .dump leaves out."""
    text = subprocess.run(['sqlite3', path, '.dump'], check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    pragmas = ''
    for name in ('user_version', 'application_id'):
        value = subprocess.run(['sqlite3', path, f'PRAGMA {name}'], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.strip()
        pragmas += f'PRAGMA {name}={value};\n'
    return pragmas + text


def restore(sql, path):
    for end in ('', '-wal', '-shm', '-journal'):
        if os.path.exists(path + end):
            os.unlink(path + end)
    with open(sql, encoding='utf-8') as text:
        subprocess.run(['sqlite3', path], check=True, stdin=text)
    os.chmod(path, 0o600)


def write_input(folder):
    """Three small files: quoted newlines, a text column that looks like numbers, an empty field."""
    os.makedirs(folder)
    for name in ('a', 'b', 'c'):
        with open(os.path.join(folder, name + '.csv'), 'w', encoding='utf-8', newline='') as file:
            rows = csv.writer(file, lineterminator='\n')
            rows.writerow(['id', 'code', 'amount', 'note'])
            for i in range(ROWS):
                rows.writerow([f'{i}', f'{name}{i:05}', f'{i}.25', f'note\n"{i}"' if i % 7 == 0 else ''])


def lay_out(folder):
    for name in os.listdir(folder):
        os.utime(os.path.join(folder, name), ns=(MTIME_NS, MTIME_NS))


def source_rows(folder):
    rows = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding='utf-8', newline='') as file:
            rows += [(int(r[0]), r[1], float(r[2]), r[3] or None) for r in list(csv.reader(file))[1:]]
    return sorted(rows, key=repr)


def table_rows(path):
    with sqlite3.connect(path) as db:
        return sorted(db.execute('SELECT id, code, amount, note FROM t').fetchall(), key=repr)


def penstock(build):
    return os.path.join(ROOT, build, 'bin/penstock')


def load(build):
    return subprocess.run([penstock(build), 'load', 'in/*.csv', *LOAD], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)


def make(build, version):
    here = place(version)
    shutil.rmtree(here, ignore_errors=True)
    os.makedirs(here)
    os.chdir(here)
    write_input('in')
    lay_out('in')
    child = subprocess.Popen([penstock(build), 'load', 'in/*.csv', *LOAD], start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            done = len(table_rows('out.db'))
        except sqlite3.Error:
            done = 0
        if ROWS <= done < 2 * ROWS:
            break
        time.sleep(0.002)
    child.send_signal(signal.SIGINT)
    if child.wait(timeout=60) != 10:
        raise SystemExit('the load was not interrupted: try again')
    target = os.path.join(GOLDEN, version)
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    for name, path in (('catalog.sql', CATALOG), ('destination.sql', 'out.db')):
        with open(os.path.join(target, name), 'w', encoding='utf-8') as file:
            file.write(dump(path))
    shutil.copytree('in', os.path.join(target, 'in'))
    print(f'{target}: {len(table_rows("out.db"))} of {3 * ROWS} rows')


def check(build, version, with_catalog):
    here = place(version)
    fixture = os.path.join(GOLDEN, version)
    shutil.rmtree(here, ignore_errors=True)
    os.makedirs(os.path.join(here, 'state/coordinator'), mode=0o700)
    os.chdir(here)
    shutil.copytree(os.path.join(fixture, 'in'), 'in')
    lay_out('in')
    restore(os.path.join(fixture, 'destination.sql'), 'out.db')
    if with_catalog:
        restore(os.path.join(fixture, 'catalog.sql'), CATALOG)
    else:
        shutil.rmtree('state')
    before = len(table_rows('out.db'))
    done = load(build)
    rows = table_rows('out.db')
    good = done.returncode == 0 and rows == source_rows('in') and 0 < before < len(rows)
    what = 'its catalog' if with_catalog else 'its ledger alone'
    print(f'{"ok  " if good else "FAIL"} {version} with {what}: {before} rows before, {len(rows)} after')
    if not good:
        print(done.stdout)
    os.chdir('/')
    shutil.rmtree(here, ignore_errors=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', required=True)
    parser.add_argument('--make', metavar='VERSION')
    args = parser.parse_args()
    if args.make:
        make(args.build, args.make)
        return 0
    results = [check(args.build, version, with_catalog) for version in sorted(os.listdir(GOLDEN))
               for with_catalog in (True, False)]
    print(f'{sum(results)} passed, {len(results) - sum(results)} failed')
    return 0 if results and all(results) else 1


if __name__ == '__main__':
    sys.exit(main())
