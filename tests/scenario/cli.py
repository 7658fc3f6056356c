#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line as people use it, with the real programs.

usage: cli.py --build build/dev [NAME...]

Each function `try_*` is one story; NAME picks some. A wait is always for a condition with a deadline.
"""
import argparse
import fcntl
import gzip
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import time

DEADLINE = 60
PENSTOCK = BIN = ''


def run(*words, **more):
    """Runs penstock to its end; .stdout and .stderr are texts."""
    more.setdefault('timeout', DEADLINE)
    return subprocess.run([PENSTOCK, *words], stdin=more.pop('stdin', subprocess.DEVNULL), capture_output=True,
                          text=True, **more)


def expect(done, code, *parts):
    text = done.stdout + done.stderr
    assert done.returncode == code, f'exit {done.returncode}, wanted {code}: {shlex.join(done.args)}\n{text}'
    for part in parts:
        assert part in text, f'no "{part}" in: {shlex.join(done.args)}\n{text}'
    return done


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return path


def table(folder, count, start=0):
    return 'id,name\n' + ''.join(f'{i},name {i}\n' for i in range(start, start + count))


def ids(db, name='t'):
    with sqlite3.connect(f'file:{db}?mode=ro', uri=True, timeout=DEADLINE) as con:
        return sorted(row[0] for row in con.execute(f'SELECT id FROM "{name}"'))


def count(db, name='t'):
    """Rows now; 0 before there is a table."""
    if not os.path.exists(db):
        return 0
    try:
        with sqlite3.connect(f'file:{db}?mode=ro', uri=True, timeout=DEADLINE) as con:
            return con.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def wait_for(what, condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f'waited {DEADLINE} s for {what}'
        time.sleep(0.01)


def processes_of(folder):
    """Processes whose command line names the folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                line = f.read().replace(b'\0', b' ').decode(errors='replace')
        except OSError:
            continue
        if folder in line and 'penstock-' in line:
            found.append((int(pid), line))
    return found


def sanitizer_reports(folder):
    """What a sanitizer wrote into any daemon's log."""
    for base, _, names in os.walk(folder):
        for name in names:
            if name.endswith('.log'):
                with open(os.path.join(base, name), errors='replace') as f:
                    text = f.read()
                for mark in ['AddressSanitizer', 'LeakSanitizer', 'runtime error:']:
                    assert mark not in text, f'{name}:\n{text[text.index(mark):][:4000]}'


def many(folder, files=40, rows=20000):
    for i in range(files):
        write(folder, f'in/f{i:03}.csv', table(folder, rows, i * rows))
    return files * rows


# ---------------------------------------------------------------- stories

def try_help(folder):
    expect(run(), 2, 'usage: penstock COMMAND')
    expect(run('--help'), 0, 'load files into a table')
    expect(run('--version'), 0, 'penstock ')
    expect(run('load', '--help'), 0, '--into URL', 'examples:')
    expect(run('help', 'rejects'), 0, 'list|show|export')
    expect(run('lod'), 2, 'did you mean load?')
    expect(run('load', 'x', '--intto', 'y'), 2, 'did you mean --into?')
    expect(run('get', 'thing'), 2, 'is not one of')
    for shell in ['bash', 'zsh']:
        assert 'rejects' in expect(run('completion', shell), 0).stdout
    script = run('completion', 'bash').stdout
    subprocess.run(['bash', '-n'], input=script, text=True, check=True)
    ask = ('\nCOMP_WORDS=(penstock lo); COMP_CWORD=1; _penstock; echo "${COMPREPLY[@]}"'
           '\nCOMP_WORDS=(penstock get ba); COMP_CWORD=2; _penstock; echo "${COMPREPLY[@]}"'
           '\nCOMP_WORDS=(penstock load --dry); COMP_CWORD=2; _penstock; echo "${COMPREPLY[@]}"')
    out = subprocess.run(['bash'], input=script + ask, text=True, capture_output=True, check=True).stdout
    assert out.split('\n')[:3] == ['load', 'batch-partitions batches', '--dry-run'], out


