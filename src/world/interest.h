// SPDX-License-Identifier: Apache-2.0
// Which cells each connection of this shard watches, and which of the tick's chunks it gets. A
// watcher is a connection slot with a position and a radius; the cells it watches are those that
// touch its circle, with a margin before one is let go. Cells are shared: a table of watched cells
// with a count of watchers for each encoding and level subscribes to the owner once. No step walks
// pairs.
//
// A watcher has a level in each cell, by distance with a margin: full rate near, then half, a
// quarter and an eighth. Fewer layers need nothing; the chain of a packed cell begins with tracks
// (of very many members: a keyframe), at an anchor; until then its watcher goes on with the layers.
//
// A watcher has a budget (budget.h). When a tick's frames do not fit it, cells are taken by
// priority, which rises while they wait: a frame of layer 1 or 2 is left out, a chain is left for
// the layers, and a cell whose layer 0 must be left out is stale: it begins again with a keyframe,
// at the latest a second later. What is left over a whole second long costs the farthest cell.
//
// Order of a tick: add/move/remove as messages come in; post_changes() before the shard's own
// SimulationDone (its requests are then answered in this tick's publications); store() for each
// publication; gather() for each watcher in the flush.
// Thread: shard (the connection's). Owner: Shard. Limits: watchers and watched cells as given at
// construction, kActiveCellsMax cells a watcher, kWatcherBytes a watcher.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "mem/mapped_array.h"
#include "world/budget.h"
#include "world/cell_key.h"
#include "world/flat_map.h"
#include "world/layers.h"
#include "world/owner_map.h"
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
  // Levels of the cell's watchers as bits (layers.h), for each encoding, and Request bits. False
  // when there is no room; it is repeated in the next post_changes(). No level and no request: the
  // subscription ends.
  virtual bool interest_changed(base::ShardId owner, CellKey cell, uint8_t packed_levels,
                                uint8_t protobuf_levels, uint8_t requests) = 0;

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
  uint64_t levels_raised = 0, levels_lowered = 0;
  uint64_t frames_left_out = 0;                // by budget: of cells that a watcher has
  uint64_t keyframes_put_off = 0;              // by begin_flush()
  uint64_t cells_stale = 0;                    // layer 0 was left out
  uint64_t views_shrunk = 0, views_grown = 0;  // because of a crowd
  uint64_t cells_cut = 0;  // times that the farthest cells were dropped for want of budget
  uint64_t rungs[static_cast<uint32_t>(Rung::kCount)] = {};  // times that a watcher went down to it
};

class InterestTable {
 public:
  // `watchers`: connection slots of the shard; `cells`: watched cells, at most 65,535.
  InterestTable(const WorldConfig& config, uint32_t watchers, uint32_t cells);

  // Where cells' owners are looked up; without, the rule holds. It outlives the table.
  void set_owners(const OwnerMap* owners) { owners_ = owners; }

  // view_distance in metres, cut to the configured one; 0 means the configured one. A protobuf
  // watcher's first gather with its own cell's answer gives the WORLD_STATE. `budget`: bytes a
  // second, 0: the configured budget.
  void add(uint32_t watcher, Encoding encoding, float view_distance, const Steps3& position,
           uint32_t budget = 0);
  void remove(uint32_t watcher);
  bool watching(uint32_t watcher) const { return watchers_[watcher].state != 0; }
  // Whether its chunks are cell frames, which need the head of a CELL_FRAME in front.
  bool packed(uint32_t watcher) const { return (watchers_[watcher].state & kIsPacked) != 0; }
  // Whether the cell is on the watcher's list.
  bool has(uint32_t watcher, CellKey cell) const;
  // Whether the watcher gets every change of the cell, in each tick.
  bool follows(uint32_t watcher, CellKey cell) const;
  // New position of the watcher's entity: decides joins and drops.
  void move(uint32_t watcher, const Steps3& position);
  // New view distance, as for add().
  void set_view(uint32_t watcher, float view_distance, const Steps3& position);
  // Starts over with keyframes (and a WORLD_STATE): the list of its last gather overflowed, and
  // its client got only what stood in it.
  void resync(uint32_t watcher);
  // After add(), of a client that has these cells (x, z of each) from another process: they begin
  // again with a keyframe (protobuf: a WORLD_STATE), and what is too far away is dropped.
  void restore_cells(uint32_t watcher, std::span<const int16_t> cells, const Steps3& position);
  // Sends one cell anew in the next tick: the client's image of it is not the owner's. False when
  // a packed watcher does not have the cell (any more).
  bool heal(uint32_t watcher, CellKey cell);

