// SPDX-License-Identifier: Apache-2.0
#include "session/name_table.h"

namespace tidegate::session {

uint64_t hash_name(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
  return h ^ (h >> 31);
}

uint32_t home_shard(std::string_view name, uint32_t shards) {
  return static_cast<uint32_t>((hash_name(name) >> 32) * shards >> 32);
}

uint32_t NameTable::find(std::string_view name) const {
  const auto hash = static_cast<uint32_t>(hash_name(name));
  for (uint32_t b = hash & mask_; buckets_[b] != 0; b = (b + 1) & mask_) {
    const uint32_t row = buckets_[b] - 1;
    if (rows_[row].hash == hash && this->name(row) == name) return row;
  }
  return kNone;
}

uint32_t NameTable::insert(std::string_view name) {
  if (name.empty() || name.size() > stride_ || count_ == limit_) return kNone;
  const auto hash = static_cast<uint32_t>(hash_name(name));
  uint32_t row = free_;
  if (row != kNone) {
    free_ = rows_[row].next_free;
  } else {
    row = high_water_++;
  }
  rows_[row] = {hash, static_cast<uint16_t>(name.size()), 0, kNone};
  std::memcpy(names_.data() + size_t{row} * stride_, name.data(), name.size());
  uint32_t b = hash & mask_;
  while (buckets_[b] != 0) b = (b + 1) & mask_;
  buckets_[b] = row + 1;
  ++count_;
  return row;
}

void NameTable::erase(uint32_t row) {
  TG_ASSERT(used(row));
  uint32_t b = rows_[row].hash & mask_;
  while (buckets_[b] != row + 1) b = (b + 1) & mask_;
  // Backward shift: no tombstones.
  for (uint32_t next = (b + 1) & mask_; buckets_[next] != 0; next = (next + 1) & mask_) {
    const uint32_t home = rows_[buckets_[next] - 1].hash & mask_;
    if (((next - home) & mask_) >= ((next - b) & mask_)) {
      buckets_[b] = buckets_[next];
      b = next;
    }
  }
  buckets_[b] = 0;
  rows_[row].bytes = 0;
  rows_[row].next_free = free_;
  free_ = row;
  --count_;
}

}  // namespace tidegate::session
