// SPDX-License-Identifier: Apache-2.0
// The parts of a shard that stand alone; the whole is tested by tests/sim.
#include <gtest/gtest.h>

#include <string>

#include "base/prng.h"
#include "shard/identities.h"
#include "shard/load_meter.h"
#include "shard/outbox.h"
#include "shard/router.h"
#include "shard/snapshot_capture.h"
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

TEST(TickBarrier, ATickInWhichCellsMovedIsLeftWhenAllHaveHeard) {
  TickBarrier b(2, milliseconds(10), Instant{0});
  const auto run_tick = [&](uint32_t tick, uint32_t moved) {
    b.simulated();
    b.on_simulation_done(tick, Instant{0});
    b.on_simulation_done(tick, Instant{0});
    b.encoded();
    b.on_frame_done(tick, 0);
    b.on_frame_done(tick, moved);
  };
  const Instant late = Instant{0} + milliseconds(100);
  run_tick(1, 3);
  EXPECT_FALSE(b.cells_moved()) << "it has not flushed yet";
  b.on_moves_taken(1);  // the other one is faster
  b.flushed();
  EXPECT_TRUE(b.cells_moved());
  EXPECT_FALSE(b.simulate_due(late));
  EXPECT_EQ(b.deadline(), Instant::never()) << "a mark wakes it, not the clock";
  b.on_moves_taken(1);
  EXPECT_TRUE(b.simulate_due(late));
  run_tick(2, 0);
  b.flushed();
  EXPECT_FALSE(b.cells_moved());
  EXPECT_TRUE(b.simulate_due(late));
  run_tick(3, 1);
  b.flushed();
  b.on_moves_taken(3);
  EXPECT_FALSE(b.simulate_due(late)) << "marks of an earlier tick do not count";
  b.on_moves_taken(3);
  EXPECT_TRUE(b.simulate_due(late));
}