def try_load_again_loads_only_what_is_new(folder):
    db = f'{folder}/x.db'
    for i in range(3):
        write(folder, f'in/f{i}.csv', table(folder, 100, i * 100))
    command = ['load', f'{folder}/in/*.csv', '--into', f'sqlite:{db}', '--table', 't', '-o', 'json']
    first = json.loads(expect(run(*command), 0).stdout)
    assert first['rows_loaded'] == '300' and first['state'] == 'completed', first
    assert ids(db) == list(range(300))
    assert os.path.isdir(f'{db}.penstock/t'), 'the state is beside the destination'
    again = json.loads(expect(run(*command), 0).stdout)
    assert again['rows_loaded'] == '0' and again['objects_before'] == '3', again
    write(folder, 'in/f3.csv', table(folder, 50, 300))
    more = json.loads(expect(run(*command), 0).stdout)
    assert more['rows_loaded'] == '50', more
    assert ids(db) == list(range(350))
    assert not processes_of(folder)


def try_one_small_file_is_quick(folder):
    write(folder, 'a.csv', table(folder, 10))
    best = DEADLINE
    for i in range(5):
        start = time.monotonic()
        expect(run('load', f'{folder}/a.csv', '--into', f'sqlite:{folder}/x{i}.db', '--table', 't'), 0, '10 rows')
        best = min(best, time.monotonic() - start)
    print(f'  one small file: {best * 1000:.0f} ms')


def try_files_that_a_shell_lists(folder):
    names = ['a b.csv', 'c,d.csv', 'e[1].csv', 'f{x}.csv', 'g*.csv', 'größe.csv', 'sub/h.csv']
    for i, name in enumerate(names):
        write(folder, name, table(folder, 10, i * 10))
    expect(run('load', *names, '--into', 'sqlite:x.db', '--table', 't', cwd=folder), 0, '70 rows')
    assert ids(f'{folder}/x.db') == list(range(70))
    # One more in the list is one more object, not another pipeline.
    write(folder, 'i.csv', table(folder, 10, 70))
    expect(run('load', *names, 'i.csv', '--into', 'sqlite:x.db', '--table', 't', cwd=folder), 0, '10 rows')
    assert ids(f'{folder}/x.db') == list(range(80))


def try_rejects(folder):
    db = f'{folder}/x.db'
    write(folder, 'a.csv', 'id,name\n1,one\n2,two,three\n3,three\n4\n')
    done = expect(run('load', f'{folder}/a.csv', '--into', f'sqlite:{db}', '--table', 't'), 3,
                  'rejected  2 records', 'penstock rejects list t --state')
    assert ids(db) == [1, 3]
    command = re.search(r'penstock (rejects list t --state \S+)', done.stderr).group(1).split()
    state = command[-1]
    expect(run(*command), 0, 'a.csv', 'LINE')
    items = json.loads(expect(run(*command, '-o', 'json'), 0).stdout)['items']
    assert [int(item['line']) for item in items] == [3, 5], items
    expect(run('rejects', 'show', 't', '--state', state), 0, '| 2,two,three')
    lines = expect(run('rejects', 'export', 't', '--state', state), 0).stdout.splitlines()
    assert [json.loads(line)['raw'] for line in lines] == ['2,two,three\n', '4\n'], lines
    assert ids(db) == [1, 3], 'reading rejects loads nothing'
    expect(run('load', f'{folder}/a.csv', '--into', f'sqlite:{folder}/y.db', '--table', 't', '--tolerance', '1'), 6,
           'toleran')


