// Board: what the conductor and the ranks of one contender share, beside the contender's own means. A contender is a job of processes with
// its own launcher; between its turns its ranks sleep in the kernel on the board.
//
//   conductor: writes `command`, raises command_number, wakes ─► every rank: does it, answers ─► conductor: reads stamps and answers
//
// The barrier sleeps, too: a spinning one would take the core from contenders' background threads, and that of one contender would favour it.
//
// Lies in zeroed memory of a memfd of the conductor's, which ranks open as /proc/PID/fd/N: no name, so nothing to remove, ever.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"

namespace hvd::bench {

inline constexpr int kMostRanks = 64;
inline constexpr int kMostRepetitions = 64;  // of one command

enum class Action : std::uint32_t {
  prepare,  // memory for `workload`
  repeat,   // `count` repetitions, each: rewrite memory, meet, run, verify
  drop,     // free the memory
  finish,   // leave
};

struct Command {
  Action action = Action::finish;
  std::array<char, 64> workload{};
  std::int32_t first = 0;  // number of the first repetition
  std::int32_t count = 0;  // at most kMostRepetitions
  bool give_back = false;  // the memory's pages to the system, after each repetition
};

enum class Answer : std::uint32_t {
  well,
  cannot,  // this contender does not do such work
  failed,
  followed,  // failed, because another rank did
};

using Stamp =
    std::chrono::steady_clock::time_point;  // one clock for all processes: the system's monotonic one

struct RankSlot {
  std::atomic<std::int32_t> pid;
  Answer answer;
  std::array<char, 400> message;  // of an answer that is not `well`
  std::uint64_t digest;           // Contender::digest() after the last repetition; 0: none
  std::array<Stamp, kMostRepetitions> started;
  std::array<Stamp, kMostRepetitions> finished;
};

struct Board {
  std::uint64_t layout;  // sizeof(Board): what a contender was built with
  std::int32_t conductor;
  std::int32_t size;

  std::atomic<std::uint32_t> command_number;
  Command command;
  std::atomic<std::uint32_t> answers;  // of all ranks to all commands; joining counts as one

  std::atomic<std::uint32_t> arrived;
  std::atomic<std::uint32_t> generation;
  std::atomic<std::uint32_t> failed;

  std::array<char, 160> title;  // by rank 0: what the contender is, for people
  // For a contender's own start: rank 0 writes, the others wait for it.
  std::atomic<std::uint32_t> letter_is_there;
  std::array<char, 1024> letter;

  std::array<RankSlot, kMostRanks> ranks;

  // ---- of ranks
  // Sleeps until all ranks are here; false after a minute, or once any rank has failed.
  bool meet();
  // Ends everybody's meetings.
  void fail();
  void answer(int rank, Answer answer, const std::string& message);

  // ---- of the conductor
  // Begins a new command. The answers to the one before must be there.
  void send(const Command& command);
  bool all_have_answered() const;
  // Returns when all ranks have answered (ok), or with what `look` says: it is asked now and then, and after a signal.
  Status wait(Deadline deadline, const std::function<Status()>& look);
};

// NUL-terminated text in a field of fixed size; cut if it is too long.
void set_text(std::span<char> field, const std::string& text);
std::string get_text(std::span<const char> field);

// A Board in this process's memory map.
class MappedBoard {
 public:
  // The conductor's: a new one.
  static Result<MappedBoard> create(int size);
  // A rank's: of the file that HVDBENCH_BOARD names.
  static Result<MappedBoard> open(const std::string& file);
  MappedBoard(MappedBoard&& other) noexcept;
  MappedBoard& operator=(MappedBoard&&) = delete;
  ~MappedBoard();

  Board* operator->() const { return board_; }
  Board& operator*() const { return *board_; }
  // What another process opens it by, while this one lives.
  const std::string& file() const { return file_; }

 private:
  MappedBoard(int fd, Board* board, std::string file) : fd_(fd), board_(board), file_(std::move(file)) {}
  int fd_;
  Board* board_;
  std::string file_;
};

}  // namespace hvd::bench
