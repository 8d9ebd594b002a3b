// SPDX-License-Identifier: Apache-2.0
// Which cells each connection of this shard watches, and which of the tick's chunks it gets. A
// watcher is a connection slot with a position and a radius; the cells it watches are those that
// touch its circle, with a margin before one is let go. Cells are shared: a table of watched cells
// with a count of watchers for each encoding subscribes to the owner once. No step walks pairs.
//
// Order of a tick: add/move/remove as messages come in; post_changes() before the shard's own
// SimulationDone (its requests are then answered in this tick's publications); store() for each
// publication; gather() for each watcher in the flush.
// Thread: shard (the connection's). Owner: Shard. Limits: watchers and watched cells as given at
// construction, kActiveCellsMax cells a watcher, kWatcherBytes a watcher.
#pragma once

#include <cstdint>

#include "mem/mapped_array.h"
#include "world/cell_key.h"
#include "world/flat_map.h"
#include "world/publication.h"
#include "world/world_config.h"

namespace tidegate::world {

inline constexpr uint32_t kActiveCellsMax = 64;
// Largest view distance in cells: the circle with its margin then touches at most 64 cells.
inline constexpr float kViewCellsMax = 3.2F;

enum class Encoding : uint8_t { kProtobuf = 0, kPacked = 1 };  // as in CLIENT_HELLO

// What the shard tells a cell's owner (mailbox SubscribeCell).
class InterestEvents {
 public:
  // Wanted encodings and Request bits of a cell. False when there is no room; it is repeated in
  // the next post_changes(). Nothing wanted and no request: the subscription ends.
  virtual bool interest_changed(base::ShardId owner, CellKey cell, bool packed_wanted,
                                bool protobuf_wanted, uint8_t requests) = 0;

 protected:
  ~InterestEvents() = default;
};

// Chunks for one watcher, in the order in which they must stand. The caller owns the array.
struct ChunkList {
  Chunk* items = nullptr;
  uint32_t capacity = 0;
  uint32_t count = 0;
  uint32_t bytes = 0;       // sum
  uint32_t entities = 0;    // sum
  bool overflowed = false;  // chunks were left out: the watcher must be resync()ed

  void clear() {
    count = bytes = entities = 0;
    overflowed = false;
  }
  void add(const Chunk& chunk) {
    if (count == capacity) {
      overflowed = true;
      return;
    }
    items[count++] = chunk;
    bytes += chunk.bytes;
    entities += chunk.entities;
  }
  void add(const ChunkSpan& span) {
    for (const Chunk& chunk : span) add(chunk);
  }
};

enum class Gathered : uint8_t {
  kFrames,  // `chunks` (may be empty) are to be sent
  kWorld,   // first set of a protobuf watcher: WORLD_STATE made of `world` goes before `chunks`
};

struct InterestCounters {
  uint64_t joins = 0, drops = 0, resyncs = 0, heals = 0;
  uint64_t cells_refused = 0;  // a join that found the table of watched cells full
  uint64_t publications = 0, publications_unwanted = 0;
};

class InterestTable {
 public:
  // `watchers`: connection slots of the shard; `cells`: watched cells, at most 65,535.
  InterestTable(const WorldConfig& config, uint32_t watchers, uint32_t cells);

  // view_distance in metres, cut to the configured one; 0 means the configured one. A protobuf
  // watcher's first gather with its own cell's answer gives the WORLD_STATE.
  void add(uint32_t watcher, Encoding encoding, float view_distance, const Steps3& position);
  void remove(uint32_t watcher);
  bool watching(uint32_t watcher) const { return watchers_[watcher].state != 0; }
  // Whether the cell is on the watcher's list.
  bool has(uint32_t watcher, CellKey cell) const;
  // New position of the watcher's entity: decides joins and drops.
  void move(uint32_t watcher, const Steps3& position);
  // New view distance, as for add().
  void set_view(uint32_t watcher, float view_distance, const Steps3& position);
  // Starts over with keyframes (and a WORLD_STATE): the list of its last gather overflowed, and
  // its client got only what stood in it.
  void resync(uint32_t watcher);
  // Sends one cell anew in the next tick: the client's image of it is not the owner's. False when
  // a packed watcher does not have the cell (any more).
  bool heal(uint32_t watcher, CellKey cell);

