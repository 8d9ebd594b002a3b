// SPDX-License-Identifier: Apache-2.0
// Several slices and interest tables on one thread, exchanging messages through the barrier that
// shards keep: simulate on all, arrivals, encode on all, flush on all. Order within a phase and
// the way of inputs are drawn from a seed.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "client_model.h"
#include "wire/quantise.h"
#include "world/interest.h"
#include "world/world_slice.h"

namespace tidegate::world::test {

struct Options {
  WorldConfig config;
  uint64_t seed = 1;
  size_t arena_bytes = 0;       // 0: the usual size
  bool strict = true;           // clients expect each spawn and despawn exactly once
  double transfer_refused = 0;  // share of hand-overs that find no room
  double moved_refused = 0;
  bool budgets = false;                  // as configured
  bool levels = false;                   // far cells at lower rates
  uint64_t keyframe_bytes = UINT64_MAX;  // of a flush, for those who join
  uint8_t ceiling = kFullLevel;          // may be changed between steps
  double cell_moves = 0;                 // chance that a slice gives cells away, in each tick
  bool inputs_wander = false;            // inputs go to the owner as the client last heard of it
};

struct Walker {  // an entity's client: where it is held to be
  std::string name;
  EntityId id;
  uint32_t shard = 0;  // connection's shard
  uint32_t slot = 0;   // connection slot there, also the watcher's
  ShardId owner;
  Steps3 position{};  // as last answered
  Steps3 wish{};      // as last sent
  uint32_t client_tick = 0;
  uint32_t since = 0;          // tick in which it came
  uint32_t link = UINT32_MAX;  // bytes that its client takes in a tick
  uint32_t sent = 0, waiting = 0, waiting_most = 0;
  uint32_t rested = 0;  // ticks that had nothing for its client, as was foreseen
  bool ended = false;   // its budget said so
  bool connected = true;
  bool gone = false;
  uint32_t chunks_max = 2048;           // of one tick; what is beyond them is lost
  std::unique_ptr<ClientModel> client;  // null: watches nothing
  Encoding encoding = Encoding::kPacked;
  uint32_t answers = 0, corrections = 0;
  MoveResult last{};
};

class Harness : public SliceEvents, public InterestEvents, public PublicationSink {
 public:
  explicit Harness(const Options& given) : options_(given), prng_(given.seed) {
    Options& options = options_;
    // Pictures equal the truth in every tick only where every cell is sent at full rate.
    if (!options.levels) {
      WorldConfig& c = options.config;
      c.full_rate_distance = c.half_rate_distance = c.quarter_rate_distance = 1000.0F;
    }
    // Clients can be sent all that there is, but in tests of budgets.
    if (!options.budgets) {
      BudgetConfig& budget = options.config.budget;
      budget.bytes_per_second = budget.bytes_per_second_max = 2'000'000'000;
      budget.queue_bytes = 1'000'000'000;
    }
    const uint32_t shards = options.config.shard_count;
    for (uint32_t s = 0; s < shards; ++s) {
      const ShardId self{static_cast<uint16_t>(s)};
      slices_.push_back(
          options.arena_bytes == 0
              ? std::make_unique<WorldSlice>(options.config, self)
              : std::make_unique<WorldSlice>(options.config, self, options.arena_bytes));
      interests_.push_back(std::make_unique<InterestTable>(options.config, 4096, 4096));
      interests_[s]->set_owners(&slices_[s]->owners());
    }
    published_.resize(shards);
    next_slot_.resize(shards);
  }

  uint32_t shards() const { return static_cast<uint32_t>(slices_.size()); }
  WorldSlice& slice(uint32_t s) { return *slices_[s]; }
  InterestTable& interest(uint32_t s) { return *interests_[s]; }
  WorldSlice& owner_slice(const Steps3& p) {
    return *slices_[slices_[0]->owner_of_position(p).value];
  }
  base::Prng& prng() { return prng_; }
  Options& options() { return options_; }

