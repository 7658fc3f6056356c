#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server that dies while the network below it is down: its last words are lost, and a leaf that
waits for an answer is told nothing by anybody. It finds out by itself, and the load ends.

usage: dead_line.py [--build build/dev] [--dest postgresql|mysql] [--seed N]

Needs a network namespace: as root, or in a user namespace where the system has them; else it is
skipped."""
import argparse
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import data  # noqa: E402
import db_checker  # noqa: E402
from checker import Expected  # noqa: E402
from cluster import Cluster, Report, skip_all, wait_for  # noqa: E402

INSIDE = 'PENSTOCK_TEST_NETWORK'
KNOWN_S = 45  # docs/POSTGRESQL.md and docs/MYSQL.md: a dead line is known after 25 s
# A session of the server's own that keeps the leaf waiting for an answer.
LOCK = {'postgresql': 'BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600);',
        'mysql': 'LOCK TABLES t WRITE; SELECT sleep(600);'}
WAITING = {'postgresql': "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                         " application_name LIKE '%penstock'",
           'mysql': 'SELECT count(*) FROM information_schema.processlist WHERE user = "loader" AND'
                    ' state LIKE "Waiting for table metadata lock"'}


def enter_namespace():
    """Runs this program again where the loopback is its own. False: cannot."""
    if os.environ.get(INSIDE):
        return True  # its loopback is still down
    for way in (['unshare', '--net'], ['unshare', '--user', '--map-root-user', '--net']):
        if subprocess.run([*way, 'ip', 'link', 'set', 'lo', 'up'], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.environ[INSIDE] = '1'
            sys.stdout.flush()
            os.execvp(way[0], [*way, sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    return False


def loopback(state):
    subprocess.run(['ip', 'link', 'set', 'lo', state], check=True)


def says_farewell(port):
    """Does a socket of a process that has ended still try to say so?"""
    with open('/proc/net/tcp', encoding='ascii') as text:
        rows = [line.split() for line in text][1:]
    return any(int(row[1].split(':')[1], 16) == port and row[3] in ('04', '05', '09', '0B') for row in rows)


def client(server):
    """A command line that reads SQL; by the unix socket, so that the network does not matter."""
    if db_checker.dialect(server) is db_checker.MariaDB:
        return server.client('--unbuffered', user='root')
    return server.client(user='admin')


def run(args, server, folder, report):
    source = os.path.join(folder, 'source')
    data.make(source, args.seed, 0.2)
    checker = db_checker.ServerChecker(Expected(source, data.COLUMNS), server)
    with Cluster(args.build) as cluster:
        cluster.start_coordinator()
        cluster.start_agent(leaves=2, failpoints='leaf.before_done=delay:100')
        spec = data.spec('line', source, '', '32KiB')
        spec['destination']['url'] = server.url()
        cluster.apply(spec)
        cluster.start('line')
        wait_for('the first rows', 30, lambda: db_checker.count_rows(server, 't'))
        with subprocess.Popen(client(server), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, text=True) as holder:
            try:
                holder.stdin.write(LOCK[args.dest] + '\n')
                holder.stdin.flush()
                wait_for('a leaf to wait for an answer', 30, lambda: server.sql(WAITING[args.dest], user='admin')[0][0] != '0')
                loopback('down')
                server.kill()
                # As when the machine had gone: its kernel must not say it later.
                wait_for('the farewells to be given up', 60, lambda: not says_farewell(server.port))
            finally:
                holder.kill()
        loopback('up')
        server.start(fresh=False)
        began = time.monotonic()
        problems = []
        try:
            state = cluster.wait_end('line', KNOWN_S + 30, checker.poll)['state']
            seconds = time.monotonic() - began
            problems += [] if state == 'completed' else [state]
            problems += [] if seconds <= KNOWN_S else [f'{seconds:.0f} s are too long']
            problems += checker.check_end() + cluster.broken()
        except TimeoutError as error:
            problems.append(f'the line\'s death was not seen: {error}'[:300])
        report.case(not problems, f'{args.dest}: a leaf whose server died without a word went on; ended '
                    f'{time.monotonic() - began:.1f} s after there was a server again'
                    + ''.join(f'; {problem}' for problem in problems[:3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--dest', choices=sorted(LOCK), default='postgresql')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    args = parser.parse_args()
    why = db_checker.lacks(args.dest)
    if why is None and not enter_namespace():
        why = 'a network namespace is not permitted here'
    if why:
        return skip_all(why)
    loopback('up')
    with open('/proc/sys/net/ipv4/tcp_orphan_retries', 'w', encoding='ascii') as text:
        text.write('1')
    print(f'seed {args.seed}', flush=True)
    report = Report()
    with db_checker.place(args.dest, 'pk-line-') as (server, folder):
        run(args, server, folder, report)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
