#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""MariaDB as a destination, over a real server of the test's own: every edge value reads back as when
the server's client inserted it in strict mode, and what the server would refuse is refused; conflicts,
guilty rows, tables and engines, what people meet when they connect, a stopped twin, an ALTER in between,
a server that asks for a file.

usage: mysql.py [--build build/dev] [--only PART ...]"""
import os
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import server_story  # noqa: E402
from cluster import wait_for  # noqa: E402
from loopback import Listener  # noqa: E402
from mysql_server import MysqlServer  # noqa: E402
from origin import make_certificates  # noqa: E402
from server_story import main, sets  # noqa: E402

STRICT = ("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
          "NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00';\n")
STAMPS = ['2024-01-02 03:04:05', '2024-01-02T03:04:05', '0001-01-01 00:00:00', '9999-12-31 23:59:59', '2016-12-31 23:59:60',
          '2024-02-30 00:00:00', '0000-00-00 00:00:00', '2024-01-02 24:00:00', 'now and then', '']
# Values to write into a column of each type. A value that is not text of the type is there too.
VALUES = {
    'tinyint': ['127', '-128', '128', '-129', 'x', '', '1.5', '0', '-0'],
    'tinyint unsigned': ['255', '256', '-1', '0'],
    'smallint': ['32767', '-32768', '32768'],
    'mediumint': ['8388607', '-8388608', '8388608'],
    'mediumint unsigned': ['16777215', '16777216'],
    'int': ['2147483647', '-2147483648', '2147483648', '12', 'foo', '12abc'],
    'int unsigned': ['4294967295', '4294967296'],
    'bigint': ['0', '-1', '9223372036854775807', '-9223372036854775808', '9223372036854775808', '007'],
    'bigint unsigned': ['18446744073709551615', '18446744073709551616', '-1'],
    'tinyint(1)': ['0', '1', '127', '2', 'true', 'FALSE', 'on', 'maybe'],
    'decimal(12,2)': ['1.5', '9999999999.99', '-9999999999.99', '10000000000', '0.005', '-0.005', '-0.004', '9999999999.995',
                      '1e3', '.5', '5.', '--1', '12a', 'NaN', '0', '-0.00', '1e-400', '1e400', '0009.10'],
    'decimal(65,30)': ['12345678901234567890123456789012345.123456789012345678901234567890', '9' * 35, '9' * 36,
                       '0.000000000000000000000000000001', '0.0000000000000000000000000000004', '-' + '9' * 35 + '.' + '9' * 30],
    'decimal(38,0)': ['9' * 38, '-' + '9' * 38, '1' + '0' * 38, '0.5', '1.49'],
    'decimal(5,2) unsigned': ['999.99', '-0.01', '0'],
    'double': ['0.1', '-0', '1e308', '5e-324', '1.7976931348623157e308', 'NaN', 'Infinity', '-inf', 'one', '1e309', ''],
    'float': ['0.1', '3.4e38', '1e39', '1.17549435e-38', '16777216', '0.333333333'],
    'varchar(5)': ['12345', '123456', 'äöüßé', 'äöüßéx', 'abc  ', '', '😀😀😀😀😀'],
    'char(3)': ['ab', 'abc', 'abcd', ''],
    'varchar(5) character set utf8mb3': ['äöüßé', '😀'],
    'varchar(5) character set latin1': ['äöüßé', 'plain', '€', '😀', 'ж'],
    'tinytext': ['x' * 255, 'x' * 256, 'ä' * 127, 'ä' * 128],
    'text': ['x' * 65535, 'x' * 65536],
    'longtext': ['', 'plain', "it's", 'a\\b', 'tab\there', 'line\nbreak', 'cr\r\nlf', '😀 𝔸', '\\N', 'NULL', 'null', "'", "''", '"',
                 ',', 'a,b', '\\', '\\\\', "\\'", '%_', ' lead', 'trail ', 'x' * 1048576, "'" * 1000, '\x1a', '\x08\x7f'],
    'binary(4)': ['abcd', 'ab', 'abcde', ''],
    'varbinary(4)': ['abcd', 'abcde', "a'\\,", '', 'é'],
    'longblob': ['', 'bytes', '\\x00ff', "q'uote", 'ü' * 1000],
    'date': ['2024-02-29', '2023-02-29', '0001-01-01', '9999-12-31', '2024-13-01', '2024-01-32', '1900-02-29', '2000-02-29',
             'someday', '0000-00-00', '2024-00-10', '', '10000-01-01'],
    'time': ['00:00:00', '23:59:59', '838:59:59', '-838:59:59', '839:00:00', '12:60:00', '-01:02:03', '12:34', 'noon', '24:00:00'],
    'time(6)': ['00:00:00.000001', '-838:59:59.000000', '12:34:56.7', '23:59:59.999999'],
    'datetime': STAMPS,
    'datetime(3)': ['2024-01-02 03:04:05.123', '2024-01-02 03:04:05.1', '1000-01-01 00:00:00.001'],
    'datetime(6)': ['2024-01-02 03:04:05.123456', '9999-12-31 23:59:59.999999'],
    'timestamp(3) null': ['2024-01-02 03:04:05.5Z', '2024-01-02 03:04:05+02:00', '2038-01-19 03:14:07Z', '2038-01-19 03:14:08Z',
                          '1970-01-01 00:00:01Z', '1970-01-01 00:00:00Z', '2024-01-02 03:04:05', '2024-02-30 00:00:00Z'],
    'year': ['1901', '2155', '1900', '2156', 'x'],
    'bit(9)': ['0', '511', '512', '5', '39', 'x'],
    'bit(64)': ['18446744073709551615', '0', '10'],
    "enum('happy','sad','it''s','2')": ['happy', 'sad', "it's", 'angry', '', '2', 'HAPPY'],
    "set('a','b','c')": ['a', 'a,c', '', 'd', 'a,d'],
    'json': ['{"a": [1, 2]}', 'null', '1e400', '{"a": }', '"\\u0000"', '', '[', '"x"', '{"a":1,"a":2}', 'nul'],
    'uuid': ['123e4567-e89b-12d3-a456-426614174000', '123E4567E89B12D3A456426614174000', '123e4567-e89b-12d3-a456-42661417400', 'g' * 32],
    'inet4': ['192.168.0.1', '255.255.255.255', '300.1.1.1', '1.2.3'],
    'inet6': ['::1', 'fe80::1', '::ffff:1.2.3.4', 'g::1', '2001:db8:0:0:0:0:0:1'],
}
# Where we differ from the server on purpose: what stands in the table, None = refused (docs/MYSQL.md).
REFUSED = [('tinyint', '1.5'), ('decimal(12,2)', '5.'), ('datetime', ''), ('date', ''), ("enum('happy','sad','it''s','2')", ''),
           ('timestamp(3) null', '2024-01-02 03:04:05')]
OURS = {('tinyint(1)', 'true'): '1', ('tinyint(1)', 'FALSE'): '0', ('tinyint(1)', 'on'): '1', ('decimal(12,2)', '5.'): '5.00',
        ('bit(9)', '0'): '\0\0', ('bit(9)', '511'): '\x01\xff', ('bit(9)', '512'): None, ('bit(9)', '5'): '\0\x05',
        ('bit(9)', '39'): "\0'", ('bit(9)', 'x'): None, ('bit(64)', '18446744073709551615'): '\xff' * 8, ('bit(64)', '0'): '\0' * 8,
        ('bit(64)', '10'): '\0' * 7 + '\n',
        ('timestamp(3) null', '2024-01-02 03:04:05.5Z'): '2024-01-02 03:04:05.500',
        ('timestamp(3) null', '2024-01-02 03:04:05+02:00'): '2024-01-02 01:04:05.000',
        ('timestamp(3) null', '2038-01-19 03:14:07Z'): '2038-01-19 03:14:07.000',
        ('timestamp(3) null', '1970-01-01 00:00:01Z'): '1970-01-01 00:00:01.000',
        **{key: None for key in REFUSED if key != ('decimal(12,2)', '5.')}}


def literal(value):
    return "_utf8mb4 x'" + value.encode().hex() + "'"


class Story(server_story.Story):
    SCHEME = 'mysql'
    VALUES = VALUES
    PARTS = ('values', 'nulls', 'conflicts', 'parallel_conflicts', 'guilty_rows', 'tables', 'errors', 'tls', 'nosy_server',
             'twin', 'altered', 'parts')

    # ---- values

    def written_by_client(self, kind, values):
        """What a strict INSERT makes of each: n -> digest of what then stands there; none where it is refused."""
        path = os.path.join(self.folder, 'insert.sql')
        with open(path, 'w', encoding='utf-8') as out:
            out.write(STRICT + f'CREATE TEMPORARY TABLE one(n int, v {kind});\n')
            for n, value in enumerate(values):
                # A text without the server's guess at numbers that are quoted.
                out.write(f"INSERT INTO one VALUES ({n}, CONVERT({literal(value)} USING utf8mb4));\n")
            out.write('SELECT n, MD5(CONCAT(v)) FROM one WHERE v IS NOT NULL;\n')
        with open(path, encoding='utf-8') as text:
            done = subprocess.run(self.server.client('--batch', '--skip-column-names', '--force'), stdin=text,
                                  capture_output=True, text=True, check=False)
        return dict(line.split('\t') for line in done.stdout.splitlines())

    def compare(self, report, kind, values, table):
        ours = dict(self.server.sql(STRICT + f'SELECT n, MD5(CONCAT(v)) FROM {table} WHERE v IS NOT NULL'))
        theirs = self.written_by_client(kind, values)
        wrong = []
        for n, value in enumerate(values):
            expected = theirs.get(str(n))
            if (kind, value) in OURS:
                text = OURS[kind, value]
                expected = None if text is None else self.server.value(
                    f"SELECT MD5(x'{text.encode('latin-1').hex()}')")
            if ours.get(str(n)) != expected:
                wrong.append(f'{value[:40]!r}: {"loaded" if str(n) in ours else "refused"}, expected '
                             f'{"refused" if expected is None else "another" if str(n) in ours else "loaded"}')
        rejects = int(self.server.value(f'SELECT count(*) FROM {table}_rejects'))
        if rejects + len(ours) != len(values):
            wrong.append(f'{len(ours)} loaded and {rejects} rejects')
        report.case(not wrong, f'{kind}: {len(values)} values as a strict INSERT writes them' + ''.join(f'; {w}' for w in wrong))

    def nulls(self, report):
        self.server.sql('CREATE TABLE nulls(id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int, b int NOT NULL, t timestamp NOT NULL'
                        ' DEFAULT CURRENT_TIMESTAMP, z longtext)')
        path = os.path.join(self.folder, 'nulls.csv')
        with open(path, 'w', encoding='ascii') as out:
            out.write('id,a,b,z\n0,1,1,x\n5,,2,\n6,3,,y\n,4,4,""\n')
        done = self.load_object(path, 'nulls', 'nulls')
        rows = self.server.sql('SELECT id, a, b, z FROM nulls ORDER BY id')
        expected = [['0', '1', '1', 'x'], ['5', 'NULL', '2', 'NULL'], ['6', '4', '4', '']]
        report.case(done.returncode == 3 and rows == expected,
                    f'0 stays 0 in an AUTO_INCREMENT column, NULL gets its number, NOT NULL refuses it: {rows} {done.stderr[-200:] if rows != expected else ""}')

    # ---- tables and conflicts

    def conflicts(self, report):
        seed = "INSERT INTO c VALUES (1, 'a', 10, 7), (2, 'b', 10, 7)"
        for policy, more, expected, counts in (
                ('skip', '', [['1', 'a', '10', '7'], ['2', 'b', '10', '7'], ['3', 'C', '7', '5']], ['1', '0', '3']),
                ('update', 'order_by=ts',
                 [['1', 'a', '10', '7'], ['2', 'B', '11', '7'], ['3', 'C', '7', '5']], ['1', '1', '2']),
                ('replace', 'last_commit_wins=true',
                 [['1', 'A', '5', '5'], ['2', 'B', '11', '5'], ['3', 'D', '6', '5']], ['1', '3', '0'])):
            self.server.sql('DROP TABLE IF EXISTS c, c_rejects; CREATE TABLE c(id int PRIMARY KEY, name text, ts int, more int'
                            f' DEFAULT 5); {seed}')
            done = self.load_conflicts(f'on_conflict={policy}', *more.split())
            rows = self.server.sql('SELECT * FROM c ORDER BY id')
            counted = self.server.sql('SELECT inserted, updated, skipped FROM _penstock_ledger ORDER BY at_ms DESC LIMIT 1')
            report.case(done.returncode == 0 and rows == expected and counted == [counts],
                        f'on_conflict {policy}: {rows}, inserted, updated, skipped {counted} {done.stderr[-300:] if done.returncode else ""}')
        self.server.sql("CREATE TABLE oe(id int PRIMARY KEY, e enum('z', 'y', 'x')); INSERT INTO oe VALUES (1, 'x'), (2, 'z')")
        done = self.load([[1, 'z'], [2, 'y'], [3, 'z'], [3, 'x'], [3, 'y']], ['id', 'e'], 'oe',
                         *sets('on_conflict=update', 'key=[id]', 'order_by=e'))
        rows = self.server.sql('SELECT * FROM oe ORDER BY id')
        report.case(done.returncode == 0 and rows == [['1', 'x'], ['2', 'y'], ['3', 'x']],
                    f'order_by of an ENUM goes by its places, in a batch and against the table: {rows} {done.stderr[-200:] if done.returncode else ""}')
        self.server.sql('CREATE TABLE og(k int PRIMARY KEY, w int CHECK (w <> 13), ts int); INSERT INTO og SELECT seq, 99, 10 FROM seq_0_to_499')
        records = [[i, 13 if i % 97 == 0 else i % 12, i % 20] for i in range(1000)]
        done = self.load(records, ['k', 'w', 'ts'], 'og', *sets('on_conflict=update', 'key=[k]', 'order_by=ts'))
        wanted = {k: (99, 10) for k in range(500)}
        for k, w, ts in records:
            if w != 13 and (k not in wanted or ts >= wanted[k][1]):
                wanted[k] = (w, ts)
        rows = self.server.sql('SELECT * FROM og ORDER BY k')
        counted = self.server.sql('SELECT decoded, inserted + updated + skipped, rejected_at_load FROM _penstock_ledger ORDER BY at_ms DESC LIMIT 1')
        report.case(rows == [[str(k), str(w), str(ts)] for k, (w, ts) in sorted(wanted.items())] and counted == [['1000', '992', '8']],
                    f'behind the staging table eight of 1,000 are refused, three that lose by order_by are not asked: {len(rows)} rows, {counted}')
        self.server.sql('DROP TABLE IF EXISTS c, c_rejects; CREATE TABLE c(id int PRIMARY KEY, name varchar(9) UNIQUE, ts int)')
        self.server.sql("INSERT INTO c VALUES (1, 'a', 10)")
        done = self.load([[1, 'x', 1], [2, 'a', 2], [3, 'c', 3], [4, 'c', 4]], ['id', 'name', 'ts'], 'c',
                         *sets('on_conflict=skip'))
        rows = self.server.sql('SELECT * FROM c ORDER BY id')
        report.case(rows == [['1', 'a', '10'], ['3', 'c', '3']], f'skip without a key: any unique index counts: {rows} {done.stderr[-200:]}')
        done = self.load([[1, 'z', 1], [5, 'c', 2], [6, 'f', 3]], ['id', 'name', 'ts'], 'c',
                         *sets('on_conflict=update', 'key=[id]', 'last_commit_wins=true'))
        rows = self.server.sql('SELECT * FROM c ORDER BY id')
        report.case(done.returncode == 3 and rows == [['1', 'z', '1'], ['3', 'c', '3'], ['6', 'f', '3']],
                    f'update: a conflict with another unique index is a reject: {rows} {done.stderr[-200:]}')
        done = self.load([[1, 'z', 1]], ['id', 'name', 'ts'], 'c', *sets('on_conflict=skip', 'key=[ts]'))
        self.meets(report, 'a key without its index', done, ['PRIMARY KEY or UNIQUE', 'destination.key'])

    def parallel_conflicts(self, report):
        """Several leaves meet at the same keys: counts stay exact, and nothing is refused."""
        path = os.path.join(self.folder, 'meet')
        os.makedirs(path)
        for k in range(16):
            with open(os.path.join(path, f'{k:02}.csv'), 'w', encoding='ascii') as out:
                out.write('id,v\n' + ''.join(f'{(i * 7 + k) % 3000},{k}\n' for i in range(2000)))
        self.server.sql('CREATE TABLE meet(id int PRIMARY KEY, v int)')
        done = self.load_object(path + '/*.csv', 'meet', 'meet', '--set', 'limits.batch_bytes=16384',
                                *sets('on_conflict=update', 'key=[id]', 'last_commit_wins=true'), leaves=4, timeout_s=180)
        count = self.server.value('SELECT count(*) FROM meet')
        sums = self.server.sql('SELECT sum(inserted), sum(decoded), sum(inserted + updated + skipped + rejected_at_load)'
                               ' FROM _penstock_ledger l JOIN _penstock_fence f USING (pipeline_uuid)'
                               " WHERE f.pipeline_name = 'meet' AND state = 'L'")[0]
        report.case(done.returncode == 0 and count == '3000' and sums == ['3000', '32000', '32000'],
                    f'4 leaves update the same keys: {count} rows, inserted, decoded, counted {sums} {done.stderr[-300:] if done.returncode else ""}')

    def guilty_rows(self, report):
        self.server.sql('CREATE TABLE parent(id int PRIMARY KEY); INSERT INTO parent SELECT seq FROM seq_0_to_4999;'
                        'CREATE TABLE g(id int UNIQUE, p int REFERENCES parent(id),'
                        " note varchar(20) NOT NULL CHECK (note <> 'bad'))")
        rows = [[i, i % 5000, 'bad' if i in (7, 12345) else 'good'] for i in range(20000)]
        rows += [[3, 3, 'twice'], [30000, 5000, 'orphan']]
        done = self.load(rows, ['id', 'p', 'note'], 'g')
        count = self.server.value('SELECT count(*) FROM g')
        codes = self.server.sql('SELECT count(*), count(DISTINCT line) FROM g_rejects')
        words = ' '.join(row[0] for row in self.server.sql('SELECT reason FROM g_rejects'))
        report.case(done.returncode == 3 and count == '19998' and codes == [['4', '4']] and 'CONSTRAINT' in words
                    and 'Duplicate entry' in words and 'foreign key' in words,
                    f'only the guilty rows are refused: {count} loaded, {codes} rejects {done.stderr[-300:] if count != "19998" else ""}')
        self.server.sql("CREATE TABLE g2(id int PRIMARY KEY, v int CHECK (v % 100 <> 0));\nDELIMITER //\n"
                        "CREATE TRIGGER g2t BEFORE INSERT ON g2 FOR EACH ROW IF NEW.v = 77 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT"
                        " = 'no 77 here'; END IF//")
        done = self.load([[i, i] for i in range(1, 50001)], ['id', 'v'], 'g2')
        count = self.server.sql('SELECT count(*), (SELECT count(*) FROM g2_rejects), (SELECT count(DISTINCT line) FROM g2_rejects),'
                                " (SELECT count(*) FROM g2_rejects WHERE reason LIKE '%no 77 here%') FROM g2")[0]
        report.case(done.returncode == 3 and count == ['49499', '501', '501', '1'], f'1 % refused by the server, one by a trigger: {count}')
        done = self.load([[i, i] for i in range(60001, 60301)], ['id', 'v'], 'g2',
                         *sets('on_conflict=skip', 'key=[id]'))
        count = self.server.value('SELECT count(*) FROM g2 WHERE id > 60000')
        report.case(done.returncode == 3 and count == '297', f'guilty rows behind a staging table: {count} loaded')
        self.server.sql('CREATE TABLE g4(id int PRIMARY KEY, v int CHECK (v < 0))')
        written = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Handler_write'"
        before = int(self.server.value(written))
        done = self.load([[i, i] for i in range(2000)], ['id', 'v'], 'g4',
                         *sets('on_conflict=update', 'key=[id]', 'last_commit_wins=true'))
        count = self.server.value('SELECT count(*) FROM g4_rejects')
        each = (int(self.server.value(written)) - before) // 2000
        report.case(done.returncode == 3 and count == '2000' and each < 100,
                    f'all rows are refused behind a staging table: exit {done.returncode}, {count} rejects, {each} rows written for each')
        for way, options in (('directly', ['on_conflict=error']),
                             ('behind a staging table', ['on_conflict=update', 'key=[id]', 'last_commit_wins=true'])):
            self.server.sql('DROP TABLE IF EXISTS g3, audit, g3_rejects; CREATE TABLE audit(v int CHECK (v <> 700));'
                            'CREATE TABLE g3(id int PRIMARY KEY, v int);'
                            'CREATE TRIGGER g3t AFTER INSERT ON g3 FOR EACH ROW INSERT INTO audit VALUES(NEW.v)')
            done = self.load([[i, i] for i in range(1000)], ['id', 'v'], 'g3', *sets(*options))
            count = self.server.sql('SELECT count(*), (SELECT count(*) FROM g3_rejects), (SELECT line FROM g3_rejects) FROM g3')[0]
            report.case(done.returncode == 3 and count == ['999', '1', '702'],
                        f"a trigger's own statement is refused, {way}: {count} loaded, rejects, line")

    def tables(self, report):
        self.server.sql('CREATE TABLE m(a int, b int AS (a + 1) STORED, c int NOT NULL, i int INVISIBLE DEFAULT 4)')
        done = self.load([[1, 2, 3]], ['a', 'b', 'e'], 'm')
        self.meets(report, 'one error says all that is wrong with the table', done,
                   ['"b" is generated', 'no column "e"', '"c" is NOT NULL'])
        done = self.load([[1, 3]], ['A', 'c'], 'm')
        rows = self.server.sql('SELECT a, b, c, i FROM m')
        report.case(done.returncode == 0 and rows == [['1', '2', '3', '4']], f'generated, invisible and default columns: {rows} {done.stderr[-200:]}')
        done = self.load([['1', 'x']], ['we`ird', 'select'], 'air.Qu`oted')
        rows = self.server.sql('SELECT `we``ird`, `select` FROM air.`Qu``oted`') if done.returncode == 0 else done.stderr
        report.case(rows == [['1', 'x']], f'names are quoted: {rows}')
        for engine in ('MyISAM', 'Aria', 'MEMORY'):
            self.server.sql(f'CREATE TABLE e_{engine}(a int) ENGINE = {engine}')
            self.meets(report, f'engine {engine}', self.load([[1]], ['a'], f'e_{engine}'), [engine, 'roll back', 'InnoDB'])
        self.server.sql('CREATE TABLE below(a int); CREATE VIEW sight AS SELECT * FROM below')
        self.meets(report, 'a view', self.load([[1]], ['a'], 'sight'), ['sight', 'VIEW'])
        self.server.sql('CREATE DATABASE old; GRANT ALL ON old.* TO loader@\'127.0.0.1\'; CREATE TABLE old._penstock_ledger(a int) ENGINE = Aria',
                        user='admin')
        self.meets(report, 'a ledger that cannot roll back', self.load([[1]], ['a'], 't', url=self.server.url('old')),
                   ['_penstock_ledger', 'Aria'])

    # ---- what people meet

    def errors(self, report):
        row = ([[1]], ['a'])
        self.meets(report, 'no database', self.load(*row, 't', url=self.server.url('nowhere')), ['no_'])
        self.meets(report, 'a password in the URL',
                   self.load(*row, 't', url=self.server.url().replace('loader@', 'loader:secret@')), ['secret in plain text'])
        self.server.sql("CREATE USER guarded@'127.0.0.1' IDENTIFIED BY 'right'; GRANT ALL ON air.* TO guarded@'127.0.0.1'", user='admin')
        for form, url in (('an option', self.server.url(user='guarded') + '?password=${env:AIR_PASSWORD}'),
                          ('behind the user', self.server.url(user='guarded:${env:AIR_PASSWORD}'))):
            self.meets(report, f'a wrong password, {form}', self.load(*row, 'guarded', url=url, env={'AIR_PASSWORD': 'wrong'}),
                       ['wrong_password', 'Access denied'])
            done = self.load(*row, 'guarded', url=url, env={'AIR_PASSWORD': 'right'})
            report.case(done.returncode == 0 and 'right' not in done.stdout + done.stderr,
                        f'a password by reference, {form}: {done.stderr[-200:] if done.returncode else "loaded"}')
        self.server.sql("CREATE USER reader@'127.0.0.1'; GRANT SELECT ON air.* TO reader@'127.0.0.1'", user='admin')
        self.server.sql('CREATE TABLE locked(a int)')
        self.meets(report, 'no privilege', self.load(*row, 'locked', url=self.server.url(user='reader')), ['no_privilege', 'needs'])
        self.meets(report, 'a wrong option', self.load(*row, 't', url=self.server.url() + '?sokcet=/x'), ['sokcet', 'ssl_mode'])
        self.server.sql('SET GLOBAL local_infile = 0', user='admin')
        self.meets(report, 'local_infile is off', self.load(*row, 'noinfile'), ['local_infile=1'])
        self.server.sql('SET GLOBAL local_infile = 1', user='admin')
        done = self.load(*row, 'by_socket', url=f'mysql://loader@localhost/air?socket={self.server.socket}')
        report.case(done.returncode == 0, f'a unix socket: {done.stderr[-300:] if done.returncode else "loaded"}')
        done = self.load([['2024-01-02 03:04:05']], ['t'], 'stamps', url=self.server.url() + '?time_zone=%2B02:00')
        self.server.sql('CREATE TABLE zoned(t timestamp NULL)')
        done = self.load([['2024-01-02 03:04:05']], ['t'], 'zoned', url=self.server.url() + '?time_zone=%2B02:00')
        stands = self.server.sql(STRICT + 'SELECT t FROM zoned')
        report.case(stands == [['2024-01-02 01:04:05']], f'time_zone says what a text without a zone means: {stands} {done.stderr[-200:]}')
        self.server.sql('SET GLOBAL read_only = 1', user='admin')
        done = self.load(*row, 'readonly', '--set', 'errors.max_retries=0')
        self.server.sql('SET GLOBAL read_only = 0', user='admin')
        self.meets(report, 'a server that is read-only', done, ['read-only'])
        self.server.sql('SET GLOBAL max_connections = 10', user='admin')
        held = []

        def taken():
            """A session before that is just ending may have cost one of ours its place: it comes again."""
            held[:] = [child for child in held if child.poll() is None]
            held.extend(subprocess.Popen(self.server.client('-e', 'SELECT SLEEP(60)', user='loader'), stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL) for _ in range(10 - len(held)))
            try:
                return self.server.value("SELECT count(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60)'",
                                         user='admin') == '10'
            except RuntimeError:  # the one place that is the administrator's: our last question still has it
                return False
        wait_for('all connections taken', 20, taken)
        done = self.load(*row, 'crowded', '--set', 'errors.max_retries=0')
        for child in held:
            child.kill()
            child.wait()
        self.meets(report, 'too many connections', done, ['max_connections'])
        self.server.sql('SET GLOBAL max_connections = 60', user='admin', database='')

    def tls(self, report):
        ca, cert, key = make_certificates(self.folder, host='127.0.0.1', name='mysql')
        for path in (ca, cert, key):
            os.chmod(path, 0o644)
        server = MysqlServer((f'--ssl-ca={ca}', f'--ssl-cert={cert}', f'--ssl-key={key}', '--require-secure-transport=OFF')).start()
        try:
            server.sql("CREATE USER safe@'127.0.0.1' REQUIRE SSL; GRANT ALL ON air.* TO safe@'127.0.0.1'", user='admin')
            url = server.url(user='safe')
            done = self.load([[1]], ['a'], 't', url=f'{url}?ssl_mode=verify_identity&ssl_ca={ca}')
            report.case(done.returncode == 0, f'TLS with a verified server: {done.stderr[-300:] if done.returncode else "loaded"}')
            done = self.load([[1]], ['a'], 't', url=f'{url}?ssl_mode=verify_ca&ssl_ca={os.path.join(self.folder, "l1.csv")}')
            self.meets(report, 'TLS with another CA', done, ['ssl_ca'])
        finally:
            server.close()

    def nosy_server(self, report):
        """A server that asks for a file instead of answering gets none of it."""
        secret = os.path.join(self.folder, 'secret.txt')
        with open(secret, 'w', encoding='ascii') as out:
            out.write('the secret of this host\n')
        nosy = NosyServer(secret)
        done = self.load([[1]], ['a'], 't', '--set', 'errors.max_retries=0', url=f'mysql://loader@127.0.0.1:{nosy.port}/air')
        nosy.close()
        report.case(done.returncode != 0 and nosy.asked > 0 and b'secret of this host' not in nosy.heard
                    and 'does not get' in done.stderr + done.stdout,
                    f'a server asked {nosy.asked} times for a file: {" ".join((done.stdout + done.stderr).split())[-200:]}')

    # ---- faults

    def twin(self, report):
        """A leaf that is stopped, in LOAD DATA or between two statements, is ended by its batch's next life."""
        for place, failpoints, rows in (('behind its rows', 'dest.after_rows@1=delay:1500', 5000), ('in LOAD DATA', '', 400000)):
            def inside():
                time.sleep(0.15)  # what the server says of transactions is not made anew for who asks more often
                found = self.server.sql("SELECT command, info FROM information_schema.processlist WHERE user = 'loader'"
                                        " AND id IN (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"
                                        "  WHERE trx_rows_modified > 3000)")
                return any(info.startswith('LOAD') if not failpoints else info == 'NULL' for _, info in found)
            spec = self.objects(f'twin{len(failpoints)}', 1, rows)
            state, found = self.stop_twin(spec, failpoints, inside)
            report.case(state == 'completed' and found == str(rows), f'a twin that was stopped {place} is ended: {state}, {found} rows')

    def altered(self, report):
        self.alter_between(report, 'MODIFY v varchar(20)', 'sum(v = id)')

    def parts(self, report):
        """One object in parts over 4 connections: the checks of overlapping ranges wait for nobody."""
        path = os.path.join(self.folder, 'large.csv')
        with open(path, 'w', encoding='ascii') as out:
            out.write('id,v\n' + ''.join(f'{i},{i * 3}\n' for i in range(600000)))
        before = int(self.server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])
        done = self.load_object(path, 'parts', 'parts', '--set', 'limits.batch_bytes=262144', leaves=4, timeout_s=180)
        deadlocks = int(self.server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1]) - before
        count = self.server.sql('SELECT count(*), count(DISTINCT id) FROM parts')[0]
        report.case(done.returncode == 0 and count == ['600000', '600000'] and deadlocks == 0,
                    f'parts of one object over 4 leaves: {count[0]} rows, {deadlocks} deadlocks {done.stderr[-300:] if done.returncode else ""}')


