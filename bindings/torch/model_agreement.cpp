#include "bindings/torch/model_agreement.h"

#include <ATen/ops/zeros.h>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

// FNV-1a, without the two highest bits: its negative is a number too.
std::int64_t fingerprint(const std::vector<std::string>& lines) {
  std::uint64_t hash = 14695981039346656037U;
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 1099511628211U; };
  for (const std::string& line : lines) {
    for (const char c : line) add(static_cast<unsigned char>(c));
    add('\n');
  }
  return static_cast<std::int64_t>(hash >> 2U);
}

}  // namespace

void check_same_model(const std::vector<std::string>& lines, const std::string& name,
                      const std::shared_ptr<Context>& context) {
  const auto count = static_cast<std::int64_t>(lines.size()) - 1;
  const std::int64_t hash = fingerprint(lines);
  at::Tensor facts = at::zeros({4}, c10::ScalarType::Long);
  auto* const values = facts.mutable_data_ptr<std::int64_t>();
  values[0] = count;
  values[1] = -count;
  values[2] = hash;
  values[3] = -hash;
  allreduce_(facts, {.name = name, .op = Max, .context = context});
  const std::int64_t most = values[0];
  const std::int64_t fewest = -values[1];
  if (most == fewest && values[2] == -values[3]) return;
  throw_if_failed(Status::mismatch(text(
      "rank ", context->rank(), ", DistributedOptimizer: ranks differ in the parameters or in the op: ",
      most == fewest ? text("all have ", count, " parameters, but not the same names, types, shapes or op")
                     : text("they have from ", fewest, " to ", most, " parameters, this rank ", count),
      ". Build the same model and construct the DistributedOptimizers in the same order on every rank.")));
}

}  // namespace hvd
