// Where this process stands among the ranks, and the one Session that the functions of this binding use.
//
//   hvd::init();                       // in every process, before anything else
//   std::cout << hvd::rank() << " of " << hvd::size() << '\n';
//
// Threading: every function may be called from any thread.
// Exit: a process that leaves normally (return from main, std::exit) says goodbye to the others and waits for
// them, as long as they live, or for HVD_SHUTDOWN_TIMEOUT seconds. A process that dies is noticed by the others.
// Fork: a child (a data loader) may not use what its parent initialised: every call there throws
// std::logic_error. It leaves the parent's connections alone.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/base/types.h"

namespace hvd {

class Session;

// A Session together with the numbers that this binding gives to what the
// user did not name. Programs use the process's own Context through the
// functions below and never see this class; tests run several in one process.
class Context {
 public:
  explicit Context(std::unique_ptr<Session> session);
  // `whole`, or what stands for it among the members of a process set only: its size is theirs, ranks stay those of the job, and operations
  // without a process set of their own belong to it.
  static std::shared_ptr<Context> among(int process_set, std::shared_ptr<Context> whole);
  // In a forked child nothing is ended: it belongs to the parent.
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // False in a forked child.
  bool is_owner() const;
  // Throws std::logic_error in a forked child.
  Session& session() const;
  int rank() const { return rank_; }
  int size() const { return size_; }
  int process_set() const { return process_set_; }
  // The same for all contexts of one Session.
  const Context& whole() const { return whole_ ? *whole_ : *this; }

  // The lowest number that no unnamed operation of this kind in this process set holds. All ranks run the same program, so they get the
  // same number.
  int take_operation_number(OpKind kind, int process_set = 0);
  void return_operation_number(OpKind kind, int process_set, int number);
  // 0 for the first DistributedOptimizer of its process set, 1 for the next.
  int take_optimizer_number();

 private:
  Context(std::shared_ptr<Context> whole, int process_set, int size);

  std::shared_ptr<Context> whole_;  // nullptr: this is it
  std::unique_ptr<Session> session_;
  int rank_;
  int size_;
  int process_set_ = 0;
  int owner_process_;
  std::mutex mutex_;
  std::map<std::pair<int, OpKind>, std::vector<bool>> taken_;  // [process set, kind][number]
  std::map<int, int> optimizers_;                              // by process set
};

// Meets the other ranks, as the environment says (hvdrun, mpirun; without either: one rank alone). A further
// call does nothing. Throws what errors.h lists.
void init();
// Says goodbye to the other ranks and waits until all have, as long as they live, or HVD_SHUTDOWN_TIMEOUT seconds: then
// WorldError. Without init() it does nothing. Operations that are still pending end with WorldError.
// init() may follow. Process sets and DistributedOptimizers are of the time before: make new ones.
void shutdown();
bool is_initialized();

// Writes what this rank does from now on to a timeline (docs/observing.md): `file` on one rank, otherwise `file`.rankN, which hvdrun
// --merge-timeline puts together. Call it on every rank. Throws std::invalid_argument if it is on already, or the file cannot be written,
// and std::logic_error before init(). HVD_TIMELINE, or hvdrun --timeline-filename, starts it with init().
void start_timeline(const std::string& file, bool mark_cycles = false);
// Does nothing if it is off.
void stop_timeline();

// All of these throw std::logic_error before init().
int rank();
int size();
int local_rank();  // among the ranks of this host
int local_size();
int cross_rank();  // number of this host
int cross_size();  // hosts
std::shared_ptr<Context> context();
Session& session();

}  // namespace hvd
