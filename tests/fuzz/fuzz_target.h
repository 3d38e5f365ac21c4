// A fuzz target: one parser of bytes or text that come from outside this process, as fuzzers and tests call it.
//
// The same functions are linked into the tests of every build (replay_test.cpp: seeds, corpus and random changes of both) and, with Clang, into
// a libFuzzer program (./dev fuzz). Each call is on its own: nothing is kept from one to the next.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/wire.h"

namespace hvd {

using FuzzInput = std::span<const std::byte>;

struct FuzzTarget {
  const char* name;  // also its folder in corpus/
  // Throws std::logic_error if a property does not hold. Crashes, sanitizers' findings and giant allocations are the fuzzer's business.
  void (*run)(FuzzInput input);
  // Inputs that make sense, from the encoders of this very build: where random changes begin.
  std::vector<Bytes> (*seeds)();
};

std::span<const FuzzTarget> fuzz_targets();
// nullptr: there is none.
const FuzzTarget* find_fuzz_target(const std::string& name);

// Throws std::logic_error with these words, for the property that does not hold.
void require(bool holds, const std::string& words);

std::string text_of(FuzzInput input);
Bytes bytes_of_text(std::string_view words);
// The pieces between `separator`s.
std::vector<std::string> pieces_of(FuzzInput input, char separator);

}  // namespace hvd
