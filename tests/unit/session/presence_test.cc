// SPDX-License-Identifier: Apache-2.0
// The home of users' presence against a plain model: what is shown, what is sent and how often.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "session/presence_home.h"

namespace tidegate::session {
namespace {

using base::Instant;

PresenceLimits small_limits(uint32_t users, base::Duration offline_delay = {}) {
  PresenceLimits limits;
  limits.users = users;
  limits.offline_delay = offline_delay;
  return limits;
}

PresenceHome::Place at(uint16_t shard, uint32_t slot) { return {shard, {slot, 1}}; }

std::vector<std::string> sent(PresenceHome& home, Instant now) {
  std::vector<std::string> names;
  home.send_due(now, UINT32_MAX, [&](uint32_t user) { names.emplace_back(home.name(user)); });
  return names;
}

TEST(PresenceHome, TheFirstChangeGoesAtOnceTheNextAfterASecond) {
  PresenceHome home(small_limits(10));
  Instant now{base::seconds(100).ns};
  const uint32_t ann = home.watch("ann", 3);
  home.come("ann", at(0, 1), 1);
  EXPECT_EQ(sent(home, now), std::vector<std::string>{"ann"});
  home.set(ann, Status::kAway, nullptr, 2);
  now = now + base::milliseconds(999);
  EXPECT_TRUE(sent(home, now).empty());
  EXPECT_TRUE(home.changes_waiting());
  now = now + base::milliseconds(1);
  EXPECT_EQ(sent(home, now), std::vector<std::string>{"ann"});
  EXPECT_FALSE(home.changes_waiting());
}

// With the second between two updates friends were shown wrongly for up to 1.4 s after a fault.
TEST(PresenceHome, WhoIsBackIsShownAtOnce) {
  PresenceHome home(small_limits(10));
  Instant now{base::seconds(100).ns};
  const uint32_t ann = home.watch("ann", 3);
  home.come("ann", at(0, 1), 1);
  sent(home, now);
  now = now + base::seconds(1);
  home.go("ann", at(0, 1), 2);
  now = now + base::seconds(1);
  for (int i = 0; i < 100 && home.changes_waiting(); ++i) {
    sent(home, now);
    now = now + base::milliseconds(100);
  }
  home.come("ann", at(1, 2), 3);
  EXPECT_EQ(sent(home, now), std::vector<std::string>{"ann"});
  home.set(ann, Status::kAway, nullptr, 4);
  EXPECT_TRUE(sent(home, now + base::milliseconds(999)).empty());
  EXPECT_EQ(sent(home, now + base::milliseconds(1000)).size(), 1u);
}

TEST(PresenceHome, WhatIsAsItWasSentIsNotSentAgain) {
  PresenceHome home(small_limits(10));
  Instant now{base::seconds(100).ns};
  const uint32_t ann = home.watch("ann", 3);
  home.come("ann", at(0, 1), 1);
  sent(home, now);
  home.set(ann, Status::kAway, nullptr, 2);
  home.set(ann, Status::kOnline, nullptr, 3);
  EXPECT_TRUE(sent(home, now + base::seconds(5)).empty());
  // Nor is what happens behind invisibility.
  home.set(ann, Status::kInvisible, nullptr, 4);
  EXPECT_EQ(sent(home, now + base::seconds(10)).size(), 1u);
  const std::string_view text = "hidden";
  home.set(ann, Status::kUnknown, &text, 5);
  home.go("ann", at(0, 1), 6);
  home.come("ann", at(1, 2), 7);
  EXPECT_TRUE(sent(home, now + base::seconds(15)).empty());
  EXPECT_EQ(home.shown(ann).last_seen, 4);
  EXPECT_EQ(home.shown(ann).text, "");
  EXPECT_EQ(home.chosen(ann), Status::kInvisible);
}

// What the second shard is told first, the first one has not heard and never does.
TEST(PresenceHome, AShardThatBeginsToWatchWhileTheUserIsGoneForAMoment) {
  PresenceHome home(small_limits(10, base::seconds(5)));
  Instant now{base::seconds(100).ns};
  const uint32_t ann = home.watch("ann", 1);
  home.come("ann", at(0, 1), 1);
  EXPECT_EQ(sent(home, now).size(), 1u);
  now = now + base::seconds(2);
  home.go("ann", at(0, 1), 2);
  home.watch("ann", 0);
  EXPECT_EQ(home.shown(ann).status, Status::kOffline) << "what that shard is told";
  home.note_first(ann, now);
  now = now + base::seconds(1);
  EXPECT_TRUE(sent(home, now).empty()) << "it may come back";
  home.come("ann", at(0, 7), 3);
  EXPECT_EQ(sent(home, now), std::vector<std::string>{"ann"}) << "or shard 0 never knows";
}

TEST(PresenceHome, WhoComesBackSoonWasNotGone) {
  PresenceHome home(small_limits(10, base::seconds(5)));
  Instant now{base::seconds(100).ns};
  home.watch("ann", 1);
  home.come("ann", at(0, 1), 1);
  EXPECT_EQ(sent(home, now).size(), 1u);
  home.go("ann", at(0, 1), 2);
  now = now + base::seconds(2);
  EXPECT_TRUE(sent(home, now).empty());
  home.come("ann", at(1, 7), 3);
  now = now + base::seconds(10);
  EXPECT_TRUE(sent(home, now).empty());
  EXPECT_FALSE(home.changes_waiting());
  home.go("ann", at(1, 7), 4);  // the delay begins anew
  EXPECT_TRUE(sent(home, now).empty());
  EXPECT_TRUE(sent(home, now + base::seconds(4)).empty());
  EXPECT_EQ(sent(home, now + base::seconds(5)), std::vector<std::string>{"ann"});
  // Invisible is told like any other choice.
  const uint32_t ann = home.come("ann", at(1, 8), 5);
  EXPECT_EQ(sent(home, now + base::seconds(10)).size(), 1u);
  home.set(ann, Status::kInvisible, nullptr, 6);
  EXPECT_EQ(sent(home, now + base::seconds(12)).size(), 1u);
}

TEST(PresenceHome, NoMoreAtATimeThanAskedForAndAgainWhenAskedFor) {
  PresenceHome home(small_limits(10));
  const Instant now{base::seconds(100).ns};
  for (const char* name : {"a", "b", "c"}) {
    home.watch(name, 1);
    home.come(name, at(0, 1), 1);
  }
  uint32_t count = 0;
  home.send_due(now, 2, [&](uint32_t) { ++count; });
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(sent(home, now).size(), 1u);
  EXPECT_TRUE(sent(home, now + base::seconds(2)).empty());
  home.resend(home.find("b"));
  home.resend(home.find("b"));
  EXPECT_EQ(sent(home, now + base::seconds(2)), std::vector<std::string>{"b"});
}

TEST(PresenceHome, MakesRoomWithWhoIsLongestGoneAndNobodyWatches) {
  PresenceHome home(small_limits(3));
  home.come("a", at(0, 1), 1);
  home.come("b", at(0, 2), 2);
  home.come("c", at(0, 3), 3);
  EXPECT_EQ(home.come("d", at(0, 4), 4), PresenceHome::kNone);
  home.go("d", at(0, 4), 5);  // was never taken in
  home.go("b", at(0, 2), 6);
  home.go("a", at(0, 1), 7);
  EXPECT_NE(home.come("d", at(0, 4), 8), PresenceHome::kNone);
  EXPECT_EQ(home.find("b"), PresenceHome::kNone);
  EXPECT_NE(home.watch("a", 0), PresenceHome::kNone);
  EXPECT_EQ(home.watch("e", 0), PresenceHome::kNone);
  home.unwatch("a", 0);
  EXPECT_NE(home.watch("e", 0), PresenceHome::kNone);
  EXPECT_EQ(home.find("a"), PresenceHome::kNone);
}

struct ModelUser {
  std::set<std::pair<uint16_t, uint32_t>> places;
  Status chosen = Status::kOnline;
  std::string text;
  uint64_t watchers = 0;
  // What watchers were told last.
  Status told = Status::kOffline;
  std::string told_text;
  int64_t told_at = 0;

