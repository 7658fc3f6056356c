#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that a machine can uphold, over every file that git knows.

usage: tests/lint/lint.py [RULE ...]

Each finding is `path:line: rule: what`. The last line counts the rules that hold and those that do
not. Python 3 alone; clang-format-14 where it is installed (without it that rule is a finding).
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE_MOST_LINES = 800
FUNCTION_MOST_LINES = 80
PARAMETERS_MOST = 6
LINE_MOST = 100
GENERATED_HEADER = 'proto/penstock.pb-c.h'
OTHER_GENERATED = {'catalog_schema.inc'}  # embedded by the build
EXCEPTIONS = 'tests/lint/exceptions.txt'

BANNED_CALLS = {'strcpy', 'strcat', 'sprintf', 'vsprintf', 'atoi', 'atol', 'atoll', 'atof', 'strtok',
                'gets', 'setlocale', 'alloca'}
BANNED_ALLOC = {'malloc', 'calloc', 'realloc', 'strdup', 'strndup', 'asprintf', 'vasprintf',
                'reallocarray', 'aligned_alloc', 'posix_memalign'}
BANNED_SLEEP = {'sleep', 'usleep', 'nanosleep', 'clock_nanosleep'}
ALLOC_FILES = {'common/alloc.c'}
SLEEP_FILES = {'common/failpoint.c'}  # "delay" is what it is for
LOG_CALL = re.compile(r'\blog_(write|debug|info|warn|error)\s*\(')
SILENT_ROOMS = {'common', 'proto', 'spec', 'coordinator/catalog', 'coordinator/plan',
                'coordinator/sched', 'agent/block', 'agent/source', 'agent/unwrap', 'agent/decode',
                'agent/transform', 'agent/stage', 'agent/dest'}
# State that is the process's own, not an object's.
GLOBAL_STATE_FILES = {'common/log.c', 'common/alloc.c', 'common/failpoint.c'}
SPDX = 'SPDX-License-Identifier: Apache-2.0'
SPDX_SUFFIXES = ('.c', '.h', '.def', '.proto', '.py', '.sh', '.cmake', '.sql', '.pml')
SPDX_NAMES = {'CMakeLists.txt', 'dev', 'run'}
# Bytes that tests are about: they are what they are.
DATA_FOLDERS = ('tests/golden/', 'tests/fuzz/corpus/')

findings = []


def found(rule, path, line, text):
    findings.append((rule, path, line, text))


def tracked():
    """Files of the index, plus new ones that are not ignored; those that were removed are not."""
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
                            cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    names = sorted(set(name for name in listed.decode().split('\0') if name))
    return [name for name in names if os.path.isfile(os.path.join(ROOT, name))]


def read(path):
    with open(os.path.join(ROOT, path), 'rb') as file:
        return file.read()


def is_data(path):
    return path.startswith(DATA_FOLDERS)


class Source:
    """A C file, as written and with comments and the insides of literals blanked."""

    def __init__(self, path):
        self.path = path
        self.text = read(path).decode('utf-8', 'replace')
        self.lines = self.text.split('\n')
        self.code = blank(self.text)
        self.code_lines = self.code.split('\n')
        self.functions = list(functions(self.code_lines))


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text):
    """Same length and lines; comments become blanks, literals keep their quotes."""
    def hide(match):
        token = match.group(0)
        inside = re.sub(r'[^\n]', ' ', token)
        if token[0] == '/':
            return inside
        return token[0] + inside[1:-1] + token[-1]
    return TOKEN.sub(hide, text)


NAME = re.compile(r'^([A-Za-z_]\w*)\(')


def functions(lines):
    """(name, first line, last line, parameters, is static) of each definition: its name stands at
    column 0 below its type, its brace alone at column 0."""
    at = 0
    while at < len(lines):
        match = NAME.match(lines[at])
        if not match or at == 0 or not lines[at - 1].strip() or lines[at - 1].startswith('#'):
            at += 1
            continue
        head = at
        while head < len(lines) and lines[head] != '{' and not lines[head].rstrip().endswith(';') \
                and (head == at or lines[head].startswith((' ', ')'))):
            head += 1
        if head >= len(lines) or lines[head] != '{':
            at += 1
            continue
        end = head
        while end < len(lines) and lines[end] != '}':
            end += 1
        signature = ' '.join(line.strip() for line in lines[at:head])
        above = lines[at - 1]
        yield match.group(1), at, end, count_parameters(signature), 'static' in above.split()
        at = end + 1


