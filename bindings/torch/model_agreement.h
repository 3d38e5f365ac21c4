// Finds out, before the first step, whether all ranks train the same model: a rank with another one would
// wait for gradients that nobody else has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/torch/context.h"

namespace hvd {

// `lines` is what ranks must have in common: the op, then one line a parameter. Collective, under `name`.
// Throws MismatchError on every rank if they differ (errors.h).
void check_same_model(const std::vector<std::string>& lines, const std::string& name,
                      const std::shared_ptr<Context>& context);

}  // namespace hvd
