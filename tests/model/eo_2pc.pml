/* SPDX-License-Identifier: Apache-2.0 */
/* One batch partition whose rows go to TWO leaf partitions (shards) on different hosts.
 * Durable: coordinator epoch + decision, shard prepared-stage + ledger.  Volatile: votes, agents.
 * All messages may be lost, duplicated, delayed without bound (modelled as sticky sets).
 * The content of an attempt is its epoch: mixing epochs across shards = torn rows.
 * Mutants (each must fail; NO_EPOCH_APPLY only together with STALE_VOTE, it is the second line of defence):
 *   -DSTALE_VOTE -DDECIDE_VOLATILE -DVOTE_VOLATILE -DUNILATERAL -DNO_EPOCH_APPLY -DREPREPARE_DECIDED */
#define NSH 2
#ifndef MAXEP
#define MAXEP 3
#endif
mtype = { ACTIVE, COMMIT, ABORT };          /* decision  */
mtype = { SNONE, SPREP, SCOMM, SABRT };     /* shard     */

byte  k_epoch = 1;          /* durable */
mtype k_dec = ACTIVE;       /* durable commit point */
byte  k_dec_ep;             /* durable: epoch that was committed */
byte  votes;                /* volatile bitmask of YES votes for v_ep */
byte  v_ep;
byte  crashes;

mtype s_state[NSH] = SNONE; /* durable */
byte  s_ep[NSH];            /* durable: epoch of the prepared stage */
byte  s_applied[NSH];       /* durable: epoch applied */
byte  s_rows[NSH];          /* copies of this bp's rows visible on the shard */

/* sticky message sets, bit e = message of epoch e */
byte m_prep[NSH];           /* agent -> shard : stage rows of epoch e     */
byte m_vote[NSH];           /* shard -> coord : YES for epoch e           */
byte m_commit;              /* coord -> shards: COMMIT of epoch e         */
bool m_abort;               /* coord -> shards: ABORT (bp is dead)        */
#define BIT(e) (1 << (e))
#define HAS(m,e) (((m) >> (e)) & 1)

active proctype Agents() {  /* whichever agent holds the current lease; may die at any point */
  byte e;
end_a:
  do
  :: atomic { k_dec == ACTIVE && !HAS(m_prep[0], k_epoch) -> e = k_epoch; m_prep[0] = m_prep[0] | BIT(e) }
  :: atomic { k_dec == ACTIVE && !HAS(m_prep[1], k_epoch) -> e = k_epoch; m_prep[1] = m_prep[1] | BIT(e) }
  od
}

inline on_prepare(i, e) {   /* shard i receives PREPARE(e) */
  atomic { HAS(m_prep[i], e) && (s_state[i] == SNONE || (s_state[i] == SPREP && s_ep[i] < e)) ->
    s_state[i] = SPREP; s_ep[i] = e;                    /* fsynced stage + ledger row PREPARED(e) */
    m_vote[i] = m_vote[i] | BIT(e) }
}
#ifdef NO_EPOCH_APPLY
#define SAME_EPOCH(i, e) true
#else
#define SAME_EPOCH(i, e) (s_ep[i] == e)
#endif
inline on_commit(i, e) {
  atomic { HAS(m_commit, e) && s_state[i] == SPREP && SAME_EPOCH(i, e) ->
    s_state[i] = SCOMM; s_applied[i] = s_ep[i]; s_rows[i]++;
    assert(s_rows[i] <= 1);                                          /* I1 */
    assert(k_dec == COMMIT) }                                        /* I8 */
}
active [NSH] proctype Shard() {
  byte i = _pid - 1;
end_s:
  do
  :: on_prepare(i, 1)
  :: on_prepare(i, 2)
  :: on_prepare(i, 3)
  :: on_commit(i, 1)
  :: on_commit(i, 2)
  :: on_commit(i, 3)
  :: atomic { m_abort && (s_state[i] == SNONE || s_state[i] == SPREP) -> s_state[i] = SABRT }
#ifdef UNILATERAL
  :: atomic { s_state[i] == SPREP -> s_state[i] = SABRT }   /* times out after voting YES */
#endif
#ifdef VOTE_VOLATILE
  :: atomic { s_state[i] == SPREP -> s_state[i] = SNONE; s_ep[i] = 0 } /* crash before fsync of the stage */
#endif
  od
}

#ifdef REPREPARE_DECIDED
#define MAY_RETRY (k_dec != ABORT)
#else
#define MAY_RETRY (k_dec == ACTIVE)
#endif
active proctype Coordinator() {
  byte i;
end_c:
  do
  :: /* collect votes: only those of the current epoch count */
     atomic { k_dec == ACTIVE && HAS(m_vote[0], k_epoch) -> if :: v_ep != k_epoch -> v_ep = k_epoch; votes = 0 :: else fi; votes = votes | 1 }
  :: atomic { k_dec == ACTIVE && HAS(m_vote[1], k_epoch) -> if :: v_ep != k_epoch -> v_ep = k_epoch; votes = 0 :: else fi; votes = votes | 2 }
#ifdef STALE_VOTE
  :: atomic { k_dec == ACTIVE && m_vote[0] != 0 -> votes = votes | 1; v_ep = k_epoch }
  :: atomic { k_dec == ACTIVE && m_vote[1] != 0 -> votes = votes | 2; v_ep = k_epoch }
#endif
  :: atomic { k_dec == ACTIVE && votes == 3 && v_ep == k_epoch ->
#ifdef DECIDE_VOLATILE
       m_commit = m_commit | BIT(k_epoch);              /* tells the shards before the record is durable */
       if :: k_dec = COMMIT; k_dec_ep = k_epoch
          :: crashes < 2 -> crashes++; votes = 0; v_ep = 0   /* crash: record lost */
       fi
#else
       k_dec = COMMIT; k_dec_ep = k_epoch               /* the commit point */
#endif
     }
  :: atomic { k_dec == COMMIT -> m_commit = m_commit | BIT(k_dec_ep) }
  :: /* lease of the agent expired before a decision: new attempt under a new epoch */
     atomic { MAY_RETRY && k_epoch < MAXEP -> k_epoch++; votes = 0; k_dec = ACTIVE }
  :: /* give up: presumed abort, allowed only while undecided */
     atomic { k_dec == ACTIVE && k_epoch == MAXEP -> k_dec = ABORT; m_abort = true }
  :: /* crash and restart: votes are forgotten, the durable record is not */
     atomic { crashes < 2 -> crashes++; votes = 0; v_ep = 0;
       if :: k_dec == ABORT -> m_abort = true :: else fi }
  od
}

active proctype Monitor() {
end_m:
  do
  :: atomic { (s_state[0] == SCOMM && s_state[1] == SABRT) || (s_state[1] == SCOMM && s_state[0] == SABRT) -> assert(false) } /* I7 */
  :: atomic { s_state[0] == SCOMM && s_state[1] == SCOMM && s_applied[0] != s_applied[1] -> assert(false) }                  /* I7b torn epochs */
  :: atomic { k_dec == ABORT && (s_rows[0] > 0 || s_rows[1] > 0) -> assert(false) }                                          /* I8 */
  :: atomic { k_dec == COMMIT && (s_state[0] == SNONE || s_state[1] == SNONE) -> assert(false) }                             /* I9 a YES is durable */
  :: atomic { k_dec == COMMIT && ((s_state[0] == SPREP && s_ep[0] != k_dec_ep) || (s_state[1] == SPREP && s_ep[1] != k_dec_ep)) -> assert(false) } /* I9 decided epoch is held */
  od
}
