#include "horovod_cpp/secure/keyed_hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <vector>

namespace hvd {

KeyedHash keyed_hash(std::span<const std::byte> key, std::string_view label, std::span<const std::byte> first,
                     std::span<const std::byte> second) {
  std::vector<std::byte> words;
  const auto add = [&words](std::span<const std::byte> piece) {
    words.insert(words.end(), piece.begin(), piece.end());
  };
  add(std::as_bytes(std::span(label)));
  words.push_back({});
  add(first);
  add(second);
  KeyedHash out{};
  unsigned int length = 0;
  // A null key would mean "the key of the call before".
  static constexpr std::byte kNoKey{};
  const void* const start = key.empty() ? &kNoKey : key.data();
  if (::HMAC(::EVP_sha256(), start, static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(words.data()), words.size(),
             reinterpret_cast<unsigned char*>(out.data()), &length) == nullptr) {
    return {};
  }
  return out;
}

KeyedHash keyed_hash(std::string_view key, std::string_view label, std::span<const std::byte> first,
                     std::span<const std::byte> second) {
  return keyed_hash(std::as_bytes(std::span(key)), label, first, second);
}

bool is_same_hash(const KeyedHash& left, const KeyedHash& right) {
  return ::CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace hvd
