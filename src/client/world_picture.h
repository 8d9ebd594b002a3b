// SPDX-License-Identifier: Apache-2.0
// A client's picture of the world around it, from either state encoding, and the check that it is
// the server's: checksums of packed cells, nobody in two of one tick; exactness of protobuf
// view events (nothing enters twice, nothing unknown changes or leaves, INTEREST_UPDATE names the
// same). Thread: the client's. Owner: Client. Limits: grows with what the server shows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "client/zone_reader.h"
#include "wire/cell_codec.h"
#include "wire/messages.h"

namespace tidegate::client {

struct PictureCounters {
  uint64_t frames = 0;   // cell frames or zone updates applied
  uint64_t updates = 0;  // changes of what is shown
  uint64_t enters = 0, leaves = 0;
  uint64_t checksums = 0;  // checked
  uint64_t checksum_mismatches = 0;
  uint64_t chain_gaps = 0;  // deltas without their reference
  uint64_t malformed = 0;
  // Protobuf: entered twice, changed or left while unknown, or INTEREST_UPDATE names others.
  // Packed: in two cells of one tick.
  uint64_t violations = 0;
  // Fault injection (flip_bit); mismatches of flipped cells are not in checksum_mismatches.
  uint64_t flips = 0;
  uint64_t flips_detected = 0;  // a checksum differed
  uint64_t flips_healed = 0;    // a checksum agrees again
  uint64_t flips_gone = 0;      // the member left, or its cell went out of view, before that
};

class PictureEvents {
 public:
  // `flags` of an entity that is not the client's own, as just received.
  virtual void on_entity_changed(std::string_view name, uint32_t flags) = 0;
  // An entity of a packed picture, the own one too, came or was told of: its cell, and where it
  // stands from the cell's corner in steps.
  virtual void on_member_seen(const wire::CellImage::Member&, int16_t /*cell_x*/,
                              int16_t /*cell_z*/) {}
  // The frame's checksum differs from that of the image.
  virtual void on_cell_differs(const wire::CellImage&) {}
  // A cell that flip_bit() spoiled agrees with the server again.
  virtual void on_cell_healed(base::Instant /*flipped*/) {}

 protected:
  ~PictureEvents() = default;
};

struct SeenEntity {
  wire::Vector3 position;
  uint32_t flags = 0;
};

class WorldPicture final : wire::CellImage::Listener, ZoneVisitor {
 public:
  WorldPicture(std::string own_name, PictureEvents& events)
      : own_name_(std::move(own_name)), events_(events) {}

  void set_own_name(std::string_view name) { own_name_ = name; }
  void apply_cell_frames(base::Bytes payload);  // of a CELL_FRAME
  void apply_world_state(base::Bytes payload);
  void apply_zone_update(base::Bytes payload);
  void apply_interest_update(base::Bytes payload);
  // After all frames of one WebSocket message of that size: what must hold at the end of a tick.
  void end_message(size_t message_bytes);
  void clear();
  // Inverts one bit of what some member of some cell shows. False: there is none to spoil.
  bool flip_bit(base::Instant now, uint64_t random);
  // Oldest flip that is not healed; false when there is none.
  bool oldest_flip(base::Instant* out) const;
  // True when the last message ended a tick: no cell is half told.
  bool at_rest() const { return at_rest_; }

  // How far the client sees, as last told; 0: as far as it asked for.
  float view_distance() const { return view_distance_; }

  const PictureCounters& counters() const { return counters_; }
  // Entities in view: packed cells' members, or protobuf entities.
  size_t entity_count() const;
  const std::unordered_map<std::string, SeenEntity>& entities() const { return entities_; }
  const std::unordered_map<uint32_t, wire::CellImage>& cells() const { return cells_; }

 private:
  // A tick above 60 KiB comes in several messages, cut between chunks of up to 48 KiB; so a message
  // below this size is a tick's last or only one.
  static constexpr size_t kLastMessageBytesMax = 8 * 1024;
  // Looking for an entity in all cells is a walk over the picture; one id in so many is enough.
  static constexpr uint32_t kDoublesSample = 8;

  void apply_cell_frame(base::Bytes frame, uint32_t tick);
  void on_enter(const wire::CellImage::Member& member) override;
  void on_leave(const wire::CellImage::Member& member, const wire::CellLeave&) override;
  void on_change(const wire::CellImage::Member& member) override;
  void seen(const wire::CellImage::Member& member);
  void on_spawn(const wire::PlayerStateUpdate& state, uint32_t kind, base::Bytes custom,
                bool snapshot) override;
  void on_despawn(std::string_view name) override;
  void on_update(const wire::PlayerStateDelta& delta, base::Bytes custom) override;

  std::string own_name_;
  PictureEvents& events_;
  PictureCounters counters_;
  std::unordered_map<uint32_t, wire::CellImage> cells_;   // by packed cell key
  std::unordered_map<std::string, SeenEntity> entities_;  // protobuf
  std::vector<uint32_t> entered_;  // sampled ids that came by deltas of this tick
  float view_distance_ = 0;
  bool in_delta_ = false;
  uint32_t tick_ = 0;      // of the last cell frame
  uint32_t applying_ = 0;  // packed key of the cell whose frame is applied
  // Hashes of names in ZONE_UPDATE less those in INTEREST_UPDATE; 0 at the end of a tick.
  uint64_t entered_balance_ = 0;
  uint64_t exited_balance_ = 0;
  std::string key_;  // scratch
  struct Flip {
    base::Instant at;
    uint16_t slot = 0;
    bool detected = false;
  };
  std::unordered_map<uint32_t, Flip> flips_;  // by packed cell key
  // Cells whose image agreed again without a keyframe. A flip may have gone into a member's pace,
  // which no checksum covers: the next differing checksum is the flip's, not the server's.
  std::unordered_set<uint32_t> echoes_;
  bool at_rest_ = true;
};

}  // namespace tidegate::client
