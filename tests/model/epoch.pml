/* The epoch protocol in shared memory: docs/protocol.md, "Epochs". README.md says what is checked and how.

   Each rank is two processes: `rank` (backward, close, wait, step) and `helper` (a second thread that reduces; it may be late
   by any number of steps). `init` kills or stops one rank and sets abort latches. One atomic or d_step block is one
   access to a word, or an access to plain memory whose exclusiveness is asserted.
   Defines choose what may happen (DEATH or STOP, THROW, LEAVE_ROUND, FURTHER, PIECES, JOIN, LEFT, RESUME) and which rule is taken
   out (WITHOUT_…). */
#include "words.pml"

bool fault = false; /* a rank has died or was stopped */
byte dead = NOBODY; /* the one that died */
bit latch[RANKS];   /* abort latches; of the first session */
#if MEMORIES == 2
byte memory_of[RANKS];
#define MEMORY_OF(r) memory_of[r]
#else
#define MEMORY_OF(r) 0
#endif
#ifdef LEFT
bit busy[RANKS]; /* its helper holds a chunk, or is about to claim one */
#define SET_BUSY(r, value) busy[r] = value
#else
#define SET_BUSY(r, value) skip
#endif
#define NOTHING 99 /* is left to claim */
#ifdef RESUME
#define IS_LATCHED(s, r) ((s) == 0 && latch[r])
#else
#define IS_LATCHED(s, r) latch[r]
#endif

#ifdef TWO_HELPERS
#define HAS_HELPER(r) ((r) == 0 || (r) == VICTIM)
#else
#define HAS_HELPER(r) true
#endif

/* Seen from above, to assert: what the first rank that obeyed the epoch read. */
short verdict[MEMORIES * (EPOCHS + 1)];
#define VERDICT(s, e) verdict[(s) * (EPOCHS + 1) + (e)]

/* ---- reducing ---------------------------------------------------------------------------------------------------- */

inline choose_work(bucket) {
  SET_BUSY(r, 1);
  s = MEMORY_OF(r); b = bucket;
  /* The claim's bound, e · chunks: the smallest ready flag. */
  limit = READY(s, 0, b);
  for (i : 1 .. RANKS - 1) { if :: IS_MEMBER(s, i) && READY(s, i, b) < limit -> limit = READY(s, i, b) :: else -> skip fi }
  limit = limit * CHUNKS; i = 0
}

/* Between the claim and `done` nobody else may touch the chunk: what is seen at both ends is the same. */
inline read_all() {
  mine = mine % CHUNKS; x = DATA(s, 0, b, mine);
  for (i : 0 .. RANKS - 1) {
    if :: IS_MEMBER(s, i) -> assert(DATA(s, i, b, mine) == x && !IS_SUM(x)) :: else -> skip fi }
  i = 0
}

inline write_all() {
  for (i : 0 .. RANKS - 1) {
    if
    :: IS_MEMBER(s, i) -> assert(DATA(s, i, b, mine) == x); DATA(s, i, b, mine) = x + 1
    :: else -> skip
    fi }
  i = 0
}

proctype helper(byte r) {
  byte s, b, i, x, limit, mine;
  {
    skip;
end_idle:
    do
    :: d_step { HAS_WORK(MEMORY_OF(r), 0) && !left_[r] -> choose_work(0) } -> break
#if BUCKETS == 2
    :: d_step { HAS_WORK(MEMORY_OF(r), 1) && !left_[r] -> choose_work(1) } -> break
#endif
    od;
    /* A claim is compare-and-swap v → v + 1 while v < limit; this is its last attempt. */
#if defined(WITHOUT_CLAIM_SWAP)
    mine = CLAIM(s, b);
    d_step { if :: mine < limit -> CLAIM(s, b) = mine + 1; read_all() :: else -> mine = NOTHING fi };
#elif defined(WITHOUT_CLAIM_BOUND)
    atomic { mine = CLAIM(s, b); CLAIM(s, b) = mine + 1; if :: mine < limit -> read_all() :: else -> mine = NOTHING fi };
#else
    atomic {
      if :: CLAIM(s, b) < limit -> mine = CLAIM(s, b); CLAIM(s, b) = mine + 1; read_all() :: else -> mine = NOTHING fi };
#endif
    d_step {
      if :: mine != NOTHING -> write_all(); DONE(s, b) = DONE(s, b) + 1 :: else -> skip fi;
      s = 0; b = 0; x = 0; limit = 0; mine = 0; SET_BUSY(r, 0)
    };
    goto end_idle
#ifdef WITHOUT_LAST_HELP
  } unless { d_step { left_[r] -> s = 0; b = 0; x = 0; limit = 0; mine = 0 } }
#else
  } unless { d_step { dead == r -> s = 0; b = 0; x = 0; limit = 0; mine = 0 } }
