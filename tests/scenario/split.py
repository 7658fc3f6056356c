#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One large object taken as ranges by several leaves gives the rows, the rejects and their offsets
that it gives whole, however hostile its quotes are, whoever stands still meanwhile.

usage: split.py [--build build/dev] [--seed N] [--large-mib 64] [--only NAME]"""
import argparse
import gzip
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from checker import ledger_problems  # noqa: E402
from cluster import Cluster, Report, leaf_phases, wait_for  # noqa: E402

LEAVES = 4
WHOLE = '1GiB'


def quoted(rng, lines, odd=False):
    """A quoted field full of line ends, doubled quotes and what looks like records."""
    words = ['x', '1,2', '""', '"",""', ',,', '9,"" ""', '""""', '#']
    text = '\n'.join(rng.choice(words) for _ in range(lines))
    return '"' + text + ('x' if odd else '') + '"'


def multi_line(rng, size, lines=(1, 30)):
    out = ['a,b\n']
    have = 4
    while have < size:
        record = f'{len(out)},{quoted(rng, rng.randrange(*lines))}\n'
        out.append(record)
        have += len(record)
    return ''.join(out).encode()


def hostile(rng):
    """name -> (bytes, more of format, batch_bytes, may it be split)."""
    one_field = b'a,b\n' + b'0,x\n' * 5000 + b'1,"' + multi_line(rng, 200000).replace(b'"', b'""') + b'"\n'
    huge = ['a,b\n']
    for i in range(40):
        huge.append(f'{i},{quoted(rng, 20000 if i % 10 == 3 else 3)}\n')
    bad = ['a,b\n']
    for i in range(4000):
        bad.append(rng.choice([f'{i},{quoted(rng, 5)}\n', f'{i},"x"y\n', f'{i},too,many\n', f'{i}\n',
                               f'{i},"{"z" * rng.randrange(900)}"\n', f'{i},a " quote\n', '\n']))
    comments = ['a,b\n']
    for i in range(8000):
        comments.append(rng.choice(['# it\'s "open\n', '#"\n', f'{i},"#\n# ""\n"\n', f'{i},"\n#"\n']))
    plain = ['a,b\n'] + [rng.choice([f'{i},two\n', f'{i},"three\n', f'"{i}"x,4\n', '",5\n'])
                         for i in range(9000)]
    json = [rng.choice(['{"a":"%d","b":"x"}\n', '{"b":{"c":[1,"}\\n{"]},"a":"%d"}\n', '\n', '{"a":%d\n',
                        '{"a":"%d","b":"' + 'y' * 900 + '"}\n']).replace('%d', str(i))
            for i in range(1500)]
    lines = multi_line(rng, 150000)
    return {
        'NDJSON': (''.join(json).encode(), {'type': 'ndjson', 'header': None}, '2111'),
        'a file that is nearly all one quoted field': (one_field, {}, '7KiB'),
        'doubled quotes everywhere': (b'a,b\n' + b''.join(
            b'%d,"%s"\n' % (i, b'"' * (2 * rng.randrange(200))) for i in range(900)), {}, '4093'),
        'every guess is wrong': (multi_line(rng, 200000, (400, 500)), {}, '997'),
        'records longer than ranges': (''.join(huge).encode(), {}, '5000'),
        'CR LF': (lines.replace(b'\n', b'\r\n'), {}, '4099'),
        'CR LF, said so': (lines.replace(b'\n', b'\r\n'), {'line_end': 'crlf'}, '4099'),
        'CR': (lines.replace(b'\n', b'\r'), {'line_end': 'cr'}, '4099'),
        'comments with quotes': (''.join(comments).encode(), {'comment': '#'}, '3KiB'),
        'rejects of every kind': (''.join(bad).encode(), {}, '6KiB', {'max_record_bytes': '500'}),
        'lines to skip, a byte order mark': (
            b'\xef\xbb\xbfskip "this\nand this\n' + lines, {'skip_lines': 2}, '5KiB'),
        'Latin-1 and backslashes': (
            b'a,b\n' + b''.join(b'%d,"\xe9\\"\n\\\\",\n'[:-2] % i + b'\n' for i in range(9000)),
            {'encoding': 'latin-1', 'escape': '\\', 'ragged': 'pad'}, '5KiB'),
        'multiline: false': (''.join(plain).encode(), {'multiline': False}, '4KiB'),
        'no quotes': (''.join(plain).encode(), {'quote': 'none'}, '4KiB'),
        'two letters for a delimiter': (
            lines.replace(b',', b'||'), {'delimiter': '||'}, '4KiB'),
    }