  // Index of the new walker. `watches`: it also has a client.
  uint32_t add(const Steps3& position, bool watches, Encoding encoding, float view = 0,
               EntityKind kind = EntityKind::kPlayer) {
    Walker w;
    w.name = "walker-" + std::to_string(walkers.size());
    if (walkers.size() % 3 == 0) w.name += "-with-a-name-much-longer-than-the-others";
    w.id = {static_cast<uint32_t>(walkers.size() + 1)};
    w.shard = static_cast<uint32_t>(walkers.size()) % shards();
    w.slot = next_slot_[w.shard]++;
    w.position = w.wish = position;
    w.since = tick;
    w.owner = slices_[0]->owner_of_position(position);
    w.encoding = encoding;
    SpawnSpec spec;
    spec.player_id = w.name;
    spec.kind = kind;
    spec.position = position;
    spec.connection_shard = {static_cast<uint16_t>(w.shard)};
    spec.connection = {w.slot, 1};
    EXPECT_EQ(owner_slice(position).spawn(w.id, spec, tick), SpawnStatus::kOk);
    if (watches) {
      w.client = std::make_unique<ClientModel>(encoding == Encoding::kPacked, options_.strict);
      interests_[w.shard]->add(w.slot, encoding, view, position);
    }
    walkers.push_back(std::move(w));
    return static_cast<uint32_t>(walkers.size() - 1);
  }
  // An input to `wish`; yaw, velocity and flags follow from the numbers.
  void send(Walker& w, const Steps3& wish, uint8_t yaw = 0, uint32_t flags = 0) {
    w.wish = wish;
    Input input{};
    input.position = wish;
    input.client_tick = ++w.client_tick;
    input.yaw = yaw;
    input.flags = flags;
    input.velocity[0] = static_cast<int16_t>(yaw * 3);
    input.has = Input::kPosition | Input::kYaw | Input::kVelocity;
    pending_.push_back({w.id, w.owner, input});
  }
  void disconnect(Walker& w) {
    w.connected = false;
    if (w.client) interests_[w.shard]->remove(w.slot);
    w.client.reset();
    route(w, [&](WorldSlice& slice) {
      return slice.detach(w.id, {static_cast<uint16_t>(w.shard)}, {w.slot, 1}, tick);
    });
  }
  template <class Call>
  Queued route(const Walker& w, Call&& call) {
    ShardId at = w.owner;
    for (int hops = 0; hops < 16; ++hops) {
      const Queued q = call(*slices_[at.value]);
      if (q.status != QueueStatus::kForward) return q;
      at = q.to;
    }
    ADD_FAILURE() << "forwarded without end";
    return {QueueStatus::kUnknown, {}};
  }

