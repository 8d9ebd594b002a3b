// SPDX-License-Identifier: Apache-2.0
#include "session/user_home.h"

#include <cstring>

namespace tidegate::session {

UserHome::UserHome(const UserLimits& limits)
    : limits_(limits),
      names_(limits.users, kUserIdBytesMax),
      users_(limits.users),
      entries_(limits.entries) {}

uint32_t UserHome::most_of(Relation relation) const {
  switch (relation) {
    case Relation::kGroup:
      return limits_.groups;
    case Relation::kFriend:
      return limits_.friends;
    case Relation::kBlocked:
      return limits_.blocked;
    case Relation::kSharedWith:
      return limits_.shared;
    case Relation::kSharing:
      return 1;
    case Relation::kAccess:
      break;
  }
  return 0;
}

uint32_t UserHome::find_entry(uint32_t user, Relation relation, std::string_view name,
                              uint32_t* before) const {
  *before = kNone;
  for (uint32_t e = users_[user].first; e != kNone; e = entries_[e].next) {
    const Entry& entry = entries_[e];
    if (entry.relation == relation && name == std::string_view{entry.name, entry.bytes}) return e;
    *before = e;
  }
  return kNone;
}

UserHome::Result UserHome::set(std::string_view user, Relation relation, std::string_view name,
                               uint8_t value) {
  if (name.size() > kNameBytes) return Result::kNoRoom;
  uint32_t row = names_.find(user);
  if (row == NameTable::kNone) {
    if (used_ == limits_.entries) return Result::kNoRoom;
    row = names_.insert(user);
    if (row == NameTable::kNone) return Result::kNoRoom;
    users_[row] = User{kNone, {}};
  }
  uint32_t before;
  const uint32_t known = find_entry(row, relation, name, &before);
  if (known != kNone) {
    if (entries_[known].value == value) return Result::kSame;
    entries_[known].value = value;
    return Result::kDone;
  }
  User& u = users_[row];
  const bool full = u.counts[static_cast<uint32_t>(relation)] >= most_of(relation);
  if (full || used_ == limits_.entries) {
    if (u.first == kNone) names_.erase(row);
    return full ? Result::kFull : Result::kNoRoom;
  }
  uint32_t e = free_;
  if (e != kNone) {
    free_ = entries_[e].next;
  } else {
    e = end_++;
  }
  ++used_;
  ++u.counts[static_cast<uint32_t>(relation)];
  Entry& entry = entries_[e];
  entry.next = u.first;
  entry.relation = relation;
  entry.value = value;
  entry.bytes = static_cast<uint8_t>(name.size());
  if (!name.empty()) std::memcpy(entry.name, name.data(), name.size());
  u.first = e;
  return Result::kDone;
}

bool UserHome::remove(std::string_view user, Relation relation, std::string_view name) {
  const uint32_t row = names_.find(user);
  if (row == NameTable::kNone) return false;
  uint32_t before;
  const uint32_t e = find_entry(row, relation, name, &before);
  if (e == kNone) return false;
  User& u = users_[row];
  (before == kNone ? u.first : entries_[before].next) = entries_[e].next;
  --u.counts[static_cast<uint32_t>(relation)];
  entries_[e].next = free_;
  free_ = e;
  --used_;
  if (u.first == kNone) names_.erase(row);
  return true;
}

bool UserHome::has(std::string_view user, Relation relation, std::string_view name) const {
  const uint32_t row = names_.find(user);
  uint32_t before;
  return row != NameTable::kNone && find_entry(row, relation, name, &before) != kNone;
}

Sharing UserHome::sharing(std::string_view user) const {
  const uint32_t row = names_.find(user);
  if (row == NameTable::kNone) return Sharing::kEveryone;
  uint32_t before;
  const uint32_t e = find_entry(row, Relation::kSharing, {}, &before);
  return e == kNone ? Sharing::kEveryone : static_cast<Sharing>(entries_[e].value);
}

bool UserHome::restricted(std::string_view user) const {
  const uint32_t row = names_.find(user);
  if (row == NameTable::kNone) return false;
  return users_[row].counts[static_cast<uint32_t>(Relation::kBlocked)] != 0 ||
         sharing(user) != Sharing::kEveryone;
}

bool UserHome::shows(std::string_view user, std::string_view watcher) const {
  if (has(user, Relation::kBlocked, watcher)) return false;
  switch (sharing(user)) {
    case Sharing::kFriends:
      return has(user, Relation::kFriend, watcher);
    case Sharing::kSelected:
      return has(user, Relation::kSharedWith, watcher);
    case Sharing::kNobody:
      return false;
    default:
      return true;
  }
}

uint32_t UserHome::audience(std::string_view user, bool* inclusive, uint64_t* out,
                            uint32_t most) const {
  const Sharing mode = sharing(user);
  *inclusive = mode != Sharing::kEveryone;
  const Relation wanted = mode == Sharing::kEveryone  ? Relation::kBlocked
                          : mode == Sharing::kFriends ? Relation::kFriend
                                                      : Relation::kSharedWith;
  uint32_t count = 0;
  if (mode == Sharing::kNobody) return 0;
  for_each(user, [&](Relation relation, uint8_t, std::string_view name) {
    if (relation != wanted || count == most) return;
    if (*inclusive && has(user, Relation::kBlocked, name)) return;
    out[count++] = hash_name(name);
  });
  return count;
}

}  // namespace tidegate::session
