#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A database server for tests that are no Python: on loopback, in a temporary folder, with its URL
(without a database) in FOLDER/NAME, or `none: ` and why there is none.

usage: servers.py start postgresql|mysql FOLDER     leaves it running until stop, or until the
                                                    process that asked (CTest) has ended
       servers.py stop postgresql|mysql FOLDER
       servers.py run postgresql|mysql COMMAND …    COMMAND with it, PENSTOCK_TEST_DEST and
                                                    PENSTOCK_TEST_SERVERS set"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import db_checker  # noqa: E402
from cluster import wait_for  # noqa: E402

# Nobody kills these: no test of them needs the disk.
SETTINGS = {'postgresql': ('fsync=off', 'full_page_writes=off'), 'mysql': ('--innodb-flush-log-at-trx-commit=0',)}


def make(name):
    """(server, its URL) or (None, why)."""
    server, why = db_checker.start(name, SETTINGS[name])
    return server, server.url('', 'admin').rstrip('/') if server else why


def write(path, text):
    with open(path + '.new', 'w', encoding='utf-8') as out:
        out.write(text + '\n')
    os.rename(path + '.new', path)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def keep(name, folder, asker):
    """Starts it and stays until it is not wanted any more."""
    path = os.path.join(folder, name)
    server = None
    try:
        try:
            server, text = make(name)
        except (RuntimeError, OSError) as error:
            text = 'FAILED ' + ' '.join(str(error).split())
        write(path, text if server else f'none: {text}')
        while server and os.path.exists(path) and is_running(asker):
            time.sleep(0.1)
    finally:
        if server:
            server.close()
        if os.path.exists(path + '.pid'):
            os.unlink(path + '.pid')


def start(name, folder):
    os.makedirs(folder, exist_ok=True)
    stop(name, folder)
    path = os.path.join(folder, name)
    asker = os.getppid()
    keeper = os.fork()
    if keeper == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
        keep(name, folder, asker)
        os._exit(0)
    write(path + '.pid', str(keeper))
    try:
        wait_for(f'the {name} server to start', 100, lambda: os.path.exists(path), 0.05)
    except TimeoutError as error:
        os.kill(keeper, signal.SIGTERM)
        print(error)
        return 1
    with open(path, encoding='utf-8') as text:
        line = text.read().strip()
    print(line.replace('none: ', 'skipped: '))
    return 1 if line.startswith('none: FAILED') else 0


def stop(name, folder):
    path = os.path.join(folder, name)
    if os.path.exists(path):
        os.unlink(path)
    deadline = time.monotonic() + 60
    while os.path.exists(path + '.pid') and time.monotonic() < deadline:
        with open(path + '.pid', encoding='utf-8') as text:
            line = text.read().strip()
        if not line or not is_running(int(line)):
            os.unlink(path + '.pid')
            break
        time.sleep(0.05)
    return 0


def run(name, command):
    server, text = make(name)
    folder = tempfile.mkdtemp(prefix='pk-servers-', dir='/tmp')
    try:
        write(os.path.join(folder, name), text if server else f'none: {text}')
        return subprocess.call(command, env={**os.environ, 'PENSTOCK_TEST_DEST': name,
                                             'PENSTOCK_TEST_SERVERS': folder})
    finally:
        if server:
            server.close()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    words = sys.argv[1:]
    if len(words) >= 3 and words[0] == 'run' and words[1] in SETTINGS:
        return run(words[1], words[2:])
    if len(words) == 3 and words[0] in ('start', 'stop') and words[1] in SETTINGS:
        return start(*words[1:]) if words[0] == 'start' else stop(*words[1:])
    print(__doc__)
    return 2


if __name__ == '__main__':
    sys.exit(main())
