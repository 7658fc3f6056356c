/* SPDX-License-Identifier: Apache-2.0 */
/* Exactly-once load into ONE transactional destination.
 * Durable: coordinator rows (k_*), destination rows (d_*).  Volatile: agents, leases, messages.
 * The destination executes a submitted transaction at any later time, even after the
 * client gave up on it (commit outcome unknown).  Messages may be lost or duplicated.
 * Mutants that must produce a counterexample: -DNO_LEDGER -DNO_TOMB -DACK_EARLY, and
 *   -DHIGH_WATER -DNBP=2 -DMAXGRANT=1.  -DREAD_PROBE and -DSTALE_FAIL stay safe: with
 *   tombstones a wrong FAILED report costs a retry, never a row.
 * Exhaustive runs: defaults (3 grants of 1 bp) and -DNBP=2 -DMAXGRANT=1 (2 bps). */
#ifndef NAG
#define NAG 2
#endif
#ifndef NBP
#define NBP 1              /* batch partitions of one source partition, in order: 1 or 2 */
#endif
#ifndef MAXGRANT
#define MAXGRANT 3         /* leases granted per batch partition */
#endif

mtype = { QUEUED, LEASED, CANCELLING, CANCELLED, DONE };   /* coordinator states */
mtype = { NONE, LOADED, TOMB };                            /* destination ledger  */

mtype k_state[2] = QUEUED;
byte  k_epoch[2];        /* bumped durably before every grant */
byte  k_cursor;            /* durable: everything below it is terminal */
bool  k_up = true;
byte  crashes;

mtype d_ledger[2] = NONE;
byte  d_rows[2];         /* how many copies of the batch partition's rows */

/* transactions submitted to the destination: [bp] in flight, executed or lost later */
byte  tx_load[2];
byte  tx_tomb[2];
/* reports to the coordinator, sticky = may be delivered any number of times or never */
bool  m_done[2];
byte  m_fail[2];         /* epoch+1 of a FAILED report, 0 = none */

inline apply_load(b) {
  atomic {
    tx_load[b]--;
    if
#ifdef NO_LEDGER
    :: d_rows[b]++
#else
    :: d_ledger[b] == NONE -> d_ledger[b] = LOADED; d_rows[b]++
    :: else -> skip
#endif
    fi;
    assert(d_rows[b] <= 1);                                  /* I1  no duplicate        */
    assert(!(d_rows[b] > 0 && k_state[b] == CANCELLED));     /* I6  no zombie after cancel */
  }
}

active [NAG] proctype Agent() {
  byte b, ep, tries;
end_idle:
  b = 0; ep = 0; tries = 0;
  do
  :: atomic { k_up && k_state[0] == QUEUED && k_epoch[0] < MAXGRANT ->
       k_epoch[0]++; k_state[0] = LEASED; b = 0; ep = k_epoch[0] } -> goto work
#if NBP > 1
  :: atomic { k_up && k_state[1] == QUEUED && k_epoch[1] < MAXGRANT ->
       k_epoch[1]++; k_state[1] = LEASED; b = 1; ep = k_epoch[1] } -> goto work
#endif
  od;
work:
  tries = 0;
#ifdef ACK_EARLY
  m_done[b] = true;                       /* reports before the destination has committed */
#endif
submit:
  atomic { tx_load[b] < 2 -> tx_load[b]++ };
  if
  :: /* reply seen: LOADED or ALREADY */
     d_ledger[b] == LOADED -> atomic { m_done[b] = true; goto end_idle }
  :: d_ledger[b] == TOMB -> goto end_idle
#ifdef READ_PROBE
  :: /* connection lost; client reads the ledger, sees nothing, concludes "not committed" */
     d_ledger[b] == NONE -> atomic { m_fail[b] = ep + 1; goto end_idle }
#else
  :: /* connection lost, outcome unknown: may only retry the same write, or give up silently */
     tries < 1 -> tries++; goto submit
#endif
  :: tries = 0; goto end_idle             /* agent crash / SIGKILL */
  :: d_ledger[b] == NONE && tx_load[b] == 0 -> /* definite data error before commit */
     atomic { m_fail[b] = ep + 1; goto end_idle }
  fi
}

