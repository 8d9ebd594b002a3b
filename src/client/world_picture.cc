// SPDX-License-Identifier: Apache-2.0
#include "client/world_picture.h"

#include <functional>
#include <iterator>

namespace tidegate::client {

using wire::PbReader;
using wire::WireType;

namespace {

// Of InterestUpdate.
constexpr uint32_t kEnteredView = 1;
constexpr uint32_t kExitedView = 2;
constexpr uint32_t kViewDistance = 3;

uint64_t hash_of(std::string_view name) { return std::hash<std::string_view>{}(name) | 1; }

}  // namespace

void WorldPicture::apply_cell_frames(base::Bytes payload) {
  wire::CellFrames frames(payload);
  base::Bytes frame;
  while (frames.next(&frame)) apply_cell_frame(frame, frames.tick());
  if (frames.malformed()) ++counters_.malformed;
}

void WorldPicture::apply_cell_frame(base::Bytes frame, uint32_t tick) {
  wire::CellFrameHeader header;
  if (!wire::CellImage::read_header(frame, &header)) {
    ++counters_.malformed;
    return;
  }
  ++counters_.frames;
  const uint32_t key = static_cast<uint32_t>(static_cast<uint16_t>(header.cell_x)) << 16 |
                       static_cast<uint16_t>(header.cell_z);
  const auto it = cells_.try_emplace(key).first;
  if (header.has_checksum) ++counters_.checksums;
  in_delta_ = !header.keyframe && !header.drop;
  tick_ = tick;
  applying_ = key;
  const wire::CellStatus status = it->second.apply(frame, tick, this);
  const auto flip = flips_.find(key);
  if (status == wire::CellStatus::kOk && (header.keyframe || header.drop)) echoes_.erase(key);
  switch (status) {
    case wire::CellStatus::kOk:
      if (flip == flips_.end() || !(header.has_checksum || header.drop)) break;
      if (header.drop) {
        ++counters_.flips_gone;
      } else {
        ++counters_.flips_healed;
        events_.on_cell_healed(flip->second.at);
        // Where it moves to was not looked at: only a keyframe brings that anew.
        if (!header.keyframe) echoes_.insert(key);
      }
      flips_.erase(flip);
      break;
    case wire::CellStatus::kMalformed:
      ++counters_.malformed;
      break;
    case wire::CellStatus::kMissingReference:
      ++counters_.chain_gaps;
      break;
    case wire::CellStatus::kChecksumMismatch:
      if (flip == flips_.end()) {
        counters_.checksum_mismatches += echoes_.count(key) == 0;
      } else if (!flip->second.detected) {
        flip->second.detected = true;
        ++counters_.flips_detected;
      }
      events_.on_cell_differs(it->second);
      break;
  }
  if (header.drop) cells_.erase(it);
}

void WorldPicture::on_enter(const wire::CellImage::Member& member) {
  ++counters_.enters;
  seen(member);
  if (in_delta_ && member.id % kDoublesSample == 0) entered_.push_back(member.id);
}
void WorldPicture::on_leave(const wire::CellImage::Member&, const wire::CellLeave& leave) {
  ++counters_.leaves;
  if (flips_.empty() || !in_delta_) return;
  // The rest of the cell was never spoiled.
  const auto flip = flips_.find(applying_);
  if (flip == flips_.end() || flip->second.slot != leave.slot) return;
  ++counters_.flips_gone;
  flips_.erase(flip);
}
void WorldPicture::seen(const wire::CellImage::Member& member) {
  events_.on_member_seen(member, static_cast<int16_t>(applying_ >> 16),
                         static_cast<int16_t>(applying_));
}
void WorldPicture::on_change(const wire::CellImage::Member& member) {
  ++counters_.updates;
  seen(member);
  if (member.name != own_name_) events_.on_entity_changed(member.name, member.flags);
}

void WorldPicture::on_spawn(const wire::PlayerStateUpdate& state, uint32_t /*kind*/,
                            base::Bytes /*custom*/, bool snapshot) {
  ++counters_.enters;
  const auto [it, fresh] = entities_.try_emplace(std::string(state.player_id));
  if (!fresh) ++counters_.violations;
  if (!snapshot) entered_balance_ += hash_of(state.player_id);
  it->second.position = state.position;
  it->second.flags = state.state_flags;
}

void WorldPicture::on_despawn(std::string_view name) {
  key_ = name;
  ++counters_.leaves;
  exited_balance_ += hash_of(key_);
  if (entities_.erase(key_) == 0) ++counters_.violations;
}

void WorldPicture::on_update(const wire::PlayerStateDelta& delta, base::Bytes /*custom*/) {
  ++counters_.updates;
  key_ = delta.player_id;
  const auto it = entities_.find(key_);
  if (it == entities_.end()) {
    ++counters_.violations;
    return;
  }
  if (delta.changed_fields & wire::kChangedPosition) it->second.position = delta.position;
  if (delta.changed_fields & wire::kChangedFlags) it->second.flags = delta.state_flags;
  if (key_ != own_name_) events_.on_entity_changed(key_, it->second.flags);
}

void WorldPicture::apply_world_state(base::Bytes payload) {
  ++counters_.frames;
  entities_.clear();
  counters_.malformed += !read_world_state(payload, *this);
}

void WorldPicture::apply_zone_update(base::Bytes payload) {
  ++counters_.frames;
  counters_.malformed += !read_zone_update(payload, *this);
}

void WorldPicture::apply_interest_update(base::Bytes payload) {
  PbReader reader(payload);
  while (reader.next()) {
    if (reader.field() == kViewDistance && reader.is(WireType::kFixed32)) {
      view_distance_ = reader.number();
    }
    if (reader.field() != kEnteredView && reader.field() != kExitedView) continue;
    if (!reader.is(WireType::kBytes)) {
      ++counters_.malformed;
      return;
    }
    uint64_t& balance = reader.field() == kEnteredView ? entered_balance_ : exited_balance_;
    balance -= hash_of(reader.text());
  }
  if (reader.failed()) ++counters_.malformed;
}

void WorldPicture::end_message(size_t message_bytes) {
  at_rest_ = message_bytes < kLastMessageBytesMax;
  if (message_bytes >= kLastMessageBytesMax) return;
  if ((entered_balance_ | exited_balance_) != 0) {
    ++counters_.violations;
    entered_balance_ = exited_balance_ = 0;
  }
  for (uint32_t id : entered_) {
    uint32_t places = 0;
    for (const auto& [key, image] : cells_) {
      // Of a cell that is sent more seldom, the image may be older than the crossing.
      if (image.header().tick != tick_) continue;
      for (const wire::CellImage::Member& member : image.slots()) {
        if (member.live && member.id == id) ++places;
      }
    }
    if (places > 1) ++counters_.violations;
  }
  entered_.clear();
}

bool WorldPicture::flip_bit(base::Instant now, uint64_t random) {
  if (cells_.empty()) return false;
  auto at = std::next(cells_.begin(), static_cast<std::ptrdiff_t>(random % cells_.size()));
  for (size_t tried = 0; tried < cells_.size(); ++tried) {
    const bool whole = flips_.count(at->first) == 0 && at->second.has_frame();
    const int32_t slot = whole ? at->second.flip_bit(random) : -1;
    if (slot >= 0) {
      flips_[at->first] = {now, static_cast<uint16_t>(slot)};
      ++counters_.flips;
      return true;
    }
    if (++at == cells_.end()) at = cells_.begin();
  }
  return false;
}

bool WorldPicture::oldest_flip(base::Instant* out) const {
  bool any = false;
  for (const auto& [key, flip] : flips_) {
    if (!any || flip.at < *out) *out = flip.at;
    any = true;
  }
  return any;
}

void WorldPicture::clear() {
  cells_.clear();
  flips_.clear();
  echoes_.clear();
  entities_.clear();
  view_distance_ = 0;
}

size_t WorldPicture::entity_count() const {
  size_t n = entities_.size();
  for (const auto& [key, image] : cells_) n += image.count();
  return n;
}

}  // namespace tidegate::client