TEST(LoadMeter, GivesMediansAndForgetsThem) {
  LoadMeter meter;
  uint32_t world = 1;
  uint32_t flush = 1;
  meter.take(&world, &flush);
  EXPECT_EQ(world + flush, 0u);
  for (int i = 0; i < 9; ++i) {
    // One tick in which the thread did not run.
    meter.note(i == 4 ? base::seconds(10) : base::microseconds(100 + i), milliseconds(2));
  }
  meter.take(&world, &flush);
  EXPECT_EQ(world, 105'000u);
  EXPECT_EQ(flush, 2'000'000u);
  for (uint32_t i = 0; i < 3 * LoadMeter::kSamples; ++i) {
    meter.note(milliseconds(i < LoadMeter::kSamples ? 9 : 1), milliseconds(1));
  }
  meter.take(&world, &flush);
  EXPECT_EQ(world, 1'000'000u) << "the newest count";
}

TEST(TickBarrier, TicksBehindALateOneCatchUpOrTheScheduleMovesForAll) {
  TickBarrier a(2, milliseconds(10), Instant{0});
  TickBarrier b(2, milliseconds(10), Instant{0});
  for (TickBarrier* t : {&a, &b}) {
    const auto run = [&](Instant mine, Instant others) {
      const uint32_t tick = t->tick();
      t->simulated();
      t->on_simulation_done(tick, mine);
      t->on_simulation_done(tick, others);
      t->encoded();
      t->on_frame_done(tick);
      t->on_frame_done(tick);
      t->flushed();
    };
    run(Instant{0}, Instant{0} + milliseconds(25));
    EXPECT_EQ(t->due(), Instant{0} + milliseconds(10));
    EXPECT_EQ(t->late(), 1u);
    run(Instant{0} + milliseconds(26), Instant{0} + milliseconds(18));
    EXPECT_EQ(t->due(), Instant{0} + milliseconds(20));
    EXPECT_EQ(t->late(), 2u);
    run(Instant{0} + milliseconds(27), Instant{0} + milliseconds(27));
    EXPECT_EQ(t->due(), Instant{0} + milliseconds(30));
    EXPECT_EQ(t->late(), 2u);
    const Instant much = Instant{0} + milliseconds(30 + 10 * TickBarrier::kCatchUpTicks + 1);
    run(Instant{0} + milliseconds(30), much);
    EXPECT_EQ(t->due(), much + milliseconds(10));
    EXPECT_EQ(t->late(), 3u);
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

// --- SnapshotCapture ---

struct CaptureTest : testing::Test {
  // A ring that takes four pieces at most.
  mailbox::Fabric fabric{{.shards = 1, .shard_ring_bytes = 1 << 16, .control_ring_bytes = 1 << 16}};
  mailbox::Mailbox shard{fabric, 0};
  mailbox::Mailbox control{fabric, 1};
  world::EntityTable entities{600};
  world::Directory directory{600};
  SnapshotCapture capture{600, 60};
  struct NoWakes final : mailbox::WakeSink {
    void wake_agent(mailbox::AgentId) override {}
  } no_wakes;
  uint32_t entity_records = 0, place_records = 0, ended = 0, said = 0, missed = 0;

  void send(uint32_t turns) {
    for (uint32_t i = 0; i < turns; ++i) capture.send(directory, shard);
    shard.publish_all(no_wakes);
  }
  uint32_t take() {
    return control.drain(100, [&](mailbox::AgentId, mailbox::MessageType type, base::Bytes bytes) {
      if (type == mailbox::MessageType::kSnapshotEnd) {
        const auto end = mailbox::read_message<mailbox::SnapshotEnd>(bytes);
        ++ended;
        said = end.records;
        missed += end.missed;
        return;
      }
      base::Bytes rest;
      (void)mailbox::read_message<mailbox::SnapshotPiece>(bytes, &rest);
      EXPECT_LE(rest.size(), SnapshotCapture::kPieceBytes);
      while (!rest.empty()) {
        mailbox::SnapshotRecord r;
        std::string_view name;
        base::Bytes extra;
        ASSERT_TRUE(mailbox::read_record(&rest, &r, &name, &extra));
        EXPECT_EQ(r.position[0], std::stoi(std::string(name)));
        ++(r.source == mailbox::kSnapshotEntity ? entity_records : place_records);
      }
    });
  }
  void fill(uint32_t n) {
    for (uint32_t i = 0; i < n; ++i) {
      const world::EntitySlot s =
          entities.add({i + 1}, std::to_string(i), world::EntityKind::kPlayer);
      entities.image(s).position = {static_cast<int32_t>(i), 0, 0};
      world::DirectoryEntry* entry = directory.insert(std::to_string(i), 1);
      entry->has_position = i % 2;
      entry->position = {static_cast<int32_t>(i), 0, 0};
    }
  }
};

TEST_F(CaptureTest, EverythingArrivesOnceThoughTheRingIsFullOften) {
  fill(600);
  capture.ask(10, 8, SnapshotCapture::Boundary::kPassed);
  EXPECT_FALSE(capture.due(9));
  ASSERT_TRUE(capture.due(10));
  capture.cut(10, entities);
  // What happens after the cut is not in it.
  for (uint32_t s = 0; s < 600; ++s) entities.image(s).position = {-1, -1, -1};
  for (int i = 0; i < 100 && ended == 0; ++i) {
    send(20);
    take();
  }
  EXPECT_EQ(ended, 1u);
  EXPECT_EQ(entity_records, 600u);
  EXPECT_EQ(place_records, 300u);
  EXPECT_EQ(said, 900u);
  EXPECT_EQ(missed, 0u);
  send(5);
  EXPECT_EQ(take(), 0u) << "it is over";
}

TEST_F(CaptureTest, ALateRequestIsAnsweredAsMissed) {
  capture.ask(10, 11, SnapshotCapture::Boundary::kAhead);
  send(1);
  take();
  EXPECT_EQ(missed, 1u);
  capture.ask(10, 10, SnapshotCapture::Boundary::kPassed);
  send(1);
  take();
  EXPECT_EQ(missed, 2u);
  capture.ask(10, 10, SnapshotCapture::Boundary::kAhead);
  EXPECT_TRUE(capture.due(10));
}

TEST_F(CaptureTest, ANewRequestTakesThePlaceOfTheOldOne) {
  fill(500);
  capture.ask(10, 9, SnapshotCapture::Boundary::kAhead);
  capture.cut(10, entities);
  send(1);
  take();
  capture.ask(20, 11, SnapshotCapture::Boundary::kAhead);
  send(3);
  EXPECT_EQ(take(), 0u);
  entity_records = 0;
  capture.cut(20, entities);
  for (int i = 0; i < 100 && ended == 0; ++i) {
    send(20);
    take();
  }
  EXPECT_EQ(entity_records, 500u);
  EXPECT_EQ(said, 750u);
}

}  // namespace
}  // namespace tidegate::shard
