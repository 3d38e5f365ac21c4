// The outputs of all ranks and of hvdrun itself, for a poll loop. Nothing blocks, and memory is bounded: who
// reads hvdrun slowly slows the ranks down.
#pragma once

#include <poll.h>

#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "launcher/job.h"
#include "launcher/output_target.h"
#include "launcher/rank_stream.h"

namespace hvd::launcher {

class JobOutputs {
 public:
  explicit JobOutputs(const JobOptions& options);  // not owned

  // The ends that become a rank's stdout and stderr.
  struct Ends {
    UniqueFd out;
    UniqueFd err;
  };
  Result<Ends> connect(int rank);

  // A line of hvdrun's own on stderr.
  void say(const std::string& line) { error_target_->append("hvdrun: " + line + "\n"); }

  // Appends what to wait for; handle() gets the same vector after poll.
  void add_to(std::vector<pollfd>& polls);
  void handle(const std::vector<pollfd>& polls);

  // All ranks and what they started are gone:
  // takes what is left in the pipes, as far as there is room for it.
  void drain();
  bool streams_are_closed() const;
  bool has_pending() const { return stdout_.has_pending() || stderr_.has_pending(); }
  // Forgets what the reader has not taken, and everything to come.
  void give_up();

 private:
  Result<UniqueFd> connect(int rank, OutputTarget* target, const char* name);

  const JobOptions& options_;
  OutputTarget stdout_;
  OutputTarget stderr_;
  OutputTarget* error_target_;  // one target if both are the same file, so that their lines do not mix
  std::vector<RankStream> streams_;
  std::size_t first_to_read_ = 0;    // turns, so that nobody starves behind a rank that floods
  std::size_t polls_at_ = 0;         // where add_to began
  std::vector<std::size_t> polled_;  // streams, in the order of the polls after the two targets
};

}  // namespace hvd::launcher
