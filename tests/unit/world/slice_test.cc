// SPDX-License-Identifier: Apache-2.0
// What one slice decides: checks of moves, linger, connections, hand-over, limits.
#include <gtest/gtest.h>

#include "harness.h"

namespace tidegate::world::test {
namespace {

WorldConfig config_of(uint32_t shards = 1) {
  WorldConfig config;
  config.shard_count = shards;
  config.entities = 64;
  config.cells = 64;
  config.max_speed = 12.0F;
  config.speed_tolerance = 1.0F;
  config.linger_ms = 1000;  // 60 ticks
  for (int axis : {0, 2}) {
    config.bounds_min[axis] = -200.0F;
    config.bounds_max[axis] = 200.0F;
  }
  return config;
}

// Records what a slice tells; answers as told to.
struct Events : SliceEvents {
  bool moved(ShardId, ConnectionRef, const MoveResult& result) override {
    if (take_moved) results.push_back(result);
    return take_moved;
  }
  bool transfer(ShardId to, base::Bytes entity) override {
    if (!take_transfer) return false;
    transfers.emplace_back(to.value, std::vector<uint8_t>(entity.begin(), entity.end()));
    return true;
  }
  bool gone(EntityId, std::string_view name, const Steps3& position) override {
    if (take_gone) gones.emplace_back(std::string(name), position);
    return take_gone;
  }
  bool take_moved = true, take_transfer = true, take_gone = true;
  std::vector<MoveResult> results;
  std::vector<std::pair<uint16_t, std::vector<uint8_t>>> transfers;
  std::vector<std::pair<std::string, Steps3>> gones;
};
struct NoSink : PublicationSink {
  void publish(ShardId, const Publication&) override { ++count; }
  int count = 0;
};

SpawnSpec player(std::string_view name, Steps3 at = {}) {
  SpawnSpec spec;
  spec.player_id = name;
  spec.position = at;
  spec.connection_shard = {0};
  spec.connection = {1, 1};
  return spec;
}
Input move_to(Steps3 position, uint32_t client_tick) {
  Input input{};
  input.position = position;
  input.client_tick = client_tick;
  input.has = Input::kPosition;
  return input;
}

class SliceTest : public ::testing::Test {
 protected:
  void spawn(Steps3 at = {}) {
    ASSERT_EQ(slice_.spawn(kId, player("alice", at), tick_), SpawnStatus::kOk);
    turn();
    ASSERT_EQ(events_.results.size(), 1u);
    EXPECT_EQ(events_.results[0].acknowledges, 0);
    events_.results.clear();
  }
  void turn() {
    slice_.simulate(tick_, events_);
    slice_.encode(tick_, 0, sink_);
    ++tick_;
  }
  MoveResult answer(const Input& input) {
    EXPECT_EQ(slice_.queue_input(kId, input).status, QueueStatus::kOk);
    events_.results.clear();
    turn();
    EXPECT_EQ(events_.results.size(), 1u);
    return events_.results.empty() ? MoveResult{} : events_.results[0];
  }

