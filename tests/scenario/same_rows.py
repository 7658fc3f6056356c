#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same load with 1, 2, 3 and 8 leaves, and with batches from 64 bytes (a file of at most 200
rows) to 64 MiB, gives the same rows.

usage: same_rows.py [--build build/dev] [--seed N]"""
import argparse
import os
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import data  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import Cluster, Report  # noqa: E402

LEAVES = (1, 2, 3, 8)
LARGE = ('16KiB', '1MiB', '64MiB')
SMALL = ('64', '100', '1KiB', '64MiB')


def small_source(folder, seed):
    """200 rows in one plain and one gzip file."""
    maker = data.Maker(folder, seed)
    maker.write('plain.csv', maker.rows(120))
    maker.write('packed.csv', data.gzip.compress(maker.rows(80)))


def load(report, build, source, expected, leaves, batch_bytes):
    with Cluster(build) as cluster:
        database = cluster.path('out.db')
        cluster.start_coordinator()
        cluster.start_agent(leaves=leaves)
        cluster.apply(data.spec('same', source, database, batch_bytes))
        began = time.monotonic()
        cluster.start('same')
        checker = Checker(expected, database)
        try:
            pipeline = cluster.wait_end('same', 120, checker.poll)
            problems = checker.check_end() + cluster.broken()
            if pipeline['state'] != 'completed':
                problems.insert(0, f'{pipeline["state"]}: {pipeline.get("reason", "")}')
            batches = pipeline.get('totals', {}).get('batches_loaded', '?')
        except TimeoutError as error:
            problems, batches = [str(error)], '?'
        if problems:
            cluster.show_logs()
        report.case(not problems, f'{leaves} leaves, batches of {batch_bytes}: {expected.total} '
                    f'rows in {batches} batches, {time.monotonic() - began:.1f} s'
                    + ''.join(f'; {problem}' for problem in problems[:3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    args = parser.parse_args()
    print(f'seed {args.seed}')
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-same-', dir='/tmp')
    try:
        large, small = os.path.join(folder, 'large'), os.path.join(folder, 'small')
        data.make(large, args.seed, 0.5)
        small_source(small, args.seed)
        for source, sizes in ((large, LARGE), (small, SMALL)):
            expected = Expected(source, data.COLUMNS)
            for leaves in LEAVES:
                for batch_bytes in sizes:
                    load(report, args.build, source, expected, leaves, batch_bytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
