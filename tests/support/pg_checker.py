# SPDX-License-Identifier: Apache-2.0
"""The checker over a PostgreSQL table, by the server's own psql."""
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


class PgChecker(Checker):
    KINDS = {'bigint': int, 'double': float, 'text': str}

    def __init__(self, expected, server, table='t'):
        self.server = server
        super().__init__(expected, server.url(), table)

    def read(self, query, *args):
        """Rows of texts."""
        try:
            return [[copied(field) for field in line.split('\t')]
                    for line in self.server.lines(f'COPY ({query}) TO STDOUT')]
        except RuntimeError as error:
            if 'does not exist' in str(error):
                return []
            raise Unreadable(str(error)) from error

    def rows(self):
        for row in self.read(f'SELECT {self.names} FROM "{self.table}"'):
            yield [None if text is None else self.KINDS[kind](text)
                   for text, (_, kind) in zip(row, self.expected.columns)]

    def poll(self):
        """Every row has an id of its own, so a copy shows by its id; the rest is seen at the end."""
        try:
            found = self.read(f'SELECT count(*), count(DISTINCT id) FROM "{self.table}"')
        except Unreadable:
            return False
        self.polls += 1
        if found and found[0][0] != found[0][1]:
            self.problem(f'{int(found[0][0]) - int(found[0][1])} duplicate rows')
        return True

    def count(self):
        try:
            found = self.read(f'SELECT count(*) FROM "{self.table}"')
        except Unreadable:
            return None
        return int(found[0][0]) if found else 0

    def check_end(self, deadline_ok=True):
        kept = self.problems
        self.reset()
        self.problems = kept
        try:
            for cells in self.rows():
                self.take(cells)
            rejects = self.read('SELECT count(*), count(DISTINCT (object, "offset")) '
                                f'FROM "{self.table}_rejects"')
            ranges = self.read(LEDGER_RANGES)
        except Unreadable as error:
            return self.problems + [f'the table cannot be read: {error}']
        self.check_whole(tuple(int(text) for text in rejects[0]) if rejects else (0, 0))
        for problem in chain_problems([(*row[:4], int(row[4]), int(row[5]), row[6] == 't') for row in ranges]):
            self.problem(problem)
        return self.problems
