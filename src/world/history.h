// SPDX-License-Identifier: Apache-2.0
// Where every entity of the slice was in the last ticks: the base of lag compensation and of
// checks against the past. A row for each tick, and in it a column for each field, by entity slot:
// recording a tick writes one row from end to end, and a search around a point at some time reads
// one or two rows. Times are ticks with a fraction; between two samples positions and yaw are
// interpolated, flags are those of the earlier one.
// An entity's past begins when it comes into the world and moves with it to another slice
// (samples(), import()); when it leaves, its past goes too.
// Thread: shard. Owner: WorldSlice. Limits: `entities` slots, `depth` ticks, all memory at
// construction: depth_for() fits the depth into a cap. Depth 0: nothing is kept.
#pragma once

#include <cstdint>
#include <span>

#include "mem/mapped_array.h"
#include "world/entity_table.h"

namespace tidegate::world {

// A point in time between ticks.
struct TickTime {
  uint32_t tick = 0;
  uint16_t fraction = 0;  // 1/65536 tick after it
};

// Crosses mailboxes by value.
struct HistorySample {
  Steps3 position;
  uint32_t flags;
  uint8_t yaw;
  uint8_t unused[3];
};
static_assert(sizeof(HistorySample) == 20, "64 of them travel with an entity");

class History {
 public:
  // Bytes of one sample in the rows.
  static constexpr size_t kSampleBytes = 3 * sizeof(int32_t) + sizeof(uint32_t) + sizeof(uint8_t);
  static constexpr uint32_t kDepthMax = 4096;
  // Samples that travel with an entity: a second at 60 Hz.
  static constexpr uint32_t kTravelMax = 64;

  // Ticks that fit into `bytes` for so many entities, at most `wanted`; less than 2 is none at all.
  static uint32_t depth_for(uint32_t entities, uint32_t wanted, uint64_t bytes);

  History(uint32_t entities, uint32_t depth);

  // The entity came into the slot without a past; its first sample is the next recorded tick's.
  void begin(EntitySlot s);
  // It left the slot.
  void end(EntitySlot s) {
    if (depth_ != 0) first_[s] = kAbsent;
  }
  // State of all entities at the end of `tick`. Ticks follow each other; a gap forgets what was
  // before it. Cost: one pass over the slots ever used.
  void record(uint32_t tick, const EntityTable& entities);

  // Where it was. False when the time is not covered by its samples.
  bool at(EntitySlot s, TickTime time, HistorySample* out) const;
  // Calls visit(slot, sample) for each entity whose distance from `centre` was at most `radius`
  // steps at that time. Entities without a sample at that time are left out.
  template <class Visit>
  void within(const Steps3& centre, uint32_t radius, TickTime time, Visit&& visit) const {
    if (depth_ == 0) return;
    const int64_t limit = int64_t{radius} * radius;
    HistorySample sample;
    for (EntitySlot s = 0; s < used_; ++s) {
      if (!at(s, time, &sample)) continue;
      int64_t sum = 0;
      for (size_t i = 0; i < 3; ++i) {
        const int64_t d = int64_t{sample.position[i]} - centre[i];
        sum += d * d;
      }
      if (sum <= limit) visit(s, sample);
    }
  }

  // The newest samples of an entity up to `tick`, oldest first; returns how many.
  uint32_t samples(EntitySlot s, uint32_t tick, std::span<HistorySample> out) const;
  // The past of an entity that came from another slice: samples of the ticks up to `tick`, oldest
  // first. `tick` may be the one that is recorded next.
  void import(EntitySlot s, uint32_t tick, std::span<const HistorySample> samples);

  uint32_t depth() const { return depth_; }
  uint32_t newest() const { return newest_; }  // 0: nothing recorded
  size_t bytes() const;

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;

  size_t row(uint32_t tick) const { return size_t{tick % depth_} * slots_; }
  void load(EntitySlot s, uint32_t tick, HistorySample* out) const;
  void store(EntitySlot s, uint32_t tick, const HistorySample& sample);
  // Oldest tick with a sample of the entity; above newest_ when there is none.
  uint32_t oldest(EntitySlot s) const;

  uint32_t slots_;
  uint32_t depth_;
  uint32_t used_ = 0;                    // slots that ever had a sample
  uint32_t newest_ = 0;                  // last recorded tick
  uint32_t start_ = 1;                   // first tick since the last gap
  mem::MappedArray<uint32_t> first_;     // by slot: tick of its first sample; kAbsent: no entity
  mem::MappedArray<int32_t> x_, y_, z_;  // depth_ rows of slots_
  mem::MappedArray<uint32_t> flags_;
  mem::MappedArray<uint8_t> yaw_;
};

}  // namespace tidegate::world
