# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL: ours, with ledger and tracking, beside psql's \\copy over the same files and settings."""
import os
import sys

from harness import ROOT, Gate, Side, Skip, case, timed

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))
from pg_server import PgServer, find_bin  # noqa: E402

SETTINGS = ('shared_buffers=2GB', 'max_wal_size=8GB', 'wal_level=replica')
DDL = ('CREATE TABLE t(order_id int, part_id int, supplier_id int, line int, quantity int, price numeric(12,2),'
       ' discount numeric(12,2), tax numeric(12,2), returned text, status text, shipped date, committed date,'
       ' received date, instruction text, mode text, comment text)')
# An empty field is NULL on both sides.
SUMS = ('SELECT count(*), sum(order_id), sum(part_id), sum(price), sum(length(comment)),'
        ' count(DISTINCT shipped) FROM t')


def fresh(server):
    server.sql('DROP TABLE IF EXISTS t, t_rejects, _penstock_fence, _penstock_ledger, _penstock_ledger_range;' + DDL
               + '; CHECKPOINT', user='admin')
    server.sql('ALTER TABLE t OWNER TO loader', user='admin')


def ours(bench, server, files, leaves):
    fresh(server)
    run = bench.load(files.glob, server.url(), leaves=leaves)
    run.result = server.sql(SUMS)
    return run


def psql(bench, server, files, processes):
    """One \\copy a file, each its own transaction, by xargs -P."""
    fresh(server)
    command = (f"printf '%s\\n' {files.folder}/*{files.suffix} | xargs -P{processes} -I@ "
               f"{server.bin}/psql -X -q -h {server.folder} -p {server.port} -U loader air "
               "-c \"\\copy t FROM '@' (FORMAT csv, HEADER)\"")
    run = timed(['sh', '-c', command])
    run.result = server.sql(SUMS)
    return run


def compare(bench, leaves, processes, least):
    if find_bin() is None:
        raise Skip('there is no PostgreSQL server (package postgresql)')
    files = bench.data.csv(bench.objects)
    server = PgServer(SETTINGS).start()
    try:
        bench.compare(Side('penstock', lambda: ours(bench, server, files, leaves)),
                      [Side(f'psql \\copy -P{processes}', lambda: psql(bench, server, files, processes), least)],
                      files.raw_bytes, Gate(cpu_a_gb=4.5))
    finally:
        server.close()


@case('postgres', objects=8)
def two_connections(bench):
    """CSV -> PostgreSQL over 2 leaves, beside psql \\copy by xargs -P2"""
    compare(bench, 2, 2, 0.9)


@case('postgres_one', objects=4)
def one_connection(bench):
    """CSV -> PostgreSQL with one leaf, beside one psql"""
    compare(bench, 1, 1, 1.2)
