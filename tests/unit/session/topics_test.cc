// SPDX-License-Identifier: Apache-2.0
// Topics without shards: names and permissions, the name table, the home's offsets and history, the
// subscribers' lists, each against a plain model under random use.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "session/name_table.h"
#include "session/parked_topics.h"
#include "session/topic_home.h"
#include "session/topic_members.h"
#include "session/topic_rules.h"

namespace tidegate::session {
namespace {

using base::Instant;

constexpr uint32_t kNone = UINT32_MAX;

// By recursion, straight from the definition.
bool plain_match(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    for (size_t i = 0; i <= name.size(); ++i) {
      if (plain_match(pattern.substr(1), name.substr(i))) return true;
    }
    return false;
  }
  return !name.empty() && name[0] == pattern[0] && plain_match(pattern.substr(1), name.substr(1));
}

TEST(TopicRules, PatternsMatchAsDefined) {
  EXPECT_TRUE(matches_pattern("room.*", "room.lobby"));
  EXPECT_TRUE(matches_pattern("room.*", "room."));
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_TRUE(matches_pattern("guild.*.chat", "guild.a.b.chat"));
  EXPECT_FALSE(matches_pattern("guild.*.chat", "guild.a.chats"));
  EXPECT_FALSE(matches_pattern("room", "room.lobby"));
  EXPECT_FALSE(matches_pattern("", "a"));
  base::Prng prng(7);
  uint32_t matched = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string pattern;
    std::string name;
    for (uint64_t n = prng.below(7); n != 0; --n) pattern += "ab*"[prng.below(3)];
    for (uint64_t n = prng.below(8); n != 0; --n) name += "ab"[prng.below(2)];
    const bool want = plain_match(pattern, name);
    matched += want;
    ASSERT_EQ(matches_pattern(pattern, name), want) << pattern << " on " << name;
  }
  EXPECT_GT(matched, 1000u);
}

TEST(TopicRules, WhoMayUseWhat) {
  const auto subscribe = [](std::string_view topic, std::string_view permissions = {}) {
    return may_use_topic(TopicRight::kSubscribe, topic, "ann", permissions);
  };
  const auto publish = [](std::string_view topic, std::string_view permissions = {}) {
    return may_use_topic(TopicRight::kPublish, topic, "ann", permissions);
  };
  EXPECT_TRUE(subscribe("room.1"));
  EXPECT_TRUE(publish("room.1"));
  EXPECT_FALSE(subscribe("room."));
  EXPECT_FALSE(subscribe("rooms.1"));
  EXPECT_TRUE(subscribe("user.ann"));
  EXPECT_FALSE(subscribe("user.anna"));
  EXPECT_FALSE(subscribe("user.an"));
  EXPECT_FALSE(publish("user.ann"));
  EXPECT_FALSE(subscribe("news", "publish:news chat"));
  EXPECT_TRUE(subscribe("news", "chat subscribe:news"));
  EXPECT_TRUE(publish("news.eu", "subscribe:* publish:news.*"));
  EXPECT_FALSE(publish("news.eu", "publish:news"));
  EXPECT_FALSE(publish("news", "publish: publish"));
  EXPECT_TRUE(matches_any("a.* b.*", "b.1"));
  EXPECT_FALSE(matches_any("", "b.1"));
}

TEST(TopicRules, Names) {
  EXPECT_EQ(check_topic_name("room.caf\xc3\xa9 au lait", 128), TopicName::kGood);
  EXPECT_EQ(check_topic_name("", 128), TopicName::kInvalid);
  EXPECT_EQ(check_topic_name("room.*", 128), TopicName::kInvalid);
  EXPECT_EQ(check_topic_name("room.a\nb", 128), TopicName::kInvalid);
  EXPECT_EQ(check_topic_name(std::string(128, 'a'), 128), TopicName::kGood);
  EXPECT_EQ(check_topic_name(std::string(129, 'a'), 128), TopicName::kTooLong);
}

TEST(NameTable, AgainstAMapUnderRandomUse) {
  NameTable table(50, 8);
  std::map<std::string, uint32_t> model;
  base::Prng prng(11);
  for (int i = 0; i < 100'000; ++i) {
    const std::string name = "n" + std::to_string(prng.below(90));
    const auto it = model.find(name);
    ASSERT_EQ(table.find(name), it == model.end() ? kNone : it->second);
    if (it != model.end()) {
      ASSERT_EQ(table.name(it->second), name);
      if (prng.chance(0.5)) {
        table.erase(it->second);
        model.erase(it);
      }
    } else if (prng.chance(0.6)) {
      const uint32_t row = table.insert(name);
      ASSERT_EQ(row == kNone, model.size() == 50);
      if (row != kNone) model[name] = row;
    }
    ASSERT_EQ(table.count(), model.size());
  }
  EXPECT_EQ(table.insert("longer than eight"), kNone);
  EXPECT_EQ(table.insert(""), kNone);
}

