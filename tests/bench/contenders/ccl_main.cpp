// Ranks of oneCCL: one allreduce (in place, float32, sum) of everything. Compiled by peers/install, which has its headers; started by the
// conductor without a launcher: ranks learn rank 0's address from the board.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <oneapi/ccl.hpp>
#include <string>

#include "horovod_cpp/base/text.h"
#include "tests/bench/gradients.h"
#include "tests/bench/rank.h"

namespace hvd::bench {
namespace {

using Address = ccl::kvs::address_type;

std::string to_letters(const Address& address) {
  std::string letters;
  for (const char byte : address) {
    letters += static_cast<char>('a' + (static_cast<unsigned char>(byte) >> 4U));
    letters += static_cast<char>('a' + (static_cast<unsigned char>(byte) & 15U));
  }
  return letters;
}

Address to_address(const std::string& letters) {
  Address address{};
  for (std::size_t i = 0; i < address.size() && 2 * i + 1 < letters.size(); ++i)
    address[i] = static_cast<char>((letters[2 * i] - 'a') * 16 + (letters[2 * i + 1] - 'a'));
  return address;
}

class CclAllreduce final : public Contender {
 public:
  CclAllreduce(const ccl::communicator& communicator, const Workload& workload, Place place)
      : communicator_(communicator), place_(place), gradients_(workload, Layout::contiguous) {}

  std::string title() const override {
    const auto version = ccl::get_library_version();
    return text("one allreduce, oneCCL ", version.major, ".", version.minor, ".", version.update);
  }
  void fill(int repetition) override { gradients_.fill(place_.rank, repetition); }
  Status run() override {
    const auto all = gradients_.all();
    try {
      ccl::allreduce(all.data(), all.data(), all.size(), ccl::reduction::sum, communicator_).wait();
    } catch (const std::exception& failure) {
      return Status::aborted(failure.what());
    }
    return {};
  }
  Status verify(int repetition) override { return gradients_.verify(place_.size, repetition, 1.0); }
  void give_back() override { gradients_.give_back(); }

 private:
  const ccl::communicator& communicator_;
  Place place_;
  Gradients gradients_;
};

Status serve() {
  const auto place = place_from_environment();
  HVD_RETURN_IF_ERROR(place.status());
  auto rank = Rank::join(place.value());
  HVD_RETURN_IF_ERROR(rank.status());
  // What a launcher would tell it: without, it takes the ranks for lone processes and puts their workers on one core.
  ::setenv("CCL_LOCAL_RANK", std::to_string(place.value().rank).c_str(), 0);
  ::setenv("CCL_LOCAL_SIZE", std::to_string(place.value().size).c_str(), 0);
  ccl::init();
  ccl::shared_ptr_class<ccl::kvs> meeting;
  std::string letter;
  if (place.value().rank == 0) {
    meeting = ccl::create_main_kvs();
    letter = to_letters(meeting->get_address());
  }
  HVD_RETURN_IF_ERROR(rank.value().pass_on(letter));
  if (place.value().rank != 0) meeting = ccl::create_kvs(to_address(letter));
  const auto communicator = ccl::create_communicator(place.value().size, place.value().rank, meeting);
  rank.value().obey([&](const Workload& workload) -> Result<std::unique_ptr<Contender>> {
    if (workload.is_step()) return Status::unimplemented("reduces tensors only");
    return std::unique_ptr<Contender>(std::make_unique<CclAllreduce>(communicator, workload, place.value()));
  });
  return {};
}

}  // namespace
}  // namespace hvd::bench

int main() {
  try {
    const hvd::Status status = hvd::bench::serve();
    if (!status.is_ok()) std::fprintf(stderr, "oneccl: %s\n", status.message().c_str());
    return status.is_ok() ? 0 : 1;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "oneccl: %s\n", failure.what());
    return 1;
  }
}
