#include "bindings/runtime/placement.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace hvd {

Placement place_among(std::span<const int> hosts, int mine) {
  const int host = hosts[static_cast<std::size_t>(mine)];
  const std::set<int> different(hosts.begin(), hosts.end());
  const auto until_me = hosts.first(static_cast<std::size_t>(mine));
  Placement place;
  place.rank = mine;
  place.size = static_cast<int>(hosts.size());
  place.local_rank = static_cast<int>(std::count(until_me.begin(), until_me.end(), host));
  place.local_size = static_cast<int>(std::count(hosts.begin(), hosts.end(), host));
  place.cross_rank = static_cast<int>(std::distance(different.begin(), different.find(host)));
  place.cross_size = static_cast<int>(different.size());
  return place;
}

}  // namespace hvd
