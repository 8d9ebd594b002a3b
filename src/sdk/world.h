// SPDX-License-Identifier: Apache-2.0
// The client's picture of the world: entities by name, from either encoding. What a WebSocket
// message changed is told when it was read to its end, because an entity may leave one cell and
// enter another within it: end_message() says who came, changed and left.
//
// Rows of entities stay where they are; a row is used again after its entity left. Cells are
// wire::CellImage, kept and used again as well, so that a steady world takes no memory.
//
// Thread: one. Owner: Client. Limits: entities_most; what comes above it is counted and not shown.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "client/zone_reader.h"
#include "sdk/name_map.h"
#include "sdk/playout.h"
#include "wire/cell_codec.h"

namespace tidegate::sdk {

struct Entity {
  std::string name;
  uint32_t kind = 0;  // 0 player, 1 NPC, 2 object
  uint32_t flags = 0;
  uint32_t tick = 0;             // of the newest state
  double x = 0, y = 0, z = 0;    // metres
  double yaw = 0;                // radians about y
  float vx = 0, vy = 0, vz = 0;  // packed cells do not carry it
  std::vector<uint8_t> custom;
  Pose shown;

  // World's own.
  static constexpr uint32_t kNoCell = UINT32_MAX;
  uint32_t cell = kNoCell;  // row of the cell that shows it
  uint32_t slot = 0;        // in that cell
  uint32_t wait_until = 0;  // it went to another cell in view and may turn up until this tick
  bool live = false, fresh = false, touched = false, left = false, listed = false;
};

struct WorldCounters {
  uint64_t frames = 0, keyframes = 0, drops = 0, checksums = 0, checksum_mismatches = 0;
  uint64_t missing_references = 0, malformed = 0, updates = 0;
  uint64_t strays = 0;    // updates of entities that are not known
  uint64_t overflow = 0;  // entities above the limit
};

class World final : wire::CellImage::Listener, client::ZoneVisitor {
 public:
  World(uint32_t entities_most, bool with_tracks);

  double cell_size = 64;  // metres
  double position_step = 0.02;

  void apply_world_state(base::Bytes payload);
  void apply_zone_update(base::Bytes payload);
  struct Applied {
    wire::CellStatus status = wire::CellStatus::kOk;
    const wire::CellImage* image = nullptr;  // of the cell, unless it was dropped or has no header
  };
  Applied apply_cell_frame(base::Bytes frame, uint32_t tick);  // of a CELL_FRAME of that tick
  void note_malformed() { ++counters_.malformed; }
  // What changed since the last call, as rows; valid until the next frame. release() gives the rows
  // of those who left back.
  void end_message();
  const std::vector<uint32_t>& removed() const { return removed_; }
  const std::vector<uint32_t>& added() const { return added_; }
  const std::vector<uint32_t>& changed() const { return changed_; }
  void release();
  // Everything was dropped; removed() holds who was there, end_message() is not needed.
  void clear();

  const Entity& entity(uint32_t row) const { return entities_[row]; }
  Entity& entity(uint32_t row) { return entities_[row]; }
  Track* track(uint32_t row) { return tracks_.empty() ? nullptr : &tracks_[row]; }
  uint32_t rows() const { return static_cast<uint32_t>(entities_.size()); }
  uint32_t find(std::string_view name) const;  // NameMap::kNone: not there
  uint32_t entity_count() const { return count_; }
  uint32_t cell_count() const { return cell_count_; }
  uint32_t tick() const { return tick_; }
  const WorldCounters& counters() const { return counters_; }
  // Encoded EnvironmentState that came with the last message; empty when none did.
  base::Bytes environment() const { return environment_; }
  void environment_told() { environment_ = {}; }
  // Of the cells that got no frame since the call before, the next one in turn; null: none. The
  // server tells of no checksum where nothing moves, so the client tells it its own.
  const wire::CellImage* quiet_cell();

 private:
  struct Cell {
    wire::CellImage image;
    std::vector<uint32_t> rows;  // of entities, by slot; kNone where unknown
    uint32_t looked_frame = 0;   // when quiet_cell() was there
    bool live = false, looked = false;
  };
  auto name_of() const {
    return [this](uint32_t row) { return std::string_view(entities_[row].name); };
  }
  void on_enter(const wire::CellImage::Member& member) override;
  void on_leave(const wire::CellImage::Member& member, const wire::CellLeave& leave) override;
  void on_change(const wire::CellImage::Member& member) override;
  void on_snapshot_tick(uint32_t tick) override { tick_ = tick; }
  void on_spawn(const wire::PlayerStateUpdate& state, uint32_t kind, base::Bytes custom,
                bool snapshot) override;
  void on_despawn(std::string_view name) override;
  void on_update(const wire::PlayerStateDelta& delta, base::Bytes custom) override;
  void on_environment(base::Bytes encoded) override { environment_ = encoded; }

  uint32_t take(std::string_view name);
  void list(uint32_t row);
  void read(Entity& e, const wire::CellImage::Member& member);
  uint32_t find_cell(int16_t x, int16_t z) const;
  uint32_t slot_of(const wire::CellImage::Member& member) const;

  std::vector<Entity> entities_;
  std::vector<Track> tracks_;
  std::vector<uint32_t> free_;
  NameMap names_;
  uint32_t entities_most_;
  bool with_tracks_;
  uint32_t count_ = 0;
  std::vector<std::unique_ptr<Cell>> cells_;
  std::vector<uint32_t> cell_keys_;
  uint32_t cell_count_ = 0;
  uint32_t applying_ = 0;  // row of the cell whose frame is applied
  wire::CellFrameHeader header_;
  uint32_t tick_ = 0;
  uint32_t audited_ = 0;
  std::vector<uint32_t> dirty_, removed_, added_, changed_;
  base::Bytes environment_;
  WorldCounters counters_;
};

}  // namespace tidegate::sdk