  // Before the gathers of a tick. `keyframe_bytes`: what keyframes of those who join a cell or take
  // up a chain may take in all; as soon as that is passed the others wait for a later anchor.
  // `queued_bytes`: what may be added in all to queues that are not empty. `ceiling`: the highest
  // level of any watcher, as in load_governor.h.
  void begin_flush(uint64_t keyframe_bytes, uint64_t queued_bytes, uint8_t ceiling);
  // From now on, in the same flush: less than that may be allowed in all, not more.
  void limit_keyframes(uint64_t bytes) { keyframe_room_ = bytes; }
  // Since begin_flush(): bytes of such keyframes, and the first watcher that was put
  // off, kNoWatcher: none.
  uint64_t keyframe_bytes() const { return keyframe_bytes_; }
  uint32_t first_put_off() const { return first_put_off_; }
  static constexpr uint32_t kNoWatcher = UINT32_MAX;

  // Before each gather(). kEnd: the watcher is to be closed, it is too far behind.
  Rung update_budget(uint32_t watcher, const QueueSample& queue);
  // From now on; rates that were given stay until the next login.
  void set_budget(const BudgetConfig& budget) { budget_ = budget; }
  Rung rung(uint32_t watcher) const { return watchers_[watcher].budget.rung(); }
  // Bytes that were sent to the watcher besides its chunks.
  void spend(uint32_t watcher, uint32_t bytes) {
    watchers_[watcher].budget.spend(bytes, bytes);
    watchers_[watcher].budget.note_answer(bytes);
  }
  // True when the distance to which the watcher sees is another than it was told: view distance,
  // less what budget or crowd cut off. It counts as told then.
  bool take_view_change(uint32_t watcher, float* metres);
  // Watchers that are shown less than their distance allows. While there are some, gather() is to
  // be called also in ticks without publications.
  uint32_t limited_count() const { return limited_; }

  // Tells owners what changed since the last call. Cost: cells with changes.
  void post_changes(InterestEvents& events);
  // Keeps a publication for this tick's gathers. Unwanted ones are ignored.
  void store(const Publication& publication);
  // Whether the tick has nothing for the watcher: nothing that it watches was published, nothing is
  // asked for and its budget has nothing to make up for. Then update_budget() and gather() may be
  // left out; where something was published in the last two seconds they are due a few times a
  // second all the same. For a watcher whose queue is empty.
  bool rests(uint32_t watcher, uint32_t tick) const;
  // Appends what the watcher gets in `tick`: deltas, then drops, then keyframes of joined cells.
  // `world` gets at most kChunkBytesMax bytes of WorldStateSnapshot fields.
  // Call once for each watcher that does not rest in every tick that brought publications:
  // membership changes as if the chunks were sent.
  Gathered gather(uint32_t watcher, uint32_t tick, ChunkList& chunks, ChunkList& world);

  // Cells whose chunks the watcher has received, unordered; for tests and the inspector.
  uint32_t active_cells(uint32_t watcher, CellKey (&out)[kActiveCellsMax]) const;
  // The same and those of which it has an old image.
  uint32_t held_cells(uint32_t watcher, CellKey (&out)[kActiveCellsMax]) const;
  uint32_t watched_cell_count() const { return cell_of_.count(); }
  const InterestCounters& counters() const { return counters_; }
  size_t bytes() const;
  static constexpr size_t kWatcherBytes = 488;

