// SPDX-License-Identifier: Apache-2.0
// Turns what happened in a cell during a tick into the chunks of its publication, once for each
// encoding and rate that somebody reads. The result is shared by every watcher on every shard.
// A tick with a change has a frame of the chain for who reads at full rate; a tick in which a layer
// is due (layers.h) has one frame of that layer against the image it refers to, for the rest.
// The tick's change is all or nothing: when it does not fit the arena, the cell keeps it for the
// next tick and watchers get one frame for both. A layer that does not fit is left out; the next
// one of the period, or the next anchor, tells the same. Requests fit or wait one by one;
// keyframes wait for an anchor.
// Thread: shard. Owner: WorldSlice. Limits: chunks of kChunkBytesMax; the arena.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "wire/cell_codec.h"
#include "wire/messages.h"
#include "world/cell_streams.h"
#include "world/chunk_builder.h"
#include "world/entity_table.h"
#include "world/publication.h"
#include "world/tick_arena.h"
#include "world/world_config.h"

namespace tidegate::world {

inline constexpr uint32_t kChecksumsPerSecond = 2;  // of a cell that changes, in its deltas

struct EncodeCounters {
  uint64_t frames = 0;            // ticks of cells with a change that somebody reads
  uint64_t skipped = 0;           // ... put off because the arena was full
  uint64_t requests_put_off = 0;  // answers that did not fit
  uint64_t records = 0;           // changes, enters and leaves in `frames`
  uint64_t publications = 0;      // handed to readers
  uint64_t packed_bytes = 0, protobuf_bytes = 0;  // of changes, all layers
  uint64_t layer_frames[kLevels] = {};            // packed frames by layer; 3: the chain
  uint64_t layer_records[kLevels] = {};
  uint64_t layer_bytes[kLevels] = {};
  uint64_t layers_left_out = 0;  // did not fit
  uint64_t request_bytes = 0;    // of keyframes, tracks, drops, spawns, world pieces, despawns
};

class CellEncoder {
 public:
  CellEncoder(const WorldConfig& config, const WorldScale& scale, EntityTable& entities,
              CellStreams& cells, TickArena& arena);

  // Encodes and publishes one cell. False: something is left for the next tick.
  bool encode(uint32_t cell, uint32_t tick, base::UnixMs now_ms, PublicationSink& sink);
  // In this tick every cell has its anchor, whatever its phase: what packed clients begin with.
  void begin_anew(uint32_t tick) { anew_tick_ = tick; }
  const EncodeCounters& counters() const { return counters_; }
  size_t bytes() const;

  // Checksum of the cell as its watchers have it: valid when nothing changed since the last frame.
  uint64_t checksum(const Cell& cell);
  // One member as checksums see it.
  wire::CellRow row(const Cell& cell, uint16_t slot, EntitySlot s, const Image& image) const;

  // What watchers of the cell are shown: an entity that waits to be handed over stands at the edge.
  Steps3 shown_position(CellKey cell, const Image& image) const;

 private:
  static constexpr uint32_t kPieceMembers = 192;  // of 216 bytes at most: one chunk

  struct PackedLists {
    uint32_t leaves = 0, enters = 0, changes = 0;
  };

  bool encode_layer(const Cell& cell, uint8_t layer, Publication& p);
  bool encode_change(const Cell& cell, Publication& p);
  void commit_change(uint32_t cell);
  void commit_layer(Cell& cell, uint8_t layer);
  void answer_requests(Cell& cell, Publication& p);
  uint64_t readers_of(const Cell& cell, const Publication& p, bool events) const;
  // packed_encoder.cc
  PackedLists list_chain(const Cell& cell);
  PackedLists list_layer(const Cell& cell, uint8_t layer, bool from_half);
  void sort_lists(const PackedLists& n);
  wire::CellChange change_since(const Cell& cell, uint16_t slot, EntitySlot s, uint8_t layer,
                                bool from_half) const;
  ChunkSpan packed_delta(const Cell& cell, const PackedLists& n, wire::CellFrameHeader h);
  ChunkSpan packed_chain(const Cell& cell);
  ChunkSpan packed_layer(const Cell& cell, uint8_t layer);
  ChunkSpan packed_keyframe(const Cell& cell);
  ChunkSpan packed_tracks(const Cell& cell);
  ChunkSpan packed_drop(const Cell& cell);
  bool checksum_due(const Cell& cell) const {
    return tick_ - cell.checksum_tick >= checksum_ticks_;
  }
  wire::CellFrameHeader header(const Cell& cell, uint32_t frame) const;
  wire::CellMember member_record(const Cell& cell, uint16_t slot, EntitySlot s) const;
  wire::CellSchedule schedule(const Cell& cell, uint32_t changes);
  template <class Write>
  uint32_t write_cell_frame(const Write& write, uint32_t entities);
  // protobuf_encoder.cc
  ChunkSpan protobuf_events(const Cell& cell);
  ChunkSpan protobuf_chain(const Cell& cell);
  ChunkSpan protobuf_layer(const Cell& cell, uint8_t layer);
  uint32_t protobuf_crossings(const Cell& cell, CrossingChunks* out);
  ChunkSpan protobuf_crossing(const Cell& cell, CellKey other, CrossingKind kind);
  ChunkSpan protobuf_members(const Cell& cell, Request request);
  void put_spawn(RecordStream& zone, const Cell& cell, EntitySlot s);
  // `fields`: ChangedField bits; `chain`: for readers who have what was before the last change.
  void put_update(RecordStream& zone, const Cell& cell, EntitySlot s, uint8_t fields,
                  uint32_t base_tick, bool chain);
  wire::PlayerStateUpdate whole_state(const Cell& cell, EntitySlot s) const;
  wire::Vector3 metres(const Steps3& p) const;

  const WorldScale& scale_;
  EntityTable& entities_;
  CellStreams& cells_;
  TickArena& arena_;
  ChunkBuilder builder_;
  std::string_view zone_;
  wire::CellChecksum checksum_;
  uint32_t checksum_ticks_;          // between two deltas with one
  wire::Quaternion rotations_[256];  // of each yaw
  // Lists of one cell for the packed codec.
  mem::MappedArray<wire::CellMember> members_;
  mem::MappedArray<wire::CellLeave> leaves_;
  mem::MappedArray<wire::CellChange> changes_;
  mem::MappedArray<uint16_t> due_;
  uint32_t tick_ = 0;       // under way
  uint32_t anew_tick_ = 0;  // in which every cell has its anchor; ticks begin with 1
  uint32_t frame_ = 0;      // number of the cell's image after it
  bool anchors_ = false;    // the cell's anchor moves in this tick
  bool checksums_ = false;  // ... and its frames carry a checksum
  bool rebased_ = false;    // ... and nobody holds what was before
  base::UnixMs now_ms_ = 0;
  EncodeCounters counters_;
};

}  // namespace tidegate::world
