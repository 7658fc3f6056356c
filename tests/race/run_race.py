#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every race_* program of a tsan build. usage: run_race.py --build build/tsan"""
import argparse
import glob
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--build', required=True)
    args = parser.parse_args()
    passed = failed = 0
    for source in sorted(glob.glob(os.path.join(ROOT, 'tests/race/race_*.c'))):
        name = os.path.splitext(os.path.basename(source))[0]
        # setarch -R: some kernels randomise more address bits than gcc 12's runtime expects.
        done = subprocess.run(['setarch', '-R', os.path.join(ROOT, args.build, 'race', name)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        good = done.returncode == 0 and 'ThreadSanitizer' not in done.stdout
        print(f'{name}: {"no race" if good else "FAILED" + chr(10) + done.stdout[-5000:]}')
        passed, failed = passed + good, failed + (not good)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
