/* The words of the epoch protocol (docs/protocol.md) and what may be asked of them. Included by epoch.pml.
   Indices: s memory (each plan and each session has its own), r rank, b bucket, c chunk, e epoch (in each memory from 1). */

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

/* Another memory is a new plan's after a leave or a join, or another session's. */
#if defined(RESUME) && (defined(LEAVE_ROUND) || defined(JOIN))
#error "there are two memories: one case at a time"
#endif
#if defined(RESUME) || defined(LEAVE_ROUND) || defined(JOIN)
#define MEMORIES 2
#else
#define MEMORIES 1
#endif
#ifndef EPOCHS_AFTER
#define EPOCHS_AFTER 1 /* in the second memory */
#endif
#ifndef ROUNDS_BEFORE_PLAN
#define ROUNDS_BEFORE_PLAN 1
#endif

/* By symmetry it does not matter which rank meets with a fate. The second session goes on without it. */
#define VICTIM (RANKS - 1)
#define LEAVER 0
#define NOBODY 9
#ifdef RESUME
#define IS_MEMBER(s, r) ((r) < RANKS - (s))
#else
#define IS_MEMBER(s, r) true
#endif

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

byte data_[MEMORIES * RANKS * BUCKETS * CHUNKS];
byte ready_[MEMORIES * RANKS * BUCKETS]; /* written by its rank */
byte claim_[MEMORIES * BUCKETS];         /* swapped by any reducer */
byte done_[MEMORIES * BUCKETS];          /* incremented by any reducer */
short close_[MEMORIES * RANKS * 2];      /* written by its rank */
short outcome_[MEMORIES * 2];            /* swapped by any waiter */
bit left_[RANKS];                        /* written by its rank, once */
bit joined_[MEMORIES * RANKS];           /* rendezvous of a session, not shared memory */
byte round_[MEMORIES * RANKS];           /* negotiated rounds that a rank has entered: messages, not shared memory */

#define DATA(s, r, b, c) data_[((MEMORY(s) * RANKS + (r)) * BUCKETS + (b)) * CHUNKS + (c)]
#define READY(s, r, b) ready_[(MEMORY(s) * RANKS + (r)) * BUCKETS + (b)]
#define CLAIM(s, b) claim_[MEMORY(s) * BUCKETS + (b)]
#define DONE(s, b) done_[MEMORY(s) * BUCKETS + (b)]
#define CLOSE(s, r, e) close_[(MEMORY(s) * RANKS + (r)) * 2 + SLOT(e)]
#define OUTCOME(s, e) outcome_[MEMORY(s) * 2 + OUTCOME_SLOT(e)]
#define JOINED(s, r) joined_[(s) * RANKS + (r)]
#define ROUND(s, r) round_[(s) * RANKS + (r)]

/* Close word: epoch, count, gone, more, leave, void; and the step, which nobody looks at but assertions. */
#define OK 0
#define VOID 1
#define LEAVE 2
#define MORE 4
#define GONE 8
#define CLOSE_WORD(e, step, count, kind) ((e) * 512 + (step) * 64 + (count) * 16 + (kind))
#define CLOSE_EPOCH(w) ((w) >> 9)
#define CLOSE_STEP(w) (((w) >> 6) & 7)
#define CLOSE_COUNT(w) (((w) >> 4) & 3)

/* The next count. The largest is 255 in the code; with 2 it is reached. */
#ifdef WITHOUT_LARGEST_COUNT
#define NEXT_COUNT(count) (((count) + 1) & 1)
#else
#define NEXT_COUNT(count) ((count) < 2 -> (count) + 1 : 2)
#endif

/* Outcome word: epoch, counts differ, gone, more, leave, state. A word of an older epoch is open: nobody writes `open`. */
#define OPEN 0
#define COMPLETE 1
#define VOIDED 2
#define FAILED 3
#define LEAVES 4
#define HAS_MORE 8
#define IS_GONE 16
#define COUNTS_DIFFER 32
#define OUTCOME_WORD(e, bits) ((e) * 64 + (bits))
#define STATE(w) ((w) & 3)
#ifdef WITHOUT_TAG
#define IS_DECIDED(w, e) (STATE(w) != OPEN)
#else
#define IS_DECIDED(w, e) ((w) >> 6 == (e) && STATE(w) != OPEN)
#endif

/* EVERY(P, s, x, y): P(s, r, x, y) for every member r. */
#define FOR_MEMBER(P, s, r, x, y) (!IS_MEMBER(s, r) || P(s, r, x, y))
#if RANKS == 2
#define EVERY(P, s, x, y) (FOR_MEMBER(P, s, 0, x, y) && FOR_MEMBER(P, s, 1, x, y))
#else
#define EVERY(P, s, x, y) (FOR_MEMBER(P, s, 0, x, y) && FOR_MEMBER(P, s, 1, x, y) && FOR_MEMBER(P, s, 2, x, y))
#endif
#define HAS_CLOSED(s, r, e, unused) (CLOSE_EPOCH(CLOSE(s, r, e)) == (e))
#define STAYS(s, r, e, unused) (!left_[r] || CLOSE_EPOCH(CLOSE(s, r, e)) == (e))
#define HAS_JOINED(s, r, unused, unused2) JOINED(s, r)
#define HAS_ENTERED(s, r, round, unused) (ROUND(s, r) >= (round))
#define IS_READY_FOR(s, r, b, chunks) (READY(s, r, b) * CHUNKS > (chunks))

#define ALL_CLOSED(s, e) EVERY(HAS_CLOSED, s, e, 0)
#define SOMEBODY_LEFT (left_[LEAVER])
/* Somebody has left and never closes e. He who looks at the close word after the flag sees what holds for ever: one step. */
#define LEFT_OPEN(s, e) (!EVERY(STAYS, s, e, 0))
#if BUCKETS == 1
#define ALL_DONE(s, e) (DONE(s, 0) >= (e) * CHUNKS)
#else
#define ALL_DONE(s, e) (DONE(s, 0) >= (e) * CHUNKS && DONE(s, 1) >= (e) * CHUNKS)
#endif
/* Every rank has published an epoch of which not all chunks are claimed. */
#define HAS_WORK(s, b) EVERY(IS_READY_FOR, s, b, CLAIM(s, b))
