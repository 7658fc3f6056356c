/* SPDX-License-Identifier: Apache-2.0 */
/* A pipeline's generation is raised while leaves are still loading what the older one cut.
 * Batches 0 and 1 are of generation 1; the catalog may have forgotten batch 1 (it was restored, or
 * its state deleted), while a zombie still loads it. Batch 2 is of generation 2 and loads the same
 * data anew. A load is two steps, as in a destination with row locks: it reads the fence, and it
 * commits; a connection may die in between. PREPARE raises the fence, late ones of generation 1 too.
 * Mutants that must produce a counterexample:
 *   -DNO_LOCK          the fence is read without a lock that is held until the commit
 *   -DNO_FENCE         the fence is not read
 *   -DFENCE_LOWERED    a late PREPARE of generation 1 puts its number back
 *   -DBUMP_UNDECIDED   the bump writes older batches off as cancelled without their tombstones
 *   -DFENCED_IS_OUTCOME  a fence mismatch is taken as "not loaded", without a tombstone: a catalog
 *                      of generation 1 that comes back after the bump asks for what is loaded */
mtype = { CUT, LEASED, CANCELLING, CANCELLED, DONE, FORGOTTEN };
mtype = { NONE, LOADED, TOMB };
#define NB 3
#define GEN(b) (b == 2 -> 2 : 1)

mtype k_state[NB] = CUT;   /* durable */
byte  k_gen = 1;
bool  k_running = true;    /* the fence was raised to k_gen: its batches are granted */
byte  k_grants[NB];

byte  d_fence = 1;
byte  d_shared;            /* loads that hold the fence's row */
mtype d_ledger[NB] = NONE;
byte  d_rows[NB];

/* Of each batch there may be twins: a leaf that was given up on, and its successor. */
#define NTX 2
byte  tx[NTX];             /* 0 idle, 1 asked for, 2 has read the fence */
byte  tx_batch[NTX];
byte  m_done[NB];          /* sticky reports */
byte  m_fenced[NB];
bool  m_prep[3];           /* PREPARE of generation 1 or 2, sent */
byte  late;
bool  bumped;              /* for the checks: the fence says 2 */
bool  restored;

#ifdef NO_LOCK
#define HOLD
#define LET_GO
#else
#define HOLD d_shared++
#define LET_GO d_shared--
#endif
#ifdef NO_FENCE
#define FENCE_OK(b) true
#else
#define FENCE_OK(b) (d_fence == GEN(b))
#endif

active [NTX] proctype Load() {
  byte i = _pid;
  byte b;
end_l:
  do
  :: atomic { tx[i] == 1 ->
       b = tx_batch[i];
       if
       :: FENCE_OK(b) -> HOLD; tx[i] = 2
       :: else -> m_fenced[b] = 1; tx[i] = 0
       fi }
  :: atomic { tx[i] == 2 ->
       b = tx_batch[i];
       LET_GO;
       tx[i] = 0;
       if
       :: d_ledger[b] == NONE ->
            d_ledger[b] = LOADED; d_rows[b]++;
            assert(d_rows[b] == 1);
            assert(k_state[b] != CANCELLED);                     /* a cancelled batch has no row */
            /* What the bump left behind is settled: nothing of it comes after. */
            assert(!(GEN(b) == 1 && bumped));
            if :: m_done[b] = 1 :: skip fi                       /* the reply may be lost */
       :: d_ledger[b] == LOADED -> m_done[b] = 1
       :: d_ledger[b] == TOMB -> skip
       fi }
  :: atomic { tx[i] == 2 -> LET_GO; tx[i] = 0 }                  /* the connection dies */
  :: atomic { tx[i] == 1 -> tx[i] = 0 }
  od
}

inline grant(b) {
  atomic { k_running && GEN(b) == k_gen && (k_state[b] == CUT || k_state[b] == LEASED) &&
           k_grants[b] < 2 && (tx[0] == 0 || tx[1] == 0) ->
    k_state[b] = LEASED; k_grants[b]++;
    if
    :: tx[0] == 0 -> tx[0] = 1; tx_batch[0] = b
    :: tx[1] == 0 -> tx[1] = 1; tx_batch[1] = b
    fi }
}

inline settle(b) {
  if
  :: atomic { m_done[b] == 1 && (k_state[b] == LEASED || k_state[b] == CANCELLING) ->
       k_state[b] = DONE; assert(d_rows[b] == 1) }
  :: atomic { m_fenced[b] == 1 && k_state[b] == LEASED -> m_fenced[b] = 0;
#ifdef FENCED_IS_OUTCOME
       k_state[b] = CANCELLED; assert(d_rows[b] == 0)
#else
       k_state[b] = CANCELLING
#endif
     }
  :: atomic { k_state[b] == CANCELLING ->                        /* the tombstone's transaction */
       if
       :: d_ledger[b] == NONE -> d_ledger[b] = TOMB; k_state[b] = CANCELLED
       :: d_ledger[b] == TOMB -> k_state[b] = CANCELLED
       :: d_ledger[b] == LOADED -> k_state[b] = DONE
       fi }
  :: atomic { b != 1 && k_state[b] == LEASED -> k_state[b] = CANCELLING }
  fi
}

#define OPEN(b) (k_state[b] == CUT || k_state[b] == LEASED || k_state[b] == CANCELLING)
inline write_off(b) {
  if
#ifdef BUMP_UNDECIDED
  :: OPEN(b) -> k_state[b] = CANCELLED; assert(d_rows[b] == 0)
#else
  :: k_state[b] == CUT -> k_state[b] = CANCELLED                 /* never granted: nobody has it */
  :: k_state[b] == LEASED -> k_state[b] = CANCELLING
#endif
  :: else -> skip
  fi
}

active proctype Coordinator() {
end_c:
  do
  :: grant(0)
  :: grant(1)
  :: grant(2)
  :: settle(0)
  :: settle(1)
  :: settle(2)
  :: atomic { k_state[1] == LEASED -> k_state[1] = FORGOTTEN }   /* an old catalog comes back */
  :: atomic { bumped && !restored -> restored = true; k_gen = 1; k_running = true;
       if :: k_state[0] == DONE || k_state[0] == CANCELLED -> k_state[0] = LEASED; k_grants[0] = 1
          :: else fi;
       if :: k_state[2] != CUT -> k_state[2] = FORGOTTEN :: else fi }
  :: atomic { k_gen == 1 -> k_gen = 2; k_running = false; write_off(0); write_off(1) }
  :: atomic { k_gen == 2 && !k_running && !OPEN(0) && !OPEN(1) -> m_prep[2] = true }
  :: atomic { late == 0 -> late = 1; m_prep[1] = true }          /* of the first start, delayed */
  od
}

/* PREPARE writes the fence, and waits for whoever holds its row. */
active proctype Prepare() {
end_p:
  do
  :: atomic { m_prep[2] && d_shared == 0 -> m_prep[2] = false;
       d_fence = 2; bumped = true;
       if :: k_gen == 2 -> k_running = true :: else fi }
  :: atomic { m_prep[1] && d_shared == 0 -> m_prep[1] = false;
#ifdef FENCE_LOWERED
       d_fence = 1
#else
       skip                                                      /* never below what it is */
#endif
     }
  od
}
