/* SPDX-License-Identifier: Apache-2.0 */
/* An old copy of the catalog comes back, and the ledger is cleaned. One range of one object.
 * Durable: the catalog and its copy, the destination's rows, ledger and gc_before. Agents keep the
 * highest commit_seq that they have seen. A batch carries the commit_seq of its cut; each cut has a
 * new id. Any copy may come back, not only the newest; the wall clock jumps.
 *   (default)     today's program: the ledger is kept. A coordinator that hears of a higher
 *                 commit_seq raises its own and reads the ledger before it grants.
 *   -DCLEAN       ledger_horizon: rows go once their batch is terminal in the catalog and in its
 *                 newest copy, and nothing that is older is open; gc_before rises above them. Each
 *                 start of a coordinator reads the fence before the first grant; what the catalog
 *                 last changed before gc_before and does not know as loaded is unknown, and never
 *                 cut again.
 * Mutants that must produce a counterexample:
 *   -DNO_RANGE_KEY    the ledger has no key over (partition, version, from)
 *   with -DCLEAN: -DNO_SEQ (commit_seq is not compared) -DNO_READ (a catalog that forgot cuts again
 *   without reading the ledger) -DNO_START_READ (only agents tell that a catalog is old)
 *   -DCLEAN_OPEN, -DCLEAN_NO_COPY (early clean-up: not terminal; terminal in no copy, so that the
 *   newest copy ends in unknowns) -DBY_TIME (gc_before compares time)
 *   -DNO_GC_BEFORE (rows go, nothing rises) */
#define NB 3
#define NAG 2
#ifndef RESTORES
#define RESTORES 1
#endif
#ifndef MOST
#define MOST 7
#endif

byte k_seq = 1; bool k_done; byte k_open;       /* the catalog; k_open: batch + 1 */
byte k_fact = 1; byte k_fact_time = 1;          /* of the last change of the object */
bool k_unknown;
bool k_behind, k_checked = true;                /* volatile */
bool c_there; byte c_seq; bool c_done; byte c_open; byte c_fact; byte c_fact_time;   /* its copy */
bool c_newest; bool v_done;                     /* does the newest copy know that it is done */
bool from_newest;                               /* for the check: what came back was the newest */
byte restores, now = 1;

byte b_next;                                    /* cuts: ids are never used twice */
byte b_seq[NB]; byte b_time[NB];
bool b_asked[NB];                               /* somebody may load it, now or much later */

bool d_range; bool d_batch[NB]; byte d_rows; byte d_gc; byte d_gc_time;
byte d_seen = 1;                                /* the highest stamp in fence and ledger */
byte a_seen[NAG];
bool m_done, m_conflict;

#ifdef BY_TIME
#define TOO_OLD(b) (b_time[b] < d_gc_time)
#define FORGOT (k_fact_time < d_gc_time)
#else
#define TOO_OLD(b) (b_seq[b] < d_gc)
#ifdef NO_SEQ
#define FORGOT false
#else
#define FORGOT (k_fact < d_gc)
#endif
#endif
#ifdef NO_RANGE_KEY
#define TAKEN(b) d_batch[b]
#else
#define TAKEN(b) d_range
#endif

active proctype Destination() {
  byte b;
end_d:
  do
  :: atomic { if :: b_asked[0] -> b = 0 :: b_asked[1] -> b = 1 :: b_asked[2] -> b = 2 fi;
       if
       :: TOO_OLD(b) -> b_asked[b] = false      /* stops as unknown */
       :: !TOO_OLD(b) && d_batch[b] -> m_done = true
       :: !TOO_OLD(b) && !d_batch[b] && TAKEN(b) -> m_conflict = true; b_asked[b] = false
       :: !TOO_OLD(b) && !d_batch[b] && !TAKEN(b) ->
            d_range = true; d_batch[b] = true; d_rows++;
            if :: d_seen < b_seq[b] -> d_seen = b_seq[b] :: else fi;
            assert(d_rows == 1);                                      /* no duplicate */
            if :: m_done = true :: skip fi
       fi; b = 0 }
  od
}

