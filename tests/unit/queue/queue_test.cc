// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/prng.h"
#include "queue/byte_ring.h"

namespace tidegate::queue {
namespace {

bool push(ByteRing& ring, uint16_t type, uint32_t size, uint8_t fill) {
  uint8_t* p = ring.claim(type, size);
  if (p == nullptr) return false;
  std::memset(p, fill, size);
  ring.commit();
  return true;
}

TEST(ByteRing, NothingIsSeenBeforePublish) {
  ByteRing ring(4096);
  Record record;
  ASSERT_TRUE(push(ring, 1, 10, 7));
  EXPECT_FALSE(ring.peek(&record));
  ring.publish();
  ASSERT_TRUE(ring.peek(&record));
  EXPECT_EQ(record.type, 1);
  ASSERT_EQ(record.bytes.size(), 10u);
  EXPECT_EQ(record.bytes[9], 7);
  ring.pop();
  EXPECT_FALSE(ring.peek(&record));
}

TEST(ByteRing, FullIsAnAnswerAndRoomComesBackWithRelease) {
  ByteRing ring(4096);
  int pushed = 0;
  while (push(ring, 1, 1000, 1)) ++pushed;
  EXPECT_EQ(pushed, 4);
  ring.publish();
  Record record;
  ASSERT_TRUE(ring.peek(&record));
  ring.pop();
  EXPECT_FALSE(push(ring, 1, 1000, 2));
  ring.release();
  EXPECT_TRUE(push(ring, 1, 1000, 2));
}

TEST(ByteRing, RecordsOfAnySizeKeepOrderAndBytesOverManyWraps) {
  ByteRing ring(8192);
  base::Prng prng(3);
  uint32_t sent = 0;
  uint32_t received = 0;
  base::Prng sizes_in(9);
  base::Prng sizes_out(9);
  while (received < 20000) {
    for (uint64_t n = prng.below(20); n > 0; --n) {
      base::Prng saved = sizes_in;
      const uint32_t size = static_cast<uint32_t>(sizes_in.below(900));
      if (!push(ring, static_cast<uint16_t>(1 + sent % 100), size, static_cast<uint8_t>(sent))) {
        sizes_in = saved;
        break;
      }
      ++sent;
    }
    ring.publish();
    Record record;
    for (uint64_t n = prng.below(20); n > 0 && ring.peek(&record); --n) {
      ASSERT_EQ(record.type, 1 + received % 100);
      ASSERT_EQ(record.bytes.size(), sizes_out.below(900));
      for (uint8_t b : record.bytes) ASSERT_EQ(b, static_cast<uint8_t>(received));
      ring.pop();
      ++received;
    }
    ring.release();
  }
}

TEST(ByteRing, TwoThreadsPassEverythingInOrder) {
  ByteRing ring(1 << 16);
  constexpr uint32_t kCount = 200000;
  std::thread producer([&] {
    base::Prng prng(5);
    for (uint32_t i = 0; i < kCount;) {
      uint8_t* p = ring.claim(2, 8 + i % 64);
      if (p == nullptr) {
        ring.publish();
        std::this_thread::yield();
        continue;
      }
      base::store_le<uint64_t>(p, i * 0x9e3779b97f4a7c15u);
      ring.commit();
      if (prng.below(16) == 0) ring.publish();
      ++i;
    }
    ring.publish();
  });
  uint32_t seen = 0;
  while (seen < kCount) {
    Record record;
    while (ring.peek(&record)) {
      ASSERT_EQ(record.bytes.size(), 8 + seen % 64);
      ASSERT_EQ(base::load_le<uint64_t>(record.bytes.data()), seen * 0x9e3779b97f4a7c15u);
      ring.pop();
      ++seen;
    }
    ring.release();
    std::this_thread::yield();
  }
  producer.join();
}

}  // namespace
}  // namespace tidegate::queue
