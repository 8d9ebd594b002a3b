// SPDX-License-Identifier: Apache-2.0
// Records of a hand-over: both directions, processes of different age, and bytes that are none.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "handover/records.h"

namespace tidegate::handover {
namespace {

Player sample() {
  Player p;
  p.slot = 7;
  p.session = 0x1122334455667788u;
  p.expires_at = -1;
  p.user = "ann";
  p.player = "ann-the-brave";
  p.permissions = "a b";
  p.view_distance = 80.5F;
  p.position[0] = -3;
  p.position[2] = 9;
  p.cells = {1, -2, 3, 4};
  p.presence = 1;
  return p;
}

TEST(Records, BothDirectionsAgree) {
  std::vector<uint8_t> bytes;
  Writer writer(bytes);
  writer.add(sample());
  Connection c;
  c.slot = 3;
  c.peer[15] = 9;
  const std::string backlog(100'000, 'x');
  c.backlog = base::as_bytes(backlog);
  writer.add(c);
  Reader in(bytes);
  ASSERT_TRUE(in.next());
  EXPECT_EQ(in.type(), RecordType::kPlayer);
  Player p;
  ASSERT_TRUE(in.read(&p));
  EXPECT_EQ(p.session, sample().session);
  EXPECT_EQ(p.expires_at, -1);
  EXPECT_EQ(p.user, "ann");
  EXPECT_EQ(p.player, "ann-the-brave");
  EXPECT_EQ(p.permissions, "a b");
  EXPECT_EQ(p.view_distance, 80.5F);
  EXPECT_EQ(p.position[0], -3);
  EXPECT_EQ(p.position[2], 9);
  EXPECT_EQ(p.cells, (std::vector<int16_t>{1, -2, 3, 4}));
  EXPECT_EQ(p.presence, 1);
  ASSERT_TRUE(in.next());
  Connection back;
  ASSERT_TRUE(in.read(&back));
  EXPECT_EQ(back.slot, 3u);
  EXPECT_EQ(back.peer[15], 9);
  EXPECT_EQ(base::as_text(back.backlog), backlog);
  EXPECT_FALSE(in.next());
  EXPECT_TRUE(in.ok());
}

// What a process of another age would write: fewer fields, or more.
TEST(Records, FieldsThatAreNotThereKeepTheirDefaultAndUnknownOnesArePassedOver) {
  std::vector<uint8_t> bytes;
  Writer(bytes).add(sample());
  const uint32_t slot_and_session = 12;
  std::vector<uint8_t> older(bytes.begin(), bytes.begin() + kRecordHead + slot_and_session);
  base::store_le(older.data() + 4, slot_and_session);
  Reader in(older);
  ASSERT_TRUE(in.next());
  Player p;
  p.budget = 99;
  ASSERT_TRUE(in.read(&p));
  EXPECT_EQ(p.session, sample().session);
  EXPECT_EQ(p.budget, 99u);
  EXPECT_TRUE(p.user.empty());

  std::vector<uint8_t> newer = bytes;
  newer.insert(newer.end(), 5, 0xee);
  base::store_le(newer.data() + 4, static_cast<uint32_t>(newer.size() - kRecordHead));
  Writer(newer).add(Input{});
  Reader again(newer);
  ASSERT_TRUE(again.next());
  ASSERT_TRUE(again.read(&p));
  EXPECT_EQ(p.user, "ann");
  ASSERT_TRUE(again.next());
  EXPECT_EQ(again.type(), RecordType::kInput);
}

TEST(Records, EveryCutIsNoticedOrStandsBetweenFields) {
  std::vector<uint8_t> bytes;
  Writer(bytes).add(sample());
  for (size_t size = 1; size < bytes.size(); ++size) {
    Reader in({bytes.data(), size});
    EXPECT_FALSE(in.next()) << size;  // the head says more than there is
    EXPECT_FALSE(in.ok());
  }
  int refused = 0;
  for (uint32_t body = 1; body < bytes.size() - kRecordHead; ++body) {
    std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + kRecordHead + body);
    base::store_le(cut.data() + 4, body);
    Reader in(cut);
    ASSERT_TRUE(in.next());
    Player p;
    if (in.read(&p)) continue;
    EXPECT_FALSE(in.ok());
    EXPECT_FALSE(in.next());
    ++refused;
  }
  EXPECT_GT(refused, 50);
}

TEST(Records, LengthsAreHeldAgainstWhatIsLeft) {
  std::vector<uint8_t> bytes;
  Message m;
  m.payload = base::as_bytes("hello");
  Writer(bytes).add(m);
  for (const uint32_t lie : {6u, 1u << 20, 0x7fffffffu, 0xffffffffu}) {
    std::vector<uint8_t> wrong = bytes;
    base::store_le(wrong.data() + kRecordHead + 4, lie);
    Reader in(wrong);
    ASSERT_TRUE(in.next());
    Message back;
    EXPECT_FALSE(in.read(&back)) << lie;
  }
  std::vector<uint8_t> cells;
  Writer(cells).add(sample());
  // The count of cells, before 4 numbers of 2 bytes, presence, packing and its dictionary.
  base::store_le(cells.data() + cells.size() - 4 - 1 - 1 - 8 - 4, 0xffffffffu);
  Reader in(cells);
  ASSERT_TRUE(in.next());
  Player p;
  EXPECT_FALSE(in.read(&p));
  EXPECT_TRUE(p.cells.empty());
}

}  // namespace
}  // namespace tidegate::handover
