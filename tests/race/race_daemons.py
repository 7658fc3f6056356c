#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemons themselves under the thread sanitizer: real agents and real clients of the API while
batches go through segments, one large object is taken in parallel, leaves are killed, a pipeline is
stopped and started again, and all ends in good order; then `penstock run`; then rounds of kill -9.
Any report of any process is a failure; tsan.supp says what is passed over, and why.

usage: race_daemons.py --build build/tsan [--kill-rounds 6] [--loads 1] [--seed N]"""
import argparse
import glob
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import data  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import ApiError, Cluster, Report, wait_for  # noqa: E402

PATHS = ('/v1/pipelines', '/v1/pipelines/race', '/v1/agents', '/v1/pipelines/race/batches',
         '/v1/pipelines/race/batch-partitions', '/v1/pipelines/race/rejects', '/v1/events',
         '/readyz', '/v1/pipelines/none')


def ask_on(cluster, stop, seed):
    """A client that asks for everything, until it is told to stop."""
    rng = random.Random(seed)
    while not stop.is_set():
        try:
            cluster.call('GET', rng.choice(PATHS), timeout=5)
        except (ApiError, OSError, http.client.HTTPException, ValueError):
            pass


def daemons(report, build, source, expected, reports):
    with Cluster(build) as cluster:
        checker = Checker(expected, cluster.path('out.db'))
        cluster.start_coordinator()
        for name in 'ab':
            cluster.start_agent(name, 2, extra=('--budget', '2MiB'))
        stop = threading.Event()
        clients = [threading.Thread(target=ask_on, args=(cluster, stop, i)) for i in range(4)]
        for client in clients:
            client.start()
        problems = []
        began = time.monotonic()
        try:
            cluster.apply(data.spec('race', source, cluster.path('out.db'), '1200KiB'))
            cluster.start('race')
            wait_for('rows to come', 60, lambda: (checker.poll(), checker.count())[1])
            for pid in list(cluster.leaves('a').values())[:1]:
                os.kill(pid, signal.SIGKILL)
            if cluster.state('race') == 'running':
                cluster.call_retrying('POST', '/v1/pipelines/race:stop')
                cluster.wait_end('race', 60, checker.poll)
                cluster.start('race')
            pipeline = cluster.wait_end('race', 120, checker.poll)
            if pipeline['state'] != 'completed':
                problems.append(f'{pipeline["state"]}: {pipeline.get("reason", "")}')
        except (TimeoutError, ApiError) as error:
            problems.append(str(error)[:300])
        for agent in cluster.agents.values():
            if agent.stop() != 0:
                problems.append(f'{agent.name} ended with {agent.process.returncode}')
        if cluster.coordinator.stop() != 0:
            problems.append(f'the coordinator ended with {cluster.coordinator.process.returncode}')
        stop.set()
        for client in clients:
            client.join()
        problems += checker.check_end() + cluster.broken()
        if problems:
            cluster.show_logs(40)
        report.case(not problems and not reports(), f'daemons and clients: '
                    f'{time.monotonic() - began:.1f} s'
                    + ''.join(f'; {problem}' for problem in problems[:3]))


def run_command(report, build, source, expected, reports):
    with Cluster(build) as cluster:
        database = cluster.path('out.db')
        spec = data.spec('race', source, database, '1200KiB')
        with open(cluster.path('spec.yaml'), 'w', encoding='utf-8') as out:
            json.dump({**spec, 'errors': {'tolerance': '100%'}}, out)
        done = subprocess.run(
            [os.path.join(cluster.bin, 'penstock'), 'run', cluster.path('spec.yaml'), '--state',
             cluster.path('state'), '--progress', 'plain'], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=180, check=False)
        problems = Checker(expected, database).check_end()
        if done.returncode not in (0, 3):
            problems.insert(0, f'exit {done.returncode}: {done.stdout[-500:]}')
        report.case(not problems and not reports(),
                    'penstock run' + ''.join(f'; {problem}' for problem in problems[:3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', required=True)
    parser.add_argument('--kill-rounds', type=int, default=6)
    parser.add_argument('--loads', type=int, default=1)
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    args = parser.parse_args()
    if not os.environ.get('PENSTOCK_TEST_FIXED'):
        # Some kernels randomise more address bits than gcc 12's runtime expects.
        os.environ['PENSTOCK_TEST_FIXED'] = '1'
        os.execvp('setarch', ['setarch', '-R', sys.executable, os.path.abspath(__file__),
                              *sys.argv[1:]])
    print(f'seed {args.seed}', flush=True)
    folder = tempfile.mkdtemp(prefix='pk-race-', dir='/tmp')
    os.environ['TSAN_OPTIONS'] = (f'exitcode=66 log_path={folder}/report '
                                  f'suppressions={HERE}/tsan.supp print_suppressions=0')
    report = Report()
    shown = set()

    def reports():
        """Files with reports that were not shown yet; shows them."""
        new = sorted(set(glob.glob(f'{folder}/report.*')) - shown)
        shown.update(new)
        for path in new[:3]:
            with open(path, encoding='utf-8', errors='replace') as text:
                print(text.read()[:6000], flush=True)
        return new
    try:
        source = os.path.join(folder, 'source')
        data.make(source, args.seed, 0.3)
        maker = data.Maker(os.path.join(source, 'more'), args.seed + 1)
        maker.next_id = 10**7
        maker.write('huge.csv', maker.rows(60000))
        expected = Expected(source, data.COLUMNS)
        for _ in range(args.loads):
            daemons(report, args.build, source, expected, reports)
            run_command(report, args.build, source, expected, reports)
        if args.kill_rounds:
            done = subprocess.run([
                sys.executable, os.path.join(HERE, '..', 'scenario', 'kill.py'), '--build',
                args.build, '--rounds', str(args.kill_rounds), '--seed', str(args.seed)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            good = done.returncode == 0 and not reports()
            report.case(good, f'{args.kill_rounds} rounds of kill -9'
                        + ('' if good else f'\n{done.stdout[-3000:]}'))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
