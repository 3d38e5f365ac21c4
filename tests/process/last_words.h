// What ranks and hvdrun say when a job ends, as tests read it.
#pragma once

#include <sstream>
#include <string>
#include <vector>

namespace hvd {

// How many ranks ended with an error of their own ("case failed on rank R: …") that names the victim.
inline int survivors_that_name(int victim, const std::string& errors) {
  std::istringstream lines(errors);
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t failed = line.find("case failed on rank ");
    const std::size_t colon = line.find(": ", failed == std::string::npos ? 0 : failed);
    if (failed == std::string::npos || colon == std::string::npos) continue;
    if (line.find("rank " + std::to_string(victim), colon) != std::string::npos) ++count;
  }
  return count;
}

// The lines of hvdrun's own, without "hvdrun: ".
inline std::vector<std::string> words_of_hvdrun(const std::string& errors) {
  constexpr std::string_view kOwn = "hvdrun: ";
  std::istringstream lines(errors);
  std::vector<std::string> words;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kOwn)) words.push_back(line.substr(kOwn.size()));
  }
  return words;
}

}  // namespace hvd
