// SPDX-License-Identifier: Apache-2.0
#include "realm/remotes.h"

#include <algorithm>

namespace tidegate::realm {

Remotes::Remotes(uint32_t limit, base::Duration lease)
    : rows_(limit), index_(limit), lease_(lease) {}

Remote* Remotes::find(base::EntityId id) {
  const uint32_t i = index_.find(id.value);
  return i == world::FlatMap::kAbsent ? nullptr : &rows_[i];
}

Remote* Remotes::add(const Record& whole, uint32_t gateway, uint32_t tick, uint16_t shard,
                     base::Instant now) {
  TG_ASSERT(find(whole.id) == nullptr);
  uint32_t i = free_;
  if (i != kNone) {
    free_ = rows_[i].index;
  } else if (high_water_ < rows_.size()) {
    i = high_water_++;
  } else {
    return nullptr;
  }
  index_.insert(whole.id.value, i);
  ++count_;
  Remote& r = rows_[i];
  r = Remote{};
  r.id = whole.id;
  r.stamp = whole.stamp;
  r.tick = tick;
  r.index = i;
  r.shard = shard;
  r.gateway = static_cast<uint8_t>(gateway);
  r.kind = whole.kind;
  r.lease = now + lease_;
  return &r;
}

void Remotes::erase(Remote* remote) {
  index_.erase(remote->id.value);
  const uint32_t i = remote->index;
  *remote = Remote{};
  remote->id = {0};
  remote->index = free_;
  free_ = i;
  --count_;
}

Remotes::Verdict Remotes::judge(const Record& record, uint32_t gateway, uint32_t tick,
                                base::Instant now, Remote** out) {
  Remote* const r = find(record.id);
  *out = r;
  if (r == nullptr) return Verdict::kUnknown;
  if (record.type == RecordType::kWhole && record.kind != r->kind) return Verdict::kStale;
  Verdict verdict = Verdict::kGood;
  if (r->gateway != gateway) {
    if (record.type != RecordType::kWhole || !newer(record.stamp, r->stamp)) {
      return Verdict::kStale;
    }
    verdict = Verdict::kTaken;
    r->gateway = static_cast<uint8_t>(gateway);
  } else if (record.type != RecordType::kState && newer(r->stamp, record.stamp)) {
    return Verdict::kStale;
  } else if (!r->any_tick && static_cast<int32_t>(tick - r->tick) < 0) {
    return Verdict::kStale;  // shards of one gateway overtake each other
  }
  if (record.type != RecordType::kState) r->stamp = record.stamp;
  r->tick = tick;
  r->any_tick = false;
  r->lease = now + lease_;
  return verdict;
}

void Remotes::doubt(uint64_t mask, base::Instant now, base::Duration grace) {
  for_each([&](Remote& r) {
    if ((mask >> r.gateway & 1) == 0) return;
    r.any_tick = true;
    r.lease = std::min(r.lease, now + grace);
  });
}

}  // namespace tidegate::realm
