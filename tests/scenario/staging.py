#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The destination is away: extraction goes on into segments on disk, within the quota and the
memory budget; whatever is killed meanwhile, the source is read once and every row is loaded once.

The source is a web server of our own that counts what it is asked; the destination a PostgreSQL
server that is stopped and started again.

usage: staging.py [--build build/dev] [--rounds N] [CASE ...]"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import db_checker  # noqa: E402
import origin as o  # noqa: E402
from cluster import ROOT, Cluster, Report, skip_all, wait_for  # noqa: E402

ROWS = 1000  # an object; each is a batch of its own
CASES = {}


def case(name):
    def keep(function):
        CASES[name] = function
        return function
    return keep


def make_objects(folder, count, first=0):
    """Objects of ROWS rows each; every row has an id of its own."""
    for i in range(first, first + count):
        with open(os.path.join(folder, f'o{i:03}.csv'), 'w', encoding='ascii') as out:
            out.write('id,name,word\n')
            for row in range(ROWS):
                number = i * ROWS + row
                out.write(f'{number},name {number % 977},{"x" * (20 + number % 50)}\n')


class Bench:
    """One web server, one database server, one cluster."""

    def __init__(self, build, server, objects, agent=(), leaves=2, times=None):
        self.server = server
        self.build = build
        self.objects = objects
        self.extra = ('--allow-network', 'loopback', *agent)
        self.leaves = leaves
        self.folder = tempfile.TemporaryDirectory(prefix='pk-staging-')
        make_objects(self.folder.name, objects)
        self.origin = o.Origin(self.folder.name)
        self.cluster = Cluster(build, times)
        self.name = 'p' + os.path.basename(self.folder.name).replace('-', '').replace('_', '').lower()
        self.table = self.name

    def __enter__(self):
        self.origin.__enter__()
        self.cluster.__enter__()
        self.cluster.start_coordinator()
        self.start_agent()
        return self

    def __exit__(self, *what):
        self.cluster.__exit__(*what)
        self.origin.__exit__(*what)
        self.folder.cleanup()

    def start_agent(self, leaves=None, failpoints=''):
        self.cluster.start_agent(leaves=leaves or self.leaves, extra=self.extra, failpoints=failpoints)

    def spec(self, **more):
        return {'name': self.name, 'source': {'url': f'{self.origin.url}/*.csv', 'retries': 0},
                'destination': {'url': self.server.url(), 'table': self.table},
                'limits': {'batch_bytes': '64KiB'}, **more}

    def loaded_batches(self):
        return int(self.cluster.pipeline(self.name)['totals'].get('batches_loaded', 0))

    def wait_all_staged(self):
        wait_for('all to be staged', 40, lambda: len(self.segments()) + self.loaded_batches() >= self.objects)

    def gets(self):
        """{object: how often it was asked for}, HEAD and index pages apart."""
        found = {}
        for method, path, *_ in self.origin.log:
            if method == 'GET' and path.endswith('.csv'):
                found[path] = found.get(path, 0) + 1
        return found

    def segments(self, agent='a'):
        found = []
        for folder, _, names in os.walk(self.cluster.path(f'agent-{agent}')):
            found += [os.path.join(folder, name) for name in names if name.endswith('.seg')]
        return found

    def staged_bytes(self):
        total = 0
        for path in self.segments():
            try:
                total += os.path.getsize(path)
            except OSError:
                pass
        return total

    def leaf_views(self):
        agents = self.cluster.call_retrying('GET', '/v1/agents')['items']
        return [leaf for agent in agents for leaf in agent.get('leaf', [])]

    def notes(self):
        return [leaf.get('note', '') for leaf in self.leaf_views()]

    def cli(self, *words):
        done = subprocess.run([os.path.join(ROOT, self.build, 'bin', 'penstock'), *words, '--coordinator',
                               f'unix:{self.cluster.path("http")}'],
                              capture_output=True, text=True, check=False, timeout=30)
        return done.stdout + done.stderr

    def held(self):
        return len([b for b in self.cluster.list_all(f'/v1/pipelines/{self.name}/batches') if b['state'] == 'leased'])

    def wait_staged(self, count, seconds=40):
        return wait_for(f'{count} segments', seconds, lambda: len(self.segments()) >= count)

    def finish(self, report, what, seconds=60, most_gets=1):
        """The server is back: all of it, once, and read once."""
        found = self.cluster.wait_end(self.name, seconds)
        rows = int(self.server.value(f'SELECT count(*) FROM "{self.table}"'))
        ids = int(self.server.value(f'SELECT count(DISTINCT id) FROM "{self.table}"'))
        want = self.objects * ROWS
        report.case(found['state'] == 'completed' and rows == want and ids == want,
                    f'{what}: {found["state"]}, {rows} rows, {ids} different, of {want}')
        again = {path: n for path, n in self.gets().items() if n > most_gets}
        report.case(not again, f'{what}: {len(self.gets())} objects were read since, more than {most_gets}x: {again}')
        left = wait_for('the segments to go', 10, lambda: not self.segments()) if self.segments() else True
        report.case(left, f'{what}: no segment is left')
        broken = self.cluster.broken()
        report.case(not broken, f'{what}: {broken or "nothing broke"}')


