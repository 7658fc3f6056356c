# SPDX-License-Identifier: Apache-2.0
"""A database server of a test's own: its own data folder, a unix socket and a free loopback port.

What kind it is, a subclass says: how its data are made and its program is called, what tells that it
answers, and how its client is asked."""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

from cluster import children, wait_for
from loopback import free_port


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as text:
            return text.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


class Session:
    """A client of the server's that has been told one thing and stays: use as a context, which ends it."""

    def __init__(self, command, text):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)
        self.child.stdin.write(text + '\n')
        self.child.stdin.flush()

    def said(self):
        """Its next line."""
        return self.child.stdout.readline().rstrip('\n')

    def end(self):
        """What is open is rolled back; an error of the server raises."""
        said = self.child.communicate(timeout=60)[0]
        if self.child.returncode != 0:
            raise RuntimeError(said)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


class DbServer:
    """Started by `start`; `url()` names database `air` as user `loader`, who has no password and may make
    tables there. `admin` may do everything."""
    SCHEME = ''
    USER = ''                 # of the system: the servers refuse to run as root
    END = signal.SIGTERM      # ends it in order, without waiting for its clients
    DROP = signal.SIGKILL     # ends it where its data are not needed any more
    ASKS_AS = 'loader'        # who `sql` is, where it is not said
    PLAIN = ()                # options of its client: rows as lines, nothing else
    PROMPT = ()               # more of them: each row is written at once

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix=f'penstock-{self.SCHEME}-', dir='/tmp')
        self.data = os.path.join(self.folder, 'data')
        self.port = free_port()
        self.child = None
        self.user = pwd.getpwnam(self.USER) if os.getuid() == 0 else None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)

    # ---- of each kind

    def make_data(self):
        """A fresh data folder; nothing runs yet."""
        raise NotImplementedError

    def make_users(self):
        """In a fresh server that answers."""
        raise NotImplementedError

    def command(self):
        """The server's own, that stays in the foreground."""
        raise NotImplementedError

    def ping(self):
        """A command that succeeds when the server answers."""
        raise NotImplementedError

    def client(self, *more, database='air', user='loader'):
        """The command line of the server's own client."""
        raise NotImplementedError

    @staticmethod
    def cells(line):
        """Of a line that the client prints with PLAIN."""
        raise NotImplementedError

    # ---- its life

    def run_as(self, command, **more):
        """As the user that the server runs as, with temporary tables in a folder of its own: a MariaDB server
        that starts removes those of all others from one that they share."""
        more['env'] = {**os.environ, 'TMPDIR': self.folder}
        if self.user:
            more.update(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[])
        return subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, **more)

    def make(self, *command):
        """Runs a command that makes data."""
        done = self.run_as(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = done.communicate()[0]
        if done.returncode != 0:
            raise RuntimeError(f'{os.path.basename(command[0])} failed: {said}')

    def start(self, fresh=True):
        if fresh:
            self.make_data()
        with open(os.path.join(self.folder, 'log'), 'ab') as log:
            self.child = self.run_as(self.command(), stdout=log, stderr=log)
        try:
            wait_for('the server to answer', 60, self.answers, 0.05)
        except TimeoutError as error:
            raise RuntimeError(f'{error}: {self.log_tail()}') from error
        if fresh:
            self.make_users()
        return self

    def answers(self):
        if self.child.poll() is not None:
            raise RuntimeError('the server did not start: ' + self.log_tail())
        return subprocess.run(self.ping(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def log_tail(self):
        with open(os.path.join(self.folder, 'log'), encoding='utf-8', errors='replace') as log:
            return log.read()[-2000:]

    def kill(self):
        """As a power cut would: the server and all its children at once."""
        os.kill(self.child.pid, signal.SIGSTOP)  # so that it makes no more children meanwhile
        pids = [self.child.pid, *children(self.child.pid)]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()
        self.child = None
        # A new server is refused while one of them still has the old one's memory.
        wait_for('killed server processes to end', 20, lambda: not any(is_alive(pid) for pid in pids), 0.01)

    def stop(self, number=None):
        if self.child is not None:
            self.child.send_signal(number or self.END)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.child = None

    def close(self):
        self.stop(self.DROP)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what it is asked

    def url(self, database='air', user='loader', port=None):
        return f'{self.SCHEME}://{user}@127.0.0.1:{port or self.port}/{database}'

    def lines(self, text, database='air', user=None):
        """What the client prints, line by line; an error raises with the server's words."""
        done = subprocess.run(self.client(*self.PLAIN, database=database, user=user or self.ASKS_AS), input=text,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.split('\n')[:-1]

    def session(self, text, database='air', user=None):
        return Session(self.client(*self.PLAIN, *self.PROMPT, database=database, user=user or self.ASKS_AS), text)

    def sql(self, text, **more):
        """Rows as lists of texts."""
        return [self.cells(line) for line in self.lines(text, **more)]

    def value(self, text, **more):
        return self.sql(text, **more)[0][0]
