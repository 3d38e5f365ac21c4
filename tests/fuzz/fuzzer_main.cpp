// A libFuzzer program for all targets (./dev fuzz).
//
//   hvd_fuzz --list                                 the names of all targets
//   hvd_fuzz --write-seeds=FOLDER                   their seeds, as FOLDER/NAME/seed.N
//   hvd_fuzz --target=NAME [options of libFuzzer]   libFuzzer ignores what begins with two dashes
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz_target.h"

namespace {

const hvd::FuzzTarget* chosen = nullptr;

[[noreturn]] void list_targets() {
  for (const hvd::FuzzTarget& target : hvd::fuzz_targets()) std::puts(target.name);
  std::exit(0);
}

[[noreturn]] void write_seeds(const std::filesystem::path& folder) {
  for (const hvd::FuzzTarget& target : hvd::fuzz_targets()) {
    std::filesystem::create_directories(folder / target.name);
    int number = 0;
    for (const hvd::Bytes& seed : target.seeds()) {
      std::ofstream file(folder / target.name / ("seed." + std::to_string(number++)), std::ios::binary);
      file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
    }
  }
  std::exit(0);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kTarget = "--target=";
  constexpr std::string_view kWriteSeeds = "--write-seeds=";
  for (int i = 1; i < *argc; ++i) {
    const std::string_view argument = (*argv)[i];
    if (argument == "--list") list_targets();
    if (argument.starts_with(kWriteSeeds)) write_seeds(argument.substr(kWriteSeeds.size()));
    if (argument.starts_with(kTarget))
      chosen = hvd::find_fuzz_target(std::string(argument.substr(kTarget.size())));
  }
  if (chosen != nullptr) return 0;
  std::fputs("hvd_fuzz: no such target; hvd_fuzz --list says which there are\n", stderr);
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
