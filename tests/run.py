#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The ladder: a failure low explains those above.

usage: tests/run.py [--soak] [--list] [--jobs N] [FAMILY ...]

Each family is a command whose output ends with `N passed, N failed` (`, N skipped`), or a CTest run.
Most of them wait more than they compute, so several run at a time (--jobs, one more than there are
cores) while one more lane builds what the later ones need. What a family prints is shown as it comes
where one runs at a time, else whole when it ends; a line each minute says which ones are running.
Prints the seconds of each family, the reason of each skip, and one closing line with the sums.
"""
import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINE = re.compile(r'^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$', re.M)
CTEST = re.compile(r'(\d+)% tests passed, (\d+) tests? failed out of (\d+)')
CTEST_SKIPPED = re.compile(r'^\s*\d+ - (\S+) \(Skipped\)', re.M)
# Builds that differ in a few files share the objects of all others.
os.environ.update(CCACHE_BASEDIR=ROOT, CCACHE_NOHASHDIR='1')
LIMIT, SOAK_LIMIT = 1500, 6 * 3600  # seconds of one command: more is a failure
WHY_SKIPPED = re.compile(r'no server of \w+: [^\n]*')


def ladder(soak):
    """tests/ladder.conf as a dict of name -> figure."""
    figures = {}
    with open(os.path.join(ROOT, 'tests/ladder.conf'), encoding='utf-8') as conf:
        for line in conf:
            words = line.split('#')[0].split()
            if words:
                figures[words[0]] = int(words[2 if soak else 1])
    return figures


def build_command(name):
    """Configures and builds a preset into build/NAME; mutant-M is dev without tests, broken by M."""
    preset, defines = name, ''
    if name.startswith('mutant-'):
        preset, defines = 'dev', f'-DPENSTOCK_TESTS=OFF -DPENSTOCK_MUTANT={name[len("mutant-"):]}'
    launcher = '-DCMAKE_C_COMPILER_LAUNCHER=ccache ' if subprocess.call(
        'command -v ccache >/dev/null', shell=True) == 0 else ''
    return (f'cmake --preset {preset} -B build/{name} {launcher}{defines} >/dev/null && '
            f'cmake --build build/{name}')


MUTANTS = ('no_ledger', 'no_fence', 'ack_early')
SERVERS = ('postgresql', 'mysql')


def families(f):
    """name -> (what it is, builds it needs, commands). They start in this order: cheap ones that
    explain the others first, then the longest, or a lane would have one left when all are done."""
    ctest = 'ctest --test-dir build/{0} --output-on-failure -j2 {1}'

    def scenarios(what, *runs, builds=()):
        return (what, ('dev', *builds), [
            f'python3 tests/scenario/{program}.py --build build/dev {arguments}'
            for program, arguments in runs])
    return {
        'lint': ('rooms, sizes, banned words, format', (), ['python3 tests/lint/lint.py']),
        'model': ('the SPIN models and their mutants', (), ['python3 tests/model/run_models.py']),
        'dev': ('unit, contract and simulation tests', ('dev',), [
            f'env PENSTOCK_SIM_SEEDS={f["sim_seeds"]} ' + ctest.format('dev', '')]),
        'memory': scenarios(
            'peak memory of every process',
            ('memory', f'--gzip-mib {f["memory_gzip_mib"]} --objects {f["memory_objects"]} '
             f'--seconds {f["memory_seconds"]}')),
        'failpoints': scenarios(
            'each crash point is hit, as a crash, an error and a delay',
            ('failpoints', f'--release build/release --hits {f["failpoint_hits"]} '
             f'--twice {f["failpoint_twice"]} --pairs {f["failpoint_pairs"]}'),
            *(('failpoints', f'--dest {dest} --hits {f["failpoint_hits"]}') for dest in SERVERS),
            builds=('release',)),
        'asan': ('unit and contract tests under asan and ubsan', ('asan',), [
            ctest.format('asan', '-L "unit|contract"')]),
        'tsan': ('real threads under tsan', ('tsan',), [
            'python3 tests/race/run_race.py --build build/tsan',
            f'python3 tests/race/race_daemons.py --build build/tsan '
            f'--kill-rounds {f["tsan_kill_rounds"]} --loads {f["tsan_loads"]}']),
        'fuzz': ('every byte from outside', ('fuzz',), [
            f'python3 tests/fuzz/run_fuzz.py --build build/fuzz --seconds {f["fuzz_seconds"]}']),
        'mutants': ('broken builds are caught', tuple(f'mutant-{m}' for m in MUTANTS), [
            f'python3 tests/scenario/kill.py --mutants --rounds {f["kill_rounds_mutant"]}']),
        'kill': scenarios('kill -9 at random moments',
                          ('kill', f'--rounds {f["kill_rounds_sqlite"]}')),
        'kill_asan': ('the same under asan', ('asan',), [
            f'python3 tests/scenario/kill.py --build build/asan --rounds {f["asan_kill_rounds"]}']),
        'http': scenarios(
            'loads over HTTP: the same rows whatever the server does; kill -9',
            ('over_http', ''), ('kill', f'--http --rounds {f["http_kill_rounds"]}')),
        'postgres': scenarios(
            'PostgreSQL as a destination: values, conflicts, errors, faults, kill -9',
            ('postgres', ''), ('postgres_connect', ''),
            ('kill', f'--dest postgresql --rounds {f["kill_rounds_postgres"]}')),
        'mysql': scenarios(
            'MariaDB as a destination: values, conflicts, errors, faults, kill -9',
            ('mysql', ''), ('kill', f'--dest mysql --rounds {f["kill_rounds_mariadb"]}')),
        'server_gone': scenarios(
            'the database server is away while leaves load and are killed',
            *(('kill', f'--dest {dest} --rounds {f["server_gone_rounds"]} '
               f'--gone-seconds {f["server_gone_seconds"]}') for dest in SERVERS)),
        'link_cuts': scenarios(
            'the line to a database server is cut at chosen bytes of a transaction',
            *(run for dest in SERVERS for run in (
                ('link_cuts', f'--dest {dest} --samples {f["link_cut_samples"]}'),
                ('dead_line', f'--dest {dest}')))),
        'replay': scenarios(
            'rejects replayed: edited, read otherwise, by many at once, kill -9',
            ('replay', f'--kills {f["replay_kills"]}')),
        'staging': scenarios(
            'the destination is away: staged on disk, killed, drained exactly once',
            ('staging', f'--rounds {f["staging_rounds"]}')),
        'split': scenarios(
            'one large object in ranges over several leaves',
            ('split', f'--large-mib {f["split_large_mib"]}'),
            ('kill', f'--large --rounds {f["kill_rounds_split"]}')),
        'drift': scenarios(
            'new fields in later objects',
            *(('drift', f'--dest {dest} --rounds {f["drift_kill_rounds"]}')
              for dest in ('sqlite', *SERVERS))),
        'reconcile': scenarios(
            'old copies of catalog and destination are put back',
            *(('reconcile', f'--dest {dest}') for dest in ('sqlite', *SERVERS))),
        'pause': scenarios(
            'SIGSTOP of leaf, agent and turn holder; coordinator away',
            ('sigstop', f'--rounds {f["pause_rounds"]} '
             f'--down-seconds {f["coordinator_down_seconds"]}')),
        'disk_full': scenarios('a full disk below state, staging and destination',
                               ('disk_full', f'--rounds {f["disk_full_rounds"]}')),
        'syscalls': scenarios('system calls that fail below stage, catalog, destination and source',
                              ('syscalls', f'--cases {f["syscall_cases"]}')),
        'clocks': scenarios('wall clocks that are wrong', ('clocks', '')),
        'allocations': scenarios('allocations that are refused in mid-load',
                                 ('allocations', f'--samples {f["allocation_samples"]}')),
        'compat': scenarios('what older versions left behind is understood', ('compat', '')),
        'differential': scenarios(
            'CSV and JSON against Python',
            *((f'{kind}_differential', f'--files {f["differential_files"]}')
              for kind in ('csv', 'json'))),
        'cli': scenarios('the command line as people use it', ('cli', '')),
        'same_rows': scenarios('leaves and batch sizes give the same rows', ('same_rows', '')),
        'sqlite_values': scenarios(
            'values into SQLite columns of every type, beside the sqlite3 shell',
            ('sqlite_values', '')),
        'json_rows': scenarios('NDJSON and JSON documents over leaves and batch sizes',
                               ('json_rows', '')),
        'state_deleted': scenarios('a deleted state folder loads nothing twice',
                                   ('state_deleted', '')),
        'bench': ('the benches run and give equal rows; no gate', ('release',), [
            f'python3 tests/bench/bench.py --build build/release --no-gate '
            f'--objects {f["bench_objects"]} --rounds {f["bench_rounds"]}']),
    }


class Builds:
    """The lane that builds, one folder after the other with all cores, while others run."""

    def __init__(self, names):
        self.names = names
        self.status = {}       # name -> True or the text of what went wrong
        self.changed = threading.Condition()

    def run(self):
        for name in self.names:
            began = time.monotonic()
            child = subprocess.run(build_command(name), shell=True, cwd=ROOT, check=False,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors='replace')
            with self.changed:
                self.status[name] = child.returncode == 0 or child.stdout[-6000:]
                self.changed.notify_all()
            say(f'-- built {name} in {time.monotonic() - began:.0f} s'
                if child.returncode == 0 else f'-- {name} does not build')

    def ready(self, names):
        return all(name in self.status for name in names)

    def broken(self, names):
        """What the first of the names that did not build printed, or None."""
        return next((f'{name} does not build:\n{self.status[name]}' for name in names
                     if self.status[name] is not True), None)


def say(text):
    """A line, whole even where several lanes print."""
    with OUTPUT:
        sys.stdout.write(text + '\n')
        sys.stdout.flush()


OUTPUT = threading.Lock()
CHILDREN = set()


def stop(child):
    """Ends a command and what it started; it may end its own servers first."""
    for number, seconds in ((signal.SIGINT, 20), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, number)
            child.wait(seconds)


def run(command, limit, shown):
    """Runs one command for at most limit seconds; shown(line) has each line as it comes.
    Returns (exit status, text)."""
    child = subprocess.Popen(command, shell=True, cwd=ROOT, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors='replace', start_new_session=True)
    CHILDREN.add(child)
    late = threading.Event()
    timer = threading.Timer(limit, lambda: (late.set(), stop(child)))
    timer.start()
    text = []
    for line in child.stdout:
        text.append(line)
        shown('    ' + line.rstrip('\n'))
    child.wait()
    timer.cancel()
    CHILDREN.discard(child)
    if late.is_set():
        shown(f'    FAILED: not ended after {limit} s: {command}')
        return 1, ''
    if command.startswith('ctest ') or ' ctest ' in command:
        for line in why_skipped(command):
            shown(f'    skipped: {line}')
    return child.returncode, ''.join(text)


def why_skipped(command):
    """CTest shows nothing of a test that was skipped but in its own log."""
    folder = re.search(r'--test-dir (\S+)', command).group(1)
    try:
        with open(os.path.join(ROOT, folder, 'Testing/Temporary/LastTest.log'), encoding='utf-8',
                  errors='replace') as log:
            return sorted(set(WHY_SKIPPED.findall(log.read())))
    except OSError:
        return []


def count(status, text):
    """(passed, failed, skipped) of one command's output."""
    found = LINE.findall(text)
    if found:
        passed, failed, skipped = found[-1]
        failed = int(failed)
        return int(passed), failed + (1 if status != 0 and failed == 0 else 0), int(skipped or 0)
    ctest = CTEST.search(text)
    if ctest:
        failed = int(ctest.group(2))
        skipped = len(CTEST_SKIPPED.findall(text))
        return int(ctest.group(3)) - failed - skipped, failed, skipped
    return 0, 1, 0


