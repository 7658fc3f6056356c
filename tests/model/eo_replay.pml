/* SPDX-License-Identifier: Apache-2.0 */
/* Replays of one reject: two people ask for it, each request may be repeated after a lost answer or
 * a crash at any step. A transaction inserts its ledger row (key: the request's k-th id), marks the
 * reject where it is open and checks that it did, loads the record, and commits. A record that is
 * refused again is put back: open, with the ledger row standing; the request that comes again finds
 * that row and tries what is open under its next id. Meanwhile the pipeline's generation may be
 * raised: then the whole object is loaded once more, by its own batches, and the reject is void.
 * Safe: the record is there at most once. When quiet: exactly once, if it fits.
 * Mutants that must produce a counterexample:
 *   -DMARK_APART     the mark is a transaction of its own, after the one that loads
 *   -DNO_COUNT       nobody looks whether the mark was set by this very update
 *   -DNEW_ID         no mark at all: an id protects, and a repeated request has a new one
 *   -DOLD_GENERATION a replay does not ask whether its reject's generation still stands
 *   -DSAME_ID        a refused record is not tried under a new id: lost when it fits at last */
#define OPEN 2
#define FREE 2
#define IDS 3

byte mark = OPEN;           /* who replayed it */
byte lock = FREE;           /* who holds the reject's row */
bool ledger[2 * IDS];
byte rows;                  /* the record in the table */
byte generation;            /* 0 when it was refused */
bool fits; bool settled[2]; bool gone[2];
byte crashes, lost;

inline check() { assert(rows <= 1) }

proctype Replayer(byte me) {
  byte k; bool refused; bool mine;
again:
  k = 0;
next_id:
  refused = false; mine = false;
  if
  :: atomic { ledger[me * IDS + k] ->       /* ALREADY */
       if
       :: mark == OPEN && generation == 0 ->
#ifdef SAME_ID
          settled[me] = true; goto done
#else
          if :: k + 1 < IDS -> k++; goto next_id
             :: k + 1 == IDS -> gone[me] = true; goto done  /* asked more often than modelled */
          fi
#endif
       :: else -> settled[me] = true; goto done
       fi }
  :: atomic { !ledger[me * IDS + k] -> skip }
  fi;
  /* the reject's row: whoever holds it is waited for */
  atomic { lock == FREE -> lock = me };
  if
  :: atomic { crashes < 2 -> crashes++; lock = FREE; goto again }
  :: skip
  fi;
  atomic {
    if
    :: mark == OPEN -> mine = true
    :: else -> mine = false
    fi;
#ifdef OLD_GENERATION
    skip
#else
    if :: generation > 0 -> mine = false :: else fi
#endif
  }
#ifdef NO_COUNT
  mine = true;
#endif
#ifdef NEW_ID
  mine = true;
#endif
  if
  :: !mine -> atomic { lock = FREE; settled[me] = true; goto done }
  :: mine
  fi;
  if
  :: atomic { crashes < 2 -> crashes++; lock = FREE; goto again }
  :: skip
  fi;
#ifdef MARK_APART
  atomic { ledger[me * IDS + k] = true;
    if :: fits -> rows++; check() :: !fits -> refused = true fi; lock = FREE };
  if
  :: atomic { crashes < 2 -> crashes++; goto again }
  :: skip
  fi;
  atomic { if :: !refused -> mark = me :: refused fi };
#else
  atomic {                                  /* COMMIT */
#ifndef NEW_ID
    ledger[me * IDS + k] = true;
#endif
#ifdef OLD_GENERATION
    skip;
#else
    if :: generation > 0 -> lock = FREE; settled[me] = true; goto done :: else fi;  /* the fence */
#endif
    if
    :: fits -> rows++; check();
#ifndef NEW_ID
       mark = me
#endif
    :: !fits -> refused = true
    fi;
    lock = FREE };
#endif
  if
  :: atomic { lost < 2 -> lost++; goto again }          /* the answer, or who waits for it */
  :: atomic { refused && !fits -> goto again }          /* they correct it and ask again */
  :: atomic { refused && fits -> goto again }
  :: atomic { !refused -> settled[me] = true }
  fi;
done:
  skip
}

/* The spec or the table changes, so that the record fits now. */
active proctype World() {
end_w:
  do
  :: atomic { !fits -> fits = true }
  :: atomic { generation == 0 && lock == FREE && fits ->
       /* The old rows are another generation's, and a person's to delete. What is counted is what
        * stands for the new one: its own load of the object, which takes the record now. */
       generation = 1; rows = 1 }
  od
}

init {
  atomic { run Replayer(0); run Replayer(1) }
  (settled[0] || gone[0]) && (settled[1] || gone[1]) && fits;
  assert(gone[0] || gone[1] || rows == 1)
}
