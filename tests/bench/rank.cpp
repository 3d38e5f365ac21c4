#include "tests/bench/rank.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "horovod_cpp/base/futex.h"
#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

Result<int> number_from_environment(const char* name) {
  const char* const value = std::getenv(name);
  int number = 0;
  if (value == nullptr) return Status::unavailable(text(name, " is not set"));
  const char* const end = value + std::strlen(value);
  const auto parsed = std::from_chars(value, end, number);
  if (parsed.ec != std::errc{} || parsed.ptr != end) return Status::unavailable(text(name, "=", value));
  return number;
}

// A rank may be stuck in somebody else's library when the conductor is killed.
void end_with(pid_t conductor) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, conductor, 0));
  if (fd < 0) ::_exit(3);
  std::thread([fd] {
    pollfd end{fd, POLLIN, 0};
    while (::poll(&end, 1, -1) < 1) {
    }
    ::_exit(3);
  }).detach();
}

Answer answer_for(const Status& status) {
  switch (status.code()) {
    case StatusCode::ok:
      return Answer::well;
    case StatusCode::unimplemented:
      return Answer::cannot;
    case StatusCode::shut_down:
      return Answer::followed;
    default:
      return Answer::failed;
  }
}

}  // namespace

Result<Rank> Rank::join(Place place) {
  const char* const file = std::getenv("HVDBENCH_BOARD");
  if (file == nullptr) return Status::unavailable("a contender is started by hvd_bench: ./dev bench");
  auto board = MappedBoard::open(file);
  HVD_RETURN_IF_ERROR(board.status());
  if (place.size != (*board)->size || place.rank < 0 || place.rank >= place.size) {
    return Status::internal(
        text("rank ", place.rank, " of ", place.size, ", the conductor expects ", (*board)->size, " ranks"));
  }
  end_with((*board)->conductor);
  (*board)->ranks[static_cast<std::size_t>(place.rank)].pid.store(::getpid());
  return Rank(std::move(board).value(), place);
}

Status Rank::pass_on(std::string& letter) {
  if (place_.rank == 0) {
    set_text(board_->letter, letter);
    board_->letter_is_there.store(1);
    futex_wake_all(board_->letter_is_there);
    return {};
  }
  const auto patience = Deadline::after(std::chrono::minutes(1));
  while (board_->letter_is_there.load() == 0) {
    if (patience.passed()) return Status::timed_out("rank 0 passed nothing on");
    futex_wait(board_->letter_is_there, 0, patience);
  }
  letter = get_text(board_->letter);
  return {};
}

Status Rank::repeat(Contender& contender, const Command& command) {
  RankSlot& slot = board_->ranks[static_cast<std::size_t>(place_.rank)];
  const auto apart = [] { return Status::shut_down("the other ranks did not come to the barrier"); };
  for (int i = 0; i < command.count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    contender.fill(command.first + i);
    if (!board_->meet()) return apart();
    slot.started[at] = std::chrono::steady_clock::now();
    const Status ran = contender.run();
    slot.finished[at] = std::chrono::steady_clock::now();
    HVD_RETURN_IF_ERROR(ran);
    // Nobody verifies while others still run.
    if (!board_->meet()) return apart();
    HVD_RETURN_IF_ERROR(contender.verify(command.first + i));
    slot.digest = contender.digest().value_or(0);
    if (command.give_back) contender.give_back();
  }
  return {};
}

void Rank::obey(const ContenderMaker& make) {
  board_->answer(place_.rank, Answer::well, "");  // it is here
  std::unique_ptr<Contender> contender;
  for (std::uint32_t done = 0;; ++done) {
    while (board_->command_number.load() == done) futex_wait(board_->command_number, done, Deadline::never());
    const Command command = board_->command;
    Status status;
    switch (command.action) {
      case Action::prepare: {
        const auto workload = workload_named(get_text(command.workload));
        status = workload.status();
        if (!status.is_ok()) break;
        auto made = make(workload.value());
        status = made.status();
        if (!status.is_ok()) break;
        contender = std::move(made).value();
        if (place_.rank == 0) set_text(board_->title, contender->title());
        break;
      }
      case Action::repeat:
        status = contender != nullptr ? repeat(*contender, command) : Status::internal("nothing is prepared");
        if (place_.rank == 0 && contender != nullptr) set_text(board_->title, contender->title());
        break;
      case Action::drop:
        contender.reset();
        break;
      case Action::finish:
        contender.reset();
        board_->answer(place_.rank, Answer::well, "");
        return;
    }
    const Answer answer = answer_for(status);
    if (answer == Answer::failed) board_->fail();
    board_->answer(place_.rank, answer, status.message());
  }
}

Result<Place> place_from_environment() {
  const auto rank = number_from_environment("HVDBENCH_RANK");
  HVD_RETURN_IF_ERROR(rank.status());
  const auto size = number_from_environment("HVDBENCH_SIZE");
  HVD_RETURN_IF_ERROR(size.status());
  return Place{rank.value(), size.value()};
}

}  // namespace hvd::bench
