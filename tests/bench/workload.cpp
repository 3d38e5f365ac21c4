#include "tests/bench/workload.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

// A count that MPI_Allreduce's int holds.
constexpr std::size_t kMostElements = (std::size_t{1} << 31U) - 1;

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
  return {.name = "resnet50", .tensors = std::move(tensors), .batch = ""};
}

bool Workload::is_step() const { return !batch.empty(); }

Workload gpt2() {
  constexpr int kLayers = 12;
  constexpr std::int64_t kWidth = 768;
  std::vector<NamedShape> tensors{{"embedding", {50257, kWidth}}, {"position", {1024, kWidth}}};
  const auto add_norm = [&](const std::string& name) {
    tensors.push_back({name + ".weight", {kWidth}});
    tensors.push_back({name + ".bias", {kWidth}});
  };
  const auto add_linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    tensors.push_back({name + ".weight", {in, out}});
    tensors.push_back({name + ".bias", {out}});
  };
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string name = text("layer", layer);
    add_norm(name + ".attention_norm");
    add_linear(name + ".query_key_value", kWidth, 3 * kWidth);
    add_linear(name + ".projection", kWidth, kWidth);
    add_norm(name + ".expansion_norm");
    add_linear(name + ".expansion", kWidth, 4 * kWidth);
    add_linear(name + ".contraction", 4 * kWidth, kWidth);
  }
  add_norm("norm");
  std::reverse(tensors.begin(), tensors.end());
  return {.name = "gpt2", .tensors = std::move(tensors), .batch = ""};
}

Workload mlp_step() {
  Workload workload{.name = "mlp", .tensors = {}, .batch = "64 images a rank"};
  constexpr std::array<std::int64_t, 4> kWidths{784, 1024, 1024, 10};
  for (std::size_t i = 0; i + 1 < kWidths.size(); ++i) {
    workload.tensors.push_back({text("layer", i, ".weight"), {kWidths[i + 1], kWidths[i]}});
    workload.tensors.push_back({text("layer", i, ".bias"), {kWidths[i + 1]}});
  }
  return workload;
}

Workload char_gpt_step() {
  constexpr std::int64_t kVocabulary = 96, kContext = 64, kWidth = 192, kLayers = 4;
  Workload workload{.name = "char_gpt", .tensors = {}, .batch = "768 tokens a rank"};
  auto& tensors = workload.tensors;
  const auto add = [&](const std::string& name, Shape shape) { tensors.push_back({name, std::move(shape)}); };
  add("embedding", {kVocabulary, kWidth});
  add("position", {kContext, kWidth});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = text("block", layer);
    add(name + ".attention_norm.weight", {kWidth});
    add(name + ".attention_norm.bias", {kWidth});
    add(name + ".query_key_value", {3 * kWidth, kWidth});
    add(name + ".projection", {kWidth, kWidth});
    add(name + ".expansion_norm.weight", {kWidth});
    add(name + ".expansion_norm.bias", {kWidth});
    add(name + ".expansion", {4 * kWidth, kWidth});
    add(name + ".contraction", {kWidth, 4 * kWidth});
  }
  add("norm.weight", {kWidth});
  add("norm.bias", {kWidth});
  return workload;
}

Workload gpt2_adamw() {
  Workload workload = gpt2();
  workload.name = kGpt2AdamW;
  workload.batch = "from given gradients to AdamW's update";
  return workload;
}

Workload many_small() {
  std::vector<NamedShape> tensors;
  for (int i = 0; i < 1000; ++i) tensors.push_back({text("small.", i), {256}});
  return {.name = "many-small", .tensors = std::move(tensors), .batch = ""};
}

Workload single(std::size_t elements) {
  return {.name = text("single:", elements),
          .tensors = {{"single", {static_cast<std::int64_t>(elements)}}},
          .batch = ""};
}

Result<Workload> workload_named(const std::string& name) {
  if (name == "resnet50") return resnet50();
  if (name == "gpt2") return gpt2();
  if (name == "many-small") return many_small();
  if (name == "mlp") return mlp_step();
  if (name == "char_gpt") return char_gpt_step();
  if (name == kGpt2AdamW) return gpt2_adamw();
  const std::string prefix = "single:";
  std::size_t elements = 0;
  if (name.starts_with(prefix)) {
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, elements);
    const bool is_number = parsed.ec == std::errc{} && parsed.ptr == end;
    if (is_number && elements > 0 && elements <= kMostElements) return single(elements);
  }
  return Status::invalid_argument(text(
      "workload '", name,
      "': expected sweep, resnet50, gpt2, many-small, mlp, char_gpt, gpt2-adamw or single:ELEMENTS (1 to ",
      kMostElements, ")"));
}

Result<std::vector<std::string>> workload_names(const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (const auto& word : words) {
    if (word == "sweep") {
      for (std::size_t elements = 256; elements <= std::size_t{64} << 20U; elements *= 4)
        names.push_back(single(elements).name);
      continue;
    }
    HVD_RETURN_IF_ERROR(workload_named(word).status());
    names.push_back(word);
  }
  return names;
}

std::string to_lines(const std::vector<NamedShape>& tensors) {
  std::ostringstream out;
  for (const auto& tensor : tensors) {
    out << tensor.name;
    for (const auto extent : tensor.shape) out << ' ' << extent;
    out << '\n';
  }
  return out.str();
}

}  // namespace hvd::bench