def try_wrong_specs(folder):
    path = write(folder, 'p.yaml', 'name: x\nsource:\n  url: a.csv\n  discover:\n    intervall: 3s\n'
                 'format: {typ: csv}\ndestination: {url: "sqlite:x.db", table: t, on_conflict: replce}\n')
    done = expect(run('run', path), 5, f'{path}:5: source.discover.intervall: ', 'did you mean interval?',
                  f'{path}:6: format.typ: ', 'did you mean type?', f'{path}:7: destination.on_conflict: ', '3 errors')
    assert done.stdout == ''
    expect(run('run', f'{folder}/missing.yaml'), 5, 'missing.yaml')
    write(folder, 'a.csv', table(folder, 1))
    into = ['--into', f'sqlite:{folder}/x.db']
    expect(run('load', f'{folder}/a.csv', *into, '--set', 'limits.batch_byte=3'), 5, 'did you mean limits.batch_bytes?')
    expect(run('load', f'{folder}/a.csv', *into, '--leaves', '0'), 2)
    expect(run('load', f'{folder}/a.csv'), 2, '--into')
    expect(run('load', f'{folder}/a.csv', '--into', 'x.db'), 2, 'sqlite:x.db')
    expect(run('load', f'{folder}/no.csv', *into), 6, 'no such file')
    expect(run('load', folder, *into), 6, "did you mean '")
    expect(run('load', f'{folder}/a.csv', '--into', f'sqlite:{folder}/none/x.db'), 7, 'no such folder')
    assert not os.path.exists(f'{folder}/none')
    assert not os.path.exists(f'{folder}/x.db')


def try_nothing_matches(folder):
    os.mkdir(f'{folder}/in')
    expect(run('load', f'{folder}/in/*.csv', '--into', f'sqlite:{folder}/x.db', '--table', 't'), 0, 'nothing matched')


def try_quarantine_stalls(folder):
    write(folder, 'in/a.csv.gz', gzip.compress(table(folder, 1000).encode()))
    write(folder, 'in/b.csv.gz', gzip.compress(table(folder, 1000, 1000).encode())[:-200])
    done = expect(run('load', f'{folder}/in/*', '--into', f'sqlite:{folder}/x.db', '--table', 't', '--set',
                      'errors.on_failure=skip'), 9, 'stalled', 'penstock explain t --state')
    state = re.search(r'explain t --state (\S+)', done.stderr).group(1)
    expect(run('explain', 't', '--state', state), 0, 'b.csv.gz', 'quarantined')
    expect(run('get', 'batch-partitions', '--state', state, '--only', 'quarantined'), 0, 'b.csv.gz')
    expect(run('describe', 't', '--state', state), 0, 'stalled', 'columns:')


def try_changed_object(folder):
    write(folder, 'in/a.csv', table(folder, 3))
    db = os.path.join(folder, 'out.db')
    words = ['load', os.path.join(folder, 'in/*.csv'), '--into', f'sqlite:{db}', '--table', 't']
    expect(run(*words), 0, '3 rows')
    write(folder, 'in/a.csv', table(folder, 5, 100))
    expect(run(*words), 9, 'object_changed', 'source.on_change')
    expect(run(*words), 9, 'object_changed')
    expect(run(*words, '--set', 'source.on_change=ignore'), 0)
    assert ids(db) == [0, 1, 2], ids(db)


def try_dry_run(folder):
    path = write(folder, 'a.csv', 'id,name,price\n1,one,1.5\n2,,2.25\n')
    done = expect(run('load', path, '--into', f'sqlite:{folder}/x.db', '--table', 't', '--dry-run'), 0, 'bigint',
                  'double', 'text', 'one', 'NULL')
    assert 'id' in done.stdout
    doc = json.loads(expect(run('load', path, '--into', f'sqlite:{folder}/x.db', '--dry-run', '-o', 'json'), 0).stdout)
    assert [c['type'] for c in doc['columns']] == ['bigint', 'text', 'double'], doc
    assert os.listdir(folder) == ['a.csv'], os.listdir(folder)