#endif
}

/* ---- a rank's epochs --------------------------------------------------------------------------------------------- */

/* Its gradients, then its flag. Nobody may look at them in between, so it is one step. */
inline publish_bucket(b, epoch) {
  todo = todo & (3 - (1 << b));
  for (i : 0 .. CHUNKS - 1) {
    assert(IS_SUM(DATA(s, r, b, i))); /* nobody reduces it any more */
    DATA(s, r, b, i) = OWN(epoch) }
  i = 0;
  READY(s, r, b) = epoch
}

/* Every bucket, in any order. */
inline publish(epoch) {
  todo = (1 << BUCKETS) - 1;
  do
  :: d_step { todo & 1 -> publish_bucket(0, epoch) }
#if BUCKETS == 2
  :: d_step { todo & 2 -> publish_bucket(1, epoch) }
#endif
#ifdef WITHOUT_TOTAL_PARTICIPATION
  :: kind == VOID -> todo = 0; break
#endif
  :: todo == 0 -> break
  od
}

/* Who is gone says nothing about steps. */
#ifdef WITHOUT_GONE_EXEMPT
#define HAS_COUNT(word) true
#else
#define HAS_COUNT(word) (!((word) & GONE))
#endif

/* What the close words say together. */
inline decide() {
  d = 0; x = 0;
  for (i : 0 .. RANKS - 1) {
    if
    :: IS_MEMBER(s, i) ->
      d = d | (CLOSE(s, i, e) & 15);
      if :: HAS_COUNT(CLOSE(s, i, e)) -> x = x | (1 << CLOSE_COUNT(CLOSE(s, i, e))) :: else -> skip fi
    :: else -> skip
    fi }
#ifdef WITHOUT_COUNTS
  x = 1;
#endif
  if
  :: x & (x - 1) -> d = FAILED + COUNTS_DIFFER
  :: else ->
    d = ((d & VOID) -> VOIDED : COMPLETE + ((d & MORE) -> HAS_MORE : 0)) +
        ((d & LEAVE) -> LEAVES : 0) + ((d & GONE) -> IS_GONE : 0)
  fi;
  d = OUTCOME_WORD(e, d); i = 0; x = 0
}

/* open → failed, or open → what decide() found; `word` is what was read as open. */
inline swap(word) {
#ifdef WITHOUT_OUTCOME_SWAP
  OUTCOME(s, e) = word;
#else
  if :: OUTCOME(s, e) == w -> OUTCOME(s, e) = word :: else -> skip fi;
#endif
  d = 0; w = 0
}

#ifdef FURTHER
#define STEPS_MAY_DIFFER true
#else
#define STEPS_MAY_DIFFER false
#endif

/* x: the ranks are not all in the same step. */
inline obey() {
  /* nobody fails without a reason: not because of a rank that closed and left then */
  assert(STATE(w) != FAILED || ((w & COUNTS_DIFFER) -> (x && STEPS_MAY_DIFFER) : (fault || LEFT_OPEN(s, e))));
#ifdef RESUME
  assert(STATE(w) != FAILED || s == 0);                 /* whom the new session left behind cannot disturb it */
#endif
  assert(VERDICT(s, e) == 0 || VERDICT(s, e) == w);     /* one outcome, and for ever */
  VERDICT(s, e) = w
}

#if defined(WITHOUT_CLOSE_WORDS) || defined(WITHOUT_ALL_WORDS_FOR_VOID)
#define EVERYBODY_HAS_CLOSED true /* not the rule itself is to be found missing, but what follows from it */
#else
#define EVERYBODY_HAS_CLOSED (CLOSE_EPOCH(CLOSE(s, i, e)) == e)
#endif
#define HAS_SAID(kind) (CLOSE_EPOCH(CLOSE(s, i, e)) == e && (CLOSE(s, i, e) & kind))

#define STEPS_DIFFER(i) (!((CLOSE(s, i, e) | CLOSE(s, r, e)) & GONE) && CLOSE_STEP(CLOSE(s, i, e)) != CLOSE_STEP(CLOSE(s, r, e)))

