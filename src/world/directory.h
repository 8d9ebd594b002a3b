// SPDX-License-Identifier: Apache-2.0
// Home of a set of players (those whose id hashes to this shard): which entity a player has, who
// owns it, which connection holds it, and where it last stood. It decides duplicate logins and
// lets a returning player stand where it was. Players without entity are kept until room is
// needed, the longest unseen goes first.
// Thread: shard. Owner: Shard. Limits: `limit` players; all memory at construction.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"
#include "mem/mapped_array.h"
#include "world/name_slab.h"
#include "world/world_config.h"

namespace tidegate::world {

// 64 bits of a player id (FNV-1a, mixed): the same on every shard.
uint64_t hash_player_id(std::string_view player_id);
// The shard that keeps the player's directory entry.
base::ShardId home_of(std::string_view player_id, uint32_t shard_count);

struct DirectoryEntry {
  base::EntityId entity;           // none: not in the world
  base::ConnectionRef connection;  // invalid: nobody holds the entity
  base::ShardId connection_shard;
  base::ShardId entity_shard;  // owner as last heard
  Steps3 position;             // where it last left the world; valid with has_position
  uint32_t last_seen_tick;
  uint8_t has_position;  // 1: it was here before
  uint8_t yaw;           // valid with has_position
  uint16_t user;         // for the shard's use: state of a login under way
  uint8_t remote;        // 1: another gateway owns the entity (realm/remotes.h)
  uint32_t stamp;        // of the player's owner among gateways; 0 with one gateway
  bool online() const { return entity.valid() || connection.valid(); }
};

class Directory {
 public:
  explicit Directory(uint32_t limit);

  // nullptr when unknown. Pointers are valid until the next insert or erase.
  DirectoryEntry* find(std::string_view player_id);
  // The entry of the player, new when unknown (empty, no entity). nullptr when the name's length
  // is not 1..64, or all `limit` players are online. May evict the longest unseen offline player.
  DirectoryEntry* insert(std::string_view player_id, uint32_t now_tick);
  // Call after any change of entity or connection, and when the player was seen: keeps the order
  // in which offline players are evicted.
  void update(DirectoryEntry* entry, uint32_t now_tick);
  void erase(std::string_view player_id);

  // Entries ever used, for a walk in pieces: for (i = 0; i < high_water(); ++i) if (known(i)) ...
  uint32_t high_water() const { return used_; }
  bool known(uint32_t i) const { return name_refs_[i].length != 0; }
  const DirectoryEntry& entry(uint32_t i) const { return entries_[i]; }
  // nullptr when there is none any more.
  DirectoryEntry* entry_at(uint32_t i) { return i < used_ && known(i) ? &entries_[i] : nullptr; }
  uint32_t index_of(const DirectoryEntry* entry) const {
    return static_cast<uint32_t>(entry - entries_.data());
  }
  std::string_view player_id(uint32_t i) const { return names_.view(name_refs_[i]); }

  uint32_t count() const { return count_; }
  uint32_t offline_count() const { return offline_; }
  size_t bytes() const;

 private:
  struct Link {
    uint32_t hash;          // of the name, for growing probes without touching names
    uint32_t older, newer;  // list of offline entries; kNone at the ends
    uint32_t listed;        // 1: in the list
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t find_index(std::string_view player_id, uint32_t hash) const;
  void list(uint32_t i);
  void unlist(uint32_t i);
  void erase_index(uint32_t i);

  uint32_t limit_;
  uint32_t mask_;
  uint32_t count_ = 0;
  uint32_t offline_ = 0;
  uint32_t oldest_ = kNone, newest_ = kNone;
  uint32_t free_ = kNone;
  uint32_t used_ = 0;                   // entries ever used
  mem::MappedArray<uint32_t> buckets_;  // index + 1; 0: empty
  mem::MappedArray<DirectoryEntry> entries_;
  mem::MappedArray<Link> links_;
  mem::MappedArray<NameRef> name_refs_;  // length 0: free
  NameSlab names_;
};

}  // namespace tidegate::world
