/* SPDX-License-Identifier: Apache-2.0 */
/* One large object taken as ranges in parallel, into one transactional destination.
 * Positions 0..L of one object. A slot is a batch with one range: it owns the records that begin in
 * [bf, bt). Its first record begins at T[bf], the first boundary at or after bf, and its last one
 * ends at T[bt]: nobody knows either before it was decoded, and where one begins at bf > 0 is
 * guessed.
 * Durable: the coordinator's slots and prefix (k_*), the ledger (d_*). Volatile: leaves, what they
 * hold (m_h*) and proofs (m_pf). Messages may be lost, late or repeated (sticky); a lease may run
 * out at any moment, so that two leaves run the same slot, and a leaf that lost its lease may
 * commit at any later time.
 * WEAK: an object without a strong version: a leaf may read other ends than another one did.
 * RECUT: a slot is cancelled, and its range cut again, whole or in two.
 * LOSS: the coordinator's state is deleted once; ranges are cut anew from the ledger, elsewhere.
 * Mutants that must produce a counterexample: -DUNPROVEN (commit without proof), -DUNPROVEN_END
 *   (proof taken from an unproven end), -DWEAK -DRETRY_END (ALREADY with the retry's end),
 *   -DRECUT -DNO_TOMB (cut again without a tombstone), -DPASS_GAP (the offset passes a gap),
 *   -DLOSS -DKEY_ONLY (the ledger compares starts, not ranges), -DLOSS -DAPART (it compares before
 *   the transaction's end, where another one is not seen). -DREACH must do so too: the whole object
 *   can be loaded. */
#define L 6
#define NB 5               /* 0..2 the first cuts, 3..4 what is cut again */
#ifndef MAXGRANT
#define MAXGRANT 2         /* leases granted per slot */
#endif
#ifndef NW
#define NW 2
#endif
#if defined(RECUT) || defined(LOSS)
#define SPARE
#endif

mtype = { UNUSED, QUEUED, LEASED, CANCELLING, CANCELLED, DONE };  /* coordinator states */
mtype = { NONE, LOADED, TOMB };                                  /* ledger */

byte  T[7];                /* T[x]: the first record boundary at or after x */
bool  ready;
byte  cover[L];            /* how often each position stands in the destination */

mtype k_st[NB] = UNUSED;
byte  bf[NB]; byte bt[NB]; /* frozen at the cut */
byte  k_s[NB]; byte k_e[NB];
byte  k_ep[NB];
bool  k_fold[NB];          /* in the prefix */
byte  k_off;               /* all before it is loaded */
byte  crashes; bool lost; bool recut;

mtype d_led[NB] = NONE;
byte  d_s[NB]; byte d_e[NB];

bool  m_done[NB]; byte m_ds[NB]; byte m_de[NB];
bool  m_held[NB]; byte m_hs[NB]; byte m_he[NB]; bool m_hp[NB];
byte  m_pf[NB];            /* where the coordinator says that it begins; 0: it did not say */

inline cut(b, f, t) { bf[b] = f; bt[b] = t; k_st[b] = QUEUED; k_ep[b] = 0 }

/* what a leaf finds that begins to decode at w_s: the true end where the start is true */
inline decode() {
  if
  :: w_s == T[bf[w_b]] && w_s < bt[w_b] -> w_e = T[bt[w_b]]
  :: w_s >= bt[w_b] -> w_e = w_s
  :: w_s != T[bf[w_b]] && w_s < bt[w_b] -> /* quotes inside out: any end */
     if :: w_e = T[bt[w_b]] :: w_e = bt[w_b] fi
#ifdef WEAK
  :: w_s < bt[w_b] && bt[w_b] < L -> w_e = bt[w_b]
  :: w_s < bt[w_b] && bt[w_b] < L -> w_e = bt[w_b] + 1
#endif
  fi;
  if :: w_e < w_s -> w_e = w_s :: else fi
}

#ifdef KEY_ONLY
#define MEETS(x) (w_s == d_s[x])
#else
#define MEETS(x) (w_s < d_e[x] && d_s[x] < w_e)
#endif
#define hits(x) (x != w_b && d_led[x] == LOADED && d_s[x] != d_e[x] && w_s != w_e && MEETS(x))

#define HITS (hits(0) || hits(1) || hits(2) || hits(3) || hits(4))

