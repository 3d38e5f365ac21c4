#include "bindings/python/arena.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "bindings/python/errors.h"
#include "bindings/python/interruptible.h"
#include "bindings/python/seconds.h"
#include "horovod_cpp/base/text.h"

namespace py = pybind11;

namespace hvd {

Arena::Arena(std::shared_ptr<const Membership> membership, std::unique_ptr<ArenaEpochs> epochs,
             std::vector<std::size_t> sizes)
    : membership_(std::move(membership)),
      epochs_(std::move(epochs)),
      sizes_(std::move(sizes)),
      owner_process_(::getpid()) {}

Arena::~Arena() {
  if (::getpid() != owner_process_) return;
  epochs_->epochs().leave(Status::shut_down(
      text("rank ", membership_->session().rank(), " has destroyed its DistributedOptimizer")));
}

py::buffer_info Arena::payload() const {
  check_owner();
  return {reinterpret_cast<unsigned char*>(epochs_->epochs().payload()),
          static_cast<py::ssize_t>(epochs_->plan().epochs.payload_bytes)};
}

void Arena::put(std::size_t gradient, std::uintptr_t address) {
  check_owner();
  const std::size_t size = sizes_.at(gradient);
  const py::gil_scoped_release without_gil;
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  if (address != 0) std::memcpy(epochs_->memory_of(gradient), reinterpret_cast<const void*>(address), size);
  epochs_->arrive(gradient);
  epochs_->epochs().help();
}

void Arena::close(bool is_void, bool leaves, bool has_more, int count) {
  check_owner();
  CloseWord word;
  word.is_void = is_void;
  word.leaves = leaves;
  word.has_more = has_more;
  word.has_begun = true;
  word.count = static_cast<std::uint8_t>(std::clamp(count, 0, 255));
  const py::gil_scoped_release without_gil;
  epochs_->close(word);
}

void Arena::withdraw() const {
  CloseWord word;
  word.is_gone = true;
  word.has_begun = true;
  std::fill_n(epochs_->epochs().payload(), epochs_->plan().epochs.payload_bytes, std::byte{0});
  epochs_->close(word);
}

py::bytes Arena::used_somewhere() const {
  std::string flags;
  for (std::size_t i = 0; i < sizes_.size(); ++i) flags += epochs_->is_used_somewhere(i) ? '\1' : '\0';
  return flags;
}

void Arena::begin_epoch() {
  check_owner();
  epochs_->begin_epoch();
}

std::optional<EpochOutcome> Arena::wait(std::optional<double> timeout_s) {
  check_owner();
  std::optional<EpochOutcome> outcome;
  wait_interruptibly(deadline_after(timeout_s), [&](Deadline slice) {
    outcome = epochs_->wait(slice);
    return outcome.has_value();
  });
  if (outcome && outcome->state == EpochState::failed) raise_if_failed(epochs_->failure_of(*outcome));
  return outcome;
}

ArenaDoor::ArenaDoor(std::shared_ptr<const Membership> membership, const ArenaOpening::Parts& parts)
    : membership_(std::move(membership)), opening_(parts) {
  for (const ArenaItem& item : parts.items) sizes_.push_back(item.count * size_in_bytes(item.dtype));
}

bool ArenaDoor::advance(std::optional<double> timeout_s) {
  return wait_interruptibly(deadline_after(timeout_s),
                            [this](Deadline slice) { return opening_.advance(slice); });
}

std::shared_ptr<Arena> ArenaDoor::take() {
  auto epochs = opening_.take();
  return epochs ? std::make_shared<Arena>(membership_, std::move(epochs), std::move(sizes_)) : nullptr;
}

}  // namespace hvd