active proctype Destination() {
end_d:
  do
  :: tx_load[0] > 0 -> apply_load(0)
  :: tx_load[1] > 0 -> apply_load(1)
  :: atomic { tx_load[0] > 0 -> tx_load[0]-- }     /* transaction lost before commit */
  :: atomic { tx_load[1] > 0 -> tx_load[1]-- }
  :: atomic { tx_tomb[0] > 0 -> tx_tomb[0]--; if :: d_ledger[0] == NONE -> d_ledger[0] = TOMB :: else fi }
  :: atomic { tx_tomb[1] > 0 -> tx_tomb[1]--; if :: d_ledger[1] == NONE -> d_ledger[1] = TOMB :: else fi }
  od
}

#ifdef STALE_FAIL
#define FRESH(b) true
#else
#define FRESH(b) (m_fail[b] == k_epoch[b] + 1)
#endif
inline coord(b) {
  if
  :: /* DONE from whatever epoch: a committed ledger row is a stable fact */
     atomic { m_done[b] && (k_state[b] == LEASED || k_state[b] == QUEUED || k_state[b] == CANCELLING) ->
       k_state[b] = DONE; assert(d_rows[b] == 1) }                   /* I2 */
  :: /* FAILED counts only for the current epoch */
     atomic { m_fail[b] > 0 && k_state[b] == LEASED && FRESH(b) -> m_fail[b] = 0;
       if :: k_epoch[b] < MAXGRANT -> k_state[b] = QUEUED
          :: else -> k_state[b] = CANCELLING fi }
  :: /* lease expiry, at any moment */
     atomic { k_state[b] == LEASED -> if :: k_epoch[b] < MAXGRANT -> k_state[b] = QUEUED
                                         :: else -> k_state[b] = CANCELLING fi }
  :: /* operator skips the partition */
     atomic { k_state[b] == QUEUED -> k_state[b] = CANCELLING }
#ifdef NO_TOMB
  :: atomic { k_state[b] == CANCELLING ->
       if :: d_ledger[b] == LOADED -> k_state[b] = DONE
          :: else -> k_state[b] = CANCELLED fi }
#else
  :: atomic { k_state[b] == CANCELLING && d_ledger[b] == NONE && tx_tomb[b] == 0 -> tx_tomb[b]++ }
  :: atomic { k_state[b] == CANCELLING && d_ledger[b] == TOMB   -> k_state[b] = CANCELLED }
  :: atomic { k_state[b] == CANCELLING && d_ledger[b] == LOADED -> k_state[b] = DONE }
#endif
#ifdef HIGH_WATER
  :: atomic { (k_state[b] == DONE || k_state[b] == CANCELLED) && k_cursor < b + 1 -> k_cursor = b + 1 }
#else
  :: atomic { k_cursor == b && (k_state[b] == DONE || k_state[b] == CANCELLED) -> k_cursor = b + 1 }
#endif
  :: else -> skip
  fi
}

#define TERMINAL(b) (k_state[b] == DONE || k_state[b] == CANCELLED)
active proctype Coordinator() {
end_c:
  do
  :: k_up -> coord(0)
#if NBP > 1
  :: k_up -> coord(1)
#endif
  :: atomic { crashes < 1 -> crashes++; k_up = false; k_up = true }   /* durable state survives */
  od
}

/* I4: everything below the cursor is terminal, in every reachable state */
active proctype Monitor() {
end_m:
  do
  :: atomic { (k_cursor > 0 && !TERMINAL(0)) || (k_cursor > 1 && !TERMINAL(1)) -> assert(false) }
  :: atomic { (k_state[0] == CANCELLED && d_rows[0] > 0) || (k_state[1] == CANCELLED && d_rows[1] > 0) -> assert(false) }
  :: atomic { (k_state[0] == DONE && d_rows[0] != 1) || (k_state[1] == DONE && d_rows[1] != 1) -> assert(false) }
  od
}
