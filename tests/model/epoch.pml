/* The epoch protocol in shared memory: docs/protocol.md, "Epochs". README.md says what is checked and how.

   Each rank is two processes: `rank` (backward, close, wait, step) and `helper` (a second thread that reduces; it may be late
   by any number of steps). `init` kills or stops one rank and sets abort latches. One atomic or d_step block is one
   access to a word, or an access to plain memory whose exclusiveness is asserted.
   Defines choose what may happen (DEATH or STOP, THROW, LEAVE, FURTHER, RESUME) and which rule is taken out (WITHOUT_…). */
#include "words.pml"

bool fault = false;  /* a rank has died or was stopped */
byte gone = NOBODY;  /* the one that died */
bit latch[RANKS];    /* abort latches of the first session */
#ifdef RESUME
byte session_of[RANKS];
#define SESSION_OF(r) session_of[r]
#else
#define SESSION_OF(r) 0
#endif
#define NOTHING 99 /* is left to claim */
#define IS_LATCHED(s, r) ((s) == 0 && latch[r])

#ifdef TWO_HELPERS
#define HAS_HELPER(r) ((r) == 0 || (r) == VICTIM)
#else
#define HAS_HELPER(r) true
#endif

/* Seen from above, to assert: what the first rank that obeyed the epoch read. */
byte verdict[SESSIONS * (EPOCHS + 1)];
#define VERDICT(s, e) verdict[(s) * (EPOCHS + 1) + (e)]

/* ---- reducing ---------------------------------------------------------------------------------------------------- */

inline choose_work(bucket) {
  s = SESSION_OF(r); b = bucket;
  /* Rule 8's e · chunks: the smallest ready flag. */
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
    :: d_step { HAS_WORK(SESSION_OF(r), 0) -> choose_work(0) } -> break
#if BUCKETS == 2
    :: d_step { HAS_WORK(SESSION_OF(r), 1) -> choose_work(1) } -> break
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
      s = 0; b = 0; x = 0; limit = 0; mine = 0
    };
    goto end_idle
  } unless { d_step { gone == r -> s = 0; b = 0; x = 0; limit = 0; mine = 0 } }
}

/* ---- a rank's epochs --------------------------------------------------------------------------------------------- */

/* Its gradients, then its flag. Nobody may look at them in between, so it is one step. */
inline publish_bucket(b, epoch, plan_epoch) {
  left = left & (3 - (1 << b));
  for (i : 0 .. CHUNKS - 1) {
    assert(IS_SUM(DATA(s, r, b, i))); /* rule 7: nobody reduces it any more */
    DATA(s, r, b, i) = OWN(epoch) }
  i = 0;
  READY(s, r, b) = plan_epoch
}

/* Rule 2: every bucket, in any order. */
inline publish(epoch, plan_epoch) {
  left = (1 << BUCKETS) - 1;
  do
  :: d_step { left & 1 -> publish_bucket(0, epoch, plan_epoch) }
#if BUCKETS == 2
  :: d_step { left & 2 -> publish_bucket(1, epoch, plan_epoch) }
#endif
#ifdef WITHOUT_TOTAL_PARTICIPATION
  :: kind == VOID -> left = 0; break
#endif
  :: left == 0 -> break
  od
}

/* What the close words say together. */
inline decide() {
  d = 0; x = 0;
  for (i : 0 .. RANKS - 1) {
    if
    :: IS_MEMBER(s, i) ->
      d = d | (CLOSE(s, i, e) & 3);
      x = x | (1 << (CLOSE_STEP(CLOSE(s, i, e)) & 1))
    :: else -> skip
    fi }
#ifdef WITHOUT_PARITY
  x = 1;
#endif
  if
  :: x == 3 -> d = FAILED
  :: else -> d = ((d & VOID) -> VOIDED : COMPLETE) + ((d & LEAVE) -> LEAVES : 0)
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
  assert(STATE(w) != FAILED || fault || (x && STEPS_MAY_DIFFER)); /* nobody fails without a reason */
  assert(STATE(w) != FAILED || s == 0);                 /* whom the new session left behind cannot disturb it */
  assert(VERDICT(s, e) == 0 || VERDICT(s, e) == w);     /* one outcome, and for ever */
  VERDICT(s, e) = w
}

#if defined(WITHOUT_CLOSE_WORDS) || defined(WITHOUT_ALL_WORDS_FOR_VOID)
#define EVERYBODY_HAS_CLOSED true /* not the rule itself is to be found missing, but what follows from it */
#else
#define EVERYBODY_HAS_CLOSED (CLOSE_EPOCH(CLOSE(s, i, e)) == e)
#endif
#define HAS_SAID(kind) (CLOSE_EPOCH(CLOSE(s, i, e)) == e && (CLOSE(s, i, e) & kind))

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
        assert(CLOSE_EPOCH(CLOSE(s, i, e)) != e ||
               CLOSE_STEP(CLOSE(s, i, e)) == CLOSE_STEP(CLOSE(s, r, e))) /* all in the same step */
      :: else ->
        x = x | (CLOSE_EPOCH(CLOSE(s, i, e)) == e && CLOSE_EPOCH(CLOSE(s, r, e)) == e &&
                 CLOSE_STEP(CLOSE(s, i, e)) != CLOSE_STEP(CLOSE(s, r, e)))
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
#define IS_COMPLETE (by_plan && ALL_DONE(s, p))
#elif defined(WITHOUT_ALL_DONE)
#define IS_COMPLETE ALL_CLOSED(s, e)
#else
#define IS_COMPLETE (ALL_CLOSED(s, e) && (!by_plan || ALL_DONE(s, p)))
#endif

