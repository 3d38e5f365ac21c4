// horovodrun's options that hvdrun accepts and does not need: what is said to who gives them. Pure.
//
// Those that mean something here are in command_line.
#pragma once

#include <span>
#include <string>

namespace hvd::launcher {

struct HorovodrunOption {
  const char* names;   // "-p,--ssh-port"
  int values;          // how many words follow it
  const char* reason;  // why it has no effect and what takes its place; empty: it asks for what is so anyway
};

std::span<const HorovodrunOption> horovodrun_options();

// One line for the user; empty if there is nothing to say.
std::string remark_on(const HorovodrunOption& option);

}  // namespace hvd::launcher
