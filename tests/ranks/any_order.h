// 50 tensors, submitted by every rank in its own random order, round after round. For ranks as threads and as processes.
#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/session.h"

namespace hvd {

// "" if every average was right, otherwise what went wrong first.
inline std::string submit_in_any_order(Session& session, std::uint64_t seed, int rounds, Deadline deadline) {
  constexpr std::size_t kTensors = 50;
  std::mt19937_64 common(seed);  // the same on every rank
  std::mt19937_64 own(seed + 1 + static_cast<std::uint64_t>(session.rank()));
  std::vector<std::vector<float>> tensors(kTensors);
  for (auto& tensor : tensors) tensor.resize(common() % 700);
  std::vector<std::size_t> order(kTensors);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const float average_rank = static_cast<float>(session.size() - 1) / 2.0F;

  for (int round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), own);
    std::vector<Work> work;
    for (const std::size_t t : order) {
      const auto common_part = static_cast<float>(round) + static_cast<float>(t);
      std::fill(tensors[t].begin(), tensors[t].end(), common_part + static_cast<float>(session.rank()));
      Declaration declaration;
      declaration.name = text("t", t);
      declaration.shape = {static_cast<std::int64_t>(tensors[t].size())};
      const auto id = session.declare(declaration);
      if (!id.is_ok()) return id.status().message();
      Submission submission;
      submission.id = id.value();
      submission.input = tensors[t].data();
      submission.output = tensors[t].data();
      work.push_back(session.submit(std::move(submission)));
      if (own() % 16 == 0) std::this_thread::yield();
    }
    for (const Work& one : work) {
      if (const Status status = one.wait(deadline); !status.is_ok())
        return text("round ", round, ": ", status.message());
    }
    for (std::size_t t = 0; t < kTensors; ++t) {
      const float expected = static_cast<float>(round) + static_cast<float>(t) + average_rank;
      for (const float value : tensors[t]) {
        if (value != expected)
          return text("round ", round, ", t", t, ": expected ", expected, ", got ", value);
      }
    }
  }
  return "";
}

}  // namespace hvd
