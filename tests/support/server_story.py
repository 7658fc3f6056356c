# SPDX-License-Identifier: Apache-2.0
"""The story of one database server as a destination, told in parts: loads into it, and what then stands
there or what people are told. A program of it is a subclass of Story and a call of main()."""
import argparse
import os
import shutil
import signal
import tempfile

import db_checker
from cluster import Cluster, Report, leaf_phases, skip_all, wait_for
from loads import Loads


def sets(*options):
    """Options of the destination as words of `penstock load`."""
    return [word for option in options for word in ('--set', 'destination.' + option)]


class Story(Loads):
    """A part is a method that takes the report."""
    SCHEME = ''
    VALUES = {}  # type -> values
    PARTS = ()

    def __init__(self, build, folder, server):
        super().__init__(build, folder, server.url())
        self.server = server

    @staticmethod
    def prepare(server):
        """Starts it, and makes what every part needs."""
        server.start()

    def meets(self, report, what, done, words):
        """The load ended without success, and said all of the words."""
        text = done.stderr + done.stdout
        report.case(done.returncode != 0 and all(word in text for word in words),
                    f'{what}: {" ".join(text.split())[-300:]}')

    def values(self, report):
        """Of each type, as texts into a column of its own table t(n, v), beside their numbers."""
        for kind, values in self.VALUES.items():
            table = 'v_' + ''.join(c if c.isalnum() else '_' for c in kind)
            self.server.sql(f'CREATE TABLE {table}(n int, v {kind})')
            done = self.load(list(enumerate(values)), ['n', 'v'], table, '--set',
                             'columns=[{name: n, type: bigint}, {name: v, type: text}]')
            if done.returncode in (0, 3):
                self.compare(report, kind, values, table)
            else:
                report.case(False, f'{kind}: load ended with {done.returncode}: {done.stderr[-400:]}')

    def compare(self, report, kind, values, table):
        """One case: what stands in the table is what the server's own client makes of the values."""
        raise NotImplementedError

    def load_conflicts(self, *options):
        """Into a table c(id, name, ts, …) that has 1 and 2 since ts 10."""
        return self.load([[1, 'A', 5], [2, 'B', 11], [3, 'C', 7], [3, 'D', 6]], ['id', 'name', 'ts'], 'c',
                         *sets('key=[id]', *options))

    def objects(self, name, count, rows):
        """CSV objects in a folder of that name, both columns the row's number. The spec that loads them."""
        path = os.path.join(self.folder, name)
        os.makedirs(path)
        for k in range(count):
            with open(os.path.join(path, f'{k:02}.csv'), 'w', encoding='ascii') as out:
                out.write('id,v\n' + ''.join(f'{i},{i}\n' for i in range(k * rows, (k + 1) * rows)))
        return {'name': name, 'source': {'url': f'file:{path}/*.csv'}, 'format': {'type': 'csv'},
                'destination': {'url': self.server.url(), 'table': name}}

    def stop_twin(self, spec, failpoints, inside):
        """The leaf and its agent are stopped while inside() is true; another agent loads; they go on. Returns
        how it ended and the rows."""
        name = spec['name']
        with Cluster(self.build) as cluster:
            cluster.start_coordinator()
            cluster.start_agent(leaves=1, failpoints=failpoints)
            cluster.apply(spec)
            cluster.start(name)
            wait_for('a leaf inside its transaction', 20, inside)
            leaf = list(cluster.leaves().values())[0]
            stopped = leaf, cluster.agents['a'].pid
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            cluster.start_agent('b', leaves=1)
            state = cluster.wait_end(name, 60)['state']
            for pid in reversed(stopped):
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
            wait_for('the twin to leave its transaction', 20, lambda: not {'load', 'commit'} & set(leaf_phases(leaf)))
            return state, self.server.value(f'SELECT count(*) FROM {name}')

    def alter_between(self, report, change, same):
        """A column gets another type between two batches: no value becomes another. same: counts those that are as
        they were read."""
        spec = {**self.objects('altered', 12, 100), 'limits': {'batch_bytes': '512'}}
        self.server.sql('CREATE TABLE altered(id int, v int)')
        with Cluster(self.build) as cluster:
            cluster.start_coordinator()
            cluster.start_agent(leaves=1, failpoints='leaf.before_done=delay:100')
            cluster.apply(spec)
            cluster.start('altered')
            wait_for('the first rows', 20, lambda: self.server.value('SELECT count(*) FROM altered') != '0')
            self.server.sql(f'ALTER TABLE altered {change}')
            before = int(self.server.value('SELECT count(*) FROM altered'))
            state = cluster.wait_end('altered', 60)['state']
            count, same = self.server.sql(f'SELECT count(*), {same} FROM altered')[0]
            report.case(state == 'completed' and before < 1200 and count == same == '1200',
                        f'a column altered after {before} rows: {state}, {same} of {count} values as they were read')


def main(doc, story):
    """Tells the parts that the command line asks for."""
    parser = argparse.ArgumentParser(description=doc.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--only', nargs='+', choices=story.PARTS, default=story.PARTS, metavar='PART', help=', '.join(story.PARTS))
    args = parser.parse_args()
    why = db_checker.lacks(story.SCHEME)
    if why:
        return skip_all(why)
    report = Report()
    folder = tempfile.mkdtemp(prefix='pk-story-', dir='/tmp')
    os.chmod(folder, 0o755)  # the server's user reads there
    server = db_checker.SERVERS[story.SCHEME][1]()
    try:
        story.prepare(server)
        told = story(args.build, folder, server)
        for name in story.PARTS:
            if name in args.only:
                getattr(told, name)(report)
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()
