# SPDX-License-Identifier: Apache-2.0
"""The checker over a table on a database server, by the server's own client (psql, mariadb)."""
import contextlib
import shutil
import tempfile

import mysql_server
import pg_server
from checker import LEDGER_RANGES, Checker, Unreadable, chain_problems

ESCAPES = {'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', '\\': '\\'}


def copied(field):
    """One field of COPY's text format; None for NULL."""
    if field == '\\N':
        return None
    out, at = [], 0
    while at < len(field):
        if field[at] == '\\':
            at += 1
            out.append(ESCAPES.get(field[at], field[at]))
        else:
            out.append(field[at])
        at += 1
    return ''.join(out)


class PostgreSQL:
    """How a query's cells are read as texts, None for NULL."""
    ABSENT = 'does not exist'
    WIPE = 'DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO loader'
    DISTINCT_REJECTS = 'count(DISTINCT (object, "offset"))'

    @staticmethod
    def quote(name):
        return f'"{name}"'

    @staticmethod
    def read(server, query):
        return [[copied(field) for field in line.split('\t')] for line in server.lines(f'COPY ({query}) TO STDOUT')]

    @staticmethod
    def nullable(name):
        return name

    @staticmethod
    def cell(text):
        return text

    @staticmethod
    def ranges():
        return LEDGER_RANGES

    @staticmethod
    def keep(server):
        """A copy of the database, while nobody writes; put_back makes it the database."""
        for text in ('DROP DATABASE IF EXISTS kept', 'CREATE DATABASE kept TEMPLATE air'):
            server.sql(text, database='postgres', user='admin')

    @staticmethod
    def put_back(server):
        for text in ('DROP DATABASE air', 'ALTER DATABASE kept RENAME TO air'):
            server.sql(text, database='postgres', user='admin')

    @staticmethod
    def waiting_alters(server):
        """How many sessions wait for a table that they would alter."""
        return int(server.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%' AND "
                                "wait_event_type = 'Lock'", user='admin'))


class MariaDB:
    """The client prints NULL as a word that a text may be, so cells come with a letter before them."""
    ABSENT = "doesn't exist"
    WIPE = 'DROP DATABASE IF EXISTS air; CREATE DATABASE air CHARACTER SET utf8mb4'
    DISTINCT_REJECTS = 'count(DISTINCT object, `offset`)'

    @staticmethod
    def quote(name):
        return f'`{name}`'

    @staticmethod
    def read(server, query):
        return server.sql(query)

    @staticmethod
    def nullable(name):
        return f"IF({name} IS NULL, 'N', CONCAT('=', {name}))"

    @staticmethod
    def cell(text):
        return None if text == 'N' else text[1:]

    @staticmethod
    def ranges():
        return ('SELECT hex(pipeline_uuid), generation, hex(bp_hash), hex(`key`), from_offset, end_offset, '
                "IF(eof, 't', 'f') FROM _penstock_ledger_range ORDER BY 1, 2, 3, 5")

    @staticmethod
    def tables(server, database):
        return [row[0] for row in server.sql(f'SHOW TABLES FROM {database}', database='')]

    @staticmethod
    def keep(server):
        server.sql('DROP DATABASE IF EXISTS kept; CREATE DATABASE kept CHARACTER SET utf8mb4', database='')
        for name in MariaDB.tables(server, 'air'):
            server.sql(f'CREATE TABLE kept.`{name}` LIKE air.`{name}`;'
                       f'INSERT INTO kept.`{name}` SELECT * FROM air.`{name}`', database='')

    @staticmethod
    def put_back(server):
        server.sql(MariaDB.WIPE, database='')
        for name in MariaDB.tables(server, 'kept'):
            server.sql(f'RENAME TABLE kept.`{name}` TO air.`{name}`', database='')

    @staticmethod
    def waiting_alters(server):
        return int(server.value("SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%' "
                                "AND state LIKE 'Waiting for table metadata lock%'"))


