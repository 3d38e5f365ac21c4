/* The words of the epoch protocol (docs/protocol.md) and what may be asked of them. Included by epoch.pml.
   Indices: s session, r rank, b bucket, c chunk, e epoch, p plan epoch (epochs that used the plan, counted from 1). */

#ifndef RANKS
#define RANKS 2
#endif
#ifndef BUCKETS
#define BUCKETS 2
#endif
#ifndef CHUNKS
#define CHUNKS 2
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif

#ifdef RESUME
#define SESSIONS 2
#define EPOCHS_AFTER 1 /* of the second session */
#else
#define SESSIONS 1
#endif

/* By symmetry it does not matter which rank meets with a fate. The second session goes on without it. */
#define VICTIM (RANKS - 1)
#define NOBODY 9
#define IS_MEMBER(s, r) ((r) < RANKS - (s))

#ifdef WITHOUT_FRESH_MEMORY
#define MEMORY(s) 0
#else
#define MEMORY(s) (s)
#endif

#define SLOT(e) ((e) & 1)
#ifdef WITHOUT_TWO_SLOTS
#define OUTCOME_SLOT(e) 0
#else
#define OUTCOME_SLOT(e) SLOT(e)
#endif

/* The gradients, as far as it matters whose epoch they are of: a rank's own, or the sum. */
#define OWN(e) (2 * (e))
#define SUM(e) (2 * (e) + 1)
#define IS_SUM(x) (((x) & 1) || (x) == 0)

byte data_[SESSIONS * RANKS * BUCKETS * CHUNKS];
byte ready_[SESSIONS * RANKS * BUCKETS]; /* written by its rank */
byte claim_[SESSIONS * BUCKETS];         /* swapped by any reducer */
byte done_[SESSIONS * BUCKETS];          /* incremented by any reducer */
short close_[SESSIONS * RANKS * 2];      /* written by its rank */
byte outcome_[SESSIONS * 2];             /* swapped by any waiter */
bit joined_[SESSIONS * RANKS];           /* rendezvous of a session, not shared memory */
byte round_[SESSIONS * RANKS];           /* negotiated rounds that a rank has entered: messages, not shared memory */

#define DATA(s, r, b, c) data_[((MEMORY(s) * RANKS + (r)) * BUCKETS + (b)) * CHUNKS + (c)]
#define READY(s, r, b) ready_[(MEMORY(s) * RANKS + (r)) * BUCKETS + (b)]
#define CLAIM(s, b) claim_[MEMORY(s) * BUCKETS + (b)]
#define DONE(s, b) done_[MEMORY(s) * BUCKETS + (b)]
#define CLOSE(s, r, e) close_[(MEMORY(s) * RANKS + (r)) * 2 + SLOT(e)]
#define OUTCOME(s, e) outcome_[MEMORY(s) * 2 + OUTCOME_SLOT(e)]
#define JOINED(s, r) joined_[(s) * RANKS + (r)]
#define ROUND(s, r) round_[(s) * RANKS + (r)]

/* Close word: epoch, step (the protocol itself looks at its parity only), leave, void. */
#define OK 0
#define VOID 1
#define LEAVE 2
#define CLOSE_WORD(e, step, kind) ((e) * 64 + (step) * 4 + (kind))
#define CLOSE_EPOCH(w) ((w) >> 6)
#define CLOSE_STEP(w) (((w) >> 2) & 15)

/* Outcome word: epoch, leave, state. A word of an older epoch is open: nobody writes `open`. */
#define OPEN 0
#define COMPLETE 1
#define VOIDED 2
#define FAILED 3
#define LEAVES 4
#define OUTCOME_WORD(e, bits) ((e) * 8 + (bits))
#define STATE(w) ((w) & 3)
#ifdef WITHOUT_TAG
#define IS_DECIDED(w, e) (STATE(w) != OPEN)
#else
#define IS_DECIDED(w, e) ((w) >> 3 == (e) && STATE(w) != OPEN)
#endif

/* EVERY(P, s, x, y): P(s, r, x, y) for every member r. */
#define FOR_MEMBER(P, s, r, x, y) (!IS_MEMBER(s, r) || P(s, r, x, y))
#if RANKS == 2
#define EVERY(P, s, x, y) (FOR_MEMBER(P, s, 0, x, y) && FOR_MEMBER(P, s, 1, x, y))
#else
#define EVERY(P, s, x, y) (FOR_MEMBER(P, s, 0, x, y) && FOR_MEMBER(P, s, 1, x, y) && FOR_MEMBER(P, s, 2, x, y))
#endif
#define HAS_CLOSED(s, r, e, unused) (CLOSE_EPOCH(CLOSE(s, r, e)) == (e))
#define HAS_JOINED(s, r, unused, unused2) JOINED(s, r)
#define HAS_ENTERED(s, r, round, unused) (ROUND(s, r) >= (round))
#define IS_READY_FOR(s, r, b, chunks) (READY(s, r, b) * CHUNKS > (chunks))

#define ALL_CLOSED(s, e) EVERY(HAS_CLOSED, s, e, 0)
#if BUCKETS == 1
#define ALL_DONE(s, p) (DONE(s, 0) >= (p) * CHUNKS)
#else
#define ALL_DONE(s, p) (DONE(s, 0) >= (p) * CHUNKS && DONE(s, 1) >= (p) * CHUNKS)
#endif
/* Every rank has published a plan epoch of which not all chunks are claimed. */
#define HAS_WORK(s, b) EVERY(IS_READY_FOR, s, b, CLAIM(s, b))
