/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that outlive the process that made them.
 * One range of data; batch 0 covers it, and once batch 0 is a confirmed tombstone it is cut again as
 * batch 1, of a later revision of the spec. Each of two leaves has a folder with at most one segment
 * a batch. Durable: coordinator (k_*), destination (d_*), folders (f_*). Volatile: what a leaf has in
 * memory, leases, messages. A leaf dies at any step; leases run out at any moment, so that a segment
 * sealed at an older epoch is loaded under a newer grant, here or beside a twin elsewhere. A file that
 * has its name is whole, unless the disk has harmed it since.
 * Holds: the range's rows are there at most once (I1), whole (I2) and of their batch's revision (I3);
 * a sound segment is dropped only when its batch is settled (I4); a batch that is done is loaded (I5).
 * Mutants that must produce a counterexample:
 *   -DNO_TOMB_KEY   a load does not collide with its batch's tombstone
 *   -DNO_VERIFY     a segment is used as it is found
 *   -DANY_REV       a segment is found by its range, not by its batch and revision
 *   -DDROP_UNKNOWN  a coordinator that does not know the agent is taken for one that knows no batch
 *   -DNAME_FIRST -DNO_VERIFY: the name stands before the bytes (alone it is safe: they are checked)
 *   -DDROP_EARLY    the segment goes before the destination has answered */
#ifndef MAXGRANT
#define MAXGRANT 2         /* leases granted per batch */
#endif

mtype = { UNCUT, QUEUED, LEASED, CANCELLING, CANCELLED, DONE };   /* coordinator */
mtype = { NONE, LOADED, TOMB };                                   /* ledger */
mtype = { ABSENT, TEMP, WHOLE, HARMED };                          /* a segment */

mtype k_state[2];
byte  k_epoch[2];
bool  m_done[2];           /* a report, delivered any number of times or never */

mtype d_ledger[2] = NONE;
byte  d_copies;            /* of the range's rows */
byte  d_rev;               /* of the loaded rows, plus 1 */
bool  d_harmed;

/* A submitted transaction, by batch; what it carries. */
byte  tx[2];
bool  tx_harmed[2];
byte  tx_rev[2];

mtype f_seg[4] = ABSENT;   /* leaf * 2 + batch */
byte  harms;
byte  deaths;

#define F(l, b) f_seg[(l) * 2 + (b)]
#define SETTLED(b) (k_state[b] == DONE || k_state[b] == CANCELLED)

init { atomic { k_state[0] = QUEUED; k_state[1] = UNCUT } }

inline drop(l, b) {                       /* on the coordinator's word, or on the ledger's */
  assert(!(F(l, b) == WHOLE && !SETTLED(b) && d_ledger[b] == NONE));      /* I4 */
  F(l, b) = ABSENT
}

inline apply(b) {
  atomic {
    tx[b]--;
    if
#ifdef NO_TOMB_KEY
    :: d_ledger[b] != LOADED ->
#else
    :: d_ledger[b] == NONE ->
#endif
       d_ledger[b] = LOADED; d_copies++; d_rev = tx_rev[b] + 1; d_harmed = tx_harmed[b];
       assert(d_copies <= 1);             /* I1 */
       assert(!d_harmed);                 /* I2 */
       assert(d_rev == b + 1)             /* I3 */
    :: else -> skip
    fi
  }
}

