# SPDX-License-Identifier: Apache-2.0
"""Many small objects."""
import peers
from harness import Gate, Side, case
from cases.load_sqlite import into_sqlite

FILES = 10000
FILE_BYTES = 4096


def small_files(bench):
    return bench.data.csv(max(100, round(FILES * bench.scale)), FILE_BYTES)


@case('small', objects=64)
def small(bench):
    """10,000 CSV files of 4 KiB into one SQLite file, against sqlite3 .import of each, one commit."""
    files = small_files(bench)
    bench.compare(Side('penstock', lambda: into_sqlite(bench, files.glob)),
                  [Side('sqlite3 .import', lambda: peers.sqlite_import(bench, files.paths, True))],
                  files.raw_bytes, Gate(count_a_second=5000), count=len(files.paths))
