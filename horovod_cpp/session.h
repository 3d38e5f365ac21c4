// Session: everything that lives for one membership of ranks. The public API of the core; knows no framework.
//
// A Session is immutable in who takes part (rank, size, backends). It owns two threads: the coordinator, which agrees with the
// other ranks on what to do next and does it, and the watcher, which sleeps until a peer dies.
//
// Threading: every method may be called from any thread.
// Errors: a caller's bug comes back as invalid_argument at the call, nothing was submitted. Disagreement between ranks ends the
// Work concerned with mismatch on every rank. When the world fails (a peer died, a connection broke) the first failure latches the
// Session: all pending Work ends with it and later submissions end at once with the same Status.
// After fork(2) the child must not use the Session it inherited.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/epochs.h"
#include "horovod_cpp/coordinator/submission.h"
#include "horovod_cpp/ports/clock.h"
#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/transport.h"
#include "horovod_cpp/work.h"

namespace hvd {

class SecureSocket;

// What a Session is made of. bindings/runtime fills it from the environment; tests fill it by hand.
struct SessionParts {
  Placement placement;
  Config config;
  std::unique_ptr<Transport> control;  // negotiation; nobody else may use it
  // What reduces, at most one for each device type.
  std::vector<std::unique_ptr<Collectives>> collectives;
  // A connected socket to each rank (own entry closed), past its handshake, that carries nothing but life: its end means that the peer is gone.
  // Nothing where something else watches (threads as ranks, mpirun).
  std::shared_ptr<std::vector<SecureSocket>> peer_links;
  // An eventfd, or closed: each time it becomes readable, somebody wants to know what the ranks are doing (tell_picture).
  UniqueFd picture_signal;
  std::shared_ptr<void> picture_signal_owner;  // let go when the Session ends
  std::shared_ptr<void> fork_guard;            // likewise: keeps sockets from forked children
  // For the timeline: what this process was when the job began, if it is something else now; and whether an earlier Session of this process has
  // begun the file.
  std::optional<Placement> placement_at_start;
  bool timeline_goes_on = false;
  std::chrono::nanoseconds clock_offset{};  // what this rank's clock is ahead of rank 0's; for the timeline
  std::shared_ptr<const Clock> clock = std::make_shared<SteadyClock>();
};

class Session {
 public:
  // Collective in effect (the parts already are). Starts the threads.
  static Result<std::unique_ptr<Session>> create(SessionParts parts);
  // Ends everything that is pending with shut_down and joins the threads; does not wait for other ranks.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  int rank() const;
  int size() const;
  const Placement& placement() const;
  const Config& config() const;
  // For people: "control shm, cpu shm, cuda nccl".
  std::string backends() const;
  // Whether reducing memory of this kind moves bytes over anything but memory that ranks share: then fewer bytes are faster. The same
  // answer on every rank.
  bool crosses_wire(DeviceType type) const;

  // Local and cheap after the first call. The same declaration again gives the same id. A name that is declared again with
  // other properties (a tensor has grown) gets a new id, unless the old one is still pending: then invalid_argument.
  Result<TensorId> declare(const Declaration& declaration);

  // Never blocks. Fails at once (a finished Work) if the id is already pending, the Session is latched or shut down.
  Work submit(Submission submission);
  // Several at once: one wake-up of the coordinator. The members of a group must come in one call, all of them.
  std::vector<Work> submit(std::vector<Submission> submissions);

  // As submit() and waiting until all of it has ended, which is all that the caller does: in a streak of such calls nobody else's thread is needed,
  // where every backend allows it. What a Submission says to be called on the coordinator's thread may be called on this one. Only an end of the
  // operation or of the Session ends it.
  Work call(Submission submission);
  std::vector<Work> call(std::vector<Submission> submissions);

  // The members of a process set: set 0 is all ranks; nothing if there is no such set.
  std::optional<std::vector<int>> process_set(int id) const;
  // Collective over all ranks, in the same order on all: a set of these ranks, on whose members operations may then be submitted (Declaration::process_set). The Work's
  // result is {its id}. Sets may overlap.
  Work add_process_set(std::vector<int> ranks);
  // Collective over all ranks. What is pending in it ends with mismatch.
  Work remove_process_set(int id);
  // This rank has no more data: until all members of the set have joined, it contributes zeros to their allreduces and reducescatters, no
  // rows to their allgathers, takes part in their barriers and, but as root, in their broadcasts. The Work ends when all have joined; its
  // result is {the last rank to join}.
  Work join(int process_set = 0);
  // Ends when all members of the set have come.
  Work barrier(int process_set = 0);

  // Collective over the members of the set: they share memory for this plan, the same on all, and reduce it in epochs. `take` gets it on the
  // coordinator's thread before the Work ends well. Where ranks share no host, or one has not the memory, the Work ends with unimplemented or
  // unavailable on all of them, and the Session goes on. `name`: as of a declaration.
  Work open_epochs(const std::string& name, EpochPlan plan, int process_set,
                   std::function<void(std::shared_ptr<Epochs>)> take);

  // Writes what this rank does from now on to a timeline (docs/observing.md): to `file` if there is one rank, to `file`.rankN otherwise; call
  // it on every rank. Errors: invalid_argument if it is on already, or the file cannot be written. HVD_TIMELINE starts it with the Session.
  Status start_timeline(const std::string& file, bool mark_cycles = false);
  // Does nothing if it is off.
  void stop_timeline();
  // For the timeline and for messages: this rank has taken a step of an optimizer.
  void mark_step();
  // One rank logs what all are doing, as words: who has not submitted what, and who waits for it. Does not block. `why`: for people.
  void tell_picture(const std::string& why);
  // How long operations have been under way here since the Session began, one after another: negotiated ones, not epochs.
  std::chrono::nanoseconds time_in_backends() const;
  // The processor time that the coordinator's thread has used.
  std::chrono::nanoseconds processor_time() const;
  // What is known to hold up the process of that rank, if it is on this host: "its process is stopped …"; empty: nothing.
  std::string trouble_of(int rank) const;

  // Ends the Session on this rank with `why`: pending Work ends with it, the other ranks notice.
  void abort(const Status& why);
  // ok, or what ended the Session.
  Status status() const;

  // Says goodbye to the other ranks and waits until all have done so, or the deadline. Operations that other ranks submit
  // without this one end there with an error that names it. Idempotent.
  Status shutdown(Deadline deadline);

 private:
  class Body;
  struct Accepted;
  Accepted accept(std::vector<Submission> submissions);
  Work submit(const Declaration& declaration);  // of an operation without tensors
  explicit Session(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace hvd