def away(bench):
    """The pipeline is running and the server is gone before much of it was loaded."""
    bench.cluster.apply(bench.spec())
    bench.cluster.start(bench.name)
    wait_for('the table', 30, lambda: bench.cluster.state(bench.name) in ('running', 'completed'))
    bench.server.kill()
    bench.origin.forget()  # what it was asked for samples, and for what is loaded already


def kill_agent(bench):
    bench.cluster.agents['a'].kill()


@case('goes_on')
def goes_on(args, server, report):
    """Extraction goes on, the state says so, the memory budget holds; nothing dies."""
    with Bench(args.build, server, 40, agent=('--budget', '24MiB')) as bench:
        away(bench)
        bench.wait_staged(12)
        report.case(bench.held() > 4, f'{bench.held()} batches are held by two leaves')
        bench.wait_all_staged()
        note = wait_for('the leaf to say so', 10,
                        lambda: next((n for n in bench.notes() if 'destination away since' in n), None))
        report.case('staged of' in note, f'note: {note}')
        text = bench.cli('get', 'agents', '-o', 'json')
        report.case('destination away since' in text and 'staged_bytes' in text, 'penstock get agents says so')
        text = bench.cli('explain', bench.name)
        report.case('destination away since' in text, f'penstock explain says so: {text[-600:]}')
        views = [leaf for leaf in bench.leaf_views() if leaf.get('staged_batches')]
        report.case(views and all(int(v['staged_bytes']) > 0 and int(v['away_ms']) > 0 for v in views),
                    f'the API has figures: {[(v.get("staged_batches"), v.get("staged_bytes")) for v in views]}')
        peaks = [peak(pid) for pid in bench.cluster.leaves('a').values()]
        report.case(max(peaks) < 64 << 20, f'peak memory of the leaves: {[p >> 20 for p in peaks]} MiB')
        server.start(fresh=False)
        bench.finish(report, 'server back')


def peak(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as text:
        return next(int(line.split()[1]) * 1024 for line in text if line.startswith('VmHWM'))


@case('quota')
def quota(args, server, report):
    """A full quota stops extraction, says so, and ends with the server's return."""
    with Bench(args.build, server, 40, agent=('--stage-quota', '1MiB')) as bench:
        away(bench)
        # Each leaf has a share of its own, and is stopped by it at a moment of its own.
        notes = wait_for('the quota of both leaves to be used up', 40,
                         lambda: [n for n in bench.notes() if 'quota is used up, extraction waits' in n] if
                         all('quota is used up' in n for n in bench.notes()) else None)
        report.case(len(notes) == 2, f'notes: {notes}')
        before, asked = len(bench.segments()), sum(bench.gets().values())
        end = time.monotonic() + 3
        most = 0
        while time.monotonic() < end:
            most = max(most, bench.staged_bytes())
            time.sleep(0.05)
        report.case(most <= 1 << 20, f'{most} bytes on disk, of {1 << 20}')
        report.case(len(bench.segments()) == before and sum(bench.gets().values()) == asked,
                    f'nothing is read meanwhile: {asked} reads, {before} segments')
        server.start(fresh=False)
        bench.finish(report, 'quota')


def killed(args, server, report, what, kill):
    with Bench(args.build, server, 24) as bench:
        away(bench)
        bench.wait_all_staged()
        staged = len(bench.segments())
        report.case(staged >= 12, f'{what}: {staged} batches lie on disk')
        bench.origin.forget()
        kill(bench)
        server.start(fresh=False)
        bench.finish(report, what, most_gets=0)


@case('leaf')
def leaf(args, server, report):
    def kill(bench):
        for pid in bench.cluster.leaves('a').values():
            os.kill(pid, signal.SIGKILL)
    killed(args, server, report, 'kill -9 of the leaves', kill)


@case('agent')
def agent(args, server, report):
    def kill(bench):
        kill_agent(bench)
        bench.start_agent()
    killed(args, server, report, 'kill -9 of agent and leaves', kill)


@case('all')
def everything(args, server, report):
    def kill(bench):
        kill_agent(bench)
        bench.cluster.coordinator.kill()
        bench.cluster.start_coordinator()
        bench.start_agent()
    killed(args, server, report, 'kill -9 of everything', kill)


@case('drain')
def drain(args, server, report):
    """SIGTERM while the server is away ends soon, and gives back what lies on disk."""
    def stop(bench):
        began = time.monotonic()
        status = bench.cluster.agents['a'].stop(20)
        report.case(status == 0, f'SIGTERM: status {status} after {time.monotonic() - began:.1f} s, '
                                 f'{len(bench.segments())} segments stay')
        bench.start_agent()
    killed(args, server, report, 'drained', stop)


@case('fewer_leaves')
def fewer_leaves(args, server, report):
    def kill(bench):
        kill_agent(bench)
        bench.start_agent(leaves=1)
    killed(args, server, report, 'an agent with fewer leaves', kill)


@case('local')
def local(args, server, report):
    """penstock load with a state folder of its own: killed, and run again."""
    with tempfile.TemporaryDirectory(prefix='pk-staging-') as folder, o.Origin(folder) as origin:
        make_objects(folder, 24)
        table = 'l' + os.path.basename(folder).replace('-', '').replace('_', '').lower()
        state = os.path.join(folder, 'state')
        words = [os.path.join(ROOT, args.build, 'bin', 'penstock'), 'load', f'{origin.url}/*.csv', '--into', server.url(),
                 '--table', table, '--name', table, '--state', state, '--leaves', '2',
                 '--set', 'limits.batch_bytes=64KiB']

        def segments():
            return [name for _, _, names in os.walk(state) for name in names if name.endswith('.seg')]

        def rows(what):
            try:
                return int(server.value(f'SELECT {what} FROM "{table}"'))
            except RuntimeError:
                return 0
        with open(os.path.join(folder, 'log'), 'wb') as log:
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_for('the table', 30, lambda: rows('count(*)') > 0, 0.005)
            server.kill()
            wait_for('most to be staged', 30, lambda: len(segments()) >= 12)
            child.kill()
            child.wait()
            before = len(segments())
        origin.forget()
        server.start(fresh=False)
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=90)
        asked = [path for method, path, *_ in origin.log if method == 'GET' and path.endswith('.csv')]
        report.case(done.returncode == 0 and rows('count(*)') == rows('count(DISTINCT id)') == 24 * ROWS,
                    f'penstock load, killed and run again: {done.returncode}, {rows("count(*)")} rows {done.stderr[-300:]}')
        report.case(len(asked) <= 24 - before and not segments(),
                    f'{before} segments were reused, {len(asked)} objects read')


