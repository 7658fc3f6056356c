#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The SPIN models of exactly-once, exhaustively, and their mutants.

usage: run_models.py [NAME ...]
A safe model must have no error in its whole state space; a mutant (one rule of the protocol left
out) must give a counterexample, else the model proves nothing. One line each, then the sums."""
import concurrent.futures
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
    ('eo_split', '', True),
    ('eo_split', 'WEAK', True),
    ('eo_split', 'RECUT MAXGRANT=1', True),
    ('eo_split', 'LOSS MAXGRANT=1', True),
    ('eo_split', 'REACH', False),
    ('eo_split', 'UNPROVEN', False),
    ('eo_split', 'UNPROVEN_END', False),
    ('eo_split', 'WEAK RETRY_END', False),
    ('eo_split', 'RECUT NO_TOMB MAXGRANT=1', False),
    ('eo_split', 'PASS_GAP', False),
    ('eo_split', 'LOSS KEY_ONLY MAXGRANT=1', False),
    ('eo_split', 'LOSS APART MAXGRANT=1', False),
    ('eo_2pc', '', True),
    ('eo_2pc', 'NO_EPOCH_APPLY', True),  # the second line of defence: safe while the first stands
    ('eo_2pc', 'STALE_VOTE', False),
    ('eo_2pc', 'STALE_VOTE NO_EPOCH_APPLY', False),
    ('eo_2pc', 'DECIDE_VOLATILE', False),
    ('eo_2pc', 'VOTE_VOLATILE', False),
    ('eo_2pc', 'UNILATERAL', False),
    ('eo_2pc', 'REPREPARE_DECIDED', False),
    ('eo_generation', '', True),
    ('eo_generation', 'NO_LOCK', False),
    ('eo_generation', 'NO_FENCE', False),
    ('eo_generation', 'FENCE_LOWERED', False),
    ('eo_generation', 'BUMP_UNDECIDED', False),
    ('eo_generation', 'FENCED_IS_OUTCOME', False),
    ('eo_restore', '', True),
    ('eo_restore', 'RESTORES=2', True),
    ('eo_restore', 'NO_RANGE_KEY', False),
    ('eo_restore', 'CLEAN', True),
    ('eo_restore', 'CLEAN RESTORES=2', True),
    ('eo_restore', 'CLEAN NO_SEQ', False),
    ('eo_restore', 'CLEAN NO_READ', False),
    ('eo_restore', 'CLEAN NO_START_READ', False),
    ('eo_restore', 'CLEAN CLEAN_OPEN', False),
    ('eo_restore', 'CLEAN CLEAN_NO_COPY', False),
    ('eo_restore', 'CLEAN BY_TIME', False),
    ('eo_restore', 'CLEAN NO_GC_BEFORE', False),
    ('eo_raise', '', True),
    ('eo_raise', 'COUNT_ONLY', False),
    ('eo_raise', 'RAISE_OVER', False),
    ('eo_raise', 'DRAW_AGAIN', False),
    ('eo_raise', 'NO_READ', False),
    ('eo_answer', '', True),
    ('eo_answer', 'ABSENT_IS_ABORT', False),
    ('eo_answer', 'RESTORE_ANSWERS', False),
    ('eo_answer', 'ONE_SHARD', False),
    ('eo_answer', 'EPOCH_AGAIN', False),
    ('eo_answer', 'FORGET_EARLY', False),
    ('eo_answer', 'OLD_LIFE', False),
    ('eo_home', '', True),
    ('eo_home', 'HOME_VOLATILE', False),
    ('eo_home', 'MOVE_NO_TOMB', False),
    ('eo_home', 'NO_RECONCILE', False),
    ('eo_home', 'READ_ONE', False),
    ('eo_home', 'DESTROYED_LIVES', False),
    ('eo_stage', '', True),
    ('eo_stage', 'NAME_FIRST', True),  # the second line of defence: every byte is checked
    ('eo_stage', 'NO_TOMB_KEY', False),
    ('eo_stage', 'NO_VERIFY', False),
    ('eo_stage', 'NAME_FIRST NO_VERIFY', False),
    ('eo_stage', 'ANY_REV', False),
    ('eo_stage', 'DROP_UNKNOWN', False),
    ('eo_stage', 'DROP_EARLY', False),
    ('eo_replay', '', True),
    ('eo_replay', 'MARK_APART', False),
    ('eo_replay', 'NO_COUNT', False),
    ('eo_replay', 'NEW_ID', False),
    ('eo_replay', 'OLD_GENERATION', False),
    ('eo_replay', 'SAME_ID', False),
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
        made = call(['cc', '-O1', '-w', '-DSAFETY', '-DMEMLIM=3000', '-o', 'pan',
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
    runs = [run for run in RUNS if not sys.argv[1:] or run[0] in sys.argv[1:]]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for (model, defines, must_hold), (good, text) in zip(
                runs, pool.map(lambda run: check(*run), runs)):
            passed += good
            failed += not good
            what = 'model ' if must_hold else 'mutant'
            print(f'{"ok  " if good else "FAIL"} {what} {model} {defines or "(as designed)"}: '
                  f'{text}', flush=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