class Ladder:
    """Families in lanes: each lane takes the first one whose builds are there."""

    def __init__(self, rungs, names, jobs, limit):
        self.rungs, self.waiting, self.jobs, self.limit = rungs, list(names), jobs, limit
        needed = dict.fromkeys(build for name in names for build in rungs[name][1])
        self.builds = Builds(list(needed))
        self.running = {}      # name -> when it began
        self.report = {}       # name -> (passed, failed, skipped, seconds)

    def take(self):
        """The next family, or None when none is left; waits for a build."""
        with self.builds.changed:
            while self.waiting:
                for name in self.waiting:
                    if self.builds.ready(self.rungs[name][1]):
                        self.waiting.remove(name)
                        self.running[name] = time.monotonic()
                        return name
                self.builds.changed.wait()
        return None

    def lane(self):
        while (name := self.take()) is not None:
            held = []
            title = f'== {name}: {self.rungs[name][0]}'
            if self.jobs == 1:
                say(title)
            else:
                held.append(title)
            sums = self.family(name, say if self.jobs == 1 else held.append)
            with self.builds.changed:
                seconds = time.monotonic() - self.running.pop(name)
                self.report[name] = (*sums, seconds)
            held.append('   ' + self.line(name))
            say('\n'.join(held))

    def family(self, name, shown):
        _, builds, commands = self.rungs[name]
        broken = self.builds.broken(builds)
        if broken:
            shown(broken)
            return 0, 1, 0
        sums = (0, 0, 0)
        for command in commands:
            status, text = run(command, self.limit, shown)
            sums = tuple(a + b for a, b in zip(sums, count(status, text)))
        return sums

    def line(self, name):
        passed, failed, skipped, seconds = self.report[name]
        return (f'{name:14} {passed:5} passed {failed:3} failed {skipped:3} skipped '
                f'{seconds:7.0f} s')

    def run(self):
        began = time.monotonic()
        builder = threading.Thread(target=self.builds.run, daemon=True)
        lanes = [threading.Thread(target=self.lane, daemon=True) for _ in range(self.jobs)]
        for thread in (builder, *lanes):
            thread.start()
        said = began
        for thread in lanes:
            while thread.is_alive():
                thread.join(1)
                if time.monotonic() - said >= 60 and self.jobs > 1:
                    said = time.monotonic()
                    with self.builds.changed:
                        now = ', '.join(f'{name} {said - since:.0f} s'
                                        for name, since in self.running.items())
                        waiting = len(self.waiting)
                    say(f'-- {said - began:.0f} s: {now or "building"}; {waiting} wait')
        builder.join()
        return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--soak', action='store_true', help='the second column of tests/ladder.conf')
    parser.add_argument('--list', action='store_true', help='print the families and stop')
    parser.add_argument('--jobs', type=int, default=(os.cpu_count() or 2) + 1,
                        help='families at a time (default: one more than there are cores)')
    parser.add_argument('family', nargs='*')
    args = parser.parse_args()
    rungs = families(ladder(args.soak))
    if args.list:
        for name, (what, _, _) in rungs.items():
            print(f'{name:14} {what}')
        return 0
    unknown = [name for name in args.family if name not in rungs]
    if unknown:
        print(f'unknown family {", ".join(unknown)}; there are: {", ".join(rungs)}')
        return 2
    names = list(dict.fromkeys(args.family or rungs))
    whole = Ladder(rungs, names, max(1, min(args.jobs, len(names))),
                   SOAK_LIMIT if args.soak else LIMIT)
    try:
        seconds = whole.run()
    finally:
        for child in list(CHILDREN):
            stop(child)
    print('\n' + '\n'.join(whole.line(name) for name in names))
    print(f'{seconds:.0f} s in all, {whole.jobs} families at a time')
    total = [sum(column) for column in list(zip(*whole.report.values()))[:3]]
    print(f'{total[0]} passed, {total[1]} failed' + (f', {total[2]} skipped' if total[2] else ''))
    return 1 if total[1] else 0


if __name__ == '__main__':
    sys.exit(main())
