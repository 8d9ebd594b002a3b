// SPDX-License-Identifier: Apache-2.0
// A shard's part of the world: the entities whose cells it owns, and the streams of those cells.
// Order of a tick, held by the shard's barrier:
//   queue_input(), spawn(), subscribe(), ...   at any time before simulate()
//   simulate(n)   applies input, moves entities, hands crossing ones to other slices
//   arrive()      for entities that other slices handed over in their simulate(n)
//   encode(n)     when every slice has simulated n: each changed cell once per encoding
//   give_cell()   behind its encode(n), and take_cell() on the other side before its next simulate:
//                 a cell changes its owner (cell_moves.cc)
// The result does not depend on the number of shards: entities touch nothing but themselves, and a
// crossing is one event at both cells in the same tick whoever owns them.
// Thread: shard. Owner: Shard. Limits: WorldConfig::entities, ::cells; kInputsPerTick for each
// entity; the arena's size for a tick's bytes (a cell that does not fit is encoded later).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/time.h"
#include "world/cell_encoder.h"
#include "world/cell_streams.h"
#include "world/entity_table.h"
#include "world/history.h"
#include "world/owner_map.h"
#include "world/publication.h"
#include "world/slice_hooks.h"
#include "world/tick_arena.h"
#include "world/world_config.h"

namespace tidegate::world {

inline constexpr uint32_t kInputsPerTick = 16;  // of one entity; later ones replace the last
inline constexpr size_t kTransferBytesMax =     // serialised entity
    256 + kCustomBytesMax + History::kTravelMax * sizeof(HistorySample);

// Error codes of protocol.md that stand in MoveResult::reason.
inline constexpr uint16_t kReasonSpeed = 4010;
inline constexpr uint16_t kReasonBounds = 4011;

// One PLAYER_MOVE, or one sample of PLAYER_STEER, in the world's units. Crosses mailboxes by value.
struct Input {
  // With kSteer the velocity is a direction (wire/steer.h) and the slice finds the position.
  enum Has : uint8_t { kPosition = 1, kYaw = 2, kVelocity = 4, kFlags = 8, kSteer = 16 };
  Steps3 position;
  uint32_t client_tick;
  uint32_t flags;       // of a client always applied
  int16_t velocity[3];  // wire/quantise.h
  uint8_t yaw;
  uint8_t has;  // Has bits
};

// What holds after a tick with input or a change of owner, for the connection's shard. Crosses
// mailboxes by value.
struct MoveResult {
  EntityId entity;
  uint32_t client_tick;  // highest applied
  uint32_t server_tick;
  Steps3 position;
  int16_t velocity[3];
  uint16_t reason;       // 0, kReasonSpeed, kReasonBounds
  ShardId owner;         // where the next input goes
  uint8_t corrected;     // 1: a move was refused, `position` holds
  uint8_t acknowledges;  // 1: input was applied or refused; 0: only the owner changed
};

class SliceEvents {
 public:
  // Each returns false when there is no room; it is then repeated in the next tick.
  virtual bool moved(ShardId shard, ConnectionRef connection, const MoveResult& result) = 0;
  // The receiver calls arrive() with the bytes before its encode of this tick.
  virtual bool transfer(ShardId to, base::Bytes entity) = 0;
  // The entity left the world; it stood at `position`.
  virtual bool gone(EntityId entity, std::string_view player_id, const Steps3& position) = 0;
  // The entity came with its cell in the tick before. `marked`: as mark_custom() left it there; it
  // is forgotten here.
  virtual void taken(EntityId, std::string_view /*player_id*/, bool /*marked*/) {}

