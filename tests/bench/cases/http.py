# SPDX-License-Identifier: Apache-2.0
"""The same objects through a web server of this host."""
import contextlib
import os
import shutil
import socket
import subprocess
import time

from harness import Gate, Side, Skip, case
from cases.load_sqlite import into_sqlite
from cases.small import small_files

CONF = """{user} daemon off; worker_processes 2; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; autoindex on; }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_until_listening(server, port):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f'nginx ended with {server.returncode}')
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port), 1):
            return
    raise SystemExit('nginx does not listen')


@contextlib.contextmanager
def origin(bench, root):
    """nginx with 2 workers on loopback; gives its URL."""
    program = shutil.which('nginx', path=os.environ.get('PATH', '') + ':/usr/sbin')
    bench.needs_url('http://127.0.0.1/x', 'the HTTP source')
    if program is None:
        raise Skip('needs nginx (nginx-light)')
    home = bench.path('nginx')
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    port = free_port()
    conf = os.path.join(home, 'nginx.conf')
    with open(conf, 'w', encoding='utf-8') as out:
        # As root its workers would give that up, and could not enter a temporary folder.
        user = 'user root;' if os.getuid() == 0 else ''
        out.write(CONF.format(user=user, home=home, port=port, root=root))
    server = subprocess.Popen([program, '-c', conf, '-p', home], stdin=subprocess.DEVNULL)
    try:
        wait_until_listening(server, port)
        yield f'http://127.0.0.1:{port}'
    finally:
        server.terminate()
        server.wait()


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
