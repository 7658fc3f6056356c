#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The state folders (coordinator and agent) are deleted: between two runs, after a kill in mid-load,
and while more objects have come. The next run adopts the destination's fence and ledger and loads
nothing twice.

usage: state_deleted.py [--build build/dev] [--seed N]"""
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
from cluster import Cluster, Report, wait_for  # noqa: E402

SLOW = 'leaf.after_seal=delay:40;leaf.before_done=delay:40'


def begin(cluster, source, failpoints=''):
    cluster.start_coordinator()
    cluster.start_agent(failpoints=failpoints)
    cluster.apply(data.spec('adopt', source, cluster.path('out.db'), '32KiB'))
    cluster.start('adopt')


def end_processes(cluster, hard):
    for daemon in (*cluster.agents.values(), cluster.coordinator):
        if hard:
            daemon.kill()
        else:
            daemon.stop()


def delete_state(cluster):
    for name in os.listdir(cluster.folder):
        path = cluster.path(name)
        if os.path.isdir(path):
            shutil.rmtree(path)


def finish(cluster, checker, report, text):
    pipeline = cluster.wait_end('adopt', 60, checker.poll)
    problems = checker.check_end() + cluster.broken()
    if pipeline['state'] != 'completed':
        problems.insert(0, f'{pipeline["state"]}: {pipeline.get("reason", "")}')
    if problems:
        cluster.show_logs()
    report.case(not problems, text + ''.join(f'; {problem}' for problem in problems[:3]))
    return pipeline


def between_two_runs(build, source, expected, report):
    with Cluster(build) as cluster:
        checker = Checker(expected, cluster.path('out.db'))
        begin(cluster, source)
        finish(cluster, checker, report, 'first run loads all')
        end_processes(cluster, hard=False)
        delete_state(cluster)
        checker.reset()
        begin(cluster, source)
        finish(cluster, checker, report, 'second run without state loads nothing twice')


def after_a_kill(build, source, expected, report, rng, times):
    with Cluster(build) as cluster:
        checker = Checker(expected, cluster.path('out.db'))
        loaded = []
        for turn in range(times):
            begin(cluster, source, SLOW)
            # A share of the whole, so that a turn which went further than it should leaves the next one
            # something to wait for.
            goal = max(1, expected.total * (turn + 1) // (times + 2))
            wait_for('some rows', 30, lambda: (checker.poll(), (checker.count() or 0) >= goal)[1])
            time.sleep(rng.uniform(0, 0.1))
            end_processes(cluster, hard=True)
            delete_state(cluster)
            loaded.append(checker.count())
        begin(cluster, source)
        finish(cluster, checker, report,
               f'state deleted after {times} kills, at {loaded} of {expected.total} rows')


def with_more_objects(build, source, expected, report, folder):
    """The second run finds new objects beside the known ones, and loads only those."""
    part = os.path.join(folder, 'part')
    shutil.copytree(source, part)
    later = os.path.join(folder, 'later')
    os.rename(os.path.join(part, 'gz'), later)
    with Cluster(build) as cluster:
        begin(cluster, part)
        finish(cluster, Checker(Expected(part, data.COLUMNS), cluster.path('out.db')), report,
               'a part of the objects is loaded')
        end_processes(cluster, hard=False)
        delete_state(cluster)
        os.rename(later, os.path.join(part, 'gz'))
        begin(cluster, part)
        finish(cluster, Checker(expected, cluster.path('out.db')), report,
               'state deleted, more objects: only those are loaded')
        end_processes(cluster, hard=False)
    shutil.rmtree(part)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    args = parser.parse_args()
    print(f'seed {args.seed}')
    rng = random.Random(args.seed)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-state-', dir='/tmp')
    try:
        source = os.path.join(folder, 'source')
        data.make(source, args.seed, 0.5)
        expected = Expected(source, data.COLUMNS)
        between_two_runs(args.build, source, expected, report)
        after_a_kill(args.build, source, expected, report, rng, 1)
        after_a_kill(args.build, source, expected, report, rng, 3)
        with_more_objects(args.build, source, expected, report, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
