# SPDX-License-Identifier: Apache-2.0
"""A MariaDB server of the test's own."""
import os

from db_server import DbServer


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


class MysqlServer(DbServer):
    SCHEME = 'mysql'
    USER = 'mysql'
    ASKS_AS = 'admin'
    PLAIN = ('--batch', '--skip-column-names')
    PROMPT = ('--unbuffered',)

    def __init__(self, settings=()):
        super().__init__()
        self.bin = find_bin()
        self.socket = os.path.join(self.folder, 'socket')
        self.settings = ['--no-defaults', f'--datadir={self.data}', f'--socket={self.socket}', f'--port={self.port}',
                         '--bind-address=127.0.0.1', f'--pid-file={self.folder}/pid', '--skip-name-resolve',
                         '--max-connections=60', '--innodb-flush-log-at-trx-commit=1', *settings]
        os.chmod(self.folder, 0o755)

    def make_data(self):
        self.make('mariadb-install-db', '--no-defaults', f'--datadir={self.data}', '--skip-test-db',
                  '--auth-root-authentication-method=normal', '--skip-name-resolve', '--innodb-log-file-size=16M')

    def make_users(self):
        self.sql("CREATE DATABASE air CHARACTER SET utf8mb4; CREATE USER loader@'127.0.0.1', loader@localhost;"
                 "CREATE USER admin@'127.0.0.1', admin@localhost;"
                 "GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;"
                 'GRANT ALL ON *.* TO admin@localhost WITH GRANT OPTION;'
                 "GRANT ALL ON air.* TO loader@'127.0.0.1'; GRANT ALL ON air.* TO loader@localhost",
                 database='', user='root')

    def command(self):
        return [self.bin, *self.settings]

    def ping(self):
        return ['mariadb-admin', '--no-defaults', f'--socket={self.socket}', '-u', 'root', 'ping']

    def client(self, *more, database='air', user='loader'):
        return ['mariadb', '--no-defaults', f'--socket={self.socket}', '-u', user, '--default-character-set=utf8mb4',
                *more, *([database] if database else [])]

    @staticmethod
    def cells(line):
        """NULL is the word."""
        return [unescape(field) for field in line.split('\t')]