  void step() {
    deliver_inputs();
    for (uint32_t i : moved_) {
      const Walker& w = walkers[i];
      if (w.client) interests_[w.shard]->move(w.slot, w.position);
    }
    moved_.clear();
    for (posting_ = 0; posting_ < shards(); ++posting_) interests_[posting_]->post_changes(*this);
    for (uint32_t s : shuffled()) {
      // Some hand-overs reach their slice before it has simulated, some after.
      if (prng_.chance(0.5)) deliver_transfers(s);
      current_ = s;
      slices_[s]->simulate(tick, *this);
    }
    for (uint32_t s : shuffled()) deliver_transfers(s);
    transfers_.clear();
    for (uint32_t s : shuffled()) {
      slices_[s]->encode(tick, 1'700'000'000'000 + tick * 16, *this);
      if (options_.cell_moves > 0) give_cells(s);
    }
    for (uint32_t s = 0; s < shards(); ++s) {
      for (const Publication& p : published_[s]) interests_[s]->store(p);
    }
    for (uint32_t s = 0; s < shards(); ++s) {  // as a shard does: not when nobody is gathered
      if (published_[s].empty() && interests_[s]->limited_count() == 0) continue;
      interests_[s]->begin_flush(options_.keyframe_bytes, INT64_MAX, options_.ceiling);
    }
    for (Walker& w : walkers) {
      if (w.client == nullptr || w.ended) continue;
      const uint32_t taken = std::min(w.waiting, w.link);
      w.waiting -= taken;
      w.sent += taken;
      if (published_[w.shard].empty() && interests_[w.shard]->limited_count() == 0) continue;
      const bool rests = w.waiting == 0 && interests_[w.shard]->rests(w.slot, tick);
      w.rested += rests;
      if (rests && w.slot % 2 == 0) continue;  // as a shard does; the others show that it may
      if (interests_[w.shard]->update_budget(w.slot, {tick * 16, w.sent, w.waiting}) ==
          Rung::kEnd) {
        w.ended = true;
        continue;
      }
      ChunkList chunks{chunks_, w.chunks_max}, world{world_chunks_, 2048};
      const Gathered gathered = interests_[w.shard]->gather(w.slot, tick, chunks, world);
      if (rests) {
        ASSERT_EQ(chunks.count + world.count, 0u);
      }
      if (chunks.overflowed) {
        ASSERT_LT(w.chunks_max, 2048u);
        interests_[w.shard]->resync(w.slot);
      }
      ASSERT_FALSE(world.overflowed);
      ASSERT_LE(world.bytes, kChunkBytesMax);
      if (gathered == Gathered::kWorld) w.client->take_world(world);
      w.client->take(chunks, tick);
      for (uint32_t c = 0; c < chunks.count; ++c) {
        for (uint32_t b = 0; b < chunks.items[c].bytes; ++b) {
          chunks_hash = (chunks_hash ^ chunks.items[c].data[b]) * 0x100000001b3u;
        }
      }
      w.waiting += chunks.bytes + world.bytes;
      w.waiting_most = std::max(w.waiting_most, w.waiting);
      if (w.waiting <= w.link) {  // all of it leaves at once
        w.sent += w.waiting;
        w.waiting = 0;
      }
      bytes_sent += chunks.bytes + world.bytes;
      entities_sent += chunks.entities + world.entities;
    }
    for (auto& list : published_) list.clear();
    if (options_.levels) record_truth();
    ++tick;
  }

  // With levels: every packed image is the cell as it was at the end of the image's tick, none is
  // older than a period, and who is in view is exact in protobuf.
  void check_levels() {
    for (const Walker& w : walkers) {
      if (!w.client || w.ended) continue;
      // A protobuf client that is too slow gets nothing until a new WORLD_STATE.
      const Rung rung = interests_[w.shard]->rung(w.slot);
      if (w.encoding == Encoding::kProtobuf && rung != Rung::kAll) continue;
      CellKey cells[kActiveCellsMax];
      const uint32_t n = interests_[w.shard]->active_cells(w.slot, cells);
      size_t expected = 0;
      for (uint32_t i = 0; i < n; ++i) {
        const WorldSlice& slice = *slices_[slices_[0]->owners().owner(cells[i]).value];
        const uint32_t c = slice.cells().find(cells[i]);
        if (c != kNone) expected += slice.cells().cell(c).members;
        if (w.encoding == Encoding::kPacked) check_image(w, cells[i]);
      }
      if (w.encoding == Encoding::kProtobuf) {
        ASSERT_EQ(w.client->seen.size(), expected) << w.name;
      }
    }
  }

