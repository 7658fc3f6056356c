# SPDX-License-Identifier: Apache-2.0
"""The other programs, and how a loaded table is compared."""
import os
import shutil
import sqlite3
import subprocess

from harness import HERE, Skip, remove, timed

DUCKDB = '@duckdb/node-api@1.5.6-r.1'
SUMS = ('SELECT count(*), sum(order_id), sum(part_id), sum(CAST(round(price * 100) AS INTEGER)), '
        'sum(length(comment)), count(DISTINCT shipped) FROM t')
COLUMNS = ['order_id', 'part_id', 'supplier_id', 'line', 'quantity', 'price', 'discount', 'tax',
           'returned', 'status', 'shipped', 'committed', 'received', 'instruction', 'mode', 'comment']


def ddl():
    with open(os.path.join(HERE, 'bench_sqlite.sql'), encoding='utf-8') as text:
        return text.read()


def sums(database):
    """Empty fields are '' there and NULL here: the sums do not see the difference."""
    with sqlite3.connect(database) as table:
        return table.execute(SUMS).fetchone()


def sqlite_import(bench, paths, one_commit=False):
    """sqlite3's own .import, defaults, one process, one file. Each import commits by itself, which
    thousands of small files make a bench of the disk: then all of them in one transaction."""
    out = bench.path('peer.db')
    remove(out)
    script = '.mode csv\n' + ddl() + ('BEGIN;\n' if one_commit else '')
    for path in paths:
        source = f"'|gzip -dc {path}'" if path.endswith('.gz') else f"'{path}'"
        script += f'.import --skip 1 {source} t\n'
    run = timed(['sqlite3', out], script + ('COMMIT;\n' if one_commit else ''))
    run.result = sums(out)
    return run


def sqlite_import_ndjson(bench, paths):
    """The shell's way: whole lines by .import, then ->> a column."""
    out = bench.path('peer.db')
    remove(out)
    fields = ', '.join(f"d->>'{name}'" for name in COLUMNS)
    script = 'PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;\n' + ddl()
    script += 'CREATE TEMP TABLE j(d);\n.mode list\n.separator "\\001" "\\n"\n'
    for path in paths:
        script += f'.import {path} j\n'
    run = timed(['sqlite3', out], script + f'INSERT INTO t SELECT {fields} FROM j;\n')
    run.result = sums(out)
    return run


def duckdb_home(install):
    """The folder where DuckDB's node package stands, outside this repository."""
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    folder = os.path.join(cache, 'penstock-bench')
    if os.path.isdir(os.path.join(folder, 'node_modules/@duckdb/node-api')):
        return folder
    if not shutil.which('node') or not shutil.which('npm'):
        raise Skip('DuckDB needs node and npm')
    if not install:
        raise Skip('DuckDB is installed by the gates only (./dev bench)')
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(['npm', 'install', '--prefix', folder, '--no-audit', '--no-fund', DUCKDB],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Skip(f'npm cannot install {DUCKDB}: {done.stdout.strip().splitlines()[-1:]}')
    return folder


def duckdb(bench, mode, paths, threads=2):
    """mode: see duck.mjs. Node's start is in the figure; it is 0.2 s."""
    home = duckdb_home(not bench.args.no_gate)
    out = bench.path('peer.duckdb')
    remove(out, out + '.wal')
    return timed(['node', os.path.join(HERE, 'duck.mjs'), mode, str(threads), out, *paths], cwd=home)
