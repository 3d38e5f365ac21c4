// Little-endian encoding of values into bytes and back. docs/wire.md lists the messages built from it.
//
// ByteReader never reads past its input: the first bad read latches failed(), later reads give zero values, and the caller
// checks once at the end. It is safe on bytes from strangers.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace hvd {

using Bytes = std::vector<std::byte>;

static_assert(std::endian::native == std::endian::little,
              "the wire format is written for little-endian machines");

class ByteWriter {
 public:
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void put(T value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), first, first + sizeof(T));
  }
  // A 32-bit length, then the bytes.
  void put_bytes(std::span<const std::byte> bytes) {
    put(static_cast<std::uint32_t>(bytes.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void put_text(std::string_view value) { put_bytes(std::as_bytes(std::span(value))); }

  const Bytes& bytes() const { return bytes_; }
  Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  T get() {
    T value{};
    if (sizeof(T) > bytes_.size()) {
      failed_ = true;
      bytes_ = {};
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  // A view into the input.
  std::span<const std::byte> get_bytes() {
    const auto length = get<std::uint32_t>();
    if (length > bytes_.size()) {
      failed_ = true;
      bytes_ = {};
      return {};
    }
    const auto out = bytes_.first(length);
    bytes_ = bytes_.subspan(length);
    return out;
  }
  std::string get_text() {
    const auto bytes = get_bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::size_t remaining() const { return bytes_.size(); }
  bool failed() const { return failed_; }
  // Marks the input as bad: for values that decode but mean nothing.
  void fail() { failed_ = true; }

 private:
  std::span<const std::byte> bytes_;
  bool failed_ = false;
};

}  // namespace hvd
