#include "horovod_cpp/torch/optimizer_state.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <exception>
#include <typeinfo>

#include "bindings/torch/model_agreement.h"
#include "bindings/torch/optimizer_archive.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

using torch::optim::Optimizer;

// Before anything is sent: a root that is no member would be found when the others wait for its archive.
void check_root(const Context& context, int root) {
  const auto members = context.session().process_set(context.process_set());
  if (!members || position_in(*members, root) >= 0)
    return;  // no such set: refused below, with the Session's words
  std::string ranks;
  for (const int member : *members) ranks += text(ranks.empty() ? "" : ", ", member);
  throw std::invalid_argument(text("rank ", context.rank(), ", broadcast_optimizer_state: root rank ", root,
                                   ": expected one of ranks ", ranks));
}

// What loading relies on: it finds a parameter's state by its place, and trusts the type of options and state.
std::vector<std::string> lines_of(const Optimizer& optimizer) {
  std::vector<std::string> lines{typeid(optimizer).name()};
  for (const auto& group : optimizer.param_groups()) {
    lines.emplace_back("group");
    for (const at::Tensor& parameter : group.params()) {
      // The place within its memory: a slice of ShardedOptimizer's is another one on each rank.
      lines.push_back(text(c10::toString(parameter.scalar_type()), ' ', name_of(shape_of(parameter)), ' ',
                           parameter.storage_offset()));
    }
  }
  return lines;
}

// Runs `body`; if it throws on any rank, all throw.
template <class Body>
void all_or_none(const Context& context, const AllreduceOptions& options, const char* what, Body&& body) {
  std::exception_ptr mine;
  try {
    body();
  } catch (...) {
    mine = std::current_exception();
  }
  at::Tensor failures = at::zeros({1}, c10::ScalarType::Long);
  *failures.mutable_data_ptr<std::int64_t>() = mine ? 1 : 0;
  allreduce_(failures, options);
  if (mine) {
    try {
      std::rethrow_exception(mine);
    } catch (const std::exception& error) {
      throw std::invalid_argument(
          text("rank ", context.rank(), ", broadcast_optimizer_state, ", what, ": ", error.what()));
    }
  }
  const auto count = *failures.const_data_ptr<std::int64_t>();
  if (count == 0) return;
  throw_if_failed(
      Status::mismatch(text("rank ", context.rank(), ", broadcast_optimizer_state, ", what, ": failed on ",
                            count, " other rank(s), whose output has the cause. Stop, and start anew.")));
}

}  // namespace

void broadcast_optimizer_state(Optimizer& optimizer, int root, const BroadcastOptions& options) {
  const std::shared_ptr<Context> context =
      Context::among(options.process_set.id(), options.context ? options.context : hvd::context());
  check_root(*context, root);
  if (context->size() == 1) return;
  const auto named = [&options](const char* what) { return text(options.name, "optimizer state: ", what); };
  const auto settled = [&](const char* what) {
    return AllreduceOptions{.name = named(what), .op = Sum, .context = context};
  };
  check_same_lines(lines_of(optimizer),
                   {"broadcast_optimizer_state", "kind of optimizer, groups or parameters",
                    "Construct the same optimizer over the same model on every rank."},
                   named("agreement"), context);

  std::string archive;
  const bool is_root = context->rank() == root;
  all_or_none(*context, settled("saved"), "saving", [&] {
    if (is_root) archive = archive_of(optimizer);
  });
  at::Tensor size = at::zeros({1}, c10::ScalarType::Long);
  *size.mutable_data_ptr<std::int64_t>() = static_cast<std::int64_t>(archive.size());
  broadcast_(size, root, {.name = named("size"), .context = context});
  const std::int64_t count = *size.const_data_ptr<std::int64_t>();
  at::Tensor bytes = is_root ? at::from_blob(archive.data(), {count}, c10::ScalarType::Byte)
                             : at::zeros({count}, c10::ScalarType::Byte);
  broadcast_(bytes, root, {.name = named("bytes"), .context = context});
  all_or_none(*context, settled("loaded"), "loading", [&] {
    if (is_root) return;
    load_archive(optimizer, static_cast<const char*>(bytes.const_data_ptr()),
                 static_cast<std::size_t>(count));
  });
}

}  // namespace hvd
