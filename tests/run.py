#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The ladder: cheap families first, because a failure low explains those above.

usage: tests/run.py [--soak] [--list] [FAMILY ...]

Each family is a command whose output ends with `N passed, N failed` (`, N skipped`), or a CTest run.
Prints the seconds of each family, the reason of each skip, and one closing line with the sums.
"""
import argparse
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINE = re.compile(r'^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$', re.M)
CTEST = re.compile(r'(\d+)% tests passed, (\d+) tests? failed out of (\d+)')
CTEST_SKIPPED = re.compile(r'^\s*\d+ - (\S+) \(Skipped\)', re.M)
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


def build(preset, *defines, folder=None):
    """A command that configures and builds one preset; folder for variants of it."""
    launcher = '-DCMAKE_C_COMPILER_LAUNCHER=ccache ' if subprocess.call(
        'command -v ccache >/dev/null', shell=True) == 0 else ''
    binary = folder or f'build/{preset}'
    return (f'cmake --preset {preset} -B {binary} {launcher}{" ".join(defines)} >/dev/null && '
            f'cmake --build {binary}')


def families(f):
    """name -> (what it is, commands). Order is the ladder's."""
    ctest = 'ctest --test-dir build/{0} --output-on-failure -j2 {1}'
    scenario = 'python3 tests/scenario/{0} --build build/dev {1}'
    return {
        'lint': ('rooms, sizes, banned words, format', ['python3 tests/lint/lint.py']),
        'dev': ('unit, contract and simulation tests', [
            build('dev'), f'env PENSTOCK_SIM_SEEDS={f["sim_seeds"]} ' + ctest.format('dev', '')]),
        'asan': ('unit and contract tests under asan and ubsan', [
            build('asan'), ctest.format('asan', '-L "unit|contract"')]),
        'tsan': ('real threads under tsan', [
            build('tsan'), 'python3 tests/race/run_race.py --build build/tsan',
            f'python3 tests/race/race_daemons.py --build build/tsan '
            f'--kill-rounds {f["tsan_kill_rounds"]} --loads {f["tsan_loads"]}']),
        'model': ('the SPIN models and their mutants', ['python3 tests/model/run_models.py']),
        'differential': ('CSV and JSON against Python', [
            scenario.format(f'{kind}_differential.py', f'--files {f["differential_files"]}')
            for kind in ('csv', 'json')]),
        'cli': ('the command line as people use it', [scenario.format('cli.py', '')]),
        'same_rows': ('leaves and batch sizes give the same rows', [
            scenario.format('same_rows.py', '')]),
        'sqlite_values': ('values into SQLite columns of every type, beside the sqlite3 shell', [
            scenario.format('sqlite_values.py', '')]),
        'split': ('one large object in ranges over several leaves', [
            scenario.format('split.py', f'--large-mib {f["split_large_mib"]}'),
            scenario.format('kill.py', f'--large --rounds {f["kill_rounds_split"]}')]),
        'json_rows': ('NDJSON and JSON documents over leaves and batch sizes', [
            scenario.format('json_rows.py', '')]),
        'state_deleted': ('a deleted state folder loads nothing twice', [
            scenario.format('state_deleted.py', '')]),
        'drift': ('new fields in later objects', [
            scenario.format('drift.py', f'--dest {dest} --rounds {f["drift_kill_rounds"]}')
            for dest in ('sqlite', 'postgresql')]),
        'reconcile': ('old copies of catalog and destination are put back', [
            scenario.format('reconcile.py', f'--dest {dest}') for dest in ('sqlite', 'postgresql')]),
        'failpoints': ('each crash point is hit, as a crash, an error and a delay', [
            build('release'),
            scenario.format('failpoints.py', f'--release build/release '
                            f'--hits {f["failpoint_hits"]} --twice {f["failpoint_twice"]} '
                            f'--pairs {f["failpoint_pairs"]}'),
            *(scenario.format('failpoints.py', f'--dest {dest} --hits {f["failpoint_hits"]}')
              for dest in ('postgresql', 'mysql'))]),
        'disk_full': ('a full disk below state, staging and destination', [
            scenario.format('disk_full.py', f'--rounds {f["disk_full_rounds"]}')]),
        'syscalls': ('system calls that fail below stage, catalog, destination and source', [
            scenario.format('syscalls.py', f'--cases {f["syscall_cases"]}')]),
        'clocks': ('wall clocks that are wrong', [scenario.format('clocks.py', '')]),
        'memory': ('peak memory of every process', [
            scenario.format('memory.py', f'--gzip-mib {f["memory_gzip_mib"]} '
                            f'--objects {f["memory_objects"]} --seconds {f["memory_seconds"]}')]),
        'allocations': ('allocations that are refused in mid-load', [
            scenario.format('allocations.py', f'--samples {f["allocation_samples"]}')]),
        'compat': ('what older versions left behind is understood', [
            scenario.format('compat.py', '')]),
        'pause': ('SIGSTOP of leaf, agent and turn holder; coordinator away', [
            scenario.format('sigstop.py', f'--rounds {f["pause_rounds"]} '
                            f'--down-seconds {f["coordinator_down_seconds"]}')]),
        'kill': ('kill -9 at random moments', [
            scenario.format('kill.py', f'--rounds {f["kill_rounds_sqlite"]}')]),
        'http': ('loads over HTTP: the same rows whatever the server does; kill -9', [
            scenario.format('over_http.py', ''),
            scenario.format('kill.py', f'--http --rounds {f["http_kill_rounds"]}')]),
        'postgres': ('PostgreSQL as a destination: values, conflicts, errors, faults, kill -9', [
            scenario.format('postgres.py', ''),
            scenario.format('postgres_connect.py', ''),
            scenario.format('kill.py', f'--dest postgresql --rounds {f["kill_rounds_postgres"]}')]),
        'mysql': ('MariaDB as a destination: values, conflicts, errors, faults, kill -9', [
            scenario.format('mysql.py', ''),
            scenario.format('kill.py', f'--dest mysql --rounds {f["kill_rounds_mariadb"]}')]),
        'server_gone': ('the database server is away while leaves load and are killed', [
            scenario.format('kill.py', f'--dest {dest} --rounds {f["server_gone_rounds"]} '
                            f'--gone-seconds {f["server_gone_seconds"]}')
            for dest in ('postgresql', 'mysql')]),
        'link_cuts': ('the line to a database server is cut at chosen bytes of a transaction', [
            scenario.format(*run) for dest in ('postgresql', 'mysql') for run in (
                ('link_cuts.py', f'--dest {dest} --samples {f["link_cut_samples"]}'),
                ('dead_line.py', f'--dest {dest}'))]),
        'replay': ('rejects replayed: edited, read otherwise, by many at once, kill -9', [
            scenario.format('replay.py', f'--kills {f["replay_kills"]}')]),
        'staging': ('the destination is away: staged on disk, killed, drained exactly once', [
            scenario.format('staging.py', f'--rounds {f["staging_rounds"]}')]),
        'kill_asan': ('the same under asan', [
            f'python3 tests/scenario/kill.py --build build/asan --rounds {f["asan_kill_rounds"]}']),
        'mutants': ('broken builds are caught', [
            build('dev', '-DPENSTOCK_TESTS=OFF', f'-DPENSTOCK_MUTANT={m}',
                  folder=f'build/mutant-{m}')
            for m in ('no_ledger', 'no_fence', 'ack_early')] + [
                f'python3 tests/scenario/kill.py --mutants --rounds {f["kill_rounds_mutant"]}']),
        'fuzz': ('every byte from outside', [
            build('fuzz'),
            f'python3 tests/fuzz/run_fuzz.py --build build/fuzz --seconds {f["fuzz_seconds"]}']),
        'bench': ('the benches run and give equal rows; no gate', [
            build('release'),
            f'python3 tests/bench/bench.py --build build/release --no-gate '
            f'--objects {f["bench_objects"]} --rounds {f["bench_rounds"]}']),
    }


