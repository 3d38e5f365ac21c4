// What to tell somebody whose option hvdrun does not have. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hvd::launcher {

// One line about `option` ("--hots" or "--hots=a:1"): what to do instead if mpirun has it, else
// the name in `known` that is nearest, if one is near.
std::string hint_for_unknown_option(std::string_view option, const std::vector<std::string>& known);

}  // namespace hvd::launcher
