#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads over HTTP and HTTPS with the real programs: the rows must be those of the files, whatever
the server does; what cannot be loaded must be said, and nothing of it may be in the table.

usage: over_http.py [--build build/dev] [CASE ...]"""
import argparse
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import origin as o  # noqa: E402
import webserver  # noqa: E402
from cluster import ROOT, Cluster, Report, wait_for  # noqa: E402

CASES = {}
FAST = ('source.retries=2', 'errors.max_retries=0')


def case(name):
    return lambda function: CASES.setdefault(name, function)


class Skip(Exception):
    pass


class Bench:
    def __init__(self, build, folder):
        self.penstock = os.path.join(ROOT, build, 'bin', 'penstock')
        self.build = build
        self.folder = folder
        self.data = os.path.join(folder, 'data')
        self.count = 0

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, content):
        path = os.path.join(self.data, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as out:
            out.write(content)
        return path

    def load(self, *words, sets=(), env=None):
        """One load into a new database. Returns (exit status, messages, rows)."""
        self.count += 1
        database = self.path(f'{self.count}.db')
        command = [self.penstock, 'load', *words, '--into', f'sqlite:{database}', '--table', 't']
        for text in sets:
            command += ['--set', text]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors='replace', timeout=120, stdin=subprocess.DEVNULL,
                              env={**os.environ, **(env or {})})
        return done.returncode, done.stdout, self.rows(database)

    def rows(self, database):
        try:
            connection = sqlite3.connect(f'file:{database}?mode=ro', uri=True)
            try:
                return sorted(connection.execute('SELECT * FROM t').fetchall())
            finally:
                connection.close()
        except sqlite3.OperationalError:
            return []


def rows_of(first, count, width=20):
    return b'id,name\n' + b''.join(b'%d,"name %d, %s"\n' % (i, i, b'x' * width)
                                   for i in range(first, first + count))


def values_of(first, count, width=20):
    return [(i, f'name {i}, {"x" * width}') for i in range(first, first + count)]


def make_data(bench):
    for i in range(30):
        bench.write(f'small/s{i:02}.csv', rows_of(i * 100, 50))
    bench.write('small/empty.csv', b'id,name\n')
    for i in range(5):
        bench.write(f'gz/g{i}.csv.gz', gzip.compress(rows_of(10000 + i * 1000, 1000)))
    bench.write('odd/a b&c #1+%.csv', rows_of(50000, 3))
    bench.write('odd/ünï;x=1.csv', rows_of(50010, 3))
    bench.write('odd/deep/er/d.csv', rows_of(50020, 3))
    bench.write('one.csv', rows_of(60000, 40000, 60))  # 3.5 MB
    bench.write('two.csv', rows_of(100000, 500))


ONE = values_of(60000, 40000, 60)
TWO = values_of(100000, 500)


class Checks:
    def __init__(self):
        self.problems = []

    def equal(self, what, got, wanted):
        if got != wanted:
            self.problems.append(f'{what}: {str(got)[:300]}, expected {str(wanted)[:120]}')

    def loaded(self, what, done, wanted):
        self.equal(f'{what}: exit status ({done[1][-300:]})', done[0], 0)
        if done[2] != wanted:
            self.problems.append(f'{what}: {len(done[2])} rows, expected {len(wanted)}')

    def refused(self, what, done, code, rows=()):
        if done[0] == 0 or code not in done[1]:
            self.problems.append(f'{what}: exit {done[0]}, no {code} in: {done[1][-500:]}')
        if done[2] != list(rows):
            self.problems.append(f'{what}: {len(done[2])} rows, expected {len(rows)}')

    def true(self, what, good):
        if not good:
            self.problems.append(what)


# ---------------------------------------------------------------- the same rows as from files

@case('same_rows')
def same_rows(bench, origin, checks):
    for pattern in ('small/*.csv', 'gz/*.gz', '**/*.csv', 'odd/*', 'small/s[01]?.csv',
                    '{one,two}.csv', 'one.csv'):
        if '?' in pattern:  # begins the query of a URL
            over = bench.load(f'{origin.url}/small/s[01]*.csv')
        else:
            over = bench.load(f'{origin.url}/{pattern}')
        files = bench.load(os.path.join(bench.data, pattern))
        checks.equal('the files themselves', files[0], 0)
        checks.true('there are rows', files[2])
        checks.loaded(pattern, over, files[2])
    for batch in ('64KiB', '1MiB'):
        checks.loaded(f'batches of {batch}', bench.load(
            f'{origin.url}/one.csv', sets=[f'limits.batch_bytes={batch}']), ONE)
    checks.true('no request asked for an encoding', all(
        headers.get('Accept-Encoding') == 'identity' for _, _, headers in origin.log))


@case('again')
def again(bench, origin, checks):
    """A second run loads what is new, and only that."""
    database = bench.path('again.db')
    command = [bench.penstock, 'load', f'{origin.url}/again/*.csv', '--into', f'sqlite:{database}',
               '--table', 't']
    bench.write('again/a.csv', rows_of(0, 10))
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    bench.write('again/b.csv', rows_of(10, 10))
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checks.equal('rows', bench.rows(database), values_of(0, 20))


@case('continuous')
def continuous(bench, origin, checks):
    """New objects of an index page come in while the pipeline runs, and none comes twice."""
    bench.write('grows/a.csv', rows_of(0, 10))
    with Cluster(bench.build) as cluster:
        database = cluster.path('out.db')
        cluster.start_coordinator()
        cluster.start_agent(leaves=1, extra=('--allow-network', 'loopback'))
        cluster.apply({'name': 'p', 'destination': {'url': f'sqlite:{database}', 'table': 't'},
                       'source': {'url': f'{origin.url}/grows/*.csv',
                                  'discover': {'mode': 'continuous', 'interval': '100ms'}}})
        cluster.start('p')
        for i in (1, 2, 3):
            wait_for(f'{i} objects', 20, lambda: len(bench.rows(database)) >= 10 * i)
            checks.equal(f'{i} objects', bench.rows(database), values_of(0, 10 * i))
            bench.write(f'grows/{"abcd"[i]}.csv', rows_of(10 * i, 10))


@case('list')
def url_list(bench, origin, checks):
    checks.loaded('three words', bench.load(
        f'{origin.url}/one.csv', f'{origin.url}/two.csv', f'{origin.url}/small/s00.csv'),
        sorted(ONE + TWO + values_of(0, 50)))
    checks.refused('one is missing', bench.load(f'{origin.url}/one.csv', f'{origin.url}/no.csv',
                                                sets=FAST), 'source_missing')
    checks.refused('a file among them', bench.load(f'{origin.url}/one.csv', 'x.csv'), 'only files')
    checks.refused('no index page', bench.load(f'{origin.url}/one.csv/*.csv', sets=FAST),
                   'source_missing')
    origin.faults['/small/'] = lambda request, n: request.answer(200, b'<a href="s00.csv">x</a>')
    checks.refused('a page that is no index', bench.load(f'{origin.url}/small/*', sets=FAST),
                   'no_index_page')


@case('manifest')
def manifest(bench, origin, checks):
    def sha(name):
        with open(os.path.join(bench.data, name), 'rb') as data:
            return hashlib.sha256(data.read()).hexdigest()

    def size(name):
        return os.path.getsize(os.path.join(bench.data, name))

    both = sorted(ONE + TWO)
    forms = {
        'lines': f'# what to load\none.csv\n{origin.url}/two.csv {size("two.csv")}\n',
        'sha256sum': f'{sha("one.csv")}  one.csv\n{sha("two.csv")} *two.csv\n',
        'csv': f'url,size,sha256\none.csv,{size("one.csv")},{sha("one.csv")}\n"two.csv",,\n',
        'json': json.dumps([{'url': 'one.csv', 'size': size('one.csv'), 'sha256': sha('one.csv')},
                            'two.csv']),
        'warehouse': json.dumps({'entries': [
            {'url': f'{origin.url}/one.csv', 'mandatory': True,
             'meta': {'content_length': size('one.csv')}}, {'url': 'two.csv'}]}),
    }
    for name, text in forms.items():
        bench.write(f'manifest-{name}', text.encode())
        done = bench.load(f'{origin.url}/', sets=[f'source.manifest=manifest-{name}',
                                                  'limits.batch_bytes=256KiB'])
        checks.loaded(f'manifest as {name}', done, both)
    done = bench.load(f'{origin.url}/', sets=[
        f'source.manifest=file:{bench.data}/manifest-csv'])
    checks.loaded('manifest in a file', done, both)

    wrong = hashlib.sha256(b'another').hexdigest()
    for what, text, code in (
            ('wrong checksum', f'{wrong}  one.csv\n{sha("two.csv")}  two.csv\n',
             'has not the SHA-256'),
            ('wrong size', f'one.csv {size("one.csv") + 1}\ntwo.csv\n', 'source_changed'),
            ('missing', 'nothing.csv\ntwo.csv\n', 'source_missing')):
        bench.write('manifest-wrong', text.encode())
        # Batches smaller than the object: not one of them may be committed.
        for batch in ('256KiB', '64MiB'):
            done = bench.load(f'{origin.url}/', sets=[
                'source.manifest=manifest-wrong', f'limits.batch_bytes={batch}',
                'errors.on_failure=skip', *FAST])
            checks.refused(f'{what}, batches of {batch}', done, code, TWO)
    bench.write('manifest-bad', b'url,size\none.csv,many\n')
    checks.refused('a size in words', bench.load(
        f'{origin.url}/', sets=['source.manifest=manifest-bad', *FAST]), 'bad_manifest')


# ---------------------------------------------------------------- faults

@case('recovers')
def recovers(bench, origin, checks):
    """What passes by: all the rows, none twice, and no more was fetched than the rest."""
    faults = {
        'truncated': o.first(3, o.truncated(100000)),
        'truncated at once': o.first(1, o.truncated(0)),
        'reset': o.first(3, o.reset_after(150000)),
        'reset before the answer': o.first(1, lambda request, n: request.reset()),
        '429': o.first(1, o.status(429, Retry_After='1')),
        '500': o.first(1, o.status(500)),
        '503': o.first(1, o.status(503, Retry_After='1')),
        'drip': o.first(1, o.drip),
        'ignores ranges': o.ignores_range,
        'chunked': o.chunked,
        'no length, no validator': o.chunked,
        'no HEAD': o.no_head,
        'moved': lambda request, n: request.answer(307, b'', {'Location': '/one.csv'}),
    }
    for what, fault in faults.items():
        origin.forget()
        if what.startswith('no length'):
            origin.hidden_headers = {'ETag', 'Last-Modified'}
        path = 'moved.csv' if what == 'moved' else 'one.csv'
        origin.faults[f'/{path}'] = fault
        began = time.monotonic()
        done = bench.load(f'{origin.url}/{path}', sets=[
            'source.stall_timeout=500ms', 'source.min_bytes_per_second=1KiB',
            'errors.max_retries=0', 'limits.batch_bytes=1MiB'])
        checks.loaded(what, done, ONE)
        if what in ('429', '503'):
            checks.true(f'{what}: Retry-After was waited for', time.monotonic() - began >= 1)
        if what == 'truncated':
            resumed = [headers['Range'] for method, _, headers in origin.log
                       if method == 'GET' and 'Range' in headers]
            checks.true('resumed in mid-object', any(not r.startswith('bytes=0-')
                                                     for r in resumed))
        checks.true(f'{what}: pinned', origin.hidden_headers or any('If-Match' in headers for _, _, headers in origin.log))


def endless_headers(request, n):
    request.wfile.write(b'HTTP/1.1 200 OK\r\n')
    while True:
        request.wfile.write(b'X-More: and more\r\n' * 1000)


@case('refuses')
def refuses(bench, origin, checks):
    """What does not pass by: said by its code, and no row of it."""
    faults = {
        'truncated for good': (o.truncated(1000), 'source_truncated'),
        'longer than it was': (o.wrong_length(10), 'source_changed'),
        'shorter than it was': (o.wrong_length(-10), 'source_changed'),
        'another range': (o.wrong_range, 'bad_range'),
        'endless': (o.endless, 'source.max_unsized_bytes'),
        'drip for good': (o.drip, 'source_stalled'),
        'redirect loop': (o.redirect('/one.csv'), 'redirect_loop'),
        '403': (o.status(403), 'http_403'),
        '503 for good': (o.status(503), 'http_503'),
        'Retry-After for too long': (o.status(503, Retry_After='3600'), 'http_503'),
        'redirect to metadata': (o.redirect('http://169.254.169.254/latest'), 'address_refused'),
        'endless headers': (endless_headers, 'source_unreachable'),
        'redirect to a file': (o.redirect('file:///etc/passwd'), 'bad_redirect'),
    }
    for what, (fault, code) in faults.items():
        origin.forget()
        by_get = code not in ('redirect_loop', 'http_403', 'http_503', 'address_refused',
                              'bad_redirect', 'source_unreachable', 'source.max_unsized_bytes')
        origin.faults['/one.csv'] = o.first(10**6, fault) if by_get else fault
        done = bench.load(f'{origin.url}/one.csv', sets=[
            'source.retries=1', 'errors.max_retries=0', 'source.stall_timeout=300ms',
            'source.min_bytes_per_second=1KiB', 'source.max_unsized_bytes=2MiB'])
        checks.refused(what, done, code)
        checks.true(f'{what}: the message names the URL', '/one.csv' in done[1])


@case('changed')
def changed(bench, origin, checks):
    """The object becomes another one between two requests of one read."""
    for hidden in (set(), {'ETag'}):
        origin.forget()
        origin.hidden_headers = hidden
        path = bench.write('moving.csv', rows_of(0, 60000, 60))
        os.utime(path, (1700000000, 1700000000))

        def rewrite(request, n):
            if request.command == 'GET' and 'Range' in request.headers and \
                    not request.headers['Range'].startswith('bytes=0-'):
                bench.write('moving.csv', rows_of(500000, 60000, 60))
                os.utime(path, (1700000100, 1700000100))
            return False
        origin.faults['/moving.csv'] = rewrite
        done = bench.load(f'{origin.url}/moving.csv', sets=FAST)
        checks.refused(f'changed, without {hidden or "nothing"}', done, 'source_changed')
    origin.forget()
    origin.hidden_headers = {'ETag', 'Last-Modified'}
    checks.loaded('no validator at all', bench.load(f'{origin.url}/one.csv'), ONE)


@case('tls')
def tls(bench, origin, checks):
    ca, cert, key = o.make_certificates(bench.path('tls'))
    other = o.make_certificates(bench.path('tls'), name='other')[0]
    _, host_cert, host_key = o.make_certificates(bench.path('tls2'), host='example.com')
    host_ca = bench.path('tls2', 'server-ca.pem')
    with o.Origin(bench.data, (cert, key)) as good, o.Origin(bench.data,
                                                           (host_cert, host_key)) as bad:
        checks.loaded('the right CA', bench.load(
            f'{good.url}/one.csv', sets=[f'source.ca=${{file:{ca}}}']), ONE)
        checks.refused('the system\'s CAs', bench.load(f'{good.url}/one.csv', sets=FAST),
                       'tls_failed')
        checks.refused('a wrong CA', bench.load(
            f'{good.url}/one.csv', sets=[f'source.ca=${{file:{other}}}', *FAST]), 'tls_failed')
        checks.refused('a wrong host', bench.load(
            f'{bad.url}/one.csv', sets=[f'source.ca=${{file:{host_ca}}}', *FAST]), 'tls_failed')
        good.faults['/one.csv'] = o.redirect(f'{origin.url}/one.csv')
        checks.refused('from https to http', bench.load(
            f'{good.url}/one.csv', sets=[f'source.ca=${{file:{ca}}}', *FAST]), 'bad_redirect')


@case('secrets')
def secrets(bench, origin, checks):
    """Headers and passwords reach the hosts of the spec, and nobody else; no log has them."""
    with o.Origin(bench.data) as other:
        done = bench.load(f'{origin.url.replace("://", "://me:${env:PW}@")}/one.csv', sets=[
            'source.headers=X-Token: ${env:TOKEN}'], env={'PW': 'pa55', 'TOKEN': 'tok3n'})
        checks.loaded('with user and header', done, ONE)
        checks.true('sent', all(
            headers.get('X-Token') == 'tok3n' and headers.get('Authorization', '')
            .startswith('Basic ') for _, _, headers in origin.log))
        done = bench.load(f'{origin.url}/two.csv?sig=${{env:SIG}}', env={'SIG': 's1gn'})
        checks.loaded('in the query', done, TWO)
        checks.true('sent in the query', origin.log[-1][1] == '/two.csv?sig=s1gn')
        origin.faults['/two.csv'] = o.redirect(f'{other.url}/two.csv')
        done = bench.load(f'{origin.url}/two.csv', sets=['source.headers=X-Token: ${env:TOKEN}'],
                          env={'TOKEN': 'tok3n'})
        checks.loaded('after a redirect', done, TWO)
        checks.true('not sent elsewhere', other.log and not any(
            'X-Token' in headers for _, _, headers in other.log))
    checks.refused('not set', bench.load(f'{origin.url}/one.csv', sets=[
        'source.headers=X-Token: ${env:NO_SUCH_TOKEN}', *FAST]), 'secret_missing')
    for plain in ('source.headers=Authorization: Bearer abc', 'source.client_key=abc',
                  'source.urls=https://me:abc@host/x'):
        done = bench.load(f'{origin.url}/one.csv', sets=[plain])
        checks.equal(f'{plain}: exit status', done[0], 5)
    found = subprocess.run(['grep', '-rlE', 'pa55|tok3n|s1gn', bench.folder], stdout=subprocess.PIPE,
                           text=True, check=False).stdout.split()
    checks.equal('files with a secret in them', found, [])


@case('environment')
def environment(bench, origin, checks):
    """A proxy of the environment is not used."""
    env = {name: 'http://127.0.0.1:1/' for name in ('http_proxy', 'HTTP_PROXY', 'ALL_PROXY',
                                                    'all_proxy')}
    checks.loaded('with http_proxy', bench.load(f'{origin.url}/two.csv', env=env), TWO)


# ---------------------------------------------------------------- the allow-list

def load_in_cluster(bench, url, *options):
    """(state, reason, rows) of one pipeline in a cluster whose agent has the options."""
    with Cluster(bench.build, quiet=True) as cluster:
        database = cluster.path('out.db')
        cluster.start_coordinator()
        cluster.start_agent(leaves=1, extra=options)
        cluster.apply({'name': 'p', 'source': {'url': url, 'retries': 0},
                       'destination': {'url': f'sqlite:{database}', 'table': 't'},
                       'errors': {'max_retries': 0}})
        cluster.start('p')
        pipeline = cluster.wait_end('p', 30)
        return pipeline['state'], json.dumps(pipeline), bench.rows(database)


@case('allow_list')
def allow_list(bench, origin, checks):
    named = origin.url.replace('127.0.0.1', 'localhost')
    allowed = {
        'loopback': ('--allow-network', 'loopback'),
        'its network': ('--allow-network', 'public', '--allow-network', '127.0.0.0/8'),
        'its host': ('--allow-network', 'any', '--allow-host', 'localhost'),
    }
    refused = {
        'nothing': ((), 'address_refused'),
        'private only': (('--allow-network', 'private'), 'address_refused'),
        'another host': (('--allow-network', 'any', '--allow-host', '*.example.com'),
                         'not_allowed'),
        'https only': (('--allow-network', 'any', '--allow-scheme', 'https'), 'not_allowed'),
        'no network': (('--allow-network', 'here'), 'bad_allow_list'),
    }
    for what, options in allowed.items():
        state, _, rows = load_in_cluster(bench, f'{named}/two.csv', *options)
        checks.equal(f'{what} allowed', (state, len(rows)), ('completed', len(TWO)))
    for what, (options, code) in refused.items():
        state, text, rows = load_in_cluster(bench, f'{named}/two.csv', *options)
        checks.true(f'{what} allowed: {state}, no {code} in {text[:600]}',
                    state != 'completed' and code in text and not rows)
    # The first address may be reached, where it leads may not.
    origin.faults['/two.csv'] = o.redirect('http://10.255.255.1/two.csv')
    state, text, rows = load_in_cluster(bench, f'{named}/two.csv', '--allow-network', 'loopback')
    checks.true(f'redirect to a private address: {state} {text[:600]}',
                state != 'completed' and 'address_refused' in text and not rows)


# ---------------------------------------------------------------- real servers

def real_server(bench, checks, context):
    if context is None:
        raise Skip('there is none on this machine')
    with context as url:
        for pattern in ('small/*.csv', '**/*.csv', 'odd/*', 'gz/*.gz'):
            over = bench.load(f'{url}/{pattern}')
            files = bench.load(os.path.join(bench.data, pattern))
            checks.loaded(pattern, over, files[2])
        checks.loaded('ranges', bench.load(f'{url}/one.csv', sets=['limits.batch_bytes=512KiB']),
                      ONE)


@case('nginx')
def nginx(bench, origin, checks):
    real_server(bench, checks, webserver.nginx(bench.path('nginx'), bench.data))


@case('apache')
def apache(bench, origin, checks):
    for i, style in enumerate(('-FancyIndexing', 'FancyIndexing', 'FancyIndexing HTMLTable')):
        real_server(bench, checks, webserver.apache(bench.path(f'apache{i}'), bench.data, style))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('case', nargs='*')
    args = parser.parse_args()
    report = Report()
    skipped = 0
    folder = tempfile.mkdtemp(prefix='pk-http-', dir='/tmp')
    try:
        bench = Bench(args.build, folder)
        make_data(bench)
        for name in args.case or CASES:
            checks = Checks()
            began = time.monotonic()
            try:
                with o.Origin(bench.data) as origin:
                    CASES[name](bench, origin, checks)
            except Skip as why:
                print(f'skipped: {name}: {why}', flush=True)
                skipped += 1
                continue
            report.case(not checks.problems, f'{name} ({time.monotonic() - began:.1f} s)'
                        + ''.join(f'\n     {problem}' for problem in checks.problems[:8]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f'{report.passed} passed, {report.failed} failed'
          + (f', {skipped} skipped' if skipped else ''), flush=True)
    return 1 if report.failed or not report.passed else 0


if __name__ == '__main__':
    sys.exit(main())
