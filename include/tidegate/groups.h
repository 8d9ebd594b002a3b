// SPDX-License-Identifier: Apache-2.0
// Groups for a server that runs inside of a game: what a client does with GROUP_REQUEST, the game
// does with Server::group() and Context::group(), as a leader of every group; messages to members
// go by Target::group() (events.h) or, kept in order and in a history, by publish() to the topic
// "group." + name. A GroupPolicy decides about clients' requests before the rules do.
//
// Thread: Server's on any host thread, Context's in a handler, the policy on any shard. Owner:
// values. Limits: groups.* of the configuration.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace tidegate {

// Values of GroupOperation, GroupRole and GroupChange on the wire.
enum class GroupAction : uint8_t {
  kCreate = 1,  // `user` is the leader
  kJoin = 2,    // `user`, invited or not
  kLeave = 3,
  kInvite = 4,
  kDecline = 5,  // the user's invitation is taken back
  kKick = 6,
  kSetRole = 7,
  kSetAccess = 8,
  kDisband = 9,
};
enum class MemberRole : uint8_t { kNone = 0, kMember = 1, kOfficer = 2, kLeader = 3 };
enum class GroupEventKind : uint8_t {
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

struct GroupCommand {
  GroupAction action = GroupAction::kJoin;
  std::string_view group;  // "<kind>.<rest>"
  std::string_view user;   // whom it is about
  MemberRole role = MemberRole::kNone;
  bool open = false;  // kCreate, kSetAccess: everybody may join
};

// What a client asks for. Views are valid for the call.
struct GroupQuestion {
  GroupAction action = GroupAction::kJoin;
  std::string_view group;
  std::string_view user_id;  // who asks
  std::string_view permissions;
  std::string_view target;  // whom it is about, when that is somebody else
};
enum class GroupVerdict : uint8_t {
  kRules,   // roles, invitations and the token decide
  kPermit,  // as for a leader
  kRefuse,  // ERROR 4005
};
// On the client's shard, in its turn; throws: kRefuse.
using GroupPolicy = std::function<GroupVerdict(const GroupQuestion& question)>;

}  // namespace tidegate
