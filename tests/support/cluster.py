# SPDX-License-Identifier: Apache-2.0
"""Real daemons from build/PRESET/bin, each in a temporary folder of its own.

Processes are ended by the ids that we know: those started here, and their children by /proc."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Short enough that a test sees them run out, in the order that the coordinator insists on.
TIMES = {'lease': '2s', 'heartbeat': '300ms', 'self-stop': '1500ms', 'leaf-silence': '1s'}
BROKEN = re.compile('AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|broken invariant')
PHASES = ('fetch', 'stage', 'load', 'commit', 'report')

# An end from outside (a time limit) ends the daemons too.
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))


def wait_for(what, seconds, condition, every=0.02):
    """The condition's first true value; TimeoutError names what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f'waited {seconds} s for {what}')
        time.sleep(every)


def children(pid):
    """Ids of the children of a process, from /proc."""
    found = []
    try:
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/children', encoding='ascii') as text:
                found += [int(word) for word in text.read().split()]
    except OSError:
        pass
    return found


def leaf_number(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as text:
            words = text.read().split(b'\0')
        return int(words[words.index(b'--leaf') + 1])
    except (OSError, ValueError, IndexError):
        return None


def leaf_phases(pid):
    """What the leaf's threads do now: their names, where those are phases."""
    found = []
    try:
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/comm', encoding='ascii') as text:
                name = text.read().strip()
            if name in PHASES:
                found.append(name)
    except OSError:
        pass
    return found


class Daemon:
    def __init__(self, name, command, log, env=None):
        self.name = name
        self.log = log
        reader, writer = os.pipe()
        command = [*command, '--ready-fd', str(writer)]
        with open(log, 'ab') as out:
            out.write(f'--- {" ".join(command)}\n'.encode())
            out.flush()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=[writer],
                env={**os.environ, **(env or {})})
        os.close(writer)
        self.ready_fd = reader
        self.pid = self.process.pid

    def wait_ready(self, seconds=20):
        os.set_blocking(self.ready_fd, False)

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f'{self.name} ended with status {self.process.returncode}:\n'
                                   f'{self.tail()}')
            try:
                return b'ready' in os.read(self.ready_fd, 64)
            except BlockingIOError:
                return False
        try:
            wait_for(f'{self.name} to be ready', seconds, ready, 0.005)
        finally:
            os.close(self.ready_fd)
            self.ready_fd = -1

    def send(self, number):
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=20):
        """SIGTERM, then SIGKILL when it does not end. Returns the exit status."""
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def tail(self, lines=30):
        with open(self.log, 'rb') as text:
            return b'\n'.join(text.read().split(b'\n')[-lines:]).decode('utf-8', 'replace')


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__('localhost', timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class ApiError(Exception):
    def __init__(self, status, body):
        super().__init__(f'HTTP {status}: {json.dumps(body)[:600]}')
        self.status = status
        self.body = body


class Cluster:
    """One coordinator and any number of agents. Use as a context: all of it ends with it."""

    def __init__(self, build, times=None, keep=False, quiet=False):
        self.bin = os.path.join(ROOT, build, 'bin')
        self.folder = tempfile.mkdtemp(prefix='pk-', dir='/tmp')
        self.times = {**TIMES, **(times or {})}
        self.keep = keep
        self.quiet = quiet  # no logs when it ends with an exception
        self.coordinator = None
        self.agents = {}
        self.env = {}
        self.wraps = {}  # 'coordinator' or 'agent' → the words of a command to run it under

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for agent in self.agents.values():
            for pid in [*children(agent.pid), agent.pid]:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
            agent.kill()
        if self.coordinator is not None:
            self.coordinator.kill()
        if kind is not None and not self.quiet:
            self.show_logs()
        if self.keep:
            print(f'kept {self.folder}')
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def show_logs(self, lines=25):
        for name in sorted(os.listdir(self.folder)):
            if name.endswith('.log'):
                with open(self.path(name), 'rb') as text:
                    tail = text.read().decode('utf-8', 'replace').split('\n')[-lines:]
                print(f'--- {name}\n' + '\n'.join(tail), file=sys.stderr)

    def broken(self):
        """Lines of the logs that no run may have: sanitizers' findings and broken invariants."""
        found = []
        for name in sorted(os.listdir(self.folder)):
            if name.endswith('.log'):
                with open(self.path(name), encoding='utf-8', errors='replace') as text:
                    found += [f'{name}: {line.strip()[:200]}' for line in text if BROKEN.search(line)]
        return found

    def start_coordinator(self, failpoints=''):
        times = [word for key, value in self.times.items() for word in (f'--{key}', value)]
        self.coordinator = Daemon('coordinator', [
            *self.wraps.get('coordinator', ()), os.path.join(self.bin, 'penstock-coordinator'), '--http', f'unix:{self.path("http")}',
            '--rpc', f'ipc://{self.path("rpc")}', '--state', self.path('coordinator'), *times,
        ], self.path('coordinator.log'), {**self.env, 'PENSTOCK_FAILPOINTS': failpoints})
        self.coordinator.wait_ready()
        return self.coordinator

    def start_agent(self, name='a', leaves=4, failpoints='', wait=True, extra=()):
        self.agents[name] = Daemon(f'agent {name}', [
            *self.wraps.get('agent', ()), os.path.join(self.bin, 'penstock-agent'), '--coordinator', f'ipc://{self.path("rpc")}',
            '--name', name, '--leaves', str(leaves), '--state', self.path(f'agent-{name}'), *extra,
        ], self.path(f'agent-{name}.log'), {**self.env, 'PENSTOCK_FAILPOINTS': failpoints})
        if wait:
            self.agents[name].wait_ready()
        return self.agents[name]

    def leaves(self, name='a'):
        """{leaf number: process id} of an agent."""
        found = {leaf_number(pid): pid for pid in children(self.agents[name].pid)}
        found.pop(None, None)
        return found

    def phases(self):
        """Phases of all leaves of all agents now."""
        return [phase for name in self.agents for pid in self.leaves(name).values()
                for phase in leaf_phases(pid)]

    # ---- HTTP

    def call(self, method, path, body=None, timeout=20):
        connection = UnixConnection(self.path('http'), timeout)
        try:
            text = None if body is None else json.dumps(body)
            headers = {} if body is None else {'Content-Type': 'application/json'}
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        value = json.loads(data) if data else None
        if answer.status >= 400:
            raise ApiError(answer.status, value)
        return value

    def call_retrying(self, method, path, body=None, seconds=20):
        """The same while the coordinator may be away."""
        def once():
            try:
                return (self.call(method, path, body),)
            except (OSError, http.client.HTTPException):
                return None
            except ApiError as error:
                if error.status < 500:
                    raise
                return None
        return wait_for(f'{method} {path}', seconds, once)[0]

    def apply(self, spec):
        return self.call_retrying('PUT', f'/v1/pipelines/{spec["name"]}', spec)

    def start(self, name):
        return self.call_retrying('POST', f'/v1/pipelines/{name}:start')

    def pipeline(self, name):
        return self.call_retrying('GET', f'/v1/pipelines/{name}')

    def state(self, name):
        return self.pipeline(name)['state']

    def wait_end(self, name, seconds=60, each=None):
        """Waits until the pipeline has ended; each() is called between looks. Returns it."""
        def ended():
            if each is not None:
                each()
            found = self.pipeline(name)
            return found if found['state'] in ('completed', 'stalled', 'failed', 'stopped') else None
        try:
            return wait_for(f'pipeline {name} to end', seconds, ended, 0.05)
        except TimeoutError as error:
            raise TimeoutError(f'{error}: {json.dumps(self.pipeline(name))[:1500]}') from error

    def list_all(self, path):
        items, cursor = [], None
        while True:
            page = self.call_retrying('GET', path + (f'?cursor={cursor}' if cursor else ''))
            items += page['items']
            cursor = page.get('next')
            if not cursor:
                return items


class Report:
    """Counts what passed and prints one line each; the last line is the ladder's."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def skip(self, why, cases=1):
        self.skipped += cases
        print(f'skipped: {why}', flush=True)

    def case(self, good, text):
        self.passed += bool(good)
        self.failed += not good
        print(f'{"ok  " if good else "FAIL"} {text}', flush=True)
        return good

    def end(self):
        print(f'{self.passed} passed, {self.failed} failed'
              + (f', {self.skipped} skipped' if self.skipped else ''), flush=True)
        return 1 if self.failed or not self.passed + self.skipped else 0


def skip_all(why):
    """What a program prints and returns that cannot run here at all."""
    report = Report()
    report.skip(why)
    return report.end()
