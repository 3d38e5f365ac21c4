// Arena: gradients in memory that the ranks of a host share, for Python. The steady state of an optimizer without negotiation (ArenaEpochs).
//
// Threading: every method but withdraw() needs the GIL, and lets go of it while it copies, reduces or waits.
// Fork: a child must not write into what its parent shares. Whatever would raises RuntimeError there.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/python/membership.h"
#include "bindings/torch/arena_epochs.h"
#include "bindings/torch/arena_opening.h"

namespace hvd {

class Arena {
 public:
  // sizes[i]: bytes of gradient i.
  Arena(std::shared_ptr<const Membership> membership, std::unique_ptr<ArenaEpochs> epochs,
        std::vector<std::size_t> sizes);
  // Other ranks that still wait for this one's gradients end with an error.
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  pybind11::buffer_info payload() const;
  // Of a gradient in the payload.
  std::size_t begin_bytes(std::size_t gradient) const { return epochs_->plan().begin_bytes.at(gradient); }

  // The gradient's values are copied from `address`, or are in its memory already if that is 0. Reduces what is ready everywhere.
  void put(std::size_t gradient, std::uintptr_t address);
  // count: reduced backwards since the last step, this one not among them.
  void close(bool is_void, bool leaves, bool has_more, int count);
  // This rank has no more data: the others' current epoch is their last one, with zeros from here. No other method may be called afterwards.
  // From any thread, without the GIL.
  void withdraw() const;
  // Nothing: `timeout_s` has passed. Raises why the epoch failed.
  std::optional<EpochOutcome> wait(std::optional<double> timeout_s);
  // [gradient] 1: some rank had it. Asked after an outcome.
  pybind11::bytes used_somewhere() const;
  void begin_epoch();

 private:
  void check_owner() const { static_cast<void>(membership_->session()); }

  const std::shared_ptr<const Membership> membership_;
  const std::unique_ptr<ArenaEpochs> epochs_;
  const std::vector<std::size_t> sizes_;
  const int owner_process_;
};

// ArenaOpening, with what it needs kept alive.
class ArenaDoor {
 public:
  ArenaDoor(std::shared_ptr<const Membership> membership, const ArenaOpening::Parts& parts);

  // True if it is over; false: `timeout_s` has passed.
  bool advance(std::optional<double> timeout_s);
  // Then. nullptr: there is none on any rank, and `why` says why.
  std::shared_ptr<Arena> take();
  std::string why() const { return opening_.status().message(); }

 private:
  const std::shared_ptr<const Membership> membership_;
  std::vector<std::size_t> sizes_;
  ArenaOpening opening_;
};

}  // namespace hvd