/* The overlap check and what it guards are one step: a driver looks (again) while no other may. */
inline commit() {
#ifdef APART
  w_hit = HITS;
#define HIT w_hit
#else
#define HIT HITS
#endif
  atomic {
    if
    :: d_led[w_b] == TOMB -> skip
    :: d_led[w_b] == LOADED ->
#ifdef RETRY_END
       m_ds[w_b] = w_s; m_de[w_b] = w_e;
#else
       m_ds[w_b] = d_s[w_b]; m_de[w_b] = d_e[w_b];
#endif
       m_done[w_b] = true
    :: d_led[w_b] == NONE && HIT -> skip
    :: d_led[w_b] == NONE && !HIT ->
       d_led[w_b] = LOADED; d_s[w_b] = w_s; d_e[w_b] = w_e;
#ifndef WEAK
       assert(w_s == w_e || w_s == T[bf[w_b]]);          /* a record is torn */
#endif
       x = w_s;
       do
       :: x < w_e -> cover[x]++; assert(cover[x] <= 1); x++   /* no record twice */
       :: else -> break
       od;
       assert(k_st[w_b] != CANCELLED);                   /* a cancelled batch has no row */
       m_ds[w_b] = w_s; m_de[w_b] = w_e; m_done[w_b] = true
    fi;
    w_s = 0; w_e = 0; w_p = false; w_b = 0; x = 0
  }
}

inline take(b) {
  atomic { k_st[b] == QUEUED && k_ep[b] < MAXGRANT -> k_st[b] = LEASED; k_ep[b]++; w_b = b;
    w_p = (bf[b] == 0);
    if
    :: w_s = T[bf[b]]                                    /* the guess is right */
    :: bf[b] > 0 && bf[b] != T[bf[b]] -> w_s = bf[b]     /* a line end inside of quotes */
    fi;
    decode() }
}

active [NW] proctype Leaf() {
  byte w_b, w_s, w_e, x;
  bool w_p;
#ifdef APART
  bool w_hit;
#endif
  ready;
end_idle:
  do
  :: take(1) -> goto sealed
  :: take(2) -> goto sealed
#ifdef SPARE
  :: take(3) -> goto sealed
  :: take(4) -> goto sealed
#endif
  od;
sealed:
  do
  :: atomic { m_hs[w_b] != w_s || m_he[w_b] != w_e || m_hp[w_b] != w_p || !m_held[w_b] ->
       m_held[w_b] = true; m_hs[w_b] = w_s; m_he[w_b] = w_e; m_hp[w_b] = w_p }
  :: /* the coordinator's proof: the guess was right, or decode again from there */
     atomic { !w_p && m_pf[w_b] != 0 ->
       if :: w_s == m_pf[w_b] -> skip
          :: else -> w_s = m_pf[w_b]; decode()
       fi; w_p = true }
  :: /* its own scan from the prefix */
     atomic { !w_p && bf[w_b] > 0 ->
       if :: w_s == T[bf[w_b]] -> skip
          :: else -> w_s = T[bf[w_b]]; decode()
       fi; w_p = true }
#ifdef UNPROVEN
  :: true -> commit(); goto end_idle
#else
  :: w_p -> commit(); goto end_idle
#endif
  :: atomic { w_s = 0; w_e = 0; w_p = false; w_b = 0 } goto end_idle    /* it dies */
  od
}

