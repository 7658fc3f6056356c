# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of the test's own: its own data folder, a unix socket and a free loopback port."""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def find_bin():
    """The folder of the newest installed server's programs; None when there is none."""
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin/postgres'),
                   key=lambda path: int(path.split('/')[4].split('.')[0]))
    return os.path.dirname(found[-1]) if found else None


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as text:
            return text.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


class PgServer:
    """Started by `start`; `url()` names database `air` as role `loader`, which may make tables there."""

    def __init__(self, settings=()):
        self.bin = find_bin()
        self.folder = tempfile.mkdtemp(prefix='penstock-pg-', dir='/tmp')
        self.data = os.path.join(self.folder, 'data')
        self.port = free_port()
        self.settings = ['listen_addresses=127.0.0.1', f'unix_socket_directories={self.folder}',
                         f'port={self.port}', 'max_connections=60', 'fsync=on', *settings]
        self.child = None
        # The server refuses to run as root.
        self.user = pwd.getpwnam('postgres') if os.getuid() == 0 else None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)

    def run_as(self, command, **more):
        if self.user:
            more.update(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[])
        return subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, **more)

    def start(self, fresh=True):
        if fresh:
            done = self.run_as([os.path.join(self.bin, 'initdb'), '-D', self.data, '-A', 'trust', '-U', 'admin',
                                '-E', 'UTF8', '--no-locale', '--no-sync'], stdout=subprocess.DEVNULL)
            if done.wait() != 0:
                raise RuntimeError('initdb failed')
        if fresh:
            path = os.path.join(self.data, 'pg_hba.conf')
            with open(path, encoding='utf-8') as text:
                rules = text.read()
            with open(path, 'w', encoding='utf-8') as text:  # the one role that has to say a password
                text.write('host all guarded 127.0.0.1/32 scram-sha-256\n' + rules)
        arguments = [word for setting in self.settings for word in ('-c', setting)]
        log = open(os.path.join(self.folder, 'log'), 'ab')
        self.child = self.run_as([os.path.join(self.bin, 'postgres'), '-D', self.data, *arguments],
                                 stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 60
        while subprocess.run([os.path.join(self.bin, 'pg_isready'), '-q', '-h', self.folder, '-p',
                              str(self.port)], check=False).returncode != 0:
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError('the server did not start: ' + self.log_tail())
            time.sleep(0.05)
        if fresh:
            self.sql('CREATE ROLE loader LOGIN; CREATE DATABASE air OWNER loader', database='postgres', user='admin')
        return self

    def log_tail(self):
        with open(os.path.join(self.folder, 'log'), encoding='utf-8', errors='replace') as log:
            return log.read()[-2000:]

    def url(self, database='air', user='loader', port=None):
        return f'postgresql://{user}@127.0.0.1:{port or self.port}/{database}'

    def sql(self, text, database='air', user='loader'):
        """Rows as lists of texts."""
        return [line.split('\x1f') for line in self.lines(text, database, user)]

    def lines(self, text, database='air', user='loader'):
        """What psql prints, line by line; an error raises with the server's words."""
        done = subprocess.run([os.path.join(self.bin, 'psql'), '-X', '-q', '-A', '-t', '-F', '\x1f', '-v',
                               'ON_ERROR_STOP=1', '-h', self.folder, '-p', str(self.port), '-U', user, database],
                              input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.split('\n')[:-1]

    def value(self, text, **more):
        return self.sql(text, **more)[0][0]

    def kill(self):
        """As a power cut would: the postmaster and all its children at once."""
        os.kill(self.child.pid, signal.SIGSTOP)  # so that it makes no more children meanwhile
        pids = [self.child.pid]
        with open(f'/proc/{self.child.pid}/task/{self.child.pid}/children', encoding='ascii') as text:
            pids += [int(word) for word in text.read().split()]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()
        self.child = None
        # A new server is refused while one of them still has the old one's memory.
        deadline = time.monotonic() + 20
        while any(is_alive(pid) for pid in pids):
            if time.monotonic() > deadline:
                raise RuntimeError('killed server processes do not end')
            time.sleep(0.01)

    def stop(self):
        if self.child is not None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self.child = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
