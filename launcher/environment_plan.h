// The environment of a rank. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hvd::launcher {

// What all ranks of a job share.
struct JobEnvironment {
  int num_proc = 1;
  std::string rendezvous;          // "127.0.0.1:40123"
  int job_key_fd = -1;             // number of the descriptor that holds the key of this job
  std::optional<int> omp_threads;  // OMP_NUM_THREADS; nothing: leave it as it is
  std::vector<std::pair<std::string, std::string>> settings;
};

// `inherited` ("NAME=value" each) with the variables of `rank` set: HVD_ and HOROVOD_ RANK, SIZE, LOCAL_RANK,
// LOCAL_SIZE, CROSS_RANK, CROSS_SIZE; HVD_RENDEZVOUS, HVD_JOB_KEY_FD, OMP_NUM_THREADS and the settings. Every
// name occurs once: what a job around this one has set is replaced. PYTHONUNBUFFERED=1 unless set, because a
// pipe would delay Python's prints by 8 KiB.
std::vector<std::string> environment_of_rank(const std::vector<std::string>& inherited,
                                             const JobEnvironment& job, int rank);

}  // namespace hvd::launcher
