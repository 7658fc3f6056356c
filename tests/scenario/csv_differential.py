#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our CSV decoder against Python's csv module, on generated files of many dialects.

usage: csv_differential.py --build build/dev [--files 500] [--seed N]

Every file is written here, quoted or not at random where the dialect leaves the choice, with quotes
in the middle of unquoted fields, line ends inside quotes, blank lines, records with too few or too
many fields. Records must be equal field by field; a record of another width must be a reject at the
very same place in the order. The windows in which our decoder sees the file are random too.
"""
import argparse
import csv
import io
import json
import os
import random
import subprocess
import sys
import tempfile

WORDS = ['', 'a', 'bc', '7', '-1.5', 'x y', ' lead', 'trail ', 'a,b', 'a;b', 'a|b', 'a\tb', '"', '""', '5" disk',
         "it's", "''", '\n', 'one\ntwo', 'one\r\ntwo', '\r', '\\', 'a\\b', '\\n', '#no', 'é', 'Zürich', 'ÿ',
         'long ' * 30, 'NULL', '\\N', ',', '",",', '\n"\n', "','"]
WIDE = ['€', '日本語', '😀', '\u2028', 'naïve €', 'x\ufeff']


def dialect_of(rng):
    """One dialect: what Python needs to read it and what our spec says of it."""
    d = {'delimiter': rng.choice([',', ',', ';', '\t', '|', ':']),
         'quote': rng.choice(['"', '"', '"', "'", None]),
         'escape': rng.choice([None, None, None, '\\']),
         'line_end': rng.choice(['\n', '\n', '\r\n', '\r']),
         'encoding': rng.choice(['utf-8', 'utf-8', 'utf-8-sig', 'latin-1', 'utf-16', 'utf-16-le', 'utf-16-be']),
         'skip': rng.choice([0, 0, 0, 1, 3]),
         'comment': rng.choice([None, None, None, '#', '//']),
         'said': rng.random() < 0.5}
    if d['encoding'] == 'latin-1' and rng.random() < 0.3:
        d['delimiter'] = '¦'
    return d


def field_text(rng, d, text):
    """One field as the dialect writes it; None when it cannot be written."""
    quote, escape = d['quote'], d['escape']
    special = [d['delimiter'], '\n', '\r'] + ([escape] if escape else [])
    must = any(s in text for s in special) or (quote and text.startswith(quote))
    if quote and (must or rng.random() < 0.2):
        inner = text.replace(escape, escape * 2) if escape else text
        mark = escape if escape and rng.random() < 0.5 else quote
        return quote + inner.replace(quote, mark + quote) + quote
    if not must:
        return text
    if not escape:
        return None
    out = ''.join(escape + c if c in special or c == quote else c for c in text)
    return None if '\r\n' in text else out


def record_text(rng, d, width):
    words = WORDS if d['encoding'] == 'latin-1' else WORDS + WIDE
    fields = []
    while len(fields) < width:
        text = field_text(rng, d, rng.choice(words))
        if text is not None:
            fields.append(text)
    line = d['delimiter'].join(fields)
    if d['comment'] and line.startswith(d['comment']):
        return record_text(rng, d, width)
    return line


def file_of(rng, d):
    """The file's text after what is skipped, and the text before."""
    width = rng.choice([1, 2, 3, 5, 17, 70])
    lines = []
    while not lines or not lines[0]:
        lines = [record_text(rng, d, width)]
    for _ in range(rng.choice([0, 1, 3, 30, 300])):
        kind = rng.random()
        if kind < 0.03:
            lines.append('')
        elif kind < 0.06:
            lines.append(record_text(rng, d, max(1, width + rng.choice([-1, 1]))))
        else:
            lines.append(record_text(rng, d, width))
    body = d['line_end'].join(lines) + (d['line_end'] if rng.random() < 0.8 else '')
    preamble = ''.join(rng.choice(['', 'made by "nobody', 'x,y,z', '#']) + d['line_end'] for _ in range(d['skip']))
    return preamble, body


def with_comments(rng, d, body):
    """Comment lines stand before the first record only: Python knows none."""
    if not d['comment']:
        return body
    return ''.join(d['comment'] + rng.choice(['', ' "', " it's", ' a,b']) + d['line_end'] for _ in range(rng.randrange(3))) + body


def wanted_of(d, body):
    rows = list(csv.reader(io.StringIO(body, newline=''), delimiter=d['delimiter'], quotechar=d['quote'],
                           quoting=csv.QUOTE_MINIMAL if d['quote'] else csv.QUOTE_NONE,
                           escapechar=d['escape'], doublequote=True, strict=False))
    width = next((len(r) for r in rows if r), 0)
    if width == 1:
        rows = [r or [''] for r in rows]
    return [r if len(r) == width else None for r in rows if r]


def found_of(tool, rng, d, path):
    encoding = {'utf-8-sig': 'utf-8', 'utf-16-le': 'utf-16le', 'utf-16-be': 'utf-16be'}.get(d['encoding'], d['encoding'])
    line_end = {'\n': 'lf', '\r\n': 'crlf', '\r': 'cr'}[d['line_end']] if d['said'] else 'auto'
    sets = {'header': 'false', 'delimiter': d['delimiter'], 'quote': d['quote'] or 'none', 'line_end': line_end,
            'escape': d['escape'] or 'none', 'encoding': encoding, 'skip_lines': d['skip']}
    if d['comment']:
        sets['comment'] = d['comment']
    command = [tool]
    for key, value in sets.items():
        command += ['--set', f'format.{key}={value}']
    if rng.random() < 0.5:
        command += ['--window', str(rng.choice([1, 7, 64, 1000, 10000]))]
    if rng.random() < 0.3:
        command += ['--stop', str(rng.choice([1, 100, 5000]))]
    out = subprocess.run(command + [path], check=False, capture_output=True)
    rows = []
    for line in out.stdout.decode('utf-8').split('\n'):
        item = json.loads(line) if line else {}
        if 'record' in item:
            rows.append(item['record'])
        elif item.get('reject') == 'ragged':
            rows.append(None)
        elif 'reject' in item or 'error' in item:
            rows.append(item)
    return command, rows, out.stderr.decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--files', type=int, default=500)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    tool = os.path.join(options.build, 'tools/decode_dump')
    passed = failed = records = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.files):
            rng = random.Random(options.seed * 1000003 + number)
            d = dialect_of(rng)
            preamble, body = file_of(rng, d)
            path = os.path.join(folder, f'{number}.csv')
            with open(path, 'wb') as file:
                file.write((preamble + with_comments(rng, d, body)).encode(d['encoding']))
            wanted = wanted_of(d, body)
            command, found, errors = found_of(tool, rng, d, path)
            records += len(wanted)
            if found == wanted and not errors:
                passed += 1
                os.unlink(path)
                continue
            failed += 1
            keep = os.path.join(tempfile.gettempdir(), f'csv_differential_{number}.csv')
            os.rename(path, keep)
            first = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
            print(f'file {number} {d}: record {first}: found {found[first:first + 1]}, wanted {wanted[first:first + 1]} '
                  f'({len(found)} and {len(wanted)} records) {errors}\n    {" ".join(command)} {keep}')
    print(f'{options.files} files, {records} records, seed {options.seed}')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