/* ---- the coordinator */
inline done(b) {
  atomic { m_done[b] && (k_st[b] == QUEUED || k_st[b] == LEASED || k_st[b] == CANCELLING) ->
    k_st[b] = DONE; k_s[b] = m_ds[b]; k_e[b] = m_de[b] }
}
inline lose(b) {
  atomic { k_st[b] == LEASED && k_ep[b] < MAXGRANT -> k_st[b] = QUEUED }
}
inline cancel(b) {
  atomic { k_st[b] == LEASED || k_st[b] == QUEUED -> k_st[b] = CANCELLING }
}
#ifdef NO_TOMB
inline tomb(b) { atomic { k_st[b] == CANCELLING -> k_st[b] = CANCELLED } }
#else
inline tomb(b) {
  atomic { k_st[b] == CANCELLING && d_led[b] == NONE -> d_led[b] = TOMB; k_st[b] = CANCELLED }
}
#endif
/* Where the slot's predecessor ends, as far as it is known. a: what lies right before b. */
inline prove(a, b) {
  atomic { k_st[b] == LEASED && bt[a] == bf[b] && m_pf[b] == 0 && k_st[a] == DONE &&
           k_s[a] != k_e[a] -> m_pf[b] = k_e[a] }
}
#ifdef UNPROVEN_END
#define PROVEN(a) true
#else
#define PROVEN(a) (m_hp[a] || (m_pf[a] != 0 && m_hs[a] == m_pf[a]))
#endif
inline prove_held(a, b) {
  atomic { k_st[b] == LEASED && bt[a] == bf[b] && m_pf[b] == 0 && k_st[a] == LEASED && m_held[a] &&
           m_hs[a] != m_he[a] && PROVEN(a) -> m_pf[b] = m_he[a] }
}
inline prove_past(a, b) {  /* nothing begins in a: what is known of its start holds for b */
  atomic { k_st[b] == LEASED && bt[a] == bf[b] && m_pf[b] == 0 && m_pf[a] >= bt[a] &&
           m_pf[a] != 0 -> m_pf[b] = m_pf[a] }
}
#ifdef PASS_GAP
#define FOLLOWS(b) (k_e[b] > k_off)
#else
#define FOLLOWS(b) (k_s[b] != k_e[b] && k_s[b] == k_off)
#endif
inline fold(b) {
  atomic { k_st[b] == DONE && !k_fold[b] && FOLLOWS(b) -> k_fold[b] = true; k_off = k_e[b];
    y = 0;
    do
    :: y < k_off -> assert(cover[y] == 1); y++           /* no gap, nothing twice */
    :: else -> break
    od; y = 0;
#ifdef REACH
    assert(k_off < L);
#endif
    }
}
inline crash() {
  atomic { crashes < 1 -> crashes++; y = 0;
    do
    :: y < NB -> m_held[y] = false; m_hs[y] = 0; m_he[y] = 0; m_hp[y] = false; m_pf[y] = 0; y++
    :: else -> break
    od; y = 0 }
}
/* A confirmed tombstone's range is cut again: as it was, or smaller. */
inline cut_again(b) {
  atomic { !recut && !lost && k_st[b] == CANCELLED -> recut = true;
    if
    :: cut(3, bf[b], bt[b])
    :: cut(3, bf[b], bf[b] + 1); cut(4, bf[b] + 1, bt[b])
    fi }
}
#ifdef LOSS
/* The catalog is gone: what the ledger knows is loaded, the rest is cut elsewhere. */
inline lose_state() {
  atomic { !lost && !recut -> lost = true; k_off = 0; z = 3; y = 0;
    do
    :: y < 3 -> k_fold[y] = false; m_pf[y] = 0;
       if
       :: d_led[y] == LOADED -> k_st[y] = DONE; k_s[y] = d_s[y]; k_e[y] = d_e[y];
          bf[y] = d_s[y]; bt[y] = d_e[y]
       :: else -> k_st[y] = UNUSED
       fi; y++
    :: else -> break
    od;
    /* holes: from `hole` to the next start that the ledger knows */
    hole = 0; y = 0;
    do
    :: y < 3 ->
       if
       :: k_st[y] == DONE && k_s[y] != k_e[y] ->
          if :: k_s[y] > hole && z < NB -> cut(z, hole, k_s[y]); z++ :: else fi;
          hole = k_e[y]
       :: else
       fi; y++
    :: else -> break
    od;
    if
    :: hole < L && z == 3 && L - hole > 3 -> cut(3, hole, hole + 3); cut(4, hole + 3, L)
    :: hole < L && z < NB && !(z == 3 && L - hole > 3) -> cut(z, hole, L)
    :: else
    fi;
    y = 0; z = 0; hole = 0 }
}
#endif

active proctype Coordinator() {
  byte y, z, hole;
  /* where records begin: between the cuts; one over a whole range. The first range is loaded
   * before anything is cut in parallel. */
  atomic {
    if
    :: T[1] = 3; T[2] = 3; T[3] = 3; T[4] = 5; T[5] = 5
    :: T[1] = 5; T[2] = 5; T[3] = 5; T[4] = 5; T[5] = 5
    fi;
    T[6] = 6;
    bf[0] = 0; bt[0] = 2; k_st[0] = DONE; k_s[0] = 0; k_e[0] = T[2]; k_fold[0] = true; k_off = T[2];
    d_led[0] = LOADED; d_s[0] = 0; d_e[0] = T[2];
    do
    :: y < T[2] -> cover[y] = 1; y++
    :: else -> break
    od;
    y = 0; cut(1, 2, 4);
#ifndef RECUT
    cut(2, 4, 6);
#endif
    ready = true
  }
end_c:
  do
  :: done(1) :: done(2)
  :: lose(1) :: lose(2)
  :: fold(1) :: fold(2)
  :: prove(0, 1) :: prove(1, 2)
  :: prove_held(1, 2)
  :: prove_past(1, 2)
#ifdef SPARE
  :: done(3) :: done(4)
  :: lose(3) :: lose(4)
  :: tomb(1)
  :: fold(3) :: fold(4)
  :: prove(0, 3) :: prove(3, 4) :: prove(3, 2) :: prove(4, 2) :: prove(0, 4) :: prove(1, 4)
  :: prove_held(3, 4) :: prove_held(3, 2) :: prove_held(4, 2)
  :: prove_past(3, 4) :: prove_past(3, 2) :: prove_past(4, 2)
#endif
  :: crash()
#ifdef RECUT
  :: cancel(1) :: cut_again(1)
#endif
#ifdef LOSS
  :: lose_state()
#endif
  od
}