  static constexpr EntityId kId{77};
  WorldSlice slice_{config_of(), {0}};
  Events events_;
  NoSink sink_;
  uint32_t tick_ = 100;
};

TEST_F(SliceTest, AppliesMoveAndAnswers) {
  spawn();
  Input input = move_to({5, 2, -5}, 9);
  input.has |= Input::kYaw | Input::kVelocity;
  input.yaw = 64;
  input.velocity[2] = -300;
  input.flags = 6;
  const MoveResult r = answer(input);
  EXPECT_EQ(r.entity, kId);
  EXPECT_EQ(r.client_tick, 9u);
  EXPECT_EQ(r.server_tick, 101u);
  EXPECT_EQ(r.position, (Steps3{5, 2, -5}));
  EXPECT_EQ(r.velocity[2], -300);
  EXPECT_EQ(r.corrected, 0);
  EXPECT_EQ(r.acknowledges, 1);
  EXPECT_EQ(r.owner.value, 0);
  const Image& image = slice_.entities().image(slice_.entities().find(kId));
  EXPECT_EQ(image.yaw, 64);
  EXPECT_EQ(image.flags, 6u);
  events_.results.clear();
  turn();
  EXPECT_TRUE(events_.results.empty());  // no input, no answer
}

TEST_F(SliceTest, TeleportIsRefusedWithThePositionThatHolds) {
  spawn({10, 0, 10});
  for (const Steps3 wish : {Steps3{4000, 0, 10}, Steps3{10, 9000, 10}, Steps3{-9000, 0, 9000}}) {
    const MoveResult r = answer(move_to(wish, 1));
    EXPECT_EQ(r.corrected, 1);
    EXPECT_EQ(r.reason, kReasonSpeed);
    EXPECT_EQ(r.position, (Steps3{10, 0, 10}));
  }
  EXPECT_EQ(slice_.counters().inputs_refused_speed, 3u);
  const MoveResult r = answer(move_to({12, 0, 10}, 2));
  EXPECT_EQ(r.corrected, 0);
  EXPECT_EQ(r.reason, 0);
}

TEST_F(SliceTest, OutOfBoundsIsRefused) {
  spawn({9'990, 0, 0});
  const MoveResult r = answer(move_to({10'001, 0, 0}, 1));
  EXPECT_EQ(r.reason, kReasonBounds);
  EXPECT_EQ(r.position, (Steps3{9'990, 0, 0}));
  EXPECT_EQ(answer(move_to({10'000, 0, 0}, 2)).corrected, 0);  // the edge itself is inside
  EXPECT_EQ(answer(move_to({INT32_MIN, INT32_MAX, INT32_MIN}, 3)).reason, kReasonBounds);
}

// 12 m/s is 600 steps a second: half a second at once, then 10 steps a tick.
TEST_F(SliceTest, SpeedBudgetHoldsHalfASecondAndGrowsWithTicks) {
  spawn();
  EXPECT_EQ(answer(move_to({301, 0, 0}, 1)).reason, kReasonSpeed);
  EXPECT_EQ(answer(move_to({300, 0, 0}, 2)).corrected, 0);
  EXPECT_EQ(answer(move_to({311, 0, 0}, 3)).reason, kReasonSpeed);
  EXPECT_EQ(answer(move_to({320, 0, 0}, 4)).corrected, 0);          // two ticks since, 20 steps
  EXPECT_EQ(answer(move_to({310, 0, 0}, 5)).corrected, 0);          // back costs too
  EXPECT_EQ(answer(move_to({317, 8, 0}, 6)).reason, kReasonSpeed);  // 10.6 in the diagonal
  for (int i = 0; i < 300; ++i) turn();
  EXPECT_EQ(answer(move_to({611, 0, 0}, 7)).reason, kReasonSpeed);
  EXPECT_EQ(answer(move_to({610, 0, 0}, 8)).corrected, 0);
}

TEST_F(SliceTest, InputsOfATickApplyInOrderAndAnswerOnce) {
  spawn();
  for (uint32_t i = 1; i <= 3; ++i) {
    ASSERT_EQ(slice_.queue_input(kId, move_to({static_cast<int32_t>(i), 0, 0}, i)).status,
              QueueStatus::kOk);
  }
  // Refused in the middle: the answer says so, with the position after the last.
  ASSERT_EQ(slice_.queue_input(kId, move_to({9'000, 0, 0}, 4)).status, QueueStatus::kOk);
  const MoveResult r = answer(move_to({5, 0, 0}, 5));
  EXPECT_EQ(r.client_tick, 5u);
  EXPECT_EQ(r.position, (Steps3{5, 0, 0}));
  EXPECT_EQ(r.corrected, 1);
  EXPECT_EQ(r.reason, kReasonSpeed);
}

TEST_F(SliceTest, OvertakenInputIsIgnored) {
  spawn();
  EXPECT_EQ(answer(move_to({4, 0, 0}, 10)).client_tick, 10u);
  ASSERT_EQ(slice_.queue_input(kId, move_to({2, 0, 0}, 9)).status, QueueStatus::kOk);
  events_.results.clear();
  turn();
  EXPECT_TRUE(events_.results.empty());
  EXPECT_EQ(slice_.counters().inputs_stale, 1u);
  EXPECT_EQ(slice_.entities().image(0).position, (Steps3{4, 0, 0}));
}

TEST_F(SliceTest, InputsOfATickAreBounded) {
  spawn();
  for (uint32_t i = 0; i < kInputsPerTick; ++i) {
    ASSERT_EQ(slice_.queue_input(kId, move_to({}, i)).status, QueueStatus::kOk);
  }
  // More than that: the last one takes the place of the one before it, so its word counts.
  EXPECT_EQ(slice_.queue_input(kId, move_to({1, 0, 0}, 50)).status, QueueStatus::kOk);
  Input turn_only{};
  turn_only.client_tick = 51;
  turn_only.has = Input::kYaw;
  turn_only.yaw = 9;
  EXPECT_EQ(slice_.queue_input(kId, turn_only).status, QueueStatus::kOk);
  EXPECT_EQ(slice_.queue_input({5}, move_to({}, 50)).status, QueueStatus::kUnknown);
  turn();
  EXPECT_EQ(slice_.counters().inputs_merged, 2u);
  EXPECT_EQ(slice_.entities().image(0).position, (Steps3{1, 0, 0}));
  EXPECT_EQ(slice_.entities().image(0).yaw, 9);
  EXPECT_EQ(slice_.queue_input(kId, move_to({}, 52)).status, QueueStatus::kOk);
}

TEST_F(SliceTest, LingersWithoutConnectionThenGoes) {
  spawn({7, 1, 8});
  ASSERT_EQ(slice_.detach(kId, {0}, {1, 1}, tick_).status, QueueStatus::kOk);
  for (int i = 0; i < 60; ++i) turn();
  EXPECT_TRUE(events_.gones.empty());
  EXPECT_EQ(slice_.entities().count(), 1u);
  events_.take_gone = false;  // the ring is full: the entity waits, out of sight
  turn();
  EXPECT_EQ(slice_.entities().count(), 1u);
  EXPECT_EQ(slice_.queue_input(kId, move_to({}, 1)).status, QueueStatus::kUnknown);
  EXPECT_EQ(slice_.attach(kId, {0}, {2, 1}).status, QueueStatus::kUnknown);
  events_.take_gone = true;
  turn();
  ASSERT_EQ(events_.gones.size(), 1u);
  EXPECT_EQ(events_.gones[0].first, "alice");
  EXPECT_EQ(events_.gones[0].second, (Steps3{7, 1, 8}));
  EXPECT_EQ(slice_.entities().count(), 0u);
  EXPECT_EQ(slice_.cells().count(), 0u);  // nobody reads the cell: it is given back
}

TEST_F(SliceTest, AttachEndsLingerAndOldConnectionsCannotDetach) {
  spawn();
  ASSERT_EQ(slice_.detach(kId, {0}, {1, 1}, tick_).status, QueueStatus::kOk);
  turn();
  ASSERT_EQ(slice_.attach(kId, {3}, {9, 4}).status, QueueStatus::kOk);
  turn();
  ASSERT_EQ(events_.results.size(), 1u);  // the new connection hears where it stands
  EXPECT_EQ(events_.results[0].acknowledges, 0);
  ASSERT_EQ(slice_.detach(kId, {0}, {1, 1}, tick_).status, QueueStatus::kOk);  // too late: ignored
  ASSERT_EQ(slice_.detach(kId, {3}, {9, 3}, tick_).status, QueueStatus::kOk);
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_EQ(slice_.entities().count(), 1u);
  // A client that counts from 1 again is heard.
  EXPECT_EQ(answer(move_to({1, 0, 0}, 1)).client_tick, 1u);
}

TEST_F(SliceTest, RemoveTakesItOutInTheNextTick) {
  spawn();
  ASSERT_EQ(slice_.remove(kId).status, QueueStatus::kOk);
  EXPECT_EQ(slice_.remove(kId).status, QueueStatus::kUnknown);
  turn();
  EXPECT_EQ(events_.gones.size(), 1u);
  EXPECT_EQ(slice_.spawn(kId, player("alice"), tick_), SpawnStatus::kOk);
}

TEST_F(SliceTest, SpawnIsRefusedWithReason) {
  EXPECT_EQ(slice_.spawn(kId, player(""), tick_), SpawnStatus::kBadName);
  EXPECT_EQ(slice_.spawn(kId, player(std::string(65, 'x')), tick_), SpawnStatus::kBadName);
  EXPECT_EQ(slice_.spawn(kId, player("far", {20'000, 0, 0}), tick_), SpawnStatus::kNotOwner);
  EXPECT_EQ(slice_.spawn(kId, player("bob"), tick_), SpawnStatus::kOk);
  EXPECT_EQ(slice_.spawn(kId, player("bob"), tick_), SpawnStatus::kExists);
  for (uint32_t i = 1; i < 64; ++i) {
    ASSERT_EQ(slice_.spawn({1000 + i}, player("more"), tick_), SpawnStatus::kOk);
  }
  EXPECT_EQ(slice_.spawn({5000}, player("late"), tick_), SpawnStatus::kFull);
}

TEST_F(SliceTest, UnpostedAnswersAreRepeated) {
  spawn();
  events_.take_moved = false;
  ASSERT_EQ(slice_.queue_input(kId, move_to({9'000, 0, 0}, 3)).status, QueueStatus::kOk);
  turn();
  turn();
  events_.take_moved = true;
  turn();
  ASSERT_EQ(events_.results.size(), 1u);
  EXPECT_EQ(events_.results[0].client_tick, 3u);
  EXPECT_EQ(events_.results[0].corrected, 1);
}

// Finds a border along x between cells of different owners, z = 0.
Steps3 border_between(uint32_t shards, ShardId* left, ShardId* right) {
  for (int16_t x = -2; x < 2; ++x) {
    *left = owner_of({x, 0}, shards);
    *right = owner_of({static_cast<int16_t>(x + 1), 0}, shards);
    if (*left != *right) return {(x + 1) * 3200 - 1, 0, 5};
  }
  ADD_FAILURE() << "no border";
  return {};
}

TEST(HandOver, OneOwnerOneSimulationAndForwarding) {
  ShardId left, right;
  const Steps3 at = border_between(2, &left, &right);
  WorldSlice from(config_of(2), left), to(config_of(2), right);
  Events events;
  NoSink sink;
  ASSERT_EQ(from.spawn({7}, player("alice", at), 1), SpawnStatus::kOk);
  EXPECT_EQ(to.spawn({8}, player("bob", at), 1), SpawnStatus::kNotOwner);
  from.simulate(1, events);
  from.encode(1, 0, sink);
  const Steps3 over{at[0] + 2, 0, 5};
  ASSERT_EQ(from.queue_input({7}, move_to(over, 5)).status, QueueStatus::kOk);
  events.take_transfer = false;
  from.simulate(2, events);
  EXPECT_EQ(from.counters().transfers_postponed, 1u);
  EXPECT_EQ(from.entities().count(), 1u);
  from.encode(2, 0, sink);
  // It waits in the old cell, shown at its edge.
  EXPECT_EQ(from.entities().image(0).base, (Steps3{at[0], 0, 5}));
  events.take_transfer = true;
  events.results.clear();
  from.simulate(3, events);  // no further input is needed
  ASSERT_EQ(events.transfers.size(), 1u);
  EXPECT_EQ(events.transfers[0].first, right.value);
  EXPECT_EQ(from.entities().count(), 0u);
  const auto& bytes = events.transfers[0].second;
  EXPECT_EQ(to.arrive({bytes.data(), bytes.size()}, 3, events), EntityId{7});
  ASSERT_EQ(events.results.size(), 1u);
  EXPECT_EQ(events.results[0].owner, right);
  EXPECT_EQ(events.results[0].position, over);
  EXPECT_EQ(to.entities().player_id(to.entities().find({7})), "alice");

  // An input that reaches the new owner before it simulated this tick waits for the next.
  ASSERT_EQ(to.queue_input({7}, move_to({over[0] + 3, 0, 5}, 6)).status, QueueStatus::kOk);
  events.results.clear();
  to.simulate(3, events);
  EXPECT_EQ(to.entities().image(0).position, over);
  EXPECT_TRUE(events.results.empty());
  to.simulate(4, events);
  EXPECT_EQ(to.entities().image(0).position, (Steps3{over[0] + 3, 0, 5}));
  EXPECT_EQ(events.results.size(), 1u);

  const Queued queued = from.queue_input({7}, move_to({}, 7));
  EXPECT_EQ(queued.status, QueueStatus::kForward);
  EXPECT_EQ(queued.to, right);
  EXPECT_EQ(from.detach({7}, {0}, {1, 1}, 4).status, QueueStatus::kForward);
  for (uint32_t tick = 4; tick <= 3 + EntityTable::kForwardTicks; ++tick)
    from.simulate(tick, events);
  EXPECT_EQ(from.queue_input({7}, move_to({}, 8)).status, QueueStatus::kForward);
  from.simulate(4 + EntityTable::kForwardTicks, events);
  EXPECT_EQ(from.queue_input({7}, move_to({}, 8)).status, QueueStatus::kUnknown);
}

TEST(HandOver, LingerTravels) {
  ShardId left, right;
  const Steps3 at = border_between(2, &left, &right);
  WorldSlice from(config_of(2), left), to(config_of(2), right);
  Events events;
  ASSERT_EQ(from.spawn({7}, player("alice", at), 1), SpawnStatus::kOk);
  ASSERT_EQ(from.queue_input({7}, move_to({at[0] + 2, 0, 5}, 5)).status, QueueStatus::kOk);
  ASSERT_EQ(from.detach({7}, {0}, {1, 1}, 1).status, QueueStatus::kOk);
  from.simulate(1, events);
  ASSERT_EQ(events.transfers.size(), 1u);
  const auto& bytes = events.transfers[0].second;
  ASSERT_TRUE(to.arrive({bytes.data(), bytes.size()}, 1, events).valid());
  for (uint32_t tick = 1; tick < 61; ++tick) to.simulate(tick, events);
  EXPECT_TRUE(events.gones.empty());
  for (uint32_t tick = 61; tick < 63; ++tick) to.simulate(tick, events);
  EXPECT_EQ(events.gones.size(), 1u);
  EXPECT_TRUE(events.results.empty());  // nobody to tell
}

TEST(Sizes, MemoryOfOneEntityIsSmall) {
  RecordProperty("bytes_per_entity", static_cast<int>(EntityTable::bytes_per_entity()));
  std::printf("bytes per entity %zu + name, per watcher %zu\n", EntityTable::bytes_per_entity(),
              InterestTable::kWatcherBytes);
  EXPECT_LE(EntityTable::bytes_per_entity(), 232u);
}

}  // namespace
}  // namespace tidegate::world::test