def try_print_spec_round_trip(folder):
    write(folder, 'a.csv', table(folder, 10))
    words = [f'{folder}/a.csv', '--into', f'sqlite:{folder}/x.db', '--table', 't', '--delimiter', ',', '--key', 'id',
             '--tolerance', '5', '--set', 'limits.batch_bytes=64KiB']
    spec = expect(run('load', *words, '--print-spec'), 0).stdout
    path = write(folder, 'spec/p.yaml', spec)
    assert expect(run('run', path, '--print-spec'), 0).stdout == spec
    assert not os.path.exists(f'{folder}/x.db')
    expect(run('run', path), 0, '10 rows')
    expect(run('load', *words), 0, '0 rows')
    # Relative paths of a spec start at its folder.
    write(folder, 'spec/rel.yaml', 'name: rel\nsource: {url: ../a.csv}\ndestination: {url: "sqlite:y.db", table: t}\n')
    expect(run('run', f'{folder}/spec/rel.yaml', cwd='/'), 0, '10 rows')
    assert ids(f'{folder}/spec/y.db') == list(range(10))
    with open(f'{folder}/spec/rel.yaml') as f:
        expect(run('run', '-', cwd=f'{folder}/spec', stdin=f), 0, '0 rows')


def try_piped_output_is_plain(folder):
    write(folder, 'a.csv', table(folder, 10))
    done = expect(run('load', f'{folder}/a.csv', '--into', f'sqlite:{folder}/x.db', '--table', 't'), 0)
    assert done.stdout == '' and '\x1b' not in done.stderr and '\r' not in done.stderr, repr(done.stderr)


def start_load(folder, total, *more, program=None):
    """A load that takes a while, in a session of its own, as a shell would start it."""
    return subprocess.Popen([program or PENSTOCK, 'load', f'{folder}/in/*.csv', '--into', f'sqlite:{folder}/x.db', '--table', 't',
                             '--leaves', '2', '--set', 'limits.batch_bytes=32KiB', *more],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)


def begun(folder):
    wait_for('the first rows', lambda: count(f'{folder}/x.db') > 0)


def finish(folder, total):
    """The same load again goes on and loads each row once."""
    load = start_load(folder, total)
    out, err = load.communicate(timeout=DEADLINE)
    assert load.returncode == 0, (load.returncode, err)
    assert ids(f'{folder}/x.db') == list(range(total))
    assert not processes_of(folder)


def try_interrupt_drains(folder):
    total = many(folder)
    load = start_load(folder, total)
    begun(folder)
    os.killpg(load.pid, signal.SIGINT)
    out, err = load.communicate(timeout=DEADLINE)
    assert load.returncode == 10, (load.returncode, err)
    assert 'goes on from here' in err, err
    assert not processes_of(folder), processes_of(folder)
    seen = count(f'{folder}/x.db')
    assert 0 < seen < total, f'{seen} rows: too fast for this test'
    finish(folder, total)


def try_second_interrupt_kills(folder):
    total = many(folder)
    load = start_load(folder, total)
    begun(folder)
    load.send_signal(signal.SIGINT)
    load.send_signal(signal.SIGTERM)
    out, err = load.communicate(timeout=DEADLINE)
    assert load.returncode == 130, (load.returncode, err)
    wait_for('all processes to end', lambda: not processes_of(folder))
    finish(folder, total)


def try_kill_9(folder):
    total = many(folder)
    load = start_load(folder, total)
    begun(folder)
    load.kill()
    load.communicate()
    wait_for('all processes to end', lambda: not processes_of(folder))
    finish(folder, total)


def try_kill_9_before_its_daemons_begin(folder):
    """What was being started has never seen its parent alive: it must not stay, with the state folder in its hands."""
    total = many(folder, 2, 100)
    programs = os.path.join(folder, 'bin')
    for late in ('penstock-coordinator', 'penstock-agent'):
        shutil.rmtree(programs, ignore_errors=True)
        os.mkdir(programs)
        shutil.copy(PENSTOCK, programs)
        for name in ('penstock-coordinator', 'penstock-agent'):
            os.symlink(os.path.join(BIN, name), os.path.join(programs, name))
        os.unlink(os.path.join(programs, late))
        os.chmod(write(programs, late, f'#!/bin/sh\n: > {folder}/{late}.began\n'
                       f'while kill -0 $PPID 2>/dev/null; do sleep 0.02; done\nexec {BIN}/{late} "$@"\n'), 0o755)
        load = start_load(folder, total, program=os.path.join(programs, 'penstock'))
        wait_for(f'{late} to be started', lambda: os.path.exists(f'{folder}/{late}.began'))
        load.kill()
        load.communicate()
        wait_for('all processes to end', lambda: not processes_of(folder))
    finish(folder, total)