 private:
  struct Watcher {
    uint16_t cells[kActiveCellsMax];  // indices of watched cells, the first `count` are valid
    uint64_t joining;                 // bit i: no keyframe of cells[i] was gathered yet
    uint64_t dropping;                // bit i: to be let go with this tick's chunks
    uint64_t level_low, level_high;   // bit i: the two bits of the level in cells[i]
    uint64_t chained;                 // bit i: level 3, and the client is in the chain
    uint64_t half_held;               // bit i: packed, the client has the layer 1 of this period
    uint64_t stale;                   // bit i: joining, and the client holds an old image of it
    uint64_t healing;                 // bit i: a keyframe is due although the client has the cell
    uint64_t unchained;               // bit i: the budget does not hold the chain of cells[i]
    uint8_t wait[kActiveCellsMax];    // priority that cells[i] has gained by waiting
    Budget budget;
    int32_t x, z;          // steps, where the cells were last decided
    int32_t cut_steps;     // cells further away are off for want of budget; kNoCut: none
    uint16_t view_steps;   // radius, steps
    uint16_t crowd_steps;  // cells further away are off because of the crowd; kNoCrowd: none
    uint16_t told_steps;   // radius that the client knows
    uint8_t crowd_wait;    // seconds until crowd_steps may grow
    uint8_t cut_wait;      // ... until cut_steps may
    uint8_t cut_patience;  // ... after the next cut
    uint8_t count;
    uint8_t state;  // WatcherBit
  };
  static_assert(sizeof(Watcher) <= kWatcherBytes, "part of 1 KiB for a connection in all");
  enum WatcherBit : uint8_t {
    kInUse = 1,
    kIsPacked = 2,
    kWorldDue = 4,  // protobuf: WORLD_STATE comes first
    kLimited = 8,   // counted in limited_
    kDecide = 16,   // cells are to be decided anew behind the next gather()
  };

  // What the streams of a cell take, for the plan. A stream that nobody here gets is not known.
  struct Traffic {
    uint32_t from;              // tick in which counting began, 0: never
    uint32_t keyframe;          // bytes of the last one, 0: none was made
    uint32_t sum[2][kLevels];   // bytes since then, by Encoding; of layers 0 to 2, the chain
    uint32_t rate[2][kLevels];  // bytes a second in the time before
    uint8_t known[2];           // levels that somebody had in that time, as bits
  };

  struct WatchedCell {
    CellKey key;
    uint32_t watchers[2][kLevels];  // by Encoding and level
    uint8_t requests;               // Request bits for the next post_changes()
    uint8_t queued;                 // 1: in changed_
    uint8_t posted[2];              // by Encoding: the levels the owner was told
    uint32_t next_free;             // index + 1; 0: none
    uint32_t members;               // as last published
    Traffic traffic;
  };