/* Asserts what an outcome promises, and finds x. */
inline check_close_words() {
  x = 0;
  for (i : 0 .. RANKS - 1) {
    if
    :: IS_MEMBER(s, i) ->
      if
      :: STATE(w) != FAILED ->
        assert(EVERYBODY_HAS_CLOSED);                                    /* and none is further than e + 1 */
        assert(STATE(w) == VOIDED || !HAS_SAID(VOID));                   /* void on one: nobody applies it */
        assert((w & LEAVES) || !HAS_SAID(LEAVE));                        /* leave is known to all at once */
        assert((w & IS_GONE) || !HAS_SAID(GONE));
        assert(((w & HAS_MORE) != 0) <= (STATE(w) == COMPLETE));
        assert(CLOSE_EPOCH(CLOSE(s, i, e)) != e || !STEPS_DIFFER(i))     /* all in the same step */
      :: (w & COUNTS_DIFFER) ->
        assert(EVERYBODY_HAS_CLOSED);                                    /* all compose the same message */
        x = x | STEPS_DIFFER(i)
      :: else -> skip
      fi
    :: else -> skip
    fi }
  i = 0
}

inline check_sums() {
  for (i : 0 .. CHUNKS - 1) {
    for (b : 0 .. BUCKETS - 1) {
      assert(DATA(s, r, b, i) == SUM(e));
#ifdef WITHOUT_PRIVATE_SLOT
      for (x : 0 .. RANKS - 1) { assert(DATA(s, x, b, i) == SUM(e)) } /* looks at what lies with the others */
      x = 0;
#endif
    } }
  i = 0; b = 0
}

/* Whether the epoch has everything that its outcome needs. */
#if defined(WITHOUT_CLOSE_WORDS)
#define IS_COMPLETE (by_plan && ALL_DONE(s, e))
#elif defined(WITHOUT_ALL_DONE)
#define IS_COMPLETE ALL_CLOSED(s, e)
#else
#define IS_COMPLETE (ALL_CLOSED(s, e) && (!by_plan || ALL_DONE(s, e)))
#endif

/* Whether the wait for e ends because of a rank that left: one that has closed e does not end it. */
#if defined(WITHOUT_LEFT)
#define GIVES_UP_FOR_LEFT false
#elif defined(WITHOUT_LEFT_OPEN)
#define GIVES_UP_FOR_LEFT (SOMEBODY_LEFT && !IS_COMPLETE)
#else
#define GIVES_UP_FOR_LEFT LEFT_OPEN(s, e)
#endif

/* A rank leaves when its threads reduce no more. */
#if !defined(LEFT)
#define MAY_LEAVE false
#elif defined(WITHOUT_LAST_HELP)
#define MAY_LEAVE (r == LEAVER)
#else
#define MAY_LEAVE (r == LEAVER && !busy[r])
#endif

inline enter_round() { d_step { rounds++; ROUND(s, r) = rounds } }

inline close_with(what) { CLOSE(s, r, e) = CLOSE_WORD(e, step, count, what); kind = OK }

/* How a round without words ends otherwise. Who has read `failed` ends his session, and with it his peers' rounds. */
#define LEFT_BEFORE_ROUND (SOMEBODY_LEFT && !HAS_ENTERED(s, LEAVER, rounds, 0))
#define ROUND_FAILS (IS_LATCHED(s, r) || LEFT_BEFORE_ROUND || STATE(VERDICT(s, e)) == FAILED)

#ifdef WITHOUT_FRESH_MEMORY
/* The old memory, by the last one who comes. */
inline wipe() {
  for (i : 0 .. RANKS * BUCKETS * CHUNKS - 1) { data_[i] = 0 }
  for (i : 0 .. RANKS * BUCKETS - 1) { ready_[i] = 0 }
  for (i : 0 .. BUCKETS - 1) { claim_[i] = 0; done_[i] = 0 }
  for (i : 0 .. RANKS * 2 - 1) { close_[i] = 0 }
  outcome_[0] = 0; outcome_[1] = 0; i = 0
}
#endif

inline take_new_memory() {
  s = 1; e = 1; by_plan = true; follows = false;
#if MEMORIES == 2
  memory_of[r] = 1
#endif
}

