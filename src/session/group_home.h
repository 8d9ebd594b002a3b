// SPDX-License-Identifier: Apache-2.0
// The groups whose topics hash to this shard: members with their roles, invitations, access, and a
// version that rises with each change. It decides what a request does and says what changed; it
// knows no connections and sends nothing.
//
//   leader   everything; a group with members has one. When it leaves, the highest role follows it,
//            of these who has been there longest
//   officer  invites, takes invitations back, kicks members
//   member   is told, sends to the group, leaves
//
// The last member's leaving ends the group, invitations and all.
//
// Thread: shard. Owner: shard::Groups. Limits: GroupLimits; all memory at construction.
#pragma once

#include <cstdint>
#include <string_view>

#include "mem/mapped_array.h"
#include "session/group_rules.h"
#include "session/name_table.h"
#include "session/presence_home.h"

namespace tidegate::session {

class GroupHome {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kChangesMax = 2;

  struct Request {
    GroupOperation operation = GroupOperation::kUnspecified;
    std::string_view group;
    std::string_view actor;  // empty: the server
    std::string_view target;
    GroupRole role = GroupRole::kNone;
    GroupAccess access = GroupAccess::kInvited;
    bool moderates = false;  // the actor may do what a leader may
  };
  enum class Result : uint8_t {
    kDone,
    kNoGroup,       // there is none of this name
    kTaken,         // ... is one already
    kNoKind,        // groups of this kind are not configured
    kNotPermitted,  // by role, or there is no invitation
    kNoMember,      // whom it is about is not in the group, or was not invited
    kAlready,       // is in it, or was invited, already
    kFull,          // the group has as many members as its kind allows
    kNoRoom,        // of this server
    kBusy,          // just now (by who holds this)
    kInvalid,       // no such operation or role
  };
  struct Change {
    GroupChange change;
    GroupRole role;
    uint8_t user_bytes;
    char user[kUserIdBytesMax];
    std::string_view name() const { return {user, user_bytes}; }
  };
  struct Outcome {
    Result result = Result::kDone;
    uint32_t group = kNone;
    uint32_t count = 0;
    bool ended = false;  // walk the members, then end(group)
    Change changes[kChangesMax];
  };

  explicit GroupHome(const GroupLimits& limits);

  // What the request changed, in order; each change has raised the version by one.
  Outcome apply(const Request& request);
  // The group is forgotten with all its members; see Outcome::ended.
  void end(uint32_t group);
  // A member of an earlier process; makes the group. False: no room.
  bool restore(std::string_view group, std::string_view user, GroupRole role);
  void restore_access(std::string_view group, GroupAccess access);
  // In a hand-over: versions go on.
  void restore_version(std::string_view group, uint64_t version);
  // Behind the last of them: a group without a leader, because the file's last changes are missing,
  // gets one; one without members ends.
  void settle();

  uint32_t find(std::string_view name) const { return names_.find(name); }
  std::string_view name(uint32_t group) const { return names_.name(group); }
  GroupAccess access(uint32_t group) const { return groups_[group].access; }
  // Of the last change that was applied.
  uint64_t version(uint32_t group) const { return groups_[group].version; }
  uint32_t member_count(uint32_t group) const { return groups_[group].members; }
  // kNone: not a member, perhaps invited.
  GroupRole role(uint32_t group, std::string_view user) const;

  // Calls visit(user, role) for members in the order in which they joined or were invited; kNone:
  // invited.
  template <class Visit>
  void for_each(uint32_t group, Visit&& visit) const {
    for (uint32_t m = groups_[group].first; m != kNone; m = members_[m].next) {
      visit(users_.name(members_[m].user), members_[m].role);
    }
  }

  bool used(uint32_t group) const { return names_.used(group); }
  uint32_t high_water() const { return names_.high_water(); }
  uint32_t count() const { return names_.count(); }
  uint32_t members_in_all() const { return members_used_; }
  uint64_t memory_bytes() const {
    return names_.memory_bytes() + users_.memory_bytes() + groups_.bytes() + members_.bytes() +
           references_.bytes();
  }

 private:
  struct Group {
    uint64_t version;
    uint32_t first, last;  // members and invitations
    uint32_t members, invited;
    GroupAccess access;
  };
  struct Member {
    uint32_t user;
    uint32_t next;
    GroupRole role;  // kNone: invited
  };

  uint32_t find_member(uint32_t group, std::string_view user) const;
  uint32_t add_member(uint32_t group, std::string_view user, GroupRole role);
  void remove_member(uint32_t group, uint32_t member);
  void set_role(uint32_t group, uint32_t member, GroupRole role);
  uint32_t heir_of(uint32_t group) const;
  void note(Outcome& out, GroupChange change, std::string_view user, GroupRole role);
  Result create(const Request& r, Outcome& out);
  Result join(const Request& r, Outcome& out);
  Result leave(uint32_t member, GroupChange why, Outcome& out);
  Result invite(const Request& r, GroupRole own, Outcome& out);

  GroupLimits limits_;
  NameTable names_;
  NameTable users_;
  mem::MappedArray<Group> groups_;
  mem::MappedArray<Member> members_;
  mem::MappedArray<uint32_t> references_;  // of users_, by members_
  uint32_t members_used_ = 0;
  uint32_t members_end_ = 0;
  uint32_t free_ = kNone;
};

}  // namespace tidegate::session