  Status shown() const {
    return places.empty() || chosen == Status::kInvisible ? Status::kOffline : chosen;
  }
};

TEST(PresenceHome, AgainstAModelUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    PresenceHome home(small_limits(30));
    std::map<std::string, ModelUser> model;
    for (int i = 0; i < 20; ++i) model["u" + std::to_string(i)];
    base::Prng prng(seed);
    Instant now{base::seconds(50).ns};
    uint64_t sends = 0;
    for (int step = 0; step < 20'000; ++step) {
      now = now + base::milliseconds(static_cast<int64_t>(prng.below(60)));
      const std::string name = "u" + std::to_string(prng.below(20));
      ModelUser& m = model[name];
      const uint32_t row = home.find(name);
      const base::UnixMs unix_ms = now.ns / 1'000'000;
      const auto shard = static_cast<uint16_t>(prng.below(3));
      const auto slot = static_cast<uint32_t>(prng.below(2));
      switch (prng.below(6)) {
        case 0:
          if (!m.places.insert({shard, slot}).second) break;
          if (m.places.size() == 1 && m.chosen != Status::kInvisible) m.chosen = Status::kOnline;
          ASSERT_NE(home.come(name, at(shard, slot), unix_ms), PresenceHome::kNone);
          break;
        case 1:
          if (m.places.erase({shard, slot}) != 0) home.go(name, at(shard, slot), unix_ms);
          break;
        case 2: {
          if (m.places.empty()) break;
          const auto status = static_cast<Status>(prng.below(5));
          const std::string text = "t" + std::to_string(prng.below(3));
          const std::string_view view = text;
          const bool with_text = prng.chance(0.5);
          EXPECT_EQ(home.set(row, status, with_text ? &view : nullptr, unix_ms), m.chosen);
          if (status != Status::kUnknown) m.chosen = status;
          if (with_text) m.text = text;
          break;
        }
        case 3: {
          const uint32_t watched = home.watch(name, shard);
          ASSERT_NE(watched, PresenceHome::kNone);
          if (m.watchers == 0 || m.watchers == (1u << shard)) {
            m.told = m.shown();
            m.told_text = m.told == Status::kOffline ? "" : m.text;
            m.told_at = now.ns;
          }
          m.watchers |= 1u << shard;
          home.note_first(watched, now);
          break;
        }
        case 4:
          home.unwatch(name, shard);
          m.watchers &= ~(1u << shard);
          break;
        case 5:
          home.send_due(now, UINT32_MAX, [&](uint32_t user) {
            ModelUser& u = model[std::string(home.name(user))];
            ASSERT_TRUE(u.told_at == 0 || u.told == Status::kOffline ||
                        now.ns - u.told_at >= base::seconds(1).ns);
            u.told = u.shown();
            u.told_text = u.told == Status::kOffline ? "" : u.text;
            u.told_at = now.ns;
            ++sends;
          });
          for (auto& [who, u] : model) {
            // Nobody is left behind once its second is over.
            if (u.watchers == 0 || now.ns - u.told_at < base::seconds(1).ns) continue;
            ASSERT_EQ(u.told, u.shown()) << who;
            ASSERT_EQ(u.told_text, u.told == Status::kOffline ? "" : u.text) << who;
          }
          break;
        default:
          break;
      }
      const uint32_t user = home.find(name);
      if (user == PresenceHome::kNone) {
        ASSERT_TRUE(m.places.empty() && m.watchers == 0);
        continue;
      }
      const PresenceHome::Shown shown = home.shown(user);
      ASSERT_EQ(shown.status, m.shown());
      ASSERT_EQ(shown.text, m.shown() == Status::kOffline ? "" : m.text);
      ASSERT_EQ(home.watchers(user), m.watchers);
      ASSERT_EQ(home.place_count(user), m.places.size());
      for (uint32_t i = 0; i < home.place_count(user); ++i) {
        const PresenceHome::Place& p = home.place(user, i);
        ASSERT_EQ(m.places.count({p.shard, p.connection.slot}), 1u);
      }
      PresenceHome::Population want;
      for (const auto& [who, u] : model) {
        if (u.places.empty()) continue;
        ++want.users;
        ++want.shown[static_cast<uint32_t>(u.shown())];
      }
      ASSERT_EQ(home.population().users, want.users);
      for (int i = 0; i < 6; ++i) ASSERT_EQ(home.population().shown[i], want.shown[i]);
    }
    EXPECT_GT(sends, 500u);
  }
}

}  // namespace
}  // namespace tidegate::session
