#include "bindings/runtime/plugin_loader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace hvd {
namespace {

const std::vector<std::string> kFolders{HVD_TEST_PLUGINS};

// The message with which plugin `name` is refused.
std::string refusal(const std::string& name) {
  const auto loaded = load_plugin(name, kFolders);
  EXPECT_FALSE(loaded.is_ok()) << name;
  EXPECT_EQ(loaded.status().code(), StatusCode::unavailable) << name;
  return loaded.status().message();
}

void expect_contains(const std::string& message, const std::vector<std::string>& pieces) {
  for (const auto& piece : pieces)
    EXPECT_NE(message.find(piece), std::string::npos) << "no '" << piece << "' in: " << message;
}

EnvironmentLookup environment_with(std::string path) {
  return [path](const std::string& name) {
    return name == "HVD_PLUGIN_PATH" ? std::optional(path) : std::nullopt;
  };
}

TEST(PluginLoader, LoadsAGoodPlugin) {
  const auto loaded = load_plugin("good", kFolders);
  ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
  EXPECT_STREQ(loaded.value()->name, "test");
  std::string details;
  ASSERT_TRUE(loaded.value()->probe(&details).is_ok());
  EXPECT_EQ(details, "a plugin for tests");
}

TEST(PluginLoader, GivesTheSameTableAgain) {
  const auto first = load_plugin("good", kFolders);
  const auto second = load_plugin("good", kFolders);
  ASSERT_TRUE(first.is_ok() && second.is_ok());
  EXPECT_EQ(first.value(), second.value());
}

TEST(PluginLoader, NamesBothVersions) {
  expect_contains(refusal("other_version"),
                  {"hvd_other_version.so", "9.8.7", HVD_VERSION, "HVD_PLUGIN_PATH"});
  expect_contains(refusal("no_version"), {"unknown version", HVD_VERSION});
}

TEST(PluginLoader, NamesBothInterfaces) {
  expect_contains(refusal("other_abi"), {"4711", std::to_string(kPluginAbiVersion)});
  expect_contains(refusal("other_size"), {"12 bytes", std::to_string(sizeof(PluginTable))});
}

TEST(PluginLoader, RefusesWhatIsNoPlugin) {
  expect_contains(refusal("no_entry"), {"hvd_no_entry.so", kPluginEntryName});
  expect_contains(refusal("no_table"), {kPluginEntryName, "no table"});
  expect_contains(refusal("no_probe"), {"probe"});
}

TEST(PluginLoader, SaysWhereItLookedForAMissingFile) {
  const auto loaded = load_plugin("missing", {"/nonexistent/a", "/nonexistent/b"});
  ASSERT_FALSE(loaded.is_ok());
  EXPECT_EQ(loaded.status().code(), StatusCode::unavailable);
  expect_contains(loaded.status().message(),
                  {"/nonexistent/a/hvd_missing.so", "/nonexistent/b/hvd_missing.so", "HVD_PLUGIN_PATH"});
}

TEST(PluginLoader, SaysWhyAFileCannotBeLoaded) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("hvd_plugin_loader_test." + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "hvd_text.so") << "this is no shared object\n";
  const auto loaded = load_plugin("text", {folder.string()});
  std::filesystem::remove_all(folder);
  ASSERT_FALSE(loaded.is_ok());
  expect_contains(loaded.status().message(), {"hvd_text.so", "cannot be loaded"});
}

TEST(PluginLoader, TakesTheFirstFolderThatHasIt) {
  const auto loaded = load_plugin("good", {"/nonexistent", HVD_TEST_PLUGINS});
  EXPECT_TRUE(loaded.is_ok()) << loaded.status().message();
}

TEST(PluginFolders, EnvironmentComesFirstThenBesideTheProgram) {
  const auto folders = plugin_folders(environment_with("/first::/second:"));
  ASSERT_GE(folders.size(), 4U);
  EXPECT_EQ(folders[0], "/first");
  EXPECT_EQ(folders[1], "/second");
  const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  EXPECT_EQ(folders[2], (program / "horovod_cpp").string());
  EXPECT_EQ(folders[3], (program.parent_path() / "lib" / "horovod_cpp").string());
}

}  // namespace
}  // namespace hvd
