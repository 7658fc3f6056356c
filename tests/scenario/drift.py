#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Later objects have fields that the table does not: columns.unknown ignore, reject and add, with CSV
and NDJSON, kill -9 in the middle, and one large object taken in ranges while others add columns.

usage: drift.py [--build build/dev] [--seed N] [--dest sqlite|postgresql|mysql] [--rounds N]"""
import json
import os
import random
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from checker import chain_problems, LEDGER_RANGES  # noqa: E402
from cluster import Report, skip_all, wait_for  # noqa: E402
import db_checker  # noqa: E402
import world as either  # noqa: E402

SLOW = 'leaf.after_fetch=delay:20;leaf.after_seal=delay:20;leaf.before_done=delay:20'
BASE = ['id', 'name']
# The columns that each kind of object has beside the base: more than one at once, a name that
# differs by case alone, a number, a text, one with only NULLs.
KINDS = [[], [], ['city'], ['n', 'Name'], ['city', 'ratio'], ['n', 'empty', 'a.b']]
TYPES = {'city': 'text', 'n': 'bigint', 'Name': 'text', 'ratio': 'double', 'empty': 'text',
         'a.b': 'text'}
COLUMN = {'Name': 'Name_2'}  # where a field cannot be called like itself


def value(rng, name, number):
    if name == 'n':
        return rng.randrange(-10**9, 10**9)
    if name == 'ratio':
        return number + 0.5
    if name == 'empty':
        return None
    return f'{name} {number}'


class Source:
    def __init__(self, folder, seed, kind, large):
        self.folder = folder
        self.kind = kind
        self.rng = random.Random(seed)
        self.rows = {}  # id -> {field: value}
        self.fields = {}  # id -> the fields of its object
        os.makedirs(folder)
        self.next_id = 1
        for i in range(18):  # listed, and looked at for the columns, before the others
            self.write(f'a{i:02}', [], 60)
        if large:
            self.write('b-large', [], 20000)
        for i in range(24):
            extra = KINDS[i % len(KINDS)]
            self.write(f'z{i:02}', extra, self.rng.randrange(1, 150), late=i >= 12)

    def write(self, name, extra, count, late=False):
        """late: the new fields come in the middle of the object, where records name their own."""
        records = []
        for i in range(count):
            row = {'id': self.next_id, 'name': f'name {self.next_id}'}
            if not (late and self.kind == 'ndjson' and i < count // 2):
                row.update({field: value(self.rng, field, self.next_id) for field in extra})
            self.rows[self.next_id] = row
            self.next_id += 1
            records.append(row)
        path = os.path.join(self.folder, f'{name}.{self.kind}')
        with open(path, 'w', encoding='utf-8') as out:
            if self.kind == 'csv':
                header = BASE + extra
                out.write(','.join(header) + '\n')
                for row in records:
                    out.write(','.join('' if row[field] is None else str(row[field])
                                       for field in header) + '\n')
            else:
                for row in records:
                    out.write(json.dumps(row) + '\n')

    def expected(self, mode):
        found = set()
        for row in self.rows.values():
            extra = [field for field in row if field not in BASE]
            if mode == 'reject' and extra:
                continue
            fields = BASE + (sorted(TYPES) if mode == 'add' else [])
            found.add(tuple(row.get(field) for field in fields))
        return found

    def rejected(self):
        return sum(1 for row in self.rows.values() if any(field not in BASE for field in row))


class World(either.World):
    def read(self, columns, table):
        """Rows of values."""
        quote = db_checker.dialect(self.server).quote if self.server else '"{}"'.format
        names = ', '.join(quote(name) for name in columns)
        if not self.server:
            return self.from_file(f'SELECT {names} FROM {table}')
        array = {'postgresql': 'json_build_array', 'mysql': 'JSON_ARRAY'}[self.server.SCHEME]
        return [json.loads(cell) for cell, in self.server.sql(f'SELECT {array}({names}) FROM {table}')]

    def spec(self, source, mode):
        return {
            'name': 'drift',
            'source': {'url': f'file:{source.folder}/*.{source.kind}'},
            'columns': {'unknown': mode, 'list': [{'name': 'id', 'type': 'bigint'},
                                                  {'name': 'name', 'type': 'text'}]},
            'destination': {'url': self.url(), 'table': 't'},
            'limits': {'batch_bytes': '8KiB'},
        }

    def begin(self, source, mode, failpoints=''):
        self.cluster.start_coordinator()
        self.cluster.start_agent(failpoints=failpoints)
        self.cluster.apply(self.spec(source, mode))
        self.cluster.start('drift')

    # ---- what must hold

    def problems(self, source, mode):
        names = BASE + ([COLUMN.get(field, field) for field in sorted(TYPES)] if mode == 'add'
                        else [])
        rows = self.read(names, 't')
        found = []
        expected = source.expected(mode)
        got = {tuple(row) for row in rows}
        if len(got) != len(rows):
            found.append(f'{len(rows) - len(got)} duplicate rows')
        if expected - got:
            found.append(f'{len(expected - got)} rows are lost, such as {min(expected - got, key=str)}')
        if got - expected:
            found.append(f'{len(got - expected)} phantoms, such as {min(got - expected, key=str)}')
        if mode == 'reject':
            rejects = self.read(['code', 'column'], 't_rejects')
            wrong = [row for row in rejects if row[0] != 'unknown_field' or row[1] not in TYPES]
            if len(rejects) != source.rejected() or wrong:
                found.append(f'{len(rejects)} rejects of {source.rejected()}, wrong: {wrong[:2]}')
        if not self.server:
            found += chain_problems(self.from_file(LEDGER_RANGES))
        return found + self.cluster.broken()

    def finish(self, source, mode, report, text, problems=()):
        pipeline = self.cluster.wait_end('drift', 90)
        problems = list(problems)
        if pipeline['state'] != 'completed':
            problems.append(f'{pipeline["state"]}: {pipeline.get("reason")}')
        problems += self.problems(source, mode)
        if problems:
            self.cluster.show_logs()
        report.case(not problems, text + ''.join(f'; {problem}' for problem in problems[:4]))
        return pipeline


def modes(args, folder, report, kind):
    for mode in ('ignore', 'reject', 'add'):
        source = Source(os.path.join(folder, f'{kind}-{mode}'), args.seed, kind, large=False)
        with World(args.build, args.server) as world:
            world.begin(source, mode)
            pipeline = world.cluster.wait_end('drift', 90)
            problems = []
            seen = {field['name']: field.get('object', '')
                    for field in pipeline.get('unknown', {}).get('field', [])}
            names = {COLUMN.get(field, field) if kind == 'csv' else field for field in TYPES}
            if mode == 'ignore' and set(seen) != names:
                problems.append(f'it says that {sorted(seen)} are not loaded')
            if mode == 'ignore' and not all('z' in name for name in seen.values()):
                problems.append(f'seen first in {seen}')
            if mode == 'add':
                types = {column['name']: column['type'] for column in pipeline['columns']}
                wanted = {COLUMN.get(field, field): TYPES[field] for field in TYPES}
                if {name: types.get(name) for name in wanted} != wanted:
                    problems.append(f'columns {types}')
            if any(batch['state'] not in ('loaded', 'cancelled') for batch in
                   world.cluster.list_all('/v1/pipelines/drift/batches')):
                problems.append('a batch is open')
            if int(pipeline['totals'].get('retries', 0)):
                problems.append(f'{pipeline["totals"]["retries"]} retries')
            world.finish(source, mode, report, f'{kind}, {mode}', problems)


def beside_a_large_one(args, folder, report, kind):
    """Ranges of it are under way with the old columns while others add theirs."""
    source = Source(os.path.join(folder, f'{kind}-large'), args.seed, kind, large=True)
    with World(args.build, args.server) as world:
        world.begin(source, 'add', SLOW)
        world.finish(source, 'add', report, f'{kind}, add beside a large object in ranges')


def kills(args, folder, report, kind, rng):
    source = Source(os.path.join(folder, f'{kind}-kill'), args.seed, kind, large=True)
    for number in range(args.rounds):
        with World(args.build, args.server) as world:
            world.begin(source, 'add', SLOW + ';leaf.after_alter=delay:200')
            victims = []
            for _ in range(3):
                wait_for('the load', 30, lambda: world.cluster.state('drift') in
                         ('running', 'completed'))
                time.sleep(rng.uniform(0.05, 0.5))
                victim = rng.choice(['leaf', 'agent', 'coordinator'])
                victims.append(victim)
                if victim == 'leaf':
                    pids = list(world.cluster.leaves().values())
                    if pids:
                        os.kill(rng.choice(pids), 9)
                elif victim == 'agent':
                    world.cluster.agents['a'].kill()
                    world.cluster.start_agent(failpoints=SLOW)
                else:
                    world.cluster.coordinator.kill()
                    world.cluster.start_coordinator()
            world.finish(source, 'add', report, f'{kind}, round {number}: kill -9 of {victims}')


def after_alter(args, folder, report, kind):
    """The agent dies when the column is there and nobody knows."""
    source = Source(os.path.join(folder, f'{kind}-alter'), args.seed, kind, large=False)
    with World(args.build, args.server) as world:
        world.begin(source, 'add', f'leaf.after_alter=crash:{world.cluster.path("crashed")}')
        world.finish(source, 'add', report, f'{kind}, a leaf dies after ALTER TABLE')


def too_many(args, folder, report):
    source = Source(os.path.join(folder, 'many'), args.seed, 'csv', large=False)
    with open(os.path.join(source.folder, 'zz.csv'), 'w', encoding='utf-8') as out:
        names = [f'f{i}' for i in range(60)]
        out.write(','.join(BASE + names) + '\n' + ','.join(['1', 'x'] + ['1'] * 60) + '\n')
    with World(args.build, args.server) as world:
        spec = world.spec(source, 'add')
        spec['limits']['max_columns'] = 62
        spec['errors'] = {'on_failure': 'skip'}
        world.cluster.start_coordinator()
        world.cluster.start_agent()
        world.cluster.apply(spec)
        world.cluster.start('drift')
        pipeline = world.cluster.wait_end('drift', 60)
        problems = []
        if pipeline['state'] != 'stalled' or 'zz.csv' not in pipeline.get('reason', ''):
            problems.append(f'{pipeline["state"]}: {pipeline.get("reason")}')
        problems += world.problems(source, 'add')
        report.case(not problems, 'more columns than limits.max_columns: that object alone' +
                    ''.join(f'; {problem}' for problem in problems[:4]))


def taken(args, folder, report):
    """The person's own table has such a column already, of a type that fits or not."""
    source = Source(os.path.join(folder, 'taken'), args.seed, 'csv', large=False)
    with World(args.build, args.server) as world:
        text = ('CREATE TABLE t(id bigint, name text, own text DEFAULT \'mine\', city text, '
                'ratio double precision)')
        if world.server:
            world.server.sql(text)
        else:
            connection = sqlite3.connect(world.cluster.path('out.db'))
            connection.execute(text)
            connection.commit()
            connection.close()
        world.begin(source, 'add')
        world.finish(source, 'add', report, 'a table that has some of the columns already')


