// Calls of a Session that tests make again and again.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "horovod_cpp/session.h"

namespace hvd {

inline Deadline soon() { return Deadline::after(std::chrono::minutes(2)); }

inline Declaration float_tensor(OpKind kind, const std::string& name, Shape shape, int process_set = 0) {
  Declaration declaration;
  declaration.kind = kind;
  declaration.name = name;
  declaration.shape = std::move(shape);
  declaration.process_set = process_set;
  return declaration;
}

inline Work submit(Session& session, const Declaration& declaration, const void* input, void* output) {
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return Work::finished(id.status());
  Submission submission;
  submission.id = id.value();
  submission.input = input;
  submission.output = output;
  return session.submit(std::move(submission));
}

inline Work submit(Session& session, const Declaration& declaration, void* data) {
  return submit(session, declaration, data, data);
}

// allgather and alltoall: `result` is resized when its size is known.
inline Work submit_rows(Session& session, const Declaration& declaration, const std::vector<float>& input,
                        const Extents& extents, std::vector<float>& result) {
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return Work::finished(id.status());
  Submission submission;
  submission.id = id.value();
  submission.input = input.data();
  submission.extents = extents;
  const auto row = static_cast<std::size_t>(element_count(declaration.shape));
  submission.allocate = [&result, row](std::span<const std::int64_t> rows) -> void* {
    std::size_t sum = 0;
    for (const std::int64_t count : rows) sum += static_cast<std::size_t>(count);
    result.assign(sum * row, -1.0F);
    return result.data();
  };
  return session.submit(std::move(submission));
}

}  // namespace hvd
