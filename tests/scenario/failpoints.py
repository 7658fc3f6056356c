#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every named failpoint of the code is hit: once as a crash (SIGKILL of the process right there), once
as an error, in a load that must end whole and exact all the same. A failpoint that no load reaches
is a failure: its recovery would be words only.

usage: failpoints.py [--build build/dev] [--seed N] [--times 1] [NAME ...]"""
import argparse
import http.client
import os
import random
import re
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import data  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import ROOT, ApiError, Cluster, Report, wait_for  # noqa: E402

# Little memory for rows, so that batches go through segments on disk.
SMALL = ('--budget', '2MiB')
POINT = re.compile(r'PS_FAILPOINT\("([a-z_.]+)"\)')


def names():
    found = set()
    for room in ('agent', 'coordinator', 'common', 'proto', 'cli'):
        for where, _, files in os.walk(os.path.join(ROOT, room)):
            for name in files:
                if name.endswith('.c'):
                    with open(os.path.join(where, name), encoding='utf-8') as text:
                        found.update(POINT.findall(text.read()))
    return sorted(found)


def revive(cluster, points):
    """Starts again what has died; an error at start ends a process too."""
    if cluster.coordinator.process.poll() is not None:
        try:
            cluster.start_coordinator(points)
        except RuntimeError:
            cluster.start_coordinator(points)
    if cluster.agents['a'].process.poll() is not None:
        cluster.start_agent(leaves=3, failpoints=points, wait=False, extra=SMALL)


def persist(cluster, points, method, path, body=None):
    """A call that outlives the coordinator's ends."""
    def once():
        revive(cluster, points)
        try:
            return cluster.call(method, path, body)
        except (OSError, http.client.HTTPException):
            return None
        except ApiError as error:
            if error.status < 500:
                raise
            return None
    return wait_for(f'{method} {path}', 20, once, 0.05)


def one(report, build, source, expected, name, action, hit):
    with Cluster(build) as cluster:
        marker = cluster.path('hit')
        points = f'{name}@{hit}={action}:{marker}'
        database = cluster.path('out.db')
        checker = Checker(expected, database)
        try:
            cluster.start_coordinator(points)
        except RuntimeError:
            cluster.start_coordinator(points)
        cluster.start_agent(leaves=3, failpoints=points, wait=False, extra=SMALL)
        # Batches larger than that memory for what is staged on disk, small ones for all else.
        spec = data.spec('points', source, database,
                         '4MiB' if name.startswith('stage.') else '64KiB')
        began = time.monotonic()
        problems = []
        try:
            persist(cluster, points, 'PUT', '/v1/pipelines/points', spec)
            persist(cluster, points, 'POST', '/v1/pipelines/points:start')

            def ended():
                checker.poll()
                state = persist(cluster, points, 'GET', '/v1/pipelines/points')['state']
                return state if state in ('completed', 'stalled', 'failed', 'stopped') else None
            state = wait_for('the load to end', 60, ended, 0.05)
            if state != 'completed':
                problems.append(f'{state}: {cluster.pipeline("points").get("reason", "")}')
        except (TimeoutError, ApiError) as error:
            problems.append(str(error))
        problems += checker.check_end() + cluster.broken()
        if hit == 1 and not os.path.exists(marker):  # some places are passed once only
            problems.append('it was not hit')
        if problems:
            cluster.show_logs(40)
        report.case(not problems, f'{name} {action} at hit {hit}: {time.monotonic() - began:.1f} s'
                    + ''.join(f'; {problem}' for problem in problems[:3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('--times', type=int, default=1, help='hits 1 to N, one load each')
    parser.add_argument('name', nargs='*')
    args = parser.parse_args()
    print(f'seed {args.seed}', flush=True)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-points-', dir='/tmp')
    try:
        source = os.path.join(folder, 'source')
        data.make(source, args.seed, 0.3)
        maker = data.Maker(os.path.join(source, 'more'), args.seed + 1)
        maker.next_id = 10**7
        maker.write('huge.csv', maker.rows(60000))
        expected = Expected(source, data.COLUMNS)
        for name in args.name or names():
            for action in ('crash', 'error'):
                for hit in range(1, args.times + 1):
                    one(report, args.build, source, expected, name, action, hit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