@case('damaged')
def damaged(args, server, report):
    """A segment with a wrong byte, one cut short, and one of a batch that nobody knows."""
    with Bench(args.build, server, 16) as bench:
        away(bench)
        bench.wait_all_staged()
        kill_agent(bench)
        bench.origin.forget()
        paths = sorted(bench.segments())
        with open(paths[1], 'r+b') as out:
            out.seek(os.path.getsize(paths[1]) // 2)
            byte = out.read(1)
            out.seek(-1, 1)
            out.write(bytes([byte[0] ^ 1]))
        os.truncate(paths[2], os.path.getsize(paths[2]) - 7)
        with open(os.path.join(os.path.dirname(paths[0]), '01234567-89ab-7def-8123-456789abcdef.1.seg'), 'wb') as out:
            out.write(b'nobody knows it')
        bench.start_agent()
        server.start(fresh=False)
        bench.finish(report, 'damaged segments')
        report.case(len(bench.gets()) == 2, f'the two damaged ones alone were read again: {bench.gets()}')
        with open(bench.cluster.path('agent-a.log'), encoding='utf-8') as log:
            text = log.read()
        report.case('segment.unused' in text and 'stage_corrupt' in text, 'the log says so')


@case('settled')
def settled(args, server, report):
    """Segments of batches that were settled meanwhile, and of a catalog that is gone, are dropped."""
    with Bench(args.build, server, 8) as bench:
        away(bench)
        bench.wait_all_staged()
        kill_agent(bench)
        server.start(fresh=False)
        bench.cluster.start_agent('b', leaves=2, extra=bench.extra)
        bench.cluster.wait_end(bench.name, 60)  # b waits for a, then reads anew
        kept = len(bench.segments())
        report.case(kept >= 6, f'{kept} segments lie in the folder of a')
        bench.start_agent()
        report.case(wait_for('them to be dropped', 20, lambda: not bench.segments()), 'settled: dropped')
        bench.finish(report, 'settled', most_gets=2)  # a, then b


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--rounds', type=int, default=1, help='how often each case runs')
    parser.add_argument('case', nargs='*')
    args = parser.parse_args()
    server, why = db_checker.start('postgresql')
    if server is None:
        return skip_all(why)
    report = Report()
    try:
        for name in (args.case or list(CASES)) * args.rounds:
            began = time.monotonic()
            try:
                if server.child is None:
                    server.start(fresh=False)
                CASES[name](args, server, report)
            except (TimeoutError, RuntimeError) as error:
                report.case(False, f'{name}: {error}')
            print(f'     {name}: {time.monotonic() - began:.1f} s', flush=True)
    finally:
        server.close()
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
