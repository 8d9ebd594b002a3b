// SPDX-License-Identifier: Apache-2.0
// What groups there may be and who may do what: kinds with their sizes, names, permissions. A
// group's name is `<kind>.<rest>`; its events and its members' messages go by the topic
// `group.<name>`. Permission `group:<pattern>` in a token makes its user act like a leader of the
// groups that match, and lets it create them.
// Thread: any. Owner: none. Limits: GroupLimits.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.h"

namespace tidegate::session {

inline constexpr std::string_view kGroupTopicPrefix = "group.";
inline constexpr uint32_t kGroupNameBytesMax = 120;  // behind the prefix
// Of a kind: each is told by a message of its own when the group ends.
inline constexpr uint32_t kGroupMembersMax = 1000;

// Values of the enums in social.proto.
enum class GroupOperation : uint8_t {
  kUnspecified = 0,
  kCreate = 1,
  kJoin = 2,
  kLeave = 3,
  kInvite = 4,
  kDecline = 5,
  kKick = 6,
  kSetRole = 7,
  kSetAccess = 8,
  kDisband = 9,
  kList = 10
};
enum class GroupRole : uint8_t { kNone = 0, kMember = 1, kOfficer = 2, kLeader = 3 };
enum class GroupAccess : uint8_t { kInvited = 0, kOpen = 1 };
enum class GroupChange : uint8_t {
  kUnspecified = 0,
  kCreated = 1,
  kJoined = 2,
  kLeft = 3,
  kKicked = 4,
  kInvited = 5,
  kDeclined = 6,
  kRole = 7,
  kAccess = 8,
  kDisbanded = 9
};

struct GroupLimits {
  uint32_t groups = 10'000;   // of a home shard
  uint32_t members = 50'000;  // of a home shard's groups together, invitations included
  uint32_t per_user = 16;     // groups and invitations of one user
  uint32_t name_bytes = kGroupNameBytesMax;
  uint32_t changes_per_second = 10;  // requests of one connection about groups and lists
  uint32_t local = 50'000;           // memberships of one shard's connections together
  // Kinds and the members that a group of each may have: "party:8 guild:200". Outlives its user.
  std::string_view kinds;
  std::string_view create;      // patterns of names that everybody may create
  std::string_view focus;       // kinds whose members follow each other at full rate, by spaces
  uint32_t focus_members = 16;  // larger groups of those kinds do not
};

// The part in front of the first dot; empty when there is none.
std::string_view kind_of_group(std::string_view name);
// Members that a group of this name may have; 0: no such kind.
uint32_t group_members_max(std::string_view kinds, std::string_view name);
// Whether `kinds` is in the form above.
bool check_group_kinds(std::string_view kinds);
// Whether its members follow each other.
bool is_focus_group(std::string_view focus_kinds, std::string_view name);
// Whether a name is `<kind>.<rest>` of at most that many bytes, fit for a topic.
bool check_group_name(std::string_view name, uint32_t bytes_max);
// Whether a permission `group:<pattern>` of the token fits.
bool moderates_group(std::string_view name, std::string_view permissions);

}  // namespace tidegate::session
