#include "horovod_cpp/coordinator/declaration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"

namespace hvd {
namespace {

// As much as a process can address: sums over all ranks then fit into 64 bits.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 47U;

// `rows` times what `shape` holds; nothing if that is more than kMostBytes.
std::optional<std::int64_t> bytes_of(const Declaration& d, std::int64_t rows = 1) {
  if (std::find(d.shape.begin(), d.shape.end(), 0) != d.shape.end()) return 0;
  auto bytes = static_cast<std::int64_t>(size_in_bytes(d.dtype));
  const auto grow = [&bytes](std::int64_t times) {
    return !__builtin_mul_overflow(bytes, times, &bytes) && bytes <= kMostBytes;
  };
  if (!grow(rows) || !std::all_of(d.shape.begin(), d.shape.end(), grow)) return std::nullopt;
  return bytes;
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

std::string ranks_in_words(const Declaration& d) { return name_of(Shape(d.ranks.begin(), d.ranks.end())); }

constexpr std::array<Property, 10> kProperties{{
    {"operation", [](const Declaration& d) { return std::string(name_of(d.kind)); }},
    {"dtype", [](const Declaration& d) { return std::string(name_of(d.dtype)); }},
    {"shape", [](const Declaration& d) { return name_of(d.shape); }},
    {"device",
     [](const Declaration& d) { return std::string(d.device.type == DeviceType::cpu ? "cpu" : "cuda"); }},
    {"reduction", [](const Declaration& d) { return std::string(name_of(d.op)); }},
    {"prescale factor", [](const Declaration& d) { return exact(d.prescale); }},
    {"postscale factor", [](const Declaration& d) { return exact(d.postscale); }},
    {"root rank", [](const Declaration& d) { return std::to_string(d.root); }},
    {"ranks", ranks_in_words},
    {"group", [](const Declaration& d) { return text("'", d.group, "' of ", d.group_size); }},
}};

// "ranks 0, 2 have [2, 3]; rank 1 has [3, 2]"
std::string by_value(std::span<const RankDeclaration> declarations, const Property& property) {
  std::vector<std::pair<std::string, std::vector<int>>> groups;
  for (const auto& [rank, declaration] : declarations) {
    const std::string value = property.value(*declaration);
    auto group = groups.begin();
    while (group != groups.end() && group->first != value) ++group;
    if (group == groups.end()) group = groups.insert(groups.end(), {value, {}});
    group->second.push_back(rank);
  }
  std::string out;
  for (const auto& [value, ranks] : groups) {
    out += text(out.empty() ? "" : "; ", name_of_ranks(ranks), ranks.size() == 1 ? " has " : " have ", value);
  }
  return out;
}

Status invalid(const Declaration& declaration, int rank, const std::string& what) {
  return Status::invalid_argument(text("rank ", rank, ", ", describe(declaration), ": ", what));
}

bool is_reduction(OpKind kind) { return kind == OpKind::allreduce || kind == OpKind::reducescatter; }

Status validate_reduction(const Declaration& d, int rank) {
  if (!std::isfinite(d.prescale) || !std::isfinite(d.postscale)) {
    return invalid(d, rank,
                   text("prescale factor ", d.prescale, " and postscale factor ", d.postscale,
                        " must be finite numbers"));
  }
  if (is_floating(d.dtype)) return {};
  if (d.op == ReduceOp::average) {
    return invalid(
        d, rank,
        text("the average of ", name_of(d.dtype), " is not defined; use sum and divide, or a floating type"));
  }
  if (d.prescale != 1.0 || d.postscale != 1.0) {
    return invalid(d, rank, text("scale factors need a floating type, got ", name_of(d.dtype)));
  }
  return {};
}

Status validate_members(const Declaration& d, int rank, std::span<const int> all) {
  if (d.ranks.empty()) return invalid(d, rank, "a process set needs at least one rank");
  if (!std::is_sorted(d.ranks.begin(), d.ranks.end(), std::less_equal<>{})) {
    return invalid(d, rank, text("ranks ", ranks_in_words(d), ": expected ascending, each once"));
  }
  if (d.ranks.front() < 0 || d.ranks.back() >= static_cast<int>(all.size())) {
    return invalid(d, rank, text("ranks ", ranks_in_words(d), ": expected 0 to ", all.size() - 1));
  }
  return {};
}

}  // namespace

std::string describe(const Declaration& declaration) {
  const std::string out = text(name_of(declaration.kind), " '", declaration.name, "'");
  return declaration.process_set == ProcessSets::kAllRanks || concerns_all_ranks(declaration.kind)
             ? out
             : text(out, " of process set ", declaration.process_set);
}

bool concerns_all_ranks(OpKind kind) {
  return kind == OpKind::add_process_set || kind == OpKind::remove_process_set;
}

Status validate(const Declaration& d, int rank, std::span<const int> members) {
  if (d.name.empty())
    return invalid(d, rank, "the name is empty; give the tensor a name that is the same on every rank");
  for (const std::int64_t dimension : d.shape) {
    if (dimension < 0) return invalid(d, rank, text("shape ", name_of(d.shape), " has a negative dimension"));
  }
  // share_memory: the shape is no tensor's.
  if (d.kind != OpKind::share_memory && !bytes_of(d)) {
    return invalid(d, rank, text("shape ", name_of(d.shape), " is larger than any memory"));
  }
  if (position_in(members, rank) < 0) {
    return invalid(d, rank, text("this rank is not a member; the members are ", name_of_ranks(members)));
  }
  if (d.kind == OpKind::broadcast && position_in(members, d.root) < 0) {
    return invalid(d, rank,
                   d.process_set == ProcessSets::kAllRanks
                       ? text("root rank ", d.root, ": expected 0 to ", members.size() - 1)
                       : text("root rank ", d.root, ": expected one of ", name_of_ranks(members)));
  }
  if (d.kind == OpKind::reducescatter && d.shape.empty()) {
    return invalid(d, rank, "a 0-d tensor cannot be scattered: it needs a first dimension");
  }
  if (d.kind == OpKind::remove_process_set && d.process_set == ProcessSets::kAllRanks) {
    return invalid(d, rank, "the set of all ranks cannot be removed");
  }
  if (d.kind == OpKind::add_process_set) return validate_members(d, rank, members);
  if (d.group.empty() != (d.group_size == 0) || d.group_size < 0) {
    return invalid(d, rank, text("group '", d.group, "' of ", d.group_size, " operations"));
  }
  return is_reduction(d.kind) ? validate_reduction(d, rank) : Status();
}

Status validate(const Declaration& d, const Extents& extents, int rank, std::size_t members) {
  const std::size_t expected = d.kind == OpKind::allgather  ? 1
                               : d.kind == OpKind::alltoall ? members
                                                            : std::size_t{0};
  const char* const what = d.kind == OpKind::alltoall ? "split sizes" : "row counts";
  if (extents.size() != expected) {
    return invalid(d, rank, text(extents.size(), ' ', what, ", expected ", expected));
  }
  for (const std::int64_t extent : extents) {
    if (extent < 0) return invalid(d, rank, text(what, ' ', name_of(Shape(extents)), ": one is negative"));
    if (extent > kMostBytes || !bytes_of(d, extent))
      return invalid(d, rank, text(what, ' ', name_of(Shape(extents)), ": larger than any memory"));
  }
  return {};
}

Status check_agreement(std::span<const RankDeclaration> declarations) {
  for (const Property& property : kProperties) {
    const Declaration& first = *declarations.front().declaration;
    const std::string expected = property.value(first);
    for (const auto& [rank, declaration] : declarations.subspan(1)) {
      if (property.value(*declaration) == expected) continue;
      return Status::mismatch(text(describe(first), ": ranks disagree on ", property.name, ": ",
                                   by_value(declarations, property), ". Submit the same ", property.name,
                                   " on every rank."));
    }
  }
  return {};
}

Status check_join(const Declaration& d, std::span<const int> joined) {
  const auto refuse = [&](const std::string& why) {
    return Status::mismatch(text(describe(d), ": ", name_of_ranks(joined),
                                 joined.size() == 1 ? " has" : " have", " joined and so no data for it, and ",
                                 why));
  };
  if (d.device.type != DeviceType::cpu) return refuse("join serves tensors on the CPU only.");
  if (is_reduction(d.kind) && d.op != ReduceOp::sum && d.op != ReduceOp::average) {
    return refuse(text("zeros mean nothing to ", name_of(d.op), ": use sum or average, or do not join."));
  }
  if (d.kind == OpKind::broadcast && position_in(joined, d.root) >= 0) {
    return refuse("it is the root. Choose a root that has not joined.");
  }
  if (d.kind == OpKind::share_memory) return refuse("memory is shared by all or by none.");
  if (d.kind == OpKind::alltoall) return refuse("its rows would be lost. Take part in it on every rank.");
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

std::vector<std::int64_t> reducescatter_rows(std::int64_t rows, std::size_t ranks) {
  const auto count = static_cast<std::int64_t>(ranks);
  std::vector<std::int64_t> out(ranks, rows / count);
  for (std::int64_t rank = 0; rank < rows % count; ++rank) ++out[static_cast<std::size_t>(rank)];
  return out;
}

}  // namespace hvd
