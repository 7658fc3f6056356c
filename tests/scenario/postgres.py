#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL as a destination, over a real server of the test's own: every edge value reads back as
when psql's \\copy wrote it, and what the server would refuse is refused; conflicts, tables, what
people meet when they connect, a stopped twin. (Cut connections: link_cuts.py.)

usage: postgres.py [--build build/dev] [--only PART ...]"""
import csv
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import server_story  # noqa: E402
from server_story import main, sets  # noqa: E402

# Values to write into a column of each type. A value that is not text of the type is there too.
VALUES = {
    'bigint': ['0', '-1', '9223372036854775807', '-9223372036854775808', '9223372036854775808', 'x', '007', '1.5'],
    'integer': ['2147483647', '-2147483648', '2147483648', '12'],
    'smallint': ['32767', '-32768', '32768'],
    'double precision': ['0.1', '-0', '1e308', '5e-324', 'NaN', 'Infinity', '-Infinity', '1.7976931348623157e308', 'one'],
    'real': ['0.1', '3.4e38', '1e39', '1.17549435e-38', 'NaN'],
    'numeric': ['0', '-0.00', '12345678901234567890123456789012345678', '0.00000000000000000000000000000000000001',
                '-99999999999999999999999999999999999999', '1e10', '1.50', '10000', '9999.9999', '0.0001', '1.2e-5',
                'NaN', 'Infinity', '.5', '5.', '--1', '12a', '100000000', '-0.10203', '1e-130', '1e130'],
    'numeric(12,2)': ['1.5', '9999999999.99', '10000000000', '0.005', '-0.004'],
    'text': ['', 'plain', "it's", 'a\\b', 'tab\there', 'line\nbreak', '😀 𝔸', '\\N', 'x' * 1048576],
    'varchar(5)': ['12345', '123456', 'äöüßé', 'abc       ', ''],
    'char(3)': ['ab', 'abc', 'abcd'],
    'boolean': ['true', 'FALSE', 't', 'n', 'on', 'off', '1', '0', 'maybe'],
    'date': ['2024-02-29', '2023-02-29', '0001-01-01', '9999-12-31', '4713-01-01 BC', '0044-03-15 BC', 'infinity',
             '2024-13-01', '2024-01-32', '1900-02-29', '2000-02-29', 'someday', '5874897-12-31'],
    'time': ['00:00', '23:59:59.999999', '24:00:00', '12:34:56.7', '25:00', '23:59:60'],
    'timestamp': ['2024-01-02 03:04:05', '2024-01-02T03:04:05.123456', '0001-01-01 00:00:00', '9999-12-31 23:59:59.999999',
                  '2016-12-31 23:59:60', 'infinity', '-infinity', '0044-03-15 12:00:00 BC', '2024-02-30 00:00', 'now and then'],
    'timestamptz': ['2024-01-02 03:04:05Z', '2024-01-02 03:04:05+02:00', '2024-01-02T03:04:05.5-0730', '2024-01-02 03:04:05+14'],
    'uuid': ['123e4567-e89b-12d3-a456-426614174000', '123E4567E89B12D3A456426614174000',
             '{123e4567-e89b-12d3-a456-426614174000}', '123e4567-e89b-12d3-a456-42661417400', 'g' * 32],
    'json': ['{"a": [1, 2]}', 'null', '1e400', '{"a": }', '"\\u0000"', ' [ 1 , {"x":[]} ] ', '[1,]', '{"a":1,}', '', '01', '"a',
             '{"a" 1}', 'nul', '"\\ud800"', '[1] 2', '"\\x"', '-', '1.e5'],
    'jsonb': ['{"b": 1, "a": [1.50, null]}', '[]', '{bad}', '"x"', '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud83d"', '1e400',
              '{"a":1,"a":2}', '[' * 500 + ']' * 500, '1e200000', '[[[', 'true', 'truely', '"😀"', '"' + 'y' * 1048576 + '"'],
    'bytea': ['\\x00ff10', 'plain bytes', '\\x', ''],
    'interval': ['1 day 02:03:04', 'P1Y2M', 'a while', '1 year 2 mons 3 days 04:05:06.789', '-1 day +02:03', '1 day ago',
                 '@ 1 min 2 secs', '1.5 days', '1.5 months', '1.25 weeks', '2.6 years', '1-2', '-1-2 3 -4:05:06', '12', '1 2:03',
                 '90:00', '12:30.5', '1:2:3.000001', 'P1Y2M3DT4H5M6.5S', 'PT-1.5S', 'P0001-02-03T04:05:06', 'P1W', '1 day 1 day',
                 '3 decades', '2 centuries', '1 millennium', '5 us', '1500 ms', '', 'P', '1 fortnight', '178000000 years',
                 '-178000000 years', '200000000 years', '2147483647 days', '2147483648 days', '1y', '2h30m', '1 2', '3 hours 04:05',
                 '0', '1.', '.5 sec', '1 year 2', '0.000001 sec', '99999999999999999999 sec'],
    'inet': ['192.168.0.1/24', '::1', '300.1.1.1', '10/8', '10.1/16', '1.2.3.4/33', '1.2.3', '0.0.0.0/0', '::ffff:1.2.3.4', '2001:db8::/32',
             '2001:db8::/129', '', '255.255.255.255', '1.2.3.4/', 'fe80::1%eth0', '1.2.3.4.5', '1..2.3', ':::', '001.002.003.004'],
    'cidr': ['10', '192.168', '10.0.0.0/8', '10.0.0.1/8', '224', '192.0.2.0/24', '2001:db8::/32', '2001:db8::1/32', '240.1', '::', '10.1.2/24'],
    'macaddr': ['08:00:2b:01:02:03', '08-00-2B-01-02-03', '08002b:010203', '0800.2b01.0203', '08002b010203', '08:00:2b:01:02', '', 'x'],
    'macaddr8': ['08:00:2b:01:02:03:04:05', '08:00:2b:01:02:03', '0800.2b01.0203.0405', '08002b0102030405', 'zz'],
    'oid': ['0', '4294967295', '4294967296', 'x'],
    'integer[]': ['{1,2,NULL}', '{}', '{x}', '{{1,2},{3,4}}', '{{1,2},{3}}', '[2:4]={1,2,3}', '[2:3]={1,2,3}', '[0:1][1:2]={{1,2},{3,4}}',
                  ' { 1 , 2 } ', '{1,}', '{,1}', '{1', '1,2', '{1}}', '{1} x', '{"1","2"}', '{null}', '{{{{{{{1}}}}}}}', '{{{{{{1}}}}}}', '',
                  '{2147483648}', '{{1},2}', '{1,{2}}', '{\\1}', '[1:0]={}', '{1 2}', '{""}'],
    'text[]': ['{a,"b c",NULL,"NULL",""}', '{"q\\"uote","back\\\\slash","com,ma","br{ace"}', '{ spaced out , x }', '{a\\,b}', '{😀}',
               '{"a"b}', '{a"b"}', '{"open}', '{\\ }', '{a b}', '{nUll,\\null}', '{"' + 'z' * 1048576 + '"}'],
    'varchar(3)[]': ['{abc}', '{abcd}', '{"ab  "}'],
    'numeric(5,2)[]': ['{1.005,NaN,-999.99}', '{1000}'],
    'double precision[]': ['{1.5,-Infinity,NaN}', '{1e400}'],
    'boolean[]': ['{t,f,NULL}', '{2}'],
    'date[]': ['{2024-02-29,infinity}', '{2023-02-29}'],
    'timestamptz[]': ['{"2024-01-02 03:04:05Z"}'],
    'uuid[]': ['{123e4567-e89b-12d3-a456-426614174000}', '{nope}'],
    'jsonb[]': ['{"{\\"a\\": 1}","[1]"}', '{bad}'],
    'interval[]': ['{1 day,"2:03"}'],
    'mood': ['happy', 'sad', 'angry', '', 'Happy', 'sad '],
    'mood[]': ['{happy,NULL,sad}', '{happy,angry}'],
    'positive': ['1', '0', '-1', 'x'],
    'deep': ['1', '0', '101', '7'],
    'moods': ['{sad}', '{angry}', '{}'],
    'positive[]': ['{1,2}', '{0}', '{NULL}'],
    'zip': ['12345', '1234', '123456', '12a45'],
    'timetz': ['12:00:00+02', '24:00:00Z', '00:00:00.000001-1530', '12:00:00+16', '23:59:60+00'],
    # No binary form that we know: the whole COPY goes as text.
    'int4range': ['[1,5)', 'empty', '[5,1)'],
    'money': ['12.34', '-5', 'x'],
    'point': ['(1,2)', '1,2', 'x'],
}
TYPES = """CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN deep AS positive CHECK (VALUE < 100);
CREATE DOMAIN moods AS mood[];
CREATE DOMAIN zip AS varchar(5) CHECK (VALUE ~ '^[0-9]{5}$');"""
# What only the server can tell: whole types, and values of others.
ONLY_SERVER = {'int4range', 'money', 'point', 'positive', 'positive[]', 'deep', 'zip', 'numeric(12,2)', 'numeric(5,2)[]',
               ('jsonb', '1e200000')}


class Story(server_story.Story):
    SCHEME = 'postgresql'
    VALUES = VALUES
    PARTS = ('values', 'conflicts', 'keys', 'guilty_rows', 'tables', 'errors', 'twin', 'altered')

    @staticmethod
    def prepare(server):
        server.start().sql(TYPES)

    # ---- values

    def written_by_psql(self, kind, value):
        """What \\copy makes of it: the text that the server then prints, or None where it refuses."""
        path = os.path.join(self.folder, 'one.csv')
        with open(path, 'w', newline='', encoding='utf-8') as out:
            csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator='\n').writerow([value])
        os.chmod(path, 0o644)
        try:
            found = self.server.lines(f'CREATE TEMP TABLE one(v {kind});\n'
                                      f"\\copy one FROM '{path}' (FORMAT csv)\n"
                                      'SELECT md5(v::text) FROM one;')
            return found[-1]
        except RuntimeError:
            return None

    def compare(self, report, kind, values, table):
        ours = {int(n): text for n, text in self.server.sql(f'SELECT n, md5(v::text) FROM {table}')}
        wrong = []
        for n, value in enumerate(values):
            expected = self.written_by_psql(kind, value)
            if ours.get(n) != expected:
                wrong.append(f'{value[:40]!r}: {"loaded" if n in ours else "refused"}, psql '
                             f'{"refused" if expected is None else "wrote another" if n in ours else "loaded"}')
        # What is wrong with a value of a type that we know is said by us: it costs no second load.
        by_server = {int(n) for (n,) in self.server.sql(
            f"SELECT substring(encode(raw, 'escape') FROM '[0-9]+') FROM {table}_rejects WHERE code = 'constraint'")}
        wrong += [f'{values[n][:40]!r}: found by the server' for n in by_server if kind not in ONLY_SERVER and (kind, values[n]) not in ONLY_SERVER]
        report.case(not wrong, f'{kind}: {len(values)} values as psql writes them' + ''.join(f'; {w}' for w in wrong))

    # ---- tables and conflicts

    def conflicts(self, report):
        for policy, more, expected in (
                ('skip', '', [['1', 'a', '10'], ['2', 'b', '10'], ['3', 'C', '7']]),
                ('update', 'order_by=ts', [['1', 'a', '10'], ['2', 'B', '11'], ['3', 'C', '7']]),
                ('replace', 'last_commit_wins=true', [['1', 'A', '5'], ['2', 'B', '11'], ['3', 'D', '6']])):
            self.server.sql('DROP TABLE IF EXISTS c, c_rejects; CREATE TABLE c(id int PRIMARY KEY, name text, ts int);'
                            "INSERT INTO c VALUES (1, 'a', 10), (2, 'b', 10)")
            done = self.load_conflicts(f'on_conflict={policy}', *more.split())
            rows = self.server.sql('SELECT * FROM c ORDER BY id')
            report.case(done.returncode == 0 and rows == expected, f'on_conflict {policy}: {rows} {done.stderr[-300:] if done.returncode else ""}')

    def merge(self, report, what, table, rows, header, policy, expected, counts):
        """Rows into a table that is there; counts: inserted, updated, skipped in the ledger."""
        done = self.load(rows, header, table, *sets(*policy))
        found = self.server.sql(f'SELECT * FROM {table} ORDER BY 1, 2, 3')
        ledger = self.server.sql("SELECT inserted, updated, skipped FROM _penstock_ledger l JOIN _penstock_fence f USING (pipeline_uuid)"
                                 f" WHERE pipeline_name = 'l{self.loads}' AND state = 'L'")
        good = done.returncode == 0 and found == expected and ledger == [[str(n) for n in counts]]
        report.case(good, f'{what}: {found} counted {ledger}' + ('' if done.returncode == 0 else f' {done.stderr[-300:]}'))

    def keys(self, report):
        last = ['last_commit_wins=true']
        self.server.sql("CREATE TABLE k2(a int, b text, v text, w int, UNIQUE (a, b)); INSERT INTO k2 VALUES (1, 'x', 'old', 1)")
        self.merge(report, 'update of one column, composite key', 'k2', [[1, 'x', 'new', 2], [1, 'y', 'new', 2]], ['a', 'b', 'v', 'w'],
                   ['on_conflict=update', 'key=[a, b]', 'update=[v]', *last], [['1', 'x', 'new', '1'], ['1', 'y', 'new', '2']], (1, 1, 0))
        nulls = [['1', '', 'p', '1'], ['1', '', 'q', '2']]
        self.server.sql('CREATE TABLE kn(a int, b text, v text, w int, UNIQUE (a, b))')
        for policy in ('update', 'replace'):
            self.server.sql('TRUNCATE kn')
            self.merge(report, f'{policy}: NULL in a key is like no other', 'kn', [[1, None, 'p', 1], [1, None, 'q', 2]], ['a', 'b', 'v', 'w'],
                       [f'on_conflict={policy}', 'key=[a, b]', *last], nulls, (2, 0, 0))
        self.server.sql('CREATE TABLE ke(a int, b text, v text, w int, UNIQUE NULLS NOT DISTINCT (a, b))')
        self.merge(report, 'NULLS NOT DISTINCT: it is', 'ke', [[1, None, 'p', 1], [1, None, 'q', 2]], ['a', 'b', 'v', 'w'],
                   ['on_conflict=update', 'key=[a, b]', *last], [['1', '', 'q', '2']], (1, 1, 0))
        self.server.sql('CREATE TABLE kx(a int, b text, v text, w int, UNIQUE (a, b), UNIQUE NULLS NOT DISTINCT (v, w), UNIQUE NULLS NOT DISTINCT (a, b, v))')
        self.merge(report, 'NULLS NOT DISTINCT of other columns: it is not', 'kx', [[1, None, 'p', 1], [1, None, 'q', 2]], ['a', 'b', 'v', 'w'],
                   ['on_conflict=update', 'key=[a, b]', *last], nulls, (2, 0, 0))
        self.server.sql("CREATE TABLE kl(k text PRIMARY KEY, v text, w int); CREATE FUNCTION lower_key() RETURNS trigger LANGUAGE plpgsql AS"
                        " 'BEGIN NEW.k = lower(NEW.k); RETURN NEW; END'; CREATE TRIGGER l BEFORE INSERT ON kl FOR EACH ROW EXECUTE FUNCTION lower_key()")
        for policy in ('update', 'replace'):
            self.server.sql('TRUNCATE kl')
            self.merge(report, f'{policy}: keys that are one to the server alone', 'kl', [['a', 'p', 1], ['A', 'q', 2], ['b', 'r', 3]], ['k', 'v', 'w'],
                       [f'on_conflict={policy}', 'key=[k]', *last], [['a', 'q', '2'], ['b', 'r', '3']], (2, 1, 0))
        self.server.sql('CREATE TABLE kt(id int PRIMARY KEY, v text, ts int)')
        self.merge(report, 'order_by: of a tie the later row', 'kt', [[1, 'a', 5], [1, 'b', 5], [1, 'c', 4], [2, 'd', None], [2, 'e', 1]],
                   ['id', 'v', 'ts'], ['on_conflict=update', 'key=[id]', 'order_by=ts'], [['1', 'b', '5'], ['2', 'e', '1']], (2, 2, 1))
        self.merge(report, 'order_by: a smaller one changes nothing', 'kt', [[1, 'z', 4], [2, 'y', 1]],
                   ['id', 'v', 'ts'], ['on_conflict=update', 'key=[id]', 'order_by=ts'], [['1', 'b', '5'], ['2', 'y', '1']], (0, 1, 1))
        self.server.sql('CREATE TABLE kp(id int PRIMARY KEY, v text, w int) PARTITION BY RANGE (id);'
                        'CREATE TABLE kp1 PARTITION OF kp FOR VALUES FROM (0) TO (10); CREATE TABLE kp2 PARTITION OF kp FOR VALUES FROM (10) TO (20);'
                        "INSERT INTO kp VALUES (1, 'old', 1)")
        self.merge(report, 'update of a partitioned table', 'kp', [[1, 'new', 2], [15, 'new', 2]], ['id', 'v', 'w'],
                   ['on_conflict=update', 'key=[id]', *last], [['1', 'new', '2'], ['15', 'new', '2']], (1, 1, 0))
        self.server.sql('CREATE TABLE ki(id int, v text, w int); CREATE UNIQUE INDEX ON ki(id) WHERE w > 0')
        done = self.load([[1, 'a', 1]], ['id', 'v', 'w'], 'ki', *sets('on_conflict=update', 'key=[id]', *last))
        self.meets(report, 'a key with a partial index only', done, ['unique index over exactly destination.key'])
        self.merge(report, 'skip without a key heeds any unique index', 'ki', [[1, 'a', 1], [1, 'b', 1], [1, 'c', 0]], ['id', 'v', 'w'],
                   ['on_conflict=skip'], [['1', 'a', '1'], ['1', 'c', '0']], (2, 0, 1))
        done = self.load([[1, 'a', 1]], ['id', 'v', 'w'], 'ki', *sets('update=[nope]'))
        self.meets(report, 'a wrong list of columns', done, ['destination.update'])

    def guilty(self, report, what, table, rows, header, bad, *more):
        """Of rows whose first value is their name, exactly those in bad are refused."""
        done = self.load(rows, header, table, *more)
        kept = {line[0] for line in self.server.sql(f'SELECT {header[0]} FROM {table}')}
        rejects = int(self.server.value(f'SELECT count(DISTINCT "offset") FROM {table}_rejects'))
        missing = {str(row[0]) for row in rows} - {str(name) for name in bad} - kept
        good = done.returncode == (3 if bad else 0) and not missing and not {str(n) for n in bad} & kept and rejects == len(bad)
        report.case(good, f'{what}: {len(kept)} of {len(rows)} rows, {rejects} rejects' + ('' if good else
                    f'; missing {sorted(missing)[:9]}, ended with {done.returncode} {done.stderr[-300:]}'))

    def guilty_rows(self, report):
        self.server.sql('CREATE TABLE parent(id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(0, 4999);'
                        'CREATE TABLE g(id int UNIQUE, p int REFERENCES parent DEFERRABLE INITIALLY DEFERRED,'
                        " note text NOT NULL CHECK (note <> 'bad'))")
        rows = [[i, i % 5000, 'bad' if i in (7, 12345) else 'good'] for i in range(20000)]
        rows += [[3, 3, 'twice'], [30000, 5000, 'orphan']]
        done = self.load(rows, ['id', 'p', 'note'], 'g')
        count = self.server.value('SELECT count(*) FROM g')
        codes = self.server.sql('SELECT count(*), count(DISTINCT line) FROM g_rejects')
        report.case(done.returncode == 3 and count == '19998' and codes == [['4', '4']],
                    f'only the guilty rows are refused: {count} loaded, {codes} rejects {done.stderr[-300:] if count != "19998" else ""}')
        # Rows whose parent is a later row of the same batch, far behind, beside real orphans.
        count = 12000
        tree = [[i, count - 1 - i if i < count // 2 else None] for i in range(count)]
        orphans = (5, 3000, 9000)
        for i in orphans:
            tree[i][1] = 10 * count
        orphans += (count - 1 - 9000,)  # whose parent is one
        for when, deferral in (('at once', ''), ('deferred', ' DEFERRABLE INITIALLY DEFERRED')):
            table = 'tree_' + when.replace(' ', '_')
            self.server.sql(f'CREATE TABLE {table}(id int PRIMARY KEY, p int REFERENCES {table}{deferral}, f int CHECK (f <> 13))')
            self.guilty(report, f'a parent behind its child, checked {when}', table, [row + [0] for row in tree], ['id', 'p', 'f'], orphans)
        table = 'tree_mixed'
        self.server.sql(f'CREATE TABLE {table}(id int PRIMARY KEY, p int REFERENCES {table}, f int CHECK (f <> 13))')
        self.guilty(report, 'beside rows that a CHECK refuses', table, [row + [13 if row[0] in (4, 8000) else 0] for row in tree],
                    ['id', 'p', 'f'], (*orphans, 4, 8000, count - 1 - 8000))
        # One in ten, found through the staging table too.
        rows = [[i, 'bad' if i % 10 == 3 else 'good'] for i in range(3000)]
        bad = [row[0] for row in rows if row[1] == 'bad']
        self.server.sql("CREATE DOMAIN decent AS text CHECK (VALUE <> 'bad'); CREATE TABLE s1(id int PRIMARY KEY, v text CHECK (v <> 'bad'));"
                        'CREATE TABLE s2(id int PRIMARY KEY, v decent); CREATE TABLE s3(id int PRIMARY KEY, v text CHECK (v <> $$bad$$))')
        for table, policy in (('s1', 'skip'), ('s2', 'skip'), ('s3', 'error')):
            self.guilty(report, f'one in ten by {"a domain" if table == "s2" else "CHECK"}, on_conflict {policy}', table, rows, ['id', 'v'], bad,
                        *sets(f'on_conflict={policy}', 'key=[id]'))
        self.server.sql("""CREATE TABLE tr(id int, v text);
            CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                IF NEW.v = 'gone' THEN RETURN NULL; ELSIF NEW.v = 'bad' THEN RAISE EXCEPTION 'no % here', NEW.v; END IF; RETURN NEW; END$$;
            CREATE TRIGGER judge BEFORE INSERT ON tr FOR EACH ROW EXECUTE FUNCTION judge();
            CREATE TABLE late(id int, v text);
            CREATE CONSTRAINT TRIGGER judge AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION judge();""")
        rows = [[i, 'good'] for i in range(2000)] + [[2000, 'gone'], [2001, 'gone']]
        done = self.load(rows, ['id', 'v'], 'tr')
        ledger = self.server.sql("SELECT inserted, skipped FROM _penstock_ledger l JOIN _penstock_fence f USING (pipeline_uuid)"
                                 f" WHERE pipeline_name = 'l{self.loads}'")
        report.case(done.returncode == 0 and ledger == [['2000', '2']], f'rows that a trigger takes away are skipped: {ledger}')
        self.guilty(report, 'a trigger that raises', 'tr', [[i, 'bad' if i == 5077 else 'good'] for i in range(5000, 6000)], ['id', 'v'], [5077])
        self.guilty(report, 'a deferred trigger that raises', 'late', [[i, 'bad' if i in (77, 900) else 'good'] for i in range(1000)], ['id', 'v'], [77, 900])

    def tables(self, report):
        self.server.sql('CREATE TABLE m(a int, b int GENERATED ALWAYS AS (a + 1) STORED, c int NOT NULL,'
                        ' d int GENERATED ALWAYS AS IDENTITY)')
        done = self.load([[1, 2, 3, 4]], ['a', 'b', 'd', 'e'], 'm')
        text = done.stderr + done.stdout
        words = ['"b" is generated', '"d" is an identity', 'no column "e"', '"c" is NOT NULL']
        report.case(done.returncode == 7 and all(word in text for word in words),
                    'one error says all that is wrong with the table' + ('' if done.returncode == 7 else f': {done.returncode} {text[-500:]}'))
        done = self.load([['1', 'x']], ['we"ird', 'select'], 'public.Qu"oted')
        rows = self.server.sql('SELECT "we""ird", "select" FROM public."Qu""oted"') if done.returncode == 0 else done.stderr
        report.case(rows == [['1', 'x']], f'names are quoted: {rows}')

        self.server.sql('CREATE TABLE lists(a int[], b text[], c jsonb[])')
        done = self.load([['[1, 2, null]', '[["a"], ["b\\n,\\u00e9"]]', '["x", {"k": [1]}, null]'], ['[1, "x"]', '[]', '[]'], ['[1, 2', '[]', '[]']],
                         ['a', 'b', 'c'], 'lists')
        rows = self.server.sql('SELECT a, to_jsonb(b), to_jsonb(c) FROM lists') if done.returncode == 3 else done.stderr
        report.case(rows == [['{1,2,NULL}', '[["a"], ["b\\n,é"]]', '["x", {"k": [1]}, null]']], f'JSON arrays into arrays: {rows}')

    # ---- what people meet

    def errors(self, report):
        row = ([[1]], ['a'])
        self.meets(report, 'no database', self.load(*row, 't', url=self.server.url('nowhere')),
                   ['nowhere', 'destination.url'])
        self.meets(report, 'a password in the URL',
                   self.load(*row, 't', url=self.server.url().replace('loader@', 'loader:secret@')), ['secret in plain text'])
        self.server.sql("CREATE ROLE guarded LOGIN PASSWORD 'right'; CREATE SCHEMA guarded AUTHORIZATION guarded", user='admin')
        guarded = self.server.url(user='guarded') + '?password=${env:AIR_PASSWORD}'
        self.meets(report, 'a wrong password', self.load(*row, 'guarded.t', url=guarded, env={'AIR_PASSWORD': 'wrong'}),
                   ['password authentication failed', 'PGPASSWORD'])
        done = self.load(*row, 'guarded.t', url=guarded, env={'AIR_PASSWORD': 'right'})
        report.case(done.returncode == 0 and 'right' not in done.stdout + done.stderr,
                    f'a password by reference: {done.stderr[-200:] if done.returncode else "loaded"}')
        self.server.sql('CREATE ROLE reader LOGIN', user='admin')
        self.server.sql('CREATE TABLE locked(a int)')
        self.meets(report, 'no privilege', self.load(*row, 'locked', url=self.server.url(user='reader')),
                   ['permission denied'])
        self.meets(report, 'no schema', self.load(*row, 'nowhere.t'), ['nowhere'])

    # ---- faults

    def twin(self, report):
        """A leaf that is stopped in the middle of its transaction is ended by its batch's next life."""
        def inside():
            """The server says to an owner what its sessions do; a prepare is over when there is a ledger."""
            return self.server.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%penstock'"
                                     " AND state = 'idle in transaction' AND to_regclass('twin') IS NOT NULL") != '0'
        state, count = self.stop_twin(self.objects('twin', 1, 5000), 'dest.after_rows@1=delay:1500', inside)
        report.case(state == 'completed' and count == '5000', f'a stopped twin is ended: {state}, {count} rows')

    def altered(self, report):
        """To one of the same length."""
        self.alter_between(report, 'ALTER v TYPE real', 'count(*) FILTER (WHERE v = id)')


if __name__ == '__main__':
    sys.exit(main(__doc__, Story))
