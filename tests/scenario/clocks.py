#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Wall clocks that are wrong, by libfaketime: a year ahead or behind, a year apart, frozen, a hundred
times as fast, and jumping to and fro in mid-load. Leases, heartbeats and waits are of the monotonic
clock, which stays true (DONT_FAKE_MONOTONIC=1: no system steps it), and files keep the times that
their file system gave them (NO_FAKE_STAT=1); so a load with a killed agent
and a restarted coordinator ends as always, with every row once.

usage: clocks.py [--build build/dev] [--seed N] [CLOCK ...]"""
import argparse
import glob
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

SLOW = 'leaf.after_fetch=delay:20;dest.after_rows=delay:20'
# (coordinator, agent): what libfaketime is told; JUMPS: a file that changes during the load.
JUMPS = 'jumps'
CLOCKS = {
    'ahead': ('+365d', '+365d'),
    'behind': ('-365d', '-365d'),
    'apart': ('-365d', '+365d'),
    'frozen': ('2026-02-28 23:59:59', '2026-02-28 23:59:59'),
    'fast': ('+0 x100', '+0 x100'),
    'jumping': (JUMPS, JUMPS),
}


def library():
    found = sorted(glob.glob('/usr/lib/*/faketime/libfaketimeMT.so.1')
                   + glob.glob('/usr/lib/faketime/libfaketimeMT.so.1'))
    return found[0] if found else None


class Scene:
    def __init__(self, args, folder, report):
        self.args = args
        self.report = report
        self.rng = random.Random(args.seed)
        self.source = os.path.join(folder, 'source')
        data.make(self.source, args.seed, 0.3)
        self.expected = Expected(self.source, data.COLUMNS)

    def clock(self, cluster, spoken):
        words = ['env', f'LD_PRELOAD={library()}', 'DONT_FAKE_MONOTONIC=1', 'NO_FAKE_STAT=1',
                 'FAKETIME_NO_CACHE=1']
        if spoken == JUMPS:
            self.jump(cluster)
            return [*words, f'FAKETIME_TIMESTAMP_FILE={cluster.path("clock")}']
        return [*words, f'FAKETIME={spoken}']

    def jump(self, cluster):
        with open(cluster.path('clock.new'), 'w', encoding='ascii') as out:
            out.write(f'{self.rng.choice("+-")}{self.rng.randrange(1, 400 * 86400)}\n')
        os.replace(cluster.path('clock.new'), cluster.path('clock'))

    def run(self, name):
        with Cluster(self.args.build) as cluster:
            checker = Checker(self.expected, cluster.path('out.db'))
            for who, spoken in zip(('coordinator', 'agent'), CLOCKS[name]):
                cluster.wraps[who] = self.clock(cluster, spoken)
            cluster.start_coordinator()
            for agent in 'ab':
                cluster.start_agent(agent, 2, SLOW)
            cluster.apply(data.spec('clocks', self.source, cluster.path('out.db'), '32KiB'))
            cluster.start('clocks')
            began = time.monotonic()

            def look():
                checker.poll()
                if JUMPS in CLOCKS[name]:
                    self.jump(cluster)
            problems = []
            try:
                wait_for('rows to come', 30, lambda: (look(), checker.count())[1])
                cluster.agents['a'].kill()  # its leases end by the monotonic clock
                cluster.coordinator.kill()
                cluster.start_coordinator()
                pipeline = cluster.wait_end('clocks', 60, look)
                if pipeline['state'] != 'completed':
                    problems.append(f'{pipeline["state"]}: {pipeline.get("reason", "")}')
            except TimeoutError as error:
                problems.append(str(error))
            problems += checker.check_end() + cluster.broken()
            if problems:
                cluster.show_logs(30)
            self.report.case(not problems, f'{name}: {time.monotonic() - began:.1f} s'
                             + ''.join(f'; {problem}' for problem in problems[:3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('clock', nargs='*', choices=[[], *CLOCKS])
    args = parser.parse_args()
    if library() is None:
        print(f'skipped: libfaketime is not installed\n0 passed, 0 failed, {len(CLOCKS)} skipped')
        return 0
    print(f'seed {args.seed}', flush=True)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-clocks-', dir='/tmp')
    try:
        scene = Scene(args, folder, report)
        for name in args.clock or CLOCKS:
            scene.run(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
