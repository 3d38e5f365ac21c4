#include "horovod_cpp/coordinator/rank_picture.h"

#include <algorithm>

namespace hvd {
namespace {

// More than any rank sends: these numbers come from outside.
constexpr std::uint32_t kMostItems = 4096;

void put_words(ByteWriter& out, const std::string& words) {
  out.put_text(std::string_view(words).substr(0, RankPicture::kMostWords));
}

template <class Read>
void read_items(ByteReader& in, const Read& read) {
  const auto count = in.get<std::uint32_t>();
  if (count > kMostItems) in.fail();
  for (std::uint32_t i = 0; i < count && !in.failed(); ++i) read();
}

std::chrono::milliseconds get_age(ByteReader& in) {
  return std::chrono::milliseconds(std::max<std::int64_t>(0, in.get<std::int64_t>()));
}

}  // namespace

Bytes encode(const RankPicture& picture) {
  ByteWriter out;
  out.put(picture.steps);
  out.put(static_cast<std::uint32_t>(std::min(picture.pending.size(), RankPicture::kMostPending)));
  for (std::size_t i = 0; i < std::min(picture.pending.size(), RankPicture::kMostPending); ++i) {
    const RankPicture::Pending& one = picture.pending[i];
    put_words(out, one.what);
    out.put(static_cast<std::uint32_t>(one.members.size()));
    for (const int member : one.members) out.put(member);
    out.put(static_cast<std::int64_t>(one.age.count()));
  }
  out.put(picture.more_pending);
  out.put(static_cast<std::uint32_t>(picture.epochs.size()));
  for (const RankPicture::Epoch& epoch : picture.epochs) {
    put_words(out, epoch.plan);
    out.put(static_cast<std::int64_t>(epoch.age.count()));
    out.put(static_cast<std::uint32_t>(epoch.awaited.size()));
    for (const RankPicture::Awaiting& one : epoch.awaited) {
      out.put(one.rank);
      out.put(one.missing);
      put_words(out, one.first);
    }
  }
  put_words(out, picture.last);
  return out.take();
}

std::optional<RankPicture> decode_picture(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  RankPicture picture;
  picture.steps = in.get<std::uint32_t>();
  read_items(in, [&] {
    RankPicture::Pending one;
    one.what = in.get_text();
    read_items(in, [&] { one.members.push_back(in.get<int>()); });
    one.age = get_age(in);
    picture.pending.push_back(std::move(one));
  });
  picture.more_pending = in.get<std::uint32_t>();
  read_items(in, [&] {
    RankPicture::Epoch epoch;
    epoch.plan = in.get_text();
    epoch.age = get_age(in);
    read_items(in, [&] {
      RankPicture::Awaiting one;
      one.rank = in.get<int>();
      one.missing = in.get<std::uint32_t>();
      one.first = in.get_text();
      epoch.awaited.push_back(std::move(one));
    });
    picture.epochs.push_back(std::move(epoch));
  });
  picture.last = in.get_text();
  if (in.failed() || in.remaining() != 0) return std::nullopt;
  return picture;
}

}  // namespace hvd
