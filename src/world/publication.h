// SPDX-License-Identifier: Apache-2.0
// What a cell's owner hands to every shard with watchers of the cell, once a tick: pointers to
// finished bytes in the owner's tick arena. Plain data: it crosses a mailbox by value.
// The bytes are immutable and live until the owner's next encode(), which the barrier places after
// every reader's flush of this tick.
// Thread: made on the owner, read on any shard. Owner: the cell owner's TickArena.
// Limits: a chunk is at most kChunkBytesMax; larger sets come as several chunks.
#pragma once

#include <cstdint>
#include <type_traits>

#include "world/cell_key.h"
#include "world/layers.h"

namespace tidegate::world {

inline constexpr uint32_t kChunkBytesMax = 48 * 1024;

// Whole protocol frames, ready to stand in a message (packed chunks: cell frames with their
// lengths, world pieces: bare protobuf fields; both are to stand in a frame that the flush begins).
struct Chunk {
  const uint8_t* data = nullptr;
  uint32_t bytes = 0;
  uint32_t entities = 0;  // entity records inside, for metrics and the delivery ratio
};

struct ChunkSpan {
  const Chunk* first = nullptr;
  uint32_t count = 0;
  uint32_t bytes = 0;  // sum
  const Chunk* begin() const { return first; }
  const Chunk* end() const { return first + count; }
};

// What readers may ask of a cell for this tick; bits of SubscribeCell.requests.
enum Request : uint8_t {
  kPackedKeyframe = 1,     // for a packed watcher that joins; at an anchor
  kPackedDrop = 2,         // for a packed watcher that leaves
  kProtobufSpawns = 4,     // for a protobuf watcher that joins
  kProtobufWorld = 8,      // for a protobuf watcher's WORLD_STATE
  kProtobufDespawns = 16,  // for a protobuf watcher that leaves
  kPackedTracks = 32,      // for a packed watcher that takes up the chain; at an anchor
};

enum class CrossingKind : uint8_t {
  kOut,   // entity left this cell for `other`: for who watches this cell but not other
  kIn,    // entity came from `other`: for who watches this cell but not other
  kMove,  // entity came from `other`: for who watches both
};

// Protobuf chunks that depend on whether the watcher also sees the other cell.
struct CrossingChunks {
  CellKey other;
  CrossingKind kind = CrossingKind::kOut;
  uint8_t unused[3] = {};
  ChunkSpan chunks;
};

enum PublicationFlag : uint8_t {
  kRefersToHalf = 1,  // packed_layer refers to the layer 1 before it, not to the anchor
  kRebased = 2,       // packed_keyframe is for every watcher: earlier anchors hold no longer
};

struct Publication {
  CellKey cell;
  uint32_t tick = 0;
  uint8_t answered = 0;  // Request bits that this publication answers, also with nothing to send
  uint8_t layer = kNoLayer;  // of packed_layer and protobuf_layer
  uint8_t flags = 0;         // PublicationFlag
  uint8_t unused = 0;
  uint32_t crossing_count = 0;
  uint32_t members = 0;         // of the cell, at the end of this tick
  ChunkSpan packed_chain;       // next frame of the chain
  ChunkSpan packed_layer;       // the tick's frame of a layer
  ChunkSpan packed_keyframe;    // the whole cell as of the end of this tick
  ChunkSpan packed_tracks;      // what the chain expects; none: the keyframe is for it
  ChunkSpan packed_drop;        // forget the cell
  ChunkSpan protobuf_events;    // who came and went: for every protobuf watcher of the cell
  ChunkSpan protobuf_chain;     // changes of this tick
  ChunkSpan protobuf_layer;     // changes since the layer's reference
  ChunkSpan protobuf_spawns;    // all members as of the end of this tick
  ChunkSpan protobuf_world;     // the same as bare WorldStateSnapshot fields
  ChunkSpan protobuf_despawns;  // all members gone from view
  const CrossingChunks* crossings = nullptr;
};
static_assert(std::is_trivially_copyable_v<Publication>);
static_assert(sizeof(Publication) <= 208, "copied once for each reader shard and dirty cell");

class PublicationSink {
 public:
  // Must take it: rings between shards are sized so that there is room (credit).
  virtual void publish(base::ShardId reader, const Publication& publication) = 0;

 protected:
  ~PublicationSink() = default;
};

}  // namespace tidegate::world
