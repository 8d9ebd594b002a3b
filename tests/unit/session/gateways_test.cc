// SPDX-License-Identifier: Apache-2.0
// What the homes of topics and users keep of other gateways.
#include <gtest/gtest.h>

#include "session/presence_home.h"
#include "session/topic_home.h"

namespace tidegate::session {
namespace {

using base::Instant;
using base::milliseconds;

TopicLimits topic_limits() {
  TopicLimits l;
  l.topics = 2;
  l.history_messages = 4;
  l.history_memory = 1 << 16;
  return l;
}

TEST(TopicOfSeveralGateways, GoesOnFromAHigherOffsetWithoutHoles) {
  TopicHome home(topic_limits());
  const uint32_t topic = home.open("room.a");
  const uint8_t frame[] = {1, 2, 3};
  home.append(topic, frame, 7, {1});
  home.append(topic, frame, 7, {1});
  EXPECT_EQ(home.first_offset(topic), 1U);
  home.skip_to(topic, 2);  // not back
  EXPECT_EQ(home.next_offset(topic), 3U);
  EXPECT_EQ(home.first_offset(topic), 1U);
  home.skip_to(topic, 10);
  EXPECT_EQ(home.next_offset(topic), 10U);
  EXPECT_EQ(home.first_offset(topic), 10U);
  uint8_t out[16];
  TopicHome::Piece piece;
  EXPECT_FALSE(home.read(topic, 1, {1}, out, &piece));
  home.append(topic, frame, 8, {1});
  ASSERT_TRUE(home.read(topic, 1, {1}, out, &piece));
  EXPECT_EQ(piece.offset, 10U);
}

TEST(TopicOfSeveralGateways, AnEraLeapsAndKeepsTheHistory) {
  TopicHome home(topic_limits());
  const uint32_t topic = home.open("room.a");
  const uint8_t frame[] = {1, 2, 3};
  home.append(topic, frame, 7, {1});
  home.append(topic, frame, 8, {1});
  const uint64_t era = TopicHome::first_of_era(3);
  EXPECT_TRUE(TopicHome::begins_era(era));
  EXPECT_FALSE(TopicHome::begins_era(era + 1));
  home.leap_to(topic, era);
  home.leap_to(topic, 5);  // not back
  EXPECT_EQ(home.next_offset(topic), era);
  EXPECT_EQ(home.first_offset(topic), 1U);
  uint8_t out[16];
  TopicHome::Piece piece;
  ASSERT_TRUE(home.read(topic, 2, {1}, out, &piece));
  EXPECT_EQ(piece.offset, 2U);
  EXPECT_FALSE(home.read(topic, 3, {1}, out, &piece)) << "nothing since";
  EXPECT_EQ(piece.bytes, 0U);
  home.append(topic, frame, 9, {1});
  ASSERT_TRUE(home.read(topic, 3, {1}, out, &piece));
  EXPECT_EQ(piece.offset, era);
  EXPECT_EQ(piece.note, 9U);
  std::vector<uint8_t> scratch;
  std::vector<uint64_t> kept;
  home.for_each(topic, &scratch,
                [&](uint64_t offset, base::Bytes, uint32_t, uint32_t) { kept.push_back(offset); });
  EXPECT_EQ(kept, (std::vector<uint64_t>{1, 2, era}));
  for (int i = 0; i < 3; ++i) home.append(topic, frame, 9, {1});
  EXPECT_EQ(home.first_offset(topic), era) << "four are kept";
}

TEST(TopicOfSeveralGateways, StaysWhileAnotherGatewaySubscribes) {
  TopicHome home(topic_limits());
  const uint32_t a = home.open("room.a");
  home.open("room.b");
  home.set_gateways(a, 4);
  EXPECT_NE(home.open("room.c"), TopicHome::kNone);
  EXPECT_NE(home.find("room.a"), TopicHome::kNone);
  EXPECT_EQ(home.find("room.b"), TopicHome::kNone) << "nobody wants that one";
  home.set_gateways(a, 0);
  home.open("room.d");
  home.open("room.e");
  EXPECT_EQ(home.find("room.a"), TopicHome::kNone);
  const uint32_t again = home.open("room.a");
  EXPECT_EQ(home.relay(again).role, TopicHome::Role::kHome);
  EXPECT_EQ(home.relay(again).home_key, 0U);
}

class FarPresence : public ::testing::Test {
 protected:
  static PresenceLimits limits() {
    PresenceLimits l;
    l.users = 3;
    l.offline_delay = milliseconds(100);
    return l;
  }
  static PresenceHome::Far far(Status status, base::UnixMs chosen, bool connected,
                               std::string_view text = {}) {
    return {500, chosen, status, connected, text};
  }
  Status shown(uint32_t user) { return home_.shown(user).status; }
  std::vector<uint32_t> due(int64_t ms) {
    std::vector<uint32_t> users;
    home_.send_due(Instant{0} + milliseconds(ms), 10, [&](uint32_t u) { users.push_back(u); });
    return users;
  }

