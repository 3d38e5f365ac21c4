#include "bindings/torch/optimizer_options.h"

#include <array>
#include <cmath>
#include <unordered_map>

#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

// "rank 1, DistributedOptimizer: option X: expected …, got …"
template <class Got>
void require(bool holds, const DistributedOptimizerOptions& options, const char* name, const char* expected,
             const Got& got) {
  if (holds) return;
  throw std::invalid_argument(text("rank ", options.context->rank(), ", DistributedOptimizer: option ", name,
                                   ": expected ", expected, ", got ", got));
}

void check(const DistributedOptimizerOptions& o, std::size_t parameters) {
  require(o.op == Average || o.op == Sum, o, "op", "Average or Sum", name_of(o.op));
  require(o.backward_passes_per_step >= 1, o, "backward_passes_per_step", "1 or more",
          o.backward_passes_per_step);
  require(std::isfinite(o.gradient_predivide_factor) && o.gradient_predivide_factor > 0, o,
          "gradient_predivide_factor", "a finite number above 0", o.gradient_predivide_factor);
  require(o.gradient_predivide_factor == 1.0 || o.op == Average, o, "gradient_predivide_factor",
          "1 with an op other than Average (divide gradients yourself, or use Average)",
          o.gradient_predivide_factor);
  require(o.clip_norm >= 0, o, "clip_norm", "0 (off) or more", o.clip_norm);
  require(o.bucket_bytes > 0, o, "bucket_bytes", "1 or more", o.bucket_bytes);
  require(
      !o.communication_hook || o.compression == Compression::none, o, "compression",
      "none with a communication_hook (the hook does what compression would: call fp16_compression from it)",
      "both");
  require(o.num_groups >= 0, o, "num_groups", "0 (none) or more", o.num_groups);
  require(o.num_groups == 0 || o.groups.empty(), o, "num_groups", "0 with groups (give one of them)",
          o.num_groups);
  require(static_cast<std::size_t>(std::max(o.num_groups, 0)) <= parameters, o, "num_groups",
          "at most the number of parameters", text(o.num_groups, " for ", parameters, " parameters"));
}

IndexGroups groups_of(const DistributedOptimizerOptions& options,
                      const std::vector<NamedParameter>& parameters) {
  if (options.num_groups > 0) {
    return split_evenly(parameters.size(), static_cast<std::size_t>(options.num_groups));
  }
  std::unordered_map<const c10::TensorImpl*, std::size_t> ungrouped;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    ungrouped.emplace(parameters[i].tensor.unsafeGetTensorImpl(), i);
  }
  IndexGroups out;
  for (const auto& group : options.groups) {
    require(!group.empty(), options, "groups", "at least one parameter in each group", "an empty group");
    out.emplace_back();
    for (const at::Tensor& parameter : group) {
      const auto found =
          parameter.defined() ? ungrouped.find(parameter.unsafeGetTensorImpl()) : ungrouped.end();
      require(found != ungrouped.end(), options, "groups",
              "parameters of the wrapped optimizer, each in one group at most",
              text("another tensor, or one for the second time, as member ", out.back().size(), " of group ",
                   out.size() - 1));
      out.back().push_back(found->second);
      ungrouped.erase(found);
    }
  }
  return out;
}

CommunicationHook hook_of(const DistributedOptimizerOptions& options,
                          const std::vector<NamedParameter>& parameters) {
  if (options.compression == Compression::none) return options.communication_hook;
  for (const NamedParameter& parameter : parameters) {
    const DeviceId device = value_or_throw(device_id_of(parameter.tensor.device()));
    if (!options.context->session().crosses_wire(device.type)) continue;
    return options.compression == Compression::fp16 ? fp16_compression : bf16_compression;
  }
  return nullptr;
}

std::string number(double value) { return text(value); }
std::string yes_or_no(double value) { return value == 0 ? "no" : "yes"; }
std::string op_name(double value) { return name_of(static_cast<ReduceOp>(static_cast<int>(value))); }
std::string compression_name(double value) {
  constexpr std::array<const char*, 3> kNames{"none", "fp16", "bf16"};
  return kNames.at(static_cast<std::size_t>(value));
}

std::vector<OptionFact> facts_of(const DistributedOptimizerOptions& o, const IndexGroups& groups) {
  std::vector<std::string> lines;
  for (const auto& group : groups) {
    std::string line = "group";
    for (const std::size_t index : group) line += text(' ', index);
    lines.push_back(line);
  }
  constexpr auto kExactInDouble = std::int64_t{1} << 53U;
  return {
      {"op", static_cast<double>(o.op), op_name},
      {"backward_passes_per_step", static_cast<double>(o.backward_passes_per_step), number},
      {"average_aggregated_gradients", static_cast<double>(o.average_aggregated_gradients), yes_or_no},
      {"gradient_predivide_factor", o.gradient_predivide_factor, number},
      {"compression", static_cast<double>(o.compression), compression_name},
      {"communication_hook", o.communication_hook ? 1.0 : 0.0, yes_or_no},
      {"bucket_bytes", static_cast<double>(o.bucket_bytes), number},
      {"groups or num_groups", static_cast<double>(fingerprint(lines) % kExactInDouble), nullptr},
      {"clip_norm", o.clip_norm, number},
  };
}

}  // namespace

ExchangeOptions exchange_options_of(const DistributedOptimizerOptions& options,
                                    const std::vector<NamedParameter>& parameters) {
  check(options, parameters.size());
  const double divisor = options.average_aggregated_gradients ? options.backward_passes_per_step : 1;
  ExchangeOptions out;
  out.reduction.op = options.op;
  out.reduction.prescale = 1.0 / options.gradient_predivide_factor;
  out.reduction.postscale = options.gradient_predivide_factor / divisor;
  out.has_divisor = divisor != 1;
  out.passes_per_round = options.backward_passes_per_step;
  out.groups = groups_of(options, parameters);
  out.hook = hook_of(options, parameters);
  out.bucket_bytes = options.bucket_bytes;
  out.wants_norm = options.clip_norm > 0;
  out.facts = facts_of(options, out.groups);
  return out;
}

}  // namespace hvd
