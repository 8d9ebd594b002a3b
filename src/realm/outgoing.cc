// SPDX-License-Identifier: Apache-2.0
#include "realm/outgoing.h"

#include <cstring>

namespace tidegate::realm {

namespace {

State state_of(const world::Image& image) {
  State s;
  s.position = image.position;
  std::memcpy(s.velocity, image.velocity, sizeof s.velocity);
  s.yaw = image.yaw;
  s.flags = image.flags;
  return s;
}

bool same(const State& a, const State& b) {
  return a.position == b.position && std::memcmp(a.velocity, b.velocity, sizeof a.velocity) == 0 &&
         a.yaw == b.yaw && a.flags == b.flags;
}

uint32_t hash_of(base::Bytes bytes) {
  uint32_t h = 0x811c9dc5u;
  for (const uint8_t b : bytes) h = (h ^ b) * 0x01000193u;
  return h;
}

}  // namespace

Outgoing::Outgoing(const OutgoingConfig& config)
    : config_(config),
      told_(config.entities),
      gone_(config.entities == 0 ? 0 : kGoneMax),
      room_(config.entities == 0 ? 0 : size_t{config.batch_bytes} * kOpen) {
  for (uint32_t i = 0; i < kOpen && room_.size() != 0; ++i) {
    open_[i].writer =
        BatchWriter({room_.data() + size_t{i} * config.batch_bytes, config.batch_bytes});
  }
}

// Where the list is full it is the lease that ends the entity elsewhere.
void Outgoing::note_gone(base::EntityId id, uint32_t stamp) {
  if (gone_count_ < gone_.size()) gone_[gone_count_++] = {id.value, stamp};
}

void Outgoing::forget(uint64_t mask) {
  for (size_t s = 0; s < told_.size(); ++s) {
    if (told_[s].id == 0) continue;
    told_[s].known &= ~mask;
    told_[s].current &= ~mask;
  }
}

void Outgoing::flush(Open& open) {
  if (open.writer.records() == 0) return;
  const base::Bytes batch = open.writer.bytes();
  run_bytes_ += batch.size();
  if (sink_->send(open.gateways, batch)) {
    ++counters_.batches;
    counters_.bytes += batch.size();
  } else {
    ++counters_.refused;
    failed_ |= open.gateways;
  }
  open.writer.begin(head_);
}

bool Outgoing::put(uint64_t gateways, const Record& record) {
  uint32_t i = 0;
  while (i < open_count_ && open_[i].gateways != gateways) ++i;
  if (i == open_count_) {
    if (open_count_ == kOpen) {
      // More sets of gateways than batches at a time.
      i = record.id.value % kOpen;
      flush(open_[i]);
    } else {
      ++open_count_;
      open_[i].writer.begin(head_);
    }
    open_[i].gateways = gateways;
  }
  if (open_[i].writer.put(record)) return true;
  flush(open_[i]);
  return open_[i].writer.put(record);
}

void Outgoing::tell(world::EntitySlot s, uint64_t peers, const Areas& areas,
                    const world::EntityTable& entities, const world::WorldScale& scale) {
  Told& told = told_[s];
  constexpr uint8_t kNotOurs = world::kRemote | world::kOutOfCell | world::kLeaving;
  if (!entities.live(s) || (entities.membership(s).state & kNotOurs) != 0) {
    told.id = 0;
    return;
  }
  const world::Image& image = entities.image(s);
  const world::Control& control = entities.control(s);
  const uint32_t id = entities.id(s).value;
  const State now = state_of(image);
  if (told.id != id || told.stamp != control.stamp) {
    told = Told{};
    told.id = id;
    told.stamp = control.stamp;
    told.state = now;
  } else if (!same(told.state, now)) {
    told.state = now;
    told.current = 0;
  }
  base::Bytes custom;
  if (entities.has_custom()) {
    custom = entities.custom(s).state();
    const uint32_t hash = hash_of(custom);
    if (hash != told.custom) told.known = 0;
    told.custom = hash;
  }
  if (s % config_.refresh_runs == runs_ % config_.refresh_runs) told.known = 0;
  const uint64_t whole = peers & ~told.known;
  uint64_t moved = peers & ~whole & ~told.current;
  if ((whole | moved) == 0) return;
  if (moved != 0) moved &= areas.watchers(block_of(scale.cell_of(now.position)));
  Record record;
  record.id = {id};
  record.state = now;
  if (moved != 0 && put(moved, record)) {
    told.current |= moved;
    ++counters_.states;
  }
  if (whole == 0) return;
  record.type = RecordType::kWhole;
  record.stamp = control.stamp;
  record.kind = image.kind;
  record.tag = control.tag;
  record.name = entities.player_id(s);
  record.custom = custom;
  if (put(whole, record)) {
    told.known |= whole;
    told.current |= whole;
    ++counters_.wholes;
  }
}

void Outgoing::run(const Head& head, uint64_t peers, const Areas& areas,
                   const world::EntityTable& entities, const world::WorldScale& scale,
                   BatchSink& sink) {
  head_ = head;
  sink_ = &sink;
  failed_ = 0;
  run_bytes_ = 0;
  open_count_ = 0;
  ++runs_;
  if (peers == 0) {
    gone_count_ = 0;
    return;
  }
  Record record;
  record.type = RecordType::kGone;
  for (uint32_t i = 0; i < gone_count_; ++i) {
    record.id = {gone_[i].id};
    record.stamp = gone_[i].stamp;
    put(peers, record);
    ++counters_.gone;
  }
  gone_count_ = 0;
  const uint32_t count = entities.high_water();
  if (next_ >= count) next_ = 0;
  uint32_t looked = 0;
  while (looked < count && failed_ == 0 && run_bytes_ < config_.run_bytes) {
    tell(next_, peers, areas, entities, scale);
    if (++next_ == count) next_ = 0;
    ++looked;
  }
  for (uint32_t i = 0; i < open_count_; ++i) flush(open_[i]);
  // What was in those batches is not known; it is said anew, a batch after the other.
  if (failed_ != 0) forget(failed_);
}

}  // namespace tidegate::realm
