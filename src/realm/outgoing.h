// SPDX-License-Identifier: Apache-2.0
// What a shard says of its own entities to other gateways: new ones and those that left at once to
// all peers, motion to those that watch the place, and all of each entity again at intervals, which
// also tells gateways that do not watch where it is about.
//
// Kept for each entity is what was last said and which gateways have heard it; who has not is told.
// A gateway that lost its memory, one that begins to watch, and a batch that found no room are all
// the same: bits that are not set.
//
// Thread: shard. Owner: shard::Realm. Limits: OutgoingConfig; all memory at construction.
#pragma once

#include <cstdint>

#include "mem/mapped_array.h"
#include "realm/areas.h"
#include "realm/batch.h"
#include "world/entity_table.h"

namespace tidegate::realm {

struct OutgoingConfig {
  uint32_t entities = 0;       // of the slice
  uint32_t refresh_runs = 40;  // runs until each entity was said whole again
  uint32_t batch_bytes = 12 * 1024;
  uint32_t run_bytes = 256 * 1024;  // of one run; the rest waits for the next
};

class BatchSink {
 public:
  // False: no room; it is said again.
  virtual bool send(uint64_t gateways, base::Bytes batch) = 0;

 protected:
  ~BatchSink() = default;
};

struct OutgoingCounters {
  uint64_t states = 0, wholes = 0, gone = 0;  // records
  uint64_t batches = 0, bytes = 0, refused = 0;
};

class Outgoing {
 public:
  explicit Outgoing(const OutgoingConfig& config);

  // An own entity left the world.
  void note_gone(base::EntityId id, uint32_t stamp);
  // The gateways of `mask` know nothing any more.
  void forget(uint64_t mask);
  void run(const Head& head, uint64_t peers, const Areas& areas, const world::EntityTable& entities,
           const world::WorldScale& scale, BatchSink& sink);

  const OutgoingCounters& counters() const { return counters_; }
  size_t bytes() const { return told_.bytes() + gone_.bytes() + room_.bytes(); }

 private:
  struct Told {
    uint64_t known;    // gateways that have all of it
    uint64_t current;  // gateways that have the state below
    State state;
    uint32_t id;  // 0: nothing was said
    uint32_t stamp;
    uint32_t custom;  // hash
  };
  struct Gone {
    uint32_t id, stamp;
  };
  static constexpr uint32_t kOpen = 6;  // batches that are filled at once, by who gets them
  static constexpr uint32_t kGoneMax = 4096;
  struct Open {
    uint64_t gateways = 0;
    BatchWriter writer{base::MutableBytes{}};
  };

  bool put(uint64_t gateways, const Record& record);
  void flush(Open& open);
  void tell(world::EntitySlot s, uint64_t peers, const Areas& areas,
            const world::EntityTable& entities, const world::WorldScale& scale);

  OutgoingConfig config_;
  mem::MappedArray<Told> told_;
  mem::MappedArray<Gone> gone_;
  uint32_t gone_count_ = 0;
  mem::MappedArray<uint8_t> room_;
  Open open_[kOpen];
  uint32_t open_count_ = 0;
  Head head_;
  BatchSink* sink_ = nullptr;  // during run()
  uint64_t failed_ = 0;        // gateways that a batch found no room for, in this run
  uint64_t run_bytes_ = 0;
  uint32_t runs_ = 0;
  uint32_t next_ = 0;  // the slot that comes first
  OutgoingCounters counters_;
};

}  // namespace tidegate::realm