  PresenceHome home_{limits()};
};

TEST_F(FarPresence, WhoIsConnectedAnywhereIsThere) {
  const uint32_t ann = home_.watch("ann", 0);
  home_.set_far(ann, 1, far(Status::kBusy, 100, true, "fishing"), 1000);
  EXPECT_EQ(shown(ann), Status::kBusy);
  EXPECT_EQ(home_.shown(ann).text, "fishing");
  EXPECT_EQ(due(2000), std::vector<uint32_t>{ann});
  home_.set_far(ann, 2, far(Status::kAway, 50, true), 1000);
  EXPECT_EQ(shown(ann), Status::kBusy) << "the last choice counts";
  home_.set_far(ann, 1, far(Status::kBusy, 100, false), 1000);
  EXPECT_EQ(shown(ann), Status::kAway);
  home_.set_far(ann, 2, far(Status::kAway, 50, false), 1000);
  EXPECT_EQ(shown(ann), Status::kOffline);
  EXPECT_TRUE(due(4000).empty()) << "who comes back soon was never gone";
  EXPECT_EQ(due(4200), std::vector<uint32_t>{ann});
  EXPECT_EQ(home_.population().users, 0U) << "others count their own";
}

TEST_F(FarPresence, InvisibleElsewhereIsInvisible) {
  const uint32_t ann = home_.come("ann", {0, {1, 1}}, 1000);
  home_.watch("ann", 0);
  EXPECT_EQ(shown(ann), Status::kOnline);
  home_.set_far(ann, 1, far(Status::kInvisible, 100, false), 1000);
  EXPECT_EQ(shown(ann), Status::kOffline) << "as it was chosen there";
  EXPECT_EQ(home_.chosen(ann), Status::kInvisible);
  home_.set(ann, Status::kOnline, nullptr, 2000);
  EXPECT_EQ(shown(ann), Status::kOnline);
  home_.set_far(ann, 1, far(Status::kInvisible, 100, false), 1000);
  EXPECT_EQ(shown(ann), Status::kOnline) << "that was before";
}

TEST_F(FarPresence, InvisibleIsGivenUpElsewhereToo) {
  const uint32_t ann = home_.come("ann", {0, {1, 1}}, 1000);
  home_.set(ann, Status::kInvisible, nullptr, 1000);
  home_.go("ann", {0, {1, 1}}, 1100);
  home_.come("ann", {0, {2, 1}}, 3000);
  EXPECT_EQ(home_.chosen(ann), Status::kInvisible);
  home_.set_far(ann, 1, far(Status::kOnline, 2000, false), 3000);
  EXPECT_EQ(home_.chosen(ann), Status::kOnline);
}

TEST_F(FarPresence, GatewaysThatGoTakeWhatTheySaidAlong) {
  const uint32_t ann = home_.watch("ann", 0);
  home_.set_far(ann, 1, far(Status::kOnline, 0, true), 1000);
  home_.set_far(ann, 5, far(Status::kAway, 10, true), 1000);
  home_.keep_gateways(1 << 1, 1000);
  EXPECT_EQ(shown(ann), Status::kOnline);
  home_.keep_gateways(0, 1000);
  EXPECT_EQ(shown(ann), Status::kOffline);
}

TEST_F(FarPresence, OwnStateGoesToGatewaysThatWatch) {
  home_.come("ann", {0, {1, 1}}, 1000);
  const uint32_t ann = home_.watch_from("ann", 3);
  std::vector<uint32_t> sent;
  const auto send = [&](uint32_t u) {
    sent.push_back(u);
    return true;
  };
  home_.send_far({}, 10, send);
  EXPECT_TRUE(sent.empty()) << "what is known is the answer to the watch";
  home_.set(ann, Status::kAway, nullptr, 1200);
  home_.set(ann, Status::kBusy, nullptr, 1300);
  home_.send_far({}, 10, send);
  EXPECT_EQ(sent.size(), 1U);
  EXPECT_EQ(home_.own(ann).chosen, Status::kBusy);
  EXPECT_EQ(home_.own(ann).chosen_ms, 1300);
  home_.hold(ann, {}, milliseconds(50));
  home_.go("ann", {0, {1, 1}}, 1400);
  home_.send_far(Instant{0} + milliseconds(20), 10, send);
  EXPECT_EQ(sent.size(), 1U);
  home_.send_far(Instant{0} + milliseconds(60), 10, send);
  EXPECT_EQ(sent.size(), 2U);
  EXPECT_FALSE(home_.own(ann).connected);
}

TEST_F(FarPresence, RowsAreUsedAgainAndTheTableIsBounded) {
  for (int round = 0; round < 50; ++round) {
    const uint32_t user = home_.watch("u" + std::to_string(round), 0);
    ASSERT_NE(user, PresenceHome::kNone);
    for (uint32_t g = 0; g < 5; ++g) home_.set_far(user, g, far(Status::kOnline, g, true), 1000);
    EXPECT_EQ(shown(user), Status::kOnline);
    home_.unwatch("u" + std::to_string(round), 0);
    home_.forget_far(user, 1000);
  }
  EXPECT_LE(home_.count(), 3U);
  for (const char* name : {"a", "b", "c"})
    EXPECT_NE(home_.watch_from(name, 1), PresenceHome::kNone);
  EXPECT_EQ(home_.watch_from("d", 1), PresenceHome::kNone);
  home_.unwatch_from("b", 1);
  EXPECT_NE(home_.watch_from("d", 1), PresenceHome::kNone);
}

}  // namespace
}  // namespace tidegate::session
