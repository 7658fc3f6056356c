# SPDX-License-Identifier: Apache-2.0
"""A cluster and its destination: an SQLite file of the cluster's, or an empty database on a server."""
import argparse
import random
import sqlite3

import db_checker
from cluster import Cluster


class World:
    """Use as a context: all of it ends with it."""

    def __init__(self, build, server=None):
        self.cluster = Cluster(build)
        self.server = server

    def __enter__(self):
        self.cluster.__enter__()
        if self.server:
            db_checker.wipe(self.server)
        return self

    def __exit__(self, *what):
        self.cluster.__exit__(*what)

    def database(self):
        return self.cluster.path('out.db')

    def url(self):
        return self.server.url() if self.server else f'sqlite:{self.database()}'

    def from_file(self, query):
        connection = sqlite3.connect(f'file:{self.database()}?mode=ro', uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def arguments(doc):
    """A parser of what every program takes whose destination is of either kind."""
    parser = argparse.ArgumentParser(description=doc.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 24))
    parser.add_argument('--dest', choices=('sqlite', *db_checker.SERVERS), default='sqlite')
    return parser
