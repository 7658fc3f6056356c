# SPDX-License-Identifier: Apache-2.0
"""Says whether a table is exactly what the source files say. Reads the source files (with Python's
csv, gzip, bz2, lzma and the zstd and lz4 programs) and the SQLite file, nothing else: no catalog, no log, no API.

A row is compared as a hash of every cell with its type. At any instant the table may hold no row
twice and none that the source does not have; at the end it must hold all of them."""
import bz2
import csv
import gzip
import hashlib
import io
import lzma
import os
import sqlite3
import subprocess
from collections import Counter

csv.field_size_limit(1 << 30)
INT64 = range(-2**63, 2**63)


def read_object(path):
    """The unwrapped bytes, by the first bytes and not by the name."""
    with open(path, 'rb') as source:
        data = source.read()
    if data[:2] == b'\x1f\x8b':
        return gzip.decompress(data)
    if data[:4] == b'\x28\xb5\x2f\xfd':
        return subprocess.run(['zstd', '-dc', '-q'], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    if data[:4] == b'\x04\x22\x4d\x18':
        return subprocess.run(['lz4', '-dc', '-q'], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    if data[:6] == b'\xfd7zXZ\0':
        return lzma.decompress(data)
    if data[:3] == b'BZh':
        return bz2.decompress(data)
    return data


def cell(field, kind):
    """The value that must stand in the table; ValueError when the record must be rejected."""
    if field == '':
        return None
    if kind == 'bigint':
        value = int(field)
        if str(value) != field or value not in INT64:
            raise ValueError(field)
        return value
    if kind == 'double':
        return float(field)
    return field


def digest(cells):
    text = '\x1f'.join(f'{type(value).__name__}:{value!r}' for value in cells)
    return hashlib.blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=10).digest()


class Expected:
    """What the source says: a Counter of row digests, and how many records must be rejected."""

    def __init__(self, folder, columns):
        self.rows = Counter()
        self.rejects = 0
        self.columns = columns
        paths = sorted(os.path.join(where, name) for where, _, names in os.walk(folder)
                       for name in names)
        for path in paths:
            self.add_object(read_object(path))
        self.total = sum(self.rows.values())

    def add_object(self, data):
        # Bytes that are not UTF-8 come through as surrogates and so are recognised in their cell.
        lines = io.StringIO(data.decode('utf-8', 'surrogateescape'), newline='')
        records = csv.reader(lines)
        header = next(records, None)
        if header is None:
            return
        order = [header.index(name) for name, _ in self.columns]
        for record in records:
            if not record:
                continue  # an empty line is no record
            try:
                if len(record) != len(header):
                    raise ValueError('ragged')
                ''.join(record).encode('utf-8')
                cells = [cell(record[at], kind) for at, (_, kind) in zip(order, self.columns)]
            except ValueError:
                self.rejects += 1
                continue
            self.rows[digest(cells)] += 1


LEDGER_RANGES = ('SELECT pipeline_uuid, generation, bp_hash, key, from_offset, end_offset, eof '
                 'FROM _penstock_ledger_range ORDER BY 1, 2, 3, 5')


def ledger_problems(database):
    """What is wrong with the ledger of a load that has ended."""
    connection = sqlite3.connect(f'file:{database}?mode=ro', uri=True, timeout=5)
    try:
        rows = connection.execute(LEDGER_RANGES).fetchall()
    except sqlite3.OperationalError as error:
        return [] if 'no such table' in str(error) else [f'the ledger cannot be read: {error}']
    finally:
        connection.close()
    return chain_problems(rows)


def chain_problems(rows):
    """The ranges of each object must follow each other without a gap, from its first byte to its
    end. A range in which no record begins is [cut, cut) and says nothing."""
    found = []
    at = {}
    for uuid, generation, bp_hash, key, begin, end, eof in rows:
        name = (uuid, generation, bp_hash)
        before, _, _ = at.get(name, (0, False, key))
        if begin == end and begin > 0:
            continue
        if begin != before:
            found.append(f'ledger: {key!r} has a range from {begin}, the one before it ends at '
                         f'{before}')
        at[name] = (end, bool(eof), key)
    found += [f'ledger: {key!r} ends at {end}, which is not its end'
              for end, eof, key in at.values() if not eof]
    return found


class Unreadable(Exception):
    """The file cannot be read at this moment (locked, or a hot journal waits for its writer)."""


class Checker:
    """Follows one table while it grows."""

    def __init__(self, expected, database, table='t'):
        self.expected = expected
        self.database = database
        self.table = table
        self.names = ', '.join(f'"{name}"' for name, _ in expected.columns)
        self.reset()

    def reset(self):
        self.seen = Counter()
        self.last_rowid = 0
        self.polls = 0
        self.problems = []

    def connect(self):
        if not os.path.exists(self.database):
            raise Unreadable('no such file yet')
        return sqlite3.connect(f'file:{self.database}?mode=ro', uri=True, timeout=0.05,
                               isolation_level=None)

    def problem(self, text):
        if len(self.problems) < 20:
            self.problems.append(text)

    def take(self, cells):
        key = digest(cells)
        self.seen[key] += 1
        allowed = self.expected.rows[key]
        if allowed == 0:
            self.problem(f'phantom row: {cells!r}')
        elif self.seen[key] > allowed:
            self.problem(f'duplicate row: {cells!r}')

    def read(self, query, *args):
        connection = None
        try:
            connection = self.connect()
            return connection.execute(query, args).fetchall()
        except sqlite3.OperationalError as error:
            if 'no such table' in str(error):
                return []
            raise Unreadable(str(error)) from error
        finally:
            if connection is not None:
                connection.close()

    def poll(self):
        """Looks at the rows that are new since the last poll. False: could not be read now."""
        try:
            rows = self.read(f'SELECT rowid, {self.names} FROM "{self.table}" WHERE rowid > ? '
                             'ORDER BY rowid LIMIT 50000', self.last_rowid)
            count = self.read(f'SELECT count(*) FROM "{self.table}"') if self.polls % 8 == 7 else []
        except Unreadable:
            return False
        self.polls += 1
        for rowid, *cells in rows:
            self.last_rowid = rowid
            self.take(cells)
        if count and count[0][0] < sum(self.seen.values()):
            self.problem(f'{sum(self.seen.values()) - count[0][0]} rows that were there have gone')
        return True

    def count(self):
        try:
            found = self.read(f'SELECT count(*) FROM "{self.table}"')
        except Unreadable:
            return None
        return found[0][0] if found else 0

    def check_end(self, deadline_ok=True):
        """The whole table anew. Returns the list of problems, those of the polls first."""
        kept = self.problems
        self.reset()
        self.problems = kept
        try:
            rows = self.read(f'SELECT {self.names} FROM "{self.table}"')
            rejects = self.read(f'SELECT count(*), count(DISTINCT object || \':\' || "offset") '
                                f'FROM "{self.table}_rejects"')
        except Unreadable as error:
            return self.problems + [f'the table cannot be read: {error}']
        for cells in rows:
            self.take(cells)
        self.check_whole(rejects[0] if rejects else (0, 0))
        for problem in ledger_problems(self.database):
            self.problem(problem)
        return self.problems

    def check_whole(self, rejects):
        """After all rows were taken; rejects: how many, and how many distinct."""
        lost = self.expected.rows - self.seen
        if lost:
            self.problem(f'{sum(lost.values())} of {self.expected.total} rows are lost')
        if rejects != (self.expected.rejects, self.expected.rejects):
            self.problem(f'{rejects[0]} rejects ({rejects[1]} distinct), expected '
                         f'{self.expected.rejects}')
