# SPDX-License-Identifier: Apache-2.0
"""NDJSON into SQLite, and decoding alone."""
import peers
from harness import Gate, Side, case
from cases.load_sqlite import into_sqlite
from cases.parse import decode_figure


@case('ndjson', objects=16)
def ndjson(bench):
    """NDJSON files into one SQLite file, against sqlite3 .import and ->>."""
    bench.needs('format.type=ndjson', 'NDJSON')
    files = bench.data.ndjson(bench.objects)
    bench.compare(Side('penstock', lambda: into_sqlite(bench, files.glob)),
                  [Side('sqlite3 .import ->>',
                        lambda: peers.sqlite_import_ndjson(bench, files.paths), 5.0)],
                  files.raw_bytes, Gate(cpu_a_gb=9.0))


def counted(run, rows):
    run.result = int(rows)
    return run


def into_sqlite_counted(bench, source):
    run = into_sqlite(bench, source)
    return counted(run, run.result[0])


def duckdb_table(bench, paths):
    run = peers.duckdb(bench, 'ndtable', paths)
    return counted(run, run.output)


@case('ndjson-duckdb', objects=16)
def ndjson_duckdb(bench):
    """NDJSON files into one SQLite file, against DuckDB into its own table."""
    bench.needs('format.type=ndjson', 'NDJSON')
    peers.duckdb_home(not bench.args.no_gate)
    files = bench.data.ndjson(bench.objects)
    bench.compare(Side('penstock', lambda: into_sqlite_counted(bench, files.glob)),
                  [Side('DuckDB', lambda: duckdb_table(bench, files.paths), 2.0)],
                  files.raw_bytes)


@case('ndjson-decode', objects=8)
def ndjson_decode(bench):
    """NDJSON to typed blocks inside one thread (decode_bench), MB a CPU second; aim 800."""
    bench.needs('format.type=ndjson', 'NDJSON')
    files = bench.data.ndjson(bench.objects)
    bench.figure('NDJSON', decode_figure(bench, files, '--set', 'format.type=ndjson'), 'MB/CPU-s',
                 least=400)
