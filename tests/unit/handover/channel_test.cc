// SPDX-License-Identifier: Apache-2.0
// Packets with descriptors between two ends, memory files, and an end that is gone.
#include "handover/channel.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <numeric>

namespace tidegate::handover {
namespace {

struct Pair {
  Pair() {
    std::string error;
    EXPECT_TRUE(Channel::make_pair(ends, &error)) << error;
  }
  int ends[2] = {-1, -1};
};

TEST(Channel, PacketsArriveWholeWithTheirDescriptors) {
  Pair pair;
  Channel old_process(pair.ends[0]);
  Channel new_process(pair.ends[1]);
  std::vector<uint8_t> large(kPacketBytesMax);
  std::iota(large.begin(), large.end(), uint8_t{0});
  const int file = make_memory_file(base::as_bytes("what there is"));
  ASSERT_GE(file, 0);
  const std::vector<int> many(kDescriptorsMax, file);
  ASSERT_TRUE(old_process.send(Packet::kDescriptors, large, many));
  ASSERT_TRUE(old_process.send(Packet::kEnd, {}));
  ::close(file);
  Packet packet{};
  std::vector<uint8_t> payload;
  std::vector<int> descriptors;
  ASSERT_TRUE(new_process.receive(base::seconds(5), &packet, &payload, &descriptors));
  EXPECT_EQ(packet, Packet::kDescriptors);
  EXPECT_EQ(payload, large);
  ASSERT_EQ(descriptors.size(), kDescriptorsMax);
  for (size_t i = 1; i < descriptors.size(); ++i) ::close(descriptors[i]);
  MemoryFile mapped;
  ASSERT_TRUE(mapped.open(descriptors[0], 13));
  EXPECT_EQ(base::as_text(mapped.bytes()), "what there is");
  ASSERT_TRUE(new_process.receive(base::seconds(5), &packet, &payload, &descriptors));
  EXPECT_EQ(packet, Packet::kEnd);
  EXPECT_TRUE(payload.empty() && descriptors.empty());
}

TEST(Channel, AnEndThatIsGoneIsNoticed) {
  Pair pair;
  Channel one(pair.ends[0]);
  Channel other(pair.ends[1]);
  Packet packet{};
  std::vector<uint8_t> payload;
  std::vector<int> descriptors;
  EXPECT_FALSE(one.receive(base::milliseconds(1), &packet, &payload, &descriptors));
  other.close();
  EXPECT_FALSE(one.receive(base::seconds(5), &packet, &payload, &descriptors));
  EXPECT_FALSE(one.send(Packet::kGo, {}));
}

TEST(Channel, WhatIsTooLargeIsRefused) {
  Pair pair;
  Channel one(pair.ends[0]);
  Channel other(pair.ends[1]);
  const std::vector<uint8_t> large(kPacketBytesMax + 1);
  EXPECT_FALSE(one.send(Packet::kState, large));
  const std::vector<int> many(kDescriptorsMax + 1, 0);
  EXPECT_FALSE(one.send(Packet::kState, {}, many));
}

TEST(Channel, AMemoryFileHasTheSizeThatWasSaid) {
  MemoryFile mapped;
  EXPECT_FALSE(mapped.open(make_memory_file(base::as_bytes("abc")), 4));
  MemoryFile empty;
  EXPECT_TRUE(empty.open(make_memory_file({}), 0));
  EXPECT_TRUE(empty.bytes().empty());
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  MemoryFile pipe;
  EXPECT_FALSE(pipe.open(ends[0], 0));
  ::close(ends[1]);
}

}  // namespace
}  // namespace tidegate::handover