  // Every client's picture against what the owners hold; one owner for each entity.
  void check() {
    size_t owned = 0;
    for (auto& slice : slices_) owned += slice->entities().count();
    size_t alive = 0;
    for (const Walker& w : walkers) alive += w.gone ? 0 : 1;
    ASSERT_EQ(owned, alive);
    for (const Walker& w : walkers) {
      uint32_t owners = 0;
      for (auto& slice : slices_) owners += slice->entities().find(w.id) != kNoEntity;
      ASSERT_EQ(owners, w.gone ? 0u : 1u) << w.name;
      if (w.client) check_client(w);
    }
  }
  void check_client(const Walker& w) {
    CellKey cells[kActiveCellsMax];
    const uint32_t n = interests_[w.shard]->active_cells(w.slot, cells);
    // A packed watcher begins at the anchors of its cells.
    if (n == 0 && w.encoding == Encoding::kPacked && tick - w.since <= kLayerPeriod) return;
    ASSERT_GT(n, 0u);
    size_t expected = 0;
    for (uint32_t i = 0; i < n; ++i) {
      WorldSlice& slice = *slices_[slices_[0]->owners().owner(cells[i]).value];
      const uint32_t c = slice.cells().find(cells[i]);
      if (w.encoding == Encoding::kPacked) {
        ASSERT_EQ(w.client->images.count(cells[i]), 1u);
        const wire::CellImage& image = w.client->images.at(cells[i]);
        ASSERT_TRUE(image.has_frame());
        ASSERT_EQ(image.count(), c == kNone ? 0 : slice.cells().cell(c).members);
      }
      if (c == kNone) continue;
      slice.cells().for_each_member(slice.cells().cell(c), [&](uint16_t slot, EntitySlot s) {
        ++expected;
        check_entity(w, cells[i], slot, slice, s);
      });
    }
    if (w.encoding == Encoding::kPacked) {
      ASSERT_EQ(w.client->images.size(), n);
    } else {
      ASSERT_EQ(w.client->seen.size(), expected) << w.name;
    }
  }

  // Moves a cell to another slice, behind the encode of its owner. False: not now.
  bool move_cell(CellKey key, ShardId to) {
    WorldSlice& from = *slices_[slices_[0]->owners().owner(key).value];
    if (!from.may_give(key, to, tick)) return false;
    const base::Bytes bytes = from.give_cell(key, to, tick);
    EXPECT_TRUE(slices_[to.value]->take_cell(key, bytes, tick));
    for (auto& other : slices_) other->note_owner(key, to);
    ++cells_moved;
    return true;
  }

  uint64_t state_hash() const {
    uint64_t sum = 0;
    for (const auto& slice : slices_) sum += slice->state_hash();
    return sum;
  }

  std::vector<Walker> walkers;
  uint32_t tick = 1;
  uint64_t bytes_sent = 0, entities_sent = 0, moved_calls = 0, cells_moved = 0, chunks_hash = 0;
  std::vector<std::pair<std::string, Steps3>> gone_list;

  // SliceEvents, InterestEvents, PublicationSink
  bool moved(ShardId shard, ConnectionRef connection, const MoveResult& result) override {
    if (prng_.chance(options_.moved_refused)) return false;
    ++moved_calls;
    Walker& w = walkers[result.entity.value - 1];
    EXPECT_EQ(w.shard, shard.value);
    EXPECT_EQ(w.slot, connection.slot);
    w.owner = result.owner;
    w.position = result.position;
    w.last = result;
    if (result.acknowledges) ++w.answers;
    if (result.corrected) ++w.corrections;
    moved_.push_back(result.entity.value - 1);
    return true;
  }
  bool transfer(ShardId to, base::Bytes entity) override {
    EXPECT_NE(to.value, current_);
    if (prng_.chance(options_.transfer_refused)) return false;
    transfers_.push_back({to.value, {entity.begin(), entity.end()}});
    return true;
  }
  bool gone(EntityId id, std::string_view name, const Steps3& position) override {
    Walker& w = walkers[id.value - 1];
    EXPECT_EQ(w.name, name);
    w.gone = true;
    gone_list.emplace_back(std::string(name), position);
    return true;
  }
  bool interest_changed(ShardId owner, CellKey cell, uint8_t packed, uint8_t protobuf,
                        uint8_t requests) override {
    EXPECT_TRUE(slices_[owner.value]->subscribe({static_cast<uint16_t>(posting_)}, cell, packed,
                                                protobuf, requests));
    return true;
  }
  void publish(ShardId reader, const Publication& p) override {
    EXPECT_EQ(p.tick, tick);
    published_[reader.value].push_back(p);
  }

