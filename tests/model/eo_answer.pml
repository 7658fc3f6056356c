/* SPDX-License-Identifier: Apache-2.0 */
/* The three-valued answer: what a shard in doubt is told, also by a coordinator that was restored
 * from an old copy of its catalog. One batch over two shards; the sticky messages of eo_2pc.
 * A shard asks "what of this batch?" and hears COMMIT(e), ABORT or UNDECIDED. ABORT only from a
 * durable abort row; no row is UNDECIDED. After a restore every answer is UNDECIDED, and nothing is
 * decided, until every shard was heard: an L rebuilds COMMIT(e), a T rebuilds ABORT; else epochs go
 * on above all that any shard has seen. A decision row stays until every shard has acknowledged.
 * A shard that was heard has seen the new cluster_epoch, durably: it obeys no message of an older
 * life, for one that is still under way may carry a decision that nobody remembers.
 * Mutants that must produce a counterexample:
 *   -DOLD_LIFE          it obeys them
 *   -DABSENT_IS_ABORT   no row is answered ABORT
 *   -DRESTORE_ANSWERS   a restored coordinator decides from what it remembers
 *   -DONE_SHARD         it believes the first shard that it hears
 *   -DEPOCH_AGAIN       it goes on with the epochs of its old copy
 *   -DFORGET_EARLY      the decision row goes at the first acknowledgement */
#define MAXEP 3
/* GONE: the row was cleaned up; STOP: no epochs are left (of this model) */
mtype = { ACTIVE, COMMIT, ABORT, GONE, STOP };
mtype = { SNONE, SPREP, SCOMM, SABRT };

mtype k_dec = ACTIVE; byte k_dec_ep; byte k_epoch = 1;       /* durable */
bool  k_sure = true;                                         /* every shard was heard */
bool  c_there; mtype c_dec = ACTIVE; byte c_dec_ep; byte c_epoch;   /* the copy */
bool  restored;
byte  heard; byte heard_ep; byte heard_commit; bool heard_abort;
byte  acked;
byte  decided;                                  /* for the checks: bit e: COMMIT(e) was */

mtype s_state[2] = SNONE; byte s_ep[2];
byte  s_life[2];                                /* of the content: lives must not share an epoch */
byte  s_seen[2];                                /* the life of the coordinator that it has heard */
byte  life;                                     /* 0, then 1 */
byte  m_prep[4];                                /* [2 * life + shard], bit e: of epoch e */
byte  m_vote[2];
byte  m_commit[2]; bool m_abort[2];             /* [life] */
#define BIT(e) (1 << (e))
#define HAS(m, e) (((m) >> (e)) & 1)

#ifdef OLD_LIFE
#define OBEYS(i, l) true
#else
#define OBEYS(i, l) (l >= s_seen[i])
#endif

inline on_prepare(i, l, e) {
  atomic { HAS(m_prep[2 * l + i], e) && OBEYS(i, l) &&
           (s_state[i] == SNONE || (s_state[i] == SPREP && s_ep[i] < e)) ->
    s_state[i] = SPREP; s_ep[i] = e; s_life[i] = l; m_vote[i] = m_vote[i] | BIT(e) }
}
inline on_commit(i, l, e) {
  atomic { HAS(m_commit[l], e) && OBEYS(i, l) && s_state[i] == SPREP && s_ep[i] == e ->
    s_state[i] = SCOMM; assert(HAS(decided, e)) }                      /* no apply undecided */
}
active [2] proctype Shard() {
  byte i = _pid;
end_s:
  do
  :: on_prepare(i, 0, 1)
  :: on_prepare(i, 0, 2)
  :: on_prepare(i, 0, 3)
  :: on_prepare(i, 1, 1)
  :: on_prepare(i, 1, 2)
  :: on_prepare(i, 1, 3)
  :: on_commit(i, 0, 1)
  :: on_commit(i, 0, 2)
  :: on_commit(i, 0, 3)
  :: on_commit(i, 1, 1)
  :: on_commit(i, 1, 2)
  :: on_commit(i, 1, 3)
  :: atomic { ((m_abort[0] && OBEYS(i, 0)) || (m_abort[1] && OBEYS(i, 1))) &&
              (s_state[i] == SNONE || s_state[i] == SPREP) -> s_state[i] = SABRT }
  od
}

