#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our NDJSON and JSON decoders against Python's json module, on generated files.

usage: json_differential.py --build build/dev [--files 300] [--seed N]

Values, escapes, numbers, nesting and blanks are random; some bytes are changed, dropped or doubled
after writing. A line that Python's strict reading refuses must be a reject, any other a record with
equal fields: numbers digit by digit, texts character by character, objects and arrays as equal
values. A document that Python refuses must have a reject; any other has equal records and none but
for items that are no objects. Windows and resume points are random too."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

WORDS = ['', 'a', 'x y', '"', '\\', '/', '\n', '\t', 'é', 'Zürich', '€', '日本語', '😀', '\x7f', '\u2028', 'long ' * 20, '{"a":1}', '[', '}', ',', 'null']
NUMBERS = ['0', '-0', '1', '-1', '12345', '9007199254740993', '9223372036854775807', '-9223372036854775808', '12345678901234567890', '0.1', '-2.50',
           '1e5', '1E-7', '123456789.125', '5e-324', '1e400', '0.30000000000000004', '100000000000000000.5', '10', '1.0']
PATHS = {'a': ['a'], 'b': ['b'], 'c': ['b', 'c'], 'd1': ['b', 'd', 1], 'd': ['b', 'd'], 'e': ['b', 'd', 0, 'e'], 'dot': ['x.y'], 'u': ['é']}
FROM = {'a': 'a', 'b': 'b', 'c': 'b.c', 'd1': 'b.d[1]', 'd': 'b.d', 'e': 'b.d[0].e', 'dot': '["x.y"]', 'u': 'é'}
KEYS = ['a', 'b', 'c', 'd', 'e', 'x.y', 'é', 'other', '', 'q"q', 'A']


class Number(str):
    """A number's own digits."""


def text_json(rng, text):
    out = '"'
    for char in text:
        pick = rng.random()
        if char in '"\\' and pick < 0.9:
            out += '\\' + char
        elif char == '/' and pick < 0.3:
            out += '\\/'
        elif char in '\n\t' and pick < 0.7:
            out += {'\n': '\\n', '\t': '\\t'}[char]
        elif ord(char) < 0x20 or pick < 0.15 or char in '"\\':
            units = char.encode('utf-16-be')
            for i in range(0, len(units), 2):
                out += '\\u' + f'{int.from_bytes(units[i:i + 2], "big"):04{rng.choice("xX")}}'
        else:
            out += char
    return out + '"'


def blank(rng, line):
    return rng.choice(['', '', '', ' ', '  ', '\t', ' \r'] + ([] if line else ['\n', '\r\n'])) if rng.random() < 0.3 else ''


def value_json(rng, depth, line):
    kind = rng.random()
    if depth < 4 and kind < 0.15:
        return object_json(rng, depth + 1, line)
    if depth < 4 and kind < 0.3:
        return '[' + ','.join(blank(rng, line) + value_json(rng, depth + 1, line) + blank(rng, line) for _ in range(rng.randrange(4))) + ']'
    if kind < 0.6:
        return text_json(rng, ''.join(rng.choice(WORDS) for _ in range(rng.choice([0, 1, 1, 2, 5]))))
    return rng.choice(NUMBERS) if kind < 0.85 else rng.choice(['true', 'false', 'null'])


def object_json(rng, depth, line):
    members = []
    for _ in range(rng.randrange(7)):
        key = rng.choice(KEYS)
        value = value_json(rng, depth, line)
        if key == 'b' and depth < 3 and rng.random() < 0.7:
            value = object_json(rng, depth + 1, line)
        members.append(blank(rng, line) + text_json(rng, key) + blank(rng, line) + ':' + blank(rng, line) + value + blank(rng, line))
    return '{' + ','.join(members) + '}'


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(data)) if data else 0
        kind = rng.random()
        if kind < 0.3 and data:
            del data[at]
        elif kind < 0.6 and data:
            data[at] = rng.choice(b'{}[]",:\\x0e+-.\x00\x1f\xff\xc3 ntf/u')
        else:
            data[at:at] = rng.choice([b',', b'"', b'}', b']', b'\\ud800', b'NaN', b'01', b'\\u0000', b'\xed\xa0\x80', b'\x01', b'//', b"'", b'Infinity', b'1_0'])
    return bytes(data)


def refuse(text):
    raise ValueError(text)


def members(pairs):
    """Checked before a name's second value hides the first."""
    for key, inner in pairs:
        check(key)
        check(inner)
    return dict(pairs)


def strict(data):
    """The value, or ValueError."""
    value = json.loads(data.decode('utf-8'), parse_int=Number, parse_float=Number, parse_constant=refuse, object_pairs_hook=members)
    check(value)
    return value


