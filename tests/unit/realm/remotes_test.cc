// SPDX-License-Identifier: Apache-2.0
#include "realm/remotes.h"

#include <gtest/gtest.h>

#include <vector>

namespace tidegate::realm {
namespace {

using Verdict = Remotes::Verdict;
constexpr base::Instant kStart{1'000'000'000};

Record record(RecordType type, uint32_t id, uint32_t stamp = 0) {
  Record r;
  r.type = type;
  r.id = {id};
  r.stamp = stamp;
  return r;
}

struct Table {
  Remotes remotes{4, base::seconds(6)};
  Remote* r = nullptr;
  Verdict judge(const Record& record, uint32_t gateway, uint32_t tick, base::Instant now = kStart) {
    return remotes.judge(record, gateway, tick, now, &r);
  }
};

TEST(RealmRemotes, TheOwnersNewestWordCounts) {
  Table t;
  EXPECT_EQ(t.judge(record(RecordType::kState, 7), 2, 10), Verdict::kUnknown);
  ASSERT_NE(t.remotes.add(record(RecordType::kWhole, 7, 100), 2, 10, 1, kStart), nullptr);
  EXPECT_EQ(t.judge(record(RecordType::kState, 7), 2, 10), Verdict::kGood);
  EXPECT_EQ(t.judge(record(RecordType::kState, 7), 2, 12), Verdict::kGood);
  EXPECT_EQ(t.judge(record(RecordType::kState, 7), 2, 11), Verdict::kStale);  // overtaken
  EXPECT_EQ(t.judge(record(RecordType::kState, 7), 3, 99), Verdict::kStale);  // not the owner
  EXPECT_EQ(t.judge(record(RecordType::kWhole, 7, 99), 3, 99), Verdict::kStale);
  EXPECT_EQ(t.judge(record(RecordType::kWhole, 7, 100), 3, 99), Verdict::kStale);
  EXPECT_EQ(t.judge(record(RecordType::kGone, 7, 100), 3, 99), Verdict::kStale);
}

TEST(RealmRemotes, TheNewerStampTakesIt) {
  Table t;
  t.remotes.add(record(RecordType::kWhole, 7, UINT32_MAX), 2, 10, 1, kStart);
  EXPECT_EQ(t.judge(record(RecordType::kWhole, 7, 1), 3, 5), Verdict::kTaken);  // it wrapped
  EXPECT_EQ(t.r->gateway, 3);
  // What the former owner still says is nothing.
  EXPECT_EQ(t.judge(record(RecordType::kState, 7), 2, 11), Verdict::kStale);
  EXPECT_EQ(t.judge(record(RecordType::kGone, 7, UINT32_MAX), 2, 11), Verdict::kStale);
  EXPECT_EQ(t.judge(record(RecordType::kGone, 7, UINT32_MAX), 3, 6), Verdict::kStale);
  EXPECT_EQ(t.judge(record(RecordType::kGone, 7, 1), 3, 6), Verdict::kGood);
}

TEST(RealmRemotes, AnotherKindIsAnotherEntity) {
  Table t;
  t.remotes.add(record(RecordType::kWhole, 7, 1), 2, 10, 1, kStart);
  Record npc = record(RecordType::kWhole, 7, 2);
  npc.kind = world::EntityKind::kNpc;
  EXPECT_EQ(t.judge(npc, 3, 11), Verdict::kStale);
}

TEST(RealmRemotes, LeasesEndWithoutAWord) {
  Table t;
  t.remotes.add(record(RecordType::kWhole, 7, 1), 2, 10, 1, kStart);
  t.remotes.add(record(RecordType::kWhole, 8, 1), 2, 10, 1, kStart);
  t.judge(record(RecordType::kState, 8), 2, 11, kStart + base::seconds(3));
  std::vector<uint32_t> over;
  const auto look = [&](base::Instant now) {
    t.remotes.expire(now, 4, [&](Remote& r) {
      over.push_back(r.id.value);
      t.remotes.erase(&r);
    });
  };
  look(kStart + base::seconds(5));
  EXPECT_TRUE(over.empty());
  look(kStart + base::seconds(6));
  EXPECT_EQ(over, std::vector<uint32_t>{7});
  EXPECT_EQ(t.remotes.find({7}), nullptr);
  EXPECT_NE(t.remotes.find({8}), nullptr);
}

TEST(RealmRemotes, WhoBeginsAnewSaysItAgainSoon) {
  Table t;
  t.remotes.add(record(RecordType::kWhole, 7, 1), 2, 1000, 1, kStart);
  t.remotes.add(record(RecordType::kWhole, 8, 1), 2, 1000, 1, kStart);
  t.remotes.add(record(RecordType::kWhole, 9, 1), 3, 1000, 1, kStart);
  t.remotes.doubt(uint64_t{1} << 2, kStart, base::seconds(1));
  EXPECT_EQ(t.judge(record(RecordType::kWhole, 7, 1), 2, 3), Verdict::kGood);  // ticks anew
  EXPECT_EQ(t.judge(record(RecordType::kState, 7), 2, 2), Verdict::kStale);
  std::vector<uint32_t> over;
  t.remotes.expire(kStart + base::seconds(2), 4, [&](Remote& r) { over.push_back(r.id.value); });
  EXPECT_EQ(over, std::vector<uint32_t>{8});
}

TEST(RealmRemotes, RowsAreUsedAgain) {
  Table t;
  for (uint32_t round = 1; round <= 3; ++round) {
    for (uint32_t i = 1; i <= 4; ++i) {
      ASSERT_NE(t.remotes.add(record(RecordType::kWhole, round * 10 + i, 1), 2, 1, 0, kStart),
                nullptr);
    }
    EXPECT_EQ(t.remotes.add(record(RecordType::kWhole, 99, 1), 2, 1, 0, kStart), nullptr);
    t.remotes.for_each([&](Remote& r) { t.remotes.erase(&r); });
    EXPECT_EQ(t.remotes.count(), 0u);
  }
}

}  // namespace
}  // namespace tidegate::realm
