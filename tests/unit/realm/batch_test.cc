// SPDX-License-Identifier: Apache-2.0
#include "realm/batch.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace tidegate::realm {
namespace {

Record whole() {
  Record r;
  r.type = RecordType::kWhole;
  r.id = make_id(5, 77);
  r.stamp = 0x90000001u;
  r.kind = world::EntityKind::kNpc;
  r.state.position = {-102'400, 7, 102'399};
  r.state.velocity[0] = INT16_MIN;
  r.state.velocity[2] = INT16_MAX;
  r.state.yaw = 255;
  r.state.flags = UINT32_MAX;
  r.tag = UINT64_MAX;
  r.name = "wolf-1";
  return r;
}

TEST(RealmBatch, ReadsWhatItWrote) {
  uint8_t room[2048];
  BatchWriter writer(room);
  const Head head{Kind::kStates, 63, 4'000'000'000u, 0x0123456789abcdefu, 1'700'000'000'123};
  writer.begin(head);
  const uint8_t custom[] = {1, 2, 3};
  Record first = whole();
  first.custom = custom;
  Record second;
  second.id = {9};
  second.state.position = {1, -2, 3};
  Record third;
  third.type = RecordType::kGone;
  third.id = {10};
  third.stamp = 4;
  ASSERT_TRUE(writer.put(first) && writer.put(second) && writer.put(third));
  EXPECT_EQ(writer.records(), 3u);

  BatchReader reader(writer.bytes());
  Head got;
  ASSERT_TRUE(reader.head(&got));
  EXPECT_EQ(got.number, head.number);
  EXPECT_EQ(got.tick, head.tick);
  EXPECT_EQ(got.world, head.world);
  EXPECT_EQ(got.unix_ms, head.unix_ms);
  Record r;
  ASSERT_EQ(reader.next(&r), BatchReader::Next::kOk);
  EXPECT_EQ(r.type, RecordType::kWhole);
  EXPECT_EQ(r.id, first.id);
  EXPECT_EQ(r.stamp, first.stamp);
  EXPECT_EQ(r.kind, first.kind);
  EXPECT_EQ(r.tag, first.tag);
  EXPECT_EQ(r.name, "wolf-1");
  EXPECT_EQ(r.custom.size(), 3u);
  EXPECT_EQ(r.state.position, first.state.position);
  EXPECT_EQ(std::memcmp(r.state.velocity, first.state.velocity, sizeof r.state.velocity), 0);
  EXPECT_EQ(r.state.yaw, 255);
  EXPECT_EQ(r.state.flags, UINT32_MAX);
  ASSERT_EQ(reader.next(&r), BatchReader::Next::kOk);
  EXPECT_EQ(r.type, RecordType::kState);
  EXPECT_EQ(r.state.position, second.state.position);
  ASSERT_EQ(reader.next(&r), BatchReader::Next::kOk);
  EXPECT_EQ(r.type, RecordType::kGone);
  EXPECT_EQ(r.stamp, 4u);
  EXPECT_EQ(reader.next(&r), BatchReader::Next::kEnd);
}

TEST(RealmBatch, EveryCutIsSeen) {
  uint8_t room[2048];
  BatchWriter writer(room);
  writer.begin({Kind::kStates, 1, 2, 3, 4});
  ASSERT_TRUE(writer.put(whole()));
  const base::Bytes bytes = writer.bytes();
  for (size_t n = 0; n < bytes.size(); ++n) {
    BatchReader reader(bytes.first(n));
    Head head;
    Record r;
    if (n < kHeadBytes) {
      EXPECT_FALSE(reader.head(&head)) << n;
    } else if (n == kHeadBytes) {
      ASSERT_TRUE(reader.head(&head));
      EXPECT_EQ(reader.next(&r), BatchReader::Next::kEnd);
    } else {
      ASSERT_TRUE(reader.head(&head));
      EXPECT_EQ(reader.next(&r), BatchReader::Next::kBad) << n;
    }
  }
}

TEST(RealmBatch, RefusesWhatNoGatewaySays) {
  uint8_t room[2048];
  BatchWriter writer(room);
  writer.begin({Kind::kStates, 1, 2, 3, 4});
  ASSERT_TRUE(writer.put(whole()));
  const std::string good(base::as_text(writer.bytes()));
  const auto next = [](const std::string& bytes) {
    BatchReader reader(base::as_bytes(bytes));
    Head head;
    Record r;
    return reader.head(&head) ? reader.next(&r) : BatchReader::Next::kEnd;
  };
  ASSERT_EQ(next(good), BatchReader::Next::kOk);
  std::string bad = good;
  bad[0] = 2;  // version
  EXPECT_EQ(next(bad), BatchReader::Next::kEnd);
  bad = good;
  bad[2] = 64;  // number
  EXPECT_EQ(next(bad), BatchReader::Next::kEnd);
  bad = good;
  bad[kHeadBytes] = 4;  // type of record
  EXPECT_EQ(next(bad), BatchReader::Next::kBad);
  bad = good;
  std::memset(bad.data() + kHeadBytes + 1, 0, 4);  // id 0
  EXPECT_EQ(next(bad), BatchReader::Next::kBad);
  bad = good;
  std::memset(bad.data() + kHeadBytes + 1, 0xff, 4);  // no id
  EXPECT_EQ(next(bad), BatchReader::Next::kBad);
}

TEST(RealmBatch, SaysWhenThereIsNoRoom) {
  uint8_t room[kHeadBytes + kRecordBytesMax + 8];
  BatchWriter writer(room);
  writer.begin({Kind::kStates, 1, 2, 3, 4});
  EXPECT_TRUE(writer.put(whole()));
  const size_t used = writer.bytes().size();
  EXPECT_FALSE(writer.put(whole()));
  EXPECT_EQ(writer.bytes().size(), used);
}

TEST(RealmBatch, StampsRiseAlsoWhenClocksDoNot) {
  const uint32_t first = next_stamp(1'700'000'000'000, 0, 3);
  for (const uint32_t number : {1u, 3u, 63u}) {
    EXPECT_TRUE(newer(next_stamp(1'700'000'000'000, first, number), first)) << number;
    EXPECT_TRUE(newer(next_stamp(1'699'999'000'000, first, number), first)) << number;
    EXPECT_TRUE(newer(next_stamp(1'700'000'001'000, first, number), first)) << number;
  }
  // Two that take it at once.
  EXPECT_NE(next_stamp(1'700'000'000'000, first, 1), next_stamp(1'700'000'000'000, first, 2));
  EXPECT_NE(next_stamp(0, 0, 1), 0u);  // 0 means none
}

TEST(RealmBatch, IdsOfGatewaysDiffer) {
  EXPECT_NE(make_id(1, 5), make_id(2, 5));
  EXPECT_EQ(make_id(1, 5), make_id(1, 5 + (1u << kCounterBits)));
  EXPECT_TRUE(make_id(kNumberMax, (1u << kCounterBits) - 2).valid());
}

TEST(RealmBatch, BlocksAreFourByFourCells) {
  EXPECT_EQ(block_of({0, 3}), (Block{0, 0}));
  EXPECT_EQ(block_of({-1, 4}), (Block{-1, 1}));
  EXPECT_EQ(block_of({-4, -5}), (Block{-1, -2}));
}

TEST(RealmBatch, AWorldIsWhatAllMustAgreeOn) {
  world::WorldConfig a;
  world::WorldConfig b = a;
  EXPECT_EQ(world_key(a), world_key(b));
  b.zone_id = "other";
  EXPECT_NE(world_key(a), world_key(b));
  b = a;
  b.cell_size = 32;
  EXPECT_NE(world_key(a), world_key(b));
  b = a;
  b.max_speed = 3;  // each gateway's own
  EXPECT_EQ(world_key(a), world_key(b));
}

}  // namespace
}  // namespace tidegate::realm
