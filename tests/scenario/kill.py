#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments of the coordinator, the agent, one leaf process, and all at once, while
4 leaves load 40 objects into one SQLite file. A checker that reads only the source and the
destination follows the table: no row twice and none that the source does not have at any instant,
none lost at the end.

usage: kill.py [--build build/dev] [--rounds 60] [--seed N] [--http] [--dest sqlite|postgresql|mysql]
       kill.py --dest postgresql|mysql --gone-seconds 10 [--rounds 3]
                                          the server is away so long in each round, while leaves and
                                          agents are killed
       kill.py --large [--rounds 60]      one large object in ranges on 4 leaves, instead of 40
       kill.py --mutants [--rounds 60]    the harness itself: three broken builds must be caught

A round is one kill while at least one batch is open; load goes on between. A load that ends is
checked whole and begun anew. Failpoint delays widen the short phases, so that each is hit; some
rounds raise the fence in the destination, as another cluster would: nothing may be committed after
that. Prints the seed and what was going on at each kill."""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import data  # noqa: E402
import db_checker  # noqa: E402
import origin  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import Cluster, PHASES, ROOT, Report, leaf_number, leaf_phases, skip_all, wait_for  # noqa: E402

# Phases are widened here and there only: commit and report are short by nature.
DELAYS = ('leaf.after_fetch=delay:15;leaf.after_seal=delay:15;dest.after_rows=delay:10;'
          'dest.after_commit=delay:10;leaf.before_done=delay:25')
VICTIMS = ('leaf', 'leaf', 'leaf', 'agent', 'coordinator', 'all')
# Of a server's own: little memory for a small machine, and nothing that makes it less durable.
SETTINGS = {'postgresql': ('shared_buffers=128MB',), 'mysql': ('--innodb-buffer-pool-size=64M',)}
MUTANTS = ('no_ledger', 'no_fence', 'ack_early')


class Caught(Exception):
    """The checker has found something."""


class Harness:
    def __init__(self, args, folder):
        self.args = args
        self.rng = random.Random(args.seed)
        self.source = os.path.join(folder, 'source')
        make = data.make_large if args.large else data.make
        rejects = make(self.source, args.seed)
        self.expected = Expected(self.source, data.COLUMNS)
        if self.expected.rejects != rejects:
            raise RuntimeError('the checker and the maker of the data do not agree on rejects')
        self.folder = folder
        self.origin = origin.Origin(self.source) if args.http else None
        self.agent_options = ('--allow-network', 'loopback') if args.http else ()
        self.hits = Counter()
        self.victims = Counter()
        self.rounds = 0
        self.loads = 0
        self.fences = 0
        self.slowest_s = 0.0
        self.server = db_checker.start(args.dest, SETTINGS[args.dest])[0] if args.dest in SETTINGS else None
        self.slowest_back_s = 0.0
        self.kinds = VICTIMS + ('server',) if self.server else VICTIMS

    # ---- one kill

    def wanted_phase(self):
        """Half of the kills come at any moment; the others where the histogram is thinnest."""
        if self.rng.random() < 0.5:
            return None
        return min(PHASES, key=lambda phase: (self.hits[phase], self.rng.random()))

    def wait_for_phase(self, cluster, wanted):
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            leaves = list(cluster.leaves().values())
            self.rng.shuffle(leaves)
            for pid in leaves:
                if wanted in leaf_phases(pid):
                    return pid
        return None

    def freeze(self, pids):
        """Stops them, so that what they do does not change while it is looked at."""
        for pid in pids:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass

    def has_died_twice(self, cluster, pid):
        """Does this leaf hold a batch that two leaves have died of? A third death is what puts a
        batch in quarantine, and rightly so: it is not what is tested here."""
        held = cluster.call_retrying('GET', '/v1/pipelines/kill/batches?state=leased')['items']
        return any(batch.get('leaf') == leaf_number(pid) and batch.get('attempts', 0) >= 2
                   for batch in held)

    def kill_once(self, cluster):
        """False when no batch is open now."""
        victim = self.rng.choice(self.kinds)
        wanted = self.wanted_phase()
        chosen = self.wait_for_phase(cluster, wanted) if wanted else None
        leaves = list(cluster.leaves().values())
        if not leaves:
            return False
        target = [chosen or self.rng.choice(leaves)] if victim == 'leaf' else leaves
        spared = victim in ('coordinator', 'server')
        self.freeze(target)
        phases = [phase for pid in target for phase in leaf_phases(pid)]
        if not phases or (victim == 'leaf' and self.has_died_twice(cluster, target[0])):
            for pid in target:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
            return False
        if victim in ('coordinator', 'all'):
            cluster.coordinator.kill()
        if victim in ('agent', 'all'):
            cluster.agents['a'].kill()  # its leaves die with it
        if victim == 'server':
            self.server.kill()
        for pid in target:
            try:
                os.kill(pid, signal.SIGCONT if spared else signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.rounds += 1
        self.victims[victim] += 1
        self.hits.update(phases)
        if victim in ('coordinator', 'all'):
            cluster.start_coordinator()
        if victim == 'server':
            self.server.start(fresh=False)
        if victim in ('agent', 'all'):
            cluster.start_agent(failpoints=DELAYS, wait=False, extra=self.agent_options)
        return True

    # ---- the server is away

    def gone_once(self, cluster, checker):
        """The server ends, is away for a while and comes back; meanwhile a leaf or the agent is killed
        now and then. False when no batch is open now."""
        if not cluster.leaves() or not cluster.phases():
            return False
        by = self.rng.choice(('stop', 'kill'))
        getattr(self.server, by)()
        self.rounds += 1
        self.victims[f'server by {by}'] += 1
        back = time.monotonic() + self.args.gone_seconds
        while time.monotonic() < back:
            time.sleep(min(self.rng.uniform(0.3, 2.5), max(back - time.monotonic(), 0)))
            leaves = list(cluster.leaves().values())
            victim = self.rng.choice(('leaf', 'agent', None))
            if victim == 'leaf' and leaves and time.monotonic() < back:
                self.kill_leaf(cluster, self.rng.choice(leaves))
            elif victim == 'agent' and time.monotonic() < back:
                cluster.agents['a'].kill()
                self.victims['agent meanwhile'] += 1
                cluster.start_agent(failpoints=DELAYS, wait=False, extra=self.agent_options)
        self.server.start(fresh=False)
        before, began = checker.count() or 0, time.monotonic()
        if not self.has_ended(cluster):
            wait_for('rows after the server came back', 45, lambda: (
                self.poll(checker), (checker.count() or 0) > before or self.has_ended(cluster))[1], 0.05)
        self.slowest_back_s = max(self.slowest_back_s, time.monotonic() - began)
        return True

    def kill_leaf(self, cluster, pid):
        self.freeze([pid])
        spared = self.has_died_twice(cluster, pid)
        try:
            os.kill(pid, signal.SIGCONT if spared else signal.SIGKILL)
        except ProcessLookupError:
            return
        self.victims['leaf meanwhile'] += not spared

    # ---- the fence

    def raise_fence(self, cluster, checker, database):
        """Another cluster takes the pipeline over; from here on ours may commit nothing."""
        def raised():
            if self.server:
                self.server.sql('UPDATE _penstock_fence SET generation = generation + 1')
                return True
            try:
                subprocess.run(['sqlite3', '-cmd', '.timeout 3000', database,
                                'UPDATE _penstock_fence SET generation = generation + 1;'],
                               check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                return True
            except subprocess.CalledProcessError:
                return False
        self.freeze(list(cluster.leaves().values()))
        held = cluster.phases()
        for pid in cluster.leaves().values():
            os.kill(pid, signal.SIGCONT)
        if not held:
            return False
        wait_for('the fence to be raised', 20, raised)
        # What stood in the table in the moment of the raise is not known to the row: whatever was
        # committed before it is behind us once a read has seen the new fence.
        before = wait_for('a look at the table', 20, lambda: (checker.count(),))[0]
        while before is None:
            before = checker.count()
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            now = checker.count()
            if now is not None and now > before:
                raise Caught(f'{now - before} rows were committed behind a raised fence')
            time.sleep(0.05)
        self.fences += 1
        return True

    # ---- one load

    def begin(self, database):
        """An empty destination, and the one who watches it."""
        if not self.server:
            return Checker(self.expected, database)
        db_checker.wipe(self.server)
        return db_checker.ServerChecker(self.expected, self.server)

    def close(self):
        if self.server:
            self.server.close()

    def poll(self, checker):
        checker.poll()
        if checker.problems:
            raise Caught('; '.join(checker.problems[:3]))

    def load(self):
        """Loads everything once, killing as it goes; True when there were rounds enough."""
        self.loads += 1
        with_fence = self.loads % (2 if self.args.fence else 3) == 0 and not self.args.gone_seconds
        kills_before_fence = self.rng.randrange(2, 6)
        with Cluster(self.args.build, quiet=self.args.mutants) as cluster:
            database = self.server.url() if self.server else cluster.path('out.db')
            checker = self.begin(database)
            cluster.start_coordinator()
            cluster.start_agent(failpoints=DELAYS, extra=self.agent_options)
            spec = data.spec('kill', self.source, database, '32KiB')
            if self.origin is not None:
                spec['source'] = {'url': f'{self.origin.url}/**/*'}
            if self.server:
                spec['destination']['url'] = database
            cluster.apply(spec)
            cluster.start('kill')
            first_round = self.rounds
            began = time.monotonic()
            while self.rounds < self.args.rounds or with_fence:
                self.pause(cluster, checker)
                if with_fence and self.rounds - first_round >= kills_before_fence:
                    if self.raise_fence(cluster, checker, database):
                        self.poll(checker)
                        return self.rounds >= self.args.rounds
                    if self.has_ended(cluster):
                        break
                elif not self.one_round(cluster, checker) and self.has_ended(cluster):
                    break
            last_kill = time.monotonic()
            try:
                pipeline = cluster.wait_end('kill', 90, lambda: self.poll(checker))
            except TimeoutError as error:
                cluster.show_logs()
                raise Caught(f'no end: {error}') from error
            self.slowest_s = max(self.slowest_s, time.monotonic() - last_kill)
            problems = checker.check_end() + cluster.broken()
            if pipeline['state'] != 'completed':
                problems.insert(0, f'the pipeline is {pipeline["state"]}: '
                                   f'{pipeline.get("reason", "")}')
            if problems:
                if self.args.verbose:
                    cluster.show_logs(60)
                raise Caught('; '.join(problems[:3]))
            print(f'  load {self.loads}: {self.expected.total} rows and {self.expected.rejects} '
                  f'rejects as they should be after {self.rounds - first_round} kills, '
                  f'{time.monotonic() - began:.1f} s', flush=True)
        return self.rounds >= self.args.rounds

    def one_round(self, cluster, checker):
        if self.args.gone_seconds:
            return self.gone_once(cluster, checker)
        return self.kill_once(cluster)

    def pause(self, cluster, checker):
        """Load goes on for a random while, under the checker's eyes."""
        deadline = time.monotonic() + self.rng.uniform(0.05, 0.5)
        while time.monotonic() < deadline:
            self.poll(checker)
            time.sleep(0.05)

    def has_ended(self, cluster):
        return cluster.state('kill') in ('completed', 'stalled', 'failed')

    def histogram(self):
        total = sum(self.hits.values()) or 1
        return ', '.join(f'{phase} {self.hits[phase]} ({100 * self.hits[phase] / total:.0f} %)'
                         for phase in PHASES)


