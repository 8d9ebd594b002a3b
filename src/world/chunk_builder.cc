// SPDX-License-Identifier: Apache-2.0
#include "world/chunk_builder.h"

#include <algorithm>

namespace tidegate::world {

void ChunkBuilder::begin() {
  current_ = {};
  count_ = 0;
  failed_ = false;
}

base::MutableBytes ChunkBuilder::room() {
  const base::MutableBytes rest = arena_.rest();
  return rest.first(std::min<size_t>(rest.size(), kChunkBytesMax - current_.bytes));
}

void ChunkBuilder::add(uint32_t bytes, uint32_t entities) {
  if (current_.bytes == 0) current_.data = arena_.rest().data();
  arena_.commit(bytes);
  current_.bytes += bytes;
  current_.entities += entities;
}

void ChunkBuilder::cut() {
  if (current_.bytes == 0) return;
  if (count_ == kChunksMax) {
    failed_ = true;
  } else {
    chunks_[count_++] = current_;
  }
  current_ = {};
}

ChunkSpan ChunkBuilder::finish() {
  cut();
  if (failed_ || count_ == 0) return {};
  Chunk* const list = arena_.take<Chunk>(count_);
  if (list == nullptr) {
    failed_ = true;
    return {};
  }
  ChunkSpan span{list, count_, 0};
  for (uint32_t i = 0; i < count_; ++i) {
    list[i] = chunks_[i];
    span.bytes += list[i].bytes;
  }
  return span;
}

wire::PbWriter& RecordStream::record(uint32_t entities) {
  if (frame_ && frame_->payload().size() + kRecordBytesMax > room_) {
    close();
    out_.cut();
  }
  if (!frame_) {
    base::MutableBytes room = out_.room();
    if (room.size() < kRecordBytesMax * 2 && !out_.empty_chunk()) {
      out_.cut();
      room = out_.room();
    }
    if (room.size() < kRecordBytesMax * 2) {
      out_.fail();
      room = spare_;
    }
    room_ = static_cast<uint32_t>(room.size());
    frame_.emplace(room, wire::EnvelopeHead{.type = type_, .timestamp = now_ms_});
    if (!zone_.empty()) frame_->payload().text(wire::kZoneId, zone_);
  }
  entities_ += entities;
  return frame_->payload();
}

void RecordStream::close() {
  if (!frame_) return;
  const uint32_t bytes = frame_->finish();
  if (bytes == 0) out_.fail();
  if (!out_.failed()) out_.add(bytes, entities_);
  frame_.reset();
  entities_ = 0;
}

}  // namespace tidegate::world
