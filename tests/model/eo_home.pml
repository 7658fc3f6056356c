/* SPDX-License-Identifier: Apache-2.0 */
/* A table without a shard key: rows stay on the leaf partition that extracted them, so a batch has a
 * home shard, and only that shard's own ledger protects it. The home is frozen durably at the first
 * grant. It moves only behind its tombstone there, or on a person's word that the old home is
 * destroyed (the host and its rows are gone for good, and its agent is refused). A restored catalog
 * may remember no home, or an older one: it grants nothing until it has read every shard's ledger.
 * Mutants that must produce a counterexample:
 *   -DHOME_VOLATILE   the home is chosen anew after a crash
 *   -DMOVE_NO_TOMB    the home moves without a tombstone at the old one
 *   -DNO_RECONCILE    a restored catalog grants at once
 *   -DREAD_ONE        it reads the ledger of the home that it remembers, and no other
 *   -DDESTROYED_LIVES a destroyed home is let back in */
mtype = { NONE, LOADED, TOMB };
#define NO 2                                    /* no home yet */

byte  k_home = NO; bool k_moving; bool k_done; byte k_grants; bool k_gone[2];   /* durable */
bool  k_sure = true; byte read;
bool  c_there; byte c_home = NO; bool c_moving; bool c_done; bool c_gone[2];    /* the copy */
byte  restores, crashes, moves;

mtype d_ledger[2] = NONE; byte d_rows[2]; bool d_alive[2] = true;
bool  asked[2];                                 /* somebody may load it there, now or much later */
bool  m_done;

inline load(i) {
  atomic { asked[i] && d_alive[i] ->
    if
    :: d_ledger[i] == NONE -> d_ledger[i] = LOADED; d_rows[i]++;
         assert(d_rows[0] + d_rows[1] == 1);                           /* one copy, over all */
         if :: m_done = true :: skip fi
    :: d_ledger[i] == LOADED -> m_done = true
    :: d_ledger[i] == TOMB -> skip
    fi;
    if :: asked[i] = false :: skip fi }         /* a zombie may run it once more */
}

active proctype Shards() {
end_s:
  do
  :: load(0)
  :: load(1)
  od
}

inline first_grant(i) {
  atomic { k_sure && !k_done && !k_moving && k_home == NO && !k_gone[i] && k_grants < 4 ->
    k_home = i; k_grants++; asked[i] = true }
}

inline settle_old(i) {        /* the tombstone's transaction at the old home */
  atomic { k_sure && k_moving && k_home == i && d_alive[i] && !k_done ->
    if
    :: d_ledger[i] == LOADED -> k_done = true; k_moving = false
    :: d_ledger[i] == NONE -> d_ledger[i] = TOMB; k_home = NO; k_moving = false
    :: d_ledger[i] == TOMB -> k_home = NO; k_moving = false
    fi }
}

inline read_ledger(i) {
  atomic { !k_sure && (d_alive[i] || k_gone[i]) &&
           ((read >> i) & 1) == 0 ->
    read = read | (1 << i);
    if :: d_alive[i] && d_ledger[i] == LOADED -> k_done = true; k_home = i; k_moving = false
       :: else -> skip
    fi }
}

/* Where an earlier life may have left somebody at work: its ledger gets a tombstone before another
 * home is chosen. */
inline close_ledger(i) {
  if :: d_alive[i] && d_ledger[i] == NONE && i != k_home -> d_ledger[i] = TOMB
     :: else -> skip
  fi
}

active proctype Coordinator() {
end_c:
  do
  :: first_grant(0)
  :: first_grant(1)
  :: atomic { k_sure && !k_done && !k_moving && k_home < NO && !k_gone[k_home] && k_grants < 4 ->
       k_grants++; asked[k_home] = true }
  :: atomic { k_sure && m_done && !k_done && (d_rows[0] + d_rows[1] == 1) -> k_done = true }
  :: atomic { k_sure && k_home < NO && !k_moving && !k_done && moves < 2 -> moves++;
#ifdef MOVE_NO_TOMB
       k_home = NO
#else
       k_moving = true
#endif
     }
  :: settle_old(0)
  :: settle_old(1)
     /* the disk of shard 0 is lost, and a person says so */
  :: atomic { d_alive[0] && k_sure -> d_alive[0] = false; d_rows[0] = 0; k_gone[0] = true;
       if :: k_home == 0 -> k_home = NO; k_moving = false; k_done = false; m_done = false
          :: else -> skip
       fi }
#ifdef DESTROYED_LIVES
  :: atomic { k_gone[0] && !d_alive[0] -> d_alive[0] = true; d_ledger[0] = NONE }
#endif
  :: atomic { crashes < 1 -> crashes++;
#ifdef HOME_VOLATILE
       if :: !k_done -> k_home = NO; k_moving = false :: else fi
#else
       skip
#endif
     }
  :: atomic { !c_there -> c_there = true; c_home = k_home; c_moving = k_moving; c_done = k_done;
       c_gone[0] = k_gone[0]; c_gone[1] = k_gone[1] }
     /* the person who restores names the destroyed shards again */
  :: atomic { c_there && restores < 1 && (c_gone[0] == k_gone[0]) -> restores++;
       k_home = c_home; k_moving = c_moving; k_done = c_done; m_done = false; read = 0;
#ifndef NO_RECONCILE
       k_sure = false
#endif
     }
  :: read_ledger(0)
  :: read_ledger(1)
  :: atomic { !k_sure &&
#ifdef READ_ONE
       (k_home == NO || ((read >> k_home) & 1) == 1)
#else
       read == 3
#endif
       ->
#ifndef READ_ONE
       if :: !k_done -> close_ledger(0); close_ledger(1) :: else fi;
       /* Both closed: the batch is cancelled everywhere and cut anew, under another id. */
       if :: !k_done && k_home == NO && d_ledger[0] != NONE && d_ledger[1] != NONE -> k_grants = 4
          :: else -> skip
       fi;
#endif
       k_sure = true }
  od
}

active proctype Monitor() {
end_m:
  do
  :: atomic { k_sure && k_done && d_rows[0] + d_rows[1] == 0 && !k_gone[0] -> assert(false) }
  od
}
