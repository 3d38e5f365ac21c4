// The MPI library as this process uses it: who initialised it,
// whether it may still be called, who finalises it.
//
// MPI is one per process by its own definition, so this is the plugin's one object with static lifetime.
// Threading: every method may be called from any thread.
// Errors: MPI without fault tolerance cannot take back an operation that has begun. Whoever leaves one
// unfinished (abort, deadline, error) gives MPI up: from then on this plugin makes no MPI call in this
// process, and MPI_Finalize is not called at exit, so that mpirun sees a failed rank and ends the job.
#pragma once

#include <mpi.h>
#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/status.h"

namespace hvd::mpi {

class Runtime {
 public:
  // Initialises MPI with MPI_THREAD_MULTIPLE if nobody has; then MPI_Finalize is ours too, when the process
  // exits. If the program has initialised it, with at least MPI_THREAD_SERIALIZED, finalising stays the
  // program's. Blocks as MPI_Init_thread does.
  static Result<Runtime*> open();

  // ok while MPI may be called.
  Status status() const;
  // The first call wins.
  void give_up(const Status& why);
  // Memory that an operation left unfinished may still touch: never freed.
  void keep_for_ever(std::shared_ptr<void> memory);

  // Of MPI_COMM_WORLD.
  int rank() const { return rank_; }
  int size() const { return size_; }
  int ranks_on_host() const { return ranks_on_host_; }

  // Held during every stretch of MPI calls; the exit of the process waits for it.
  class Use {
   public:
    explicit Use(Runtime& runtime) : runtime_(runtime) { runtime_.uses_.fetch_add(1); }
    ~Use() { runtime_.uses_.fetch_sub(1); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Runtime& runtime_;
  };

 private:
  Runtime() = default;
  static Runtime& instance();
  Status start();
  void finish_at_exit();

  std::mutex mutex_;  // start, kept_
  bool started_ = false;
  bool finalize_is_ours_ = false;
  pid_t process_ = 0;
  int rank_ = 0;
  int size_ = 1;
  int ranks_on_host_ = 1;
  std::atomic<int> uses_{0};
  std::atomic<bool> given_up_{false};
  AbortLatch latch_;
  std::vector<std::shared_ptr<void>> kept_;
};

// MPI's own words for an error code.
std::string error_text(int code);

// "Open MPI v4.1.4". May be called before MPI_Init.
std::string library_version();

}  // namespace hvd::mpi