def run(args):
    """Runs the rounds. Returns (harness, what was caught or None)."""
    folder = tempfile.mkdtemp(prefix='pk-kill-', dir='/tmp')
    try:
        harness = Harness(args, folder)
        caught = None
        try:
            while not harness.load():
                pass
        except Caught as error:
            caught = str(error)
        finally:
            harness.close()
        return harness, caught
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kill_rounds(args, report):
    harness, caught = run(args)
    print(f'seed {args.seed}: {harness.rounds} kills ('
          + ', '.join(f'{name} {count}' for name, count in sorted(harness.victims.items()))
          + f'), {harness.loads} loads, {harness.fences} raised fences; slowest end after the last '
          f'kill {harness.slowest_s:.1f} s')
    if args.gone_seconds:
        print(f'the server was away for {args.gone_seconds:.0f} s each time; first rows at most '
              f'{harness.slowest_back_s:.1f} s after it was back')
    else:
        print(f'at the kills: {harness.histogram()}')
    report.case(caught is None, f'0 lost, 0 duplicate, 0 phantom in {harness.rounds} rounds'
                if caught is None else f'round {harness.rounds}: {caught}')
    if caught is None and harness.rounds >= 30 and not args.gone_seconds:
        total = sum(harness.hits.values())
        thin = [phase for phase in PHASES if harness.hits[phase] < 0.05 * total]
        report.case(not thin, f'each phase was hit by at least 5 %{" but " if thin else ""}'
                    + ', '.join(thin))


