// SPDX-License-Identifier: Apache-2.0
#include "shard/snapshot_capture.h"

namespace tidegate::shard {

using mailbox::SnapshotRecord;

SnapshotCapture::SnapshotCapture(uint32_t entities, uint32_t tick_rate)
    : tick_rate_(tick_rate), records_(size_t{entities} * mailbox::kSnapshotRecordBytesMax) {}

void SnapshotCapture::ask(uint32_t tick, uint32_t now_tick, Boundary boundary) {
  const auto ahead = static_cast<int32_t>(tick - now_tick);
  const bool late = ahead < 0 || (ahead == 0 && boundary == Boundary::kPassed);
  asked_tick_ = tick;
  records_sent_ = 0;
  piece_used_ = piece_records_ = 0;
  state_ = late || records_.size() == 0 ? State::kMissed : State::kAsked;
}

void SnapshotCapture::cut(uint32_t tick, const world::EntityTable& entities,
                          const world::WorldSlice* slice) {
  TG_ASSERT(due(tick));
  used_ = sent_ = 0;
  next_place_ = 0;
  for (world::EntitySlot s = 0; s < entities.high_water(); ++s) {
    if (!entities.live(s) || (slice != nullptr && slice->came_with_cell(s, tick))) continue;
    if ((entities.membership(s).state & world::kRemote) != 0) continue;  // its owner keeps it
    const world::Image& image = entities.image(s);
    SnapshotRecord record{};
    record.source = mailbox::kSnapshotEntity;
    record.kind = static_cast<uint8_t>(image.kind);
    record.yaw = image.yaw;
    for (int i = 0; i < 3; ++i) record.position[i] = image.position[i];
    for (int i = 0; i < 3; ++i) record.velocity[i] = image.velocity[i];
    record.flags = image.flags;
    record.id = entities.id(s).value;
    used_ += mailbox::write_record(records_.data() + used_, record, entities.player_id(s),
                                   entities.control(s).tag);
  }
  state_ = State::kEntities;
}

uint32_t SnapshotCapture::gather_entities() {
  uint32_t n = 0;
  while (sent_ < used_) {
    SnapshotRecord record;
    std::memcpy(&record, records_.data() + sent_, sizeof record);
    const auto bytes =
        static_cast<uint32_t>(sizeof record + record.name_bytes + record.extra_bytes);
    if (piece_used_ + bytes > kPieceBytes) break;
    std::memcpy(piece_ + piece_used_, records_.data() + sent_, bytes);
    piece_used_ += bytes;
    sent_ += bytes;
    ++n;
  }
  return n;
}

uint32_t SnapshotCapture::gather_places(const world::Directory& directory) {
  uint32_t n = 0;
  for (uint32_t looks = 0; looks < kLooksPerTurn && next_place_ < directory.high_water(); ++looks) {
    if (piece_used_ + mailbox::kSnapshotRecordBytesMax > kPieceBytes) break;
    const uint32_t i = next_place_++;
    if (!directory.known(i) || directory.entry(i).has_position == 0) continue;
    const world::DirectoryEntry& entry = directory.entry(i);
    SnapshotRecord record{};
    record.source = mailbox::kSnapshotPlace;
    record.yaw = entry.yaw;
    for (int k = 0; k < 3; ++k) record.position[k] = entry.position[k];
    // It may have been seen after the cut.
    const auto ticks = static_cast<int32_t>(asked_tick_ - entry.last_seen_tick);
    record.flags = ticks > 0 ? static_cast<uint32_t>(ticks) / tick_rate_ : 0;
    piece_used_ += mailbox::write_record(piece_ + piece_used_, record, directory.player_id(i));
    ++n;
  }
  return n;
}

void SnapshotCapture::send(const world::Directory& directory, mailbox::Mailbox& mailbox) {
  if (state_ == State::kIdle || state_ == State::kAsked) return;
  const mailbox::AgentId control = mailbox.control();
  if (sending()) {
    if (piece_used_ == 0 && state_ == State::kEntities) {
      piece_records_ = gather_entities();
      if (sent_ == used_) state_ = State::kPlaces;
    }
    if (piece_used_ == 0 && state_ == State::kPlaces) {
      piece_records_ = gather_places(directory);
      if (next_place_ >= directory.high_water()) state_ = State::kEnd;
    }
  }
  if (piece_used_ != 0) {
    if (!mailbox.post(control, mailbox::SnapshotPiece{asked_tick_, piece_records_},
                      {piece_, piece_used_})) {
      return;
    }
    records_sent_ += piece_records_;
    piece_used_ = piece_records_ = 0;
    return;
  }
  if (state_ != State::kEnd && state_ != State::kMissed) return;
  const bool missed = state_ == State::kMissed;
  if (mailbox.post(control, mailbox::SnapshotEnd{asked_tick_, records_sent_, missed ? 1u : 0u})) {
    state_ = State::kIdle;
  }
}

}  // namespace tidegate::shard
