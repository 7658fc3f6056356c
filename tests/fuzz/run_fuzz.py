#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every libFuzzer target over its seed corpus and then for some seconds.

usage: run_fuzz.py --build build/fuzz [--seconds 10] [TARGET ...]
New inputs go to a temporary folder; only seeds that a person chose stand in tests/fuzz/corpus."""
import argparse
import glob
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', required=True)
    parser.add_argument('--seconds', type=int, default=10)
    parser.add_argument('target', nargs='*')
    args = parser.parse_args()
    build = os.path.join(ROOT, args.build)
    targets = args.target or sorted(
        os.path.splitext(os.path.basename(path))[0][len('fuzz_'):]
        for path in glob.glob(os.path.join(ROOT, 'tests/fuzz/fuzz_*.c')))
    passed = failed = skipped = 0
    for target in targets:
        program = os.path.join(build, 'fuzz', f'fuzz_{target}')
        seeds = os.path.join(ROOT, 'tests/fuzz/corpus', target)
        if target.startswith('pg_') and not os.path.exists(program):
            print(f'fuzz {target}: skipped: this build has no PostgreSQL driver')
            skipped += 1
            continue
        if not os.path.isdir(seeds) or not os.listdir(seeds):
            print(f'fuzz {target}: no seed corpus in {seeds}')
            failed += 1
            continue
        with tempfile.TemporaryDirectory() as found:
            command = [program, found, seeds, f'-max_total_time={args.seconds}', '-rss_limit_mb=2048',
                       '-timeout=10', '-print_final_stats=1', f'-artifact_prefix={found}/']
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors='replace')
            stats = dict(line.split(': ')[-2:] for line in done.stdout.splitlines()
                         if line.startswith('stat::'))
            units = [v.strip() for k, v in stats.items() if 'number_of_executed_units' in k]
            if done.returncode == 0:
                passed += 1
                print(f'fuzz {target}: {units[0] if units else "?"} inputs, nothing found')
            else:
                failed += 1
                print(f'fuzz {target}: FAILED\n{done.stdout[-4000:]}')
                for path in glob.glob(f'{found}/crash-*') + glob.glob(f'{found}/timeout-*'):
                    with open(path, 'rb') as crash:
                        print(f'  input {os.path.basename(path)}: {crash.read(400)!r}')
    print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