def try_daemons_that_die_are_started_again(folder):
    total = many(folder)
    load = start_load(folder, total)
    begun(folder)
    for pid, line in processes_of(folder):
        if '--leaf ' not in line:
            os.kill(pid, signal.SIGKILL)
    out, err = load.communicate(timeout=DEADLINE)
    assert load.returncode == 0, (load.returncode, err)
    assert ids(f'{folder}/x.db') == list(range(total))


def try_one_run_at_a_time(folder):
    total = many(folder)
    load = start_load(folder, total)
    begun(folder)
    second = start_load(folder, total)
    out, err = second.communicate(timeout=DEADLINE)
    assert second.returncode == 1 and f'process {load.pid}' in err, (second.returncode, err)
    load.send_signal(signal.SIGINT)
    load.communicate(timeout=DEADLINE)


def try_timeout(folder):
    total = many(folder)
    load = start_load(folder, total, '--timeout', '700ms')
    out, err = load.communicate(timeout=DEADLINE)
    assert load.returncode == 8, (load.returncode, err)
    finish(folder, total)


def try_live_view(folder):
    """On a terminal: redrawn in place, no line wider than the window, a summary at the end."""
    total = many(folder)
    pid, fd = pty.fork()
    if pid == 0:
        os.environ['TERM'] = 'xterm'
        os.execv(PENSTOCK, [PENSTOCK, 'load', f'{folder}/in/*.csv', '--into', f'sqlite:{folder}/x.db', '--table', 't',
                            '--leaves', '2', '--set', 'limits.batch_bytes=64KiB'])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 12, 60, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    out, end = b'', time.monotonic() + DEADLINE
    while time.monotonic() < end:
        ready, _, _ = select.select([fd], [], [], 1)
        if ready:
            try:
                part = os.read(fd, 65536)
            except OSError:
                break
            if not part:
                break
            out += part
    _, status = os.waitpid(pid, 0)
    text = out.decode()
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert '\x1b[K' in text and 'leaf 0' in text and 'objects' in text, text[-2000:]
    live, summary = text.rsplit('\x1b[J', 1)
    for line in re.split(r'[\r\n]+|\x1b\[\d*A', live):
        plain = re.sub(r'\x1b\[[0-9;]*[A-Za-z]', '', line)
        assert len(plain) <= 80, plain
    assert f'{total:,} rows' in summary, summary


class Cluster:
    """A coordinator and agents of their own, on unix sockets."""

    def __init__(self, folder, agents=1):
        self.folder, self.all = folder, []
        self.address = f'unix:{folder}/http'
        self.env = dict(os.environ, PENSTOCK_API=self.address)
        self.start('coordinator', '--http', self.address, '--rpc', f'ipc://{folder}/rpc', '--state',
                   f'{folder}/state')
        for i in range(agents):
            self.start('agent', '--coordinator', f'ipc://{folder}/rpc', '--name', f'host-{i}', '--leaves', '2',
                       '--state', f'{folder}/agent-{i}')

    def start(self, name, *words):
        ready, ready_end = os.pipe()
        log = open(f'{self.folder}/{name}-{len(self.all)}.log', 'wb')
        self.all.append(subprocess.Popen([os.path.join(BIN, f'penstock-{name}'), *words, '--ready-fd', str(ready_end)],
                                         stderr=log, stdout=log, pass_fds=[ready_end], stdin=subprocess.DEVNULL))
        os.close(ready_end)
        assert select.select([ready], [], [], DEADLINE)[0] and os.read(ready, 16), open(log.name).read()
        os.close(ready)

    def run(self, *words):
        return run(*words, env=self.env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.all):
            process.terminate()
        for process in self.all:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def try_no_coordinator(folder):
    expect(run('get', 'pipelines', '--coordinator', f'unix:{folder}/none'), 1, 'penstock-coordinator')
    expect(run('get', 'pipelines', '--coordinator', 'http://127.0.0.1:1'), 1, 'Connection refused')
    expect(run('get', 'pipelines', '--coordinator', 'ftp://x'), 2, 'unix:PATH')


