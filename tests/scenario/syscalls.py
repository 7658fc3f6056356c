#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""System calls that fail below the staging folder, the catalog, the destination and the source:
EIO, ENOSPC, EMFILE and EINTR (by strace's injection), and short counts (by a library for
LD_PRELOAD), again and again during a load. The load completes by itself or ends with its reason; then
the same cluster without faults completes it. Each row once, in either case, at every instant.
What fails on segments that an agent kept over a kill is extracted again, also when it fails in the
middle of its transaction.

usage: syscalls.py [--build build/dev] [--seed N] [--cases 0] [NAME ...]

--cases N   only N of the cases, from the seed (0: all)
Without strace, or where tracing is not permitted, all but the short counts are skipped."""
import argparse
import glob
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import data  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import ROOT, Cluster, Report, wait_for  # noqa: E402

LOADING = 3  # reads that succeed, two a block: the first block is in the open transaction
# (who, below what, system call, error, which calls of each thread). strace's -P takes whole paths.
CASES = [
    ('agent', 'stage', 'pwritev', 'EIO', '10+60'),
    ('agent', 'stage', 'pwritev', 'ENOSPC', '5+50'),
    ('agent', 'stage', 'pwritev', 'EINTR', '1+2'),
    ('agent', 'stage', 'fsync', 'EIO', '1+3'),
    ('agent', 'stage', 'fsync', 'ENOSPC', '2+5'),
    ('agent', 'stage', 'openat', 'EMFILE', '4+2'),
    ('agent', 'stage', 'renameat', 'EIO', '1+4'),
    ('agent', 'kept', 'openat', 'EIO', '1+2'),  # when a leaf starts
    ('agent', 'kept', 'pread64', 'EIO', '2+3'),  # when its batch is granted
    ('agent', 'loading', 'pread64', 'EIO', f'{LOADING + 1}+'),  # its rows are on their way
    ('agent', 'destination', 'pwrite64', 'EIO', '40+90'),
    ('agent', 'destination', 'pwrite64', 'ENOSPC', '30+70'),
    ('agent', 'destination', 'pwrite64', 'EINTR', '1+2'),
    ('agent', 'destination', 'fdatasync', 'EIO', '5+9'),
    ('agent', 'destination', 'fdatasync', 'ENOSPC', '4+7'),
    ('agent', 'destination', 'ftruncate', 'EIO', '3+5'),
    ('agent', 'destination', 'openat', 'EIO', '5+7'),
    ('agent', 'destination', 'pread64', 'EIO', '20+50'),
    ('agent', 'source', 'pread64', 'EIO', '4+30'),
    ('agent', 'source', 'pread64', 'EINTR', '1+2'),
    ('agent', 'source', 'openat', 'EMFILE', '3+7'),
    ('coordinator', 'catalog', 'pwrite64', 'EIO', '60+400'),
    ('coordinator', 'catalog', 'pwrite64', 'ENOSPC', '50+300'),
    ('coordinator', 'catalog', 'pwrite64', 'EINTR', '1+2'),
    ('coordinator', 'catalog', 'fdatasync', 'EIO', '10+25'),
]
STAGED = '1200KiB'  # more than the budget has for rows
SHORT = ['/stage/', 'out.db', 'catalog.db', '/source/']
SYNCED = re.compile(r'fsync\(\d+<([^>]*\.seg[^>]*)>\)\s+= (-?\d+)')
UNUSED = re.compile(r'segment\.unused .*batch=(\S+) code=(\S+) error="(load into )?')
REUSED = re.compile(r'segment\.reused .*batch=(\S+) epoch=(\d+)')
UNLINKED = re.compile(r'unlinkat\(\d+<([^>]*)>, "([^"]*\.seg[^"]*)"')


def can_trace():
    if shutil.which('strace') is None:
        return 'strace is not installed'
    probe = subprocess.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=fsync', '-e',
                            'inject=fsync:error=EIO', 'true'], stderr=subprocess.PIPE, text=True,
                           check=False)
    return '' if probe.returncode == 0 else f'tracing is not permitted: {probe.stderr.strip()[:100]}'


def loading_thread(cluster):
    """The id of a thread that has rows for the destination now."""
    for leaf in cluster.leaves().values():
        for path in glob.glob(f'/proc/{leaf}/task/*/comm'):
            try:
                with open(path, encoding='ascii') as text:
                    if text.read().strip() == 'load':
                        return int(path.split('/')[4])
            except OSError:  # it has ended
                pass
    return None


def traced_by(thread):
    with open(f'/proc/{thread}/status', encoding='ascii') as text:
        return int(re.search(r'TracerPid:\s+(\d+)', text.read())[1])


def may_attach():
    """To a process that is no child of ours."""
    try:
        with open('/proc/sys/kernel/yama/ptrace_scope', encoding='ascii') as text:
            scope = int(text.read())
    except OSError:
        scope = 0
    return scope == 0 or (scope < 3 and os.geteuid() == 0)


class Scene:
    def __init__(self, args, folder, report):
        self.args = args
        self.report = report
        self.source = os.path.join(folder, 'source')
        data.make_with_huge(self.source, args.seed, 0.3)
        self.expected = Expected(self.source, data.COLUMNS)

    def paths(self, cluster, where):
        """Whole paths, as strace compares them with descriptors and arguments."""
        if where == 'stage':
            return [cluster.path('agent-a', f'leaf-{i}', 'stage') for i in range(2)]
        if where in ('kept', 'loading'):  # as they are read, and as they are opened in their folder
            return [name for path in self.segments(cluster) for name in (path, os.path.basename(path))]
        if where == 'destination':
            return [cluster.path(f'out.db{end}') for end in ('', '-journal')]
        if where == 'catalog':
            return [cluster.path('coordinator', f'catalog.db{end}') for end in ('', '-wal', '-shm')]
        return [os.path.join(self.source, 'more', f'huge{i}.csv') for i in range(3)]

    def segments(self, cluster):
        return [path for i in range(2) for path in glob.glob(
            os.path.join(cluster.path('agent-a', f'leaf-{i}', 'stage'), '*.seg'))]

    def strace(self, cluster, where, call, error, when):
        words = ['strace', '-D', '-f', '-qq', '--seccomp-bpf', '-y', '-o', cluster.path('strace.txt'),
                 '-e', f'trace={call},unlinkat', '-e', f'inject={call}:error={error}:when={when}']
        # What only segments are written with needs no path, and their names are not known.
        if where != 'stage' or call in ('openat', 'renameat'):
            for path in self.paths(cluster, where):
                words += ['-P', path]
        return words

    def faults(self, cluster):
        with open(cluster.path('strace.txt'), encoding='utf-8', errors='replace') as text:
            return sum('(INJECTED)' in line for line in text)

    def synced_again(self, cluster):
        """Segments that were fsynced after an fsync of them had failed."""
        bad, again = set(), set()
        with open(cluster.path('strace.txt'), encoding='utf-8', errors='replace') as text:
            for line in text:
                gone, synced = UNLINKED.search(line), SYNCED.search(line)
                if gone:
                    bad.discard(f'{gone[1]}/{gone[2]}')
                elif synced:
                    (again if synced[1] in bad else bad if synced[2] == '-1' else set()).add(
                        synced[1])
        return again

    def run(self, name, prepare, count, batch_bytes):
        with Cluster(self.args.build) as cluster:
            database = cluster.path('out.db')
            checker = Checker(self.expected, database)
            runs = prepare(cluster)  # what is to be done while it runs already, if it does
            for attempt in range(0 if runs else 5):
                try:
                    cluster.start_coordinator()
                    break
                except RuntimeError:  # a fault at the start, said in the log
                    if attempt == 4:
                        raise
            cluster.start_agent(leaves=2, wait=False, extra=('--budget', '2MiB'))
            began = time.monotonic()
            problems = []
            try:
                if runs:
                    runs()
                state = self.first(cluster, checker, None if runs else data.spec(
                    'faults', self.source, database, batch_bytes))
            except TimeoutError as error:
                state = f'not ended ({error})'
            seconds = time.monotonic() - began
            injected = count(cluster)
            if not injected:
                problems.append('no call was made to fail')
            with open(cluster.path('agent-a.log'), encoding='utf-8') as log:
                if runs and not re.search(r'segments?\.(unused|discarded)', log.read()):
                    problems.append('no kept segment was given up')
            again = self.synced_again(cluster) if 'fsync' in name else ()
            if again:
                problems.append(f'{len(again)} segments were fsynced after a failed fsync')
            if 'loading' in name:
                problems += self.of_loading(cluster, state)
            if state != 'completed':
                state += '; ' + self.again(cluster, checker, problems)
            problems += checker.check_end() + cluster.broken()
            if problems:
                cluster.show_logs(30)
            self.report.case(not problems, f'{name}: {injected} faults, {state} in {seconds:.1f} s'
                             + ''.join(f'; {problem}' for problem in problems[:3]))

    def first(self, cluster, checker, spec):
        """The load among faults. Returns how it ended; a coordinator that ends is started again."""
        def alive():
            if cluster.coordinator.process.poll() is not None:
                cluster.start_coordinator()
            if cluster.agents['a'].process.poll() is not None:
                cluster.start_agent(leaves=2, wait=False, extra=('--budget', '2MiB'))
            checker.poll()
        if spec is not None:
            cluster.apply(spec)
            cluster.start('faults')
        pipeline = cluster.wait_end('faults', 25, alive)
        reason = pipeline.get('reason', '')
        return pipeline['state'] + (f' ({reason[:160]})' if reason else '')

    def again(self, cluster, checker, problems):
        """The same without faults."""
        cluster.wraps, cluster.env = {}, {}
        for agent in cluster.agents.values():
            agent.stop(5)
        cluster.coordinator.stop(5)
        cluster.start_coordinator()
        cluster.start_agent(leaves=2, extra=('--budget', '2MiB'))
        if cluster.state('faults') not in ('running', 'preparing'):
            cluster.start('faults')
        try:
            pipeline = cluster.wait_end('faults', 60, checker.poll)
        except TimeoutError as error:
            problems.append(str(error))
            return 'not completed by a rerun'
        if pipeline['state'] != 'completed':
            problems.append(f'rerun: {pipeline["state"]}: {pipeline.get("reason", "")}')
        return f'{pipeline["state"]} by a rerun'

    def inject(self, case):
        who, where, call, error, when = case
        if where == 'loading':
            self.inject_loading(call, error, when)
            return

        def prepare(cluster):
            cluster.wraps[who] = self.strace(cluster, where, call, error, when)
        if where == 'kept':
            self.run(f'{where} {call} {error}', lambda cluster: self.keep(cluster, prepare),
                     self.faults, STAGED)
        else:
            self.run(f'{where} {call} {error}', prepare, self.faults,
                     STAGED if where == 'stage' else '128KiB')

    def keep(self, cluster, prepare):
        """The load is begun, and its agent killed while segments wait for their transaction."""
        cluster.start_coordinator()
        cluster.start_agent(leaves=2, extra=('--budget', '2MiB'))
        cluster.apply(data.spec('faults', self.source, cluster.path('out.db'), STAGED))
        cluster.start('faults')
        wait_for('the table', 30, lambda: cluster.state('faults') == 'running', 0.005)
        writer = sqlite3.connect(cluster.path('out.db'), timeout=20, isolation_level=None)
        try:
            writer.execute('BEGIN IMMEDIATE')
            wait_for('segments', 40, lambda: len(self.segments(cluster)) >= 2)
            cluster.agents['a'].kill()
        finally:
            writer.close()
        prepare(cluster)
        return lambda: None

    def inject_loading(self, call, error, when):
        """Segments are kept; as soon as a leaf has one for its transaction, and checked all of it,
        the calls of the very thread that loads it fail."""
        tracers = []
        if not may_attach():
            self.report.skip('attaching to a process is not permitted')
            return

        def prepare(cluster):
            self.keep(cluster, lambda cluster: None)
            paths = [word for path in self.paths(cluster, 'loading') for word in ('-P', path)]
            writer = sqlite3.connect(cluster.path('out.db'), timeout=20, isolation_level=None)
            writer.execute('BEGIN IMMEDIATE')

            def attach():
                try:
                    thread = wait_for('a load', 30, lambda: loading_thread(cluster))
                    tracers.append(subprocess.Popen(
                        ['strace', '-y', '-o', cluster.path('strace.txt'), '-e', f'trace={call}', '-e',
                         f'inject={call}:error={error}:when={when}', *paths, '-p', str(thread)],
                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
                    wait_for('strace to attach', 20, lambda: traced_by(thread) == tracers[0].pid)
                finally:
                    writer.close()
            return attach
        try:
            self.run(f'loading {call} {error}', prepare, self.faults, STAGED)
        finally:
            for tracer in tracers:
                tracer.terminate()
                tracer.wait()

    def of_loading(self, cluster, state):
        """What failed in the middle of its transaction was extracted again, and the log says so."""
        with open(cluster.path('strace.txt'), encoding='utf-8', errors='replace') as text:
            good = [line for line in text if line.startswith('pread64(') and '(INJECTED)' not in line]
        with open(cluster.path('agent-a.log'), encoding='utf-8') as text:
            log = text.read()
        problems = [] if state == 'completed' else ['it was not extracted again by itself']
        if len(good) != LOADING:
            problems.append(f'{len(good)} reads before the fault')
        unused = UNUSED.findall(log)  # the first in its middle, others that the leaf kept from their start
        if not unused or any(code != 'stage_unreadable' or not load for _, code, load in unused):
            problems.append(f'the log says of segments that were not used: {unused}')
        with sqlite3.connect(f'file:{cluster.path("out.db")}?mode=ro', uri=True) as base:
            loaded = dict(base.execute('SELECT hex(batch_id), epoch FROM _penstock_ledger'))
        for batch, _, _ in unused:
            reused = [int(epoch) for name, epoch in REUSED.findall(log) if name == batch]
            epoch = loaded.get(batch.replace('-', '').upper(), 0)
            if len(reused) != 1 or epoch <= reused[0]:
                problems.append(f'{batch} was reused in epochs {reused} and loaded in {epoch}')
        return problems

    def short(self, part):
        library = os.path.join(ROOT, self.args.build, 'tools', 'libshort_counts.so')

        def prepare(cluster):
            cluster.env = {'LD_PRELOAD': library, 'PENSTOCK_SHORT_COUNTS': part}
        self.run(f'short counts below {part}', prepare, lambda cluster: 'many',
                 STAGED if part == '/stage/' else '128KiB')


def chosen(args, why_not):
    """Names and cases to run, in order."""
    cases = {} if why_not else {' '.join(case[1:4]): case for case in CASES}
    cases.update({f'short {part}': part for part in SHORT})
    names = [name for name in cases if not args.name or any(word in name for word in args.name)]
    if args.cases and args.cases < len(names):
        keep = set(random.Random(args.seed).sample(names, args.cases))
        names = [name for name in names if name in keep]
    return [cases[name] for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('--cases', type=int, default=0)
    parser.add_argument('name', nargs='*')
    args = parser.parse_args()
    print(f'seed {args.seed}', flush=True)
    why_not = can_trace()
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-calls-', dir='/tmp')
    try:
        scene = Scene(args, folder, report)
        for case in chosen(args, why_not):
            (scene.short if isinstance(case, str) else scene.inject)(case)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if why_not:
        report.skip(why_not, len(CASES))
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
