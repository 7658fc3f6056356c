#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NDJSON and JSON documents through the whole of Penstock: any number of leaves and any size of
batch give the same rows and the same rejects; a record of 200 MiB is a reject, not a crash.

usage: json_rows.py [--build build/dev] [--seed N]"""
import argparse
import gzip
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

DEADLINE = 120
COLUMNS = [{'name': 'id', 'type': 'bigint'}, {'name': 'city', 'from': 'user.city', 'type': 'text'}, {'name': 'tag', 'from': 'user.tags[1]', 'type': 'text'},
           {'name': 'price', 'type': 'double'}, {'name': 'user', 'type': 'text'}]


def record(rng, number):
    """One object, its text and the row that is wanted; None for the row: a reject."""
    city = rng.choice(['Bern', 'Zürich', 'Nice "côte"', '東京', 'line\none', None])
    user = {'city': city, 'tags': rng.choice([[], ['a'], ['a', 'b\\'], ['x', 'long ' * rng.randrange(40)]])}
    value = {'id': number, 'price': rng.choice([0.5, 12.25, None, 7]), 'user': user, 'more': [{'n': number}]}
    if rng.random() < 0.3:
        del value['price']
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.01:
        return text.replace('"more": ', rng.choice(['"bad": NaN, "more": ', '"bad": 01, "more": ', '"id": "seven", "more": ']), 1), None
    shown = text[text.index('"user": ') + 8:text.index(', "more"')]
    tags = user['tags']
    return text, (number, city, tags[1] if len(tags) > 1 else None, value.get('price'), shown)


def make(folder, seed, count):
    """Four files with the same records; returns the rows, and how many are rejects."""
    rng = random.Random(seed)
    made = [record(rng, number) for number in range(count)]
    lines = [text for text, _ in made]
    document = '{"meta": {"of": "]}"}, "data": {"items": [\n  ' + ',\n  '.join(lines) + '\n]}, "end": [1]}\n'
    packed = gzip.compress
    for name, data in (('a.ndjson', '\n'.join(lines)), ('b.jsonl', '\r\n'.join(lines) + '\r\n'), ('c.json', document)):
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(data.encode())
        with open(os.path.join(folder, name + '.gz'), 'wb') as file:
            file.write(packed(data.encode(), 1))
    return sorted(row for _, row in made if row is not None), sum(row is None for _, row in made)


def load(build, path, database, *more):
    command = [os.path.join(build, 'bin/penstock'), 'load', path, '--into', f'sqlite:{database}', '--table', 't', *more]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, check=False)


def read(database):
    with sqlite3.connect(f'file:{database}?mode=ro', uri=True) as con:
        rows = sorted(con.execute('SELECT id, city, tag, price, user FROM t'))
        rejects = sorted(con.execute('SELECT "offset", length, code FROM t_rejects'))
    return rows, rejects


def case(build, folder, wanted, what):
    """None, or what is wrong."""
    name, leaves, batch, rejects_of = what
    database = os.path.join(folder, f'{name}-{leaves}-{batch}.db')
    sets = ['--set', f'columns={json.dumps(COLUMNS)}', '--batch-bytes', batch, '--leaves', str(leaves)]
    if name.startswith('c.'):
        sets += ['--set', 'format.items=data.items']
    done = load(build, os.path.join(folder, name), database, *sets)
    rows, rejects = wanted
    if done.returncode != (3 if rejects else 0):
        return f'exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}'
    found, found_rejects = read(database)
    if found != rows:
        first = next((i for i, (a, b) in enumerate(zip(found, rows)) if a != b), min(len(found), len(rows)))
        return f'{len(found)} rows, {len(rows)} wanted; row {first}: found {found[first:first + 1]}, wanted {rows[first:first + 1]}'
    if len(found_rejects) != rejects or rejects_of.setdefault(name.replace('.gz', ''), found_rejects) != found_rejects:
        return f'{len(found_rejects)} rejects, {rejects} wanted, or others than before'
    return None


def large_record(build, folder, name):
    """A record of 200 MiB between two small ones."""
    path = os.path.join(folder, name)
    lines = name.endswith('.ndjson')
    with open(path, 'wb') as file:
        file.write(b'{"id":1}\n' if lines else b'[{"id":1},')
        file.write(b'{"id":2,"user":"')
        for _ in range(200):
            file.write(b'x' * (1 << 20))
        file.write(b'"}\n{"id":3}\n' if lines else b'"},{"id":3}]')
    database = os.path.join(folder, name + '.db')
    done = load(build, path, database, '--set', f'columns={json.dumps(COLUMNS)}')
    os.unlink(path)
    if done.returncode != 3:
        return f'exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}'
    rows, rejects = read(database)
    length = (200 << 20) + 18 + lines
    if [row[0] for row in rows] != [1, 3] or [(r[1], r[2]) for r in rejects] != [(length, 'too_long')]:
        return f'found rows {rows} and rejects {rejects}'
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return None if peak <= 160 or 'asan' in build else f'a process grew to {peak} MiB'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    args = parser.parse_args()
    print(f'seed {args.seed}')
    passed = failed = 0
    folder = tempfile.mkdtemp(prefix='pk-json-', dir='/tmp')
    try:
        def report(problem, what, began):
            nonlocal passed, failed
            passed, failed = passed + (problem is None), failed + (problem is not None)
            print(f'{"ok" if problem is None else "FAILED"}: {what}, {time.monotonic() - began:.1f} s{"; " + problem if problem else ""}', flush=True)
        for name in ('one.ndjson', 'one.json'):
            began = time.monotonic()
            report(large_record(args.build, folder, name), f'a record of 200 MiB in {name}', began)
        for count, batches in ((300, ('1KiB',)), (30000, ('64KiB', '16MiB'))):
            wanted, rejects_of = make(folder, args.seed, count), {}
            for name in ('a.ndjson', 'a.ndjson.gz', 'b.jsonl', 'c.json', 'c.json.gz'):
                for leaves in (1, 4):
                    for batch in batches:
                        began = time.monotonic()
                        problem = case(args.build, folder, wanted, (name, leaves, batch, rejects_of))
                        report(problem, f'{count} records in {name}, {leaves} leaves, batches of {batch}', began)
            shutil.rmtree(folder)
            os.mkdir(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
