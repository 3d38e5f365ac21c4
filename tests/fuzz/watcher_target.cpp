// What another rank says over its peer link, read by a Watcher as it runs.
#include <sys/socket.h>

#include <atomic>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/coordinator/rank_picture.h"
#include "horovod_cpp/coordinator/watcher.h"
#include "horovod_cpp/coordinator/watcher_messages.h"
#include "tests/fuzz/targets.h"

namespace hvd {

void fuzz_watcher(FuzzInput input) {
  int pair[2] = {-1, -1};
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0, "no sockets");
  std::vector<UniqueFd> links(2);
  links[1] = UniqueFd(pair[0]);
  UniqueFd peer(pair[1]);
  std::atomic<int> losses{0};
  Watcher::Pictures pictures;
  pictures.size = 2;
  pictures.take = [] { return encode(RankPicture()); };
  pictures.tell = [](const std::string&, const std::string&) {};
  Watcher::Waiting waiting;
  waiting.position = [] { return std::uint64_t{0}; };
  waiting.look = [] { return std::nullopt; };
  waiting.what = [] { return std::string(); };
  waiting.warn = [](const std::string&) {};
  auto watcher = Watcher::create(
      plain_sockets(std::move(links)), [&losses](const Status& why) { losses += why.is_ok() ? 100 : 1; },
      std::move(pictures), std::move(waiting));
  require(watcher.is_ok(), "no watcher");
  // What does not fit into the socket is cut off.
  static_cast<void>(send_some(peer.get(), input));
  ::shutdown(peer.get(), SHUT_WR);
  require((*watcher)->start().is_ok(), "no thread");
  (*watcher)->stop();
  require(losses.load() <= 1, "a peer is lost more than once, or for no reason");
}

std::vector<Bytes> watcher_seeds() {
  const auto concat = [](std::initializer_list<Bytes> messages) {
    Bytes out;
    for (const Bytes& message : messages) out.insert(out.end(), message.begin(), message.end());
    return out;
  };
  const Bytes picture = encode(RankPicture());
  const std::string_view words(reinterpret_cast<const char*>(picture.data()), picture.size());
  return {concat({frame(Message::goodbye, "")}), concat({frame(Message::failure, "rank 1: out of memory")}),
          concat({frame(Message::picture_wanted, ""), frame(Message::picture, words),
                  frame(Message::goodbye, "")}),
          concat({frame(Message::picture_wanted, kAfterFailure), frame(Message::failure, "too late")})};
}

}  // namespace hvd
