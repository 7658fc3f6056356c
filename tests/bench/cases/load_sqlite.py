# SPDX-License-Identifier: Apache-2.0
"""Files into one SQLite file."""
import peers
from harness import Gate, Side, case, remove


def into_sqlite(bench, source, **more):
    """Ours: everything into table t of a new file."""
    out = bench.path('ours.db')
    remove(out)
    run = bench.load(source, f'sqlite:{out}', **more)
    run.result = peers.sums(out)
    return run


@case('csv', objects=32)
def csv(bench):
    """CSV files into one SQLite file, against sqlite3 .import."""
    files = bench.data.csv(bench.objects)
    bench.compare(Side('penstock', lambda: into_sqlite(bench, files.glob)),
                  [Side('sqlite3 .import', lambda: peers.sqlite_import(bench, files.paths), 3.0)],
                  files.raw_bytes, Gate(cpu_a_gb=9.0))


@case('gzip', objects=32)
def gzip(bench):
    """csv.gz files into one SQLite file, against sqlite3 .import of gzip -dc."""
    files = bench.data.csv_gz(bench.objects)
    bench.compare(Side('penstock', lambda: into_sqlite(bench, files.glob)),
                  [Side('sqlite3 .import', lambda: peers.sqlite_import(bench, files.paths), 3.0)],
                  files.raw_bytes, Gate(cpu_a_gb=9.0))
