// SPDX-License-Identifier: Apache-2.0
#include "client/world_picture.h"

namespace tidegate::client {

using wire::PbReader;
using wire::WireType;

void WorldPicture::apply_cell_frame(base::Bytes payload) {
  wire::CellFrameHeader header;
  if (!wire::CellImage::read_header(payload, &header)) {
    ++counters_.malformed;
    return;
  }
  ++counters_.frames;
  const uint32_t key = static_cast<uint32_t>(static_cast<uint16_t>(header.cell_x)) << 16 |
                       static_cast<uint16_t>(header.cell_z);
  const auto it = cells_.try_emplace(key).first;
  if (header.has_checksum) ++counters_.checksums;
  switch (it->second.apply(payload, this)) {
    case wire::CellStatus::kOk:
      break;
    case wire::CellStatus::kMalformed:
      ++counters_.malformed;
      break;
    case wire::CellStatus::kMissingReference:
      ++counters_.chain_gaps;
      break;
    case wire::CellStatus::kChecksumMismatch:
      ++counters_.checksum_mismatches;
      break;
  }
  if (header.drop) cells_.erase(it);
}

void WorldPicture::on_enter(const wire::CellImage::Member&) { ++counters_.enters; }
void WorldPicture::on_leave(const wire::CellImage::Member&, const wire::CellLeave&) {
  ++counters_.leaves;
}
void WorldPicture::on_change(const wire::CellImage::Member& member) {
  ++counters_.updates;
  if (member.name != own_name_) events_.on_entity_changed(member.name, member.flags);
}

void WorldPicture::enter(const wire::PlayerStateUpdate& state, bool in_snapshot) {
  ++counters_.enters;
  const auto [it, fresh] = entities_.try_emplace(std::string(state.player_id));
  if (!fresh && !in_snapshot) ++counters_.violations;
  it->second.position = state.position;
  it->second.flags = state.state_flags;
}

void WorldPicture::apply_world_state(base::Bytes payload) {
  ++counters_.frames;
  entities_.clear();
  PbReader reader(payload);
  while (reader.next()) {
    const uint32_t field = reader.field();
    if (field < wire::kSnapshotPlayers || field > wire::kSnapshotObjects) continue;
    wire::PlayerStateUpdate state;
    if (!reader.is(WireType::kBytes) || !wire::decode(reader.bytes(), &state)) {
      ++counters_.malformed;
      return;
    }
    enter(state, true);
  }
  if (reader.failed()) ++counters_.malformed;
}

bool WorldPicture::apply_spawn(base::Bytes bytes) {
  PbReader reader(bytes);
  while (reader.next()) {
    if (reader.field() != 1) continue;
    wire::PlayerStateUpdate state;
    if (!reader.is(WireType::kBytes) || !wire::decode(reader.bytes(), &state)) return false;
    enter(state, false);
  }
  return !reader.failed();
}

bool WorldPicture::apply_update(base::Bytes bytes) {
  PbReader reader(bytes);
  while (reader.next()) {
    if (reader.field() != 1) continue;
    wire::PlayerStateDelta delta;
    if (!reader.is(WireType::kBytes) || !wire::decode(reader.bytes(), &delta)) return false;
    ++counters_.updates;
    key_ = delta.player_id;
    const auto it = entities_.find(key_);
    if (it == entities_.end()) {
      ++counters_.violations;
      continue;
    }
    if (delta.changed_fields & wire::kChangedPosition) it->second.position = delta.position;
    if (delta.changed_fields & wire::kChangedFlags) it->second.flags = delta.state_flags;
    if (key_ != own_name_) events_.on_entity_changed(key_, it->second.flags);
  }
  return !reader.failed();
}

void WorldPicture::apply_zone_update(base::Bytes payload) {
  ++counters_.frames;
  PbReader reader(payload);
  while (reader.next()) {
    bool good = true;
    switch (reader.field()) {
      case wire::kZoneSpawns:
        good = reader.is(WireType::kBytes) && apply_spawn(reader.bytes());
        break;
      case wire::kZoneDespawns:
        good = reader.is(WireType::kBytes);
        if (good) {
          key_ = reader.text();
          ++counters_.leaves;
          if (entities_.erase(key_) == 0) ++counters_.violations;
        }
        break;
      case wire::kZoneUpdates:
        good = reader.is(WireType::kBytes) && apply_update(reader.bytes());
        break;
      default:
        break;
    }
    if (!good) {
      ++counters_.malformed;
      return;
    }
  }
  if (reader.failed()) ++counters_.malformed;
}

void WorldPicture::clear() {
  cells_.clear();
  entities_.clear();
}

size_t WorldPicture::entity_count() const {
  size_t n = entities_.size();
  for (const auto& [key, image] : cells_) n += image.count();
  return n;
}

}  // namespace tidegate::client
