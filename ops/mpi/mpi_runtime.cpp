#include "ops/mpi/mpi_runtime.h"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/text.h"

namespace hvd::mpi {
namespace {

const char* name_of_thread_level(int level) {
  switch (level) {
    case MPI_THREAD_SINGLE:
      return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED:
      return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED:
      return "MPI_THREAD_SERIALIZED";
    case MPI_THREAD_MULTIPLE:
      return "MPI_THREAD_MULTIPLE";
    default:
      return "an unknown thread level";
  }
}

// A plugin is loaded with RTLD_LOCAL, and so is libmpi with it. MPI loads components of its own that may be
// linked without libmpi and then look for its symbols in the global scope.
void make_symbols_global() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&MPI_Init_thread), &info) == 0 || info.dli_fname == nullptr)
    return;
  ::dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

Status failed(const char* call, int code) {
  return Status::aborted(text(call, " failed while MPI was being started: ", error_text(code)));
}

}  // namespace

std::string error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> buffer{};
  int length = 0;
  if (MPI_Error_string(code, buffer.data(), &length) != MPI_SUCCESS) return text("MPI error ", code);
  return {buffer.data(), static_cast<std::size_t>(length)};
}

std::string library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> buffer{};
  int length = 0;
  if (MPI_Get_library_version(buffer.data(), &length) != MPI_SUCCESS) return "MPI of unknown version";
  const std::string whole(buffer.data(), static_cast<std::size_t>(length));
  return whole.substr(0, whole.find_first_of(",\n"));
}

Runtime& Runtime::instance() {
  // Never destroyed: threads may still look at it while the process exits.
  static Runtime* const runtime = new Runtime;  // NOLINT(cppcoreguidelines-owning-memory)
  return *runtime;
}

Result<Runtime*> Runtime::open() {
  Runtime& runtime = instance();
  const std::lock_guard lock(runtime.mutex_);
  if (!runtime.started_) {
    HVD_RETURN_IF_ERROR(runtime.start());
    runtime.started_ = true;
  }
  HVD_RETURN_IF_ERROR(runtime.status());
  return &runtime;
}

Status Runtime::start() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) {
    return Status::unavailable(
        "MPI has been finalised in this process already: open the Session before MPI_Finalize");
  }
  int initialized = 0;
  MPI_Initialized(&initialized);
  int level = MPI_THREAD_SINGLE;
  if (initialized == 0) {
    make_symbols_global();
    if (const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level);
        code != MPI_SUCCESS) {
      return failed("MPI_Init_thread", code);
    }
    finalize_is_ours_ = true;
    process_ = ::getpid();
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    std::atexit([] { instance().finish_at_exit(); });
  } else {
    MPI_Query_thread(&level);
  }
  if (level < MPI_THREAD_SERIALIZED) {
    return Status::unavailable(
        text("MPI was initialised by ", initialized != 0 ? "the program" : "horovod_cpp", " with ",
             name_of_thread_level(level),
             ", but horovod_cpp calls it from a thread of its own: call MPI_Init_thread(..., "
             "MPI_THREAD_MULTIPLE, ...) (mpi4py: "
             "mpi4py.rc.thread_level = 'multiple'), or leave the initialisation of MPI to horovod_cpp"));
  }
  if (const int code = MPI_Comm_rank(MPI_COMM_WORLD, &rank_); code != MPI_SUCCESS)
    return failed("MPI_Comm_rank", code);
  if (const int code = MPI_Comm_size(MPI_COMM_WORLD, &size_); code != MPI_SUCCESS)
    return failed("MPI_Comm_size", code);
  MPI_Comm host = MPI_COMM_NULL;
  if (const int code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
      code != MPI_SUCCESS) {
    return failed("MPI_Comm_split_type", code);
  }
  MPI_Comm_size(host, &ranks_on_host_);
  MPI_Comm_free(&host);
  return {};
}

Status Runtime::status() const {
  HVD_RETURN_IF_ERROR(latch_.status());
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) return Status::shut_down(text("rank ", rank_, ": the program has called MPI_Finalize"));
  return {};
}

void Runtime::give_up(const Status& why) {
  given_up_.store(true);
  latch_.set(why.with_prefix("MPI is not used any more, because: "));
}

void Runtime::keep_for_ever(std::shared_ptr<void> memory) {
  const std::lock_guard lock(mutex_);
  kept_.push_back(std::move(memory));
}

void Runtime::finish_at_exit() {
  // A forked child that exits must not take its parent's MPI down.
  if (!finalize_is_ours_ || ::getpid() != process_) return;
  // Everybody who is inside a call leaves it at the next poll,
  // and gives MPI up if that left something unfinished.
  latch_.set(Status::shut_down(text("rank ", rank_, ": the process is exiting")));
  const Deadline patience = Deadline::after(std::chrono::seconds(5));
  while (uses_.load() != 0 && !patience.passed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (uses_.load() == 0 && !given_up_.load() && finalized == 0) MPI_Finalize();
}

}  // namespace hvd::mpi
