// SPDX-License-Identifier: Apache-2.0
// What the users whose ids hash to this shard are to others: groups they are in or invited to,
// friends, whom they shut out, with whom they share their presence. One list of entries for each
// user; the same entries are what a store keeps, what an export shows and what an erasure takes.
// It decides nothing about groups (group_home.h does) and sends nothing.
//
// Thread: shard. Owner: shard::Social. Limits: UserLimits; all memory at construction.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "mem/mapped_array.h"
#include "session/group_rules.h"
#include "session/name_table.h"
#include "session/presence_home.h"

namespace tidegate::session {

// What an entry says. Kept in stores: numbers stay.
enum class Relation : uint8_t {
  kGroup = 1,       // name: a group, value: GroupRole, kNone for an invitation
  kFriend = 2,      // name: a user
  kBlocked = 3,     // name: a user
  kSharedWith = 4,  // name: a user
  kSharing = 5,     // no name, value: Sharing
  kAccess = 6,      // only in stores: user is a group, value: GroupAccess
};
inline constexpr uint32_t kRelationsEnd = 7;

// Values of the enum in social.proto: who sees a user's presence.
enum class Sharing : uint8_t {
  kUnchanged = 0,
  kEveryone = 1,
  kFriends = 2,
  kSelected = 3,
  kNobody = 4
};

struct UserLimits {
  uint32_t users = 20'000;     // with entries, of a home shard
  uint32_t entries = 100'000;  // of these together
  uint32_t friends = 200;      // of one user
  uint32_t blocked = 200;
  uint32_t shared = 200;
  uint32_t groups = 16;  // and invitations
};

class UserHome {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kNameBytes = 120;
  enum class Result : uint8_t { kDone, kSame, kFull, kNoRoom };

  explicit UserHome(const UserLimits& limits);

  // kFull: the user has as many entries of this kind as it may.
  Result set(std::string_view user, Relation relation, std::string_view name, uint8_t value);
  // False: there was no such entry.
  bool remove(std::string_view user, Relation relation, std::string_view name);
  bool has(std::string_view user, Relation relation, std::string_view name) const;
  Sharing sharing(std::string_view user) const;
  // Whether some watchers are shown nothing of the user.
  bool restricted(std::string_view user) const;
  // Whether `watcher` may see the user's presence, as far as the user's own lists say.
  bool shows(std::string_view user, std::string_view watcher) const;
  // For restricted users: hashes (hash_name()) of whom `inclusive` says, at most `most`. Inclusive:
  // they alone see the presence; else all but they.
  uint32_t audience(std::string_view user, bool* inclusive, uint64_t* out, uint32_t most) const;

  // Calls visit(relation, value, name) for each entry.
  template <class Visit>
  void for_each(std::string_view user, Visit&& visit) const {
    const uint32_t row = names_.find(user);
    if (row == NameTable::kNone) return;
    for (uint32_t e = users_[row].first; e != kNone; e = entries_[e].next) {
      const Entry& entry = entries_[e];
      visit(entry.relation, entry.value, std::string_view{entry.name, entry.bytes});
    }
  }
  // Calls visit(user, relation, value, name) for every entry of all users, each user's in order.
  template <class Visit>
  void for_each_entry(Visit&& visit) const {
    for (uint32_t row = 0; row < names_.high_water(); ++row) {
      if (!names_.used(row)) continue;
      for (uint32_t e = users_[row].first; e != kNone; e = entries_[e].next) {
        const Entry& entry = entries_[e];
        visit(names_.name(row), entry.relation, entry.value,
              std::string_view{entry.name, entry.bytes});
      }
    }
  }
  // Calls visit(owner, relation, value) for each entry that names this user, of the users in the
  // rows from..to; rows end at high_water().
  uint32_t high_water() const { return names_.high_water(); }
  template <class Visit>
  void for_each_naming(std::string_view user, uint32_t from, uint32_t to, Visit&& visit) const {
    for (uint32_t row = from; row < to; ++row) {
      if (!names_.used(row)) continue;
      for (uint32_t e = users_[row].first; e != kNone; e = entries_[e].next) {
        const Entry& entry = entries_[e];
        if (entry.relation != Relation::kGroup &&
            user == std::string_view{entry.name, entry.bytes}) {
          visit(names_.name(row), entry.relation, entry.value);
        }
      }
    }
  }
  uint32_t count() const { return names_.count(); }
  uint32_t entry_count() const { return used_; }
  uint64_t memory_bytes() const {
    return names_.memory_bytes() + users_.bytes() + entries_.bytes();
  }

 private:
  struct Entry {
    uint32_t next;
    Relation relation;
    uint8_t value;
    uint8_t bytes;
    uint8_t unused;
    char name[kNameBytes];
  };
  struct User {
    uint32_t first;
    uint16_t counts[kRelationsEnd];
  };
  uint32_t find_entry(uint32_t user, Relation relation, std::string_view name,
                      uint32_t* before) const;
  uint32_t most_of(Relation relation) const;

  UserLimits limits_;
  NameTable names_;
  mem::MappedArray<User> users_;
  mem::MappedArray<Entry> entries_;
  uint32_t used_ = 0;
  uint32_t end_ = 0;
  uint32_t free_ = kNone;
};

}  // namespace tidegate::session
