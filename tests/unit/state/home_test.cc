// SPDX-License-Identifier: Apache-2.0
// The home of keyed state: versions, rules, the order of decisions, what ends by itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/prng.h"
#include "state/state_home.h"

namespace tidegate::state {
namespace {

StateLimits small_limits() {
  StateLimits limits;
  limits.entries = 4;
  limits.private_entries = 4;
  limits.changes = 64;
  return limits;
}

Row row_of(Scope scope, Rule rule, std::string_view value = {}, std::string_view owner = {}) {
  Row row{};
  row.scope = scope;
  row.rule = rule;
  EXPECT_TRUE(row.value.set(value));
  EXPECT_TRUE(row.owner.set(owner));
  return row;
}

Change change_of(uint32_t tick, std::string_view player, std::string_view key, Operation operation,
                 std::string_view value = {}, uint64_t base = 0) {
  Change change{};
  change.tick = tick;
  change.operation = operation;
  change.base_version = base;
  EXPECT_TRUE(change.player.set(player));
  EXPECT_TRUE(change.key.set(key));
  EXPECT_TRUE(change.value.set(value));
  return change;
}

struct Told {
  std::string player;
  Reason reason;
};

std::vector<Told> decide(StateHome& home, uint32_t tick) {
  std::vector<Told> told;
  home.decide(
      tick, [](const Change&, uint32_t, Reason reason) { return reason; },
      [&](const Change& change, uint32_t, Reason reason) {
        told.push_back({std::string(change.player.text()), reason});
      });
  return told;
}

Reason once(StateHome& home, Change change) {
  EXPECT_TRUE(home.queue(change));
  const std::vector<Told> told = decide(home, change.tick);
  EXPECT_EQ(told.size(), 1u);
  return told.empty() ? Reason::kBusy : told[0].reason;
}

TEST(StateHome, KeysAreShortAndHaveNoControlCharacters) {
  EXPECT_TRUE(is_key("door.17"));
  EXPECT_TRUE(is_key(std::string(kKeyBytesMax, 'a')));
  EXPECT_FALSE(is_key(std::string(kKeyBytesMax + 1, 'a')));
  EXPECT_FALSE(is_key(""));
  EXPECT_FALSE(is_key(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_key("a\x7f"));
}

TEST(StateHome, VersionsRiseAlsoOverARemoval) {
  StateHome home(small_limits());
  const uint32_t row = home.put("", "score", row_of(Scope::kZone, Rule::kVersion, "1"), 10);
  ASSERT_NE(row, StateHome::kNone);
  uint64_t version = home.row(row).version;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(once(home, change_of(10, "ann", "score", Operation::kSet, "x", version)),
              Reason::kApplied);
    EXPECT_GT(home.row(row).version, version);
    version = home.row(row).version;
  }
  home.erase(row);
  EXPECT_EQ(home.find("", "score"), StateHome::kNone);
  const uint32_t again = home.put("", "score", row_of(Scope::kZone, Rule::kVersion), 11);
  EXPECT_GT(home.row(again).version, version);
  EXPECT_EQ(once(home, change_of(11, "ann", "score", Operation::kSet, "y", version)),
            Reason::kStale);
}

TEST(StateHome, EachRuleRefusesWithItsReason) {
  StateHome home(small_limits());
  home.put("", "sky", row_of(Scope::kZone, Rule::kServer), 1);
  EXPECT_EQ(once(home, change_of(1, "ann", "sky", Operation::kSet)), Reason::kServerOnly);
  EXPECT_EQ(once(home, change_of(1, "ann", "sea", Operation::kSet)), Reason::kUnknown);
  home.put("", "vote", row_of(Scope::kZone, Rule::kVersion), 1);
  EXPECT_EQ(once(home, change_of(1, "ann", "vote", Operation::kClaim)), Reason::kInvalid);
  EXPECT_EQ(once(home, change_of(1, "ann", "vote", Operation::kSet)), Reason::kStale);
  home.put("", "boat", row_of(Scope::kZone, Rule::kOwner, "", "ann"), 1);
  EXPECT_EQ(once(home, change_of(1, "bob", "boat", Operation::kSet)), Reason::kNotOwner);
  EXPECT_EQ(once(home, change_of(1, "ann", "boat", Operation::kSet, "sails")), Reason::kApplied);
  EXPECT_EQ(home.row(home.find("", "boat")).value.text(), "sails");
  EXPECT_EQ(once(home, change_of(1, "ann", "boat", Operation::kSet, "", 7)), Reason::kStale);
}

TEST(StateHome, OneWhoClaimsHasItUntilItIsReleased) {
  StateHome home(small_limits());
  const uint32_t row = home.put("", "chest", row_of(Scope::kZone, Rule::kFirst), 1);
  EXPECT_EQ(once(home, change_of(1, "ann", "chest", Operation::kSet, "x")), Reason::kNotOwner);
  EXPECT_EQ(once(home, change_of(1, "ann", "chest", Operation::kClaim)), Reason::kApplied);
  EXPECT_EQ(home.row(row).owner.text(), "ann");
  EXPECT_EQ(once(home, change_of(2, "bob", "chest", Operation::kClaim)), Reason::kTaken);
  EXPECT_EQ(once(home, change_of(2, "bob", "chest", Operation::kRelease)), Reason::kTaken);
  EXPECT_EQ(once(home, change_of(2, "ann", "chest", Operation::kSet, "open")), Reason::kApplied);
  EXPECT_EQ(once(home, change_of(3, "ann", "chest", Operation::kRelease)), Reason::kApplied);
  EXPECT_EQ(once(home, change_of(3, "ann", "chest", Operation::kRelease)), Reason::kNotOwner);
  EXPECT_EQ(once(home, change_of(4, "bob", "chest", Operation::kClaim)), Reason::kApplied);
  EXPECT_EQ(home.row(row).value.text(), "open");
}

TEST(StateHome, APlaceIsChangedFromWithinItsRadiusOnly) {
  StateHome home(small_limits());
  Row row = row_of(Scope::kPlace, Rule::kFirst);
  row.position[0] = 1000;
  row.position[2] = -500;
  row.radius = 100;
  home.put("", "lever", row, 1);
  Change change = change_of(1, "ann", "lever", Operation::kClaim);
  change.scope = Scope::kPlace;
  change.position[0] = 1000 + 101;
  change.position[2] = -500;
  EXPECT_EQ(once(home, change), Reason::kTooFar);
  change.position[0] = 1000 + 100;
  EXPECT_EQ(once(home, change), Reason::kApplied);
  change.scope = Scope::kZone;
  EXPECT_EQ(once(home, change), Reason::kUnknown);
}

TEST(StateHome, StatesOfPlayersWithTheSameKeyAreTheirOwn) {
  StateHome home(small_limits());
  const uint32_t a = home.put("ann", "gold", row_of(Scope::kSession, Rule::kOwner, "1"), 1);
  const uint32_t b = home.put("bob", "gold", row_of(Scope::kSession, Rule::kOwner, "2"), 1);
  ASSERT_NE(a, b);
  EXPECT_EQ(home.player(a), "ann");
  EXPECT_EQ(home.key(b), "gold");
  EXPECT_EQ(home.find("", "gold"), StateHome::kNone);
  Change change = change_of(1, "bob", "gold", Operation::kSet, "3");
  change.scope = Scope::kSession;
  EXPECT_EQ(once(home, change), Reason::kApplied);
  EXPECT_EQ(home.row(a).value.text(), "1");
  EXPECT_EQ(home.row(b).value.text(), "3");
  const std::string odd("x\0y", 3);
  const uint32_t c = home.put(odd, "gold", row_of(Scope::kView, Rule::kOwner), 1);
  EXPECT_EQ(home.player(c), odd);
  EXPECT_EQ(home.key(c), "gold");
}

// Whoever's change arrives first, on whatever shard: of one tick the same player wins, and none
// wins always.
TEST(StateHome, TheOrderOfOneTickDoesNotDependOnTheOrderOfArrival) {
  base::Prng prng(7);
  std::vector<std::string> winners;
  for (uint32_t tick = 1; tick <= 200; ++tick) {
    std::string winner;
    for (int round = 0; round < 3; ++round) {
      StateHome home(small_limits());
      home.put("", "chest", row_of(Scope::kZone, Rule::kFirst), 1);
      std::vector<std::string> players = {"ann", "bob", "cid", "dan"};
      for (size_t i = players.size(); i > 1; --i) {
        std::swap(players[i - 1], players[prng.below(i)]);
      }
      for (const std::string& p : players) {
        ASSERT_TRUE(home.queue(change_of(tick, p, "chest", Operation::kClaim)));
      }
      const std::vector<Told> told = decide(home, tick);
      ASSERT_EQ(told.size(), 4u);
      EXPECT_EQ(told[0].reason, Reason::kApplied);
      EXPECT_EQ(std::count_if(told.begin(), told.end(),
                              [](const Told& t) { return t.reason == Reason::kTaken; }),
                3);
      if (round == 0) winner = told[0].player;
      EXPECT_EQ(told[0].player, winner);
    }
    winners.push_back(winner);
  }
  for (const char* player : {"ann", "bob", "cid", "dan"}) {
    EXPECT_GT(std::count(winners.begin(), winners.end(), player), 20) << player;
  }
}

TEST(StateHome, AnEarlierTickWinsAndALaterOneWaits) {
  StateHome home(small_limits());
  home.put("", "chest", row_of(Scope::kZone, Rule::kFirst), 1);
  ASSERT_TRUE(home.queue(change_of(6, "late", "chest", Operation::kClaim)));
  ASSERT_TRUE(home.queue(change_of(5, "early", "chest", Operation::kClaim)));
  const std::vector<Told> first = decide(home, 5);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].player, "early");
  EXPECT_EQ(home.waiting(), 1u);
  const std::vector<Told> second = decide(home, 6);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].reason, Reason::kTaken);
  EXPECT_EQ(home.waiting(), 0u);
}