proctype rank(byte r) {
  byte s, e = 1, p = 1, step, kind, b, i, x, d, w, left, rounds;
  bool by_plan = true, ahead = false;
  {
    skip;
begin:
    if
    :: IS_LATCHED(s, r) -> goto wait_for_outcome /* gives up between two epochs */
    :: skip
    fi;
#if defined(WITHOUT_LEAVE_NEXT)
    if :: by_plan -> kind = LEAVE; by_plan = false :: skip fi; /* leaves at once */
#elif defined(WITHOUT_TOTAL_PARTICIPATION)
    if :: kind = VOID :: skip fi;
#endif
    if
    :: by_plan && !ahead -> publish(e, p)
    :: by_plan && ahead -> skip
    :: else -> /* negotiated: enter a round, it ends when all are in it or the transport fails */
      d_step { rounds++; ROUND(s, r) = rounds };
      if
      :: EVERY(HAS_ENTERED, s, rounds, 0) -> skip
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
    :: d_step { CLOSE(s, r, e) = CLOSE_WORD(e, step, kind); kind = OK }
#ifdef THROW
    :: d_step { s == 0 -> CLOSE(s, r, e) = CLOSE_WORD(e, step, VOID); kind = OK }
#endif
#ifdef LEAVE_ROUND
    :: d_step { s == 0 && by_plan -> CLOSE(s, r, e) = CLOSE_WORD(e, step, LEAVE); kind = OK }
#endif
    fi;
#if defined(WITHOUT_MEMORY_RULE)
    if :: by_plan && e < EPOCHS -> publish(e + 1, p + 1); ahead = true :: else -> skip fi;
#elif defined(WITHOUT_OUTCOME_BEFORE_PUBLISH)
    if
    :: by_plan && e < EPOCHS -> if :: ALL_DONE(s, p) -> publish(e + 1, p + 1); ahead = true :: IS_LATCHED(s, r) -> skip fi
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
      if :: by_plan -> p++ :: else -> skip fi;
      by_plan = !(w & LEAVES);
      /* An epoch that leaves has a negotiated one behind it, of the same step. */
      if
      :: (w & LEAVES) && STATE(w) == COMPLETE -> skip
#ifdef FURTHER
      :: !(w & LEAVES) && STATE(w) == COMPLETE -> skip /* a further backward before step() */
#endif
#ifdef WITHOUT_VOID_ENDS_STEP
      :: STATE(w) == VOIDED -> skip /* the handler did not call step() */
#endif
      :: !((w & LEAVES) && STATE(w) == COMPLETE) -> step++
      fi;
      w = 0; e++
    };
#ifdef RESUME
    if :: s == 1 && e > EPOCHS_AFTER -> goto finished :: else -> skip fi;
#endif
    if :: e <= EPOCHS -> goto begin :: else -> goto finished fi;

failed:
#ifdef RESUME
    if
    :: fault && r != VICTIM ->
      d_step { s = 1; e = 1; p = 1; step = 0; kind = 0; w = 0; rounds = 0; by_plan = true; JOINED(s, r) = 1;
#ifdef WITHOUT_FRESH_MEMORY
        if
        :: EVERY(HAS_JOINED, s, 0, 0) -> /* the old memory, wiped by the last one to join */
          for (i : 0 .. RANKS * BUCKETS * CHUNKS - 1) { data_[i] = 0 }
          for (i : 0 .. RANKS * BUCKETS - 1) { ready_[i] = 0 }
          for (i : 0 .. BUCKETS - 1) { claim_[i] = 0; done_[i] = 0 }
          for (i : 0 .. RANKS * 2 - 1) { close_[i] = 0 }
          outcome_[0] = 0; outcome_[1] = 0; i = 0
        :: else -> skip
        fi;
#endif
      };
      EVERY(HAS_JOINED, s, 0, 0) -> session_of[r] = s; goto begin
    :: else -> skip
    fi;
#endif
finished:
    atomic { e = 0; p = 0; step = 0; w = 0; rounds = 0; s = 0; by_plan = false; ahead = false }
  } unless {
    d_step { gone == r -> e = 0; p = 0; step = 0; kind = 0; b = 0; x = 0; d = 0; w = 0; left = 0; rounds = 0; s = 0;
      by_plan = false; ahead = false }
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
  d_step { fault = true; gone = VICTIM };
#else
  fault = true;
#endif
  do
  :: d_step { latch[0] == 0 -> set_latch(0) }
  :: d_step { latch[1] == 0 && gone != 1 -> set_latch(1) }
#if RANKS == 3
  :: d_step { latch[2] == 0 && gone != 2 -> set_latch(2) }
#endif
  :: else -> break
  od
#endif
}
