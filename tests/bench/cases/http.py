# SPDX-License-Identifier: Apache-2.0
"""The same objects through a web server of this host."""
import contextlib
import os
import shutil
import sys

from harness import ROOT, Gate, Side, Skip, case
from cases.load_sqlite import into_sqlite
from cases.small import small_files

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))
import webserver  # noqa: E402


@contextlib.contextmanager
def origin(bench, root):
    """nginx with 2 workers on loopback; gives its URL."""
    bench.needs_url('http://127.0.0.1/x', 'the HTTP source')
    home = bench.path('nginx')
    shutil.rmtree(home, ignore_errors=True)
    server = webserver.nginx(home, root, 2, 'tcp_nopush on; keepalive_requests 1000000;')
    if server is None:
        raise Skip('needs nginx (nginx-light)')
    with server as url:
        yield url


@case('http', objects=32)
def http(bench):
    """CSV objects over HTTP (nginx, loopback) into SQLite, against the same files from disk."""
    files = bench.data.csv(bench.objects)
    with origin(bench, files.folder) as url:
        bench.compare(Side('over HTTP', lambda: into_sqlite(bench, f'{url}/*.csv')),
                      [Side('files', lambda: into_sqlite(bench, files.glob), 0.85)],
                      files.raw_bytes, Gate(cpu_a_gb=9.0))


@case('small-http', objects=64)
def small_http(bench):
    """10,000 objects of 4 KiB over HTTP (nginx, loopback), against the same files from disk."""
    files = small_files(bench)
    with origin(bench, files.folder) as url:
        bench.compare(Side('over HTTP', lambda: into_sqlite(bench, f'{url}/*.csv')),
                      [Side('files', lambda: into_sqlite(bench, files.glob))], files.raw_bytes,
                      Gate(count_a_second=3000), count=len(files.paths), unit='objects')
