# SPDX-License-Identifier: Apache-2.0
"""One `penstock load` after another, each of rows that a test has at hand."""
import os
import subprocess

from cluster import ROOT


class Loads:
    def __init__(self, build, folder, url):
        self.penstock = os.path.join(ROOT, build, 'bin', 'penstock')
        self.build = build
        self.folder = folder
        self.url = url
        self.loads = 0

    def load(self, rows, header, table, *more, url=None, env=None):
        """Every field quoted, so that an empty one is no NULL. Returns the ended process."""
        self.loads += 1
        name = f'l{self.loads}'
        path = os.path.join(self.folder, f'{name}.csv')
        with open(path, 'w', newline='', encoding='utf-8') as out:
            for row in [header, *rows]:  # None is NULL: nothing, without quotes
                out.write(','.join('' if value is None else '"' + str(value).replace('"', '""') + '"' for value in row) + '\n')
        return self.load_object(path, name, table, *more, url=url, env=env)

    def load_object(self, path, name, table, *more, leaves=1, url=None, env=None, timeout_s=120):
        """What stands at path, into the table. Returns the ended process."""
        return subprocess.run(
            [self.penstock, 'load', path, '--into', url or self.url, '--table', table, '--name', name,
             '--state', os.path.join(self.folder, f'state-{name}'), '--leaves', str(leaves), *more],
            capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=timeout_s, check=False)
