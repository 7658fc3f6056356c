# SPDX-License-Identifier: Apache-2.0
"""MariaDB: ours, with ledger and tracking, beside the server's own client and a loop that only sends, over the
same files and settings; and what rows cost that the server refuses."""
import glob
import os
import sys

from harness import ROOT, Side, Skip, case, remove, timed

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))
from mysql_server import MysqlServer, find_bin  # noqa: E402

SETTINGS = ('--innodb-buffer-pool-size=2G', '--innodb-log-file-size=2G', '--local-infile=1')
DDL = ('CREATE TABLE t(order_id bigint, part_id int, supplier_id int, line int, quantity int, price decimal(12,2),'
       ' discount decimal(12,2), tax decimal(12,2), returned varchar(1), status varchar(1), shipped date, committed date,'
       ' received date, instruction varchar(25), mode varchar(10), comment varchar(100){}) ENGINE = InnoDB')
SUMS = ('SELECT count(*), sum(order_id), sum(part_id), sum(price), sum(length(comment)),'
        ' count(DISTINCT shipped) FROM t')


def fresh(server, more=''):
    """Nothing of the round before is left to be done by the server."""
    server.sql('DROP TABLE IF EXISTS t, t_rejects, peer_files, _penstock_fence, _penstock_ledger, _penstock_ledger_range; '
               + DDL.format(more))


def ours(bench, server, source, leaves, more='', options=()):
    fresh(server, more)
    run = bench.load(source, server.url(), *options, leaves=leaves, ends=(0, 3) if more else (0,))
    run.result = server.sql(SUMS)
    return run


def client(bench, server, files):
    """mariadb-import takes the table's name from the file's: links."""
    folder = bench.path('import')
    remove(folder)
    os.makedirs(folder)
    links = []
    for n, path in enumerate(sorted(glob.glob(files.glob))):
        links.append(os.path.join(folder, f't.{n:03}'))
        os.symlink(path, links[-1])
    fresh(server)
    run = timed(['mariadb-import', '--no-defaults', '--local', f'--port={server.port}', '--host=127.0.0.1', '--user=loader',
                 '--fields-terminated-by=,', '--fields-optionally-enclosed-by="', '--fields-escaped-by=', '--lines-terminated-by=\\n',
                 '--ignore-lines=1', '--default-character-set=utf8mb4', '--silent', 'air', *links])
    run.result = server.sql(SUMS)
    return run


def loop(bench, server, files, connections):
    fresh(server)
    run = timed([bench.tool('mysql_peer'), str(connections), str(server.port), 'loader', 'air', 't', *sorted(glob.glob(files.glob))])
    run.result = server.sql(SUMS)
    return run


def start():
    if find_bin() is None:
        raise Skip('there is no MariaDB server (package mariadb-server)')
    return MysqlServer(SETTINGS).start()


@case('mysql', objects=8)
def two_connections(bench):
    """CSV -> MariaDB over 2 leaves, beside mariadb-import --local and a bare LOAD DATA loop on 2 connections"""
    server = start()
    files = bench.data.csv(bench.objects)
    try:
        bench.compare(Side('penstock', lambda: ours(bench, server, files.glob, 2)),
                      [Side('mariadb-import --local', lambda: client(bench, server, files), 1.2),
                       Side('LOAD DATA loop, 2 connections', lambda: loop(bench, server, files, 2), 0.85)],
                      files.raw_bytes)
    finally:
        server.close()


def guilty(bench, check, most, more='', options=()):
    """The same rows and constraint; only what it refuses differs."""
    server = start()
    files = bench.data.csv(bench.objects)

    def clean():
        run = ours(bench, server, files.glob, 2, f'{more}, CHECK (order_id > 0)', options)
        run.result = None
        return run

    def refused():
        run = ours(bench, server, files.glob, 2, f'{more}, CHECK ({check})', options)
        run.result = None
        bench.refused = int(server.value('SELECT count(*) FROM t_rejects'))
        return run
    try:
        bench.compare(Side('with guilty rows', refused), [Side('without', clean, 1 / most)], files.raw_bytes)
        print(f'{bench.name}: {bench.refused} rows refused')
    finally:
        server.close()


@case('mysql_one_guilty', objects=8)
def one_guilty(bench):
    """One row of all that only the server refuses: at most twice the clean load"""
    guilty(bench, 'order_id <> 4000 or line <> 1', 2)


@case('mysql_guilty', objects=2)
def one_percent_guilty(bench):
    """1 % of the rows that only the server refuses: at most ten times the clean load"""
    guilty(bench, '(part_id * 7 + line) % 100 <> 3', 10)


@case('mysql_guilty_update', objects=1)
def one_percent_guilty_update(bench):
    """1 % of the rows refused behind the staging table, with order_by: at most ten times the clean load"""
    options = ('on_conflict=update', 'key=[order_id, line]', 'order_by=shipped')
    guilty(bench, '(part_id * 7 + line) % 100 <> 3', 10, ', PRIMARY KEY (order_id, line)',
           [word for option in options for word in ('--set', f'destination.{option}')])