def spec(name, path, database, form, batch_bytes, limits=None):
    return {
        'name': name,
        'source': {'url': f'file:{path}'},
        'format': {key: value for key, value in {'type': 'csv', 'header': True, **form}.items()
                   if value is not None},
        'columns': [{'name': 'at', 'value': '$offset'}, {'name': 'a', 'type': 'text'},
                    {'name': 'b', 'type': 'text'}],
        'destination': {'url': f'sqlite:{database}', 'table': 't'},
        'limits': {'batch_bytes': batch_bytes, **(limits or {})},
        'errors': {'tolerance': '100%'},
    }


def ask(database, query):
    connection = sqlite3.connect(f'file:{database}?mode=ro', uri=True, timeout=5)
    connection.text_factory = bytes
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


ROWS = 'SELECT at, a, b FROM t'
# "line 4 column 6, byte 75: …": behind a cut nobody knows the line.
REJECTS = ('SELECT "offset", length, "column", code, substr(reason, instr(reason, \'byte \')), raw '
           'FROM t_rejects')


def differences(one, other):
    """What the two databases do not have in common, as texts; their rows have no order."""
    found = []
    connection = sqlite3.connect(f'file:{one}?mode=ro', uri=True)
    connection.text_factory = bytes
    try:
        connection.execute('ATTACH ? AS other', (other,))
        for what, query in (('row', ROWS), ('reject', REJECTS)):
            theirs = query.replace('FROM t', 'FROM other.t')
            counts = [connection.execute(f'SELECT count(*) FROM ({text})').fetchone()[0]
                      for text in (query, theirs)]
            if counts[0] != counts[1]:
                found.append(f'{counts[0]} {what}s whole, {counts[1]} in ranges')
            for text in (f'{query} EXCEPT {theirs}', f'{theirs} EXCEPT {query}'):
                found += [f'{what} {str(row)[:200]}' for row in
                          connection.execute(f'{text} LIMIT 1').fetchall()]
    finally:
        connection.close()
    return found


def used(database):
    """(ranges of the object, leaves that loaded some)."""
    ranges = ask(database, 'SELECT count(*) FROM _penstock_ledger_range')[0][0]
    return ranges, ask(database, 'SELECT count(DISTINCT leaf) FROM _penstock_ledger '
                                 "WHERE state = 'L'")[0][0]


