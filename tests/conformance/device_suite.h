// What every implementation of ports/device.h must do. Instantiate for yours:
//
//   struct MyDeviceTraits {
//     static std::shared_ptr<Device> open();
//     static Bytes read(Device&, const void* from, std::size_t bytes);  // returns when it is done
//     static std::unique_ptr<DeviceMemory> write(Device&, std::span<const std::byte> bytes);  // likewise
//     struct Gate { void open(); };               // destroyed: opens
//     static void hold(Device&, Stream&, Gate&);  // the stream waits for the gate
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, DeviceSuite, MyDeviceTraits);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/ports/device.h"

namespace hvd {

template <class Traits>
class DeviceSuite : public testing::Test {
 protected:
  void SetUp() override {
    device_ = Traits::open();
    ASSERT_NE(device_, nullptr);
  }
  Device& device() { return *device_; }
  std::unique_ptr<Stream> stream() {
    auto made = device_->create_stream();
    EXPECT_TRUE(made.is_ok()) << made.status().message();
    return std::move(made).value();
  }
  std::unique_ptr<DeviceMemory> memory(std::size_t bytes) {
    auto made = device_->allocate(bytes);
    EXPECT_TRUE(made.is_ok()) << made.status().message();
    return std::move(made).value();
  }
  // Different in every byte that a mistake would mix up.
  static Bytes pattern(std::size_t bytes, unsigned first) {
    Bytes out(bytes);
    for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>((first + i * 7) & 0xFF);
    return out;
  }
  static Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

 private:
  std::shared_ptr<Device> device_;
};
TYPED_TEST_SUITE_P(DeviceSuite);

TYPED_TEST_P(DeviceSuite, AllocatesAnySize) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{1} << 20}) {
    const auto memory = this->memory(bytes);
    EXPECT_EQ(memory->size_in_bytes(), bytes);
    EXPECT_TRUE(bytes == 0 || memory->data() != nullptr);
  }
}

TYPED_TEST_P(DeviceSuite, SaysWhenMemoryDoesNotSuffice) {
  const auto memory = this->device().allocate(std::size_t{1} << 50);
  ASSERT_FALSE(memory.is_ok());
  EXPECT_EQ(memory.status().code(), StatusCode::unavailable);
  EXPECT_NE(memory.status().message().find("1125899906842624"), std::string::npos)
      << memory.status().message();
  const auto still_works = this->memory(64);
  EXPECT_EQ(still_works->size_in_bytes(), 64U);
}

TYPED_TEST_P(DeviceSuite, GathersAndScattersSlicesOfAllLengths) {
  const std::vector<std::size_t> counts{3, 0, 1, 1000, 17};
  const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  for (const DataType dtype : {DataType::uint8, DataType::bfloat16, DataType::float32, DataType::float64}) {
    const std::size_t width = size_in_bytes(dtype);
    std::vector<std::unique_ptr<DeviceMemory>> tensors;
    std::vector<DeviceSlice> slices;
    Bytes expected;
    for (const std::size_t count : counts) {
      const Bytes bytes = this->pattern(count * width, static_cast<unsigned>(tensors.size() * 50));
      expected.insert(expected.end(), bytes.begin(), bytes.end());
      tensors.push_back(TypeParam::write(this->device(), bytes));
      slices.push_back({tensors.back()->data(), count});
    }
    const auto packed = this->memory(total * width);
    const auto stream = this->stream();
    ASSERT_TRUE(this->device().gather(slices, packed->data(), dtype, 1.0, *stream).is_ok());
    ASSERT_TRUE(stream->record().value()->synchronize(this->soon()).is_ok());
    EXPECT_EQ(TypeParam::read(this->device(), packed->data(), total * width), expected) << name_of(dtype);

    std::vector<std::unique_ptr<DeviceMemory>> copies;
    std::vector<DeviceSlice> targets;
    for (const std::size_t count : counts) {
      copies.push_back(this->memory(count * width));
      targets.push_back({copies.back()->data(), count});
    }
    ASSERT_TRUE(this->device().scatter(packed->data(), targets, dtype, 1.0, *stream).is_ok());
    ASSERT_TRUE(stream->record().value()->synchronize(this->soon()).is_ok());
    Bytes seen;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const Bytes bytes = TypeParam::read(this->device(), copies[i]->data(), counts[i] * width);
      seen.insert(seen.end(), bytes.begin(), bytes.end());
    }
    EXPECT_EQ(seen, expected) << name_of(dtype);
  }
}

