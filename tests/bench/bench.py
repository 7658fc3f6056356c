#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The speed gates: ratios against a named peer on the same data in the same run.

usage: bench.py --build build/release [--objects 64] [--rounds 5] [--no-gate] [NAME ...]

Rounds are interleaved (ours, peer, ours, peer …) so that a drifting machine hits both; the first
round warms the page cache and is dropped. Our figure is from exec to exit of `penstock load` with a
fresh state: coordinator and agent start included. CPU is user + system of the command and all its
children. Every round's table is compared with the peer's: same count, same sums."""
import argparse
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OBJECT_BYTES = 16 * 1024 * 1024
DDL = open(os.path.join(HERE, 'bench_sqlite.sql'), encoding='utf-8').read()
SUMS = ('SELECT count(*), sum(order_id), sum(part_id), sum(CAST(round(price * 100) AS INTEGER)), sum(length(comment)), '
        'count(DISTINCT shipped) FROM t')


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def busy_share():
    """Share of all processors that was not idle during a short look."""
    def look():
        fields = [int(x) for x in open('/proc/stat', encoding='ascii').readline().split()[1:]]
        return sum(fields), fields[3] + fields[4]
    total, idle = look()
    time.sleep(0.5)
    total2, idle2 = look()
    return 1 - (idle2 - idle) / max(1, total2 - total)


class Bench:
    """One comparison: ours against one peer, both loading the same objects into a new file."""

    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.bin = os.path.join(ROOT, args.build, 'bin')
        self.objects = []
        self.raw_bytes = 0

    def make(self, compress):
        data = os.path.join(self.folder, 'csv')
        if not os.path.isdir(data):
            os.mkdir(data)
            subprocess.run([os.path.join(ROOT, self.args.build, 'bench/bench_gen'), data,
                            str(self.args.objects), str(OBJECT_BYTES)], check=True,
                           stdout=subprocess.DEVNULL)
        plain = sorted(os.path.join(data, name) for name in os.listdir(data) if name.endswith('.csv'))
        self.raw_bytes = sum(os.path.getsize(path) for path in plain)
        if compress:
            for path in plain:
                if not os.path.exists(path + '.gz'):
                    subprocess.run(['gzip', '-6', '-k', path], check=True)
        self.objects = [path + '.gz' if compress else path for path in plain]
        for path in self.objects:  # a cold page cache measures the disk
            with open(path, 'rb') as file:
                while file.read(1 << 20):
                    pass

    def ours(self, name):
        out = os.path.join(self.folder, 'ours.db')
        state = os.path.join(self.folder, 'ours.state')
        suffix = '.csv.gz' if self.objects[0].endswith('.gz') else '.csv'
        command = [os.path.join(self.bin, 'penstock'), 'load',
                   os.path.join(self.folder, 'csv', '*' + suffix), '--into', f'sqlite:{out}', '--table', 't',
                   '--name', name, '--state', state, '--leaves', str(self.args.leaves)]
        return self.timed(command, out, [state])

    def peer(self):
        out = os.path.join(self.folder, 'peer.db')
        script = '.mode csv\n' + DDL
        for path in self.objects:
            source = f"'|gzip -dc {path}'" if path.endswith('.gz') else f"'{path}'"
            script += f'.import --skip 1 {source} t\n'
        # Empty fields stay '' there and become NULL here: the sums do not see the difference.
        return self.timed(['sqlite3', out], out, [], script)

    def timed(self, command, out, folders, script=None):
        for path in [out, out + '-journal', out + '-wal', out + '-shm']:
            if os.path.exists(path):
                os.unlink(path)
        for path in folders:
            shutil.rmtree(path, ignore_errors=True)
        os.sync()
        cpu = children_cpu()
        began = time.monotonic()
        done = subprocess.run(command, input=script, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        seconds = time.monotonic() - began
        cpu = children_cpu() - cpu
        if done.returncode != 0:
            raise SystemExit(f'{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}')
        with sqlite3.connect(out) as table:
            sums = table.execute(SUMS).fetchone()
        return seconds, cpu, sums

    def compare(self, name, compress, least_ratio, most_cpu):
        self.make(compress)
        ours, peer = [], []
        before = busy_share()
        for turn in range(-1 if self.args.rounds > 1 else 0, self.args.rounds):
            a = self.ours(name)
            b = self.peer()
            if a[2] != b[2]:
                print(f'{name}: rows differ: ours {a[2]}, sqlite3 {b[2]}')
                return False
            if turn >= 0:
                ours.append(a)
                peer.append(b)
        ratio = statistics.median(b[0] / a[0] for a, b in zip(ours, peer))
        gb = self.raw_bytes / 1e9
        seconds = statistics.median(a[0] for a in ours)
        cpu = statistics.median(a[1] for a in ours) / gb
        spread = max(a[0] for a in ours) / min(a[0] for a in ours)
        print(f'{name}: {ratio:.2f}x sqlite3 .import; ours {gb * 1000 / seconds:.0f} MB/s '
              f'({seconds:.2f} s, max/min {spread:.2f}), {cpu:.1f} CPU-s/GB; sqlite3 '
              f'{gb * 1000 / statistics.median(b[0] for b in peer):.0f} MB/s, '
              f'{statistics.median(b[1] for b in peer) / gb:.1f} CPU-s/GB; {len(self.objects)} objects, '
              f'{self.raw_bytes / 1e6:.0f} MB raw, {len(ours)} rounds, '
              f'{ours[0][2][0]} equal rows; machine busy before {before:.0%}')
        if self.args.no_gate:
            return True
        good = ratio >= least_ratio and cpu <= most_cpu
        if not good:
            print(f'{name}: MISSED: wanted at least {least_ratio}x and at most {most_cpu} CPU-s/GB')
        return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', required=True)
    parser.add_argument('--objects', type=int, default=64)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--leaves', type=int, default=2)
    parser.add_argument('--no-gate', action='store_true', help='only equal rows, no ratio is judged')
    parser.add_argument('--folder', help='where the data is made (default: a temporary folder)')
    parser.add_argument('name', nargs='*', help='csv, gzip')
    args = parser.parse_args()
    cases = {'csv': (False, 3.0, 9.0), 'gzip': (True, 3.0, 9.0)}
    with tempfile.TemporaryDirectory(prefix='penstock-bench-', dir=args.folder) as folder:
        results = [Bench(args, folder).compare(name, *cases[name]) for name in args.name or cases]
    print(f'{sum(results)} passed, {len(results) - sum(results)} failed')
    return 0 if all(results) else 1


if __name__ == '__main__':
    sys.exit(main())
