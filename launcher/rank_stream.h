// One output of one rank: from its pipe, through the prefixer, to hvdrun's own output and a file.
#pragma once

#include <optional>
#include <string>

#include "horovod_cpp/base/unique_fd.h"
#include "launcher/line_prefixer.h"
#include "launcher/output_target.h"

namespace hvd::launcher {

struct LineStyle {
  bool raw = false;        // bytes as they come
  bool timestamp = false;  // the time before each line …
  bool rank = true;        // … and "[rank] "
};

class RankStream {
 public:
  // `pipe`: the reading end, non-blocking. `file`: where the bytes also go, unchanged; may be closed.
  // `target` outlives this.
  RankStream(int rank, UniqueFd pipe, UniqueFd file, OutputTarget* target, LineStyle style);

  bool is_open() const { return pipe_.is_open(); }
  bool wants_read() const { return is_open() && (target_->is_closed() || target_->has_room()); }
  int fd() const { return pipe_.get(); }

  // Reads once and passes on. At the end of the pipe, or when nobody can read the output any more, the pipe
  // is closed: the rank then meets EPIPE as if it had written to the reader itself. `writers_are_gone`: an
  // empty pipe counts as its end.
  void read_some(bool writers_are_gone);

 private:
  std::string prefix() const;
  void keep_in_file(std::string_view bytes);
  void finish();

  int rank_;
  UniqueFd pipe_;
  UniqueFd file_;
  OutputTarget* target_;
  LineStyle style_;
  LinePrefixer prefixer_;
};

}  // namespace hvd::launcher