class NosyServer:
    """Speaks just enough of the protocol to be believed, and answers the first statement by asking for a file."""

    def __init__(self, path):
        self.path = path.encode()
        self.asked = 0
        self.heard = b''
        self.listener = Listener(self.speak)
        self.port = self.listener.port

    def speak(self, client):
        def send(number, payload):
            client.sendall(struct.pack('<I', len(payload))[:3] + bytes([number]) + payload)

        def receive():
            head = client.recv(4, socket.MSG_WAITALL)
            return client.recv(int.from_bytes(head[:3], 'little'), socket.MSG_WAITALL) if len(head) == 4 else b''
        flags = 0x00000001 | 0x00000008 | 0x00000080 | 0x00000200 | 0x00008000 | 0x00080000
        send(0, b'\x0a5.5.5-10.11.0-MariaDB\0' + struct.pack('<I', 1) + b'12345678\0' + struct.pack('<H', flags & 0xffff)
             + b'\x2d' + struct.pack('<H', 2) + struct.pack('<H', flags >> 16) + b'\x15' + b'\0' * 10 + b'123456789012\0'
             + b'mysql_native_password\0')
        try:
            self.heard += receive()
            send(2, b'\0\0\0\x02\0\0\0')
            while receive():
                self.asked += 1
                send(1, b'\xfb' + self.path)
                while data := receive():
                    self.heard += data
                send(3, b'\0\0\0\x02\0\0\0')
        except OSError:
            pass
        client.close()

    def close(self):
        self.listener.close()


if __name__ == '__main__':
    sys.exit(main(__doc__, Story))
