#include "launcher/environment_plan.h"

#include <map>

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {

std::vector<std::string> environment_of_rank(const std::vector<std::string>& inherited,
                                             const JobEnvironment& job, int rank) {
  // All ranks are on this host: one host, and the local numbers are the global ones.
  const std::pair<const char*, int> placement[] = {
      {"RANK", rank},    {"SIZE", job.num_proc}, {"LOCAL_RANK", rank}, {"LOCAL_SIZE", job.num_proc},
      {"CROSS_RANK", 0}, {"CROSS_SIZE", 1},
  };
  std::map<std::string, std::string> ours;
  for (const auto& [name, value] : job.settings) ours[name] = value;
  for (const auto& [name, value] : placement) {
    ours[text("HVD_", name)] = std::to_string(value);
    ours[text("HOROVOD_", name)] = std::to_string(value);
  }
  ours["HVD_RENDEZVOUS"] = job.rendezvous;
  ours["HVD_JOB_KEY_FD"] = std::to_string(job.job_key_fd);
  if (job.omp_threads) ours["OMP_NUM_THREADS"] = std::to_string(*job.omp_threads);

  std::vector<std::string> environment;
  bool has_python_setting = false;
  for (const auto& entry : inherited) {
    const std::string name = entry.substr(0, entry.find('='));
    // A key of a job around this one.
    if (ours.contains(name) || name == "HVD_JOB_KEY" || name == "HVD_JOB_KEY_FILE") continue;
    has_python_setting |= name == "PYTHONUNBUFFERED";
    environment.push_back(entry);
  }
  if (!has_python_setting) ours["PYTHONUNBUFFERED"] = "1";
  for (const auto& [name, value] : ours) environment.push_back(text(name, "=", value));
  return environment;
}

}  // namespace hvd::launcher
