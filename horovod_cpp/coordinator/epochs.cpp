#include "horovod_cpp/coordinator/epochs.h"

#include <algorithm>
#include <numeric>

#include "horovod_cpp/coordinator/epoch_page.h"
#include "horovod_cpp/coordinator/flight_recorder.h"

namespace hvd {
namespace {

// Counts a thread that may have claimed chunks.
class Reducing {
 public:
  explicit Reducing(std::atomic<int>& count) : count_(count) { ++count_; }
  ~Reducing() { --count_; }
  Reducing(const Reducing&) = delete;
  Reducing& operator=(const Reducing&) = delete;

 private:
  std::atomic<int>& count_;
};

// How many buckets that are not ready help() passes before it stops looking.
constexpr int kLookAhead = 4;

}  // namespace

Epochs::Epochs(std::unique_ptr<RegisteredMemory> memory, EpochPlan plan, std::vector<int> ranks,
               SpinLimits spin, EpochsRecord record)
    : memory_(std::move(memory)),
      plan_(std::move(plan)),
      layout_(plan_),
      ranks_(std::move(ranks)),
      patience_(spin),
      record_(std::move(record)),
      is_published_(plan_.buckets.size()),
      close_words_(ranks_.size()) {}

// --- memory ---

std::byte* Epochs::memory_of(int member) const {
  return memory_->of_members()[static_cast<std::size_t>(member)].data;
}
const MappedMemory& Epochs::own_memory() const {
  return memory_->of_members()[static_cast<std::size_t>(memory_->member())];
}
EpochPage& Epochs::page_of(int member) const { return *reinterpret_cast<EpochPage*>(memory_of(member)); }

std::atomic<std::uint64_t>& Epochs::word(int member, std::size_t begin, std::size_t bucket) const {
  return reinterpret_cast<EpochWord*>(memory_of(member) + begin)[bucket].value;
}
std::atomic<std::uint64_t>& Epochs::ready_word(int member, std::size_t bucket) const {
  return word(member, layout_.ready, bucket);
}
std::atomic<std::uint64_t>& Epochs::claim_word(std::size_t bucket) const {
  return word(0, layout_.claim, bucket);
}
std::atomic<std::uint64_t>& Epochs::done_word(std::size_t bucket) const {
  return word(0, layout_.done, bucket);
}
std::atomic<std::uint64_t>& Epochs::close_word(int member, std::uint64_t epoch) const {
  return page_of(member).close[epoch % 2].value;
}
std::atomic<std::uint64_t>& Epochs::outcome_word(std::uint64_t epoch) const {
  return page_of(0).outcome[epoch % 2].value;
}
double* Epochs::squares() const { return reinterpret_cast<double*>(memory_of(0) + layout_.squares); }

// A wake-up is a system call for each sleeper: only what ends somebody's wait rings. Each such condition has several parts (all have
// published; all have closed and all is reduced), and who makes one true looks at the others afterwards: with sequential consistency the last
// one sees them all.
void Epochs::ring_all() const {
  for (int member = 0; member < size(); ++member) page_of(member).bell.ring_if_needed();
}

// --- publish and reduce ---

void Epochs::publish(std::size_t bucket) {
  is_published_[bucket] = true;
  record(Happening::published, bucket);
  ready_word(memory_->member(), bucket).store(epoch_);
  if (published_everywhere(bucket) >= epoch_) ring_all();
}

// The epoch up to which all ranks have published it.
std::uint64_t Epochs::published_everywhere(std::size_t bucket) const {
  std::uint64_t lowest = ready_word(0, bucket).load();
  for (int member = 1; member < size(); ++member)
    lowest = std::min(lowest, ready_word(member, bucket).load());
  return lowest;
}

bool Epochs::is_claimable(std::size_t bucket) const {
  return claim_word(bucket).load() < published_everywhere(bucket) * layout_.chunks_of(bucket);
}

bool Epochs::reduce_bucket(std::size_t bucket, std::uint64_t most_chunks) {
  const std::uint64_t chunks = layout_.chunks_of(bucket);
  const std::uint64_t end = published_everywhere(bucket) * chunks;
  const Reducing reducing(reducing_);
  auto& claim = claim_word(bucket);
  std::uint64_t reduced = 0;
  std::uint64_t next = claim.load(std::memory_order_relaxed);
  while (next < end && reduced < most_chunks) {
    // Never fetch_add: a late helper would take a chunk of the next epoch, and drop it.
    if (!claim.compare_exchange_weak(next, next + 1, std::memory_order_relaxed)) continue;
    if (next % chunks == 0) record(Happening::all_ready, bucket);
    reduce_chunk(bucket, next % chunks);
    ++reduced;
    if ((done_word(bucket).fetch_add(1) + 1) % chunks == 0) {
      record(Happening::reduced, bucket);
      if (all_closed() && all_done()) ring_all();
    }
    next = claim.load(std::memory_order_relaxed);
  }
  return reduced > 0;
}

RegisteredRange Epochs::range_of(std::size_t bucket, std::size_t chunk) const {
  const EpochBucket& of = plan_.buckets[bucket];
  const std::size_t element = size_in_bytes(of.dtype);
  const std::size_t begin = chunk * plan_.chunk_bytes / element;
  const std::size_t count = std::min(plan_.chunk_bytes / element, of.count - std::min(of.count, begin));
  return {layout_.payload + of.begin_bytes + begin * element, count, of.dtype};
}

double Epochs::sum_of_own_squares() const {
  double sum = 0.0;
  for (std::size_t bucket = 0; bucket < plan_.buckets.size(); ++bucket) {
    for (std::size_t chunk = 0; chunk < layout_.chunks_of(bucket); ++chunk)
      sum += memory_->sum_of_squares(range_of(bucket, chunk));
  }
  return sum;
}

void Epochs::reduce_chunk(std::size_t bucket, std::size_t chunk) const {
  const double sum = memory_->reduce(range_of(bucket, chunk), plan_.op, plan_.scale, plan_.wants_squares);
  if (plan_.wants_squares) squares()[layout_.first_chunk[bucket] + chunk] = sum;
  if (chunk == 0) combine_flags(plan_.buckets[bucket]);
}

void Epochs::combine_flags(const EpochBucket& bucket) const {
  for (std::size_t i = bucket.first_flag; i < bucket.first_flag + bucket.flag_count; ++i) {
    std::byte any{0};
    for (int member = 0; member < size(); ++member) any |= memory_of(member)[layout_.own_flags + i];
    for (int member = 0; member < size(); ++member) memory_of(member)[layout_.combined_flags + i] = any;
  }
}

bool Epochs::reduce_claimable() {
  bool has_reduced = false;
  for (std::size_t bucket = 0; bucket < plan_.buckets.size(); ++bucket) {
    has_reduced = reduce_bucket(bucket, layout_.chunks_of(bucket)) || has_reduced;
  }
  return has_reduced;
}

// A rank's share of each: it is the last one to publish that finds a bucket ready, and the others would wait for it if it reduced all of it.
void Epochs::help() {
  const std::uint64_t epoch = epoch_.load(std::memory_order_relaxed);
  const auto begin = std::chrono::steady_clock::now();
  bool has_reduced = false;
  int passed = 0;
  for (std::size_t bucket = 0; bucket < plan_.buckets.size() && passed < kLookAhead; ++bucket) {
    const std::uint64_t chunks = layout_.chunks_of(bucket);
    if (claim_word(bucket).load(std::memory_order_relaxed) >= epoch * chunks) continue;
    const auto members = static_cast<std::uint64_t>(size());
    const bool is_reduced = reduce_bucket(bucket, (chunks + members - 1) / members);
    has_reduced = has_reduced || is_reduced;
    passed += is_reduced ? 0 : 1;
  }
  if (has_reduced) helping_ns_ += (std::chrono::steady_clock::now() - begin).count();
}

// --- close and wait ---

void Epochs::close(const CloseWord& word) {
  if (has_plan_) {
    for (std::size_t bucket = 0; bucket < plan_.buckets.size(); ++bucket) {
      if (!is_published_[bucket]) publish(bucket);
    }
  }
  closed_at_ns_.store(std::chrono::steady_clock::now().time_since_epoch().count());
  record(Happening::closed, 0, epoch_);
  close_word(memory_->member(), epoch_).store(encode(epoch_, word));
  if (all_closed()) ring_all();
}

bool Epochs::all_closed() const {
  for (int member = 0; member < size(); ++member) {
    if (epoch_of(close_word(member, epoch_).load()) != epoch_) return false;
  }
  return true;
}

bool Epochs::all_done() const {
  if (!has_plan_) return true;
  const std::uint64_t epoch = epoch_;
  for (std::size_t bucket = 0; bucket < plan_.buckets.size(); ++bucket) {
    if (done_word(bucket).load() < epoch * layout_.chunks_of(bucket)) return false;
  }
  return true;
}

std::span<const CloseWord> Epochs::read_close_words() {
  for (int member = 0; member < size(); ++member)
    close_words_[static_cast<std::size_t>(member)] = decode_close(close_word(member, epoch_).load());
  return close_words_;
}

// The outcome of this epoch, decided here if it can be. The word first: what others have obeyed is not to be given up.
std::optional<EpochOutcome> Epochs::look() {
  for (;;) {
    std::uint64_t word = outcome_word(epoch_).load();
    if (epoch_of(word) == epoch_) return decode_outcome(word);
    EpochOutcome next{.state = EpochState::failed};
    if (latch_.is_set()) {
      say_why(latch_.status(), /*is_leaving=*/false);
    } else if (all_closed() && all_done()) {
      next = decide(read_close_words());
    } else if (const auto why = who_left()) {
      say_why(*why, /*is_leaving=*/false);
    } else {
      return std::nullopt;
    }
    if (outcome_word(epoch_).compare_exchange_strong(word, encode(epoch_, next))) ring_all();
  }
}

bool Epochs::is_worth_waking() const {
  if (epoch_of(outcome_word(epoch_).load()) == epoch_ || latch_.is_set()) return true;
  for (std::size_t bucket = 0; has_plan_ && bucket < plan_.buckets.size(); ++bucket) {
    if (is_claimable(bucket)) return true;
  }
  return (all_closed() && all_done()) || who_left();
}

std::optional<EpochOutcome> Epochs::wait(Deadline deadline) {
  const auto is_worth_looking = [this] { return is_worth_waking(); };
  for (bool has_slept = false;;) {
    if (const auto outcome = look()) return obey(*outcome);
    if (has_plan_ && reduce_claimable()) continue;
    if (deadline.passed()) return std::nullopt;
    if (patience_.is_over_soon(is_worth_looking)) continue;
    if (!has_slept) record_whom_it_awaits();
    has_slept = true;
    page_of(memory_->member()).bell.sleep_unless(is_worth_looking, deadline);
  }
}

EpochOutcome Epochs::obey(const EpochOutcome& outcome) {
  record(Happening::decided, 0, static_cast<std::uint64_t>(outcome.state));
  closed_at_ns_.store(0);
  time_helped_ = std::chrono::nanoseconds(helping_ns_.exchange(0));
  if (outcome.state == EpochState::failed) {
    failure_ = why_failed(outcome);
    return outcome;
  }
  void_ranks_ = 0;
  for (const CloseWord& word : read_close_words()) void_ranks_ += word.is_void ? 1 : 0;
  if (has_plan_) {
    const double* const first = squares();
    sum_of_squares_ = std::accumulate(first, first + layout_.first_chunk.back(), 0.0);
    is_published_.assign(is_published_.size(), false);
  }
  has_plan_ = has_plan_ && !outcome.leaves;
  ++epoch_;
  return outcome;
}

}  // namespace hvd
