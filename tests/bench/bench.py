#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The speed gates: ratios against named peers on the same data in the same run.

usage: bench.py --build build/release [--objects N] [--rounds 5] [--no-gate] [NAME ...]

A case is a function in cases/*.py; --list shows them. Our figure is from exec to exit of `penstock
load` with a fresh state: coordinator and agent start included. Every round's result is compared with
the peers': same count, same sums. --no-gate: equal results only, no figure is judged."""
import argparse
import importlib
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from datasets import Data  # noqa: E402
from harness import BUILD, CASES, ROOT, Bench, Skip  # noqa: E402


def load_cases():
    for name in sorted(os.listdir(os.path.join(HERE, 'cases'))):
        if name.endswith('.py'):
            importlib.import_module('cases.' + name[:-3])


def main():
    load_cases()
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/release')
    parser.add_argument('--objects', type=int, help='at most so many objects of 16 MiB a case')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--leaves', type=int, default=2)
    parser.add_argument('--no-gate', action='store_true', help='equal results, nothing is judged')
    parser.add_argument('--folder', help='where databases are made (default: a temporary folder)')
    parser.add_argument('--data', help='keep the generated inputs here for the next run')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('name', nargs='*', help='cases (default: all)')
    args = parser.parse_args()
    if args.list:
        for case in CASES.values():
            print(f'{case.name:20} {case.what}')
        return 0
    BUILD[0] = os.path.join(ROOT, args.build)
    unknown = [name for name in args.name if name not in CASES]
    if unknown:
        parser.error(f'no case {", ".join(unknown)}; there are {", ".join(CASES)}')
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(prefix='penstock-bench-', dir=args.folder) as folder:
        if args.data:
            os.makedirs(args.data, exist_ok=True)
        data = Data(os.path.abspath(args.data or folder),
                    os.path.join(BUILD[0], 'bench/bench_gen'))
        for name in args.name or CASES:
            bench = Bench(args, CASES[name], folder, data)
            try:
                CASES[name].run(bench)
                passed += bench.good
                failed += not bench.good
            except Skip as why:
                skipped += 1
                print(f'{name}: skipped: {why}')
            sys.stdout.flush()
    print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
