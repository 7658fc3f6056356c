#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rejects that are replayed: edited, read otherwise, by two at once, and while leaf, agent,
coordinator and command line are killed; each record is in the table exactly once, over SQLite,
PostgreSQL and MariaDB.

usage: replay.py [--build build/dev] [--dest sqlite,postgresql,mysql] [--kills N] [--seed N]"""
import argparse
import gzip
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import db_checker  # noqa: E402
from cluster import ROOT, Cluster, Report  # noqa: E402

POINTS = ['dest.after_fence', 'dest.after_ledger', 'dest.after_rows', 'dest.before_commit', 'dest.after_commit',
          'replay.before_load', 'replay.before_result']


class Sqlite:
    name = 'sqlite'

    def open(self, cluster):
        self.path = cluster.path('out.db')
        self.url = f'sqlite:{self.path}'

    def sql(self, text):
        base = sqlite3.connect(self.path, timeout=30)
        try:
            found = (base.executescript(text) if text.endswith(';') else base.execute(text)).fetchall()
            base.commit()
            return found
        finally:
            base.close()

    def drop_check(self):
        self.sql('ALTER TABLE t RENAME TO o; CREATE TABLE t(id bigint, name text, amount bigint);'
                 'INSERT INTO t SELECT * FROM o; DROP TABLE o;')

    def close(self):
        pass


class Server:
    """One for all stories; each has an empty database."""

    def __init__(self):
        self.server = None

    def open(self, cluster):
        if self.server is None:
            self.server = db_checker.start(self.name)[0]
        db_checker.wipe(self.server)
        self.url = self.server.url()

    def sql(self, text):
        return [tuple(row) for row in self.server.sql(text)]

    def close(self):
        if self.server is not None:
            self.server.close()


class Postgres(Server):
    name = 'postgresql'

    def drop_check(self):
        self.sql('ALTER TABLE t DROP CONSTRAINT t_amount_check')


class Mysql(Server):
    name = 'mysql'

    def drop_check(self):
        self.sql('ALTER TABLE t RENAME TO o; CREATE TABLE t(id bigint, name text, amount bigint);'
                 'INSERT INTO t SELECT * FROM o; DROP TABLE o')


class Story:
    """One cluster, one pipeline `p` into table t(id, name, amount)."""

    def __init__(self, args, dest, report):
        self.args = args
        self.dest = dest
        self.report = report
        self.penstock = os.path.join(ROOT, args.build, 'bin', 'penstock')

    def __enter__(self):
        self.cluster = Cluster(self.args.build).__enter__()
        self.dest.open(self.cluster)
        self.cluster.start_coordinator()
        self.cluster.start_agent(leaves=2)
        os.mkdir(self.cluster.path('in'))
        return self

    def __exit__(self, kind, value, trace):
        return self.cluster.__exit__(kind, value, trace)

    def put(self, name, text):
        path = self.cluster.path('in', name)
        data = text.encode('utf-8')
        with open(path, 'wb') as out:
            out.write(gzip.compress(data) if name.endswith('.gz') else data)
        return path

    def spec(self, pattern, **more):
        spec = {'name': 'p', 'source': {'url': f'file:{self.cluster.path("in")}/{pattern}'},
                'columns': [{'name': 'id', 'type': 'bigint'}, {'name': 'name', 'type': 'text'},
                            {'name': 'amount', 'type': 'bigint'}],
                'destination': {'url': self.dest.url, 'table': 't'}}
        for path, value in more.items():
            room, key = path.split('__')
            spec.setdefault(room, {})[key] = value
        return spec

    def load(self, spec):
        self.cluster.apply(spec)
        self.cluster.start('p')
        return self.cluster.wait_end('p')

    def run(self, *words, check=True, timeout=120):
        done = subprocess.run([self.penstock, *words, '--coordinator', f'unix:{self.cluster.path("http")}'],
                              capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode not in (0, 3):
            raise RuntimeError(f'{" ".join(words)}: {done.returncode}: {done.stderr}')
        return done

    def export(self):
        path = self.cluster.path('bad.jsonl')
        self.run('rejects', 'export', 'p', '-o', path)
        with open(path, encoding='utf-8') as text:
            return [json.loads(line) for line in text]

    def write(self, lines, name='edited.jsonl'):
        path = self.cluster.path(name)
        with open(path, 'w', encoding='utf-8') as out:
            out.writelines(json.dumps(line) + '\n' for line in lines)
        return path

    def replay(self, *words, check=True):
        done = self.run('rejects', 'replay', 'p', *words, '-o', 'json', check=check)
        return json.loads(done.stdout) if done.stdout else {'error': done.stderr, 'code': done.returncode}

    def states(self):
        items = self.cluster.list_all('/v1/pipelines/p/rejects')
        return {int(item['n']): item['state'] for item in items}

    def ids(self):
        return sorted(int(row[0]) for row in self.dest.sql('SELECT id FROM t'))

    def totals(self):
        return self.cluster.pipeline('p')['totals']

    def settled(self, expected_ids, what):
        """Every record once, nothing open, and the sums add up."""
        totals = self.totals()
        counts = {key: int(value) for key, value in totals['counts'].items()}
        sums = counts['decoded'] == sum(counts[key] for key in ('rejected', 'filtered', 'inserted', 'updated', 'skipped',
                                                                'rejected_at_load'))
        ids = self.ids()
        good = ids == sorted(expected_ids) and int(totals['rejects_open']) == 0 and sums
        self.report.case(good, f'{self.dest.name}: {what}' + ('' if good else
                         f': {len(ids)} rows of {len(expected_ids)}, twice: '
                         f'{sorted({i for i in ids if ids.count(i) > 1})[:5]}, missing: '
                         f'{sorted(set(expected_ids) - set(ids))[:5]}, {totals}'))

    def case(self, good, what, found=''):
        self.report.case(good, f'{self.dest.name}: {what}' + ('' if good else f': found {str(found)[:600]}'))


def csv_text(rows, header=True):
    return ('id,name,amount\n' if header else '') + ''.join(f'{row}\n' for row in rows)


# ---- stories

def edited(story):
    """Bad rows of CSV, with a header that only the object knows; raw and fields corrected."""
    story.put('a.csv', csv_text(['1,one,10', '2,two,x20', '3,three', '4,"fo"ur,40', '5,five,50']))
    story.put('b.csv', csv_text(['6,six,sixty', '7,seven,70']))
    story.load(story.spec('*.csv'))
    lines = story.export()
    story.case(len(lines) == 4 and all(line['n'] > 0 and line['raw'] for line in lines), 'export: a line a reject', lines)
    by_code = {(line['code'], line['line']): line for line in lines}
    two, three = by_code['bad_type', 3], by_code['ragged', 4]
    four = next(line for line in lines if line['code'] == 'bad_quote')
    story.case(two['fields'] == {'id': '2', 'name': 'two', 'amount': 'x20'} and 'fields' not in three, 'fields where they '
               'can be told', lines)
    two['fields']['amount'] = 20
    three['raw'] = '3,three,30'
    four['raw'] = '4,"fo,ur",forty'
    path = story.write([two, three, four])
    done = story.replay('--file', path)
    story.case((done['loaded'], done['refused']) == (2, 1), 'two load, the third is refused again', done)
    shown = story.run('rejects', 'show', 'p', str(four['n'])).stdout
    story.case('forty' in shown and 'open' in shown and 'bad_type' in shown, 'show: the corrected record and why', shown)
    done = story.replay('--file', path)
    story.case(done['loaded'] == 2 and story.ids() == [1, 2, 3, 5, 7], 'the same file again loads nothing', done)
    four['raw'] = '4,"fo,ur",40'
    six = by_code['bad_type', 2]
    done = story.replay('--file', story.write([two, three, four, {'n': six['n'], 'raw': '6,six,60'}]))
    story.case((done['loaded'], done['not_open']) == (2, 2), 'what others replayed is told, the rest loads', done)
    story.settled(range(1, 8), 'corrected CSV is loaded once')
    names = dict(story.dest.sql('SELECT id, name FROM t'))
    story.case({str(k): v for k, v in names.items()}['4'] == 'fo,ur', 'the corrected value is there', names)
    wrong = [({'n': 999999, 'raw': 'x'}, 'not in the table'), ({'n': 'x'}, 'whole number'), ({'raw': 'x'}, 'n'),
             ({'n': two['n'], 'fields': {'amuont': 1}}, None)]
    story.put('c.csv', csv_text(['8,eight,x']))
    story.cluster.start('p')
    story.cluster.wait_end('p')
    n8 = next(line['n'] for line in story.export())
    wrong[3] = ({'n': n8, 'fields': {'amuont': 1}}, 'amuont')
    wrong.append(({'n': n8, 'raw': '8,e,8\n9,n,9\n'}, 'more than one'))
    wrong.append(({'n': n8, 'offset': 999, 'raw': '8,e,8'}, 'another'))
    for line, word in wrong:
        done = story.run('rejects', 'replay', 'p', '--file', story.write([line]), check=False)
        story.case(done.returncode == 1 and word in done.stderr, f'a wrong line is told: {word}', done.stderr)
    story.case(story.ids() == list(range(1, 8)), 'and loads nothing', story.ids())


def json_records(story):
    """NDJSON, and JSON documents whose records have several lines."""
    story.put('a.ndjson', '{"id": 1, "name": "one", "amount": 10}\n{"id": 2, "name": "two", "amount": "x"}\n'
                          '{"id": 3, "name": "three", "amount": \n{"id": 4, "name": null}\n')
    story.load(story.spec('*.ndjson'))
    lines = story.export()
    story.case(len(lines) == 2, 'NDJSON: two rejects', lines)
    for line in lines:
        if 'fields' in line:
            line['fields']['amount'] = 20
        else:
            line['raw'] = '{"id": 3, "name": "three", "amount": 30}'
    done = story.replay('--file', story.write(lines))
    story.case((done['loaded'], done['refused']) == (2, 0), 'NDJSON: both load', done)
    story.settled([1, 2, 3, 4], 'corrected NDJSON is loaded once')


def documents(story):
    story.put('a.json', '[{"id": 1, "name": "one", "amount": 10},\n {"id": 2,\n  "name": "two", "amount": "x"},\n'
                        ' {"id": 3, "name": "three", "amount": 30}]')
    story.load(story.spec('*.json'))
    lines = story.export()
    story.case(len(lines) == 1 and '\n' in lines[0]['raw'], 'JSON: one reject of two lines', lines)
    lines[0].pop('fields', None)
    lines[0]['raw'] = lines[0]['raw'].replace('"x"', '20')
    done = story.replay('--file', story.write(lines))
    story.case(done['loaded'] == 1, 'JSON: it loads', done)
    story.settled([1, 2, 3], 'a corrected document record is loaded once')


def read_otherwise(story):
    """The spec is read otherwise for one replay; also records longer than what is kept."""
    long_name = 'y' * 200_000
    story.put('a.csv', csv_text(['1,one,n/a', f'2,{long_name},n/a', '3,three,30']))
    story.put('b.csv.gz', csv_text(['4,four,n/a', f'5,{long_name},n/a', '6,six,60']))
    story.load(story.spec('*.csv*'))
    story.case(len(story.states()) == 4, 'four rejects', story.states())
    done = story.replay('--all')
    story.case((done['loaded'], done['refused']) == (0, 4), 'as they are they are refused again', done)
    done = story.replay('--code', 'bad_type', '--set', 'format.null=["", "n/a"]')
    story.case((done['loaded'], done['refused']) == (4, 0), 'read otherwise they load', done)
    story.settled(range(1, 7), 'read otherwise, each is loaded once; cut ones are read again from plain and gzip')
    lengths = sorted(int(row[0]) for row in story.dest.sql('SELECT length(name) FROM t'))
    story.case(lengths[-2:] == [200_000, 200_000], 'whole', lengths)
    done = story.run('rejects', 'replay', 'p', '--all', '--set', 'destination.table=other', check=False)
    story.case(done.returncode == 0, 'nothing open: nothing asked', done.stderr)


def object_gone(story):
    """What the header or the rest of the record is needed for cannot be guessed."""
    story.put('a.csv', csv_text(['1,one,x', f'2,{"z" * 100_000},y', '3,three,30']))
    story.load(story.spec('*.csv'))
    os.unlink(story.cluster.path('in', 'a.csv'))
    done = story.run('rejects', 'replay', 'p', '--all', check=False)
    story.case(done.returncode == 1 and 'a.csv' in done.stderr and 'edited file' in done.stderr,
               'an object that is gone is named, and what to do', done.stderr)
    lines = story.export()
    for line in lines:
        line['fields'] = {'id': line['n'], 'name': 'by hand', 'amount': None}
    done = story.replay('--file', story.write(lines))
    story.case(done['loaded'] == 2, 'fields need no object', done)
    story.settled([1, 2, 3], 'loaded by fields once')


def refused_by_table(story):
    """What only the destination could refuse keeps no bytes of its own: it is read again."""
    story.dest.sql('CREATE TABLE t(id bigint, name text, amount bigint CHECK (amount >= 0))')
    story.put('a.csv', csv_text(f'{i},"n,{i}",{-i if i % 10 == 0 else i}' for i in range(1, 51)))
    story.put('b.csv.gz', csv_text(f'{i},"n,{i}",{-i if i % 10 == 0 else i}' for i in range(51, 101)))
    story.load(story.spec('*.csv*', limits__batch_bytes='200B'))
    codes = {item['code'] for item in story.cluster.list_all('/v1/pipelines/p/rejects')}
    story.case(codes == {'constraint'} and len(story.ids()) == 90, 'ten are refused by the table', codes)
    lines = story.export()
    story.case(all(line['fields']['name'] == f'n,{line["fields"]["id"]}' for line in lines), 'export tells their fields',
               lines[:2])
    done = story.replay('--all')
    story.case((done['loaded'], done['refused']) == (0, 10), 'refused again', done)
    lines[0]['fields']['amount'] = '7'
    done = story.replay('--file', story.write(lines[:2]))
    story.case((done['loaded'], done['refused']) == (1, 1), 'one is corrected, the other refused again', done)
    story.dest.drop_check()
    done = story.replay('--all')
    story.case((done['loaded'], done['refused']) == (9, 0), 'without the constraint the rest loads', done)
    story.settled(range(1, 101), 'refused by the table, then loaded once')


def discarded(story):
    """Settled without a row, and the sums still add up."""
    story.put('a.csv', csv_text(['1,one,x', '2,two,y', '3,three,z', '4,four,4']))
    story.load(story.spec('*.csv'))
    lines = story.export()
    done = story.run('rejects', 'discard', 'p', str(lines[0]['n']), str(lines[1]['n']))
    story.case('2 discarded' in done.stdout, 'two are discarded', done.stdout)
    lines[0]['fields']['amount'] = lines[2]['fields']['amount'] = '7'
    done = story.replay('--file', story.write([lines[0], lines[2]]))
    story.case((done['loaded'], done['not_open']) == (1, 1), 'a discarded one is not loaded any more', done)
    story.case(sorted(story.states().values()) == ['discarded', 'discarded', 'replayed'], 'the states say so', story.states())
    found = story.run('rejects', 'list', 'p', '--only', 'discarded', '-o', 'json').stdout
    story.case(len(json.loads(found)['items']) == 2, 'and can be asked for', found)
    found = story.run('rejects', 'list', 'p', '--only', 'replayed', '-o', 'json').stdout
    story.case(len(json.loads(found)['items']) == 1, 'replayed ones are others', found)
    story.settled([3, 4], 'discarded')


def two_at_once(story):
    """Eight people with eight corrections of the same records: one correction of each wins."""
    count = 60
    story.put('a.csv', csv_text(f'{i},name{i},x{i}' for i in range(1, count + 1)))
    story.load(story.spec('*.csv'))
    lines = story.export()
    paths = []
    for who in range(8):
        copy = [{**line, 'fields': {**line['fields'], 'amount': who}} for line in lines]
        random.Random(who).shuffle(copy)
        paths.append(story.write(copy[:count - who], f'by-{who}.jsonl'))
    running = [subprocess.Popen([story.penstock, 'rejects', 'replay', 'p', '--file', path, '--coordinator',
                                 f'unix:{story.cluster.path("http")}', '-o', 'json'], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True) for path in paths]
    done = [child.communicate(timeout=120) for child in running]
    ends = [child.returncode for child in running]
    answers = [json.loads(out) for out, _ in done if out]
    loaded = sum(answer['loaded'] for answer in answers)
    story.case(ends == [0] * 8 and loaded == count, 'eight at once: each record once, all are told', (ends, done))
    story.settled(range(1, count + 1), 'eight at once')
    amounts = {int(row[0]) for row in story.dest.sql('SELECT DISTINCT amount FROM t')}
    story.case(amounts <= set(range(8)), 'each as one of them has it', amounts)


def broken(story):
    """A leaf dies at each place of the transaction that loads them, and before and after it."""
    count = 20 * len(POINTS)
    story.put('a.csv', csv_text(f'{i},name{i},x{i}' for i in range(1, count + 1)))
    story.load(story.spec('*.csv'))
    lines = sorted(story.export(), key=lambda line: line['n'])
    for line in lines:
        line['fields']['amount'] = 1
    for i, point in enumerate(POINTS):
        for action in ('crash', 'error'):
            half = lines[20 * i:20 * i + 10] if action == 'crash' else lines[20 * i + 10:20 * i + 20]
            story.cluster.agents['a'].stop()
            marker = story.cluster.path(f'hit-{i}-{action}')
            story.cluster.start_agent(leaves=2, failpoints=f'{point}@1={action}:{marker}')
            done = story.replay('--file', story.write(half))
            good = done['loaded'] == 10 and os.path.exists(marker) and len(story.ids()) == 20 * i + (
                10 if action == 'crash' else 20)
            story.case(good, f'{action} at {point}: loaded once', (done, len(story.ids()), os.path.exists(marker)))
    story.settled(range(1, count + 1), 'crashes and errors at every place')


def killed(story):
    """Leaf, agent, coordinator and command line are killed at random moments, and it is asked again."""
    count = 2000
    rng = random.Random(story.args.seed)
    story.put('a.csv', csv_text(f'{i},name{i},x{i}' for i in range(1, count + 1)))
    story.load(story.spec('*.csv'))
    lines = story.export()
    for line in lines:
        line['fields']['amount'] = line['n']
    path = story.write(lines)
    command = [story.penstock, 'rejects', 'replay', 'p', '--file', path, '--coordinator',
               f'unix:{story.cluster.path("http")}']
    kills = {'leaf': 0, 'agent': 0, 'coordinator': 0, 'cli': 0}

    def kill(what, child):
        if what == 'leaf':
            pids = list(story.cluster.leaves().values())
            try:
                os.kill(rng.choice(pids), signal.SIGKILL)
            except (IndexError, ProcessLookupError):
                return  # it is just being started
        elif what == 'agent':
            story.cluster.agents['a'].kill()
            story.cluster.start_agent(leaves=2, wait=False)
        elif what == 'coordinator':
            story.cluster.coordinator.kill()
            story.cluster.start_coordinator()
        else:
            child.kill()
        kills[what] += 1

    ended = False
    for round_number in range(400):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            child.wait(rng.random() * 0.4)
        except subprocess.TimeoutExpired:
            pass
        enough = sum(kills.values()) >= story.args.kills
        if not enough:
            kill(min(kills, key=lambda what: (kills[what], rng.random())), child)
        out, err = child.communicate(timeout=300)
        ids = story.ids()  # one look: a leaf may go on committing
        rows = len(ids)
        if rows > count or len(set(ids)) != rows:
            break
        if enough and child.returncode == 0:
            ended = True
            break
        if rows == count and not enough:  # anew: there is nothing left to be broken
            number = round_number + 2
            story.put(f'more{number}.csv', csv_text(f'{i},name{i},x{i}' for i in range(count + 1, count + 501)))
            count += 500
            story.cluster.start('p')
            story.cluster.wait_end('p')
            lines = [{**line, 'fields': {**line['fields'], 'amount': line['n']}} for line in story.export()]
            path = story.write(lines)
    story.case(ended, f'{sum(kills.values())} kills ({kills}), then it ends well', (out, err))
    # A result that was lost with the coordinator is in the ledger: the next start reads it.
    story.cluster.start('p')
    story.cluster.wait_end('p')
    story.settled(range(1, count + 1), f'after {sum(kills.values())} kills each is loaded once')


def local(story):
    """One laptop, no coordinator: the state folder of a load."""
    story.put('a.csv', csv_text(['1,one,10', '2,two,x']))
    folder = story.cluster.path('laptop')
    done = subprocess.run([story.penstock, 'load', story.cluster.path('in', 'a.csv'), '--into', story.dest.url,
                           '--table', 't', '--name', 'p', '--state', folder, '--set',
                           'columns=[{name: id, type: bigint}, {name: name}, {name: amount, type: bigint}]'],
                          capture_output=True, text=True, timeout=120, check=False)
    story.case(done.returncode == 3, 'load ends with 3: finished with rejects', done.stderr)
    words = [story.penstock, 'rejects', 'replay', 'p', '--state', folder]
    path = story.cluster.path('one.jsonl')
    subprocess.run([story.penstock, 'rejects', 'export', 'p', '--state', folder, '-o', path], check=True,
                   capture_output=True, timeout=120)
    with open(path, encoding='utf-8') as text:
        line = json.loads(text.read())
    line['fields']['amount'] = '20'
    with open(path, 'w', encoding='utf-8') as out:
        out.write(json.dumps(line))
    done = subprocess.run([*words, '--file', path], capture_output=True, text=True, timeout=120, check=False)
    story.case(done.returncode == 0 and '1 loaded' in done.stdout, 'replay by state folder', done.stdout + done.stderr)
    done = subprocess.run([*words, '--all'], capture_output=True, text=True, timeout=120, check=False)
    story.case('no open rejects' in done.stdout and story.ids() == [1, 2], 'nothing is left', done.stdout + done.stderr)


def void(story):
    """A reject of a batch that was cancelled, or of an older generation, must not be loaded."""
    story.put('a.csv', csv_text(['1,one,10', '2,two,x']))
    story.load(story.spec('*.csv'))
    lines = story.export()
    spec = story.spec('*.csv', format__null=['', 'x'])
    story.load(spec)  # raises the generation: all is loaded anew
    states = sorted(story.states().values())
    story.case(states == ['void'], 'the old generation\'s reject is void', states)
    for line in lines:
        line['fields']['amount'] = '20'
    done = story.replay('--file', story.write(lines))
    story.case((done['loaded'], done['not_open']) == (0, 1), 'and is not loaded', done)
    story.case(story.ids().count(2) == 1, 'its record is there once, from the new generation', story.ids())


STORIES = (edited, json_records, documents, read_otherwise, object_gone, refused_by_table, discarded, two_at_once, void, local,
           broken, killed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--dest', default='sqlite,postgresql,mysql')
    parser.add_argument('--kills', type=int, default=12)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('story', nargs='*')
    args = parser.parse_args()
    report = Report()
    for name in args.dest.split(','):
        why = db_checker.lacks(name)
        if why:
            report.skip(why)
            continue
        dest = {'sqlite': Sqlite, 'postgresql': Postgres, 'mysql': Mysql}[name]()
        try:
            for tell in STORIES:
                if args.story and tell.__name__ not in args.story:
                    continue
                with Story(args, dest, report) as story:
                    try:
                        tell(story)
                        story.case(not story.cluster.broken(), f'{tell.__name__}: the logs are clean',
                                   story.cluster.broken())
                    except (RuntimeError, TimeoutError, KeyError, StopIteration, subprocess.SubprocessError) as error:
                        story.case(False, f'{tell.__name__}: {type(error).__name__}: {error}')
                        story.cluster.show_logs()
        finally:
            dest.close()
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
