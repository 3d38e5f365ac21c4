#include "bindings/torch/model_agreement.h"

#include <ATen/ops/zeros.h>

#include "horovod_cpp/base/fingerprint.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

// [highest, lowest] over ranks of each value.
template <class T>
std::vector<std::pair<T, T>> extremes(const std::vector<T>& values, c10::ScalarType type,
                                      const std::string& name, const std::shared_ptr<Context>& context) {
  at::Tensor both = at::zeros({static_cast<std::int64_t>(2 * values.size())}, type);
  auto* const numbers = both.mutable_data_ptr<T>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    numbers[2 * i] = values[i];
    numbers[2 * i + 1] = -values[i];
  }
  allreduce_(both, {.name = name, .op = Max, .context = context});
  std::vector<std::pair<T, T>> out;
  for (std::size_t i = 0; i < values.size(); ++i) out.emplace_back(numbers[2 * i], -numbers[2 * i + 1]);
  return out;
}

}  // namespace

std::int64_t fingerprint(const std::vector<std::string>& lines) {
  Fingerprint out;
  for (const std::string& line : lines) out.add(std::string_view(line));
  return out.value();
}

void check_same_options(const std::vector<OptionFact>& facts, const std::string& name,
                        const std::shared_ptr<Context>& context) {
  if (context->size() == 1) return;
  std::vector<double> values;
  for (const OptionFact& fact : facts) values.push_back(fact.value);
  const auto ranges = extremes(values, c10::ScalarType::Double, name, context);
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const auto& [highest, lowest] = ranges[i];
    if (highest == lowest) continue;
    const auto words = facts[i].words;
    throw_if_failed(Status::mismatch(
        text("rank ", context->rank(), ", DistributedOptimizer: ranks differ in the option ", facts[i].name,
             words ? text(": the lowest is ", words(lowest), ", the highest ", words(highest),
                          ", this rank has ", words(values[i]))
                   : std::string(),
             ". Pass the same DistributedOptimizerOptions on every rank.")));
  }
}

void check_same_lines(const std::vector<std::string>& lines, const AgreementWords& words,
                      const std::string& name, const std::shared_ptr<Context>& context) {
  if (context->size() == 1) return;
  const auto count = static_cast<std::int64_t>(lines.size());
  const auto ranges =
      extremes<std::int64_t>({count, fingerprint(lines)}, c10::ScalarType::Long, name, context);
  const auto& [most, fewest] = ranges[0];
  if (most == fewest && ranges[1].first == ranges[1].second) return;
  throw_if_failed(Status::mismatch(text(
      "rank ", context->rank(), ", ", words.caller, ": ranks differ in the ", words.what, ": ",
      most == fewest ? text("all have ", count, " of them, but not the same (kinds, names, types, shapes)")
                     : text("they have from ", fewest, " to ", most, " of them, this rank ", count),
      ". ", words.remedy)));
}

void check_same_model(const std::vector<std::string>& lines, const std::string& name,
                      const std::shared_ptr<Context>& context) {
  check_same_lines(
      lines,
      {"DistributedOptimizer", "parameters",
       "Build the same model and construct the DistributedOptimizers in the same order on every rank."},
      name, context);
}

}  // namespace hvd