proctype rank(byte r) {
  byte s, e = 1, step, count, kind, b, i, x, todo, rounds;
  short d, w;
  bool by_plan = true, ahead = false, follows = false;
  {
    skip;
begin:
    if
    :: IS_LATCHED(s, r) -> goto wait_for_outcome /* gives up between two epochs */
    :: d_step { MAY_LEAVE -> left_[r] = 1 } -> goto finished
    :: skip
    fi;
#if defined(WITHOUT_LEAVE_NEXT)
    if :: by_plan -> kind = LEAVE; by_plan = false :: skip fi; /* leaves at once */
#elif defined(WITHOUT_TOTAL_PARTICIPATION)
    if :: kind = VOID :: skip fi;
#endif
#ifdef JOIN
    /* No more data; not in the middle of a backward. */
    if :: s == 0 && !follows && !ahead -> kind = GONE :: skip fi;
#endif
    if
    :: by_plan && !ahead -> publish(e)
    :: by_plan && ahead -> skip
    :: !by_plan && kind == GONE -> skip
    :: else -> /* negotiated: enter a round, it ends when all are in it, or somebody left, or the transport fails */
      enter_round();
      if
      :: EVERY(HAS_ENTERED, s, rounds, 0) -> skip
      :: LEFT_BEFORE_ROUND -> kind = VOID
      :: IS_LATCHED(s, r) ->
#ifdef WITHOUT_NEGOTIATED_OUTCOME
        d_step { w = OUTCOME_WORD(e, FAILED); x = 0; obey() } -> goto failed
#else
        goto wait_for_outcome
#endif
      fi;
#ifdef WITHOUT_NEGOTIATED_OUTCOME
      d_step { w = OUTCOME_WORD(e, COMPLETE); x = 0; obey() } -> goto decided
#endif
    fi;
    ahead = false;
    if
    :: kind == GONE -> d_step { close_with(GONE) } -> goto gone
    :: d_step { kind != GONE -> close_with(kind) }
#ifdef THROW
    :: d_step { kind == OK && s == 0 -> close_with(VOID) }
#endif
#ifdef LEAVE_ROUND
    :: d_step { kind == OK && s == 0 && by_plan -> close_with(LEAVE) }
#endif
#ifdef PIECES
    :: d_step { kind == OK && by_plan -> close_with(MORE) }
#endif
    fi;
#if defined(WITHOUT_MEMORY_RULE)
    if :: by_plan && e < EPOCHS -> publish(e + 1); ahead = true :: else -> skip fi;
#elif defined(WITHOUT_OUTCOME_BEFORE_PUBLISH)
    if
    :: by_plan && e < EPOCHS -> if :: ALL_DONE(s, e) -> publish(e + 1); ahead = true :: IS_LATCHED(s, r) -> skip fi
    :: else -> skip
    fi;
#endif

wait_for_outcome:
#ifdef WITHOUT_WORD_BEFORE_LATCH
    if :: IS_LATCHED(s, r) -> d_step { w = OUTCOME_WORD(e, FAILED); obey() } -> goto failed :: else -> skip fi;
#endif
    atomic {
      w = OUTCOME(s, e);
      if
      :: IS_DECIDED(w, e) ->
#ifdef WITHOUT_FINAL_FAILED
        if
        :: STATE(w) == FAILED && IS_COMPLETE -> decide(); OUTCOME(s, e) = d; w = d; d = 0
        :: else -> skip
        fi;
#endif
        goto obey_outcome
      :: else -> skip
      fi
    };
    if
    :: OUTCOME(s, e) != w -> goto wait_for_outcome
    :: IS_LATCHED(s, r) -> d_step { swap(OUTCOME_WORD(e, FAILED)) } -> goto wait_for_outcome
    :: d_step { IS_COMPLETE -> decide() } -> d_step { swap(d) } -> goto wait_for_outcome
#ifdef WITHOUT_LEFT_BEFORE_CLOSE
    :: !ALL_CLOSED(s, e) ->
      if :: SOMEBODY_LEFT -> d_step { swap(OUTCOME_WORD(e, FAILED)) } :: else -> skip fi;
      goto wait_for_outcome
#else
    :: GIVES_UP_FOR_LEFT -> d_step { swap(OUTCOME_WORD(e, FAILED)) } -> goto wait_for_outcome
#endif
    :: d_step { MAY_LEAVE -> left_[r] = 1 } -> goto finished
#ifdef WITHOUT_ALL_WORDS_FOR_VOID
    :: HAS_CLOSED(s, 0, e, 0) && (CLOSE(s, 0, e) & VOID) -> d_step { swap(OUTCOME_WORD(e, VOIDED)) } -> goto wait_for_outcome
#endif
    fi;

obey_outcome:
    atomic {
      skip;
      d_step {
        check_close_words(); obey(); x = 0;
        if :: by_plan && STATE(w) == COMPLETE -> check_sums() :: else -> skip fi
      };
      if :: STATE(w) == FAILED -> goto failed :: else -> skip fi;
decided:
      /* After leave (negotiated) and after more another epoch of the same backward follows, on all ranks. */
      follows = STATE(w) == COMPLETE && (w & (LEAVES + HAS_MORE));
#ifdef WITHOUT_MORE_IN_OUTCOME
      follows = STATE(w) == COMPLETE && ((w & LEAVES) || (CLOSE(s, r, e) & MORE));
#endif
      if
      :: follows -> skip
#ifdef FURTHER
      :: !follows && STATE(w) == COMPLETE -> count = NEXT_COUNT(count) /* a further backward before step() */
#endif
#ifdef WITHOUT_VOID_ENDS_STEP
      :: STATE(w) == VOIDED -> step++; count = NEXT_COUNT(count) /* the handler did not call step() */
#endif
      :: !follows -> step++; count = 0
      fi;
#if defined(JOIN) && !defined(WITHOUT_GONE_IN_OUTCOME)
      if :: w & IS_GONE -> w = 0; goto without_words :: else -> skip fi;
#endif
#if MEMORIES == 2 && !defined(RESUME)
      if
      :: !by_plan && rounds == ROUNDS_BEFORE_PLAN -> take_new_memory() /* it was agreed in this epoch's round */
      :: else -> by_plan = by_plan && !(w & LEAVES); e++
      fi;
#else
      e++;
#endif
      w = 0
    };
    if :: s == 0 && e <= EPOCHS || s == 1 && e <= EPOCHS_AFTER -> goto begin :: else -> goto finished fi;

gone: /* does not wait for the outcome */
#ifdef JOIN
    if
    :: !by_plan -> /* takes part in the round of this epoch, as those do who close it later */
      enter_round();
      if :: EVERY(HAS_ENTERED, s, rounds, 0) -> skip :: ROUND_FAILS -> goto finished fi
    :: else -> skip
    fi;
without_words: /* until all have joined and have agreed on a new plan */
    if
    :: d_step { MAY_LEAVE -> left_[r] = 1 } -> goto finished
    :: skip
    fi;
#ifdef WITHOUT_FRESH_MEMORY
    d_step { rounds++; ROUND(s, r) = rounds; if :: EVERY(HAS_ENTERED, s, rounds, 0) -> wipe() :: else -> skip fi };
#else
    enter_round();
#endif
    if
    :: EVERY(HAS_ENTERED, s, rounds, 0) ->
      d_step {
        step = 0;
#ifndef WITHOUT_JOIN_ENDS_STEP
        count = 0;
#endif
        take_new_memory() }
      goto begin
    :: ROUND_FAILS -> goto finished
    fi;
#endif

failed:
#ifdef RESUME
    if
    :: fault && r != VICTIM ->
      d_step { s = 1; e = 1; step = 0; count = 0; kind = 0; w = 0; rounds = 0; by_plan = true; follows = false; JOINED(s, r) = 1;
#ifdef WITHOUT_FRESH_MEMORY
        if :: EVERY(HAS_JOINED, s, 0, 0) -> wipe() :: else -> skip fi;
#endif
      };
      EVERY(HAS_JOINED, s, 0, 0) -> memory_of[r] = s; goto begin
    :: else -> skip
    fi;
#endif
finished:
    atomic { e = 0; step = 0; count = 0; kind = 0; w = 0; rounds = 0; s = 0; by_plan = false; ahead = false; follows = false }
  } unless {
    d_step { dead == r -> e = 0; step = 0; count = 0; kind = 0; b = 0; x = 0; d = 0; w = 0; todo = 0; rounds = 0; s = 0;
      by_plan = false; ahead = false; follows = false }
  }
}

/* ---- fate -------------------------------------------------------------------------------------------------------- */

inline set_latch(i) {
  latch[i] = 1;
#ifdef WITHOUT_OWN_EPOCH
  outcome_[0] = outcome_[0] | FAILED; outcome_[1] = outcome_[1] | FAILED
#endif
}

init {
  byte i;
  atomic { for (i : 0 .. RANKS - 1) { run rank(i); if :: HAS_HELPER(i) -> run helper(i) :: else -> skip fi } i = 0 };
#if defined(DEATH) || defined(STOP)
  /* At any point, also after the end. A stopped rank is given up by the others; being slow by any number of steps is part of
     every run. When it goes on it finds its own latch set, sooner or later. */
#ifdef DEATH
  d_step { fault = true; dead = VICTIM };
#else
  fault = true;
#endif
  do
  :: d_step { latch[0] == 0 -> set_latch(0) }
  :: d_step { latch[1] == 0 && dead != 1 -> set_latch(1) }
#if RANKS == 3
  :: d_step { latch[2] == 0 && dead != 2 -> set_latch(2) }
#endif
  :: else -> break
  od
#endif
}
