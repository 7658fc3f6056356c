/* SPDX-License-Identifier: Apache-2.0 */
/* A person raises the generation, and old copies of the catalog come back around it. One range of
 * one object. A generation is (count, draw): how often it was raised, and what was drawn at that
 * raise; histories that raise the same copy reach the same count, never the same draw.
 * Every raise gives the data one more life. The truth of which life is meant is the draw.
 * Each start reads the fence; PREPARE writes it, then batches are cut, never before.
 *   (default)   the fence's generation is ours: its ledger is read. It has a smaller count: ours
 *               is written over it. Else the catalog is an old copy: refused, until a person takes
 *               over what stands in the destination (ADOPT).
 * A copy made between a raise and its PREPARE is the same raise when it comes back: what its
 * generation has loaded counts.
 * Mutants that must produce a counterexample:
 *   -DCOUNT_ONLY   generations are counts: two histories share a number, and the second takes the
 *                  first one's ledger for its own (a life that is never loaded)
 *   -DRAISE_OVER   a fence of the same count and another draw is raised over (the copy of a raise
 *                  that was loaded meanwhile draws anew: loaded twice for one raise)
 *   -DDRAW_AGAIN   a raise that has no PREPARE yet draws again at each start
 *   -DNO_READ      the ledger of the own generation is not read after a restore, and it has no key
 */
#define NR 4                        /* draws: 0 is the pipeline's first life */
#define MOST 3                      /* raises */

/* the catalog, durable; its copy */
byte k_count; byte k_draw; bool k_raising; bool k_prepared; bool k_done; byte k_spec;
byte c_count; byte c_draw; bool c_raising; bool c_prepared; bool c_done; byte c_spec;
bool c_there;
bool k_read; bool k_refused;        /* volatile */

byte d_count; byte d_draw;          /* the fence */
byte d_key;                         /* what is compared: see SAME */
bool d_loaded[NR];                  /* the ledger: the range, of a generation */
byte rows[NR];                      /* the rows of a life that a person asked for */
bool asked[NR];                     /* a batch of that generation is with somebody */
byte asked_count[NR]; byte asked_for[NR];
byte raises, draws = 1, restores;

#ifdef COUNT_ONLY
#define SAME(count, draw) (d_count == count)
#define SLOT(count, draw) count
#else
#define SAME(count, draw) (d_count == count && d_draw == draw)
#define SLOT(count, draw) draw
#endif
#ifdef NO_READ
#define KNOWN(count, draw) false
#else
#define KNOWN(count, draw) d_loaded[SLOT(count, draw)]
#endif

/* Whoever holds a batch may load it at any time, for ever. */
active proctype Destination() {
  byte g;
end_d:
  do
  :: atomic { if :: asked[0] -> g = 0 :: asked[1] -> g = 1 :: asked[2] -> g = 2 :: asked[3] -> g = 3 fi;
       if
       :: !SAME(asked_count[g], g) -> asked[g] = false                /* fenced */
       :: SAME(asked_count[g], g) && KNOWN(asked_count[g], g) -> asked[g] = false
       :: SAME(asked_count[g], g) && !KNOWN(asked_count[g], g) ->
            d_loaded[SLOT(asked_count[g], g)] = true; rows[asked_for[g]]++;
            assert(rows[asked_for[g]] == 1)                         /* no life is loaded twice */
       fi; g = 0 }
  od
}

inline raise() {
  k_count++; k_draw = draws; draws++; k_raising = true; k_prepared = false; k_done = false;
  k_read = false
}

active proctype Coordinator() {
end_c:
  do
  :: atomic { raises < MOST && draws < NR ->                          /* a person changes the spec */
       raises++; raise(); k_spec = k_draw }
  :: atomic { !k_read && !k_refused ->                                /* a start: the fence is read */
#ifdef DRAW_AGAIN
       if :: k_raising && draws < NR -> k_count = d_count + 1; k_draw = draws; draws++ :: else fi;
#endif
       if
       :: SAME(k_count, k_draw) ->
            k_done = KNOWN(k_count, k_draw); k_read = true
       :: !SAME(k_count, k_draw) && d_count < k_count -> k_read = true
       :: !SAME(k_count, k_draw) && d_count >= k_count ->
#ifdef RAISE_OVER
            if
            :: draws < NR -> k_count = d_count + 1; k_draw = draws; draws++; k_read = true
            :: else -> k_refused = true
            fi
#else
            k_refused = true
#endif
       fi }
#ifndef COUNT_ONLY
  /* ADOPT: a person says that what stands there is what the spec of this copy is for. */
  :: atomic { k_refused ->
       k_refused = false; k_count = d_count; k_draw = d_draw; k_spec = d_draw;
       k_raising = false; k_prepared = true; k_done = d_loaded[d_draw]; k_read = true }
#endif
  :: atomic { k_read && !k_prepared ->                                /* PREPARE, and the crash */
       d_count = k_count; d_draw = k_draw;                            /* before it is noted */
       if :: k_prepared = true; k_raising = false :: k_read = false fi }
  :: atomic { k_read && k_prepared && !k_done && SAME(k_count, k_draw) ->
       asked[k_draw] = true; asked_count[k_draw] = k_count; asked_for[k_draw] = k_spec }
  :: atomic { k_read && k_prepared && !k_done && asked[k_draw] && d_loaded[SLOT(k_count, k_draw)] ->
       k_done = true }
  /* Done means that this life was loaded. */
  :: atomic { k_read && k_done -> assert(rows[k_spec] > 0); k_read = false }
  :: atomic { k_read = false; k_refused = false }                     /* a restart */
  :: atomic { restores == 0 -> c_there = true; c_count = k_count; c_draw = k_draw; c_spec = k_spec;
       c_raising = k_raising; c_prepared = k_prepared; c_done = k_done }
  :: atomic { c_there && restores < 2 -> restores++;
       k_count = c_count; k_draw = c_draw; k_raising = c_raising; k_prepared = c_prepared;
       k_done = c_done; k_spec = c_spec; k_read = false; k_refused = false }
  od
}
