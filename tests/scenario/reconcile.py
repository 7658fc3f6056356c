#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An old copy of the coordinator's catalog is put back, or of the destination: penstock reconcile
brings the one in line with the other, and nothing is loaded twice or lost.

usage: reconcile.py [--build build/dev] [--seed N] [--dest sqlite|postgresql|mysql]"""
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import data  # noqa: E402
from checker import Checker, Expected  # noqa: E402
from cluster import Report, skip_all, wait_for  # noqa: E402
import db_checker  # noqa: E402
import world as either  # noqa: E402

SLOW = 'leaf.after_seal=delay:60;leaf.before_done=delay:60'
SLOW_PAGES = 'leaf.ledger_page=delay:3000'
TOTALS = ('decoded', 'rejected', 'inserted', 'updated', 'skipped')


class World(either.World):
    def __init__(self, args, server, source, expected):
        super().__init__(args.build, server)
        self.source = source
        self.expected = expected
        self.copied_at = 0

    def __enter__(self):
        super().__enter__()
        if self.server:
            self.checker = db_checker.ServerChecker(self.expected, self.server)
        else:
            self.checker = Checker(self.expected, self.database())
        return self

    # ---- the destination

    def ledger(self, query):
        if self.server:
            return self.server.sql(query)
        return [[str(cell) for cell in row] for row in self.from_file(query)]

    def keep_destination(self):
        """While nobody writes."""
        if self.server:
            db_checker.dialect(self.server).keep(self.server)
        else:
            shutil.copy(self.cluster.path('out.db'), self.cluster.path('kept.db'))

    def put_destination_back(self):
        if self.server:
            db_checker.dialect(self.server).put_back(self.server)
        else:
            shutil.copy(self.cluster.path('kept.db'), self.cluster.path('out.db'))

    # ---- the cluster

    def spec(self, **more):
        spec = data.spec('rec', self.source, 'unused', '32KiB')
        spec['destination']['url'] = self.url()
        spec['format'].update(more)
        return spec

    def up(self, failpoints=''):
        self.cluster.start_coordinator()
        self.cluster.start_agent(failpoints=failpoints)

    def down(self, hard=False):
        for daemon in (*self.cluster.agents.values(), self.cluster.coordinator):
            daemon.kill() if hard else daemon.stop()

    def restart_agent(self, failpoints=''):
        self.cluster.agents['a'].kill()
        self.cluster.start_agent(failpoints=failpoints)

    def catalog(self):
        return self.cluster.path('coordinator', 'catalog.db')

    def backup_catalog(self, to='copy.db'):
        """As docs/RECOVERY.md says: while the coordinator runs."""
        source = sqlite3.connect(f'file:{self.catalog()}?mode=ro', uri=True, timeout=10)
        copy = sqlite3.connect(self.cluster.path(to))
        source.backup(copy)
        copy.close()
        source.close()
        self.copied_at = self.checker.count() or 0

    def put_catalog_back(self, copy='copy.db'):
        """The coordinator is down."""
        for name in (self.catalog() + '-wal', self.catalog() + '-shm'):
            if os.path.exists(name):
                os.remove(name)
        shutil.copy(self.cluster.path(copy), self.catalog())

    def reconcile(self, *words):
        done = subprocess.run(
            [os.path.join(self.cluster.bin, 'penstock'), 'reconcile', '--coordinator',
             f'unix:{self.cluster.path("http")}', *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        return done

    def wait_share(self, share):
        """That share of the rows, and more than a copy of the catalog knows."""
        goal = max(self.copied_at + 1, int(self.expected.total * share))
        wait_for(f'{goal} rows', 60, lambda: (self.checker.poll(),
                                              (self.checker.count() or 0) >= goal)[1])

    # ---- what must hold

    def differences(self):
        """Offsets and totals of the catalog against the ledger."""
        found = []
        totals = self.cluster.pipeline('rec')['totals']
        generation = self.ledger('SELECT max(generation) FROM _penstock_fence')[0][0]
        sums = ', '.join(f'coalesce(sum({name}), 0)' for name in TOTALS)
        row = self.ledger(f'SELECT count(*), {sums} FROM _penstock_ledger WHERE state = \'L\' AND '
                          f'generation = {generation}')[0]
        if int(totals['batches_loaded']) != int(row[0]):
            found.append(f'{totals["batches_loaded"]} batches, the ledger has {row[0]}')
        for name, value in zip(TOTALS, row[1:]):
            if int(totals['counts'].get(name, 0)) != int(value):
                found.append(f'{name} {totals["counts"].get(name)}, the ledger has {value}')
        ends = {int(n) for n, in self.ledger(
            f'SELECT max(end_offset) FROM _penstock_ledger_range WHERE generation = {generation} '
            'GROUP BY bp_hash')}
        offsets = {int(item['offset'])
                   for item in self.cluster.list_all('/v1/pipelines/rec/batch-partitions')
                   if item['state'] == 'done'}
        if not offsets <= ends | {0}:
            found.append(f'offsets {sorted(offsets - ends)[:5]} are not in the ledger')
        return found

    def finish(self, report, text, problems=()):
        problems = list(problems)
        self.cluster.start('rec')
        pipeline = self.cluster.wait_end('rec', 90, self.checker.poll)
        if pipeline['state'] != 'completed':
            problems.append(f'{pipeline["state"]}: {pipeline.get("reason")}')
        problems += self.checker.check_end() + self.differences() + self.cluster.broken()
        if problems:
            self.cluster.show_logs()
        report.case(not problems, text + ''.join(f'; {problem}' for problem in problems[:4]))


def said(done, code, *texts):
    """Problems with what the command said."""
    whole = done.stdout + done.stderr
    found = [] if done.returncode == code else [f'exit status {done.returncode}: {whole[-400:]}']
    return found + [f'it does not say "{text}": {whole[-400:]}' for text in texts
                    if text not in whole]


def begin(world):
    world.up(SLOW)
    world.cluster.apply(world.spec())
    world.cluster.start('rec')


def old_catalog(world, report, held):
    """A copy from the middle comes back after more was loaded; held: the agents are still at work."""
    begin(world)
    world.wait_share(0.25)
    world.backup_catalog()
    world.wait_share(0.6)
    if held:
        world.cluster.coordinator.kill()
    else:
        world.down(hard=True)
    world.put_catalog_back()
    world.cluster.start_coordinator()
    if not held:
        world.cluster.start_agent()
    problems = said(world.reconcile('rec'), 0, 'ranges of')
    world.finish(report, 'an old catalog, ' + ('its agents at work' if held else 'all ended'),
                 problems)


def stopped(world, report):
    """In a pipeline that is stopped: it stays so, offsets and totals are the ledger's, a second
    time changes nothing, and a dry run changes nothing at all."""
    begin(world)
    world.wait_share(0.2)
    world.cluster.call_retrying('POST', '/v1/pipelines/rec:stop')
    world.cluster.wait_end('rec')
    world.backup_catalog()
    world.cluster.start('rec')
    world.wait_share(0.5)
    world.cluster.call_retrying('POST', '/v1/pipelines/rec:stop')
    world.cluster.wait_end('rec')
    world.down()
    world.put_catalog_back()
    world.up()
    before = world.cluster.pipeline('rec')['totals']
    problems = said(world.reconcile('--dry-run', 'rec'), 0, 'dry run', 'unknown to the catalog')
    if world.cluster.pipeline('rec')['totals'] != before:
        problems.append('a dry run has changed the totals')
    problems += said(world.reconcile('--all'), 0, 'loaded further than the catalog knew')
    pipeline = world.cluster.pipeline('rec')
    if pipeline['state'] != 'stopped':
        problems.append(f'it is {pipeline["state"]}')
    problems += world.differences()
    again = world.reconcile('rec', '-o', 'json')
    summary = json.loads(again.stdout)
    news = {key: summary[key] for key in ('ranges_unknown', 'objects_behind', 'objects_ahead',
                                          'batches_settled') if int(summary[key])}
    if again.returncode or news:
        problems.append(f'a second time finds {news}, exit status {again.returncode}')
    world.finish(report, 'a stopped pipeline', problems)


def killed_in_between(world, report, rng):
    """kill -9 of the agent, of the coordinator and of both while the ledger is read."""
    begin(world)
    world.wait_share(0.3)
    world.backup_catalog()
    world.wait_share(0.6)
    world.down(hard=True)
    world.put_catalog_back()
    world.up(SLOW_PAGES)
    world.cluster.call_retrying('POST', '/v1/pipelines/rec:stop')
    world.cluster.wait_end('rec')
    world.cluster.call_retrying('POST', '/v1/pipelines/rec:reconcile')
    for victim in rng.sample(['agent', 'coordinator', 'both'], 3):
        if victim in ('agent', 'both'):
            world.cluster.agents['a'].kill()
        if victim in ('coordinator', 'both'):
            world.cluster.coordinator.kill()
            world.cluster.start_coordinator()
        if victim in ('agent', 'both'):
            world.cluster.start_agent(failpoints=SLOW_PAGES)
        state = world.cluster.pipeline('rec')['reconcile']['state']
        if state not in ('wanted', 'reading'):
            report.case(False, f'after a kill of the {victim} the reconcile is {state}')
            return
    world.restart_agent()
    wait_for('the reconcile', 60,
             lambda: world.cluster.pipeline('rec')['reconcile']['state'] == 'done')
    problems = world.differences()
    world.restart_agent(SLOW)
    world.finish(report, 'kill -9 while the ledger is read', problems)


def old_destination(world, report):
    """The catalog says more than the ledger has: refused, until the ledger is trusted."""
    begin(world)
    world.wait_share(0.3)
    world.cluster.call_retrying('POST', '/v1/pipelines/rec:stop')
    world.cluster.wait_end('rec')
    world.down()
    world.keep_destination()
    world.up()
    world.cluster.start('rec')
    world.cluster.wait_end('rec')
    world.down()
    world.put_destination_back()
    world.checker.reset()
    world.up()
    problems = said(world.reconcile('--dry-run', 'rec'), 7, 'ledger_behind', '--trust-ledger')
    problems += said(world.reconcile('rec'), 7, 'ledger_behind', 'bytes in the catalog')
    world.cluster.start('rec')
    pipeline = world.cluster.wait_end('rec')
    if pipeline['state'] != 'failed' or 'ledger_behind' not in pipeline['reason']:
        problems.append(f'it went on: {pipeline["state"]} {pipeline.get("reason")}')
    problems += said(world.reconcile('--trust-ledger', 'rec'), 0, 'set back to the ledger')
    world.finish(report, 'an old destination', problems)


def lost_destination(world, report):
    """All of it is gone."""
    begin(world)
    world.cluster.wait_end('rec')
    world.down()
    if world.server:
        world.server.sql('DROP TABLE t, t_rejects, _penstock_fence, _penstock_ledger_range, '
                         '_penstock_ledger CASCADE')
    else:
        os.remove(world.cluster.path('out.db'))
    world.checker.reset()
    world.up()
    problems = said(world.reconcile('rec'), 7, 'destination_lost', '--trust-ledger')
    problems += said(world.reconcile('--trust-ledger', 'rec'), 0, 'set back to the ledger')
    pipeline = world.cluster.pipeline('rec')
    if pipeline['state'] == 'completed':
        problems.append('it says completed, with nothing loaded')
    world.finish(report, 'a destination that is gone', problems)


def raised_copy(world, report):
    """An old copy is raised by a person, and the destination stands at another raise of it."""
    begin(world)
    world.cluster.wait_end('rec')
    world.down()
    world.backup_catalog()
    world.up()
    world.cluster.apply(world.spec(null=['', 'nothing']))
    world.cluster.start('rec')
    problems = []
    pipeline = world.cluster.wait_end('rec')
    if pipeline['state'] != 'completed' or pipeline['generation'] not in (2, '2'):
        problems.append(f'the raise ended {pipeline["state"]} at {pipeline["generation"]}')
    world.down()
    world.put_catalog_back()
    world.up()
    world.cluster.apply(world.spec(null=['', 'nothing']))
    world.cluster.start('rec')
    pipeline = world.cluster.wait_end('rec')
    if pipeline['state'] != 'failed' or 'fence_conflict' not in pipeline['reason']:
        problems.append(f'it went on: {pipeline["state"]} {pipeline.get("reason")}')
    problems += said(world.reconcile('--trust-ledger', 'rec'), 0)
    world.cluster.start('rec')
    pipeline = world.cluster.wait_end('rec')
    if pipeline['state'] != 'completed':
        problems.append(f'{pipeline["state"]}: {pipeline.get("reason")}')
    problems += world.differences() + world.cluster.broken()
    rows = int(world.ledger('SELECT count(*) FROM t')[0][0])
    if rows != 2 * world.expected.total:
        problems.append(f'{rows} rows, expected twice {world.expected.total}')
    if problems:
        world.cluster.show_logs()
    report.case(not problems, 'an old copy is raised: refused, then the ledger is taken over' +
                ''.join(f'; {problem}' for problem in problems[:4]))


def main():
    parser = either.arguments(__doc__)
    parser.add_argument('cases', nargs='*')
    args = parser.parse_args()
    why = db_checker.lacks(args.dest)
    if why:
        return skip_all(why)
    print(f'seed {args.seed}, {args.dest}')
    report = Report()
    rng = random.Random(args.seed)
    cases = {
        'old_catalog': lambda world: old_catalog(world, report, held=False),
        'held': lambda world: old_catalog(world, report, held=True),
        'stopped': lambda world: stopped(world, report),
        'killed': lambda world: killed_in_between(world, report, rng),
        'old_destination': lambda world: old_destination(world, report),
        'lost_destination': lambda world: lost_destination(world, report),
        'raised_copy': lambda world: raised_copy(world, report),
    }
    with db_checker.place(args.dest, 'pk-reconcile-') as (server, folder):
        source = os.path.join(folder, 'source')
        data.make(source, args.seed, 0.5)
        expected = Expected(source, data.COLUMNS)
        for name, case in cases.items():
            if not args.cases or name in args.cases:
                with World(args, server, source, expected) as world:
                    case(world)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