 protected:
  ~SliceEvents() = default;
};

struct SpawnSpec {
  std::string_view player_id;  // 1..64 bytes, copied
  EntityKind kind = EntityKind::kPlayer;
  Steps3 position{};  // in a cell of this shard
  uint8_t yaw = 0;
  ShardId connection_shard;
  ConnectionRef connection;  // invalid: lingers from the start unless it is no player
  int16_t velocity[3] = {};
  uint32_t flags = 0;
  uint64_t tag = 0;     // the game's own word; travels with the entity
  uint32_t stamp = 0;   // Control::stamp
  bool remote = false;  // StateBit kRemote: nobody holds it here, and it does not linger
};

enum class SpawnStatus : uint8_t {
  kOk = 0,
  kFull,      // entity or cell limit
  kExists,    // the id is here already
  kNotOwner,  // the position's cell belongs to another shard, or is out of bounds
  kBadName,   // empty or too long
};

enum class QueueStatus : uint8_t {
  kOk = 0,
  kForward,  // it moved; hand the message on to `to`
  kUnknown,  // not here and not remembered
  kFull,     // too many inputs of this entity or of all in this tick; dropped and counted
};
struct Queued {
  QueueStatus status = QueueStatus::kOk;
  ShardId to;
};

// What a client's checksum of a cell says, for a frame of the cell.
enum class ReportVerdict : uint8_t {
  kAgrees,
  kDiffers,
  kUnknown,  // the cell has moved on since that frame, and no checksum of it is kept
};

struct SliceCounters {
  uint64_t inputs_applied = 0, inputs_refused_speed = 0, inputs_refused_bounds = 0;
  uint64_t inputs_stale = 0, inputs_dropped = 0;
  uint64_t inputs_merged = 0;  // above kInputsPerTick: replaced the one before
  uint64_t transfers_out = 0, transfers_in = 0, transfers_postponed = 0, arrivals_refused = 0;
  uint64_t inputs_refused_hook = 0, violations_forgiven = 0;
  uint64_t spawned = 0, gone = 0;
  uint64_t cell_entities_out = 0, cell_entities_in = 0;  // that went and came with their cells
};

inline constexpr uint32_t kCellsGivenMax = 16;  // of a slice in one tick

class WorldSlice {
 public:
  WorldSlice(const WorldConfig& config, ShardId self);

  SpawnStatus spawn(EntityId id, const SpawnSpec& spec, uint32_t now_tick);
  // Nobody is to wait for a cell's turn in `tick`, when clients of another process begin anew.
  void begin_anew(uint32_t tick) { encoder_.begin_anew(tick); }
  // Goes on with an entity of another process after spawn(): what input needs, as it was. Its
  // connection's shard is told where it is in the next tick.
  void restore_control(EntityId id, const Control& control);
  // Calls visit(EntityId, const Input&) for moves that wait for simulate(), in their order.
  template <class Visit>
  void for_each_input(Visit&& visit) const {
    for (uint32_t i = 0; i < input_count_; ++i) {
      visit(entities_.id(inputs_[i].entity), inputs_[i].input);
    }
  }
  // A spawn was passed on to another slice: what comes for the entity is kForward for a while.
  void forward(EntityId id, ShardId to, uint32_t now_tick) { entities_.forward(id, to, now_tick); }
  // A connection takes the entity (again); linger ends. The next tick sends it a MoveResult.
  // kForward and kUnknown as for queue_input. With a stamp it is ours from now on, also when it was
  // remote.
  Queued attach(EntityId id, ShardId shard, ConnectionRef connection, uint32_t stamp = 0);
  // From own to remote: another gateway owns it from `stamp` on. Nobody holds it here any more.
  Queued yield(EntityId id, uint32_t stamp);
  Queued detach(EntityId id, ShardId shard, ConnectionRef connection, uint32_t now_tick);
  // Leaves the world in the next simulate(), with gone().
  Queued remove(EntityId id);
  Queued queue_input(EntityId id, const Input& input);
  // Moves an entity as the game says: no checks but the bounds, to which it is cut. `has` of the
  // input says what changes; flags with kFlags only. A client is answered as if corrected, with
  // reason 0. Before simulate() of the tick.
  Queued place(EntityId id, const Input& to);
  // Custom state; see custom_state.h. Only with WorldConfig::custom_state.
  Queued set_custom(EntityId id, base::Bytes whole, base::Bytes change);
  // Remembers that the game's state of the entity is to be written anew; `first`: it was not
  // remembered yet. set_custom() forgets it.
  Queued mark_custom(EntityId id, bool* first);
  // Asked in simulate(); null: none.
  void set_hooks(SliceHooks* hooks) { hooks_ = hooks; }

