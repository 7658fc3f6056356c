#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The connection between a leaf and a database server is cut at chosen bytes of a load's transaction
by a proxy of our own: every byte of COMMIT (it never arrived) and of its answer (it arrived, the
answer is lost), and bytes of the whole transaction in both ways; by FIN and by RST. Each time the
batch is there once, and its second life learns ALREADY exactly where the first had committed.

usage: link_cuts.py [--build build/dev] [--dest postgresql|mysql] [--samples 24] [--seed N]
       link_cuts.py --way up|down --base begin|commit --at N [--how fin|rst|stall]    that cut alone

--samples 0: both sides of every message of the transaction"""
import argparse
import os
import random
import re
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import db_checker  # noqa: E402
from cluster import Cluster, Report, skip_all, wait_for  # noqa: E402
from cut_proxy import BEGIN, Cut, CutProxy, boundaries  # noqa: E402

ROWS = 60  # of an object
MANY = 40000
LOADED = re.compile(r'batch\.already_loaded')


# Of how many messages the answer to COMMIT is.
ANSWER = {'postgresql': 2, 'mysql': 1}


def bytes_of(scheme, data, messages):
    """So many messages' bytes; what follows COMMIT on the line is no part of it."""
    found = boundaries(scheme, data)
    return found[messages] if len(found) > messages else len(data)


def write_objects(folder, count, rows):
    """Objects of the same size, each cut into several batches."""
    os.makedirs(folder)
    for k in range(count):
        with open(os.path.join(folder, f'{k:05}.csv'), 'w', encoding='ascii') as out:
            out.write('id,v\n' + ''.join(f'{10**8 + k * rows + i},{"x" * 40}\n' for i in range(rows)))


