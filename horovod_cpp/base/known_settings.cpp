#include "horovod_cpp/base/known_settings.h"

#include <unistd.h>

#include <algorithm>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

// Read by us, with HVD_ or HOROVOD_ before it.
constexpr std::string_view kOurs[] = {
    "CONTROL",
    "CPU_OPERATIONS",
    "CROSS_RANK",
    "CROSS_SIZE",
    "FUSION_THRESHOLD",
    "HEARTBEAT_TIMEOUT_SECONDS",
    "JOB_KEY_FD",
    "JOB_KEY_FILE",
    "LOCAL_RANK",
    "LOCAL_SIZE",
    "LOG_LEVEL",
    "NCCL_LIBRARY",
    "PLUGIN_PATH",
    "RANK",
    "RENDEZVOUS",
    "SHUTDOWN_TIMEOUT",
    "SIZE",
    "STALL_CHECK_DISABLE",
    "STALL_CHECK_TIME_SECONDS",
    "STALL_SHUTDOWN_TIME_SECONDS",
    "START_TIMEOUT",
    "STATIC_PLAN",
    "ENCRYPT",
    "TIMELINE",
    "TIMELINE_MARK_CYCLES",
    "TIMELINE_MAX_MB",
};

// Used by the build and by the tests.
constexpr std::string_view kNotSettings[] = {
    "HVD_BENCH_",       "HVD_CUDA_INCLUDE", "HVD_EXPECT_PROBE", "HVD_JOBS",  "HVD_NCCL_INCLUDE",
    "HVD_PYTHON",       "HVD_SKIP_APT",     "HVD_STANDIN_",     "HVD_TEST_", "HVD_TORCH_INDEX_URL",
    "HVD_TORCH_PREFIX", "HOROVOD_WITH_",    "HOROVOD_WITHOUT_",
};

struct Foreign {
  std::string_view name;
  std::string_view why;
};

constexpr std::string_view kTuned = "there is nothing to tune: the plan is made after the first step";
constexpr std::string_view kChosen =
    "what carries the bytes is found by itself; HVD_CONTROL and HVD_CPU_OPERATIONS choose";
constexpr std::string_view kElastic = "hvdrun tells ranks itself whether a job may lose some";
constexpr std::string_view kAlways = "process sets may always be added";
constexpr std::string_view kStream = "there is one stream";
constexpr std::string_view kTimeout = "HVD_START_TIMEOUT limits the start; nothing else waits by the clock";

// Horovod's, without a meaning here. A name that ends with '*' stands for all that begin so.
constexpr Foreign kHorovods[] = {
    {"ADASUM_MPI_CHUNK_SIZE", kTuned},
    {"AUTOTUNE*", kTuned},
    {"BATCH_D2D_MEMCOPIES", kTuned},
    {"CACHE_CAPACITY", kTuned},
    {"CONTROLLER", kChosen},
    {"CYCLE_TIME", "there is no cycle: an operation starts when the last rank has submitted it"},
    {"DISABLE_GROUP_FUSION", kTuned},
    {"DISABLE_NVTX_RANGES", "there are no NVTX ranges"},
    {"DYNAMIC_PROCESS_SETS", kAlways},
    {"ELASTIC*", kElastic},
    {"ENABLE_ASYNC_COMPLETION", kStream},
    {"GLOO_*", kTimeout},
    {"HIERARCHICAL_*", kTuned},
    {"HOSTNAME", "ranks learn their places from HVD_LOCAL_RANK and HVD_CROSS_RANK"},
    {"LOG_HIDE_TIME", "lines carry the time"},
    {"MPI_THREADS_DISABLE", "MPI is called by one thread only"},
    {"NUM_NCCL_STREAMS", kStream},
    {"THREAD_AFFINITY", "hvdrun binds ranks; --no-bind leaves them free"},
    {"TORUS_ALLREDUCE", kTuned},
};

bool is_of(std::string_view name, std::string_view pattern) {
  if (!pattern.ends_with('*')) return name == pattern;
  pattern.remove_suffix(1);
  return name.starts_with(pattern);
}

std::string nearest_to(std::string_view name) {
  const auto* const nearest =
      std::min_element(std::begin(kOurs), std::end(kOurs), [name](std::string_view a, std::string_view b) {
        return edit_distance(name, a) < edit_distance(name, b);
      });
  const int farthest = std::max(1, static_cast<int>(name.size()) / 3);
  return edit_distance(name, *nearest) <= farthest ? std::string(*nearest) : std::string();
}

// Empty: nothing to say.
std::string remark_on(std::string_view variable) {
  const std::size_t prefix = variable.starts_with("HVD_") ? 4 : variable.starts_with("HOROVOD_") ? 8 : 0;
  const auto begins = [variable](std::string_view known) { return variable.starts_with(known); };
  if (prefix == 0 || std::any_of(std::begin(kNotSettings), std::end(kNotSettings), begins)) return "";
  const std::string_view name = variable.substr(prefix);
  if (std::find(std::begin(kOurs), std::end(kOurs), name) != std::end(kOurs)) return "";
  for (const Foreign& foreign : kHorovods) {
    if (is_of(name, foreign.name)) return text(variable, " has no effect: ", foreign.why);
  }
  const std::string nearest = nearest_to(name);
  const std::string meant =
      nearest.empty() ? "" : text("; did you mean ", variable.substr(0, prefix), nearest, "?");
  return text(variable, " is not a setting and has no effect", meant);
}

}  // namespace

std::vector<std::string> remarks_on_settings(const std::vector<std::string>& names) {
  std::vector<std::string> remarks;
  for (const std::string& name : names) {
    if (std::string remark = remark_on(name); !remark.empty()) remarks.push_back(std::move(remark));
  }
  std::sort(remarks.begin(), remarks.end());
  return remarks;
}

std::vector<std::string> remarks_on_environment() {
  std::vector<std::string> names;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view whole = *entry;
    names.emplace_back(whole.substr(0, whole.find('=')));
  }
  return remarks_on_settings(names);
}

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<int>> cost(a.size() + 1, std::vector<int>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = static_cast<int>(i + j);
        continue;
      }
      const int replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace hvd
