#include "horovod_cpp/coordinator/flight_recorder.h"

#include <algorithm>

#include "horovod_cpp/base/text.h"

namespace hvd {

FlightRecorder::FlightRecorder(std::shared_ptr<const Clock> clock)
    : clock_(std::move(clock)), start_(clock_->now()), slots_(std::make_unique<Slot[]>(kCapacity)) {}

void FlightRecorder::record(Happening what, std::uint32_t subject, std::uint32_t number) {
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(clock_->now() - start_).count();
  const std::uint64_t mine = next_.fetch_add(1, std::memory_order_acq_rel);
  Slot& slot = slots_[mine % kCapacity];
  slot.ticket.store(0, std::memory_order_relaxed);
  // Release: who reads one of these words reads the ticket as 0, or as a later one, afterwards.
  slot.when_and_what.store((static_cast<std::uint64_t>(since) << 8U) | static_cast<std::uint64_t>(what),
                           std::memory_order_release);
  slot.subject_and_number.store((static_cast<std::uint64_t>(subject) << 32U) | number,
                                std::memory_order_release);
  slot.ticket.store(mine + 1, std::memory_order_release);
}

FlightRecorder::Look FlightRecorder::look(std::uint64_t number, RecordedEvent& out) const {
  const Slot& slot = slots_[number % kCapacity];
  const std::uint64_t ticket = slot.ticket.load(std::memory_order_acquire);
  if (ticket > number + 1) return Look::overwritten;
  if (ticket != number + 1) return Look::unfinished;
  const std::uint64_t first = slot.when_and_what.load(std::memory_order_acquire);
  const std::uint64_t second = slot.subject_and_number.load(std::memory_order_acquire);
  if (slot.ticket.load(std::memory_order_relaxed) != ticket) return Look::overwritten;
  out.when = start_ + std::chrono::nanoseconds(first >> 8U);
  out.what = static_cast<Happening>(first & 0xFFU);
  out.subject = static_cast<std::uint32_t>(second >> 32U);
  out.number = static_cast<std::uint32_t>(second);
  return Look::complete;
}

FlightRecorder::Reading FlightRecorder::read(std::uint64_t from) const {
  Reading reading;
  const std::uint64_t end = count();
  reading.next = std::max(from, end - std::min(end, kCapacity));
  reading.lost = reading.next - from;
  for (; reading.next < end; ++reading.next) {
    RecordedEvent event;
    const Look seen = look(reading.next, event);
    // One that is being written will be there next time; what stays unfinished for half a ring does not hold up the rest.
    if (seen == Look::unfinished && end - reading.next < kCapacity / 2) break;
    if (seen == Look::complete) {
      reading.events.push_back(event);
    } else {
      ++reading.lost;
    }
  }
  return reading;
}

std::vector<RecordedEvent> FlightRecorder::last(std::uint64_t most) const {
  const std::uint64_t end = count();
  return read(end - std::min({end, most, kCapacity})).events;
}

std::uint32_t FlightRecorder::add_plan(const std::string& name,
                                       std::vector<std::vector<std::string>> contents) {
  const std::lock_guard lock(mutex_);
  plans_.push_back({name, std::move(contents)});
  return static_cast<std::uint32_t>(plans_.size() - 1);
}

std::vector<std::string> FlightRecorder::contents_of(std::uint32_t subject) const {
  const std::uint32_t plan = plan_of(subject);
  const std::uint32_t bucket = bucket_of(subject);
  const std::lock_guard lock(mutex_);
  const bool is_known = plan < plans_.size() && bucket < plans_[plan].contents.size();
  return is_known ? plans_[plan].contents[bucket] : std::vector<std::string>{};
}

std::string FlightRecorder::bucket_name(std::uint32_t subject) const {
  const auto contents = contents_of(subject);
  std::string name = text("bucket ", bucket_of(subject));
  if (!contents.empty()) name += text(": ", contents.front());
  if (contents.size() > 1) name += text(" and ", contents.size() - 1, " more");
  return name;
}

std::string FlightRecorder::bucket_contents(std::uint32_t subject) const {
  std::string out;
  for (const std::string& name : contents_of(subject)) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string FlightRecorder::plan_name(std::uint32_t subject) const {
  const std::uint32_t plan = plan_of(subject);
  const std::lock_guard lock(mutex_);
  return plan < plans_.size() ? plans_[plan].name : std::string("gradients");
}

void FlightRecorder::mark_step() {
  const std::uint32_t step = steps_.fetch_add(1, std::memory_order_relaxed) + 1;
  record(Happening::step, 0, step);
}

}  // namespace hvd