class Scene:
    def __init__(self, args, server, folder, report):
        self.args = args
        self.server = server
        self.folder = folder
        self.report = report
        self.runs = 0

    def run(self, cuts, keep=False, delay_s=0.0, rest=1, rows=ROWS):
        """One load, its transactions cut as told. (problems, proxy, ALREADYs, seconds)"""
        self.runs += 1
        table = f'cut_{self.runs}'
        source = os.path.join(self.folder, table)
        write_objects(source, len(cuts) + 3, rows)
        proxy = CutProxy(self.server.port, BEGIN[self.args.dest])
        proxy.keep = keep
        began = time.monotonic()
        problems = []
        try:
            with Cluster(self.args.build) as cluster:
                cluster.start_coordinator()
                # So long after each batch that the plan can begin behind the first.
                cluster.start_agent(leaves=1, failpoints='leaf.before_done@1=delay:1500')
                cluster.apply({'name': table, 'source': {'url': f'file:{source}/*.csv'}, 'format': {'type': 'csv'},
                               'columns': [{'name': 'id', 'type': 'bigint'}, {'name': 'v', 'type': 'text'}],
                               'destination': {'url': self.server.url(port=proxy.port), 'table': table},
                               'limits': {'batch_bytes': '1KiB' if rows == ROWS else '1MiB'}})
                cluster.start(table)
                wait_for('the first rows', 60, lambda: db_checker.count_rows(self.server, table))
                proxy.delay_s = delay_s
                proxy.start(cuts, rest)
                state = cluster.wait_end(table, 60 + 4 * len(cuts))
                if state['state'] != 'completed':
                    problems.append(f'{state["state"]}: {state.get("reason", "")}')
                told = int(cluster.pipeline(table)['totals']['counts']['inserted'])
                with open(cluster.path('agent-a.log'), encoding='utf-8', errors='replace') as log:
                    already = len(LOADED.findall(log.read()))
                if proxy.left():
                    problems.append(f'{proxy.left()} cuts were not made')
                problems += cluster.broken()
                if problems:
                    cluster.show_logs(40)
        except TimeoutError as error:
            return problems + [str(error)], proxy, 0, time.monotonic() - began
        finally:
            proxy.close()
        found = db_checker.count_ids(self.server, table)
        expected = (len(cuts) + 3) * rows
        if found != (expected, expected):
            problems.append(f'{found[0]} rows, {found[1]} distinct, expected {expected}')
        if told != expected:
            problems.append(f'the catalog counts {told} rows')
        return problems, proxy, already, time.monotonic() - began

    def check(self, text, cuts, committed, **more):
        """committed: how many of the cuts came behind a COMMIT that had been answered."""
        problems, proxy, already, seconds = self.run(cuts, **more)
        if len(proxy.done) != len(cuts):
            problems.append(f'{len(proxy.done)} of {len(cuts)} cuts were made')
        if already != committed:
            problems.append(f'{already} second lives learnt ALREADY, {committed} first ones had committed')
        self.report.case(not problems, f'{text}: {len(cuts)} cuts, {already} ALREADY, {seconds:.1f} s'
                         + ''.join(f'; {problem}' for problem in problems[:3]))

    def all(self):
        problems, proxy, already, seconds = self.run([], keep=True)
        kept = proxy.kept
        if problems or kept is None or already:
            self.report.case(False, f'a load through the proxy: {problems[:2]}, {already} ALREADY, kept {kept is not None}')
            return
        up, down = kept['up'], kept['down']
        commit_up, commit_down = kept['commit_up'], kept['commit_down']
        self.report.case(True, f'a load through the proxy: a transaction is {len(up)} bytes up ({commit_up} before '
                         f'COMMIT) and {len(down)} down, {seconds:.1f} s')
        hows = ('fin', 'rst')
        size = bytes_of(self.args.dest, up[commit_up:], 1)
        self.check('COMMIT never arrived',
                   [Cut('up', 'commit', at, hows[at % 2]) for at in range(size)], 0)
        size = bytes_of(self.args.dest, down[commit_down:], ANSWER[self.args.dest])
        self.check('COMMIT arrived, its answer lost',
                   [Cut('down', 'commit', at, hows[at % 2]) for at in range(size)], size)
        cuts = self.sampled(commit_up, commit_down, up, down)
        self.check('anywhere in the transaction', cuts, 0)
        self.check('stalled in the middle', [Cut('up', 'commit', 3, 'stall'), Cut('down', 'commit', 0, 'stall'),
                                             Cut('up', 'begin', commit_up // 2, 'stall')], 0)
        self.check('three lives of one batch, the first committed',
                   [Cut('down', 'commit', 0, 'rst'), Cut('up', 'begin', 20, 'fin'), Cut('down', 'begin', 5, 'rst')], 1, rest=0)
        self.check(f'among {MANY} rows on their way', [Cut('up', 'begin', MANY * part, hows[part % 2]) for part in (5, 12, 20)],
                   0, rows=MANY)
        self.check('every chunk late', [Cut('down', 'commit', 0, 'fin')], 1, delay_s=0.01)

    def sampled(self, commit_up, commit_down, up, down):
        rng = random.Random(self.args.seed)
        # A little less than all: some numbers of a later batch have fewer digits.
        ends = {'up': commit_up - 8, 'down': commit_down - 8}
        if self.args.samples:
            return [Cut(way, 'begin', rng.randrange(ends[way]), rng.choice(('fin', 'rst')))
                    for _ in range(self.args.samples // 2) for way in ('up', 'down')]
        cuts = []
        for way, data in (('up', up), ('down', down)):
            for at in boundaries(self.args.dest, data):
                cuts += [Cut(way, 'begin', at + more, rng.choice(('fin', 'rst')))
                         for more in (0, 1) if at + more < ends[way]]
        return cuts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--dest', choices=sorted(BEGIN), default='postgresql')
    parser.add_argument('--samples', type=int, default=24)
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('--way', choices=('up', 'down'))
    parser.add_argument('--base', choices=('begin', 'commit'), default='begin')
    parser.add_argument('--at', type=int, default=0)
    parser.add_argument('--how', choices=('fin', 'rst', 'stall'), default='fin')
    args = parser.parse_args()
    server, why = db_checker.start(args.dest)
    if server is None:
        return skip_all(why)
    print(f'seed {args.seed}', flush=True)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-cuts-', dir='/tmp')
    try:
        scene = Scene(args, server, folder, report)
        if args.way:
            committed = args.way == 'down' and args.base == 'commit' and args.how != 'stall'
            scene.check(f'{args.way} {args.base} {args.at}', [Cut(args.way, args.base, args.at, args.how)], int(committed))
        else:
            scene.all()
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