class Bench:
    """One cluster for many small pipelines."""

    def __init__(self, args, folder, report):
        self.args = args
        self.folder = folder
        self.report = report
        self.rng = random.Random(args.seed)
        self.count = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, data):
        self.count += 1
        path = self.path(f'in{self.count}.csv')
        with open(path, 'wb') as out:
            out.write(data)
        return path

    def load(self, cluster, path, form, batch_bytes, limits=None):
        self.count += 1
        name = f'p{self.count}'
        database = self.path(f'{name}.db')
        cluster.apply(spec(name, path, database, form, batch_bytes, limits))
        cluster.start(name)
        pipeline = cluster.wait_end(name, 120)
        if pipeline['state'] != 'completed':
            raise RuntimeError(f'{pipeline["state"]}: {pipeline.get("reason", "")}')
        return database

    def compare(self, cluster, what, data, form, batch_bytes, limits=None):
        began = time.monotonic()
        path = self.write(data)
        try:
            whole = self.load(cluster, path, form, WHOLE, limits)
            split = self.load(cluster, path, form, batch_bytes, limits)
            problems = differences(whole, split) + ledger_problems(split)
            ranges, leaves = used(split)
            if leaves < 2:
                problems.append(f'{leaves} leaves have loaded something')
        except (TimeoutError, RuntimeError) as error:
            problems, ranges, leaves = [str(error)], 0, 0
        self.report.case(not problems, f'{what}: {len(data)} bytes in {ranges} ranges on {leaves} '
                         f'leaves, {time.monotonic() - began:.1f} s'
                         + ''.join(f'; {text}' for text in problems[:3]))

    def no_breaks(self, cluster, what):
        broken = cluster.broken()
        if broken:
            self.report.case(False, f'{what}: {broken[0]}')

    # ---- cases

    def hostile(self):
        with Cluster(self.args.build) as cluster:
            cluster.start_coordinator()
            cluster.start_agent(leaves=LEAVES)
            for what, case in hostile(self.rng).items():
                self.compare(cluster, what, *case)
            self.no_breaks(cluster, 'hostile')

    def small(self):
        """4 KiB, in ranges of a few bytes."""
        with Cluster(self.args.build) as cluster:
            cluster.start_coordinator()
            cluster.start_agent(leaves=LEAVES)
            data = multi_line(self.rng, 4096, (1, 12))
            path = self.write(data)
            whole = self.load(cluster, path, {}, WHOLE)
            problems = []
            most = 0
            sizes = [self.rng.randrange(40, 400) for _ in range(24)]
            for size in sizes:
                split = self.load(cluster, path, {}, str(size))
                problems += [f'batches of {size}: {text}' for text in
                             differences(whole, split) + ledger_problems(split)]
                most = max(most, used(split)[0])
            self.no_breaks(cluster, 'small')
            self.report.case(not problems, f'4 KiB in batches of {len(sizes)} sizes, up to {most} '
                             'ranges' + ''.join(f'; {text}' for text in problems[:3]))

    def large(self):
        path = self.path('large.csv')
        block = multi_line(self.rng, 1 << 20, (1, 40))[4:]
        with open(path, 'wb') as out:
            out.write(b'a,b\n')
            for _ in range(self.args.large_mib):
                out.write(block)
        with Cluster(self.args.build) as cluster:
            cluster.start_coordinator()
            cluster.start_agent(leaves=LEAVES)
            whole = self.load(cluster, path, {}, WHOLE)
            began = time.monotonic()
            split = self.load(cluster, path, {}, '1MiB')
            spent = time.monotonic() - began
            problems = differences(whole, split) + ledger_problems(split)
            ranges, leaves = used(split)
            if leaves != LEAVES:
                problems.append(f'{leaves} of {LEAVES} leaves took part')
            with open(cluster.path('agent-a.log'), encoding='utf-8', errors='replace') as log:
                proofs = log.read().count('cut.proven')
            self.no_breaks(cluster, 'large')
            self.report.case(not problems, f'{os.path.getsize(path) >> 20} MiB in {ranges} ranges '
                             f'on {leaves} leaves, {spent:.1f} s, {proofs} starts found by reading '
                             'up to them' + ''.join(f'; {text}' for text in problems[:3]))
        os.unlink(path)

    def stopped(self):
        """A leaf stands still with the part that all others wait for: they find out by themselves."""
        path = self.write(multi_line(self.rng, 3 << 20, (20, 60)))
        times = {'lease': '60s', 'self-stop': '30s', 'leaf-silence': '20s'}
        with Cluster(self.args.build, times) as cluster:
            cluster.start_coordinator()
            cluster.start_agent(leaves=LEAVES, failpoints='leaf.after_fetch=delay:40')
            whole = self.load(cluster, path, {}, WHOLE)
            database = self.path('stopped.db')
            cluster.apply(spec('stopped', path, database, {}, '16KiB'))
            cluster.start('stopped')

            def count():
                try:
                    return used(database)[0]
                except sqlite3.OperationalError:
                    return 0

            def stop_one():
                """Of a leaf that decodes: no other stands in its way, and all wait for its end."""
                pid = wait_for('a leaf that decodes', 20, lambda: next(
                    (pid for pid in cluster.leaves().values() if leaf_phases(pid) == ['fetch']),
                    None), 0.001)
                os.kill(pid, signal.SIGSTOP)
                return pid
            wait_for('some ranges to be loaded', 30, lambda: count() > LEAVES)
            pid = stop_one()
            stuck = count()
            began = time.monotonic()
            more, spent = None, 0
            try:
                wait_for('the others to go on without it', 15, lambda: count() > stuck + 8 * LEAVES)
                more = count() - stuck
                spent = time.monotonic() - began
            except TimeoutError:
                pass
            os.kill(pid, signal.SIGCONT)
            try:
                pipeline = cluster.wait_end('stopped', 120)
                problems = [] if pipeline['state'] == 'completed' else [pipeline.get('reason', '?')]
                problems += differences(whole, database) + ledger_problems(database)
            except TimeoutError as error:
                problems = [str(error)]
            if more is None:
                problems.insert(0, 'the others waited for it')
            self.no_breaks(cluster, 'stopped')
            self.report.case(not problems, f'a leaf stands still: the others load {more} ranges '
                             f'in {spent:.1f} s meanwhile' + ''.join(f'; {text}' for text in problems[:3]))

    def alone(self):
        """The coordinator dies: what the leaves hold they prove by themselves, and commit."""
        path = self.write(multi_line(self.rng, 2 << 20, (20, 60)))
        with Cluster(self.args.build) as cluster:
            cluster.start_coordinator()
            cluster.start_agent(leaves=LEAVES, failpoints='leaf.after_fetch=delay:100')
            whole = self.load(cluster, path, {}, WHOLE)
            database = self.path('alone.db')
            cluster.apply(spec('alone', path, database, {}, '16KiB'))
            cluster.start('alone')

            def count():
                try:
                    return used(database)[0]
                except sqlite3.OperationalError:
                    return 0

            def proofs():
                with open(cluster.path('agent-a.log'), encoding='utf-8', errors='replace') as log:
                    return log.read().count('cut.proven')
            wait_for('some ranges to be loaded', 30, lambda: count() > LEAVES)
            cluster.coordinator.kill()
            problems = []
            try:
                wait_for('a start to be proven without it', 15, proofs)
                wait_for('all that was held to be committed', 15, lambda: not cluster.phases())
            except TimeoutError as error:
                problems.append(str(error))
            found = proofs()
            cluster.start_coordinator()
            pipeline = cluster.wait_end('alone', 120)
            problems += [] if pipeline['state'] == 'completed' else [pipeline.get('reason', '?')]
            problems += differences(whole, database) + ledger_problems(database)
            self.no_breaks(cluster, 'alone')
            self.report.case(not problems, f'without a coordinator {found} starts are found by '
                             'reading up to them' + ''.join(f'; {text}' for text in problems[:3]))

    def chain(self):
        """gzip cannot be entered in its middle: one leaf goes on, and nothing is read twice."""
        data = multi_line(self.rng, 3 << 20)
        path = self.write(gzip.compress(data, 1))
        stored = os.path.getsize(path)
        for crash in (False, True):
            with Cluster(self.args.build) as cluster:
                cluster.start_coordinator()
                cluster.start_agent(leaves=LEAVES, failpoints='leaf.after_seal=delay:20')
                whole = self.load(cluster, path, {}, WHOLE)
                self.count += 1
                database = self.path(f'chain{self.count}.db')
                cluster.apply(spec('chain', path, database, {}, '64KiB'))
                cluster.start('chain')
                if crash:
                    def half():
                        try:
                            return used(database)[0] > 20
                        except sqlite3.OperationalError:
                            return False
                    wait_for('half of the chain', 60, half)
                    for pid in cluster.leaves().values():
                        os.kill(pid, signal.SIGKILL)
                pipeline = cluster.wait_end('chain', 120)
                problems = [] if pipeline['state'] == 'completed' else [pipeline.get('reason', '?')]
                problems += differences(whole, database) + ledger_problems(database)
                read = ask(database, 'SELECT sum(raw_bytes) FROM _penstock_ledger')[0][0]
                ranges, leaves = used(database)
                # A leaf that begins anew reads and drops what was loaded: once a crash.
                most = (2.2 if crash else 1.2) * stored
                if read > most:
                    problems.append(f'{read} bytes were read')
                self.no_breaks(cluster, 'chain')
                self.report.case(not problems, f'a gzip chain of {ranges} batches'
                                 f'{", its leaf killed in the middle" if crash else ""}: '
                                 f'{read / stored:.2f} times its {stored} bytes were read by '
                                 f'{leaves} leaves' + ''.join(f'; {text}' for text in problems[:3]))


CASES = ('hostile', 'small', 'stopped', 'alone', 'chain', 'large')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('--large-mib', type=int, default=64)
    parser.add_argument('--only', choices=CASES)
    args = parser.parse_args()
    print(f'seed {args.seed}')
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-split-', dir='/tmp')
    try:
        bench = Bench(args, folder, report)
        for name in CASES:
            if args.only in (None, name):
                getattr(bench, name)()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
