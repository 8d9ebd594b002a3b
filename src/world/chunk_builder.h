// SPDX-License-Identifier: Apache-2.0
// Collects finished protocol frames into chunks of at most kChunkBytesMax in the tick arena, and
// writes protobuf records into frames that are closed and begun again where a chunk is full.
// Nothing is returned in part: once the arena is full, failed() stays set until begin(), and the
// caller rewinds the arena.
// Thread: shard. Owner: CellEncoder. Limits: kChunksMax chunks in one span.
#pragma once

#include <optional>
#include <string_view>

#include "mem/mapped_array.h"
#include "wire/envelope.h"
#include "wire/messages.h"
#include "world/custom_state.h"
#include "world/publication.h"
#include "world/tick_arena.h"

namespace tidegate::world {

class ChunkBuilder {
 public:
  static constexpr uint32_t kChunksMax = 2048;

  explicit ChunkBuilder(TickArena& arena) : arena_(arena), chunks_(kChunksMax) {}

  // Starts a span; nothing else may take from the arena until finish().
  void begin();
  // Where the next bytes of the current chunk go; its end is the chunk's limit or the arena's.
  base::MutableBytes room();
  // Adds the bytes written at room() to the chunk.
  void add(uint32_t bytes, uint32_t entities);
  // The next bytes go into a new chunk.
  void cut();
  // Closes the last chunk; an empty span when nothing was added or it failed.
  ChunkSpan finish();

  bool empty_chunk() const { return current_.bytes == 0; }
  bool failed() const { return failed_; }
  void fail() { failed_ = true; }

 private:
  TickArena& arena_;
  mem::MappedArray<Chunk> chunks_;
  Chunk current_;
  uint32_t count_ = 0;
  bool failed_ = false;
};

// Records of one message type (or bare fields of a WORLD_STATE) over as many frames as they need.
// A frame is begun by its first record, so no record means no bytes.
class RecordStream {
 public:
  // No record is longer: a name of 64 bytes, three vectors, times, custom state and their tags.
  static constexpr uint32_t kRecordBytesMax = 256 + kCustomBytesMax;

  // `zone`: put in front of each frame's records (ZONE_UPDATE), empty for other types.
  RecordStream(ChunkBuilder& out, wire::MessageType type, int64_t now_ms, std::string_view zone)
      : out_(out), zone_(zone), now_ms_(now_ms), type_(type) {}
  ~RecordStream() { close(); }
  RecordStream(const RecordStream&) = delete;
  RecordStream& operator=(const RecordStream&) = delete;

  // Writer for one more record. `entities`: how many the record counts for.
  wire::PbWriter& record(uint32_t entities);
  // Ends the frame under way; the next record begins another.
  void close();

 private:
  ChunkBuilder& out_;
  std::string_view zone_;
  int64_t now_ms_;
  wire::MessageType type_;
  std::optional<wire::MessageWriter> frame_;
  uint32_t room_ = 0;                   // bytes the open frame may take
  uint32_t entities_ = 0;               // in the open frame
  uint8_t spare_[kRecordBytesMax * 2];  // takes the record when the arena is full
};

}  // namespace tidegate::world