def check(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            check(str(key))
            check(inner)
    elif isinstance(value, list):
        for inner in value:
            check(inner)
    elif isinstance(value, str) and ('\0' in value or any(0xD800 <= ord(c) < 0xE000 for c in value)):
        raise ValueError('a character that no text has')


def fields_of(value):
    out = []
    for path in PATHS.values():
        at = value
        for step in path:
            if isinstance(step, int):
                at = at[step] if isinstance(at, list) and step < len(at) else None
            else:
                at = at.get(step) if isinstance(at, dict) else None
        out.append(at)
    return out


def equal(found, wanted):
    if wanted is None or isinstance(wanted, str):
        return found == wanted
    if found is None:
        return False
    if isinstance(wanted, bool):
        return found == ('true' if wanted else 'false')
    return json.loads(found, parse_int=Number, parse_float=Number) == wanted


def run_tool(tool, rng, kind, path):
    columns = json.dumps([{'name': name, 'from': FROM[name]} for name in PATHS], ensure_ascii=False)
    command = [tool, '--set', f'format.type={kind}', '--set', f'columns={columns}']
    if rng.random() < 0.5:
        command += ['--window', str(rng.choice([1, 7, 64, 1000]))]
    if rng.random() < 0.3:
        command += ['--stop', str(rng.choice([1, 100, 5000]))]
    done = subprocess.run(command + [path], check=False, capture_output=True)
    items = [json.loads(line) for line in done.stdout.decode('utf-8').split('\n') if line]
    return [i for i in items if 'record' in i or 'reject' in i or 'error' in i], done.stderr.decode()


def lines_case(rng, folder, tool):
    lines = []
    for _ in range(rng.choice([1, 3, 30, 100])):
        data = (object_json(rng, 1, True) if rng.random() < 0.95 else value_json(rng, 1, True)).encode()
        data = mutate(rng, data) if rng.random() < 0.4 else data
        lines.append(data.replace(b'\n', b' '))
    path = os.path.join(folder, 'case.ndjson')
    with open(path, 'wb') as file:
        file.write(rng.choice([b'\n', b'\r\n']).join(lines) + (b'\n' if rng.random() < 0.7 else b''))
    found, errors = run_tool(tool, rng, 'ndjson', path)
    found = iter(found)
    for number, line in enumerate(lines):
        if not line.strip(b' \t\r'):
            continue
        try:
            value = strict(line)
        except (ValueError, RecursionError):
            value = None
        item = next(found, {})
        if not isinstance(value, dict):
            if 'reject' not in item:
                return f'line {number + 1}: {line!r}: a reject is wanted, found {item}', path
        elif 'record' not in item or not all(map(equal, item['record'], fields_of(value))):
            return f'line {number + 1}: {line!r}: found {item}, wanted {fields_of(value)}', path
    rest = list(found)
    return (f'more than there are lines: {rest[:2]} {errors}' if rest or errors else None), path


def document_case(rng, folder, tool):
    items = [object_json(rng, 1, False) if rng.random() < 0.95 else value_json(rng, 1, False) for _ in range(rng.choice([0, 1, 3, 40]))]
    data = ('[' + ','.join(blank(rng, False) + item + blank(rng, False) for item in items) + ']').encode()
    data = mutate(rng, data) if rng.random() < 0.5 else data
    path = os.path.join(folder, 'case.json')
    with open(path, 'wb') as file:
        file.write(data)
    found, errors = run_tool(tool, rng, 'json', path)
    try:
        value = strict(data)
    except (ValueError, RecursionError):
        refused = any('reject' in item for item in found)
        # Documents behind each other are ours to take, and none at all is none.
        several = not data.strip() or (data.count(b'[') > 0 and not found)
        return (None if refused or several else f'{data[:300]!r}: a reject is wanted, found {found[:3]}'), path
    value = value if isinstance(value, list) else [value]
    if errors or len(found) != len(value):
        return f'{len(found)} items found, {len(value)} wanted {errors}', path
    for item, wanted in zip(found, value):
        good = 'reject' in item if not isinstance(wanted, dict) else 'record' in item and all(map(equal, item['record'], fields_of(wanted)))
        if not good:
            return f'found {item}, wanted {wanted!r}', path
    return None, path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--files', type=int, default=300)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    tool = os.path.join(options.build, 'tools/decode_dump')
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.files):
            rng = random.Random(options.seed * 1000003 + number)
            problem, path = (lines_case if number % 2 == 0 else document_case)(rng, folder, tool)
            if problem is None:
                passed += 1
                continue
            failed += 1
            keep = os.path.join(tempfile.gettempdir(), f'json_differential_{number}')
            os.replace(path, keep)
            print(f'file {number} (kept as {keep}): {problem}')
    print(f'{options.files} files, seed {options.seed}')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
