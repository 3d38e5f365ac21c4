#include "tests/harness/process_case.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iostream>
#include <map>

#include "horovod_cpp/base/text.h"
#include "tests/harness/process_job.h"

namespace hvd {
namespace {

std::map<std::string, ProcessCase*>& cases() {
  static std::map<std::string, ProcessCase*> registry;
  return registry;
}

std::vector<std::string>& arguments() {
  static std::vector<std::string> list;
  return list;
}

int first_number(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name)) return std::atoi(value);
  }
  return otherwise;
}

// Written beside and renamed, so that a reader never sees half a file.
void publish(const std::string& file, const std::string& content) {
  const std::string unfinished = text(file, ".", ::getpid());
  std::ofstream(unfinished) << content;
  std::filesystem::rename(unfinished, file);
}

int run_case(const std::string& name) {
  const auto found = cases().find(name);
  if (found == cases().end()) {
    std::cerr << "no process case '" << name << "' in this program\n";
    return 2;
  }
  if (!process_folder().empty()) publish(text(process_folder(), "/pid.", process_rank()), text(::getpid()));
  return found->second();
}

}  // namespace

bool register_process_case(const char* name, ProcessCase* body) {
  cases()[name] = body;
  return true;
}

int process_rank() { return first_number({"HVD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"}, 0); }
int process_size() { return first_number({"HVD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1); }

void process_reached(const std::string& point) {
  publish(text(process_folder(), "/reached.", process_rank(), ".", point), "");
}

std::string process_folder() {
  const char* folder = std::getenv(kJobFolderVariable);
  return folder == nullptr ? "" : folder;
}

const std::vector<std::string>& process_arguments() { return arguments(); }

int run_test_program(int argc, char** argv) {
  if (argc >= 3 && std::string(argv[1]) == kCaseArgument) {
    arguments().assign(argv + 3, argv + argc);
    return run_case(argv[2]);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace hvd
