// SPDX-License-Identifier: Apache-2.0
// A cell goes from one slice to another between two ticks: its stream (numbers, slots, references
// of the layers, readers, what they asked for) and its entities (image, references, control, custom
// state, past, inputs that wait). Watchers see nothing of it: the new owner's next frame follows
// upon the old one's last. docs/decisions/0014-cell-moves.md.
#include <algorithm>
#include <cstring>

#include "world/world_slice.h"

namespace tidegate::world {

namespace {

struct GivenStream {
  Cell cell;
  FrameChecksum checksums[kChecksumsKept];
  uint32_t blocks;
  uint32_t gone;
};
struct GivenBlock {
  uint16_t base;
  uint8_t used, changed, since_anchor, since_half;
  uint8_t unused[2];
  uint32_t rest[8];  // of places without a member
};
struct GivenEntity {
  Image image;
  LayerBase layer_base;
  Control control;
  uint32_t id;
  uint32_t since;
  uint32_t samples;
  uint8_t state;  // StateBit
  uint8_t name_bytes;
  uint8_t has_custom;  // 1: a Custom follows
  uint8_t unused;
};
struct GivenInput {
  uint32_t id;
  Input input;
};

constexpr uint8_t kGivenState =
    kActive | kResultPending | kAcknowledges | kCorrected | kLeaving | kRemote;

}  // namespace

// --- the stream ---

size_t CellStreams::give_bytes_max(uint32_t cells, uint32_t entities) {
  return size_t{cells} * sizeof(GivenStream) + size_t{entities} * sizeof(GivenBlock) +
         size_t{entities} * 2 * sizeof(GoneMember);
}

void CellStreams::give(uint32_t c, MoveWriter& out) {
  Cell& cell = cells_[c];
  TG_ASSERT(may_give(c));
  GivenStream head{};
  head.cell = cell;
  std::copy_n(checksums_.data() + size_t{c} * kChecksumsKept, kChecksumsKept, head.checksums);
  for (uint32_t b = cell.first_block; b != kNone; b = blocks_[b].next) ++head.blocks;
  for (uint32_t g = cell.first_gone; g != kNone; g = gone_[g].next) ++head.gone;
  out.put(head);
  for (uint32_t b = cell.first_block; b != kNone;) {
    Block& block = blocks_[b];
    GivenBlock given{block.base, block.used, block.changed, block.since_anchor, block.since_half,
                     {},         {}};
    for (uint32_t i = 0; i < kBlockSlots; ++i) {
      if ((block.used >> i & 1) == 0) given.rest[i] = block.member[i];
    }
    out.put(given);
    const uint32_t next = block.next;
    block.next = free_block_;
    free_block_ = b;
    b = next;
  }
  for (uint32_t g = cell.first_gone; g != kNone; g = gone_[g].next) out.put(gone_[g]);
  forget_gone(cell);

  uint32_t kept = 0;
  for (uint32_t i = 0; cell.queued && i < queue_count_; ++i) {
    if (queue_[i] != c) queue_[kept++] = queue_[i];
  }
  if (cell.queued) queue_count_ = kept;
  index_.erase(cell.key.packed());
  cell.live = cell.queued = false;
  cell.first_block = free_cell_;
  free_cell_ = c;
}

uint32_t CellStreams::take(MoveReader& in, EntityTable& entities,
                           std::span<const EntitySlot> members, uint32_t tick) {
  const auto head = in.get<GivenStream>();
  const uint32_t c = obtain(head.cell.key);
  TG_ASSERT(c != kNone && cells_[c].members == 0 && cells_[c].first_block == kNone);
  Cell& cell = cells_[c];
  cell = head.cell;
  cell.first_block = cell.last_block = kNone;
  cell.first_gone = kNone;
  cell.queued = false;
  cell.taken_tick = tick;
  std::copy_n(head.checksums, kChecksumsKept, checksums_.data() + size_t{c} * kChecksumsKept);
  size_t m = 0;
  bool rests_lost = false;
  for (uint32_t n = 0; n < head.blocks; ++n) {
    const auto given = in.get<GivenBlock>();
    if (given.used == 0 && free_block_ == kNone && blocks_used_ == blocks_.size()) {
      rests_lost = true;  // blocks without members are taken only while there are some to spare
      continue;
    }
    // The cell is whole at every step: new_block() may take empty blocks back from it.
    const uint32_t b = new_block();
    Block& block = blocks_[b];
    block = Block{};
    block.next = kNone;
    block.base = given.base;
    block.used = given.used;
    block.changed = given.changed;
    block.since_anchor = given.since_anchor;
    block.since_half = given.since_half;
    for (uint32_t i = 0; i < kBlockSlots; ++i) {
      if ((given.used >> i & 1) == 0) {
        block.member[i] = given.rest[i];
        continue;
      }
      TG_ASSERT(m < members.size());
      const EntitySlot s = members[m++];
      block.member[i] = s;
      Membership& membership = entities.membership(s);
      membership.cell = c;
      membership.member = b * kBlockSlots + i;
      membership.slot = static_cast<uint16_t>(given.base + i);
      membership.entered = 0;
    }
    (cell.last_block == kNone ? cell.first_block : blocks_[cell.last_block].next) = b;
    cell.last_block = b;
  }
  TG_ASSERT(m == members.size() && m == cell.members);
  if (rests_lost) cell.full_until = 0;
  const bool gone_fit = leaves_ + gone_count_ + head.gone <= gone_.size();
  uint32_t last = kNone;
  for (uint32_t n = 0; n < head.gone; ++n) {
    const auto given = in.get<GoneMember>();
    if (!gone_fit) continue;
    uint32_t g = free_gone_;
    if (g != kNone) {
      free_gone_ = gone_[g].next;
    } else {
      g = gone_used_++;
    }
    gone_[g] = given;
    gone_[g].next = kNone;
    (last == kNone ? cell.first_gone : gone_[last].next) = g;
    last = g;
    ++gone_count_;
  }
  if (!gone_fit || (rests_lost && cell.packed_readers != 0)) {
    ++early_reuses_;
    lose_anchor(cell);
  }
  queue(c);
  return c;
}

// --- the entities ---

size_t WorldSlice::move_bytes_max(const WorldConfig& config) {
  if (config.shard_count < 2 || config.moved_cells == 0) return 0;
  const size_t entity =
      sizeof(GivenEntity) + kPlayerIdBytesMax + (config.custom_state ? sizeof(Custom) : 0) +
      std::min(config.history_ticks, History::kTravelMax) * sizeof(HistorySample) +
      4 * sizeof(GivenInput);
  const uint32_t cells = std::min(config.cells, kCellsGivenMax);
  return size_t{cells} * 2 * sizeof(uint32_t) + config.entities * entity +
         CellStreams::give_bytes_max(cells, config.entities);
}

bool WorldSlice::may_give(CellKey key, ShardId to, uint32_t tick) const {
  // Two moves of one cell in a tick would come to the others on two rings, in any order.
  if (taken_tick_ == tick) return false;
  if (owners_.owner(key) != self_ || to == self_ || to.value >= scale_.shard_count) return false;
  const uint32_t c = cells_.find(key);
  return given_ < kCellsGivenMax && owners_.may_move(key, to) && (c == kNone || cells_.may_give(c));
}

base::Bytes WorldSlice::give_cell(CellKey key, ShardId to, uint32_t tick) {
  TG_ASSERT(may_give(key, to, tick));
  if (given_ == 0) give_used_ = 0;
  ++given_;
  owners_.move(key, to);
  const uint32_t c = cells_.find(key);
  if (c == kNone) return {};
  MoveWriter out({give_memory_.data() + give_used_, give_memory_.size() - give_used_});
  const Cell& cell = cells_.cell(c);
  uint32_t inputs = 0;
  for (uint32_t i = 0; i < input_count_; ++i) {
    inputs += entities_.membership(inputs_[i].entity).cell == c;
  }
  out.put(cell.members);
  out.put(inputs);
  for (uint32_t i = 0; i < input_count_; ++i) {
    if (entities_.membership(inputs_[i].entity).cell != c) continue;
    out.put(GivenInput{entities_.id(inputs_[i].entity).value, inputs_[i].input});
  }
  uint32_t count = 0;
  cells_.for_each_member(cell, [&](uint16_t, EntitySlot s) {
    give_entity(s, tick, out);
    members_[count++] = s;
  });
  cells_.give(c, out);
  for (uint32_t i = 0; i < count; ++i) {
    const EntitySlot s = members_[i];
    const EntityId id = entities_.id(s);
    end_linger(s);
    history_.end(s);
    entities_.membership(s).cell = kNone;
    entities_.remove(s);
    entities_.forward(id, to, tick);
  }
  counters_.cell_entities_out += count;
  const base::Bytes bytes = out.since(0);
  give_used_ += out.used();
  return bytes;
}

void WorldSlice::give_entity(EntitySlot s, uint32_t tick, MoveWriter& out) const {
  const std::string_view name = entities_.player_id(s);
  const Membership& membership = entities_.membership(s);
  HistorySample samples[History::kTravelMax];
  GivenEntity e{};
  e.image = entities_.image(s);
  e.layer_base = entities_.layer_base(s);
  e.control = entities_.control(s);
  e.id = entities_.id(s).value;
  e.since = membership.since;
  e.samples = history_.samples(s, tick, samples);
  e.state = membership.state & kGivenState;
  e.name_bytes = static_cast<uint8_t>(name.size());
  e.has_custom = entities_.has_custom() ? 1 : 0;
  out.put(e);
  out.put_bytes(base::as_bytes(name));
  if (e.has_custom != 0) out.put(entities_.custom(s));
  out.put_bytes({reinterpret_cast<const uint8_t*>(samples), e.samples * sizeof(HistorySample)});
}

void WorldSlice::end_giving() {
  if (given_ == 0) return;
  given_ = 0;
  // Entities that left are nowhere; nobody came since.
  uint32_t kept = 0;
  for (uint32_t i = 0; i < active_count_; ++i) {
    if (entities_.live(active_[i])) active_[kept++] = active_[i];
  }
  active_count_ = kept;
  kept = 0;
  for (uint32_t i = 0; i < input_count_; ++i) {
    if (entities_.live(inputs_[i].entity)) inputs_[kept++] = inputs_[i];
  }
  input_count_ = kept;
}

bool WorldSlice::take_cell(CellKey key, base::Bytes bytes, uint32_t tick) {
  owners_.move(key, self_);
  taken_tick_ = tick;
  if (bytes.empty()) return true;
  MoveReader in(bytes);
  const auto count = in.get<uint32_t>();
  const auto inputs = in.get<uint32_t>();
  const base::Bytes waiting = in.get_bytes(inputs * sizeof(GivenInput));
  if (!cells_.has_room(key) || entities_.limit() - entities_.count() < count) {
    counters_.arrivals_refused += count;
    return false;
  }
  for (uint32_t i = 0; i < count; ++i) members_[i] = take_entity(in, tick);
  cells_.take(in, entities_, {members_.data(), count}, tick);
  TG_ASSERT(in.empty());
  MoveReader queued(waiting);
  for (uint32_t i = 0; i < inputs; ++i) {
    const auto given = queued.get<GivenInput>();
    (void)queue_input({given.id}, given.input);
  }
  for (uint32_t i = 0; i < count; ++i) {
    // Told in the next simulate: the last owner's word about this tick may still be on its way, and
    // would be taken for the newer one.
    const EntitySlot s = members_[i];
    entities_.membership(s).state |= kResultPending | kCameWithCell;
    activate(s);
  }
  counters_.cell_entities_in += count;
  return true;
}

void WorldSlice::tell_taken(EntitySlot s, SliceEvents& events) {
  entities_.membership(s).state &= static_cast<uint8_t>(~kCameWithCell);
  const bool marked = entities_.has_custom() && entities_.custom(s).marked != 0;
  if (marked) entities_.custom(s).marked = 0;
  events.taken(entities_.id(s), entities_.player_id(s), marked);
}

EntitySlot WorldSlice::take_entity(MoveReader& in, uint32_t tick) {
  const auto e = in.get<GivenEntity>();
  const std::string_view name = base::as_text(in.get_bytes(e.name_bytes));
  const EntitySlot s = entities_.add({e.id}, name, e.image.kind);
  entities_.image(s) = e.image;
  entities_.layer_base(s) = e.layer_base;
  entities_.control(s) = e.control;
  Membership& membership = entities_.membership(s);
  membership.since = e.since;
  membership.state = static_cast<uint8_t>(e.state & ~kActive);  // the caller activates it
  if (e.has_custom != 0) entities_.custom(s) = in.get<Custom>();
  HistorySample samples[History::kTravelMax];
  const base::Bytes past = in.get_bytes(e.samples * sizeof(HistorySample));
  if (!past.empty()) std::memcpy(samples, past.data(), past.size());
  history_.import(s, tick, {samples, e.samples});
  if (e.control.linger_deadline != 0) count_linger(e.control.linger_deadline);
  return s;
}

}  // namespace tidegate::world
