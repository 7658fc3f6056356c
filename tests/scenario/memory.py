#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peak memory (VmHWM) of every process of a load: a large gzip object, one record of 200 MiB in CSV and
in NDJSON (a reject, not a crash), many small objects. Each leaf stays within its budget, which
includes the program itself; the coordinator within 200 MB. The rows are counted and summed.

usage: memory.py [--build build/dev] [--gzip-mib 256] [--record-mib 200] [--objects 20000] [SCENE ...]"""
import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from cluster import Cluster, Report  # noqa: E402

COORDINATOR_KB = 200 * 1000
ROW_BYTES = 64
SCENES = ('gzip', 'record-csv', 'record-ndjson', 'objects')


def peak_kb(pid):
    """VmHWM of a process in KiB; 0 when it is gone."""
    try:
        with open(f'/proc/{pid}/status', encoding='ascii', errors='replace') as text:
            for line in text:
                if line.startswith('VmHWM:'):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def rows_text(rng, first, count):
    """count rows of ROW_BYTES bytes: id,n,filler."""
    out = []
    for i in range(first, first + count):
        head = f'{i},{rng.randrange(1000)},'
        out.append(head + 'x' * (ROW_BYTES - 1 - len(head)) + '\n')
    return ''.join(out).encode()


class Scene:
    def __init__(self, args, folder, report):
        self.args = args
        self.folder = folder
        self.report = report
        self.rng = random.Random(args.seed)

    def load(self, name, source, budget_mib, expected, rejects=0, **form):
        """expected: (rows, sum of n). Loads with 2 leaves and follows all peaks."""
        with Cluster(self.args.build) as cluster:
            database = cluster.path('out.db')
            cluster.start_coordinator()
            cluster.start_agent(leaves=2, extra=('--budget', f'{budget_mib}MiB'))
            spec = {
                'name': 'memory', 'source': {'url': f'file:{source}/*'},
                'format': form or {'type': 'csv', 'header': True},
                'columns': [{'name': 'id', 'type': 'bigint'}, {'name': 'n', 'type': 'bigint'},
                            {'name': 'filler', 'type': 'text'}],
                'destination': {'url': f'sqlite:{database}', 'table': 't'},
                'errors': {'tolerance': '100%'},
            }
            cluster.apply(spec)
            cluster.start('memory')
            began = time.monotonic()
            peaks, died = {}, []

            def look():
                for number, pid in cluster.leaves().items():
                    known = peaks.setdefault(number, {})
                    known[pid] = max(known.get(pid, 0), peak_kb(pid))
                    if len(known) > 1:
                        died.append(number)
            problems = []
            try:
                pipeline = cluster.wait_end('memory', self.args.seconds, look)
                if pipeline['state'] != 'completed':
                    problems.append(f'{pipeline["state"]}: {pipeline.get("reason", "")}')
            except TimeoutError as error:
                problems.append(str(error)[:300])
            look()
            problems += self.figures(cluster, database, expected, rejects)
            leaf_kb = max(kb for known in peaks.values() for kb in known.values())
            coordinator_kb = peak_kb(cluster.coordinator.pid)
            if died:
                problems.append('a leaf died')
            if leaf_kb > budget_mib * 1024:
                problems.append('a leaf took more than its budget')
            if coordinator_kb > COORDINATOR_KB:
                problems.append('the coordinator took more than 200 MB')
            if problems:
                cluster.show_logs(20)
            self.report.case(
                not problems, f'{name}: leaf {leaf_kb / 1024:.1f} of {budget_mib} MiB, agent '
                f'{peak_kb(cluster.agents["a"].pid) / 1024:.1f} MiB, coordinator '
                f'{coordinator_kb / 1024:.1f} MiB, {time.monotonic() - began:.1f} s'
                + ''.join(f'; {problem}' for problem in problems[:4]))

    def figures(self, cluster, database, expected, rejects):
        try:
            connection = sqlite3.connect(f'file:{database}?mode=ro', uri=True)
            have = connection.execute('SELECT count(*), sum(n) FROM t').fetchone()
            bad = connection.execute('SELECT count(*) FROM t_rejects').fetchone()[0]
            connection.close()
        except sqlite3.Error as error:
            return [str(error)]
        problems = cluster.broken()
        if have != expected:
            problems.append(f'{have} rows and sum, expected {expected}')
        if bad != rejects:
            problems.append(f'{bad} rejects, expected {rejects}')
        return problems

    def made(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path)
        return path

    def gzip(self):
        """The same MiB of rows again and again, as one gzip member."""
        source = self.made('gzip')
        mib = rows_text(self.rng, 10**9, (1 << 20) // ROW_BYTES)
        with open(os.path.join(source, 'large.csv.gz'), 'wb') as out:
            packer = subprocess.Popen(['gzip', '-1'], stdin=subprocess.PIPE, stdout=out)
            packer.stdin.write(b'id,n,filler\n')
            for _ in range(self.args.gzip_mib):
                packer.stdin.write(mib)
            packer.stdin.close()
            packer.wait()
        total = sum(int(line.split(b',')[1]) for line in mib.splitlines())
        self.load(f'gzip object of {self.args.gzip_mib} MiB', source, 16, (
            mib.count(b'\n') * self.args.gzip_mib, total * self.args.gzip_mib))
        shutil.rmtree(source)

    def record_csv(self):
        source = self.made('csv')
        rows = rows_text(self.rng, 10**9, 1000)
        with open(os.path.join(source, 'wide.csv'), 'wb') as out:
            out.write(b'id,n,filler\n' + rows + b'1,2,"')
            for _ in range(self.args.record_mib):
                out.write(b'filler""\n' * ((1 << 20) // 9))
            out.write(b'"\n' + rows)
        total = 2 * sum(int(line.split(b',')[1]) for line in rows.splitlines())
        self.load(f'CSV record of {self.args.record_mib} MiB', source, 64, (2000, total), 1)
        shutil.rmtree(source)

    def record_ndjson(self):
        source = self.made('ndjson')
        rows = ''.join(f'{{"id": {i}, "n": {i % 7}, "filler": "x"}}\n'
                       for i in range(1000)).encode()
        with open(os.path.join(source, 'wide.ndjson'), 'wb') as out:
            out.write(rows + b'{"id": 1, "n": 2, "filler": "')
            for _ in range(self.args.record_mib):
                out.write(b'filler\\n' * ((1 << 20) // 8))
            out.write(b'"}\n' + rows)
        self.load(f'NDJSON record of {self.args.record_mib} MiB', source, 64,
                  (2000, 2 * sum(i % 7 for i in range(1000))), 1, type='ndjson')
        shutil.rmtree(source)

    def objects(self):
        source = self.made('objects')
        total = 0
        for i in range(self.args.objects):
            text = rows_text(self.rng, 10**9 + i, 1)
            total += int(text.split(b',')[1])
            with open(os.path.join(source, f'{i:07}.csv'), 'wb') as out:
                out.write(b'id,n,filler\n' + text)
        self.load(f'{self.args.objects} objects', source, 64, (self.args.objects, total))
        shutil.rmtree(source)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('--gzip-mib', type=int, default=256)
    parser.add_argument('--record-mib', type=int, default=200)
    parser.add_argument('--objects', type=int, default=20000)
    parser.add_argument('--seconds', type=int, default=300, help='that each load may take')
    parser.add_argument('scene', nargs='*', choices=[[], *SCENES])
    args = parser.parse_args()
    print(f'seed {args.seed}', flush=True)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-memory-', dir='/tmp')
    try:
        scene = Scene(args, folder, report)
        for name in args.scene or SCENES:
            getattr(scene, name.replace('-', '_'))()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