  // Tells owners what changed since the last call. Cost: cells with changes.
  void post_changes(InterestEvents& events);
  // Keeps a publication for this tick's gathers. Unwanted ones are ignored.
  void store(const Publication& publication);
  // Appends what the watcher gets in `tick`: deltas, then drops, then keyframes of joined cells.
  // `world` gets at most kChunkBytesMax bytes of WorldStateSnapshot fields.
  // Call once for each watcher in every tick that brought publications: membership changes as if
  // the chunks were sent.
  Gathered gather(uint32_t watcher, uint32_t tick, ChunkList& chunks, ChunkList& world);

  // Cells whose chunks the watcher has received, unordered; for tests and the inspector.
  uint32_t active_cells(uint32_t watcher, CellKey (&out)[kActiveCellsMax]) const;
  uint32_t watched_cell_count() const { return cell_of_.count(); }
  const InterestCounters& counters() const { return counters_; }
  size_t bytes() const;
  static constexpr size_t kWatcherBytes = 168;

 private:
  struct Watcher {
    uint16_t cells[kActiveCellsMax];  // indices of watched cells, the first `count` are valid
    uint64_t joining;                 // bit i: no keyframe of cells[i] was gathered yet
    uint64_t dropping;                // bit i: to be let go with this tick's chunks
    uint64_t healing;                 // bit i: a keyframe is due although the client has the cell
    int32_t x, z;                     // steps, where the cells were last decided
    uint16_t view_steps;              // radius, steps
    uint8_t count;
    uint8_t state;  // WatcherBit
  };
  static_assert(sizeof(Watcher) <= kWatcherBytes, "part of 1 KiB for a connection in all");
  enum WatcherBit : uint8_t {
    kInUse = 1,
    kIsPacked = 2,
    kWorldDue = 4,  // protobuf: WORLD_STATE comes first
    kStale = 8,     // resync: the client holds cells that are joining again
  };

  struct WatchedCell {
    CellKey key;
    uint32_t watchers[2];  // by Encoding
    uint8_t requests;      // Request bits for the next post_changes()
    uint8_t queued;        // 1: in changed_
    uint8_t posted;        // bit e: the owner was told that encoding e is wanted
    uint8_t unused;
    uint32_t next_free;  // index + 1; 0: none
  };

  static constexpr uint32_t kNoCell = UINT32_MAX;
  uint32_t watch(CellKey key, Encoding encoding);  // kNoCell: the table is full
  void unwatch(uint32_t cell, Encoding encoding);
  void request(uint32_t cell, uint8_t requests);
  static uint8_t join_requests(const Watcher& w);
  void mark_changed(uint32_t cell);
  void decide(Watcher& w, const Steps3& position);
  void forget(Watcher& w, uint32_t i);
  bool watches_fully(const Watcher& w, CellKey key) const;
  void add_crossings(const Watcher& w, const Publication& p, ChunkList& chunks) const;
  void gather_world(Watcher& w, uint32_t tick, ChunkList& chunks, ChunkList& world);
  const Publication* published(uint32_t cell, uint32_t tick) const;

  WorldScale scale_;
  float view_metres_;
  CellKey cell_min_, cell_max_;  // of the bounds
  mem::MappedArray<Watcher> watchers_;
  mem::MappedArray<WatchedCell> cells_;
  mem::MappedArray<Publication> publications_;  // of cells_, valid when live and tick agree
  mem::MappedArray<uint16_t> changed_;
  uint32_t changed_count_ = 0;
  uint32_t free_cells_ = 0;
  uint32_t cells_used_ = 0;
  CellMap cell_of_;  // packed key -> index in cells_
  InterestCounters counters_;
};

}  // namespace tidegate::world
