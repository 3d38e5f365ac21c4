#include "tests/harness/run_ranks.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {

// The ports of all ranks of one run_ranks call, and the first failure.
class RankGroup {
 public:
  // abort is called under the lock: once remove() has returned, it is not running and never will.
  int add(std::function<void(const Status&)> abort) {
    const std::lock_guard lock(mutex_);
    if (!why_.is_ok()) abort(why_);
    ports_.emplace(next_id_, std::move(abort));
    return next_id_++;
  }
  void remove(int id) {
    const std::lock_guard lock(mutex_);
    ports_.erase(id);
  }
  void fail(int rank, const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (!why_.is_ok()) return;
    why_ = Status::aborted(text("test: rank ", rank, " failed first: ", what));
    for (const auto& [id, abort] : ports_) abort(why_);
  }

 private:
  std::mutex mutex_;
  Status why_;
  int next_id_ = 0;
  std::map<int, std::function<void(const Status&)>> ports_;
};

PortGuard::PortGuard(PortGuard&& other) noexcept
    : group_(std::exchange(other.group_, nullptr)), id_(other.id_) {}
PortGuard& PortGuard::operator=(PortGuard&& other) noexcept {
  std::swap(group_, other.group_);
  std::swap(id_, other.id_);
  return *this;
}
PortGuard::~PortGuard() {
  if (group_ != nullptr) group_->remove(id_);
}

RankScope::~RankScope() = default;
PortGuard RankScope::add(Abort abort) { return {&group_, group_.add(std::move(abort))}; }
void RankScope::keep(Abort abort) { kept_.push_back(add(std::move(abort))); }

namespace {

void run_rank(RankGroup& group, int rank, int size, const std::function<void(RankScope&)>& body) {
  const std::string label = text("rank ", rank);
  pthread_setname_np(pthread_self(), label.c_str());
  const testing::ScopedTrace trace(__FILE__, __LINE__, text(label, " of ", size));
  // Test::HasFatalFailure() answers for the whole case; this one for what the calling thread reports.
  const testing::internal::HasNewFatalFailureHelper failures;
  RankScope scope(group, rank, size);
  try {
    body(scope);
    if (failures.has_new_fatal_failure()) group.fail(rank, "a fatal assertion, printed above");
  } catch (const std::exception& error) {
    ADD_FAILURE() << label << ": the body threw: " << error.what();
    group.fail(rank, error.what());
  } catch (...) {
    ADD_FAILURE() << label << ": the body threw something that is no std::exception";
    group.fail(rank, "an unknown exception");
  }
}

}  // namespace

void run_ranks(int n, const std::function<void(RankScope&)>& body) {
  RankGroup group;
  std::vector<std::thread> threads;
  try {
    for (int rank = 0; rank < n; ++rank) {
      threads.emplace_back([&group, &body, rank, n] { run_rank(group, rank, n, body); });
    }
  } catch (const std::system_error& error) {
    const auto missing = static_cast<int>(threads.size());
    ADD_FAILURE() << "rank " << missing << " of " << n << ": no thread: " << error.what();
    group.fail(missing, error.what());
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace hvd
