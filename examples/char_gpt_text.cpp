#include "examples/char_gpt_text.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>

namespace char_gpt {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kEnoughBytes = 100'000;

// The folder's files with this ending (empty: any), in the order of their names. Of a file that has several
// names, as licences do, one is taken.
std::vector<fs::path> files_in(const fs::path& folder, const std::string& ending) {
  std::set<fs::path> files;
  std::error_code ignored;  // no folder: no files
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.is_regular_file(ignored) && (ending.empty() || entry.path().extension() == ending))
      files.insert(fs::canonical(entry.path(), ignored));
  }
  return {files.begin(), files.end()};
}

std::vector<fs::path> folders_in(const fs::path& parent, const std::string& beginning) {
  std::vector<fs::path> folders;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    if (entry.is_directory(ignored) && entry.path().filename().string().starts_with(beginning))
      folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

bool is_enough(const std::vector<fs::path>& files) {
  std::uintmax_t bytes = 0;
  std::error_code ignored;
  for (const auto& file : files) bytes += fs::file_size(file, ignored);
  return bytes >= kEnoughBytes;
}

}  // namespace

std::vector<fs::path> default_text_files(const fs::path& root) {
  const fs::path licences = root / "usr/share/common-licenses";
  if (auto files = files_in(licences, ""); is_enough(files)) return files;

  std::string tried = licences.string();
  for (const char* const parent : {"usr/lib", "usr/lib64", "usr/local/lib"}) {
    tried += ", " + (root / parent / "python3.*").string();
    for (const auto& python : folders_in(root / parent, "python3.")) {
      auto files = files_in(python / "pydoc_data", ".py");
      for (auto& file : files_in(python, ".py")) files.push_back(std::move(file));
      if (is_enough(files)) return files;
    }
  }
  throw std::runtime_error("found no text to learn (" + std::to_string(kEnoughBytes / 1000) +
                           " kB of it) in: " + tried + ". Give text of your own with --text FILE...");
}

std::string read_text(const std::vector<fs::path>& files) {
  std::string text;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in || fs::is_directory(file)) throw std::runtime_error("cannot read the text " + file.string());
    text.append(std::istreambuf_iterator<char>(in), {});
  }
  std::erase_if(text, [](char character) { return character == '\f' || character == '\r'; });
  return text;
}

Vocabulary::Vocabulary(const std::string& text) {
  std::array<bool, 256> occurs{};
  for (const char character : text) occurs[static_cast<unsigned char>(character)] = true;
  for (std::size_t byte = 0; byte < occurs.size(); ++byte) {
    if (!occurs[byte]) continue;
    number_of_[byte] = static_cast<std::uint8_t>(characters_.size());
    characters_.push_back(static_cast<char>(byte));
  }
}

std::vector<std::uint8_t> Vocabulary::encode(const std::string& text) const {
  std::vector<std::uint8_t> numbers(text.size());
  std::transform(text.begin(), text.end(), numbers.begin(),
                 [this](char character) { return number_of_[static_cast<unsigned char>(character)]; });
  return numbers;
}

}  // namespace char_gpt