inline decide(what, ep) {
  k_dec = what; k_dec_ep = ep;
  if :: what == COMMIT -> decided = decided | BIT(ep) :: else fi
}

/* A shard asks: the answer is one of three. */
inline answer(i) {
  atomic { s_state[i] == SPREP ->
    if
    :: k_dec == COMMIT && k_sure -> m_commit[life] = m_commit[life] | BIT(k_dec_ep)
    :: k_dec == ABORT && k_sure -> m_abort[life] = true
#ifdef ABSENT_IS_ABORT
    :: k_dec == ACTIVE || k_dec == GONE -> m_abort[life] = true
#endif
    :: else -> skip                                                    /* UNDECIDED: it waits */
    fi }
}

inline hear(i) {
  atomic { !k_sure && !HAS(heard, i) ->
    heard = heard | BIT(i); s_seen[i] = life;
    if :: s_state[i] == SCOMM -> heard_commit = s_ep[i]
       :: s_state[i] == SABRT -> heard_abort = true
       :: else -> skip
    fi;
    if :: s_ep[i] > heard_ep -> heard_ep = s_ep[i] :: else fi }
}

#ifdef ONE_SHARD
#define HEARD_ALL (heard != 0)
#else
#define HEARD_ALL (heard == 3)
#endif

active proctype Coordinator() {
end_c:
  do
  :: atomic { k_dec == ACTIVE && k_sure && !HAS(m_prep[2 * life], k_epoch) ->
       m_prep[2 * life] = m_prep[2 * life] | BIT(k_epoch) }
  :: atomic { k_dec == ACTIVE && k_sure && !HAS(m_prep[2 * life + 1], k_epoch) ->
       m_prep[2 * life + 1] = m_prep[2 * life + 1] | BIT(k_epoch) }
  :: atomic { k_dec == ACTIVE && k_sure && HAS(m_vote[0], k_epoch) && HAS(m_vote[1], k_epoch) ->
       decide(COMMIT, k_epoch) }
  :: atomic { k_dec == ACTIVE && k_sure && k_epoch < MAXEP -> k_epoch++ }
  :: atomic { k_dec == ACTIVE && k_sure && k_epoch == MAXEP -> decide(ABORT, 0) }
  :: answer(0)
  :: answer(1)
  :: atomic { k_dec == COMMIT && k_sure && s_state[0] == SCOMM -> acked = acked | 1 }
  :: atomic { k_dec == COMMIT && k_sure && s_state[1] == SCOMM -> acked = acked | 2 }
  :: atomic { k_dec == COMMIT &&
#ifdef FORGET_EARLY
       acked != 0
#else
       acked == 3
#endif
       -> k_dec = GONE }
  :: atomic { !c_there -> c_there = true; c_dec = k_dec; c_dec_ep = k_dec_ep; c_epoch = k_epoch }
  :: atomic { c_there && !restored -> restored = true; life = 1;
       k_dec = c_dec; k_dec_ep = c_dec_ep; k_epoch = c_epoch; acked = 0;
#ifndef RESTORE_ANSWERS
       k_sure = false
#endif
     }
  :: hear(0)
  :: hear(1)
  :: atomic { !k_sure && HEARD_ALL ->
       k_sure = true;
       if
       :: k_dec != ACTIVE -> skip
       :: k_dec == ACTIVE && heard_commit > 0 -> decide(COMMIT, heard_commit)
       :: k_dec == ACTIVE && heard_commit == 0 && heard_abort -> decide(ABORT, 0)
       :: else ->
#ifndef EPOCH_AGAIN
            if :: heard_ep >= k_epoch && heard_ep < MAXEP -> k_epoch = heard_ep + 1
               :: heard_ep >= MAXEP -> k_dec = STOP
               :: else fi
#else
            skip
#endif
       fi }
  od
}

active proctype Monitor() {
end_m:
  do
  :: atomic { (s_state[0] == SCOMM && s_state[1] == SABRT) ||
              (s_state[1] == SCOMM && s_state[0] == SABRT) -> assert(false) }
  :: atomic { s_state[0] == SCOMM && s_state[1] == SCOMM &&
              (s_ep[0] != s_ep[1] || s_life[0] != s_life[1]) -> assert(false) }  /* torn rows */
  :: atomic { k_dec == GONE && (s_state[0] == SPREP || s_state[1] == SPREP) ->
              assert(false) }                                          /* in doubt for ever */
  od
}
