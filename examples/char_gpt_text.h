// The text that the char_gpt example learns, and the numbers that stand for its characters. Knows no tensors.
//
// A character is a byte. Without --text the text is prose that lies on (nearly) any machine: the licences
// under /usr/share/common-licenses, which every Debian and Ubuntu has; otherwise Python's own documentation
// and library.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace char_gpt {

// In the order in which they are read: the same on every call. `root` is where the file system begins (tests
// have their own). Throws std::runtime_error that names what was looked for if there is too little.
std::vector<std::filesystem::path> default_text_files(const std::filesystem::path& root = "/");

// One after the other, without form feeds and carriage returns. Throws std::runtime_error for a file that
// cannot be read.
std::string read_text(const std::vector<std::filesystem::path>& files);

// The characters of a text, numbered 0 … size−1 in the order of their bytes.
class Vocabulary {
 public:
  explicit Vocabulary(const std::string& text);

  std::int64_t size() const { return static_cast<std::int64_t>(characters_.size()); }
  const std::string& characters() const { return characters_; }

  // Every character must be in the vocabulary.
  std::vector<std::uint8_t> encode(const std::string& text) const;
  char decode(std::int64_t number) const { return characters_.at(static_cast<std::size_t>(number)); }
  bool contains(char character) const { return characters_.find(character) != std::string::npos; }

 private:
  std::string characters_;
  std::array<std::uint8_t, 256> number_of_{};
};

}  // namespace char_gpt
