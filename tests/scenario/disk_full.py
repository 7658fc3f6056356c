#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, on a small tmpfs of its own: below the coordinator's state, below an agent's
staging, below the destination, below the destination before there is a table, and below the tables of
a PostgreSQL and a MariaDB server. Each time it is said why nothing goes on (in the API and by `penstock explain`), nothing fails and nothing counts as
an attempt; once there is room, the load ends by itself, with every row once.

usage: disk_full.py [--build build/dev] [--seed N] [--rounds 1] [SCENE ...]

Needs mounts: as root, or in a user namespace where the system has them; else it is skipped."""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import data  # noqa: E402
import db_checker  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import ApiError, Cluster, Report, skip_all, wait_for  # noqa: E402

INSIDE = 'PENSTOCK_TEST_MOUNTS'
HOLD_S = 2.5  # how long a disk stays full after it was said: longer than a lease of these tests
SLOW = 'leaf.after_fetch=delay:20;dest.after_rows=delay:20'


def enter_namespace():
    """Runs this program again where it may mount, and where its mounts end with it. None: cannot."""
    if os.environ.get(INSIDE):
        return True
    ways = [['unshare', '--mount', '--propagation', 'private'],
            ['unshare', '--user', '--map-root-user', '--mount', '--propagation', 'private']]
    for way in ways:
        probe = subprocess.run([*way, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'],
                               stderr=subprocess.DEVNULL)
        if probe.returncode == 0:
            os.environ[INSIDE] = '1'
            sys.stdout.flush()
            os.execvp(way[0], [*way, sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    return False


class Disk:
    """A tmpfs, and the file that takes what is left of it."""

    def __init__(self, path, size):
        os.makedirs(path, exist_ok=True)
        self.path = path
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0700', 'tmpfs', path],
                       check=True)
        self.filler = os.path.join(path, 'filler')

    def fill(self):
        with open(self.filler, 'ab', buffering=0) as out:
            try:
                while True:
                    out.write(b'\0' * 4096)
            except OSError:
                pass

    def free(self):
        os.unlink(self.filler)

    def end(self):
        subprocess.run(['umount', '-l', self.path], check=False)


class Scene:
    def __init__(self, args, folder, report):
        self.args = args
        self.report = report
        self.source = os.path.join(folder, 'source')
        data.make_with_huge(self.source, args.seed, 0.5)
        self.expected = Expected(self.source, data.COLUMNS)

    def said(self, cluster, words):
        """The notes of leaves, and why the coordinator is not ready, that hold one of the words."""
        found = []
        try:
            cluster.call('GET', '/readyz')
            for agent in cluster.call('GET', '/v1/agents')['items']:
                found += [leaf.get('note', '') for leaf in agent.get('leaf', [])]
        except ApiError as error:
            found.append(error.body.get('detail', ''))
        return [text for text in found if any(word in text for word in words)]

    def explained(self, cluster):
        done = subprocess.run([os.path.join(cluster.bin, 'penstock'), 'explain', 'full', '-c',
                               f'unix:{cluster.path("http")}'], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
        return done.stdout

    def run(self, name, where, size, words, when='loading', **spec_options):
        with Cluster(self.args.build) as cluster:
            disk = Disk(cluster.path(where), size)
            os.makedirs(cluster.path('dest'), exist_ok=True)
            database = cluster.path('dest', 'out.db')
            spec = data.spec('full', self.source, database, **spec_options)
            self.watch(cluster, disk, name, words, when, spec, Checker(self.expected, database))

    def watch(self, cluster, disk, name, words, when, spec, checker):
        try:
            self.load(cluster, disk, name, words, when, spec, checker)
        except TimeoutError as error:
            cluster.show_logs(30)
            self.report.case(False, f'{name}: {error}')
        finally:
            disk.end()

    def load(self, cluster, disk, name, words, when, spec, checker):
        cluster.start_coordinator()
        cluster.start_agent(leaves=3, failpoints=SLOW, extra=('--budget', '2MiB'))
        if when == 'before':
            wait_for('the staging folders', 20, lambda: all(os.path.exists(
                cluster.path('agent-a', f'leaf-{i}', 'stage', 'lock')) for i in range(3)))
            disk.fill()
        cluster.apply(spec)
        cluster.start('full')
        if when == 'loading':
            wait_for('rows to come', 30, lambda: (checker.poll(), checker.count())[1])
            disk.fill()
        began = time.monotonic()
        text = wait_for('it to be said', 30, lambda: (checker.poll(),
                                                      self.said(cluster, words))[1], 0.05)[0]
        shown = self.explained(cluster)
        problems = [] if any(word in shown for word in words) else [f'explain says: {shown[:300]}']
        deadline = time.monotonic() + HOLD_S
        while time.monotonic() < deadline:
            checker.poll()
            time.sleep(0.1)
        disk.free()
        full_s = time.monotonic() - began
        began = time.monotonic()
        pipeline = cluster.wait_end('full', 60, checker.poll)
        if pipeline['state'] != 'completed':
            problems.append(f'{pipeline["state"]}: {pipeline.get("reason", "")}')
        tried = [batch['id'] for batch in cluster.list_all('/v1/pipelines/full/batches')
                 if int(batch.get('attempts', 0))]
        if tried:
            problems.append(f'{len(tried)} batches were counted as attempts')
        problems += checker.check_end() + cluster.broken()
        if problems:
            cluster.show_logs(30)
        self.report.case(not problems, f'{name}: "{text}"; full for {full_s:.1f} s, ended '
                         f'{time.monotonic() - began:.1f} s after there was room'
                         + ''.join(f'; {problem}' for problem in problems[:3]))

    def state(self):
        self.run('state', 'coordinator', '12m', ['state is full'], batch_bytes='64KiB')

    def staging(self):
        self.run('staging', 'agent-a', '24m', ["room on the staging folder's disk"], 'before',
                 batch_bytes='4MiB')

    def destination(self):
        self.run('destination', 'dest', '40m', ["room on the destination's disk"],
                 batch_bytes='64KiB')

    def prepare(self):
        self.run('prepare', 'dest', '40m', ["room on the destination's disk"], 'before', batch_bytes='64KiB')

    def at_server(self, scheme):
        """The disk below the server's tables; what it needs to stay up is elsewhere."""
        server, why = db_checker.start(scheme)
        if server is None:
            self.report.skip(why)
            return
        try:
            disk = small_disk(server)
            with Cluster(self.args.build) as cluster:
                spec = data.spec('full', self.source, '', batch_bytes='64KiB')
                spec['destination']['url'] = server.url()
                self.watch(cluster, disk, scheme, ["room on the destination's disk"], 'loading', spec,
                           db_checker.ServerChecker(self.expected, server))
        finally:
            server.close()

    def postgresql(self):
        self.at_server('postgresql')

    def mysql(self):
        self.at_server('mysql')


