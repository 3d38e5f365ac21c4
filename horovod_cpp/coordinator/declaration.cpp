#include "horovod_cpp/coordinator/declaration.h"

#include <array>
#include <cmath>
#include <vector>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

bool is_floating(DataType dtype) {
  switch (dtype) {
    case DataType::float16:
    case DataType::bfloat16:
    case DataType::float32:
    case DataType::float64:
    case DataType::float8_e4m3:
    case DataType::float8_e5m2:
      return true;
    default:
      return false;
  }
}

std::string exact(double value) {
  std::ostringstream out;
  out.precision(17);
  out << value;
  return out.str();
}

// A property that ranks must agree on, in words.
struct Property {
  const char* name;
  std::string (*value)(const Declaration&);
};

constexpr std::array<Property, 8> kProperties{{
    {"operation", [](const Declaration& d) { return std::string(name_of(d.kind)); }},
    {"dtype", [](const Declaration& d) { return std::string(name_of(d.dtype)); }},
    {"shape", [](const Declaration& d) { return name_of(d.shape); }},
    {"device",
     [](const Declaration& d) { return std::string(d.device.type == DeviceType::cpu ? "cpu" : "cuda"); }},
    {"reduction", [](const Declaration& d) { return std::string(name_of(d.op)); }},
    {"prescale factor", [](const Declaration& d) { return exact(d.prescale); }},
    {"postscale factor", [](const Declaration& d) { return exact(d.postscale); }},
    {"root rank", [](const Declaration& d) { return std::to_string(d.root); }},
}};

// "ranks 0, 2 have [2, 3]; rank 1 has [3, 2]"
std::string by_value(std::span<const Declaration* const> declarations, const Property& property) {
  std::vector<std::pair<std::string, std::vector<int>>> groups;
  for (std::size_t rank = 0; rank < declarations.size(); ++rank) {
    const std::string value = property.value(*declarations[rank]);
    auto group = groups.begin();
    while (group != groups.end() && group->first != value) ++group;
    if (group == groups.end()) group = groups.insert(groups.end(), {value, {}});
    group->second.push_back(static_cast<int>(rank));
  }
  std::string out;
  for (const auto& [value, ranks] : groups) {
    out += text(out.empty() ? "" : "; ", name_of_ranks(ranks), ranks.size() == 1 ? " has " : " have ", value);
  }
  return out;
}

}  // namespace

std::string describe(const Declaration& declaration) {
  return text(name_of(declaration.kind), " '", declaration.name, "'");
}

Status validate(const Declaration& d, int rank, int size) {
  const auto invalid = [&](const std::string& what) {
    return Status::invalid_argument(text("rank ", rank, ", ", describe(d), ": ", what));
  };
  if (d.name.empty())
    return invalid("the name is empty; give the tensor a name that is the same on every rank");
  for (const std::int64_t dimension : d.shape) {
    if (dimension < 0) return invalid(text("shape ", name_of(d.shape), " has a negative dimension"));
  }
  if (d.kind == OpKind::broadcast && (d.root < 0 || d.root >= size)) {
    return invalid(text("root rank ", d.root, ": expected 0 to ", size - 1));
  }
  if (d.kind != OpKind::allreduce) return {};
  if (!std::isfinite(d.prescale) || !std::isfinite(d.postscale)) {
    return invalid(text("prescale factor ", d.prescale, " and postscale factor ", d.postscale,
                        " must be finite numbers"));
  }
  if (is_floating(d.dtype)) return {};
  if (d.op == ReduceOp::average) {
    return invalid(
        text("the average of ", name_of(d.dtype), " is not defined; use sum and divide, or a floating type"));
  }
  if (d.prescale != 1.0 || d.postscale != 1.0) {
    return invalid(text("scale factors need a floating type, got ", name_of(d.dtype)));
  }
  return {};
}

Status check_agreement(std::span<const Declaration* const> declarations) {
  for (const Property& property : kProperties) {
    const std::string first = property.value(*declarations.front());
    for (const Declaration* declaration : declarations.subspan(1)) {
      if (property.value(*declaration) == first) continue;
      return Status::mismatch(text(describe(*declarations.front()), ": ranks disagree on ", property.name,
                                   ": ", by_value(declarations, property), ". Submit the same ",
                                   property.name, " on every rank."));
    }
  }
  return {};
}

EffectiveReduction effective_reduction(const Declaration& d, int size) {
  switch (d.op) {
    case ReduceOp::average:
      return {ReduceOp::sum, d.prescale * d.postscale / size};
    case ReduceOp::product:
      return {ReduceOp::product, std::pow(d.prescale, size) * d.postscale};
    case ReduceOp::min:
      return {d.prescale < 0 ? ReduceOp::max : ReduceOp::min, d.prescale * d.postscale};
    case ReduceOp::max:
      return {d.prescale < 0 ? ReduceOp::min : ReduceOp::max, d.prescale * d.postscale};
    case ReduceOp::sum:
    case ReduceOp::adasum:
      break;
  }
  return {d.op, d.prescale * d.postscale};
}

}  // namespace hvd