KINDS = {'bigint': int, 'double': float, 'text': str}


def dialect(server):
    return MariaDB if isinstance(server, mysql_server.MysqlServer) else PostgreSQL


SERVERS = {
    'postgresql': (pg_server.find_bin, pg_server.PgServer, 'PostgreSQL server (package postgresql)'),
    'mysql': (mysql_server.find_bin, mysql_server.MysqlServer, 'MariaDB server (package mariadb-server)'),
}


def lacks(scheme):
    """Why no such server can be had here; None where it can, or where none is needed."""
    find, _, name = SERVERS.get(scheme, (lambda: True, None, ''))
    return None if find() else f'there is no {name}'


def start(scheme, settings=()):
    """(a running server, None), or (None, why there is none). settings: for scheme alone."""
    why = lacks(scheme)
    return (None, why) if why else (SERVERS[scheme][1](settings).start(), None)


@contextlib.contextmanager
def place(scheme, prefix):
    """(a running server, or None for SQLite; an empty folder), both gone at the end."""
    folder = tempfile.mkdtemp(prefix=prefix, dir='/tmp')
    server = None
    try:
        server = start(scheme)[0] if scheme in SERVERS else None
        yield server, folder
    finally:
        if server:
            server.close()
        shutil.rmtree(folder, ignore_errors=True)


def read(server, query):
    """Rows of texts; none where there is no such table yet."""
    of = dialect(server)
    try:
        return of.read(server, query)
    except RuntimeError as error:
        if of.ABSENT in str(error) or 'Unknown database' in str(error):
            return []
        raise Unreadable(str(error)) from error


def count_ids(server, table, column='id'):
    """(rows, distinct values of the column); nothing where there is no table yet."""
    found = read(server, f'SELECT count(*), count(DISTINCT {column}) FROM {dialect(server).quote(table)}')
    return (int(found[0][0]), int(found[0][1])) if found else (0, 0)


def count_rows(server, table):
    return count_ids(server, table)[0]


def wipe(server):
    """An empty database again."""
    server.sql(dialect(server).WIPE, user='admin')


class ServerChecker(Checker):
    def __init__(self, expected, server, table='t'):
        self.server = server
        self.of = dialect(server)
        super().__init__(expected, server.url(), table)
        self.quoted = self.of.quote(table)
        self.names = ', '.join(self.of.nullable(self.of.quote(name)) for name, _ in expected.columns)

    def read(self, query, *args):
        return read(self.server, query)

    def rows(self):
        for row in self.read(f'SELECT {self.names} FROM {self.quoted}'):
            cells = [self.of.cell(text) for text in row]
            yield [None if text is None else KINDS[kind](text)
                   for text, (_, kind) in zip(cells, self.expected.columns)]

    def poll(self):
        """Every row has an id of its own, so a copy shows by its id; the rest is seen at the end."""
        try:
            rows, distinct = count_ids(self.server, self.table)
        except Unreadable:
            return False
        self.polls += 1
        if rows != distinct:
            self.problem(f'{rows - distinct} duplicate rows')
        return True

    def count(self):
        try:
            return count_rows(self.server, self.table)
        except Unreadable:
            return None

    def check_end(self, deadline_ok=True):
        kept = self.problems
        self.reset()
        self.problems = kept
        try:
            for cells in self.rows():
                self.take(cells)
            rejects = self.read(f'SELECT count(*), {self.of.DISTINCT_REJECTS} '
                                f'FROM {self.of.quote(self.table + "_rejects")}')
            ranges = self.read(self.of.ranges())
        except Unreadable as error:
            return self.problems + [f'the table cannot be read: {error}']
        self.check_whole(tuple(int(text) for text in rejects[0]) if rejects else (0, 0))
        for problem in chain_problems([(*row[:4], int(row[4]), int(row[5]), row[6] == 't') for row in ranges]):
            self.problem(problem)
        return self.problems