def beside_a_person(args, folder, report):
    """Somebody adds all the columns while an agent's ALTER TABLE for the first of them waits: the
    agent knows the table from before."""
    source = Source(os.path.join(folder, 'person'), args.seed, 'csv', large=False)
    of = db_checker.dialect(args.server)
    added = ', '.join(f'ADD COLUMN IF NOT EXISTS {of.quote(COLUMN.get(field, field))} '
                      f'{"double precision" if kind == "double" else kind}'
                      for field, kind in TYPES.items())
    with World(args.build, args.server) as world:
        world.server.sql('CREATE TABLE t(id bigint, name text)', user='loader')
        with world.server.session('BEGIN; SELECT count(*) FROM t;') as holder:
            holder.said()  # it has the table
            world.begin(source, 'add')
            wait_for('the ALTER TABLE', 30, lambda: of.waiting_alters(world.server) == 1)
            with world.server.session(f'ALTER TABLE t {added};', user='loader') as person:
                wait_for('both of them', 30, lambda: of.waiting_alters(world.server) == 2)
                holder.end()
                person.end()
        world.finish(source, 'add', report, 'somebody adds the columns at the same moment')


def main():
    parser = either.arguments(__doc__)
    parser.add_argument('--rounds', type=int, default=2)
    args = parser.parse_args()
    why = db_checker.lacks(args.dest)
    if why:
        return skip_all(why)
    print(f'seed {args.seed}, {args.dest}')
    report = Report()
    rng = random.Random(args.seed)
    with db_checker.place(args.dest, 'pk-drift-') as (args.server, folder):
        for kind in ('csv', 'ndjson'):
            modes(args, folder, report, kind)
            beside_a_large_one(args, folder, report, kind)
            after_alter(args, folder, report, kind)
            kills(args, folder, report, kind, rng)
        too_many(args, folder, report)
        taken(args, folder, report)
        if args.server:
            beside_a_person(args, folder, report)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
