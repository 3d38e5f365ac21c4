#include "bindings/runtime/agreement.h"

#include <array>
#include <string>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {
namespace {

// A setting that must be the same on all ranks, in words.
struct Setting {
  const char* name;
  std::string (*value)(const Config&);
};

// The version first: what another version has to say after it is unknown.
constexpr const char* kVersion = "the version of horovod_cpp";
constexpr std::array<Setting, 6> kSettings{{
    {kVersion, [](const Config&) { return std::string(HVD_VERSION); }},
    {"HVD_CONTROL", [](const Config& config) { return config.control; }},
    {"HVD_CPU_OPERATIONS", [](const Config& config) { return config.cpu_operations; }},
    {"HVD_FUSION_THRESHOLD",
     [](const Config& config) { return std::to_string(config.fusion_threshold_bytes); }},
    {"HVD_ENCRYPT", [](const Config& config) { return std::string(config.encrypt ? "1" : "0"); }},
    {"HVD_STATIC_PLAN", [](const Config& config) { return std::string(config.static_plan ? "1" : "0"); }},
}};

}  // namespace

Status agree(Transport& bootstrap, const Status& mine, Deadline deadline) {
  ByteWriter out;
  out.put(static_cast<std::uint8_t>(mine.code()));
  out.put_text(mine.message());
  std::vector<Bytes> all;
  // Who could not come this far himself knows the cause; the others' silence is none.
  if (const Status met = bootstrap.all_gather(out.bytes(), all, deadline); !met.is_ok())
    return mine.is_ok() ? met : mine;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    ByteReader in(all[rank]);
    const auto code = static_cast<StatusCode>(in.get<std::uint8_t>());
    const std::string message = in.get_text();
    if (code == StatusCode::ok) continue;
    const std::string who = text("rank ", rank, ":");
    return {code, message.starts_with(who) ? message : text(who, ' ', message)};
  }
  return {};
}

Status agree_on_settings(Transport& bootstrap, const Config& config, Deadline deadline) {
  ByteWriter out;
  for (const Setting& setting : kSettings) out.put_text(setting.value(config));
  std::vector<Bytes> all;
  HVD_RETURN_IF_ERROR(bootstrap.all_gather(out.bytes(), all, deadline));
  std::vector<ByteReader> readers(all.begin(), all.end());
  std::string differences;
  for (const Setting& setting : kSettings) {
    std::string words;
    std::string first;
    bool differs = false;
    for (std::size_t rank = 0; rank < readers.size(); ++rank) {
      const std::string value = readers[rank].get_text();
      if (rank == 0) first = value;
      differs = differs || value != first;
      words += text(rank == 0 ? "" : ", ", "rank ", rank, " has ", value);
    }
    if (!differs) continue;
    differences += text(differences.empty() ? "" : "; and on ", setting.name, ": ", words);
    if (setting.name == kVersion) break;
  }
  if (differences.empty()) return {};
  return Status::invalid_argument(
      text("ranks disagree on ", differences,
           ". It must be the same on every rank (mpirun passes variables on with -x)."));
}

}  // namespace hvd
