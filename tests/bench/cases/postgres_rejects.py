# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL: what rows cost that only the server can refuse, beside our own load of clean files into the same table."""
import os
import sys

from cases.postgres import DDL, SETTINGS
from harness import ROOT, Side, Skip, case

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))
from datasets import Files  # noqa: E402
from pg_server import PgServer, find_bin  # noqa: E402

# Whose rows are refused: the server says which one it is, or only that there is one.
CHECK = "ALTER TABLE t ADD CHECK (mode <> 'BAD')"
REFERENCE = ("CREATE TABLE modes(mode text PRIMARY KEY); INSERT INTO modes VALUES ('AIR'), ('FOB'), ('MAIL'), ('RAIL'), ('REG AIR'),"
             " ('SHIP'), ('TRUCK'); ALTER TABLE t ADD FOREIGN KEY (mode) REFERENCES modes")
MODE = 14  # field of a line


def spoil(data, plain, every):
    """The same files with one line in so many spoilt; 0: one in the middle of all."""
    def fill(part):
        for number, path in enumerate(plain.paths):
            with open(path, 'rb') as source, open(os.path.join(part, os.path.basename(path)), 'wb') as out:
                lines = source.readlines()
                # A step that is no multiple of anything in the data, and starts elsewhere in each file.
                bad = range(1 + number * 7, len(lines), every) if every else [len(lines) // 2] if number == 0 else []
                for at in bad:
                    fields = lines[at].rstrip(b'\n').split(b',')
                    fields[MODE] = b'BAD'
                    lines[at] = b','.join(fields) + b'\n'
                out.writelines(lines)
    return Files(data.make(f'bad-{len(plain.paths)}-{every}', fill), plain.suffix)


def load(bench, server, files, constraint, *more):
    server.sql('DROP TABLE IF EXISTS t, t_rejects, modes, _penstock_fence, _penstock_ledger, _penstock_ledger_range CASCADE;' + DDL)
    server.sql(constraint)
    server.sql('CHECKPOINT', user='admin')
    run = bench.load(files.glob, server.url(), *more, leaves=1, ends=(0, 3))
    run.rows = int(server.value('SELECT count(*) FROM t'))
    run.bad = int(server.value('SELECT count(*) FROM t_rejects'))
    return run


def compare(bench, constraint, every, least, *more):
    if find_bin() is None:
        raise Skip('there is no PostgreSQL server (package postgresql)')
    plain = bench.data.csv(bench.objects)
    spoilt = spoil(bench.data, plain, every)
    server = PgServer(SETTINGS).start()
    rows = {}

    def side(name, files, wanted_bad):
        def run():
            done = load(bench, server, files, constraint, *more)
            rows.setdefault('all', done.rows + done.bad)
            if done.rows + done.bad != rows['all'] or (done.bad > 0) != wanted_bad:
                bench.miss(f'{name}: {done.rows} rows and {done.bad} rejects of {rows["all"]}')
            return done
        return run
    try:
        what = f'1 bad in {every}' if every else '1 bad'
        bench.compare(Side(what, side(what, spoilt, True)), [Side('clean', side('clean', plain, False), least)], plain.raw_bytes)
    finally:
        server.close()


@case('postgres_bad_one', objects=8)
def bad_one(bench):
    """One row in a million that a CHECK refuses, beside a clean load: below 2x its time."""
    compare(bench, CHECK, 0, 0.5)


@case('postgres_bad_reference', objects=8)
def bad_reference(bench):
    """One row in a million that a foreign key refuses, beside a clean load: below 2x its time."""
    compare(bench, REFERENCE, 0, 0.5)


@case('postgres_bad_percent', objects=4)
def bad_percent(bench):
    """1 % of the rows refused by a CHECK, beside a clean load: below 10x its time."""
    compare(bench, CHECK, 101, 0.1)


@case('postgres_bad_percent_reference', objects=4)
def bad_percent_reference(bench):
    """1 % of the rows refused by a foreign key, beside a clean load: below 10x its time."""
    compare(bench, REFERENCE, 101, 0.1)


@case('postgres_bad_percent_skip', objects=4)
def bad_percent_skip(bench):
    """1 % of the rows refused by a CHECK behind a staging table, beside a clean load: below 10x its time."""
    compare(bench, CHECK, 101, 0.1, '--set', 'destination.on_conflict=skip')