proctype Leaf(byte l) {
  byte b, rev;
  bool harmed;
idle:
  atomic { b = 0; rev = 0; harmed = false };
end_idle:
  do
  :: atomic { k_state[0] == QUEUED && k_epoch[0] < MAXGRANT -> k_epoch[0]++; k_state[0] = LEASED; b = 0 } -> break
  :: atomic { k_state[1] == QUEUED && k_epoch[1] < MAXGRANT -> k_epoch[1]++; k_state[1] = LEASED; b = 1 } -> break
  :: /* what is kept is listed; the answer names what is settled */
     atomic { F(l, 0) != ABSENT && SETTLED(0) -> drop(l, 0) }
  :: atomic { F(l, 1) != ABSENT && SETTLED(1) -> drop(l, 1) }
#ifdef DROP_UNKNOWN
  :: atomic { F(l, 0) != ABSENT -> drop(l, 0) }
#endif
  :: /* the folder is opened: what has no name of its own is garbage */
     atomic { F(l, 0) == TEMP -> F(l, 0) = ABSENT }
  :: atomic { F(l, 1) == TEMP -> F(l, 1) = ABSENT }
  od;
have:
  rev = b;
  if
#ifdef ANY_REV
  :: atomic { b == 1 && F(l, 0) == WHOLE -> rev = 0 } -> goto load
#endif
#ifdef NO_VERIFY
  :: atomic { F(l, b) == HARMED -> harmed = true } -> goto load
#else
  :: atomic { F(l, b) == HARMED -> F(l, b) = ABSENT } -> goto have   /* every byte is checked */
#endif
  :: F(l, b) == WHOLE -> goto load
  :: F(l, b) == ABSENT || F(l, b) == TEMP ->                          /* extracted */
     if
     :: goto load                                                     /* it stays in memory */
     :: F(l, b) = TEMP;
        if
        :: skip
        :: atomic { deaths < 2 -> deaths++ } -> goto idle         /* dies before the name stands */
        fi;
#ifdef NAME_FIRST
        /* The name before the bytes: a power cut leaves a name over nothing. */
        if :: F(l, b) = WHOLE :: F(l, b) = HARMED fi;
#else
        F(l, b) = WHOLE;
#endif
        goto load
     fi
  fi;
load:
#ifdef DROP_EARLY
  atomic { if :: F(l, b) == WHOLE -> drop(l, b) :: else -> skip fi };
#endif
  if
  :: atomic { tx[b] == 0 -> tx[b] = 1; tx_rev[b] = rev; tx_harmed[b] = harmed }
  :: tx[b] > 0 -> skip                    /* a twin's runs: the key decides */
  :: atomic { deaths < 2 -> deaths++ } -> goto idle
  fi;
  if
  :: atomic { d_ledger[b] == LOADED -> m_done[b] = true } ->
     if :: atomic { F(l, b) != ABSENT -> drop(l, b) } :: skip /* dies first */ fi
  :: atomic { d_ledger[b] == TOMB -> if :: F(l, b) != ABSENT -> drop(l, b) :: else -> skip fi }
  :: skip                                 /* given back, or dead: the segment stays */
  fi;
  goto idle
}

active proctype Disk() {
end_d:
  do
  :: atomic { harms < 1 && F(0, 0) == WHOLE -> harms++; F(0, 0) = HARMED }
  :: atomic { harms < 1 && F(1, 1) == WHOLE -> harms++; F(1, 1) = HARMED }
  od
}

active proctype Destination() {
end_t:
  do
  :: tx[0] > 0 -> apply(0)
  :: tx[1] > 0 -> apply(1)
  :: atomic { tx[0] > 0 -> tx[0]-- }      /* lost before its commit */
  :: atomic { tx[1] > 0 -> tx[1]-- }
  od
}

inline coordinate(b) {
  if
  :: atomic { m_done[b] && (k_state[b] == LEASED || k_state[b] == QUEUED || k_state[b] == CANCELLING) ->
       k_state[b] = DONE; assert(d_copies == 1) }                      /* I5 */
  :: atomic { k_state[b] == LEASED -> k_state[b] = QUEUED }             /* its lease ran out */
  :: atomic { k_state[b] == QUEUED -> k_state[b] = CANCELLING }
  :: atomic { k_state[b] == CANCELLING && d_ledger[b] == NONE -> d_ledger[b] = TOMB }
  :: atomic { k_state[b] == CANCELLING && d_ledger[b] == TOMB -> k_state[b] = CANCELLED }
  :: atomic { k_state[b] == CANCELLING && d_ledger[b] == LOADED -> k_state[b] = DONE }
  fi
}

active proctype Coordinator() {
  run Leaf(0);
  run Leaf(1);
end_c:
  do
  :: coordinate(0)
  :: coordinate(1)
  :: atomic { k_state[0] == CANCELLED && k_state[1] == UNCUT -> k_state[1] = QUEUED }
  od
}