  static constexpr uint32_t kNoCell = UINT32_MAX;
  static constexpr int32_t kNoCut = INT32_MAX;
  static constexpr uint16_t kNoCrowd = UINT16_MAX;
  uint32_t watch(CellKey key);  // kNoCell: the table is full
  void use(uint32_t cell, Encoding encoding, uint8_t levels, int32_t watchers);
  uint8_t levels_wanted(uint32_t cell, Encoding encoding) const;
  void request(uint32_t cell, uint8_t requests);
  static uint8_t join_requests(const Watcher& w);
  void mark_changed(uint32_t cell);
  void decide(Watcher& w, const Steps3& position);
  void forget(Watcher& w, uint32_t i);
  static Encoding encoding_of(const Watcher& w) {
    return (w.state & kIsPacked) != 0 ? Encoding::kPacked : Encoding::kProtobuf;
  }
  static uint8_t level_of(const Watcher& w, uint32_t i) {
    return static_cast<uint8_t>((w.level_low >> i & 1) | (w.level_high >> i & 1) << 1);
  }
  static uint8_t uses_of(const Watcher& w, uint32_t i);
  uint8_t level_at(int64_t distance_squared, uint8_t now) const;
  void set_level(Watcher& w, uint32_t i, uint8_t level);
  void complete(Watcher& w, uint32_t i);
  // budget_choice.cc
  void lose(Watcher& w, uint32_t i);
  void cut_farthest(Watcher& w);
  int64_t distance_of(const Watcher& w, uint32_t i) const;
  // A cell joins a circle that budget or crowd cut when it lies within by so much of its edge, and
  // stays until it lies outside: such a circle is seen whole only up to there.
  static constexpr int32_t kReachMarginDivisor = 8;
  // How near a cell is touched: the watcher may be in it in a moment. It has its chain before what
  // is further away, and no want of budget cuts it off.
  static constexpr int32_t kTouchDivisor = 4;  // of the cell's edge
  int64_t touch_squared() const {
    return int64_t{scale_.cell_steps / kTouchDivisor} * (scale_.cell_steps / kTouchDivisor);
  }
  uint8_t level_cap(const Watcher& w, uint32_t i) const;
  void note_limited(Watcher& w);
  void end_gather(Watcher& w);
  uint64_t choose(Watcher& w, uint32_t tick);
  uint32_t due_bytes(const Watcher& w, uint32_t i, const Publication& p, bool* needed) const;
  uint32_t first_bytes(const Watcher& w, uint32_t i, const Publication& p, uint32_t bytes) const;
  uint32_t awaited_bytes(const Watcher& w) const;
  bool begins_chain(const Watcher& w, uint32_t i, const Publication& p) const;
  bool puts_off_chain(const Watcher& w, uint32_t i, const Publication& p, int64_t left) const;
  bool keyframes_spent() const {
    return keyframe_bytes_ >= std::min(keyframe_bytes_max_, keyframe_room_);
  }
  void leave_out(Watcher& w, uint32_t i, const Publication& p);
  // level_plan.cc
  void count_traffic(WatchedCell& cell, const Publication& p);
  void turn_traffic(WatchedCell& cell, uint32_t tick) const;
  static uint32_t bytes_of(const WatchedCell& cell, Encoding encoding, bool chain);
  static uint32_t keyframe_of(const WatchedCell& cell);
  static uint32_t tracks_of(const WatchedCell& cell);
  static constexpr uint32_t kPlansPerSecond = 4;  // who walks comes to other cells
  void plan(Watcher& w, uint32_t tick, bool reach);
  static void be_patient(Watcher& w);
  // crowd_radius.cc
  void watch_crowd(Watcher& w);
  uint64_t known_within(const Watcher& w, int32_t steps) const;
  int32_t reach_steps(const Watcher& w) const;
  // gather.cc
  bool takes_whole(const Watcher& w, uint32_t i, const Publication& p) const;
  bool takes_tracks(const Watcher& w, uint32_t i, const Publication& p) const;
  bool takes_up_chain(const Watcher& w, uint32_t i, const Publication& p) const;
  void add_updates(Watcher& w, uint32_t i, const Publication& p, bool left_out, ChunkList& chunks);
  bool watches_fully(const Watcher& w, CellKey key) const;
  void add_crossings(const Watcher& w, const Publication& p, ChunkList& chunks) const;
  void gather_world(Watcher& w, uint32_t tick, uint64_t left_out, ChunkList& chunks,
                    ChunkList& world);
  const Publication* published(uint32_t cell, uint32_t tick) const;

  WorldScale scale_;
  const OwnerMap* owners_ = nullptr;
  BudgetConfig budget_;
  uint32_t floor_anchors_;  // in a second; a stale cell waits no longer
  uint32_t second_ticks_;
  uint32_t crowd_entities_;  // in view at the most, 0: any number
  int32_t crowd_steps_min_;
  float view_metres_;
  int32_t rate_steps_[kLevels];  // a cell as near as that has the level; 0 has no end
  CellKey cell_min_, cell_max_;  // of the bounds
  mem::MappedArray<Watcher> watchers_;
  mem::MappedArray<WatchedCell> cells_;
  mem::MappedArray<Publication> publications_;  // of cells_, valid when live and tick agree
  mem::MappedArray<uint32_t> published_at_;     // of cells_: the tick of the publication
  mem::MappedArray<uint16_t> changed_;
  uint32_t changed_count_ = 0;
  uint32_t free_cells_ = 0;
  uint32_t cells_used_ = 0;
  uint32_t limited_ = 0;
  uint32_t must_bytes_ = 0;                   // of the last choose(): what could not be left out
  uint64_t put_off_ = 0;                      // ... cells whose chain waits for another anchor
  uint64_t keyframe_bytes_ = 0;               // of this flush
  uint64_t keyframe_bytes_max_ = UINT64_MAX;  // ... may be
  uint64_t keyframe_room_ = UINT64_MAX;       // ... by limit_keyframes()
  int64_t queued_room_ = INT64_MAX;           // left of queued_bytes
  uint32_t first_put_off_ = kNoWatcher;
  uint8_t ceiling_ = kFullLevel;
  bool ceiling_changed_ = false;  // in this flush
  CellMap cell_of_;               // packed key -> index in cells_
  InterestCounters counters_;
};

}  // namespace tidegate::world
