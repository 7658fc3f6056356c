# SPDX-License-Identifier: Apache-2.0
"""One large object, taken by several leaves as ranges."""
import os

from datasets import OBJECT_BYTES
from harness import Side, case
from cases.load_sqlite import into_sqlite


@case('split', objects=64)
def split(bench):
    """One CSV of 1 GiB on 2 leaves, against the same rows in 64 files."""
    whole = bench.data.csv(1, bench.objects * OBJECT_BYTES)
    parts = bench.data.cut('csv', whole.paths[0], bench.objects)
    bench.compare(Side('one object', lambda: into_sqlite(bench, whole.paths[0])),
                  [Side(f'{len(parts.paths)} objects', lambda: into_sqlite(bench, parts.glob), 0.85)],
                  os.path.getsize(whole.paths[0]))