def small_disk(server):
    """A tmpfs that the tables of database air are on."""
    if db_checker.dialect(server) is db_checker.PostgreSQL:
        disk = Disk(os.path.join(server.folder, 'small'), '40m')
        keep = {}
    else:
        folder = os.path.join(server.data, 'air')
        keep = {name: open(os.path.join(folder, name), 'rb').read() for name in os.listdir(folder)}
        disk = Disk(folder, '40m')
    for name, text in keep.items():
        with open(os.path.join(disk.path, name), 'wb') as out:
            out.write(text)
    if server.user:
        for path in (disk.path, *(os.path.join(disk.path, name) for name in keep)):
            os.chown(path, server.user.pw_uid, server.user.pw_gid)
    if db_checker.dialect(server) is db_checker.PostgreSQL:
        for text in (f"CREATE TABLESPACE small LOCATION '{disk.path}'", 'GRANT CREATE ON TABLESPACE small TO loader',
                     'ALTER DATABASE air SET default_tablespace = small'):
            server.sql(text, user='admin')
    return disk


SCENES = ('state', 'staging', 'destination', 'prepare', 'postgresql', 'mysql')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('scene', nargs='*',
                        choices=[[], *SCENES])
    args = parser.parse_args()
    if not enter_namespace():
        return skip_all('mounting a tmpfs is not permitted here')
    print(f'seed {args.seed}', flush=True)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-full-', dir='/tmp')
    try:
        scene = Scene(args, folder, report)
        for _ in range(args.rounds):
            for name in args.scene or SCENES:
                getattr(scene, name)()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
