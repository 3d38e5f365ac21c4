// What goes over the network in the clear, seen by somebody who reads all of it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/world.h"
#include "tests/harness/run_processes.h"

namespace hvd {
namespace {

// Eight letters that are a float64, and the name of a tensor.
constexpr std::string_view kGradient = "GRADIENT";
constexpr std::string_view kName = "layer_of_the_wiretap";
constexpr std::string_view kLastWords = "rank 1 has run out of coffee";

std::string reduce_gradients(Session& session) {
  std::vector<double> values(8192);
  for (double& value : values) std::memcpy(&value, kGradient.data(), sizeof(value));
  Declaration declaration;
  declaration.name = kName;
  declaration.dtype = DataType::float64;
  declaration.shape = {static_cast<std::int64_t>(values.size())};
  declaration.op = ReduceOp::max;
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return id.status().message();
  Submission submission;
  submission.id = id.value();
  submission.input = values.data();
  submission.output = values.data();
  const Status status = session.submit(std::move(submission)).wait(Deadline::after(std::chrono::minutes(1)));
  if (!status.is_ok()) return status.message();
  return std::string_view(reinterpret_cast<const char*>(&values.back()), sizeof(double)) == kGradient
             ? ""
             : "wrong result";
}

HVD_PROCESS_CASE(reduces_gradients) {
  auto session = open_session();
  std::string wrong = session.status().message();
  if (wrong.empty()) wrong = reduce_gradients(**session);
  if (wrong.empty()) wrong = (*session)->shutdown(Deadline::after(std::chrono::minutes(1))).message();
  if (!wrong.empty()) std::fprintf(stderr, "%s\n", wrong.c_str());
  return wrong.empty() ? 0 : 1;
}

// Rank 1 says goodbye with a reason, which the others hear.
HVD_PROCESS_CASE(ends_with_last_words) {
  auto session = open_session();
  if (!session.is_ok()) return 1;
  if (process_rank() == 1) (*session)->abort(Status::aborted(std::string(kLastWords)));
  while ((*session)->status().is_ok()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return (*session)->status().message().find(kLastWords) == std::string::npos ? 1 : 0;
}

// Everything that crosses this host's loopback while it lives.
class Wiretap {
 public:
  // Closed without the right to.
  Wiretap() : socket_(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    if (!socket_.is_open()) return;
    const int bytes = 64 << 20;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    sockaddr_ll loopback{};
    loopback.sll_family = AF_PACKET;
    loopback.sll_protocol = htons(ETH_P_ALL);
    loopback.sll_ifindex = static_cast<int>(::if_nametoindex("lo"));
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&loopback), sizeof(loopback)), 0);
    thread_ = std::thread([this] { listen(); });
  }
  ~Wiretap() { stop(); }
  Wiretap(const Wiretap&) = delete;
  Wiretap& operator=(const Wiretap&) = delete;

  bool is_open() const { return socket_.is_open(); }
  void stop() {
    is_stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // After stop.
  bool heard(std::string_view words) const { return heard_.find(words) != std::string::npos; }

 private:
  void listen() {
    std::vector<char> packet(1 << 17);
    while (true) {
      pollfd entry{socket_.get(), POLLIN, 0};
      const int ready = ::poll(&entry, 1, 20);
      if (ready == 0 && is_stopping_) return;
      if (ready <= 0) continue;
      const ssize_t got = ::recv(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT);
      if (got > 0) heard_.append(packet.data(), static_cast<std::size_t>(got));
    }
  }

  UniqueFd socket_;
  std::atomic<bool> is_stopping_{false};
  std::string heard_;
  std::thread thread_;
};

ProcessOptions over_tcp(const char* encrypt) {
  ProcessOptions options;
  options.environment = {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}, {"HVD_ENCRYPT", encrypt}};
  return options;
}

void expect_in_the_clear(const char* encrypt, bool tensors) {
  Wiretap wiretap;
  if (!wiretap.is_open()) GTEST_SKIP() << "reading the loopback needs CAP_NET_RAW: " << std::strerror(errno);
  const ProcessResult result = run_processes(3, "reduces_gradients", over_tcp(encrypt));
  EXPECT_TRUE(result.is_clean()) << result.describe();
  wiretap.stop();
  EXPECT_EQ(wiretap.heard(text(kGradient, kGradient)), tensors);
  EXPECT_FALSE(wiretap.heard(kName)) << "negotiation is always encrypted";
}

TEST(Encryption, TensorsAreInTheClearByDefault) { expect_in_the_clear("0", true); }
TEST(Encryption, OnDemandNothingIs) { expect_in_the_clear("1", false); }

TEST(Encryption, LastWordsAreNotInTheClear) {
  Wiretap wiretap;
  if (!wiretap.is_open()) GTEST_SKIP() << "reading the loopback needs CAP_NET_RAW: " << std::strerror(errno);
  const ProcessResult result = run_processes(3, "ends_with_last_words", over_tcp("0"));
  EXPECT_TRUE(result.is_clean()) << result.describe();
  wiretap.stop();
  EXPECT_FALSE(wiretap.heard(kLastWords));
}

TEST(Encryption, EveryOperation) {
  ProcessOptions options = over_tcp("1");
  options.case_arguments = {"1"};
  const ProcessResult result = run_processes(4, "every_operation", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
}

}  // namespace
}  // namespace hvd