TEST(NameTable, HomesAreSpreadAndInRange) {
  std::vector<uint32_t> count(5);
  for (int i = 0; i < 5000; ++i) ++count.at(home_shard("room." + std::to_string(i), 5));
  for (const uint32_t c : count) EXPECT_NEAR(c, 1000, 150);
}

TopicLimits small_limits() {
  TopicLimits limits;
  limits.topics = 6;
  limits.per_connection = 3;
  limits.subscriptions = 12;
  limits.name_bytes = 16;
  limits.history_messages = 5;
  limits.history_bytes = 2000;
  limits.history_memory = 256 * 40;
  limits.history_age = base::seconds(30);
  return limits;
}

std::string message_of(uint64_t topic, uint64_t offset, uint64_t size) {
  std::string text = std::to_string(topic) + ':' + std::to_string(offset) + ':';
  while (text.size() < size) text += static_cast<char>('a' + (text.size() * 7 + offset) % 26);
  return text;
}

struct ModelMessage {
  uint64_t offset;
  std::string bytes;
  int64_t at_s;
};
struct ModelTopic {
  uint64_t next = 1;
  uint64_t shards = 0;
  std::deque<ModelMessage> kept;  // what may be held at most
};

// What is read is what was appended, in order, without holes up to the newest, inside of all
// bounds; offsets rise by one while the topic lives.
TEST(TopicHome, AgainstAModelUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    const TopicLimits limits = small_limits();
    TopicHome home(limits);
    std::map<std::string, ModelTopic> model;
    base::Prng prng(seed);
    Instant now{1'000'000'000};
    uint64_t read = 0;
    uint64_t forgotten = 0;
    for (int step = 0; step < 5000; ++step) {
      now = now + base::milliseconds(static_cast<int64_t>(prng.below(1500)));
      const std::string name = "t" + std::to_string(prng.below(9));
      const uint32_t topic = home.find(name);
      if (topic == kNone && model.count(name) != 0) {
        ASSERT_EQ(model[name].shards, 0u) << "a topic with subscribers made room";
        model.erase(name);
        ++forgotten;
      }
      ASSERT_EQ(topic != kNone, model.count(name) != 0);
      switch (prng.below(5)) {
        case 0:
        case 1: {
          const uint32_t open = home.open(name);
          if (open == kNone) {
            ASSERT_EQ(topic, kNone);
            uint32_t with = 0;
            for (uint32_t t = 0; t < home.high_water(); ++t) with += home.shards(t) != 0;
            ASSERT_EQ(with, limits.topics) << "no room though a topic is idle";
            break;
          }
          ModelTopic& m = model[name];
          ASSERT_EQ(home.next_offset(open), m.next);
          const std::string bytes = message_of(prng.below(9), m.next, 1 + prng.below(900));
          home.append(open, base::as_bytes(bytes), static_cast<uint32_t>(m.next) * 3, now);
          m.kept.push_back({m.next, bytes, now.ns / 1'000'000'000});
          ++m.next;
          break;
        }
        case 2: {
          const uint32_t open = home.open(name);
          if (open == kNone) break;
          const uint32_t shard = static_cast<uint32_t>(prng.below(3));
          home.add_shard(open, shard);
          model[name].shards |= 1u << shard;
          break;
        }
        case 3: {
          if (topic == kNone) break;
          const uint32_t shard = static_cast<uint32_t>(prng.below(3));
          home.remove_shard(topic, shard);
          model[name].shards &= ~(1u << shard);
          ASSERT_EQ(home.shards(topic), model[name].shards);
          break;
        }
        case 4: {
          if (prng.chance(0.2)) home.expire(now, 3);
          if (topic == kNone) break;
          const ModelTopic& m = model[name];
          uint64_t from = prng.below(m.next + 2);
          std::vector<uint8_t> out(2000);
          TopicHome::Piece piece;
          uint32_t pieces = 0;
          uint32_t bytes = 0;
          uint64_t last = 0;
          while (home.read(topic, from, now, out, &piece)) {
            ASSERT_GE(piece.offset, from);
            ASSERT_TRUE(last == 0 || piece.offset == last + 1);
            last = piece.offset;
            const auto it = std::find_if(m.kept.begin(), m.kept.end(), [&](const ModelMessage& k) {
              return k.offset == piece.offset;
            });
            ASSERT_NE(it, m.kept.end());
            ASSERT_EQ(std::string(out.begin(), out.begin() + piece.bytes), it->bytes);
            ASSERT_EQ(piece.note, piece.offset * 3);
            ASSERT_LE(now.ns / 1'000'000'000 - it->at_s, 30);
            ++pieces;
            bytes += piece.bytes;
            from = piece.offset + 1;
            ++read;
          }
          ASSERT_EQ(piece.bytes, 0u);
          ASSERT_TRUE(last == 0 || last == m.next - 1) << "the newest are held";
          ASSERT_LE(pieces, limits.history_messages);
          ASSERT_LE(bytes, limits.history_bytes);
          break;
        }
        default:
          break;
      }
      ASSERT_LE(home.history_bytes(), limits.history_memory);
      ASSERT_LE(home.count(), limits.topics);
    }
    EXPECT_GT(read, 200u);
    EXPECT_GT(forgotten, 5u);
  }
}

TEST(TopicHome, APieceThatDoesNotFitSaysItsSize) {
  TopicHome home(small_limits());
  const uint32_t topic = home.open("t");
  const std::string bytes(700, 'x');
  home.append(topic, base::as_bytes(bytes), 0, {});
  uint8_t out[700];
  TopicHome::Piece piece;
  EXPECT_FALSE(home.read(topic, 0, {}, base::MutableBytes(out).first(699), &piece));
  EXPECT_EQ(piece.bytes, 700u);
  EXPECT_TRUE(home.read(topic, 0, {}, out, &piece));
  EXPECT_FALSE(home.read(topic, 2, {}, out, &piece));
  EXPECT_EQ(piece.bytes, 0u);
}

TEST(TopicHome, WhatIsAboveTheBoundIsNotKeptAndLeavesNoHole) {
  TopicHome home(small_limits());
  const uint32_t topic = home.open("t");
  home.append(topic, base::as_bytes("one"), 0, {});
  home.append(topic, base::as_bytes(std::string(2001, 'x')), 0, {});
  EXPECT_EQ(home.next_offset(topic), 3u);
  EXPECT_EQ(home.figures(topic).history_messages, 0u);
  home.append(topic, base::as_bytes("three"), 0, {});
  uint8_t out[16];
  TopicHome::Piece piece;
  ASSERT_TRUE(home.read(topic, 1, {}, out, &piece));
  EXPECT_EQ(piece.offset, 3u);
  TopicLimits none = small_limits();
  none.history_messages = 0;
  TopicHome bare(none);
  const uint32_t t = bare.open("t");
  bare.append(t, base::as_bytes("one"), 0, {});
  EXPECT_EQ(bare.next_offset(t), 2u);
  EXPECT_FALSE(bare.read(t, 1, {}, out, &piece));
}

// Subscriptions and their walk against sets, with removals in the middle of a walk.
TEST(TopicMembers, AgainstAModelUnderRandomUse) {
  const TopicLimits limits = small_limits();
  constexpr uint32_t kSlots = 7;
  TopicMembers members(limits, kSlots);
  std::map<std::string, std::set<uint32_t>> model;  // topic: slots
  const auto of_slot = [&](uint32_t slot) {
    uint32_t n = 0;
    for (const auto& [name, slots] : model) n += slots.count(slot);
    return n;
  };
  const auto total = [&] {
    uint32_t n = 0;
    for (const auto& [name, slots] : model) n += static_cast<uint32_t>(slots.size());
    return n;
  };
  base::Prng prng(3);
  uint32_t refused = 0;
  uint32_t walks = 0;
  for (int step = 0; step < 60'000; ++step) {
    const std::string name = "t" + std::to_string(prng.below(8));
    const uint32_t slot = static_cast<uint32_t>(prng.below(kSlots));
    const uint32_t topic = members.find_topic(name);
    const uint32_t subscription = topic == kNone ? kNone : members.find(slot, topic);
    ASSERT_EQ(subscription != kNone, model.count(name) != 0 && model[name].count(slot) != 0);
    switch (prng.below(4)) {
      case 0: {
        if (subscription != kNone) break;
        const bool full = of_slot(slot) == limits.per_connection ||
                          total() == limits.subscriptions ||
                          (topic == kNone && members.topic_count() == limits.topics);
        const uint32_t added = members.add(slot, name);
        ASSERT_EQ(added == kNone, full);
        if (full) {
          ++refused;
          break;
        }
        EXPECT_EQ(members.at(added).state, SubscriptionState::kWaiting);
        ASSERT_NE(members.find_row(added, members.at(added).generation), nullptr);
        model[name].insert(slot);
        break;
      }
      case 1:
        if (subscription == kNone) break;
        {
          const uint32_t generation = members.at(subscription).generation;
          members.remove(subscription);
          ASSERT_EQ(members.find_row(subscription, generation), nullptr);
        }
        model[name].erase(slot);
        break;
      case 2: {  // a walk on which others go
        if (topic == kNone) break;
        ++walks;
        std::set<uint32_t> seen;
        std::set<uint32_t> gone;
        members.for_each(topic, [&](uint32_t, Subscription& s) {
          ASSERT_TRUE(seen.insert(s.slot).second);
          ASSERT_EQ(gone.count(s.slot), 0u);
          const uint32_t other = static_cast<uint32_t>(prng.below(kSlots));
          if (!prng.chance(0.3)) return;
          for (uint32_t i = members.first_of_slot(other); i != kNone;
               i = members.first_of_slot(other)) {
            members.remove(i);
          }
          gone.insert(other);
          for (auto& [n, slots] : model) slots.erase(other);
        });
        for (const uint32_t left : model[name]) ASSERT_EQ(seen.count(left), 1u);
        break;
      }
      case 3: {
        const uint32_t empty = members.empty_topic();
        if (empty == kNone) break;
        ASSERT_EQ(members.subscribers(empty), 0u);
        model.erase(std::string(members.name(empty)));
        members.erase_topic(empty);
        break;
      }
      default:
        break;
    }
    ASSERT_EQ(members.subscription_count(), total());
    ASSERT_EQ(members.count_of_slot(slot), of_slot(slot));
  }
  EXPECT_GT(refused, 100u);
  EXPECT_GT(walks, 1000u);
}

TEST(ParkedTopics, KeepsTheNewestUntilTheyAreTaken) {
  ParkedTopics parked(4, 256 * 20);
  std::map<uint64_t, std::string> model;  // what may be there
  std::map<uint64_t, uint32_t> put_at;    // number of the put
  uint32_t puts = 0;
  base::Prng prng(5);
  std::vector<uint8_t> out(ParkedTopics::kListBytesMax);
  uint32_t found = 0;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t session = 1 + prng.below(9);
    if (prng.chance(0.5)) {
      const std::string list(prng.below(2000), static_cast<char>('a' + i % 26));
      parked.put(session, base::as_bytes(list), static_cast<uint32_t>(i));
      model[session] = list;
      if (!list.empty()) put_at[session] = ++puts;
      continue;
    }
    const uint32_t bytes = parked.take(session, out);
    const std::string got(out.begin(), out.begin() + bytes);
    if (bytes != 0) {
      ASSERT_EQ(got, model[session]);
      ++found;
    } else if (!model[session].empty()) {
      ASSERT_GE(puts - put_at[session], 2u);  // two of any size fit, so it made room for others
    }
    model.erase(session);
    ASSERT_EQ(parked.take(session, out), 0u);
  }
  EXPECT_GT(found, 1000u);
  parked.put(1, base::as_bytes("x"), 50'000);
  parked.put(2, base::as_bytes("y"), 60'000);
  parked.expire(55'000);
  EXPECT_EQ(parked.take(1, out), 0u);
  EXPECT_EQ(parked.take(2, out), 1u);
  EXPECT_EQ(parked.count(), 0u);
}

TEST(TopicMembers, ATopicThatWasAskedForStaysUntilItIsAnswered) {
  TopicMembers members(small_limits(), 4);
  const uint32_t s = members.add(0, "a");
  const uint32_t topic = members.find_topic("a");
  members.set_state(topic, TopicMembers::TopicState::kAsked);
  members.remove(s);
  EXPECT_EQ(members.empty_topic(), kNone);
  members.set_state(topic, TopicMembers::TopicState::kJoined);
  EXPECT_EQ(members.empty_topic(), topic);
  const uint32_t again = members.add(1, "a");  // and is used again as it is
  EXPECT_EQ(members.at(again).topic, topic);
  EXPECT_EQ(members.state(topic), TopicMembers::TopicState::kJoined);
  EXPECT_EQ(members.empty_topic(), kNone);
}

}  // namespace
}  // namespace tidegate::session
