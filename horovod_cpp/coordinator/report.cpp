#include "horovod_cpp/coordinator/report.h"

namespace hvd {
namespace {

constexpr std::uint32_t kDeclaredHere = 0x8000'0000U;
constexpr std::uint32_t kHasExtents = 0x4000'0000U;
constexpr std::size_t kMaxDimensions = 64;

void encode(const Declaration& d, ByteWriter& out) {
  out.put_text(d.name);
  out.put(d.kind);
  out.put(d.dtype);
  out.put(d.op);
  out.put(d.device.type);
  out.put(static_cast<std::int32_t>(d.device.index));
  out.put(static_cast<std::int32_t>(d.root));
  out.put(d.prescale);
  out.put(d.postscale);
  out.put(static_cast<std::uint8_t>(d.shape.size()));
  for (const std::int64_t dimension : d.shape) out.put(dimension);
  out.put(static_cast<std::int32_t>(d.process_set));
  out.put(static_cast<std::uint32_t>(d.ranks.size()));
  for (const int rank : d.ranks) out.put(static_cast<std::int32_t>(rank));
  out.put_text(d.group);
  out.put(static_cast<std::int32_t>(d.group_size));
}

// Enumerations are checked: a value outside them would index tables.
template <class T>
T get_enum(ByteReader& in, T last) {
  const auto value = in.get<std::uint8_t>();
  if (value <= static_cast<std::uint8_t>(last)) return static_cast<T>(value);
  in.fail();
  return T{};
}

Declaration decode_declaration(ByteReader& in) {
  Declaration d;
  d.name = in.get_text();
  d.kind = get_enum(in, OpKind::share_memory);
  d.dtype = get_enum(in, DataType::uint64);
  d.op = get_enum(in, ReduceOp::adasum);
  d.device.type = get_enum(in, DeviceType::cuda);
  d.device.index = in.get<std::int32_t>();
  d.root = in.get<std::int32_t>();
  d.prescale = in.get<double>();
  d.postscale = in.get<double>();
  const auto dimensions = in.get<std::uint8_t>();
  if (dimensions > kMaxDimensions) in.fail();
  for (std::size_t i = 0; i < dimensions && !in.failed(); ++i) d.shape.push_back(in.get<std::int64_t>());
  d.process_set = in.get<std::int32_t>();
  const auto ranks = in.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < ranks && !in.failed(); ++i) d.ranks.push_back(in.get<std::int32_t>());
  d.group = in.get_text();
  d.group_size = in.get<std::int32_t>();
  return d;
}

}  // namespace

Bytes encode(const Report& report) {
  ByteWriter out;
  out.put(static_cast<std::uint8_t>(report.is_leaving));
  out.put(static_cast<std::uint32_t>(report.declarations.size()));
  for (const Declaration& declaration : report.declarations) encode(declaration, out);
  out.put(static_cast<std::uint32_t>(report.ready.size()));
  for (const Report::Ready& ready : report.ready) {
    out.put(ready.index | (ready.is_declared_here ? kDeclaredHere : 0) |
            (ready.extents.empty() ? 0 : kHasExtents));
    if (ready.extents.empty()) continue;
    out.put(static_cast<std::uint32_t>(ready.extents.size()));
    for (const std::int64_t extent : ready.extents) out.put(extent);
  }
  return out.take();
}

Result<Report> decode_report(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  Report report;
  report.is_leaving = in.get<std::uint8_t>() != 0;
  const auto declarations = in.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < declarations && !in.failed(); ++i) {
    report.declarations.push_back(decode_declaration(in));
  }
  const auto ready = in.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < ready && !in.failed(); ++i) {
    const auto code = in.get<std::uint32_t>();
    Report::Ready entry{(code & kDeclaredHere) != 0, code & ~(kDeclaredHere | kHasExtents), {}};
    const std::uint32_t extents = (code & kHasExtents) != 0 ? in.get<std::uint32_t>() : 0;
    for (std::uint32_t e = 0; e < extents && !in.failed(); ++e)
      entry.extents.push_back(in.get<std::int64_t>());
    if (entry.is_declared_here && entry.index >= report.declarations.size()) in.fail();
    report.ready.push_back(std::move(entry));
  }
  if (in.failed() || in.remaining() != 0) return Status::aborted("malformed negotiation report");
  return report;
}

}  // namespace hvd
