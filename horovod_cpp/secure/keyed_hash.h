// HMAC-SHA256: proves that somebody knows a key, without telling it, and derives keys for one use from it.
//
// Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace hvd {

using KeyedHash = std::array<std::byte, 32>;

// Of the label, a zero byte, and the pieces, one after the other. Who uses pieces of variable length frames them. Different labels keep
// what is said for one purpose from being repeated for another.
KeyedHash keyed_hash(std::span<const std::byte> key, std::string_view label,
                     std::span<const std::byte> first = {}, std::span<const std::byte> second = {});
KeyedHash keyed_hash(std::string_view key, std::string_view label, std::span<const std::byte> first = {},
                     std::span<const std::byte> second = {});

// Takes the same time wherever the difference is.
bool is_same_hash(const KeyedHash& left, const KeyedHash& right);

}  // namespace hvd
