#include "launcher/horovod_names.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

namespace hvd::launcher {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "hvd_names.XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void add_names_in(const std::string& package) const {
    fs::create_directories(path / package / "horovod_names" / "horovod");
    std::ofstream(path / package / "horovod_names" / "horovod" / "__init__.py") << "\n";
  }

  fs::path path;
};

TEST(HorovodNames, AreBesideTheLauncherOfAWheel) {
  const Folder root;
  root.add_names_in("horovod_cpp");
  const auto found = find_horovod_names(root.path / "horovod_cpp" / "bin");
  ASSERT_TRUE(found.is_ok()) << found.status().message();
  EXPECT_EQ(found.value(), root.path / "horovod_cpp" / "horovod_names");
}

TEST(HorovodNames, AreInThePackageOfABuildTree) {
  const Folder root;
  root.add_names_in("python/horovod_cpp");
  const auto found = find_horovod_names(root.path / "bin");
  ASSERT_TRUE(found.is_ok()) << found.status().message();
  EXPECT_EQ(found.value(), root.path / "python" / "horovod_cpp" / "horovod_names");
}

TEST(HorovodNames, AreMissedWithARemedy) {
  const Folder root;
  const auto found = find_horovod_names(root.path / "bin");
  ASSERT_FALSE(found.is_ok());
  EXPECT_NE(found.status().message().find("pip install"), std::string::npos) << found.status().message();
}

TEST(HorovodNames, ComeBeforeWhatPythonSearchesAnyway) {
  EXPECT_EQ(python_path_from("/names", "/a:/b"), "/names:/a:/b");
  EXPECT_EQ(python_path_from("/names", ""), "/names") << "an empty entry is the current folder";
}

}  // namespace
}  // namespace hvd::launcher