#ifdef NO_SEQ
#define HEAR(seen) skip
#else
#define HEAR(seen) if :: seen > k_seq -> k_behind = true :: else fi
#endif

inline commit() { k_seq++ }

/* The ledger and the fence are read; then the own number is above all that was seen. */
inline reconcile() {
  if
#ifndef NO_READ
  :: d_range -> k_done = true; k_open = 0
  :: !d_range && !k_done && FORGOT -> k_unknown = true; k_open = 0; assert(!from_newest)
#endif
  :: else -> skip
  fi;
  if :: d_seen > k_seq -> k_seq = d_seen :: else fi;
  if :: d_gc > k_seq -> k_seq = d_gc :: else fi;
  if :: a_seen[0] > k_seq -> k_seq = a_seen[0] :: else fi;
  if :: a_seen[1] > k_seq -> k_seq = a_seen[1] :: else fi;
  commit();                             /* what it learned is a change like any other */
  if :: k_done && k_fact <= d_seen -> k_fact = k_seq; k_fact_time = now :: else fi;
  k_behind = false; k_checked = true
}

inline ask(a) {             /* a Sync: what it has seen, and a grant */
  atomic { !k_done && !k_unknown && k_seq < MOST ->
    HEAR(a_seen[a]);
    if
    :: k_behind || !k_checked -> skip
    :: else ->
         if
         :: k_open == 0 && b_next < NB ->
              commit(); b_seq[b_next] = k_seq; b_time[b_next] = now;
              b_asked[b_next] = true; b_next++; k_open = b_next;
              k_fact = k_seq; k_fact_time = now
         :: k_open > 0 -> b_asked[k_open - 1] = true                  /* granted again */
         :: else -> skip
         fi;
         if :: a_seen[a] < k_seq -> a_seen[a] = k_seq :: else fi
    fi }
}

active proctype Coordinator() {
end_c:
  do
  :: ask(0)
  :: ask(1)
  :: atomic { m_done && k_open > 0 && d_batch[k_open - 1] && k_seq < MOST ->
       commit(); k_done = true; k_open = 0; k_fact = k_seq; k_fact_time = now;
       assert(d_rows == 1) }                                          /* no loss */
  :: atomic { m_conflict -> m_conflict = false; k_behind = true }
  :: atomic { (k_behind || !k_checked) && k_seq < MOST + 2 -> reconcile() }
  :: atomic { k_seq < MOST - 3 -> commit() }                          /* other pipelines' work */
#ifdef BY_TIME
  :: atomic { now < 3 -> now++ }
  :: atomic { now > 1 -> now-- }
#endif
  :: atomic { restores == 0 ->                                        /* a copy is made */
       if
       :: c_seq = k_seq; c_done = k_done; c_open = k_open; c_fact = k_fact;
          c_fact_time = k_fact_time; c_there = true; c_newest = true
       :: c_there -> c_newest = false                                 /* beside the older one */
       fi;
       v_done = k_done }
  :: atomic { c_there && restores < RESTORES -> restores++; from_newest = c_newest;
       k_fact = c_fact; k_fact_time = c_fact_time;
       k_seq = c_seq; k_done = c_done; k_open = c_open; k_unknown = false; k_behind = false;
       m_done = false;
#if defined(CLEAN) && !defined(NO_START_READ)
       k_checked = false
#else
       k_checked = true
#endif
     }
#ifdef CLEAN
  :: atomic { d_range && k_checked && !k_behind &&
#ifndef CLEAN_OPEN
       k_done &&
#ifndef CLEAN_NO_COPY
       v_done &&
#endif
#endif
       true ->
#ifndef NO_GC_BEFORE
       if :: d_gc < k_fact -> d_gc = k_fact :: else fi; d_gc_time = now;
#endif
       d_range = false; d_batch[0] = false; d_batch[1] = false; d_batch[2] = false }
#endif
  od
}

active proctype Monitor() {
end_m:
  do
  :: atomic { k_done && d_rows == 0 -> assert(false) }                /* done means loaded */
  od
}
