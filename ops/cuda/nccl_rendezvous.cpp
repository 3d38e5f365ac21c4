#include <algorithm>
#include <cstring>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/wire.h"
#include "ops/cuda/nccl_collectives.h"

namespace hvd {
namespace {

// What a rank brings to the meeting. A rank that cannot take part says so here:
// the others must not wait for it.
struct Hello {
  std::string problem;  // empty: none
  NcclAbility ability;
  ncclUniqueId id{};  // of rank 0
};

Bytes encode(const Hello& hello) {
  ByteWriter writer;
  writer.put_text(hello.problem);
  writer.put(static_cast<std::int32_t>(hello.ability.version));
  writer.put(static_cast<std::int32_t>(hello.ability.compute_capability));
  writer.put_bytes(std::as_bytes(std::span(hello.id.internal)));
  return writer.take();
}

Result<Hello> decode(const Bytes& bytes) {
  ByteReader reader(bytes);
  Hello hello;
  hello.problem = reader.get_text();
  hello.ability.version = reader.get<std::int32_t>();
  hello.ability.compute_capability = reader.get<std::int32_t>();
  const auto id = reader.get_bytes();
  if (reader.failed() || id.size() != sizeof(hello.id.internal)) {
    return Status::internal("nccl: a rank's greeting cannot be read; do all ranks run the same version?");
  }
  std::memcpy(hello.id.internal, id.data(), id.size());
  return hello;
}

Hello introduce(const std::shared_ptr<CudaDevice>& device,
                const Result<std::shared_ptr<const NcclLibrary>>& nccl, int rank) {
  Hello hello;
  if (device == nullptr) {
    hello.problem = "nccl needs a CUDA device of this plugin";
    return hello;
  }
  if (!nccl.is_ok()) {
    hello.problem = nccl.status().message();
    return hello;
  }
  const NcclLibrary& library = *nccl.value();
  hello.ability = {library.version, device->context()->compute_capability()};
  if (rank != 0) return hello;
  const CudaContext::Current current(*device->context());
  const ncclResult_t result = library.ncclGetUniqueId(&hello.id);
  if (result != ncclSuccess) hello.problem = text("ncclGetUniqueId: ", library.words_for(result));
  return hello;
}

struct Agreement {
  NcclAbility ability;
  ncclUniqueId id{};
};

// The same answer on every rank.
Result<Agreement> agree(const std::vector<Bytes>& hellos) {
  Agreement out;
  for (std::size_t rank = 0; rank < hellos.size(); ++rank) {
    const auto hello = decode(hellos[rank]);
    if (!hello.is_ok()) return hello.status();
    if (!hello.value().problem.empty())
      return Status::unavailable(text("rank ", rank, ": ", hello.value().problem));
    const NcclAbility& ability = hello.value().ability;
    if (rank == 0) out = {ability, hello.value().id};
    if (ability.version != out.ability.version) {
      return Status::unavailable(text("rank 0 has NCCL ", nccl_version_name(out.ability.version), ", rank ",
                                      rank, " has ", nccl_version_name(ability.version),
                                      "; all ranks need the same"));
    }
    out.ability.compute_capability = std::min(out.ability.compute_capability, ability.compute_capability);
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<NcclCollectives>> NcclCollectives::open(Transport& bootstrap,
                                                               std::shared_ptr<CudaDevice> device,
                                                               Deadline deadline) {
  auto nccl = NcclLibrary::load();
  std::vector<Bytes> answers;
  HVD_RETURN_IF_ERROR(
      bootstrap.all_gather(encode(introduce(device, nccl, bootstrap.rank())), answers, deadline));
  const auto agreement = agree(answers);
  if (!agreement.is_ok()) return agreement.status();

  auto collectives = connect(std::move(nccl).value(), agreement.value().ability, std::move(device),
                             agreement.value().id, bootstrap.rank(), bootstrap.size(), deadline);
  const std::string problem = collectives.status().message();
  Status heard = bootstrap.all_gather(std::as_bytes(std::span(problem)), answers, deadline);
  for (std::size_t rank = 0; heard.is_ok() && rank < answers.size(); ++rank) {
    if (answers[rank].empty()) continue;
    heard = Status::aborted(
        std::string(reinterpret_cast<const char*>(answers[rank].data()), answers[rank].size()));
  }
  if (!collectives.is_ok()) return collectives.status();
  if (!heard.is_ok()) {
    collectives.value()->abort(heard);
    return heard;
  }
  return collectives;
}

}  // namespace hvd