// Until the kernels for it exist, scaling must be refused, not ignored.
TYPED_TEST_P(DeviceSuite, ScalesOrRefuses) {
  const float one = 1.0F;
  const auto tensor = TypeParam::write(this->device(), std::as_bytes(std::span(&one, 1)));
  const auto packed = this->memory(sizeof(float));
  const auto stream = this->stream();
  const DeviceSlice slice{tensor->data(), 1};
  const Status gathered =
      this->device().gather({&slice, 1}, packed->data(), DataType::float32, 0.25, *stream);
  const Status scattered =
      this->device().scatter(packed->data(), {&slice, 1}, DataType::float32, 0.25, *stream);
  ASSERT_TRUE(stream->record().value()->synchronize(this->soon()).is_ok());
  if (!gathered.is_ok()) {
    EXPECT_EQ(gathered.code(), StatusCode::unimplemented);
    EXPECT_EQ(scattered.code(), StatusCode::unimplemented);
    return;
  }
  const Bytes bytes = TypeParam::read(this->device(), tensor->data(), sizeof(float));
  float value = 0;
  std::memcpy(&value, bytes.data(), sizeof(value));
  EXPECT_EQ(value, 0.0625F);
}

TYPED_TEST_P(DeviceSuite, AnEventIsCompleteWhenTheWorkBeforeItIs) {
  const auto stream = this->stream();
  typename TypeParam::Gate gate;
  TypeParam::hold(this->device(), *stream, gate);
  const auto event = stream->record().value();
  EXPECT_FALSE(event->is_complete().value());
  EXPECT_EQ(event->synchronize(Deadline::after(std::chrono::milliseconds(20))).code(), StatusCode::timed_out);
  gate.open();
  EXPECT_TRUE(event->synchronize(this->soon()).is_ok());
  EXPECT_TRUE(event->is_complete().value());
  EXPECT_TRUE(event->synchronize(Deadline::after(std::chrono::seconds(0))).is_ok());
}

TYPED_TEST_P(DeviceSuite, AnotherThreadMaySynchronize) {
  const auto stream = this->stream();
  typename TypeParam::Gate gate;
  TypeParam::hold(this->device(), *stream, gate);
  const auto event = stream->record().value();
  Status seen = Status::internal("not yet");
  std::thread waiter([&] { seen = event->synchronize(this->soon()); });
  gate.open();
  waiter.join();
  EXPECT_TRUE(seen.is_ok()) << seen.message();
}

TYPED_TEST_P(DeviceSuite, AStreamWaitsForAnEventOfAnother) {
  const auto first = this->stream();
  const auto second = this->stream();
  typename TypeParam::Gate gate;
  TypeParam::hold(this->device(), *first, gate);
  const auto before = first->record().value();
  ASSERT_TRUE(second->wait(*before).is_ok());
  const auto after = second->record().value();
  EXPECT_EQ(after->synchronize(Deadline::after(std::chrono::milliseconds(50))).code(), StatusCode::timed_out);
  gate.open();
  EXPECT_TRUE(after->synchronize(this->soon()).is_ok());
}

TYPED_TEST_P(DeviceSuite, StreamsDoNotWaitForEachOtherUnasked) {
  const auto held = this->stream();
  const auto free = this->stream();
  typename TypeParam::Gate gate;
  TypeParam::hold(this->device(), *held, gate);
  EXPECT_TRUE(free->record().value()->synchronize(this->soon()).is_ok());
  gate.open();
  EXPECT_TRUE(held->record().value()->synchronize(this->soon()).is_ok());
}

TYPED_TEST_P(DeviceSuite, AnAdoptedStreamIsTheSameStreamAndStaysAfterwards) {
  const auto owner = this->stream();
  typename TypeParam::Gate gate;
  TypeParam::hold(this->device(), *owner, gate);
  std::shared_ptr<Event> event;
  {
    const auto adopted = this->device().adopt_stream(owner->native_handle());
    EXPECT_EQ(adopted->native_handle(), owner->native_handle());
    event = adopted->record().value();
  }
  EXPECT_FALSE(event->is_complete().value());
  gate.open();
  EXPECT_TRUE(event->synchronize(this->soon()).is_ok());
  EXPECT_TRUE(owner->record().value()->synchronize(this->soon()).is_ok());
}

TYPED_TEST_P(DeviceSuite, AStreamMayGoBeforeItsWorkIsDone) {
  auto stream = this->stream();
  typename TypeParam::Gate gate;
  TypeParam::hold(this->device(), *stream, gate);
  const auto event = stream->record().value();
  stream.reset();
  EXPECT_FALSE(event->is_complete().value());
  gate.open();
  EXPECT_TRUE(event->synchronize(this->soon()).is_ok());
}

REGISTER_TYPED_TEST_SUITE_P(DeviceSuite, AllocatesAnySize, SaysWhenMemoryDoesNotSuffice,
                            GathersAndScattersSlicesOfAllLengths, ScalesOrRefuses,
                            AnEventIsCompleteWhenTheWorkBeforeItIs, AnotherThreadMaySynchronize,
                            AStreamWaitsForAnEventOfAnother, StreamsDoNotWaitForEachOtherUnasked,
                            AnAdoptedStreamIsTheSameStreamAndStaysAfterwards,
                            AStreamMayGoBeforeItsWorkIsDone);

}  // namespace hvd
