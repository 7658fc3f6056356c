#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over the product's files. usage: tidy.py [--build build/dev] [FILE ...]

The compile commands are copied without the flags that only gcc knows. Ends with `N passed, N failed`."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOMS = ('common/', 'proto/', 'spec/', 'coordinator/', 'agent/', 'cli/')
GCC_ONLY = re.compile(r' -ftrivial-auto-var-init=\S+')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--build', default='build/dev')
    parser.add_argument('file', nargs='*')
    args = parser.parse_args()
    with open(os.path.join(ROOT, args.build, 'compile_commands.json'), encoding='utf-8') as text:
        commands = json.load(text)
    for command in commands:
        command['command'] = GCC_ONLY.sub('', command['command'])
    files = sorted({os.path.relpath(c['file'], ROOT) for c in commands})
    files = [f for f in args.file or files if f.startswith(ROOMS)]
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, 'compile_commands.json'), 'w', encoding='utf-8') as text:
            json.dump(commands, text)

        def check(name):
            done = subprocess.run(['clang-tidy-14', '-p', folder, '--quiet', os.path.join(ROOT, name)],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            return name, done.returncode, done.stdout
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(check, files))
    failed = 0
    for name, status, text in results:
        if status != 0:
            failed += 1
            print(text.replace(ROOT + '/', ''))
    print(f'{len(results) - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