  void simulate(uint32_t tick, SliceEvents& events);
  // Takes over an entity from another slice; `bytes` as given to transfer(). Returns its id, none
  // when the limits refuse it (they are to be chosen so that they never do).
  EntityId arrive(base::Bytes bytes, uint32_t tick, SliceEvents& events);

  // Interest of shard `reader` in a cell of this slice: the levels of its watchers as bits.
  // `requests`: Request bits, answered in the next encode (a keyframe at the next anchor; or later
  // when that did not fit). False at the cell limit.
  bool subscribe(ShardId reader, CellKey cell, uint8_t packed_levels, uint8_t protobuf_levels,
                 uint8_t requests);
  // Publishes every changed or asked-for cell. Resets the arena first. `now_ms` (Unix) stands in
  // the envelopes and snapshots.
  void encode(uint32_t tick, base::UnixMs now_ms, PublicationSink& sink);

  // Who owns the cells, as of this slice.
  const OwnerMap& owners() const { return owners_; }
  ShardId owner_of_position(const Steps3& p) const { return owners_.owner(scale_.cell_of(p)); }
  // Another slice's cell has gone to a third.
  void note_owner(CellKey cell, ShardId owner) { owners_.move(cell, owner); }
  // Behind encode(tick): whether this cell can go to that slice now. False when it is not this
  // slice's, something of it waits for the next tick, a limit is reached, or this slice has taken a
  // cell in this tick.
  bool may_give(CellKey cell, ShardId to, uint32_t tick) const;
  // Lets it go. The bytes (empty: there is nothing but the name) live until the next give_cell() of
  // a later tick; take_cell() must be over by then. When all of a tick have gone: end_giving().
  base::Bytes give_cell(CellKey cell, ShardId to, uint32_t tick);
  void end_giving();
  // Behind simulate(tick). In the next simulate its entities tell their connections of the new
  // owner. False: no room here, the cell's entities are lost (the limits are to be chosen so that
  // it never happens).
  bool take_cell(CellKey cell, base::Bytes bytes, uint32_t tick);
  // True for an entity that came with its cell in this tick: its last owner has told all of it.
  bool came_with_cell(EntitySlot s, uint32_t tick) const {
    const uint32_t c = entities_.membership(s).cell;
    return c != kNone && cells_.cell(c).taken_tick == tick;
  }
  // Calls visit(key, members, others, work) for each cell of this slice; others: members that are
  // no players, work: records committed since the last call.
  template <class Visit>
  void read_loads(Visit&& visit) {
    cells_.for_each_cell([&](Cell& cell) {
      uint32_t others = 0;
      if (entities_.others() != 0) {
        cells_.for_each_member(cell, [&](uint16_t, EntitySlot s) {
          others += entities_.image(s).kind != EntityKind::kPlayer;
        });
      }
      visit(cell.key, cell.members, others, cell.work);
      cell.work = 0;
    });
  }
  // Calls visit(key) for each cell of this slice that somebody watches.
  template <class Visit>
  void for_each_watched(Visit&& visit) {
    cells_.for_each_cell([&](const Cell& cell) {
      if ((cell.packed_readers | cell.protobuf_readers) != 0) visit(cell.key);
    });
  }
  // Room for what is no player.
  uint32_t others_limit() const { return npcs_; }

