// A program without LibTorch: sums an array over all ranks with the core's own API.
#include <horovod_cpp/world.h>

#include <chrono>
#include <iostream>
#include <vector>

namespace {

int fail(const hvd::Status& status) {
  std::cerr << status.message() << std::endl;
  return 1;
}

}  // namespace

int main() {
  auto opened = hvd::open_session();
  if (!opened.is_ok()) return fail(opened.status());
  hvd::Session& session = **opened;

  std::vector<float> values(1000, static_cast<float>(session.rank() + 1));
  const auto id = session.declare({.name = "values", .shape = {1000}, .op = hvd::ReduceOp::sum});
  if (!id.is_ok()) return fail(id.status());
  const hvd::Work work = session.submit({.id = id.value(), .input = values.data(), .output = values.data()});
  if (const hvd::Status status = work.wait(); !status.is_ok()) return fail(status);

  const int expected = session.size() * (session.size() + 1) / 2;
  bool right = true;
  for (const float value : values) right = right && value == static_cast<float>(expected);
  std::cout << "rank " << session.rank() << " of " << session.size() << ": " << (right ? "right" : "wrong")
            << ", " << session.backends() << std::endl;

  const hvd::Status goodbye = session.shutdown(hvd::Deadline::after(std::chrono::seconds(60)));
  if (!goodbye.is_ok()) return fail(goodbye);
  return right ? 0 : 1;
}
