// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>

#include "mailbox/mailboxes.h"

namespace tidegate::mailbox {
namespace {

struct Wakes final : WakeSink {
  void wake_agent(AgentId agent) override { woken.insert(agent); }
  std::multiset<AgentId> woken;
};

TEST(Mailbox, CarriesStructAndTail) {
  Fabric fabric({.shards = 2});
  Mailbox a(fabric, 0);
  Mailbox b(fabric, 1);
  Wakes wakes;
  ASSERT_TRUE(a.post(1, Login{{5, 6}}, base::as_bytes("alice")));
  int seen = 0;
  EXPECT_EQ(b.drain(10, [&](AgentId, MessageType, base::Bytes) { ++seen; }), 0u);
  a.publish_all(wakes);
  EXPECT_TRUE(wakes.woken.empty());  // b was awake
  b.drain(10, [&](AgentId from, MessageType type, base::Bytes bytes) {
    ++seen;
    EXPECT_EQ(from, 0u);
    EXPECT_EQ(type, MessageType::kLogin);
    base::Bytes tail;
    const Login login = read_message<Login>(bytes, &tail);
    EXPECT_EQ(login.connection, (base::ConnectionRef{5, 6}));
    EXPECT_EQ(base::as_text(tail), "alice");
  });
  EXPECT_EQ(seen, 1);
}

TEST(Mailbox, WakesASleeperOnce) {
  Fabric fabric({.shards = 2});
  Mailbox a(fabric, 0);
  Mailbox b(fabric, 1);
  Wakes wakes;
  ASSERT_TRUE(b.prepare_to_sleep());
  ASSERT_TRUE(a.post(1, FrameDone{1}));
  a.publish_all(wakes);
  ASSERT_TRUE(a.post(1, FrameDone{2}));
  a.publish_all(wakes);
  EXPECT_EQ(wakes.woken.count(1), 1u);
  b.awake();
  EXPECT_FALSE(b.prepare_to_sleep());  // there is mail
}

TEST(Mailbox, AFullRingRefusesAndCounts) {
  Fabric fabric({.shards = 1, .shard_ring_bytes = 4096, .control_ring_bytes = 4096});
  Mailbox a(fabric, 0);
  int posted = 0;
  while (a.post(0, FrameDone{1})) ++posted;
  EXPECT_GT(posted, 100);
  EXPECT_EQ(a.refused(MessageType::kFrameDone), 1u);
}

TEST(Mailbox, EveryTypeHasAName) {
  std::set<std::string> names;
  for (uint16_t t = 1; t < static_cast<uint16_t>(MessageType::kCount); ++t) {
    const std::string name = name_of(static_cast<MessageType>(t));
    EXPECT_NE(name, "?") << t;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

// A sleeper that trusts prepare_to_sleep never sleeps on mail: two threads play ping-pong with
// sleeps that only a wake ends.
TEST(Mailbox, NoWakeIsLostBetweenThreads) {
  Fabric fabric({.shards = 2});
  struct Flag final : WakeSink {
    void wake_agent(AgentId agent) override {
      flags[agent].store(true, std::memory_order_release);
      flags[agent].notify_one();
    }
    std::atomic<bool> flags[3] = {};
  } flags;
  constexpr uint32_t kRounds = 20000;
  auto play = [&](AgentId self) {
    Mailbox box(fabric, self);
    uint32_t next = self == 0 ? 1 : 0;
    if (self == 0) {
      ASSERT_TRUE(box.post(1, FrameDone{0}));
      box.publish_all(flags);
    }
    while (next < kRounds) {
      if (box.prepare_to_sleep()) {
        flags.flags[self].wait(false, std::memory_order_acquire);
        flags.flags[self].store(false, std::memory_order_relaxed);
        box.awake();
      }
      box.drain(10, [&](AgentId, MessageType, base::Bytes bytes) {
        ASSERT_EQ(read_message<FrameDone>(bytes).tick, next);
        ASSERT_TRUE(box.post(1 - self, FrameDone{next + 1}));
        next += 2;
      });
      box.publish_all(flags);
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
}

}  // namespace
}  // namespace tidegate::mailbox
