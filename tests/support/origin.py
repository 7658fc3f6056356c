#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A web server of our own, for what no real one does on command.

It serves a folder as nginx does (strong ETag, Last-Modified, Range, If-Match, index pages) and
counts what it is asked. A fault is a function for a path: fault(request, n) is called for its n-th
request (from 1); what it returns is False to go on as usual, anything else when it has answered.

usage: origin.py --folder DIR [--tls DIR]   serves until its standard input ends; prints its port"""
import argparse
import email.utils
import html
import http.server
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    # ---- what faults use

    def head(self, status, headers):
        """Status line and headers; nothing of our own but what is given."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def file(self):
        """(bytes, headers) of the path's file, or None."""
        path = os.path.join(self.server.origin.folder,
                            urllib.parse.unquote(self.path.split('?')[0]).lstrip('/'))
        try:
            with open(path, 'rb') as data:
                content = data.read()
                stat = os.fstat(data.fileno())
        except OSError:
            return None
        headers = {'ETag': f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
                   'Last-Modified': email.utils.formatdate(stat.st_mtime, usegmt=True)}
        hidden = self.server.origin.hidden_headers
        return content, {k: v for k, v in headers.items() if k not in hidden}

    def range(self, size):
        """[from, to) of a Range header, or None."""
        text = self.headers.get('Range')
        if text is None or not text.startswith('bytes='):
            return None
        first, last = text[6:].split('-')
        return int(first), min(int(last) + 1 if last else size, size)

    def reset(self):
        """Ends the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.hang_up()

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.server.shutdown_request(self.connection)

    def serve(self, ranges=True):
        found = self.file()
        if found is None:
            return self.answer(404, b'not here')
        content, headers = found
        wanted = self.headers.get('If-Match')
        since = self.headers.get('If-Unmodified-Since')
        if (wanted and wanted != headers.get('ETag')) or \
                (since and since != headers.get('Last-Modified')):
            return self.answer(412, b'changed', headers)
        part = self.range(len(content)) if ranges else None
        if part is None:
            return self.answer(200, content, headers)
        if part[0] >= len(content):
            return self.answer(416, b'', {**headers, 'Content-Range': f'bytes */{len(content)}'})
        headers['Content-Range'] = f'bytes {part[0]}-{part[1] - 1}/{len(content)}'
        return self.answer(206, content[part[0]:part[1]], headers)

    def answer(self, status, body, headers=None):
        self.head(status, {'Content-Length': str(len(body)), **(headers or {})})
        if self.command != 'HEAD':
            self.wfile.write(body)
        return True

    # ---- what the server does

    def index(self, folder):
        names = sorted(os.listdir(folder))
        rows = ['<a href="../">../</a>']
        for name in names:
            slash = '/' if os.path.isdir(os.path.join(folder, name)) else ''
            link = html.escape(urllib.parse.quote(name))
            rows.append(f'<a href="{link}{slash}">{html.escape(name)}{slash}</a>  1-Jan-2026 00:00')
        text = f'<html><head><title>Index of {self.path}</title></head><body><pre>' + \
            '\r\n'.join(rows) + '</pre></body></html>'
        self.answer(200, text.encode(), {'Content-Type': 'text/html'})

    def do_GET(self):
        origin = self.server.origin
        path = urllib.parse.unquote(self.path.split('?')[0])
        with origin.lock:
            origin.counts[path] = origin.counts.get(path, 0) + 1
            count = origin.counts[path]
            origin.log.append((self.command, self.path, dict(self.headers)))
        fault = origin.faults.get(path)
        try:
            if fault is not None and fault(self, count) is not False:
                return
            folder = os.path.join(origin.folder, path.lstrip('/'))
            if path.endswith('/') and os.path.isdir(folder):
                self.index(folder)
            else:
                self.serve()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


class Origin:
    """Use as a context; .url is where it is."""

    def __init__(self, folder, tls=None):
        self.folder = folder
        self.faults = {}
        self.counts = {}
        self.log = []
        self.hidden_headers = set()
        self.lock = threading.Lock()
        self.server = Server(('127.0.0.1', 0), Request)
        self.server.origin = self
        self.port = self.server.server_address[1]
        self.url = f'http{"s" if tls else ""}://127.0.0.1:{self.port}'
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def forget(self):
        self.faults, self.counts, self.log, self.hidden_headers = {}, {}, [], set()


def make_certificates(folder, host='127.0.0.1', name='server'):
    """A CA and a server's certificate by openssl. Returns (ca, cert, key)."""
    os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, f'{name}-{what}.pem') for what in ('ca', 'cert', 'key')]
    ca, cert, key = paths
    ca_key, request, extra = ca + '.key', cert + '.csr', cert + '.ext'
    kind = 'IP' if host[0].isdigit() else 'DNS'
    with open(extra, 'w', encoding='ascii') as out:
        out.write(f'subjectAltName={kind}:{host}\nbasicConstraints=CA:FALSE\n')
    curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    for command in (
            ['req', '-x509', *curve, '-days', '2', '-subj', '/CN=penstock test CA', '-keyout',
             ca_key, '-out', ca, '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
            ['req', *curve, '-subj', f'/CN={host}', '-keyout', key, '-out', request],
            ['x509', '-req', '-in', request, '-CA', ca, '-CAkey', ca_key, '-CAcreateserial',
             '-days', '2', '-extfile', extra, '-out', cert]):
        subprocess.run(['openssl', *command], check=True, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
    return ca, cert, key


# ---------------------------------------------------------------- faults

def first(times, fault):
    """The fault for the first so many requests that are not HEAD."""
    seen = [0]

    def act(request, count):
        if request.command == 'HEAD' or seen[0] >= times:
            return False
        seen[0] += 1
        return fault(request, count)
    return act


def status(code, **headers):
    named = {name.replace('_', '-'): value for name, value in headers.items()}
    return lambda request, count: request.answer(code, b'no', named)


def truncated(bytes_kept):
    """Says the whole length and hangs up early."""
    def act(request, count):
        content, headers = request.file()
        part = request.range(len(content)) or (0, len(content))
        if part != (0, len(content)):
            headers['Content-Range'] = f'bytes {part[0]}-{part[1] - 1}/{len(content)}'
        body = content[part[0]:part[1]]
        request.head(206 if 'Content-Range' in headers else 200,
                     {'Content-Length': str(len(body)), **headers})
        request.wfile.write(body[:bytes_kept])
        request.hang_up()
    return act


def wrong_length(more):
    """A whole body that is so much longer (or shorter) than the object was, and says so."""
    def act(request, count):
        content, headers = request.file()
        body = content + b'x' * more if more > 0 else content[:more]
        request.answer(200, body, headers)
    return act


def drip(request, count):
    """A byte every so often, until somebody has enough."""
    content, headers = request.file()
    request.head(200, {'Content-Length': str(len(content)), **headers})
    for i in range(len(content)):
        request.wfile.write(content[i:i + 1])
        time.sleep(0.05)


def endless(request, count):
    """No length and no end."""
    request.head(200, {'Transfer-Encoding': 'chunked'})
    if request.command == 'HEAD':
        return
    while True:
        request.wfile.write(b'10000\r\n' + b'1,2,3\n' * 10922 + b'1,2\n' + b'\r\n')


def chunked(request, count):
    """The object without a length, whatever range was asked for."""
    content, headers = request.file()
    request.head(200, {'Transfer-Encoding': 'chunked', **headers})
    if request.command != 'HEAD':
        for at in range(0, len(content), 50000):
            part = content[at:at + 50000]
            request.wfile.write(b'%x\r\n%s\r\n' % (len(part), part))
        request.wfile.write(b'0\r\n\r\n')


def ignores_range(request, count):
    return request.serve(ranges=False)


def wrong_range(request, count):
    """A 206 of other bytes than were asked for."""
    content, headers = request.file()
    part = request.range(len(content))
    if part is None or request.command == 'HEAD':
        return False
    shifted = max(part[0] - 7, 0), part[1] - 7
    headers['Content-Range'] = f'bytes {shifted[0]}-{shifted[1] - 1}/{len(content)}'
    return request.answer(206, content[shifted[0]:shifted[1]], headers)


def reset_after(bytes_kept):
    def act(request, count):
        content, headers = request.file()
        part = request.range(len(content)) or (0, len(content))
        if part != (0, len(content)):
            headers['Content-Range'] = f'bytes {part[0]}-{part[1] - 1}/{len(content)}'
        request.head(206 if 'Content-Range' in headers else 200,
                     {'Content-Length': str(part[1] - part[0]), **headers})
        request.wfile.write(content[part[0]:part[1]][:bytes_kept])
        request.wfile.flush()
        request.reset()
    return act


def redirect(to, code=302):
    return lambda request, count: request.answer(code, b'', {'Location': to})


def no_head(request, count):
    return request.answer(405, b'') if request.command == 'HEAD' else False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--folder', required=True)
    parser.add_argument('--tls', metavar='DIR', help='makes a CA there: server-ca.pem')
    args = parser.parse_args()
    tls = make_certificates(args.tls)[1:] if args.tls else None
    with Origin(args.folder, tls) as origin:
        print(origin.port, flush=True)
        sys.stdin.read()


if __name__ == '__main__':
    main()
