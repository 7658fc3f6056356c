#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The SPIN models of exactly-once (design 3.2 and 3.3), exhaustively, and their mutants.

usage: run_models.py [NAME ...]
A safe model must have no error in its whole state space; a mutant (one rule of the protocol left
out) must give a counterexample, else the model proves nothing. One line each, then the sums."""
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEPTH = 5000000

# (model, defines, must hold)
RUNS = [
    ('eo_ledger', '', True),
    ('eo_ledger', 'NBP=2 MAXGRANT=1', True),
    ('eo_ledger', 'READ_PROBE', True),
    ('eo_ledger', 'STALE_FAIL', True),
    ('eo_ledger', 'NO_LEDGER', False),
    ('eo_ledger', 'NO_TOMB', False),
    ('eo_ledger', 'ACK_EARLY', False),
    ('eo_ledger', 'HIGH_WATER NBP=2 MAXGRANT=1', False),
    ('eo_2pc', '', True),
    ('eo_2pc', 'NO_EPOCH_APPLY', True),  # the second line of defence: safe while the first stands
    ('eo_2pc', 'STALE_VOTE', False),
    ('eo_2pc', 'STALE_VOTE NO_EPOCH_APPLY', False),
    ('eo_2pc', 'DECIDE_VOLATILE', False),
    ('eo_2pc', 'VOTE_VOLATILE', False),
    ('eo_2pc', 'UNILATERAL', False),
    ('eo_2pc', 'REPREPARE_DECIDED', False),
]


def call(command, folder):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, errors='replace', timeout=900)


def check(model, defines, must_hold):
    """(did it end as it must, what to print)"""
    with tempfile.TemporaryDirectory() as folder:
        flags = [f'-D{name}' for name in defines.split()]
        made = call(['spin', *flags, '-a', os.path.join(HERE, model + '.pml')], folder)
        if made.returncode != 0:
            return False, made.stdout.strip()
        made = call(['cc', '-O2', '-w', '-DSAFETY', '-DCOLLAPSE', '-DMEMLIM=3000', '-o', 'pan',
                     'pan.c'], folder)
        if made.returncode != 0:
            return False, made.stdout[-500:]
        began = time.monotonic()
        text = call(['./pan', f'-m{DEPTH}', '-n'], folder).stdout
        seconds = time.monotonic() - began
    errors = re.search(r'errors: (\d+)', text)
    states = re.search(r'^\s*([\d.e+]+) states, stored', text, re.M)
    cut = 'error: max search depth' in text or 'out of memory' in text
    if errors is None or states is None:
        return False, text[-500:]
    refuted = int(errors.group(1)) > 0
    if not refuted and cut:
        return False, 'the state space was not searched whole'
    verdict = 'refuted' if refuted else 'verified'
    return refuted != must_hold, f'{verdict}, {float(states.group(1)):.0f} states, {seconds:.1f} s'


def main():
    passed = failed = 0
    for model, defines, must_hold in RUNS:
        if sys.argv[1:] and model not in sys.argv[1:]:
            continue
        good, text = check(model, defines, must_hold)
        passed += good
        failed += not good
        what = 'model ' if must_hold else 'mutant'
        print(f'{"ok  " if good else "FAIL"} {what} {model} {defines or "(as designed)"}: {text}',
              flush=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
