#include "tests/bench/board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "horovod_cpp/base/futex.h"
#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

Result<Board*> map(int fd) {
  void* const memory = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return Status::unavailable(text("mmap of the board: ", std::strerror(errno)));
  return static_cast<Board*>(memory);
}

}  // namespace

bool Board::meet() {
  const std::uint32_t now = generation.load();
  if (arrived.fetch_add(1) + 1 == static_cast<std::uint32_t>(size)) {
    arrived.store(0);
    generation.store(now + 1);
    futex_wake_all(generation);
    return failed.load() == 0;
  }
  const auto patience = Deadline::after(std::chrono::minutes(1));
  while (generation.load() == now && failed.load() == 0 && !patience.passed())
    futex_wait(generation, now, patience);
  return generation.load() != now && failed.load() == 0;
}

void Board::fail() {
  failed.store(1);
  generation.fetch_add(1);
  futex_wake_all(generation);
}

void Board::answer(int rank, Answer answer, const std::string& message) {
  RankSlot& slot = ranks[static_cast<std::size_t>(rank)];
  slot.answer = answer;
  set_text(slot.message, message);
  const std::uint32_t before = answers.fetch_add(1);
  if ((before + 1) % static_cast<std::uint32_t>(size) == 0) futex_wake_all(answers);
}

void Board::send(const Command& next) {
  command = next;
  command_number.fetch_add(1);
  futex_wake_all(command_number);
}

bool Board::all_have_answered() const {
  return answers.load() == (command_number.load() + 1) * static_cast<std::uint32_t>(size);
}

Status Board::wait(Deadline deadline, const std::function<Status()>& look) {
  while (true) {
    const std::uint32_t seen = answers.load();
    if (all_have_answered()) return {};
    HVD_RETURN_IF_ERROR(look());
    if (deadline.passed()) return Status::timed_out("no answer in time");
    futex_wait(answers, seen, deadline.earlier(Deadline::after(std::chrono::milliseconds(500))));
  }
}

void set_text(std::span<char> field, const std::string& text) {
  const std::size_t count = std::min(text.size(), field.size() - 1);
  std::copy_n(text.begin(), count, field.begin());
  field[count] = '\0';
}

std::string get_text(std::span<const char> field) {
  return {field.begin(), std::find(field.begin(), field.end(), '\0')};
}

Result<MappedBoard> MappedBoard::create(int size) {
  const int fd = ::memfd_create("hvd_bench_board", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, sizeof(Board)) != 0)
    return Status::unavailable(text("memfd for the board: ", std::strerror(errno)));
  const auto board = map(fd);
  HVD_RETURN_IF_ERROR(board.status());
  board.value()->layout = sizeof(Board);
  board.value()->conductor = ::getpid();
  board.value()->size = size;
  return MappedBoard(fd, board.value(), text("/proc/", ::getpid(), "/fd/", fd));
}

Result<MappedBoard> MappedBoard::open(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return Status::unavailable(text("the board ", file, ": ", std::strerror(errno)));
  const auto board = map(fd);
  HVD_RETURN_IF_ERROR(board.status());
  if (board.value()->layout != sizeof(Board))
    return Status::internal("this contender was built with another layout of the board: build it again");
  return MappedBoard(fd, board.value(), file);
}

MappedBoard::MappedBoard(MappedBoard&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      board_(std::exchange(other.board_, nullptr)),
      file_(std::move(other.file_)) {}

MappedBoard::~MappedBoard() {
  if (board_ != nullptr) ::munmap(board_, sizeof(Board));
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace hvd::bench