def build_mutant(name):
    folder = os.path.join('build', f'mutant-{name}')
    if not os.path.exists(os.path.join(ROOT, folder, 'bin', 'penstock-agent')):
        configure = ['cmake', '--preset', 'dev', '-B', folder, '-DPENSTOCK_TESTS=OFF',
                     f'-DPENSTOCK_MUTANT={name}']
        if shutil.which('ccache'):
            configure.append('-DCMAKE_C_COMPILER_LAUNCHER=ccache')
        for command in (configure, ['cmake', '--build', folder, '-j2']):
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder


def mutants(args, report):
    for name in MUTANTS:
        args.build = build_mutant(name)
        args.fence = True
        began = time.monotonic()
        harness, caught = run(args)
        report.case(caught is not None,
                    f'mutant {name}: ' + (f'caught in round {harness.rounds}: {caught[:200]}'
                                          if caught else f'NOT caught in {harness.rounds} rounds')
                    + f' ({time.monotonic() - began:.0f} s)')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--rounds', type=int, default=60)
    parser.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(3), 'big'))
    parser.add_argument('--large', action='store_true', help='one large object, in ranges')
    parser.add_argument('--http', action='store_true', help='the same objects from a web server')
    parser.add_argument('--dest', choices=('sqlite', 'postgresql', 'mysql'), default='sqlite')
    parser.add_argument('--gone-seconds', type=float, default=0.0, help='the server is away so long in each round')
    parser.add_argument('--mutants', action='store_true')
    parser.add_argument('--verbose', action='store_true', help='show the logs of what failed')
    args = parser.parse_args()
    args.fence = False
    report = Report()
    why = db_checker.lacks(args.dest)
    if why:
        return skip_all(why)
    print(f'seed {args.seed}', flush=True)
    if args.mutants:
        mutants(args, report)
    else:
        kill_rounds(args, report)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
