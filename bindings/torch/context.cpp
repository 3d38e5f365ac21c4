#include "horovod_cpp/torch/context.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/elastic.h"
#include "horovod_cpp/torch/errors.h"
#include "horovod_cpp/world.h"

namespace hvd {
namespace {

// The only global of the project. Never destroyed:
// a forked child and late static destructors must find it whole.
struct Process {
  std::mutex mutex;
  std::shared_ptr<Context> context;
  Config config;
  bool exit_handler_is_set = false;
  bool was_shut_down = false;
};

Process& process() {
  static auto* const only = new Process;
  return *only;
}

Status shut_down(const std::shared_ptr<Context>& context, const Config& config) {
  return context->session().shutdown(config.shutdown_deadline());
}

// The other ranks would report a peer that vanished; a goodbye makes a normal exit of it.
void say_goodbye_at_exit() {
  std::shared_ptr<Context> context;
  Config config;
  {
    const std::lock_guard lock(process().mutex);
    context = process().context;
    config = process().config;
  }
  if (!context) return;
  try {
    const Status status = shut_down(context, config);
    if (!status.is_ok()) Log(LogLevel::warning, context->rank()).warning(text("at exit: ", status.message()));
  } catch (const std::logic_error&) {
    return;  // a forked child: the context is the parent's, and stays
  }
  // Ended here, while everything is alive, and not after main's static objects are gone.
  const std::lock_guard lock(process().mutex);
  process().context.reset();
}

const Placement& placement() { return session().placement(); }

// getpid(), without the system call in every step: only a fork changes it.
int this_process() {
  static std::atomic<int> known{0};
  static const int is_followed = ::pthread_atfork(nullptr, nullptr, [] { known.store(::getpid()); });
  if (is_followed != 0) return ::getpid();
  int process = known.load(std::memory_order_relaxed);
  if (process == 0) known.store(process = ::getpid());
  return process;
}

}  // namespace

Context::Context(std::unique_ptr<Session> session)
    : session_(std::move(session)),
      rank_(session_->rank()),
      size_(session_->size()),
      owner_process_(this_process()) {}

Context::Context(std::shared_ptr<Context> whole, int process_set, int size)
    : whole_(std::move(whole)),
      rank_(whole_->rank_),
      size_(size),
      process_set_(process_set),
      owner_process_(whole_->owner_process_) {}

std::shared_ptr<Context> Context::among(int process_set, std::shared_ptr<Context> whole) {
  if (process_set == whole->process_set_) return whole;
  const auto members = whole->session().process_set(process_set);
  if (!members) throw std::invalid_argument(text("there is no process set ", process_set));
  const auto size = static_cast<int>(members->size());
  return std::shared_ptr<Context>(new Context(std::move(whole), process_set, size));
}

bool Context::is_owner() const { return this_process() == owner_process_; }

Context::~Context() {
  // The Session's threads do not exist in a forked child; joining them would never end.
  if (!is_owner()) static_cast<void>(session_.release());
}

Session& Context::session() const {
  if (whole_) return whole_->session();
  if (!is_owner()) {
    throw std::logic_error(
        text("rank ", rank_, ": process ", this_process(), " was forked from process ", owner_process_,
             ", which had called hvd::init(). A forked child cannot communicate: fork before init(), "
             "or exec a new program."));
  }
  return *session_;
}

int Context::take_operation_number(OpKind kind, int process_set) {
  if (whole_) return whole_->take_operation_number(kind, process_set);
  const std::lock_guard lock(mutex_);
  std::vector<bool>& taken = taken_[{process_set, kind}];
  std::size_t number = 0;
  while (number < taken.size() && taken[number]) ++number;
  if (number == taken.size()) taken.push_back(false);
  taken[number] = true;
  return static_cast<int>(number);
}

void Context::return_operation_number(OpKind kind, int process_set, int number) {
  if (whole_) return whole_->return_operation_number(kind, process_set, number);
  const std::lock_guard lock(mutex_);
  taken_.at({process_set, kind}).at(static_cast<std::size_t>(number)) = false;
}

int Context::take_optimizer_number() {
  Context& counter = whole_ ? *whole_ : *this;
  const std::lock_guard lock(counter.mutex_);
  return counter.optimizers_[process_set_]++;
}

void init() {
  const std::lock_guard lock(process().mutex);
  if (process().context) {
    static_cast<void>(process().context->session());  // throws in a forked child
    return;
  }
  const EnvironmentLookup environment = process_environment();
  process().config = value_or_throw(Config::from(environment));
  process().context = std::make_shared<Context>(value_or_throw(open_session()));
  if (!process().exit_handler_is_set) {
    process().exit_handler_is_set = true;
    std::atexit(say_goodbye_at_exit);
  }
}

void shutdown() {
  std::shared_ptr<Context> context;
  {
    const std::lock_guard lock(process().mutex);
    if (process().context) static_cast<void>(process().context->session());  // throws in a forked child
    context = std::move(process().context);
    process().context = nullptr;
    process().was_shut_down |= context != nullptr;
  }
  if (context) throw_if_failed(shut_down(context, process().config));
}

void meet_survivors() {
  const std::lock_guard lock(process().mutex);
  std::shared_ptr<Context> old = std::move(process().context);
  process().context = nullptr;
  int attempts = 1;
  if (old) {
    attempts = old->size();
    // Whatever this rank met, the others are to know that it has left.
    old->session().abort(Status::aborted(text("rank ", old->rank(), " meets those who are left")));
    old.reset();
  }
  while (true) {
    auto opened = open_session_of_survivors(process_environment());
    // Another rank may be lost while they meet; each time there are fewer.
    const bool may_be_another_loss = opened.status().code() == StatusCode::aborted;
    if (!opened.is_ok() && may_be_another_loss && --attempts > 0) continue;
    if (opened.status().code() == StatusCode::invalid_argument) {
      throw WorldError(Status::aborted(opened.status().message()));
    }
    process().context = std::make_shared<Context>(value_or_throw(std::move(opened)));
    return;
  }
}

bool is_initialized() {
  const std::lock_guard lock(process().mutex);
  return process().context != nullptr;
}

std::shared_ptr<Context> context() {
  const std::lock_guard lock(process().mutex);
  if (!process().context) {
    throw std::logic_error(process().was_shut_down
                               ? "horovod_cpp was shut down: call hvd::init() again before anything else"
                               : "horovod_cpp is not initialised: call hvd::init() first");
  }
  return process().context;
}

Session& session() { return context()->session(); }
void start_timeline(const std::string& file, bool mark_cycles) {
  throw_if_failed(session().start_timeline(file, mark_cycles));
}
void stop_timeline() { session().stop_timeline(); }
int rank() { return context()->rank(); }
int size() { return context()->size(); }
int local_rank() { return placement().local_rank; }
int local_size() { return placement().local_size; }
int cross_rank() { return placement().cross_rank; }
int cross_size() { return placement().cross_size; }

}  // namespace hvd
