// The names of all settings, ours and Horovod's: one table, so that a misspelt variable is told instead of ignored. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hvd {

// One line for each variable in `names` that begins with HVD_ or HOROVOD_ and does nothing: not a setting (with the nearest one, if one
// is near), or one of Horovod's that has no meaning here (with the reason). Other variables, and HVD_TEST_*, are nobody's business.
std::vector<std::string> remarks_on_settings(const std::vector<std::string>& names);
// The same for the environment of this process.
std::vector<std::string> remarks_on_environment();

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
int edit_distance(std::string_view a, std::string_view b);

}  // namespace hvd
