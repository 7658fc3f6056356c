# SPDX-License-Identifier: Apache-2.0
"""The coordinator alone: real agents' connections and messages (rpc_bench), nothing is loaded.

The floor is rpc_peer: nng and SQLite with a group commit and nothing else, over the same loopback
with as many connections and outstanding requests, in turns with ours."""
import os
import re
import statistics
import subprocess
import sys
import time

from harness import ROOT, busy_share, case, remove

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))
from cluster import Daemon, UnixConnection, wait_for  # noqa: E402

CLIENTS = 100
QUIET = 0.2  # share of the processors that others may have while rates are judged
SPEC = ('{"name":"p","source":{"url":"file:/nowhere/*.csv"},"destination":{"url":"null:"}}')


def values(line):
    """name=value … as numbers."""
    return {name: float(value) for name, value in re.findall(r'(\w+)=([0-9.]+)', line)}


def wait_line(log, pattern):
    """The first match in a log that is being written."""
    def look():
        with open(log, encoding='utf-8', errors='replace') as text:
            return re.search(pattern, text.read())
    return wait_for(f'"{pattern}" in {log}', 20, look, 0.005)


class Coordinator:
    """penstock-coordinator with a state folder, as a context."""

    def __init__(self, bench, state, fresh=True):
        self.bench = bench
        self.state = bench.path(state)
        if fresh:
            remove(self.state)
        self.log = bench.path('coordinator.log')
        self.http = bench.path('http')

    def __enter__(self):
        if os.path.exists(self.log):
            os.unlink(self.log)
        self.daemon = Daemon('coordinator', [
            self.bench.program('penstock-coordinator'), '--http', f'unix:{self.http}', '--rpc',
            'tcp://127.0.0.1:0', '--state', self.state, '--lease', '60s', '--log-level', 'info'],
            self.log)
        self.daemon.wait_ready(60)
        self.url = 'tcp://127.0.0.1:' + wait_line(self.log, r'rpc_port=(\d+)').group(1)
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.daemon.tail(), file=sys.stderr)
        self.daemon.kill()

    def call(self, method, path, body=None):
        connection = UnixConnection(self.http, 30)
        connection.request(method, path, body, {'Content-Type': 'application/json'} if body else {})
        answer = connection.getresponse()
        data = answer.read().decode()
        connection.close()
        if answer.status >= 400:
            raise SystemExit(f'{method} {path}: {answer.status} {data}')
        return data

    def begin(self):
        self.call('PUT', '/v1/pipelines/p', SPEC)
        self.call('POST', '/v1/pipelines/p:start')

    def wait_online(self, agents):
        """How many agents are online, once so many are or after a while."""
        def count():
            return len(re.findall(r'"state":\s*"online"', self.call('GET', '/v1/agents')))
        try:
            wait_for('agents', 60, lambda: count() >= agents, 0.5)
        except TimeoutError:
            pass
        return count()

    def cpu_s(self):
        with open(f'/proc/{self.daemon.pid}/stat', encoding='ascii') as stat:
            fields = stat.read().rsplit(') ', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def rss_mib(self):
        with open(f'/proc/{self.daemon.pid}/status', encoding='ascii') as status:
            return int(re.search(r'VmRSS:\s+(\d+)', status.read()).group(1)) / 1024


def client(bench, *words):
    done = subprocess.run([bench.tool(words[0]), *words[1:]], stdout=subprocess.PIPE, text=True,
                          check=True)
    return values(done.stdout)


def ours(bench, mode, objects):
    """One run with a fresh state; all counts must be right afterwards."""
    with Coordinator(bench, 'rpc-state') as coordinator:
        coordinator.begin()
        cpu = coordinator.cpu_s()
        found = client(bench, 'rpc_bench', mode, coordinator.url, str(CLIENTS), str(objects))
        found['server_us'] = (coordinator.cpu_s() - cpu) * 1e6 / found['loaded']
        pipeline = coordinator.call('GET', '/v1/pipelines/p')
        totals = re.search(r'"batches_loaded":\s*"(\d+)"', pipeline).group(1)
        decoded = re.search(r'"decoded":\s*"(\d+)"', pipeline).group(1)
        if int(totals) != int(found['loaded']) or int(decoded) != 1000 * int(totals):
            raise SystemExit(f'{found["loaded"]:.0f} batches were reported: {pipeline}')
        return found


class Peer:
    """rpc_peer serve, as a context."""

    def __init__(self, bench, commits):
        self.bench = bench
        self.commits = commits

    def __enter__(self):
        path = self.bench.path('peer.db')
        remove(path)
        # Its port is from below the range that outgoing connections take theirs from.
        for port in range(27300, 27400):
            self.url = f'tcp://127.0.0.1:{port}'
            self.process = subprocess.Popen([self.bench.tool('rpc_peer'), 'serve', self.url, path,
                                             self.commits], stdout=subprocess.PIPE, text=True,
                                            stderr=subprocess.DEVNULL)
            if self.process.stdout.readline().strip() == 'ready':
                return self
            self.process.wait()
        raise SystemExit('no free port')

    def __exit__(self, kind, value, trace):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def peer(bench, commits, seconds):
    with Peer(bench, commits) as server:
        return client(bench, 'rpc_peer', 'client', server.url, str(CLIENTS), str(2 * CLIENTS),
                      str(seconds))


def medians(runs):
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


@case('rpc')
def rpc(bench):
    """Grants and completions by 100 clients over nng, FULL sync, beside nng + SQLite alone."""
    small = bench.args.no_gate
    objects = 2000 if small else 40000
    seconds = 0.3 if small else 2
    before = busy_share()
    singles, claims, groups, each = [], [], [], []
    for _ in range(bench.args.rounds):
        singles.append(ours(bench, 'load', objects))
        groups.append(peer(bench, 'group', seconds))
        claims.append(ours(bench, 'claim', 3 * objects))
        each.append(peer(bench, 'each', seconds))
    after = busy_share()
    single, claim, group, one = (medians(runs) for runs in (singles, claims, groups, each))
    # Beside other work the one thread that writes gets less than nng's many: no rate is judged then.
    quiet = max(before, after) < QUIET
    bench.figure('grants and completions', single['requests_s'], 'requests/s', least=20000 * quiet)
    bench.figure('p99 of a grant', single['sync_p99_us'] / 1000, 'ms', most=20 * quiet)
    bench.figure('p99 of a completion', single['done_p99_us'] / 1000, 'ms', most=20 * quiet)
    bench.figure('claims of 16', claim['claimed_s'], 'batches/s', least=60000 * quiet)
    bench.figure('completions after them', claim['reported_s'], 'requests/s')
    bench.figure('discovery', claim['discovered_s'], 'objects/s', least=100000 * quiet)
    bench.figure('the floor, nng + group commit of one row', group['requests_s'], 'requests/s')
    bench.figure('p99 of the floor', group['request_p99_us'] / 1000, 'ms')
    bench.figure('share of the floor', single['requests_s'] / group['requests_s'], 'x', least=0.5 * quiet)
    bench.figure('times a commit a request', single['requests_s'] / one['requests_s'], 'x',
                 least=1.5)
    print(f'rpc: CPU a batch: {single["server_us"]:.0f} us here, {single["client_us"]:.0f} us in the '
          f'clients (claimed by 16: {claim["server_us"]:.0f} us here); the floor: '
          f'{group["client_us"]:.0f} us a request in its clients; {len(singles)} rounds; machine '
          f'busy before {before:.0%}, after {after:.0%}' +
          ('' if quiet else ': rates and latencies are not judged'))


@case('idle')
def idle(bench):
    """5,000 idle agents' connections: the coordinator's memory and CPU."""
    agents, seconds = (200, 1) if bench.args.no_gate else (5000, 10)
    with Coordinator(bench, 'idle-state') as coordinator:
        before = coordinator.rss_mib()
        clients = subprocess.Popen([bench.tool('rpc_bench'), 'idle', coordinator.url, str(agents),
                                    '600'], stdout=subprocess.PIPE, text=True)
        try:
            if clients.stdout.readline().strip() != 'ready':
                raise SystemExit('the agents could not connect')
            online = coordinator.wait_online(agents)
            cpu = coordinator.cpu_s()
            time.sleep(seconds)
            cpu = (coordinator.cpu_s() - cpu) / seconds
            rss = coordinator.rss_mib()
        finally:
            clients.kill()
            clients.wait()
            clients.stdout.close()
    if online != agents:
        raise SystemExit(f'{online} of {agents} agents are online')
    bench.figure(f'memory more with {agents} agents', rss - before, 'MiB', most=60)
    bench.figure('memory in all', rss, 'MiB')
    bench.figure('each agent', (rss - before) * 1024 / agents, 'KiB')
    bench.figure('CPU while they wait (a poll of 3 s each)', 100 * cpu, '% of one', most=30)


def ready_ms(bench, state):
    """From exec to the first 200 of /readyz, on a state that is there."""
    began = time.monotonic()
    with Coordinator(bench, state, fresh=False) as coordinator:
        def is_ready():
            try:
                return coordinator.call('GET', '/readyz') is not None
            except OSError:
                return False
        wait_for('/readyz', 60, is_ready, 0.001)
        return (time.monotonic() - began) * 1000


def at_size(bench, objects):
    """Figures of one catalog, with restarts of the real coordinator on it."""
    state = bench.path('catalog-state')
    remove(state)
    os.mkdir(state, 0o700)
    found = client(bench, 'catalog_bench', os.path.join(state, 'catalog.db'), str(objects),
                   str(20 if bench.args.no_gate else 300))
    found['ready_ms'] = statistics.median(ready_ms(bench, 'catalog-state')
                                          for _ in range(bench.args.rounds))
    remove(state)
    return found


@case('catalog')
def catalog(bench):
    """Catalogs of 1 M and 10 M batch partitions: bytes a row, latencies, restart."""
    sizes = (2000, 20000) if bench.args.no_gate else (1000000, 10000000)
    before = busy_share()
    small, large = (at_size(bench, objects) for objects in sizes)
    for found in (small, large):
        print(f'catalog: {found["objects"]:.0f} rows: {found["row_bytes"]:.0f} bytes each, discovered '
              f'{found["discovered_s"]:.0f}/s; p50/p99 us: grant {found["grant_p50_us"]:.0f}/'
              f'{found["grant_p99_us"]:.0f}, 16 {found["grant16_p50_us"]:.0f}/'
              f'{found["grant16_p99_us"]:.0f}, settle {found["done_p50_us"]:.0f}/'
              f'{found["done_p99_us"]:.0f}, page of 100 {found["page_p50_us"]:.0f}/'
              f'{found["page_p99_us"]:.0f}; CPU a batch {found["batch_cpu_us"]:.0f} us; ready in '
              f'{found["ready_ms"]:.0f} ms')
    bench.figure('bytes a row', large['row_bytes'], 'bytes', most=250)
    quiet = before < QUIET
    bench.figure('discovery', large['discovered_s'], 'objects/s', least=100000 * quiet)
    for name in ('grant_p50_us', 'grant16_p50_us', 'done_p50_us', 'page_p50_us', 'batch_cpu_us',
                 'ready_ms'):
        ratio = large[name] / small[name]
        steady = quiet or name == 'batch_cpu_us'
        bench.figure(f'{name}, large to small', ratio, 'x', most=2 * steady)
    bench.figure('restart to ready', large['ready_ms'], 'ms', most=2000)
    print(f'catalog: machine busy before {before:.0%}, after {busy_share():.0%}')