 private:
  struct PendingInput {
    EntityId entity;
    ShardId to;
    Input input;
  };
  struct PendingTransfer {
    uint32_t to;
    std::vector<uint8_t> bytes;
  };

  std::vector<uint32_t> shuffled() {
    std::vector<uint32_t> order(shards());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[prng_.below(i)]);
    return order;
  }
  void deliver_inputs() {
    for (PendingInput& p : pending_) {
      const Walker& w = walkers[p.entity.value - 1];
      ShardId at = options_.inputs_wander ? p.to : w.owner;
      for (int hops = 0; hops < 16; ++hops) {
        const Queued q = slices_[at.value]->queue_input(p.entity, p.input);
        if (q.status != QueueStatus::kForward) break;
        at = q.to;
      }
    }
    pending_.clear();
  }
  // The receiver may have encoded this tick or not; some cells go back and forth, some are empty.
  void give_cells(uint32_t from) {
    if (!prng_.chance(options_.cell_moves)) return;
    for (uint32_t n = static_cast<uint32_t>(prng_.below(4)); n > 0; --n) {
      const Walker& w = walkers[prng_.below(walkers.size())];
      CellKey key = slices_[0]->scale().cell_of(w.position);
      if (prng_.chance(0.2)) key.x = static_cast<int16_t>(key.x + prng_.between(-2, 2));
      if (slices_[0]->owners().owner(key).value != from) continue;
      move_cell(key, {static_cast<uint16_t>(prng_.below(shards()))});
    }
    slices_[from]->end_giving();
  }
  void deliver_transfers(uint32_t to) {
    for (PendingTransfer& t : transfers_) {
      if (t.to != to || t.bytes.empty()) continue;
      EXPECT_TRUE(slices_[to]->arrive({t.bytes.data(), t.bytes.size()}, tick, *this).valid());
      t.bytes.clear();
    }
  }
  void check_entity(const Walker& w, CellKey key, uint16_t slot, WorldSlice& slice, EntitySlot s) {
    const EntityTable& table = slice.entities();
    const Image& image = table.image(s);
    // After an encode `base` is what watchers are shown; it differs from the position only while
    // an entity waits to be handed over.
    const int32_t step = slice.scale().cell_steps;
    Steps3 shown = image.position;
    shown[0] = std::clamp(shown[0], key.x * step, key.x * step + step - 1);
    shown[2] = std::clamp(shown[2], key.z * step, key.z * step + step - 1);
    if (w.encoding == Encoding::kPacked) {
      const auto& slots = w.client->images.at(key).slots();
      ASSERT_LT(slot, slots.size());
      const wire::CellImage::Member& m = slots[slot];
      ASSERT_TRUE(m.live);
      ASSERT_EQ(m.id, table.id(s).value);
      ASSERT_EQ(m.name, table.player_id(s));
      ASSERT_EQ(m.x, shown[0] - key.x * step);
      ASSERT_EQ(m.y, shown[1]);
      ASSERT_EQ(m.z, shown[2] - key.z * step);
      ASSERT_EQ(m.yaw, image.yaw);
      ASSERT_EQ(m.flags, image.flags);
      ASSERT_EQ(m.kind, static_cast<uint8_t>(image.kind));
      return;
    }
    const auto found = w.client->seen.find(table.player_id(s));
    ASSERT_NE(found, w.client->seen.end()) << w.name << " misses " << table.player_id(s);
    const float unit = slice.scale().metres_per_step;
    ASSERT_EQ(found->second.position.x, wire::to_metres(shown[0], unit));
    ASSERT_EQ(found->second.position.y, wire::to_metres(shown[1], unit));
    ASSERT_EQ(found->second.position.z, wire::to_metres(shown[2], unit));
    ASSERT_EQ(found->second.rotation.y, wire::from_yaw(image.yaw).y);
    ASSERT_EQ(found->second.velocity.x, wire::from_velocity(image.velocity[0]));
    ASSERT_EQ(found->second.flags, image.flags);
    ASSERT_EQ(found->second.kind, static_cast<uint32_t>(image.kind));
    const uint8_t untold = image.changed | image.changed_half | image.changed_anchor;
    if (!table.has_custom() || (untold & kChangedCustom) != 0) return;  // told with the next frame
    ASSERT_EQ(found->second.custom, base::as_text(table.custom(s).state())) << table.player_id(s);
  }

