// A contender's rank for other languages (peers/bench_rank.py): the same loop, with the contender's calls as functions.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// What a call returns.
enum HvdBenchResult { hvd_bench_well = 0, hvd_bench_failed = 1, hvd_bench_cannot = 2 };

// All are called from the thread that called hvd_bench_obey. After a result other than well: hvd_bench_complain said why.
struct HvdBenchCalls {
  // `tensors`: workload.h, to_lines.
  int (*prepare)(const char* workload, const char* tensors, int is_step);
  int (*fill)(int repetition);
  int (*run)();
  int (*verify)(int repetition);
  int (*give_back)();
  int (*drop)();
};

// Joins the board; 0 if that worked, otherwise the reason is on standard error.
int hvd_bench_join(int rank, int size);
// Rank 0's message to the others; a pointer to it, on every rank, valid until the next call. nullptr: none came.
const char* hvd_bench_pass_on(const char* letter);
// Obeys the conductor until the end.
void hvd_bench_obey(const HvdBenchCalls* calls);

void hvd_bench_complain(const char* why);
void hvd_bench_set_title(const char* title);
void hvd_bench_set_digest(std::uint64_t digest);

// gradients.h. verify: 0 if all is right; otherwise it has complained.
void hvd_bench_fill(float* values, std::size_t count, std::size_t first, int rank, int repetition);
int hvd_bench_verify(const float* values, std::size_t count, std::size_t first, int ranks, int repetition,
                     double factor);
void hvd_bench_give_back(float* values, std::size_t count);
std::uint64_t hvd_bench_digest(const float* values, std::size_t count, std::uint64_t of_what_came_before);
}
