// Finds out, before the first step, whether all ranks mean the same: a rank with another model or other options would wait for gradients
// that nobody else has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/torch/context.h"

namespace hvd {

// An option as a number.
struct OptionFact {
  std::string name;
  double value = 0.0;  // not NaN
  // In words; empty: the number itself says nothing to people.
  std::string (*words)(double) = nullptr;
};

// `lines` is what ranks must have in common, one thing a line. The same number on every rank if the lines are the same; a positive one.
std::int64_t fingerprint(const std::vector<std::string>& lines);

// For messages.
struct AgreementWords {
  const char* caller;  // "DistributedOptimizer"
  const char* what;    // "parameters": what ranks differ in
  const char* remedy;
};

// All are collective, under `name`, and throw MismatchError on every rank if ranks differ (errors.h).
// All ranks pass facts of the same names.
void check_same_options(const std::vector<OptionFact>& facts, const std::string& name,
                        const std::shared_ptr<Context>& context);
void check_same_lines(const std::vector<std::string>& lines, const AgreementWords& words,
                      const std::string& name, const std::shared_ptr<Context>& context);
// Of DistributedOptimizer; one line a parameter.
void check_same_model(const std::vector<std::string>& lines, const std::string& name,
                      const std::shared_ptr<Context>& context);

}  // namespace hvd
