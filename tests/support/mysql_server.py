# SPDX-License-Identifier: Apache-2.0
"""A MariaDB server of the test's own: its own data folder, a unix socket and a free loopback port."""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from pg_server import free_port, is_alive

SEPARATOR = '\t'


def find_bin():
    """The server's program; None when there is none."""
    for path in ('/usr/sbin/mariadbd', '/usr/sbin/mysqld'):
        if os.path.exists(path):
            return path
    return None


def unescape(text):
    """A field as `mariadb --batch` prints it; NULL stays the word."""
    if '\\' not in text:
        return text
    out = []
    rest = iter(text)
    for c in rest:
        if c == '\\':
            c = next(rest)
            c = {'n': '\n', 't': '\t', '0': '\0'}.get(c, c)
        out.append(c)
    return ''.join(out)


class MysqlServer:
    """Started by `start`; `url()` names database `air` as user `loader`, who has no password and may make
    tables there. `admin` may do everything."""

    def __init__(self, settings=()):
        self.bin = find_bin()
        self.folder = tempfile.mkdtemp(prefix='penstock-my-', dir='/tmp')
        self.data = os.path.join(self.folder, 'data')
        self.socket = os.path.join(self.folder, 'socket')
        # A server that starts removes the temporary tables of all others from a folder that they share.
        self.env = {**os.environ, 'TMPDIR': self.folder}
        self.port = free_port()
        # The server refuses to run as root unless it is told to change its user.
        self.user = pwd.getpwnam('mysql') if os.getuid() == 0 else None
        self.settings = ['--no-defaults', f'--datadir={self.data}', f'--socket={self.socket}', f'--port={self.port}',
                         '--bind-address=127.0.0.1', f'--pid-file={self.folder}/pid', '--skip-name-resolve',
                         '--max-connections=60', '--innodb-flush-log-at-trx-commit=1',
                         *([f'--user={self.user.pw_name}'] if self.user else []), *settings]
        self.child = None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        os.chmod(self.folder, 0o755)

    def start(self, fresh=True):
        if fresh:
            done = subprocess.run(
                ['mariadb-install-db', '--no-defaults', f'--datadir={self.data}', '--skip-test-db',
                 '--auth-root-authentication-method=normal', '--skip-name-resolve', '--innodb-log-file-size=16M',
                 *([f'--user={self.user.pw_name}'] if self.user else [])],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=self.env)
            if done.returncode != 0:
                raise RuntimeError('mariadb-install-db failed: ' + done.stdout + done.stderr)
        with open(os.path.join(self.folder, 'log'), 'ab') as log:
            self.child = subprocess.Popen([self.bin, *self.settings], cwd=self.folder, stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, env=self.env)
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError('the server did not start: ' + self.log_tail())
            time.sleep(0.05)
        if fresh:
            self.sql("CREATE DATABASE air CHARACTER SET utf8mb4; CREATE USER loader@'127.0.0.1', loader@localhost;"
                     "CREATE USER admin@'127.0.0.1', admin@localhost;"
                     "GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;"
                     'GRANT ALL ON *.* TO admin@localhost WITH GRANT OPTION;'
                     "GRANT ALL ON air.* TO loader@'127.0.0.1'; GRANT ALL ON air.* TO loader@localhost",
                     database='', user='root')
        return self

    def answers(self):
        return subprocess.run(['mariadb-admin', '--no-defaults', f'--socket={self.socket}', '-u', 'root', 'ping'],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def log_tail(self):
        with open(os.path.join(self.folder, 'log'), encoding='utf-8', errors='replace') as log:
            return log.read()[-2000:]

    def url(self, database='air', user='loader', port=None):
        return f'mysql://{user}@127.0.0.1:{port or self.port}/{database}'

    def client(self, *more, database='air', user='loader'):
        """The command line of the server's own client."""
        return ['mariadb', '--no-defaults', f'--socket={self.socket}', '-u', user, '--default-character-set=utf8mb4',
                *more, *([database] if database else [])]

    def sql(self, text, database='air', user='admin'):
        """Rows as lists of texts; NULL is the word. An error raises with the server's words."""
        done = subprocess.run(self.client('--batch', '--skip-column-names', database=database, user=user),
                              input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return [[unescape(field) for field in line.split(SEPARATOR)] for line in done.stdout.split('\n')[:-1]]

    def value(self, text, **more):
        return self.sql(text, **more)[0][0]

    def kill(self):
        """As a power cut would."""
        pid = self.child.pid
        os.kill(pid, signal.SIGKILL)
        self.child.wait()
        self.child = None
        deadline = time.monotonic() + 20
        while is_alive(pid):
            if time.monotonic() > deadline:
                raise RuntimeError('a killed server does not end')
            time.sleep(0.01)

    def stop(self):
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.child = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