def try_cluster(folder):
    total = many(folder, 6, 1000)
    path = write(folder, 'p.yaml', f'name: flights\nsource: {{url: "in/*.csv"}}\n'
                 f'destination: {{url: "sqlite:x.db", table: t}}\n')
    with Cluster(folder) as c:
        expect(c.run('get', 'pipelines'), 0, 'NAME')
        expect(c.run('apply', '-f', path), 0, 'flights applied')
        expect(c.run('get', 'pipelines'), 0, 'created')
        expect(c.run('explain', 'flights'), 0, 'penstock start')
        expect(c.run('start', 'flights', '--wait'), 0, f'{total:,} rows')
        assert ids(f'{folder}/x.db') == list(range(total))
        item = json.loads(expect(c.run('get', 'pipelines', 'flights', '-o', 'json'), 0).stdout)['items'][0]
        assert item['state'] == 'completed' and item['totals']['counts']['inserted'] == str(total), item
        parts = json.loads(expect(c.run('get', 'batch-partitions', 'flights', '-o', 'json'), 0).stdout)['items']
        assert len(parts) == 6 and all(p['state'] == 'done' and int(p['offset']) > 0 for p in parts), parts
        assert len(expect(c.run('get', 'batch-partitions', '--limit', '2'), 0, 'there are more').stdout.splitlines()) == 3
        expect(c.run('get', 'batches', 'flights', '-o', 'wide'), 0, 'loaded')
        expect(c.run('get', 'agents'), 0, 'host-0', 'online')
        expect(c.run('agents', '-o', 'wide'), 0, 'host-0', 'PID')
        expect(c.run('get', 'events'), 0, 'flights')
        expect(c.run('describe', 'flights'), 0, 'completed', 'last events:')
        docs = expect(c.run('watch', 'flights', '-o', 'json'), 0).stdout.splitlines()
        assert json.loads(docs[-1])['state'] == 'completed'
        expect(c.run('rejects', 'list', 'flights'), 0, 'OBJECT')
        expect(c.run('get', 'pipelines', 'none'), 1, 'none')
        expect(c.run('start', 'none'), 1)
        expect(c.run('stop', 'flights'), 0)
        expect(c.run('delete', 'flights'), 0, 'its rows stay')
        expect(c.run('describe', 'flights'), 1)
        assert ids(f'{folder}/x.db') == list(range(total))


def main():
    global BIN, PENSTOCK
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('names', nargs='*')
    args = parser.parse_args()
    BIN = os.path.abspath(os.path.join(args.build, 'bin'))
    PENSTOCK = os.path.join(BIN, 'penstock')
    os.environ.pop('PENSTOCK_API', None)
    passed, failed = 0, []
    stories = [(n[4:], f) for n, f in globals().items() if n.startswith('try_')]
    for name, story in stories:
        if args.names and name not in args.names:
            continue
        with tempfile.TemporaryDirectory(prefix='ps-cli-') as folder:
            start = time.monotonic()
            try:
                story(folder)
                sanitizer_reports(folder)
                passed += 1
                print(f'ok    {name} ({time.monotonic() - start:.1f} s)', flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as e:
                failed.append(name)
                print(f'FAIL  {name}: {e}', flush=True)
                for pid, _ in processes_of(folder):
                    os.kill(pid, signal.SIGKILL)
    print(f'{passed} passed, {len(failed)} failed')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
