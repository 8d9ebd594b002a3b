// SPDX-License-Identifier: Apache-2.0
// Topics, parked subscriptions and presence as another process takes them over.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "session/parked_topics.h"
#include "session/presence_home.h"
#include "session/topic_home.h"

namespace tidegate::session {
namespace {

TopicLimits topic_limits() {
  TopicLimits l;
  l.topics = 8;
  l.name_bytes = 32;
  l.history_messages = 4;
  l.history_bytes = 4096;
  l.history_memory = 64 * 1024;
  l.history_age = base::seconds(60);
  return l;
}

TEST(HandoverOfTopics, OffsetsAndHistoryGoOn) {
  TopicHome from(topic_limits());
  const uint32_t topic = from.open("news");
  const base::Instant now = base::Instant{} + base::seconds(100);
  for (int i = 1; i <= 6; ++i) {
    const std::string text(static_cast<size_t>(i) * 100, static_cast<char>('a' + i));
    from.append(topic, base::as_bytes(text), static_cast<uint32_t>(i), now + base::seconds(i));
  }
  TopicHome to(topic_limits());
  ASSERT_TRUE(to.restore("news", from.first_offset(topic)));
  std::vector<uint8_t> scratch;
  uint32_t kept = 0;
  from.for_each(topic, &scratch, [&](uint64_t, base::Bytes frame, uint32_t note, uint32_t time_s) {
    ++kept;
    to.append(to.find("news"), frame, note, {int64_t{time_s} * 1'000'000'000});
  });
  EXPECT_EQ(kept, 4u);
  const uint32_t back = to.find("news");
  EXPECT_EQ(to.next_offset(back), from.next_offset(topic));
  EXPECT_EQ(to.first_offset(back), 3u);
  for (uint64_t offset = 1; offset <= 6; ++offset) {
    uint8_t one[1024];
    uint8_t other[1024];
    TopicHome::Piece a{};
    TopicHome::Piece b{};
    ASSERT_TRUE(from.read(topic, offset, now, one, &a));
    ASSERT_TRUE(to.read(back, offset, now, other, &b));
    EXPECT_EQ(a.offset, b.offset);
    EXPECT_EQ(a.note, b.note);
    EXPECT_EQ(base::as_text({one, a.bytes}), base::as_text({other, b.bytes}));
  }
  // Too old there as it would have been here.
  TopicHome::Piece piece{};
  uint8_t out[1024];
  EXPECT_FALSE(to.read(back, 1, now + base::seconds(120), out, &piece));
}

TEST(HandoverOfTopics, ParkedListsKeepTheirOrderAndTime) {
  ParkedTopics from(8, 16 * 1024);
  const std::string long_list(1000, 'l');
  from.put(7, base::as_bytes("seven"), 10);
  from.put(8, base::as_bytes(long_list), 20);
  ParkedTopics to(8, 16 * 1024);
  std::vector<uint8_t> scratch;
  std::vector<uint64_t> sessions;
  from.for_each(&scratch, [&](uint64_t session, uint32_t at_s, base::Bytes list) {
    sessions.push_back(session);
    to.put(session, list, at_s);
  });
  EXPECT_EQ(sessions, (std::vector<uint64_t>{7, 8}));
  to.expire(15);
  uint8_t out[ParkedTopics::kListBytesMax];
  EXPECT_EQ(to.take(7, out), 0u);
  ASSERT_EQ(to.take(8, out), long_list.size());
  EXPECT_EQ(base::as_text({out, long_list.size()}), long_list);
}

TEST(HandoverOfPresence, WhatIsShownIsTheSameAndNobodyIsToldAgain) {
  PresenceLimits limits;
  limits.users = 8;
  PresenceHome from(limits);
  const base::Instant now = base::Instant{} + base::seconds(100);
  const uint32_t ann = from.come("ann", {1, {5, 6}}, 1000);
  const std::string_view text = "at the lake";
  from.set(ann, Status::kAway, &text, 1001);
  from.watch("ann", 0);
  from.watch("ann", 3);
  const uint32_t bob = from.watch("bob", 0);
  ASSERT_NE(bob, PresenceHome::kNone);
  from.send_due(now, 100, [](uint32_t) {});

  PresenceHome to(limits);
  for (uint32_t user = 0; user < from.high_water(); ++user) {
    ASSERT_TRUE(to.restore(from.name(user), from.save(user), now));
    for (uint32_t i = 0; i < from.place_count(user); ++i) {
      to.restore_place(from.name(user), from.place(user, i));
    }
  }
  const uint32_t back = to.find("ann");
  ASSERT_NE(back, PresenceHome::kNone);
  EXPECT_EQ(to.shown(back).status, Status::kAway);
  EXPECT_EQ(to.shown(back).text, text);
  EXPECT_EQ(to.shown(back).last_seen, from.shown(ann).last_seen);
  EXPECT_EQ(to.watchers(back), 0b1001u);
  ASSERT_EQ(to.place_count(back), 1u);
  EXPECT_EQ(to.place(back, 0).connection.slot, 5u);
  EXPECT_EQ(to.population().users, 1u);
  EXPECT_EQ(to.population().shown[static_cast<uint32_t>(Status::kAway)], 1u);
  EXPECT_FALSE(to.changes_waiting());
  to.go("ann", {1, {5, 6}}, 2000);
  EXPECT_EQ(to.population().users, 0u);
  EXPECT_TRUE(to.changes_waiting());
}

TEST(HandoverOfPresence, AChangeThatWasNotToldYetIsTold) {
  PresenceLimits limits;
  limits.users = 8;
  PresenceHome from(limits);
  const base::Instant now = base::Instant{} + base::seconds(100);
  from.watch("ann", 0);
  const uint32_t ann = from.come("ann", {0, {1, 1}}, 1000);
  ASSERT_TRUE(from.save(ann).pending);
  PresenceHome to(limits);
  ASSERT_TRUE(to.restore("ann", from.save(ann), now));
  int told = 0;
  to.send_due(now + base::seconds(5), 100, [&](uint32_t) { ++told; });
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace tidegate::session
