#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every named failpoint of the code is hit: as a crash (SIGKILL of the process right there), as an
error and as a delay, in a load that must end whole and exact all the same. A failpoint that no load
reaches is a failure: its recovery would be words only. The release build must hold none of them.

usage: failpoints.py [--build build/dev] [--release build/release] [--seed N] [--hits 1]
                     [--twice 0] [--pairs 0] [--dest postgresql|mysql] [NAME ...]

--hits N    also at the 2nd … N-th hit of a process
--twice N   N of the names (from the seed) crash two processes one after the other
--pairs N   N pairs of different places, each as a crash or an error, in the same load
--dest D    a server as the destination; unless named, the places of its driver's load alone"""
import argparse
import http.client
import os
import random
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import data  # noqa: E402
import db_checker  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import ApiError, Cluster, ROOT, Report, skip_all, wait_for  # noqa: E402

# Little memory for rows, so that batches go through segments on disk.
SMALL = ('--budget', '2MiB')
POINT = re.compile(r'PS_FAILPOINT\(\s*"([a-z_.]+)"\s*\)')
ROW = re.compile(r'^\| `([a-z_.]+)` \|', re.M)
DELAY_MS = 300
PROGRAMS = ('penstock', 'penstock-agent', 'penstock-coordinator')


def names():
    found = set()
    for room in ('agent', 'coordinator', 'common', 'proto', 'cli'):
        for where, _, files in os.walk(os.path.join(ROOT, room)):
            for name in files:
                if name.endswith('.c'):
                    with open(os.path.join(where, name), encoding='utf-8') as text:
                        found.update(POINT.findall(text.read()))
    return sorted(found)


def start_coordinator(cluster, points):
    """Until it stays: some places are passed at the start, and may be crashed at twice."""
    for left in (3, 2, 1, 0):
        try:
            cluster.start_coordinator(points)
            return
        except RuntimeError:
            if not left:
                raise


def leaves_for(points):
    """A segment is taken up again by the leaf that has it: one leaf alone is sure to be asked."""
    return 1 if 'stage.on_adopt' in points else 3


def revive(cluster, points):
    """Starts again what has died; an error at start ends a process too."""
    if cluster.coordinator.process.poll() is not None:
        start_coordinator(cluster, points)
    if cluster.agents['a'].process.poll() is not None:
        cluster.start_agent(leaves=leaves_for(points), failpoints=points, wait=False, extra=SMALL)


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


def entry(name, action, hit, marker):
    action = f'delay:{DELAY_MS}' if action == 'delay' else action
    return f'{name}@{hit}={action}:{marker}'


def one(report, build, source, expected, wanted, server=None):
    """One load with the entries wanted: (name, action, hit). server: where into, else a SQLite file."""
    with Cluster(build) as cluster:
        markers = [cluster.path(f'hit-{i}') for i in range(len(wanted))]
        points = ';'.join(entry(*point, marker) for point, marker in zip(wanted, markers))
        if 'stage.on_adopt' in points:  # there must be something to adopt
            points += ';' + entry('stage.after_rename', 'crash', 1, cluster.path('hit-before'))
        database = cluster.path('out.db')
        if server:
            db_checker.wipe(server)
        checker = db_checker.ServerChecker(expected, server) if server else Checker(expected, database)
        start_coordinator(cluster, points)
        cluster.start_agent(leaves=leaves_for(points), failpoints=points, wait=False, extra=SMALL)
        # Larger than that memory where something is to be staged on disk, small ones for all else.
        spec = data.spec('points', source, database,
                         '512KiB' if any(name.startswith('stage.') for name, _, _ in wanted)
                         else '64KiB')
        if server:
            spec['destination']['url'] = server.url()
        spec['columns'] = {'unknown': 'add', 'list': spec['columns']}
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
        for (name, action, hit), marker in zip(wanted, markers):
            # Some places are passed once only; and a crash may keep others from being passed.
            if hit == 1 and not os.path.exists(marker) and marker == markers[0]:
                problems.append(f'{name} was not hit')
        if problems:
            cluster.show_logs(40)
        text = ', '.join(f'{name} {action} at hit {hit}' for name, action, hit in wanted)
        report.case(not problems, f'{text}: {time.monotonic() - began:.1f} s'
                    + ''.join(f'; {problem}' for problem in problems[:3]))


def check_names(report):
    """Code and page name the same places."""
    with open(os.path.join(ROOT, 'docs/RECOVERY.md'), encoding='utf-8') as page:
        rows = set(ROW.findall(page.read()))
    report.case(rows == set(names()), f'{len(rows)} rows of docs/RECOVERY.md, '
                f'{len(names())} failpoints' + ''.join(
                    f'; {name} is in one only' for name in sorted(rows ^ set(names()))))


def check_release(report, build):
    """What people run has neither the names nor the switch."""
    words = ['PENSTOCK_FAILPOINTS', 'PENSTOCK_FAIL_ALLOC', *names()]
    found = []
    for program in PROGRAMS:
        with open(os.path.join(ROOT, build, 'bin', program), 'rb') as binary:
            data = binary.read()
        found += [f'{program}: {word}' for word in words if word.encode() in data]
    report.case(not found, f'the release build holds no failpoint{": " if found else ""}'
                + ', '.join(found[:5]))


def plans(args, rng):
    """Every load's entries."""
    # A load passes none of a replay's: replay.py hits those.
    chosen = args.name or [name for name in names() if name.startswith('dest.') or
                           (args.dest == 'sqlite' and not name.startswith('replay.'))]
    for name in chosen:
        for action in ('crash', 'error', 'delay'):
            for hit in range(1, args.hits + 1):
                yield [(name, action, hit)]
    for name in rng.sample(chosen, min(args.twice, len(chosen))):
        yield [(name, 'crash', 1), (name, 'crash', 1)]
    pairs = [(a, b) for a in chosen for b in chosen if a != b]
    for pair in rng.sample(pairs, min(args.pairs, len(pairs))):
        yield [(name, rng.choice(('crash', 'error')), 1) for name in pair]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('--release', help='look for failpoints in this build')
    parser.add_argument('--hits', type=int, default=1)
    parser.add_argument('--twice', type=int, default=0)
    parser.add_argument('--pairs', type=int, default=0)
    parser.add_argument('--dest', choices=('sqlite', 'postgresql', 'mysql'), default='sqlite')
    parser.add_argument('name', nargs='*')
    args = parser.parse_args()
    why = db_checker.lacks(args.dest)
    if why:
        return skip_all(why)
    print(f'seed {args.seed}', flush=True)
    report = Report()
    with db_checker.place(args.dest, 'pk-points-') as (server, folder):
        source = os.path.join(folder, 'source')
        # All places want a batch that is staged on disk; those of a server's load do not.
        data.make(source, args.seed, 0.05 if server else 0.3)
        maker = data.beside(source, args.seed)
        maker.write('huge.csv', maker.rows(3000 if server else 60000))
        # One with a column that the table gets when it comes (leaf.after_alter).
        first = maker.next_id
        maker.next_id += 50
        names = [name for name, _ in data.COLUMNS]
        maker.write('zz-later.csv', '\n'.join(
            [','.join([*names, 'later'])] +
            [f'{first + i},,,name {i},code,note,{i}' for i in range(50)] + ['']).encode())
        expected = Expected(source, data.COLUMNS)
        if not server:
            check_names(report)
        if args.release:
            check_release(report, args.release)
        for wanted in plans(args, random.Random(args.seed)):
            one(report, args.build, source, expected, wanted, server)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
