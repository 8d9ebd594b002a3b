// SPDX-License-Identifier: Apache-2.0
#include "world/directory.h"

#include <bit>

#include "base/assert.h"

namespace tidegate::world {

uint64_t hash_player_id(std::string_view player_id) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : player_id) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  // FNV-1a's upper bits are weak for short names; the finaliser of splitmix64 spreads them.
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
  return h ^ (h >> 31);
}

base::ShardId home_of(std::string_view player_id, uint32_t shard_count) {
  // The upper half chooses the shard, the lower half the bucket there.
  return {static_cast<uint16_t>((hash_player_id(player_id) >> 32) * shard_count >> 32)};
}

Directory::Directory(uint32_t limit)
    : limit_(limit),
      mask_(static_cast<uint32_t>(std::bit_ceil(size_t{limit < 4 ? 4 : limit} * 2)) - 1),
      buckets_(size_t{mask_} + 1),
      entries_(limit),
      links_(limit),
      name_refs_(limit),
      names_(limit) {}

uint32_t Directory::find_index(std::string_view player_id, uint32_t hash) const {
  for (uint32_t b = hash & mask_; buckets_[b] != 0; b = (b + 1) & mask_) {
    const uint32_t i = buckets_[b] - 1;
    if (links_[i].hash == hash && names_.view(name_refs_[i]) == player_id) return i;
  }
  return kNone;
}

DirectoryEntry* Directory::find(std::string_view player_id) {
  const uint32_t i = find_index(player_id, static_cast<uint32_t>(hash_player_id(player_id)));
  return i == kNone ? nullptr : &entries_[i];
}

DirectoryEntry* Directory::insert(std::string_view player_id, uint32_t now_tick) {
  if (player_id.empty() || player_id.size() > kPlayerIdBytesMax) return nullptr;
  const auto hash = static_cast<uint32_t>(hash_player_id(player_id));
  const uint32_t found = find_index(player_id, hash);
  if (found != kNone) return &entries_[found];
  if (count_ == limit_) {
    if (oldest_ == kNone) return nullptr;
    erase_index(oldest_);
  }
  uint32_t i = free_;
  if (i != kNone) {
    free_ = links_[i].older;
  } else {
    i = used_++;
  }
  entries_[i] = DirectoryEntry{};
  entries_[i].last_seen_tick = now_tick;
  name_refs_[i] = names_.add(player_id);
  links_[i] = {hash, kNone, kNone, 0};
  uint32_t b = hash & mask_;
  while (buckets_[b] != 0) b = (b + 1) & mask_;
  buckets_[b] = i + 1;
  ++count_;
  list(i);
  return &entries_[i];
}

void Directory::update(DirectoryEntry* entry, uint32_t now_tick) {
  const auto i = static_cast<uint32_t>(entry - entries_.data());
  TG_ASSERT(i < used_ && name_refs_[i].length != 0);
  entry->last_seen_tick = now_tick;
  unlist(i);
  if (!entry->online()) list(i);
}

void Directory::erase(std::string_view player_id) {
  const uint32_t i = find_index(player_id, static_cast<uint32_t>(hash_player_id(player_id)));
  if (i != kNone) erase_index(i);
}

void Directory::erase_index(uint32_t i) {
  unlist(i);
  uint32_t b = links_[i].hash & mask_;
  while (buckets_[b] != i + 1) b = (b + 1) & mask_;
  for (uint32_t next = (b + 1) & mask_; buckets_[next] != 0; next = (next + 1) & mask_) {
    const uint32_t home = links_[buckets_[next] - 1].hash & mask_;
    if (((next - home) & mask_) >= ((next - b) & mask_)) {
      buckets_[b] = buckets_[next];
      b = next;
    }
  }
  buckets_[b] = 0;
  names_.remove(name_refs_[i]);
  name_refs_[i] = {};
  links_[i].older = free_;
  free_ = i;
  --count_;
}

void Directory::list(uint32_t i) {
  links_[i].listed = 1;
  links_[i].older = newest_;
  links_[i].newer = kNone;
  (newest_ == kNone ? oldest_ : links_[newest_].newer) = i;
  newest_ = i;
  ++offline_;
}

void Directory::unlist(uint32_t i) {
  Link& link = links_[i];
  if (link.listed == 0) return;
  (link.older == kNone ? oldest_ : links_[link.older].newer) = link.newer;
  (link.newer == kNone ? newest_ : links_[link.newer].older) = link.older;
  link.listed = 0;
  --offline_;
}

size_t Directory::bytes() const {
  return buckets_.bytes() + entries_.bytes() + links_.bytes() + name_refs_.bytes() + names_.bytes();
}

}  // namespace tidegate::world
