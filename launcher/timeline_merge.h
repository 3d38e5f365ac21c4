// Puts the timelines of ranks together: FILE.rank0, FILE.rank1, … become FILE, one strictly valid JSON array.
//
// A rank that was killed may have left its file cut anywhere. Each event is one line, so what is whole is kept.
#pragma once

#include <iosfwd>
#include <string>

#include "horovod_cpp/base/status.h"

namespace hvd::launcher {

// Appends the whole events of one rank's file to `out`, which holds an array without its closing bracket. `count`: events in it so far.
void append_events(std::istream& part, std::ostream& out, std::size_t& count);

// Of `ranks` ranks, or (0) as many as there are. The parts are removed. unavailable: there are none, or the file cannot be written.
Status merge_timeline(const std::string& file, int ranks);

// Those of an earlier job.
void remove_timeline_parts(const std::string& file, int ranks);

}  // namespace hvd::launcher
