// SPDX-License-Identifier: Apache-2.0
// The parts of a shard that stand alone; the whole is tested by tests/sim.
#include <gtest/gtest.h>

#include <string>

#include "base/prng.h"
#include "shard/identities.h"
#include "shard/outbox.h"
#include "shard/router.h"
#include "shard/tick_barrier.h"

namespace tidegate::shard {
namespace {

using base::Instant;
using base::milliseconds;

TEST(TickBarrier, OneShardRunsThroughItsPhases) {
  TickBarrier b(1, milliseconds(10), Instant{0});
  EXPECT_TRUE(b.simulate_due(Instant{0}));
  EXPECT_FALSE(b.encode_due());
  b.simulated();
  EXPECT_FALSE(b.encode_due());
  b.on_simulation_done(1, Instant{0});
  EXPECT_TRUE(b.encode_due());
  b.encoded();
  EXPECT_FALSE(b.flush_due());
  b.on_frame_done(1);
  EXPECT_TRUE(b.flush_due());
  b.flushed();
  EXPECT_EQ(b.tick(), 2u);
  EXPECT_EQ(b.due(), Instant{0} + milliseconds(10));
  EXPECT_FALSE(b.simulate_due(Instant{0} + milliseconds(9)));
}

TEST(TickBarrier, WaitsForTheOthersAlsoWhenTheyAreAPhaseAhead) {
  TickBarrier b(2, milliseconds(10), Instant{0});
  b.on_simulation_done(1, Instant{0});  // the other one was faster
  EXPECT_FALSE(b.encode_due());
  b.simulated();
  b.on_simulation_done(1, Instant{1});
  b.encoded();
  b.on_frame_done(1);
  EXPECT_FALSE(b.flush_due());
  b.on_frame_done(1);
  ASSERT_TRUE(b.flush_due());
  b.on_simulation_done(2, Instant{5});  // it has flushed and begun the next tick
  b.flushed();
  b.simulated();
  EXPECT_FALSE(b.encode_due());
  b.on_simulation_done(2, Instant{6});
  EXPECT_TRUE(b.encode_due());
}

TEST(TickBarrier, ALateStartMovesTheScheduleForAll) {
  TickBarrier a(2, milliseconds(10), Instant{0});
  TickBarrier b(2, milliseconds(10), Instant{0});
  const Instant late = Instant{0} + milliseconds(25);
  for (TickBarrier* t : {&a, &b}) {
    t->simulated();
    t->on_simulation_done(1, Instant{0});
    t->on_simulation_done(1, late);
    t->encoded();
    t->on_frame_done(1);
    t->on_frame_done(1);
    t->flushed();
    EXPECT_EQ(t->due(), late + milliseconds(10));
    EXPECT_EQ(t->slips(), 1u);
  }
}

TEST(Outbox, KeepsOrderThroughAFullRing) {
  mailbox::Fabric fabric({.shards = 2, .shard_ring_bytes = 4096, .control_ring_bytes = 4096});
  mailbox::Mailbox sender(fabric, 0);
  mailbox::Mailbox receiver(fabric, 1);
  struct : mailbox::WakeSink {
    void wake_agent(mailbox::AgentId) override {}
  } wakes;
  Outbox outbox(sender, 1 << 16);
  uint32_t posted = 0;
  uint32_t seen = 0;
  base::Prng prng(1);
  while (seen < 5000) {
    for (uint64_t n = prng.below(60); n > 0 && !outbox.strained(); --n) {
      outbox.post(1, mailbox::FrameDone{posted++});
    }
    outbox.retry();
    sender.publish_all(wakes);
    receiver.drain(static_cast<uint32_t>(prng.below(50)),
                   [&](mailbox::AgentId, mailbox::MessageType, base::Bytes bytes) {
                     ASSERT_EQ(mailbox::read_message<mailbox::FrameDone>(bytes).tick, seen);
                     ++seen;
                   });
  }
  EXPECT_GT(sender.refused(mailbox::MessageType::kFrameDone), 0u);
}

TEST(Outbox, SaysWhenItIsStrained) {
  mailbox::Fabric fabric({.shards = 1, .shard_ring_bytes = 4096, .control_ring_bytes = 4096});
  mailbox::Mailbox sender(fabric, 0);
  Outbox outbox(sender, 4096);
  while (!outbox.strained()) outbox.post(0, mailbox::FrameDone{1});
  EXPECT_GT(outbox.waiting_bytes(), 2048u);
  EXPECT_TRUE(outbox.waiting());
}

TEST(Identities, ShortAndLongOnesComeBack) {
  Identities ids(4);
  const uint32_t a = ids.store({"alice", "alice", ""});
  const std::string permissions(1500, 'p');
  const uint32_t b = ids.store({"bob", "knight", permissions});
  ASSERT_NE(a, Identities::kNone);
  ASSERT_NE(b, Identities::kNone);
  EXPECT_EQ(ids.view(a).player, "alice");
  EXPECT_EQ(ids.view(b).user, "bob");
  EXPECT_EQ(ids.view(b).player, "knight");
  EXPECT_EQ(ids.view(b).permissions, permissions);
  EXPECT_EQ(ids.store({"x", "y", std::string(3000, 'p')}), Identities::kNone);
  ids.free(a);
  ids.free(b);
  ids.free(Identities::kNone);
}

Handled yes(Shard&, uint32_t, const wire::Envelope&) { return Handled::kOk; }
Handled no(Shard&, uint32_t, const wire::Envelope&) { return Handled::kFailed; }

TEST(Router, FindsBuiltInAndCustomTypesAndRefusesTakenOnes) {
  Router router;
  EXPECT_TRUE(router.add(9, yes));
  EXPECT_FALSE(router.add(9, no));
  base::Prng prng(2);
  for (uint32_t i = 0; i < 500; ++i)
    EXPECT_TRUE(router.add(1000 + (i * 37) % 500, i % 2 ? yes : no));
  EXPECT_FALSE(router.add(1001, yes));
  EXPECT_EQ(router.find(9), yes);
  EXPECT_EQ(router.find(10), nullptr);
  EXPECT_NE(router.find(1499), nullptr);
  EXPECT_EQ(router.find(1500), nullptr);
  EXPECT_EQ(router.find(UINT32_MAX), nullptr);
}

}  // namespace
}  // namespace tidegate::shard
