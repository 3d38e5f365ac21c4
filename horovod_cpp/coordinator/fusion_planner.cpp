#include "horovod_cpp/coordinator/fusion_planner.h"

namespace hvd {
namespace {

bool can_travel(OpKind kind) { return kind == OpKind::allreduce || kind == OpKind::broadcast; }

bool can_travel_together(const Declaration& a, const Declaration& b) {
  return a.process_set == b.process_set && a.kind == b.kind && a.dtype == b.dtype && a.device == b.device &&
         a.op == b.op && a.prescale == b.prescale && a.postscale == b.postscale && a.root == b.root;
}

std::size_t payload_bytes(const Declaration& declaration) {
  return static_cast<std::size_t>(element_count(declaration.shape)) * size_in_bytes(declaration.dtype);
}

}  // namespace

std::vector<Batch> plan_fusion(std::span<const Agreement> agreements, std::size_t threshold_bytes) {
  std::vector<Batch> batches;
  struct Open {
    std::size_t batch;
    std::size_t bytes;
  };
  std::vector<Open> open;  // the latest batch of each kind
  for (std::size_t i = 0; i < agreements.size(); ++i) {
    if (!agreements[i].status.is_ok()) continue;
    const Declaration& declaration = *agreements[i].declaration;
    if (!can_travel(declaration.kind)) {
      batches.push_back({i});
      continue;
    }
    const std::size_t bytes = payload_bytes(declaration);
    auto like = open.begin();
    while (like != open.end() &&
           !can_travel_together(*agreements[batches[like->batch].front()].declaration, declaration)) {
      ++like;
    }
    if (like != open.end() && like->bytes + bytes <= threshold_bytes) {
      batches[like->batch].push_back(i);
      like->bytes += bytes;
      continue;
    }
    if (like == open.end()) like = open.insert(open.end(), Open{});
    *like = {batches.size(), bytes};
    batches.push_back({i});
  }
  return batches;
}

}  // namespace hvd
