#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How people reach their PostgreSQL server, and what they are told when they cannot: sockets, service files, PG* variables,
passfiles, several hosts, TLS with certificates made here; errors, each with its code; a deadlock; a password that stands nowhere.

usage: postgres_connect.py [--build build/dev] [--only PART ...]"""
import glob
import os
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import server_story  # noqa: E402
from cluster import wait_for  # noqa: E402
from loopback import free_port  # noqa: E402
from server_story import main, sets  # noqa: E402

PASSWORD = 'Sesame-4711-x'


def openssl(*words, cwd):
    subprocess.run(['openssl', *words], cwd=cwd, check=True, capture_output=True)


def make_certificates(folder, owner):
    """ca and other (which signed nothing here); server for localhost; client for role certified."""
    for name in ('ca', 'other'):
        openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', f'/CN={name}', '-keyout', f'{name}.key',
                '-out', f'{name}.crt', cwd=folder)
    for name, subject, more in (('server', 'somebody', 'subjectAltName=DNS:localhost'), ('client', 'certified', 'basicConstraints=CA:FALSE')):
        with open(os.path.join(folder, f'{name}.ext'), 'w', encoding='ascii') as out:
            out.write(more + '\n')
        openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', f'/CN={subject}', '-keyout', f'{name}.key', '-out', f'{name}.csr', cwd=folder)
        openssl('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile',
                f'{name}.ext', '-out', f'{name}.crt', cwd=folder)
    openssl('rsa', '-aes256', '-passout', 'pass:' + PASSWORD, '-in', 'client.key', '-out', 'locked.key', cwd=folder)
    for name in ('client.key', 'locked.key', 'server.key'):
        os.chmod(os.path.join(folder, name), 0o600)
    if owner:
        os.chown(os.path.join(folder, 'server.key'), owner.pw_uid, owner.pw_gid)


class Story(server_story.Story):
    SCHEME = 'postgresql'
    PARTS = ('ways', 'tls', 'errors', 'deadlock', 'secrets', 'full_disk')

    @staticmethod
    def prepare(server):
        certificates = os.path.join(server.folder, 'certs')
        os.mkdir(certificates)
        make_certificates(certificates, server.user)
        os.chmod(certificates, 0o755)
        server.settings += ['ssl=on', f'ssl_cert_file={certificates}/server.crt', f'ssl_key_file={certificates}/server.key', f'ssl_ca_file={certificates}/ca.crt']
        server.start()
        server.put_rules('hostssl all certified 127.0.0.1/32 cert\nhost all certified 127.0.0.1/32 reject\n')
        server.sql(f"SELECT pg_reload_conf(); CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE certified LOGIN IN ROLE loader;"
                   'CREATE ROLE reading LOGIN IN ROLE loader; ALTER ROLE reading SET default_transaction_read_only = on;'
                   'CREATE ROLE reader LOGIN; CREATE ROLE few LOGIN; CREATE SCHEMA guarded AUTHORIZATION guarded', user='admin')
        server.sql('SET ROLE guarded; CREATE TABLE guarded.t(a int)', user='admin')
        server.sql('CREATE TABLE reached(a int)')

    def loaded(self, report, what, table='reached', **more):
        """One row more."""
        before = int(self.server.value(f'SELECT count(*) FROM {table}', user='admin'))
        done = self.load([[1]], ['a'], table, **more)
        count = int(self.server.value(f'SELECT count(*) FROM {table}', user='admin'))
        report.case(done.returncode == 0 and count == before + 1, what + ('' if done.returncode == 0 else f': {done.stderr[-400:]}'))

    def told(self, report, what, words, table='reached', **more):
        done = self.load([[1]], ['a'], table, **more)
        text = done.stderr + done.stdout
        report.case(done.returncode not in (0, 3) and all(word in text for word in words) and PASSWORD not in text,
                    f'{what}: {" ".join(text.split())[:300]}')

    def ways(self, report):
        port, folder = self.server.port, self.server.folder
        self.loaded(report, 'a Unix socket in a URL', url=f'postgresql://loader@/air?host={folder}&port={port}')
        self.loaded(report, 'pairs behind postgresql:', url=f'postgresql:host={folder} port={port} user=loader dbname=air')
        env = {'PGHOST': '127.0.0.1', 'PGPORT': str(port), 'PGUSER': 'loader', 'PGDATABASE': 'air'}
        self.loaded(report, 'PG* variables', url='postgresql://', env=env)
        services = os.path.join(self.folder, 'services.conf')
        with open(services, 'w', encoding='ascii') as out:
            out.write(f'[air]\nhost=127.0.0.1\nport={port}\nuser=loader\ndbname=air\n')
        self.loaded(report, 'a service file', url='postgresql:service=air', env={'PGSERVICEFILE': services})
        self.told(report, 'a service that is not there', ['no_service', 'PGSERVICEFILE'], url='postgresql://?service=sea', env={'PGSERVICEFILE': services})
        passfile = os.path.join(self.folder, 'passfile')
        with open(passfile, 'w', encoding='ascii') as out:
            out.write(f'127.0.0.1:{port}:air:guarded:{PASSWORD}\n')
        os.chmod(passfile, 0o600)
        guarded = self.server.url(user='guarded')
        self.loaded(report, 'a passfile', 'guarded.t', url=guarded, env={'PGPASSFILE': passfile})
        self.loaded(report, 'PGPASSWORD', 'guarded.t', url=guarded, env={'PGPASSWORD': PASSWORD})
        self.loaded(report, 'several hosts, the first one away', url=f'postgresql://loader@127.0.0.1:{free_port()},127.0.0.1:{port}/air')
        self.told(report, 'target_session_attrs', ['read_only'], url=self.server.url(user='reading') + '?target_session_attrs=read-write')

    def tls(self, report):
        certificates = os.path.join(self.server.folder, 'certs')
        base = f'postgresql://loader@localhost:{self.server.port}/air?hostaddr=127.0.0.1&'
        ca = f'sslrootcert={certificates}/ca.crt'
        self.loaded(report, 'sslmode=require', url=base + 'sslmode=require')
        self.loaded(report, 'sslmode=verify-full', url=f'{base}sslmode=verify-full&{ca}')
        self.told(report, 'a wrong CA', ['tls_failed', 'certificate verify failed'], url=f'{base}sslmode=verify-ca&sslrootcert={certificates}/other.crt')
        elsewhere = base.replace('@localhost', '@elsewhere')
        self.told(report, 'a wrong name', ['tls_failed', 'elsewhere'], url=f'{elsewhere}sslmode=verify-full&{ca}')
        self.loaded(report, 'verify-ca looks at no name', url=f'{elsewhere}sslmode=verify-ca&{ca}')
        client = base.replace('loader', 'certified') + f'sslmode=verify-full&{ca}'
        self.told(report, 'no client certificate', ['connect'], url=client)
        self.loaded(report, 'a client certificate', url=f'{client}&sslcert={certificates}/client.crt&sslkey={certificates}/client.key')
        locked = f'{client}&sslcert={certificates}/client.crt&sslkey={certificates}/locked.key'
        self.loaded(report, 'its key behind a password by reference', url=locked + '&sslpassword=${env:KEY_PASSWORD}', env={'KEY_PASSWORD': PASSWORD})

    def errors(self, report):
        self.told(report, 'refused port', ['no_connection', 'is the server running'], url=self.server.url(port=free_port()))
        self.told(report, 'unknown host', ['unknown_host'], url='postgresql://loader@no-such-host.invalid/air')
        self.told(report, 'unknown option', ['bad_url'], url=self.server.url() + '?colour=red')
        self.server.sql('CREATE SCHEMA closed; CREATE TABLE closed.t(a int); CREATE TABLE given(a int); GRANT USAGE ON SCHEMA public TO reader;'
                        'GRANT USAGE ON SCHEMA closed TO reader')
        reader = self.server.url(user='reader')
        self.told(report, 'no privilege on the schema', ['no_privilege', 'CREATE on the schema'], 'closed.t', url=reader)
        self.told(report, 'no privilege on the ledger', ['no_privilege', 'INSERT, SELECT and UPDATE'], 'given', url=reader)
        self.told(report, 'a read-only server', ['read_only', 'standby'], url=self.server.url(user='reading'))
        self.server.sql('ALTER ROLE few CONNECTION LIMIT 0', user='admin')
        self.told(report, 'too many connections', ['too_many_connections'], url=self.server.url(user='few'))
        self.server.sql("CREATE TABLE base(a int); CREATE VIEW seen AS SELECT * FROM base; CREATE UNLOGGED TABLE fleeting(a int);"
                        'CREATE TABLE secret_rows(a int); ALTER TABLE secret_rows ENABLE ROW LEVEL SECURITY; ALTER TABLE secret_rows FORCE ROW LEVEL SECURITY')
        self.server.sql('CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE far(a int) SERVER files'
                        " OPTIONS (filename '/dev/null'); ALTER TABLE far OWNER TO loader", user='admin')
        self.told(report, 'a view', ['bad_table', 'is no table'], 'seen')
        self.told(report, 'an unlogged table', ['bad_table', 'SET LOGGED'], 'fleeting')
        self.told(report, 'a foreign table', ['bad_table', 'another server'], 'far')
        self.told(report, 'row level security', ['bad_table', 'BYPASSRLS'], 'secret_rows')
        self.server.sql('CREATE TABLE kinds(a int, made int GENERATED ALWAYS AS (a * 2) STORED, n int GENERATED BY DEFAULT AS IDENTITY,'
                        " d text NOT NULL DEFAULT 'x') PARTITION BY LIST (a); CREATE TABLE kinds1 PARTITION OF kinds FOR VALUES IN (1)")
        self.loaded(report, 'generated, identity and default columns, partitioned', 'kinds')
        report.case(self.server.sql('SELECT * FROM kinds') == [['1', '2', '1', 'x']], 'and what they hold')

    def deadlock(self, report):
        """Another session holds row 2 and asks for row 1, which the load has: whoever is the victim, all ends well."""
        self.server.sql('CREATE TABLE dead(id int PRIMARY KEY, v int); INSERT INTO dead VALUES (1, 0), (9, 0)')
        other = subprocess.Popen(self.server.client(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 text=True)
        # The other one looks for deadlocks late: the load is the victim.
        other.stdin.write("SET deadlock_timeout = '60s';\nBEGIN; UPDATE dead SET v = 1 WHERE id = 9;\n")
        other.stdin.flush()
        wait_for('the other session', 20, lambda: self.server.value(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'", user='admin') != '0')

        def cross():
            wait_for('the load to wait', 60, lambda: self.server.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE '%penstock'", user='admin') != '0')
            other.stdin.write('UPDATE dead SET v = 1 WHERE id = 1; COMMIT;\n')
            other.stdin.close()
        thread = threading.Thread(target=cross)
        thread.start()
        done = self.load([[1, 5], [9, 5]], ['id', 'v'], 'dead', *sets('on_conflict=update', 'key=[id]', 'last_commit_wins=true'),
                         '--set', 'errors.max_retries=0')
        thread.join()
        other.wait(20)
        rows = self.server.sql('SELECT * FROM dead ORDER BY id')
        seen = 'deadlock detected' in self.server.log_tail()
        report.case(done.returncode == 0 and rows == [['1', '5'], ['9', '5']] and seen,
                    f'a deadlock is no attempt: {rows}, {"met" if seen else "not met"} {done.stderr[-300:] if done.returncode else ""}')

    def secrets(self, report):
        """A password that is given by reference stands in no state, log, answer or process list."""
        path = os.path.join(self.folder, 'password')
        with open(path, 'w', encoding='ascii') as out:
            out.write(PASSWORD + '\n')
        seen = []
        ended = threading.Event()

        def watch():
            while not ended.wait(0.02):
                for name in glob.glob('/proc/[0-9]*/cmdline'):
                    try:
                        with open(name, 'rb') as line:
                            if PASSWORD.encode() in line.read():
                                seen.append(name)
                    except OSError:
                        pass
        thread = threading.Thread(target=watch)
        thread.start()
        guarded = self.server.url(user='guarded')
        said = ''
        for reference, env in (('${file:%s}' % path, {}), ('${env:AIR_PASSWORD}', {'AIR_PASSWORD': PASSWORD})):
            done = self.load([[1]], ['a'], 'guarded.t', url=f'{guarded}?password={reference}', env=env)
            said += done.stdout + done.stderr
            report.case(done.returncode == 0, f'a password by {reference[2:6].strip(":")}' + (f': {done.stderr[-300:]}' if done.returncode else ''))
        done = self.load([[1]], ['a'], 'guarded.t', url=guarded + '?password=${env:AIR_PASSWORD}', env={'AIR_PASSWORD': 'not' + PASSWORD})
        report.case('wrong_password' in done.stderr + done.stdout, 'a wrong one')
        said += done.stdout + done.stderr
        ended.set()
        thread.join()
        found = subprocess.run(['grep', '-rlaF', PASSWORD, '--exclude=password', '--exclude=passfile', self.folder], capture_output=True, text=True, check=False).stdout
        report.case(not seen and not found and PASSWORD not in said, f'no trace of it: {seen[:3]} {found[:300]}')
        host = f'127.0.0.1:{self.server.port}'
        for what, url in (('in a URL', f'postgresql://guarded:{PASSWORD}@{host}/air'), ('as an option', f'{guarded}?password={PASSWORD}'),
                          ('as an option in disguise', f'{guarded}?p%61ss%77ord={PASSWORD}'),
                          ('in pairs', f"postgresql:host=127.0.0.1 user=guarded password = '{PASSWORD}'"),
                          ('of a key', f'{guarded}?sslpassword={PASSWORD}')):
            self.told(report, f'a literal password {what}', ['in plain text', '${env:NAME}'], url=url)

    def full_disk(self, report):
        """The table stands on a file system of 8 MiB, where this machine lets us mount one."""
        place = os.path.join(self.server.folder, 'small')
        os.mkdir(place)
        mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', place], capture_output=True, check=False).returncode == 0
        if not mounted:
            report.skip('a full disk on the server: no tmpfs can be mounted here')
            return
        try:
            if self.server.user:
                os.chown(place, self.server.user.pw_uid, self.server.user.pw_gid)
            self.server.sql(f"CREATE TABLESPACE small OWNER loader LOCATION '{place}'", user='admin')
            self.server.sql('CREATE TABLE filled(a int, b text) TABLESPACE small')
            rows = [[i, 'x' * 1000] for i in range(20000)]

            def make_room():
                wait_for('the disk to be full', 60, lambda: 'No space left' in self.server.log_tail())
                subprocess.run(['mount', '-o', 'remount,size=64m', place], check=False)
            thread = threading.Thread(target=make_room)
            thread.start()
            done = self.load(rows, ['a', 'b'], 'filled')
            thread.join()
            count = self.server.value('SELECT count(*) FROM filled')
            report.case(done.returncode == 0 and count == '20000', f'a full disk is waited for: {count} rows {done.stderr[-300:] if done.returncode else ""}')
            self.server.sql('DROP TABLE filled')
            self.server.sql('DROP TABLESPACE small', user='admin')
        finally:
            subprocess.run(['umount', place], check=False)


if __name__ == '__main__':
    sys.exit(main(__doc__, Story))
