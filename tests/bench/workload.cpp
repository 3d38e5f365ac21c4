#include "tests/bench/workload.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

// A convolution without bias and the batch normalisation after it.
void add_convolution(std::vector<NamedShape>& tensors, const std::string& name, std::int64_t in,
                     std::int64_t out, std::int64_t width) {
  tensors.push_back({name + ".conv.weight", {out, in, width, width}});
  tensors.push_back({name + ".norm.weight", {out}});
  tensors.push_back({name + ".norm.bias", {out}});
}

}  // namespace

std::size_t Workload::element_count() const {
  std::size_t count = 0;
  for (const auto& tensor : tensors) count += static_cast<std::size_t>(hvd::element_count(tensor.shape));
  return count;
}

Workload resnet50() {
  constexpr std::array<int, 4> kBlocks{3, 4, 6, 3};
  constexpr std::int64_t kExpansion = 4;
  std::vector<NamedShape> tensors;
  add_convolution(tensors, "stem", 3, 64, 7);
  std::int64_t in = 64;
  for (std::size_t stage = 0; stage < kBlocks.size(); ++stage) {
    const std::int64_t width = std::int64_t{64} << stage;
    for (int block = 0; block < kBlocks[stage]; ++block) {
      const std::string name = text("stage", stage, ".block", block);
      add_convolution(tensors, name + ".reduce", in, width, 1);
      add_convolution(tensors, name + ".spatial", width, width, 3);
      add_convolution(tensors, name + ".expand", width, width * kExpansion, 1);
      if (block == 0) add_convolution(tensors, name + ".shortcut", in, width * kExpansion, 1);
      in = width * kExpansion;
    }
  }
  tensors.push_back({"classifier.weight", {1000, in}});
  tensors.push_back({"classifier.bias", {1000}});
  std::reverse(tensors.begin(), tensors.end());
  return {"resnet50", std::move(tensors)};
}

Workload many_small() {
  std::vector<NamedShape> tensors;
  for (int i = 0; i < 1000; ++i) tensors.push_back({text("small.", i), {256}});
  return {"many-small", std::move(tensors)};
}

Workload single(std::size_t elements) {
  return {text("single:", elements), {{"single", {static_cast<std::int64_t>(elements)}}}};
}

Result<Workload> workload_named(const std::string& name) {
  if (name == "resnet50") return resnet50();
  if (name == "many-small") return many_small();
  const std::string prefix = "single:";
  std::size_t elements = 0;
  if (name.starts_with(prefix)) {
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, elements);
    if (parsed.ec == std::errc{} && parsed.ptr == end && elements > 0) return single(elements);
  }
  return Status::invalid_argument(
      text("workload '", name, "': expected resnet50, many-small or single:ELEMENTS"));
}

}  // namespace hvd::bench
