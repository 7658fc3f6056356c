#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that stand still instead of dying: SIGSTOP past the lease, then SIGCONT.

usage: sigstop.py [--build build/dev] [--rounds 1] [--down-seconds 30] [--seed N]

leaf         one leaf stands still: its agent kills it, the load goes on
zombie       a whole agent with its leaves stands still, a second agent that shares the file takes
             over; when the first wakes up, the ledger refuses what it commits (counted)
turn         a leaf stands still while it holds the writer turn: the others wait and say so
coordinator  the coordinator is down in mid-load: agents finish what they hold, nothing is lost"""
import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import data  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import Cluster, Report, leaf_phases, wait_for  # noqa: E402

SLOW = 'leaf.after_fetch=delay:30;leaf.after_seal=delay:60;dest.after_rows=delay:20'


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def stop(pids):
    """SIGSTOP, and back only when every thread stands: a signal that was sent has not yet arrived,
    and what a thread is seen doing before that says nothing about where it will stand."""
    send(pids, signal.SIGSTOP)
    wait_for('all threads to stand still', 10, lambda: all(map(stands, pids)), 0.001)


def stands(pid):
    try:
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/stat', encoding='ascii', errors='replace') as text:
                if text.read().rsplit(')', 1)[1].split()[0] not in 'TZX':
                    return False
    except OSError:
        pass  # it, or a thread of it, has ended
    return True


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as text:
            return text.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


class Scene:
    SCALE = 0.6  # of the data: the delays below make a load last long enough

    def __init__(self, args, folder, report):
        self.args = args
        self.report = report
        self.rng = random.Random(args.seed)
        self.source = os.path.join(folder, 'source')
        data.make(self.source, args.seed, self.SCALE)
        self.expected = Expected(self.source, data.COLUMNS)

    def begin(self, cluster, agents=('a',), failpoints=SLOW):
        cluster.start_coordinator()
        for name in agents:
            cluster.start_agent(name, 3, failpoints)
        cluster.apply(data.spec('stop', self.source, cluster.path('out.db'), '32KiB'))
        cluster.start('stop')
        checker = Checker(self.expected, cluster.path('out.db'))
        wait_for('the load to run', 30, lambda: (checker.poll(), checker.count())[1])
        return checker

    def finish(self, cluster, checker, text, more=()):
        try:
            pipeline = cluster.wait_end('stop', 90, checker.poll)
            problems = [*more, *checker.check_end(), *cluster.broken()]
            if pipeline['state'] != 'completed':
                problems.insert(0, f'{pipeline["state"]}: {pipeline.get("reason", "")}')
        except TimeoutError as error:
            problems = [*more, str(error)]
        if problems:
            cluster.show_logs(40)
        self.report.case(not problems, text + ''.join(f'; {problem}' for problem in problems[:3]))

    def catch(self, pids, phases, avoid=()):
        """Stops a process in one of these phases. Returns its id."""
        def caught():
            for pid in pids():
                if not set(leaf_phases(pid)) & set(phases):
                    continue
                stop([pid])
                now = set(leaf_phases(pid))
                if now & set(phases) and not now & set(avoid):
                    return pid
                send([pid], signal.SIGCONT)
            return None
        return wait_for(f'a leaf in {phases}', 20, caught, 0.003)

    # ---- scenes

    def leaf(self):
        with Cluster(self.args.build) as cluster:
            checker = self.begin(cluster)
            pid = self.catch(lambda: cluster.leaves().values(), ['fetch', 'stage'],
                             ['load', 'commit'])
            began = time.monotonic()
            more = []
            try:
                wait_for('the agent to kill the leaf that stands still', 8, lambda: not alive(pid))
            except TimeoutError as error:
                more.append(str(error))
            seconds = time.monotonic() - began
            send([pid], signal.SIGCONT)
            self.finish(cluster, checker,
                        f'leaf: killed by its agent after {seconds:.1f} s of silence', more)

    def zombie_once(self):
        """How often the ledger refused the zombie, or None when the moment was not right."""
        with Cluster(self.args.build) as cluster:
            checker = self.begin(cluster, ('a', 'b'))
            first = cluster.agents['a'].pid

            def frozen():
                """All of agent a, with something sealed but no transaction open; [] once it is too late for that."""
                if cluster.state('stop') == 'completed':
                    return [[]]
                leaves = list(cluster.leaves('a').values())
                stop([first, *leaves])
                phases = [set(leaf_phases(pid)) for pid in leaves]
                if any('stage' in each for each in phases) and not any(
                        each & {'load', 'commit', 'report'} for each in phases):
                    return [leaves]
                send([*leaves, first], signal.SIGCONT)
                return None
            leaves = wait_for('a moment with something sealed', 20, frozen, 0.01)[0]
            if not leaves:
                return None
            count = checker.count() or 0
            # Past the lease, and until the other agent has loaded what was taken from this one.
            wait_for('the other agent to take over', 60, lambda: (
                checker.poll(), cluster.state('stop') in ('completed', 'stalled', 'failed'))[1])
            taken = (checker.count() or 0) - count
            send(leaves, signal.SIGCONT)
            time.sleep(0.6)  # their signs of life stand in the agent's socket before it wakes
            send([first], signal.SIGCONT)
            refused = 0
            deadline = time.monotonic() + 6
            while time.monotonic() < deadline and not refused:
                with open(cluster.path('agent-a.log'), encoding='utf-8', errors='replace') as log:
                    refused = len(re.findall(r'batch\.already_loaded|batch\.refused', log.read()))
                checker.poll()
                time.sleep(0.05)
            self.finish(cluster, checker,
                        f'zombie: {taken} rows by the other agent meanwhile; refused commits of '
                        f'the first: {refused}')
            return refused

    def zombie(self):
        refused, tries = 0, 0
        while not refused and tries < 4:
            tries += 1
            refused = self.zombie_once()
        self.report.case(refused, f'zombie: {refused} commits seen to be refused by the ledger '
                         f'({tries} tries)')

    def turn(self):
        times = {'lease': '9s', 'self-stop': '8s', 'leaf-silence': '4s'}
        with Cluster(self.args.build, times) as cluster:
            checker = self.begin(cluster)
            pid = self.catch(lambda: cluster.leaves().values(), ['load'])
            more = []
            notes = []

            def said():
                for agent in cluster.call_retrying('GET', '/v1/agents')['items']:
                    notes.extend(leaf.get('note', '') for leaf in agent.get('leaf', []))
                return [note for note in notes if 'held by leaf' in note]
            try:
                wait_for('a leaf to say that it waits for the turn', 4, said)
                wait_for('the agent to kill the leaf that stands still', 10,
                         lambda: not alive(pid))
            except TimeoutError as error:
                more.append(str(error))
            said_now = [note for note in notes if 'held by leaf' in note]
            send([pid], signal.SIGCONT)
            self.finish(cluster, checker, f'turn: others say {said_now[-1:]}', more)

    def coordinator(self):
        with Cluster(self.args.build) as cluster:
            checker = self.begin(cluster)
            wait_for('something sealed', 20, lambda: 'stage' in cluster.phases(), 0.003)
            cluster.coordinator.kill()
            before = checker.count() or 0
            deadline = time.monotonic() + self.args.down_seconds
            while time.monotonic() < deadline:
                checker.poll()
                time.sleep(0.1)
            during = (checker.count() or 0) - before
            more = [] if during > 0 else ['agents did not go on']
            if cluster.agents['a'].process.poll() is not None:
                more.append('the agent ended')
            cluster.start_coordinator()
            self.finish(cluster, checker, f'coordinator: down for {self.args.down_seconds} s, '
                        f'{during} rows were committed meanwhile', more)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--down-seconds', type=int, default=30)
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('scene', nargs='*', choices=[[], 'leaf', 'zombie', 'turn', 'coordinator'])
    args = parser.parse_args()
    print(f'seed {args.seed}', flush=True)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-stop-', dir='/tmp')
    try:
        scene = Scene(args, folder, report)
        for _ in range(args.rounds):
            for name in args.scene or ('leaf', 'zombie', 'turn', 'coordinator'):
                try:
                    getattr(scene, name)()
                except TimeoutError as error:
                    report.case(False, f'{name}: {error}')
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