TEST(StateHome, ChangesOfOnePlayerAreDecidedAsItSentThem) {
  StateHome home(small_limits());
  const uint32_t row = home.put("", "note", row_of(Scope::kZone, Rule::kOwner, "", "ann"), 1);
  for (const char* text : {"a", "b", "c"}) {
    ASSERT_TRUE(home.queue(change_of(3, "ann", "note", Operation::kSet, text)));
  }
  decide(home, 3);
  EXPECT_EQ(home.row(row).value.text(), "c");
}

TEST(StateHome, StatesAndClaimsEndAtTheirTick) {
  StateHome home(small_limits());
  Row flash = row_of(Scope::kZone, Rule::kServer);
  flash.expires_tick = 20;
  home.put("", "flash", flash, 10);
  Row chest = row_of(Scope::kZone, Rule::kFirst);
  chest.hold_ticks = 5;
  const uint32_t held = home.put("", "chest", chest, 10);
  EXPECT_EQ(once(home, change_of(12, "ann", "chest", Operation::kClaim)), Reason::kApplied);
  std::vector<uint32_t> ended;
  std::vector<uint32_t> freed;
  const auto expire = [&](uint32_t tick) {
    home.expire(
        tick, [&](uint32_t r) { ended.push_back(r); }, [&](uint32_t r) { freed.push_back(r); });
  };
  expire(16);
  EXPECT_TRUE(ended.empty() && freed.empty());
  EXPECT_EQ(once(home, change_of(16, "ann", "chest", Operation::kClaim)), Reason::kApplied);
  expire(17);
  EXPECT_TRUE(freed.empty());  // it was claimed again
  expire(19);
  EXPECT_TRUE(ended.empty());
  expire(20);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(home.find("", "flash"), StateHome::kNone);
  expire(21);
  ASSERT_EQ(freed, std::vector<uint32_t>{held});
  EXPECT_TRUE(home.row(held).owner.empty());
  EXPECT_EQ(once(home, change_of(22, "bob", "chest", Operation::kClaim)), Reason::kApplied);
}

TEST(StateHome, LimitsRefuseWhatIsMore) {
  StateHome home(small_limits());
  for (int i = 0; i < 4; ++i) {
    EXPECT_NE(home.put("", "k" + std::to_string(i), row_of(Scope::kZone, Rule::kServer), 1),
              StateHome::kNone);
  }
  EXPECT_EQ(home.put("", "more", row_of(Scope::kZone, Rule::kServer), 1), StateHome::kNone);
  EXPECT_NE(home.put("", "k0", row_of(Scope::kZone, Rule::kServer, "new"), 1), StateHome::kNone);
  EXPECT_NE(home.put("ann", "more", row_of(Scope::kView, Rule::kServer), 1), StateHome::kNone);
  for (int i = 0; i < 64; ++i) {
    EXPECT_TRUE(home.queue(change_of(1, "ann", "k0", Operation::kSet)));
  }
  EXPECT_FALSE(home.queue(change_of(1, "ann", "k0", Operation::kSet)));
}

}  // namespace
}  // namespace tidegate::state
