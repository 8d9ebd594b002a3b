// SPDX-License-Identifier: Apache-2.0
#include "session/session_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.h"

namespace tidegate::session {

SessionTable::SessionTable(uint32_t limit)
    : limit_(limit),
      mask_(static_cast<uint32_t>(std::bit_ceil(size_t{std::max(limit, 4u)} * 2)) - 1),
      buckets_(size_t{mask_} + 1),
      rows_(limit),
      links_(limit),
      short_names_(limit, kShortBytes),
      long_names_(limit, kPlayerBytesMax) {}

std::string_view SessionTable::player(uint32_t row) const {
  const Link& link = links_[row];
  const mem::BlockPool& names = is_short(link.name_bytes) ? short_names_ : long_names_;
  return base::as_text({names.data(link.name), link.name_bytes});
}

uint32_t SessionTable::find(std::string_view name, uint64_t hash) const {
  const auto h = static_cast<uint32_t>(hash);
  for (uint32_t b = h & mask_; buckets_[b] != 0; b = (b + 1) & mask_) {
    const uint32_t row = buckets_[b] - 1;
    if (links_[row].hash == h && player(row) == name) return row;
  }
  return kNone;
}

uint32_t SessionTable::insert(std::string_view name, uint64_t hash) {
  if (name.empty() || name.size() > kPlayerBytesMax || count_ == limit_) return kNone;
  uint32_t row = free_;
  if (row != kNone) {
    free_ = links_[row].older;
  } else {
    row = used_++;
  }
  rows_[row] = Session{};
  mem::BlockPool& names = is_short(name.size()) ? short_names_ : long_names_;
  links_[row] = {static_cast<uint32_t>(hash),      kNone, kNone, names.allocate(), 0,
                 static_cast<uint8_t>(name.size())};
  std::memcpy(names.data(links_[row].name), name.data(), name.size());
  uint32_t b = static_cast<uint32_t>(hash) & mask_;
  while (buckets_[b] != 0) b = (b + 1) & mask_;
  buckets_[b] = row + 1;
  ++count_;
  parked(row);
  return row;
}

void SessionTable::erase(uint32_t row) {
  TG_ASSERT(row < used_ && rows_[row].log.count == 0);
  unlist(row);
  uint32_t b = links_[row].hash & mask_;
  while (buckets_[b] != row + 1) b = (b + 1) & mask_;
  for (uint32_t next = (b + 1) & mask_; buckets_[next] != 0; next = (next + 1) & mask_) {
    const uint32_t home = links_[buckets_[next] - 1].hash & mask_;
    if (((next - home) & mask_) >= ((next - b) & mask_)) {
      buckets_[b] = buckets_[next];
      b = next;
    }
  }
  buckets_[b] = 0;
  (is_short(links_[row].name_bytes) ? short_names_ : long_names_).free(links_[row].name);
  rows_[row] = Session{};
  links_[row].older = free_;
  free_ = row;
  --count_;
}

void SessionTable::parked(uint32_t row) {
  unlist(row);
  Link& link = links_[row];
  link.listed = 1;
  link.older = newest_;
  link.newer = kNone;
  (newest_ == kNone ? oldest_ : links_[newest_].newer) = row;
  newest_ = row;
  ++parked_;
}

void SessionTable::attached(uint32_t row) { unlist(row); }

void SessionTable::unlist(uint32_t row) {
  Link& link = links_[row];
  if (link.listed == 0) return;
  (link.older == kNone ? oldest_ : links_[link.older].newer) = link.newer;
  (link.newer == kNone ? newest_ : links_[link.newer].older) = link.older;
  link.listed = 0;
  --parked_;
}

uint64_t SessionTable::memory_bytes() const {
  return buckets_.bytes() + rows_.bytes() + links_.bytes() + short_names_.memory_bytes() +
         long_names_.memory_bytes();
}

}  // namespace tidegate::session
