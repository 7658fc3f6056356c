# SPDX-License-Identifier: Apache-2.0
"""Source data for scenarios: 40 objects of every kind, made from a seed.

plain, gzip (one of two members, one that does not say so in its name), zstd (one of two frames),
lz4, bzip2 and xz (each of two members), one large with quoted line ends, many tiny, one with a header only, one with records that must be
rejected. Every row has an id of its own, so that a copy of a row is always a duplicate."""
import bz2
import gzip
import lzma
import os
import random
import subprocess

COLUMNS = [('id', 'bigint'), ('n', 'bigint'), ('amount', 'double'), ('name', 'text'),
           ('code', 'text'), ('note', 'text')]
WORDS = ['Oslo', 'São Paulo', 'Kyōto', 'Paris, FR', 'a "quoted" word', 'plain', 'x', '東京', "it's",
         '-', 'two\nlines', 'tab\there', '  blanks  ', 'NULL', '0']


def quote(text):
    if any(c in text for c in ',"\n\r') or text.strip() != text:
        return '"' + text.replace('"', '""') + '"'
    return text


def row(rng, number):
    """One record. An empty field is NULL; no field here is a quoted empty text."""
    n = '' if rng.random() < 0.1 else str(rng.randrange(-10**12, 10**12))
    amount = '' if rng.random() < 0.1 else f'{rng.randrange(-10**6, 10**6)}.{rng.choice("05")}5'
    code = rng.choice(['007', '12345678901234567890', '1e5', 'A1', '0', '-0', '1.50'])
    fields = [str(number), n, amount, rng.choice(WORDS), code,
              f'{rng.choice(WORDS)} {rng.randrange(1000)}']
    return ','.join(quote(field) for field in fields) + '\n'


def text(rng, first, rows):
    return ','.join(name for name, _ in COLUMNS) + '\n' + ''.join(
        row(rng, first + i) for i in range(rows))


def bad_text(rng, first, rows):
    """Every tenth record cannot be loaded; (bytes, how many such)."""
    out = [','.join(name for name, _ in COLUMNS).encode() + b'\n']
    bad = 0
    for i in range(rows):
        line = row(rng, first + i).encode()
        if i % 10 == 9:
            bad += 1
            line = [b'%d,1,2.5,too,few\n' % (first + i),
                    b'%d,1,2.5,a,b,c,too many\n' % (first + i),
                    b'%d,many,2.5,a,b,no number\n' % (first + i),
                    b'%d,1,2.5,a,b,not \xff utf-8\n' % (first + i)][bad % 4]
        out.append(line)
    return b''.join(out), bad


def zstd(data):
    return subprocess.run(['zstd', '-q', '-c', '-3'], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


def lz4(data):
    return subprocess.run(['lz4', '-q', '-c', '-1'], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


class Maker:
    def __init__(self, folder, seed):
        self.folder = folder
        self.rng = random.Random(seed)
        self.next_id = 1
        self.rejects = 0

    def rows(self, count):
        first = self.next_id
        self.next_id += count
        return text(self.rng, first, count).encode()

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as out:
            out.write(data)


def make(folder, seed, scale=1.0):
    """The 40 objects below folder. Returns the number of records that must be rejected."""
    maker = Maker(folder, seed)
    rng = maker.rng

    def size(low, high):
        return max(1, int(rng.randrange(low, high) * scale))

    for i in range(9):
        maker.write(f'plain/p{i:02}.csv', maker.rows(size(500, 3000)))
    for i in range(7):
        maker.write(f'gz/g{i}.csv.gz', gzip.compress(maker.rows(size(500, 3000)), 1))
    one, two = maker.rows(size(500, 1500)), maker.rows(size(500, 1500))
    two = two[two.index(b'\n') + 1:]
    maker.write('gz/members.csv', gzip.compress(one, 1) + gzip.compress(two, 1))
    for i in range(5):
        maker.write(f'zst/z{i}.csv.zst', zstd(maker.rows(size(500, 3000))))
    one, two = maker.rows(size(500, 1500)), maker.rows(size(500, 1500))
    two = two[two.index(b'\n') + 1:]
    maker.write('zst/frames.csv.zst', zstd(one) + zstd(two))
    for suffix, pack in (('lz4', lz4), ('bz2', bz2.compress), ('xz', lzma.compress)):
        one, two = maker.rows(size(500, 1500)), maker.rows(size(500, 1500))
        two = two[two.index(b'\n') + 1:]
        maker.write(f'other/members.csv.{suffix}', pack(one) + pack(two))
    maker.write('large.csv', maker.rows(size(30000, 40000)))
    for i in range(11):
        maker.write(f'tiny/t{i:02}.csv', maker.rows(rng.randrange(1, 6)))
    maker.write('empty/header.csv', maker.rows(0))
    first = maker.next_id
    count = size(2000, 3000)
    maker.next_id += count
    data, maker.rejects = bad_text(rng, first, count)
    maker.write('bad/rejects.csv', data)
    return maker.rejects


def beside(folder, seed):
    """Writes more objects below make()'s folder, with ids of their own."""
    maker = Maker(os.path.join(folder, 'more'), seed + 1)
    maker.next_id = 10**7
    return maker


def make_with_huge(folder, seed, scale):
    """make(), and more/huge0.csv to huge2.csv, which a load is long at."""
    make(folder, seed, scale)
    maker = beside(folder, seed)
    for i in range(3):
        maker.write(f'huge{i}.csv', maker.rows(40000))


def make_large(folder, seed, rows=40000):
    """One large object for many leaves: every fifth record has a field of many lines that look like
    records, every 500th is longer than a batch. Returns the number of rejects: none."""
    maker = Maker(folder, seed)
    out = [text(maker.rng, 0, 0)]
    for number in range(1, rows + 1):
        line = row(maker.rng, number)
        if number % 5 == 0:
            lines = 1500 if number % 500 == 0 else maker.rng.randrange(3, 40)
            note = ''.join(f'{maker.rng.randrange(10**6)},1,2.5,""x"",y,z\n' for _ in range(lines))
            line = f'{number},,,"{note}",A1,n\n'
        out.append(line)
    maker.write('large.csv', ''.join(out).encode())
    return 0


def spec(name, folder, database, batch_bytes='64KiB', table='t', **limits):
    """The pipeline for make()'s objects, as the API takes it."""
    return {
        'name': name,
        'source': {'url': f'file:{folder}/**/*'},
        'format': {'type': 'csv', 'header': True},
        'columns': [{'name': column, 'type': kind} for column, kind in COLUMNS],
        'destination': {'url': f'sqlite:{database}', 'table': table},
        'limits': {'batch_bytes': batch_bytes, **limits},
    }
