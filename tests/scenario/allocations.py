#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The N-th allocation of a process is refused in mid-load, for N from the seed: of the coordinator, of
the agent or a leaf, of `penstock run` and what it starts. What may fail is an error that is dealt with; what may not
ends the process with a line that says so, as a crash would. Nothing is lost, nothing is doubled.

usage: allocations.py [--build build/dev] [--samples 10] [--seed N]"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import data  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import ApiError, Cluster, Report, wait_for  # noqa: E402

# Where a process has got to when it is ready, and the most that a load takes: roughly.
RANGES = {'coordinator': (1, 3500), 'agent': (1, 3000), 'run': (1, 1500)}


class Scene:
    def __init__(self, args, folder, report):
        self.args = args
        self.report = report
        self.source = os.path.join(folder, 'source')
        data.make(self.source, args.seed, 0.3)
        self.expected = Expected(self.source, data.COLUMNS)

    def cluster(self, who, at):
        with Cluster(self.args.build) as cluster:
            marker = cluster.path('refused')
            checker = Checker(self.expected, cluster.path('out.db'))
            cluster.wraps[who] = ['env', f'PENSTOCK_FAIL_ALLOC={at}:{marker}']
            began = time.monotonic()
            ends = []

            def alive():
                """Starts again what has ended."""
                for _ in range(2):
                    if cluster.coordinator is None or cluster.coordinator.process.poll() is not None:
                        if cluster.coordinator is not None:
                            ends.append(cluster.coordinator.process.returncode)
                        try:
                            cluster.start_coordinator()
                        except RuntimeError:
                            ends.append(cluster.coordinator.process.returncode)
                agent = cluster.agents.get('a')
                if agent is None or agent.process.poll() is not None:
                    if agent is not None:
                        ends.append(agent.process.returncode)
                    cluster.start_agent(leaves=2, wait=False)

            def look():
                alive()
                checker.poll()
            problems = []
            try:
                alive()
                self.insist(cluster, look, 'PUT', '/v1/pipelines/memory', data.spec(
                    'memory', self.source, cluster.path('out.db'), '64KiB'))
                self.insist(cluster, look, 'POST', '/v1/pipelines/memory:start')
                # Its own answer may be what the coordinator dies of: each look starts it again.
                pipeline = wait_for('the end', 40, lambda: self.ended(self.insist(
                    cluster, look, 'GET', '/v1/pipelines/memory')), 0.05)
                if pipeline['state'] != 'completed':
                    problems.append(f'{pipeline["state"]}: {pipeline.get("reason", "")}')
            except (TimeoutError, ApiError) as error:
                problems.append(str(error)[:300])
            problems += checker.check_end() + cluster.broken()
            met = os.path.exists(marker)
            problems += self.quiet_ends(ends)
            if problems:
                cluster.show_logs(30)
            self.report.case(not problems, f'{who}: allocation {at} {"" if met else "not "}reached'
                             f'{", ends " + str(ends) if ends else ""}, '
                             f'{time.monotonic() - began:.1f} s'
                             + ''.join(f'; {problem}' for problem in problems[:3]))

    @staticmethod
    def ended(pipeline):
        return pipeline if pipeline['state'] in ('completed', 'stalled', 'failed', 'stopped') else None

    def insist(self, cluster, look, method, path, body=None):
        for _ in range(100):
            look()
            try:
                return cluster.call(method, path, body)
            except (OSError, ApiError) as error:
                if isinstance(error, ApiError) and error.status < 500:
                    raise
                time.sleep(0.1)
        raise TimeoutError(f'{method} {path}')

    @staticmethod
    def quiet_ends(ends):
        """By a signal that nobody sent but abort, or in silence."""
        return [f'a process ended with {end}' for end in ends if end not in (-6, 0, 1)]

    def run(self, who, at):
        """`penstock run`, then the same command again until it says that all is well."""
        with Cluster(self.args.build) as cluster:
            marker = cluster.path('refused')
            database = cluster.path('out.db')
            checker = Checker(self.expected, database)
            spec = {**data.spec('memory', self.source, database), 'errors': {'tolerance': '100%'}}
            with open(cluster.path('spec.yaml'), 'w', encoding='utf-8') as out:
                json.dump(spec, out)
            command = [os.path.join(cluster.bin, 'penstock'), 'run', cluster.path('spec.yaml'),
                       '--state', cluster.path('state'), '--progress', 'none']
            env = {**os.environ, 'PENSTOCK_FAIL_ALLOC': f'{at}:{marker}'}
            codes, text = [], ''
            while len(codes) < 4 and (not codes or codes[-1] not in (0, 3)):
                done = subprocess.run(command, env=env, stdout=subprocess.PIPE, timeout=90,
                                      stderr=subprocess.STDOUT, text=True, check=False)
                codes.append(done.returncode)
                text += done.stdout
                checker.poll()
            problems = checker.check_end() + cluster.broken()
            if codes[-1] not in (0, 3):
                problems.insert(0, f'exits {codes}: {text[-300:]}')
            self.report.case(not problems, f'{who}: allocation {at} '
                             f'{"" if os.path.exists(marker) else "not "}reached, exits {codes}'
                             + ''.join(f'; {problem}' for problem in problems[:3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--samples', type=int, default=10, help='of each kind of process')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    args = parser.parse_args()
    print(f'seed {args.seed}', flush=True)
    rng = random.Random(args.seed)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-alloc-', dir='/tmp')
    try:
        scene = Scene(args, folder, report)
        for who, (low, high) in RANGES.items():
            for _ in range(args.samples):
                # As many among the first hundred as among the last thousands.
                at = int(low * (high / low) ** rng.random())
                (scene.run if who == 'run' else scene.cluster)(who, at)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