def count_parameters(signature):
    depth = 0
    count = 1
    inside = ''
    for char in signature[signature.index('('):]:
        if char == '(':
            depth += 1
        elif char == ')':
            depth -= 1
            if depth == 0:
                break
        elif char == ',' and depth == 1:
            count += 1
        inside += char
    return 0 if inside.strip('( ') in ('', 'void') else count


# --- rooms ---------------------------------------------------------------------------------------

def load_rooms():
    rooms = {}
    path = 'tests/lint/rooms.txt'
    for number, line in enumerate(read(path).decode().split('\n'), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        name, _, allowed = line.partition(':')
        if name in rooms:
            found('rooms', path, number, f'{name} stands twice')
        rooms[name.strip()] = allowed.split()
    for name, allowed in rooms.items():
        for other in allowed:
            if other not in rooms and other != 'proto/generated':
                found('rooms', path, 0, f'{name} may include {other}, which is no room')
    return rooms


def find_cycle(rooms):
    done = set()

    def walk(name, trail):
        if name in trail:
            return trail[trail.index(name):] + [name]
        if name in done:
            return None
        for other in rooms.get(name, []):
            cycle = walk(other, trail + [name])
            if cycle:
                return cycle
        done.add(name)
        return None
    for name in rooms:
        cycle = walk(name, [])
        if cycle:
            return cycle
    return None


def room_of(path, rooms):
    folder = os.path.dirname(path)
    while folder:
        if folder in rooms:
            return folder
        folder = os.path.dirname(folder)
    return None


INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def rule_rooms(sources, files):
    rooms = load_rooms()
    cycle = find_cycle(rooms)
    if cycle:
        found('rooms', 'tests/lint/rooms.txt', 0, 'a cycle: ' + ' -> '.join(cycle))
    everything = set(files)
    for source in sources:
        room = room_of(source.path, rooms)
        in_tests = source.path.startswith('tests/')
        if room is None and not in_tests:
            found('rooms', source.path, 1, 'its folder is no room of tests/lint/rooms.txt')
        for number, line in enumerate(source.lines, 1):
            match = INCLUDE.match(line)
            if match:
                check_include(source.path, number, match, (room, in_tests, rooms, everything))
    for path in files:
        if os.path.basename(path) == 'CMakeLists.txt' and not path.startswith('tests/'):
            check_links(path, rooms)


def check_include(path, number, match, context):
    room, in_tests, rooms, everything = context
    target = match.group(2)
    if target == GENERATED_HEADER:
        if not in_tests and 'proto/generated' not in rooms.get(room, []):
            found('rooms', path, number, f'{room} may not see the generated types of the wire')
        return
    if target not in everything:
        if target in OTHER_GENERATED:
            return
        if match.group(1) == '"':
            found('rooms', path, number, f'"{target}" is not spelled from the root, or is missing')
        return
    if match.group(1) == '<':
        found('rooms', path, number, f'<{target}> is ours: include it in quotes')
    other = room_of(target, rooms)
    if target.startswith('tests/'):
        if not in_tests:
            found('rooms', path, number, f'the product includes {target}')
    elif not in_tests and other != room and other not in rooms.get(room, []):
        found('rooms', path, number, f'{room} may not include {other} ({target})')


def check_links(path, rooms):
    """A library may link only rooms that it may include."""
    text = read(path).decode()
    room = os.path.dirname(path)
    match = re.search(r'penstock_room\(\s*\w+([^)]*)\)', text)
    if not match or room not in rooms:
        return
    for linked in re.findall(r'\broom_(\w+)', match.group(1)):
        names = [name for name in rooms if os.path.basename(name) == linked]
        if not any(name in rooms[room] for name in names):
            found('rooms', path, 1, f'{room} may not link room_{linked}')


# --- one file ------------------------------------------------------------------------------------

def rule_sizes(sources, files):
    for path in files:
        if path.endswith(('.c', '.h', '.py')) and not is_data(path):
            lines = read(path).count(b'\n')
            if lines > FILE_MOST_LINES:
                found('sizes', path, lines, f'{lines} lines; at most {FILE_MOST_LINES}')
    for source in sources:
        for name, first, last, parameters, _ in source.functions:
            if last - first + 1 > FUNCTION_MOST_LINES:
                found('sizes', source.path, first + 1,
                      f'{name} has {last - first + 1} lines; at most {FUNCTION_MOST_LINES}')
            if parameters > PARAMETERS_MOST:
                found('sizes', source.path, first + 1,
                      f'{name} has {parameters} parameters; at most {PARAMETERS_MOST}')
        for number, line in enumerate(source.lines, 1):
            if len(line) > LINE_MOST:
                found('sizes', source.path, number, f'{len(line)} columns; at most {LINE_MOST}')


CALL = re.compile(r'(?<![\w.>])([a-z_]\w*)\s*\(')
BAD_NAME = re.compile(r'(^|_)(util|utils|helper|helpers|manager)(_|$)')


def rule_banned(sources, files):
    for source in sources:
        product = not source.path.startswith('tests/')
        for number, line in enumerate(source.code_lines, 1):
            for name in CALL.findall(line):
                if name in BANNED_CALLS:
                    found('banned', source.path, number, f'{name}()')
                elif product and name in BANNED_ALLOC and source.path not in ALLOC_FILES:
                    found('banned', source.path, number, f'{name}(): use common/alloc.h')
                elif product and name in BANNED_SLEEP and source.path not in SLEEP_FILES:
                    found('banned', source.path, number, f'{name}(): wait for a condition')
            if re.search(r'\btypedef\s+(struct|enum|union)\b\s*\w*\s*(\{|\w+\s*;)', line):
                found('banned', source.path, number, 'typedef of a struct or enum')
            if product and re.search(r'(?<!\w)assert\s*\(', line):
                found('banned', source.path, number, 'assert(): use PS_ASSERT')
            if re.search(r'#\s*pragma\s+(GCC|clang)\s+diagnostic', line):
                found('banned', source.path, number, 'a warning is hidden')
        for name, first, _, _, _ in source.functions:
            if BAD_NAME.search(name):
                found('banned', source.path, first + 1, f'{name} is named for nothing')
        check_gotos(source)
    for path in files:
        stem = os.path.splitext(os.path.basename(path))[0]
        if BAD_NAME.search(stem):
            found('banned', path, 1, f'{stem} is named for nothing')
        if path.endswith(('CMakeLists.txt', '.cmake', 'CMakePresets.json')) and \
                re.search(rb'-Wno-', read(path)):
            found('banned', path, 1, '-Wno-… hides a warning')


def check_gotos(source):
    for name, first, last, _, _ in source.functions:
        body = source.code_lines[first:last + 1]
        labels = {}
        for at, line in enumerate(body):
            match = re.match(r'^\s*([A-Za-z_]\w*):(?!:)\s*$', line)
            if match and match.group(1) != 'default':
                labels[match.group(1)] = at
        for at, line in enumerate(body):
            match = re.search(r'\bgoto\s+(\w+);', line)
            if match and labels.get(match.group(1), last) <= at:
                found('banned', source.path, first + at + 1, f'{name}: goto goes backwards')


def rule_log(sources, _files):
    rooms = load_rooms()
    for source in sources:
        if room_of(source.path, rooms) in SILENT_ROOMS and not source.path.startswith('common/log.'):
            for number, line in enumerate(source.code_lines, 1):
                if LOG_CALL.search(line):
                    found('log', source.path, number, 'a library room never logs')


VARIABLE = re.compile(
    r'^(?!typedef|extern|return|goto|struct \w+ \{|enum |union )'
    r'(?P<type>(?:[A-Za-z_]\w*[\s*]+)+)(?P<name>[A-Za-z_]\w*)(?:\[[^\]]*\])*\s*(?:=.*|;)$')


def rule_globals(sources, _files):
    for source in sources:
        if source.path.startswith('tests/') or source.path in GLOBAL_STATE_FILES:
            continue
        for number, line in enumerate(source.code_lines, 1):
            match = VARIABLE.match(line.rstrip())
            if not match:
                continue
            words = set(match.group('type').replace('*', ' * ').split())
            if words <= {'struct', 'enum', 'union'}:  # a declaration of a type
                continue
            atomic = '_Atomic' in words or 'sig_atomic_t' in words or '_Thread_local' in words
            once = 'pthread_once_t' in words or 'pthread_mutex_t' in words
            # A const that a * follows is about what is pointed to.
            const = 'const' in words and ('*' not in words or 'const' in
                                          match.group('type').split('*')[-1].split())
            if not (const or atomic or once):
                found('globals', source.path, number, f'{match.group("name")}: state of no object')


def rule_names(sources, _files):
    stems = {}
    exported = {}
    for source in sources:
        stem = os.path.splitext(os.path.basename(source.path))[0]
        if stem != 'main':
            stems.setdefault(stem, set()).add(os.path.dirname(source.path))
        if source.path.startswith('tests/'):
            continue
        for name, first, _, _, static in source.functions:
            if not static and name != 'main':
                exported.setdefault(name, []).append((source.path, first + 1))
    for stem, folders in sorted(stems.items()):
        if len(folders) > 1:
            found('names', sorted(folders)[1] + '/' + stem, 1,
                  f'the name is taken in {sorted(folders)[0]} too')
    for name, places in sorted(exported.items()):
        for path, line in places[1:]:
            found('names', path, line, f'{name} is exported by {places[0][0]} too')


def rule_headers(sources, files):
    for path in files:
        name = os.path.basename(path)
        if is_data(path) or not (path.endswith(SPDX_SUFFIXES) or name in SPDX_NAMES):
            continue
        first = read(path).decode('utf-8', 'replace').split('\n')[:2]
        line = first[1] if first[0].startswith('#!') and len(first) > 1 else first[0]
        if SPDX not in line:
            found('headers', path, 1, 'the SPDX line is not the first')
    for source in sources:
        if not source.path.endswith('.h'):
            continue
        guard = re.sub(r'\W', '_', source.path).upper()
        if f'#ifndef {guard}' not in source.lines:
            found('headers', source.path, 1, f'its guard is not {guard}')
        if len(source.lines) < 2 or not source.lines[1].startswith(f'/* {source.path}: '):
            found('headers', source.path, 2, f'begins not with "/* {source.path}: …"')


def rule_white(_sources, files):
    for path in files:
        data = read(path)
        if is_data(path) or b'\0' in data or not data:
            continue
        if not data.endswith(b'\n') or data.endswith(b'\n\n'):
            found('white', path, data.count(b'\n') + 1, 'ends not with exactly one line end')
        for number, line in enumerate(data.split(b'\n'), 1):
            if line != line.rstrip():
                found('white', path, number, 'blanks at the line\'s end')
            if b'\t' in line and path.endswith(('.c', '.h', '.def', '.py')):
                found('white', path, number, 'a tab')


def rule_todo(sources, _files):
    for source in sources:
        for number, line in enumerate(source.lines, 1):
            if re.search(r'\b(TODO|FIXME|XXX|HACK)\b', line):
                found('todo', source.path, number, 'finish it or open an issue')


def rule_format(sources, _files):
    program = shutil.which('clang-format-14') or shutil.which('clang-format')
    if not program:
        found('format', '.clang-format', 0, 'clang-format-14 is not installed')
        return
    paths = [source.path for source in sources]
    for start in range(0, len(paths), 64):
        done = subprocess.run([program, '--dry-run', '-Werror', '--ferror-limit=1'] +
                              paths[start:start + 64], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for path, line in re.findall(r'^(\S+?):(\d+):\d+: error', done.stdout, re.M):
            found('format', path, int(line), 'is not as clang-format writes it (./dev fmt)')
        if done.returncode != 0 and not re.search(r': error', done.stdout):
            found('format', '.clang-format', 0, done.stdout.strip()[:200])


# --- the tree ------------------------------------------------------------------------------------

def rule_failpoints(sources, files):
    places = {}
    for source in sources:
        if source.path.startswith('tests/') or source.path == 'common/failpoint.h':
            continue
        for number, line in enumerate(source.lines, 1):
            for name in re.findall(r'PS_FAILPOINT\(\s*"([^"]+)"', line):
                places.setdefault(name, []).append((source.path, number))
    for name, where in sorted(places.items()):
        for path, number in where[1:]:
            found('failpoints', path, number, f'{name} stands in {where[0][0]} too')
    page = 'docs/RECOVERY.md'
    if page not in files:
        print(f'{page}: is not there yet; the failpoints have no rows to be compared with')
        return
    text = read(page).decode()
    rows = set(re.findall(r'^\|\s*`([^`]+)`', text, re.M))
    for name, where in sorted(places.items()):
        if name not in rows:
            found('failpoints', where[0][0], where[0][1], f'{name} has no row in {page}')
    dotted = {row for row in rows if re.fullmatch(r'[a-z]+\.[a-z_]+', row)}
    for name in sorted(dotted - set(places)):
        found('failpoints', page, 1, f'{name} is in no code')


def rule_reference(_sources, files):
    """The unit test compares the page byte for byte; this needs no build."""
    page = 'docs/reference/spec.md'
    if page not in files:
        found('reference', page, 1, 'is missing')
        return
    keys = re.findall(r'^SPEC_KEY\("([^"]+)"', read('spec/spec_keys.def').decode(), re.M)
    rows = re.findall(r'^\| `([^`]+)` \|.*\|.*\|.*\|.*\|.*\|$', read(page).decode(), re.M)
    if keys != rows[:len(keys)]:
        found('reference', page, 1,
              'is not current: run test_spec_reference with PENSTOCK_REGENERATE=1')


RULES = {
    'rooms': rule_rooms,
    'sizes': rule_sizes,
    'banned': rule_banned,
    'log': rule_log,
    'globals': rule_globals,
    'names': rule_names,
    'headers': rule_headers,
    'white': rule_white,
    'todo': rule_todo,
    'failpoints': rule_failpoints,
    'reference': rule_reference,
    'format': rule_format,
}


def apply_exceptions(files, names):
    """Lines `RULE PATH WORD reason…`: a finding of RULE in PATH whose text has WORD is accepted. An
    exception that excepts nothing is a finding itself."""
    if EXCEPTIONS not in files:
        return
    for number, line in enumerate(read(EXCEPTIONS).decode().split('\n'), 1):
        words = line.split(None, 3)
        if not words or words[0].startswith('#') or words[0] not in names:
            continue
        if len(words) < 4:
            found('exceptions', EXCEPTIONS, number, 'expected RULE PATH WORD and the reason')
            continue
        rule, path, word, _ = words
        kept = [f for f in findings
                if not (f[0] == rule and f[1] == path and re.search(rf'\b{re.escape(word)}\b', f[3]))]
        if len(kept) == len(findings):
            found('exceptions', EXCEPTIONS, number, f'nothing is excepted by {path} {word}')
        else:
            findings[:] = kept


def main():
    names = sys.argv[1:] or list(RULES)
    unknown = [name for name in names if name not in RULES]
    if unknown:
        print(f'unknown rule {", ".join(unknown)}; there are: {", ".join(RULES)}')
        return 2
    files = tracked()
    sources = [Source(path) for path in files if path.endswith(('.c', '.h')) and not is_data(path)]
    for name in names:
        RULES[name](sources, files)
    apply_exceptions(files, names)
    broken = len({rule for rule, _, _, _ in findings})
    for rule, path, line, text in sorted(set(findings), key=lambda f: (f[1], f[2], f[0])):
        print(f'{path}:{line}: {rule}: {text}')
    print(f'{len(files)} files, {len(sources)} of them C, {len(set(findings))} findings')
    print(f'{max(0, len(names) - broken)} passed, {broken} failed')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
