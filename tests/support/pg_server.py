# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of the test's own."""
import glob
import os
import signal

from db_server import DbServer


def find_bin():
    """The folder of the newest installed server's programs; None when there is none."""
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin/postgres'),
                   key=lambda path: int(path.split('/')[4].split('.')[0]))
    return os.path.dirname(found[-1]) if found else None


class PgServer(DbServer):
    SCHEME = 'postgresql'
    USER = 'postgres'
    END = signal.SIGINT
    DROP = signal.SIGQUIT  # leaves no shared memory behind, as a kill would
    PLAIN = ('-A', '-t', '-F', '\x1f', '-v', 'ON_ERROR_STOP=1')

    def __init__(self, settings=()):
        super().__init__()
        self.bin = find_bin()
        self.settings = ['listen_addresses=127.0.0.1', f'unix_socket_directories={self.folder}',
                         f'port={self.port}', 'max_connections=60', 'fsync=on', *settings]

    def program(self, name):
        return os.path.join(self.bin, name)

    def make_data(self):
        self.make(self.program('initdb'), '-D', self.data, '-A', 'trust', '-U', 'admin', '-E', 'UTF8', '--no-locale',
                  '--no-sync')
        self.put_rules('host all guarded 127.0.0.1/32 scram-sha-256\n')  # the one role that has to say a password

    def put_rules(self, rules):
        """Before those of pg_hba.conf that are there."""
        path = os.path.join(self.data, 'pg_hba.conf')
        with open(path, encoding='utf-8') as text:
            rules += text.read()
        with open(path, 'w', encoding='utf-8') as text:
            text.write(rules)

    def make_users(self):
        self.sql('CREATE ROLE loader LOGIN; CREATE DATABASE air OWNER loader', database='postgres', user='admin')

    def command(self):
        return [self.program('postgres'), '-D', self.data, *(word for setting in self.settings for word in ('-c', setting))]

    def ping(self):
        return [self.program('pg_isready'), '-q', '-h', self.folder, '-p', str(self.port)]

    def client(self, *more, database='air', user='loader'):
        return [self.program('psql'), '-X', '-q', *more, '-h', self.folder, '-p', str(self.port), '-U', user, database]

    @staticmethod
    def cells(line):
        return line.split('\x1f')
