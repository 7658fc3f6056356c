# SPDX-License-Identifier: Apache-2.0
"""Real web servers on loopback, where the machine has them, each with its index pages on."""
import contextlib
import os
import shutil
import socket
import subprocess

from cluster import wait_for
from loopback import free_port

NGINX = """{user} daemon off; worker_processes {workers}; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; {more}
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; autoindex on; }}
}}
"""
APACHE = """ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {home}/pid
ErrorLog {home}/error.log
DefaultRuntimeDir {home}
{modules}
TypesConfig /dev/null
DocumentRoot {root}
<Directory {root}>
    Require all granted
    Options Indexes
    IndexOptions {style}
</Directory>
"""
MODULES = '/usr/lib/apache2/modules'
PATH = os.environ.get('PATH', '') + ':/usr/sbin'


@contextlib.contextmanager
def serve(command, home, port):
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)

    def listening():
        if server.poll() is not None:
            with contextlib.suppress(OSError), open(f'{home}/error.log', encoding='utf-8') as log:
                raise RuntimeError(f'{command[0]}: {log.read()[-600:]}')
            raise RuntimeError(f'{command[0]} ended with {server.returncode}')
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port), 1):
            return True
        return False
    try:
        wait_for(f'{command[0]} to listen', 10, listening)
        yield f'http://127.0.0.1:{port}'
    finally:
        server.terminate()
        server.wait()


def nginx(home, root, workers=1, more=''):
    """A context that gives the URL, or None where there is no nginx. more: of its settings for HTTP."""
    program = shutil.which('nginx', path=PATH)
    if program is None:
        return None
    os.makedirs(home)
    port = free_port()
    conf = os.path.join(home, 'nginx.conf')
    with open(conf, 'w', encoding='utf-8') as out:
        # As root its workers would give that up, and could not enter a temporary folder.
        out.write(NGINX.format(user='user root;' if os.getuid() == 0 else '', home=home, port=port,
                               root=root, workers=workers, more=more))
    return serve([program, '-c', conf, '-p', home], home, port)


def apache(home, root, style):
    """The same; style: the words of IndexOptions."""
    program = shutil.which('apache2', path=PATH)
    if program is None or not os.path.isdir(MODULES):
        return None
    os.makedirs(home)
    os.chmod(os.path.dirname(os.path.abspath(root)), 0o755)  # its workers are nobody
    port = free_port()
    modules = '\n'.join(
        f'LoadModule {name}_module {MODULES}/mod_{name}.so'
        for name in ('mpm_event', 'authz_core', 'autoindex', 'dir', 'mime')
        if os.path.exists(f'{MODULES}/mod_{name}.so'))
    conf = os.path.join(home, 'apache.conf')
    with open(conf, 'w', encoding='utf-8') as out:
        out.write(APACHE.format(home=home, port=port, root=root, style=style, modules=modules))
    return serve([program, '-X', '-f', conf], home, port)