  void record_truth() {
    for (auto& past : truth_) {
      std::rotate(past.second.rbegin(), past.second.rbegin() + 1, past.second.rend());
      past.second[0] = wire::CellChecksum().value();
    }
    for (const auto& slice : slices_) {
      std::map<CellKey, bool> done;
      for (EntitySlot s = 0; s < slice->entities().high_water(); ++s) {
        if (!slice->entities().live(s)) continue;
        const uint32_t c = slice->entities().membership(s).cell;
        if (c == kNone || !done.emplace(slice->cells().cell(c).key, true).second) continue;
        record_truth(*slice, slice->cells().cell(c));
      }
    }
  }
  void record_truth(const WorldSlice& slice, const Cell& cell) {
    const int32_t step = slice.scale().cell_steps;
    wire::CellChecksum sum;
    slice.cells().for_each_member(cell, [&](uint16_t slot, EntitySlot s) {
      const Image& image = slice.entities().image(s);
      const int32_t x = cell.key.x * step;
      const int32_t z = cell.key.z * step;
      sum.add(slot, static_cast<uint8_t>(image.kind), image.yaw, slice.entities().id(s).value,
              std::clamp(image.position[0], x, x + step - 1) - x, image.position[1],
              std::clamp(image.position[2], z, z + step - 1) - z, image.flags);
    });
    auto [at, fresh] = truth_.try_emplace(cell.key);
    if (fresh) at->second.assign(2 * kLayerPeriod, wire::CellChecksum().value());
    at->second[0] = sum.value();
  }
  void check_image(const Walker& w, CellKey key) {
    ASSERT_EQ(w.client->images.count(key), 1u);
    const wire::CellImage& image = w.client->images.at(key);
    ASSERT_TRUE(image.has_frame());
    const auto past = truth_.find(key);
    if (past == truth_.end()) {
      ASSERT_EQ(image.count(), 0u);
      return;
    }
    const uint32_t age = tick - 1 - image.header().tick;
    if (age < past->second.size()) {
      ASSERT_EQ(image.checksum(), past->second[age])
          << w.name << " cell " << key.x << "," << key.z << " tick " << image.header().tick;
    }
    const auto end = past->second.begin() + kLayerPeriod;
    ASSERT_NE(std::find(past->second.begin(), end, image.checksum()), end)
        << w.name << " cell " << key.x << "," << key.z << " is old";
  }

  Options options_;
  std::map<CellKey, std::vector<uint64_t>> truth_;  // checksums of the last ticks, newest first
  base::Prng prng_;
  uint32_t current_ = UINT32_MAX;  // shard that simulates
  uint32_t posting_ = 0;           // shard whose post_changes() runs
  std::vector<std::unique_ptr<WorldSlice>> slices_;
  std::vector<std::unique_ptr<InterestTable>> interests_;
  std::vector<std::vector<Publication>> published_;  // by reader
  std::vector<uint32_t> next_slot_;
  std::vector<PendingInput> pending_;
  std::vector<PendingTransfer> transfers_;
  std::vector<uint32_t> moved_;  // walkers
  Chunk chunks_[2048];
  Chunk world_chunks_[2048];
};

}  // namespace tidegate::world::test