def run(command):
    """Runs one command, showing its output as it comes. Returns (exit status, text)."""
    child = subprocess.Popen(command, shell=True, cwd=ROOT, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors='replace')
    text = []
    quiet = command.startswith('cmake ')
    for line in child.stdout:
        text.append(line)
        if not quiet:
            sys.stdout.write('    ' + line)
            sys.stdout.flush()
    child.wait()
    whole = ''.join(text)
    if command.startswith('ctest ') or ' ctest ' in command:
        for line in why_skipped(command):
            print(f'    skipped: {line}')
    if quiet and child.returncode != 0:
        print(whole[-6000:])
    return child.returncode, whole


def why_skipped(command):
    """CTest shows nothing of a test that was skipped but in its own log."""
    folder = re.search(r'--test-dir (\S+)', command).group(1)
    try:
        with open(os.path.join(ROOT, folder, 'Testing/Temporary/LastTest.log'), encoding='utf-8',
                  errors='replace') as log:
            return sorted(set(WHY_SKIPPED.findall(log.read())))
    except OSError:
        return []


def count(status, text, command):
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
    return (0, 0, 0) if status == 0 and command.startswith('cmake ') else (0, 1, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--soak', action='store_true', help='the second column of tests/ladder.conf')
    parser.add_argument('--list', action='store_true', help='print the families and stop')
    parser.add_argument('family', nargs='*')
    args = parser.parse_args()
    rungs = families(ladder(args.soak))
    if args.list:
        for name, (what, _) in rungs.items():
            print(f'{name:14} {what}')
        return 0
    unknown = [name for name in args.family if name not in rungs]
    if unknown:
        print(f'unknown family {", ".join(unknown)}; there are: {", ".join(rungs)}')
        return 2
    total = [0, 0, 0]
    report = []
    for name in args.family or rungs:
        what, commands = rungs[name]
        print(f'== {name}: {what}', flush=True)
        began = time.monotonic()
        sums = [0, 0, 0]
        for command in commands:
            status, text = run(command)
            sums = [a + b for a, b in zip(sums, count(status, text, command))]
            if status != 0 and command.startswith('cmake '):
                break
        total = [a + b for a, b in zip(total, sums)]
        report.append(f'{name:14} {sums[0]:5} passed {sums[1]:3} failed {sums[2]:3} skipped '
                      f'{time.monotonic() - began:7.0f} s')
        print(f'   {report[-1]}', flush=True)
    print('\n' + '\n'.join(report))
    print(f'{total[0]} passed, {total[1]} failed' + (f', {total[2]} skipped' if total[2] else ''))
    return 1 if total[1] else 0


if __name__ == '__main__':
    sys.exit(main())