  // Holds a client's checksum against the cell's. `expected`: what stood in the client's frame, 0
  // when nothing did; it decides when the frame is not known any more. cell_reports.cc.
  ReportVerdict judge_report(CellKey cell, uint32_t frame, uint64_t checksum, uint64_t expected);
  // Fills `out` with the cell's members, where the history has it as of the end of `tick`. Returns
  // how many there are; sets *in_past to how many of them are of that tick.
  uint32_t rows_of(CellKey cell, uint32_t tick, std::span<wire::CellRow> out,
                   uint32_t* in_past) const;

  const EntityTable& entities() const { return entities_; }
  const History& history() const { return history_; }
  const CellStreams& cells() const { return cells_; }
  const TickArena& arena() const { return arena_; }
  const SliceCounters& counters() const { return counters_; }
  const EncodeCounters& encode_counters() const { return encoder_.counters(); }
  const WorldScale& scale() const { return scale_; }
  // All memory taken at construction (address space; untouched pages cost nothing).
  size_t bytes() const;
  // Order-free hash of all entities' state: equal sums for equal worlds, however they are cut.
  uint64_t state_hash() const;
  // Replaces the arena's size; for tests of the overflow. Before the first tick only.
  WorldSlice(const WorldConfig& config, ShardId self, size_t arena_bytes);

 private:
  struct QueuedInput {
    EntitySlot entity;
    Input input;
  };

  bool has_room(EntityKind kind) const;
  void activate(EntitySlot s);
  void apply(EntitySlot s, const Input& received, uint32_t tick);
  void steer(const Steps3& from, Input* input) const;
  uint8_t change_image(EntitySlot s, const Input& input, const Steps3& position);
  uint16_t check_move(Control& control, const Steps3& from, const Steps3& to, uint32_t tick) const;
  void apply_inputs(uint32_t tick);
  void expire_lingering(uint32_t tick);
  void settle(EntitySlot s, uint32_t tick, SliceEvents& events);
  bool cross(EntitySlot s, CellKey to, uint32_t tick, SliceEvents& events);
  bool hand_over(EntitySlot s, ShardId to, uint32_t tick, SliceEvents& events);
  uint32_t export_past(EntitySlot s, uint32_t tick, uint8_t* out) const;
  void report(EntitySlot s, uint32_t tick, SliceEvents& events);
  void leave_world(EntitySlot s, uint32_t tick, SliceEvents& events);
  void set_linger(EntitySlot s, uint32_t now_tick);
  void end_linger(EntitySlot s);
  void count_linger(uint32_t deadline);
  void give_entity(EntitySlot s, uint32_t tick, MoveWriter& out) const;
  EntitySlot take_entity(MoveReader& in, uint32_t tick);
  void tell_taken(EntitySlot s, SliceEvents& events);
  static size_t move_bytes_max(const WorldConfig& config);
  EntitySlot find_present(EntityId id) const;
  Queued not_here(EntityId id) const;

  WorldScale scale_;
  ShardId self_;
  OwnerMap owners_;
  EntityTable entities_;
  uint32_t npcs_;  // limit of what is no player
  History history_;
  CellStreams cells_;
  TickArena arena_;
  CellEncoder encoder_;
  mem::MappedArray<QueuedInput> inputs_;
  uint32_t input_count_ = 0;
  mem::MappedArray<EntitySlot> active_;  // entities to look at in this tick, each once
  uint32_t active_count_ = 0;
  uint32_t lingering_ = 0;                 // entities with a linger deadline
  uint32_t linger_check_ = 0;              // tick of the earliest of these deadlines
  mem::MappedArray<uint8_t> give_memory_;  // read by the slices that take
  size_t give_used_ = 0;
  uint32_t taken_tick_ = 0;               // in which a cell last came
  uint32_t given_ = 0;                    // cells since end_giving()
  mem::MappedArray<EntitySlot> members_;  // of the cell that goes or comes
  SliceHooks* hooks_ = nullptr;
  SliceCounters counters_;
};

}  // namespace tidegate::world
