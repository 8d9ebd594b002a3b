// SPDX-License-Identifier: Apache-2.0
#include "session/group_home.h"

#include <cstring>

namespace tidegate::session {

using Result = GroupHome::Result;

GroupHome::GroupHome(const GroupLimits& limits)
    : limits_(limits),
      names_(limits.groups, limits.name_bytes),
      users_(limits.members, kUserIdBytesMax),
      groups_(limits.groups),
      members_(limits.members),
      references_(limits.members) {}

uint32_t GroupHome::find_member(uint32_t group, std::string_view user) const {
  const uint32_t row = users_.find(user);
  if (row == NameTable::kNone) return kNone;
  uint32_t m = groups_[group].first;
  while (m != kNone && members_[m].user != row) m = members_[m].next;
  return m;
}

GroupRole GroupHome::role(uint32_t group, std::string_view user) const {
  const uint32_t m = find_member(group, user);
  return m == kNone ? GroupRole::kNone : members_[m].role;
}

uint32_t GroupHome::add_member(uint32_t group, std::string_view user, GroupRole role) {
  if (members_used_ == limits_.members) return kNone;
  uint32_t row = users_.find(user);
  if (row == NameTable::kNone) {
    row = users_.insert(user);
    if (row == NameTable::kNone) return kNone;
    references_[row] = 0;
  }
  ++references_[row];
  uint32_t m = free_;
  if (m != kNone) {
    free_ = members_[m].next;
  } else {
    m = members_end_++;
  }
  ++members_used_;
  members_[m] = {row, kNone, role};
  Group& g = groups_[group];
  (g.first == kNone ? g.first : members_[g.last].next) = m;
  g.last = m;
  ++(role == GroupRole::kNone ? g.invited : g.members);
  return m;
}

void GroupHome::remove_member(uint32_t group, uint32_t member) {
  Group& g = groups_[group];
  uint32_t before = kNone;
  for (uint32_t m = g.first; m != member; m = members_[m].next) before = m;
  (before == kNone ? g.first : members_[before].next) = members_[member].next;
  if (g.last == member) g.last = before;
  --(members_[member].role == GroupRole::kNone ? g.invited : g.members);
  const uint32_t user = members_[member].user;
  if (--references_[user] == 0) users_.erase(user);
  members_[member].next = free_;
  free_ = member;
  --members_used_;
}

void GroupHome::set_role(uint32_t group, uint32_t member, GroupRole role) {
  Group& g = groups_[group];
  GroupRole& now = members_[member].role;
  if (now == GroupRole::kNone && role != GroupRole::kNone) {
    --g.invited;
    ++g.members;
  }
  now = role;
}

void GroupHome::note(Outcome& out, GroupChange change, std::string_view user, GroupRole role) {
  TG_ASSERT(out.count < kChangesMax && user.size() <= kUserIdBytesMax);
  Change& c = out.changes[out.count++];
  c.change = change;
  c.role = role;
  c.user_bytes = static_cast<uint8_t>(user.size());
  if (!user.empty()) std::memcpy(c.user, user.data(), user.size());
  ++groups_[out.group].version;
}

void GroupHome::end(uint32_t group) {
  while (groups_[group].first != kNone) remove_member(group, groups_[group].first);
  names_.erase(group);
}

bool GroupHome::restore(std::string_view group, std::string_view user, GroupRole role) {
  uint32_t row = names_.find(group);
  if (row == NameTable::kNone) {
    row = names_.insert(group);
    if (row == NameTable::kNone) return false;
    groups_[row] = {1, kNone, kNone, 0, 0, GroupAccess::kInvited};
  }
  return find_member(row, user) != kNone || add_member(row, user, role) != kNone;
}

void GroupHome::restore_access(std::string_view group, GroupAccess access) {
  const uint32_t row = names_.find(group);
  if (row != NameTable::kNone) groups_[row].access = access;
}

void GroupHome::restore_version(std::string_view group, uint64_t version) {
  const uint32_t row = names_.find(group);
  if (row != NameTable::kNone) groups_[row].version = version;
}

// Of the highest role, and of these who is there for the longest; kNone: there are no members.
uint32_t GroupHome::heir_of(uint32_t group) const {
  uint32_t heir = kNone;
  for (uint32_t m = groups_[group].first; m != kNone; m = members_[m].next) {
    if (members_[m].role != GroupRole::kNone &&
        (heir == kNone || members_[m].role > members_[heir].role)) {
      heir = m;
    }
  }
  return heir;
}

void GroupHome::settle() {
  for (uint32_t group = 0; group < names_.high_water(); ++group) {
    if (!names_.used(group)) continue;
    const uint32_t heir = heir_of(group);
    if (heir == kNone) {
      end(group);
      continue;
    }
    for (uint32_t m = groups_[group].first; m != kNone; m = members_[m].next) {
      if (members_[m].role == GroupRole::kLeader) set_role(group, m, GroupRole::kOfficer);
    }
    set_role(group, heir, GroupRole::kLeader);
  }
}

Result GroupHome::create(const Request& r, Outcome& out) {
  if (out.group != kNone) return Result::kTaken;
  // The server may create a group for somebody.
  const std::string_view leader = r.actor.empty() ? r.target : r.actor;
  if (leader.empty()) return Result::kInvalid;
  const uint32_t group = names_.insert(r.group);
  if (group == NameTable::kNone) return Result::kNoRoom;
  groups_[group] = {0, kNone, kNone, 0, 0, r.access};
  if (add_member(group, leader, GroupRole::kLeader) == kNone) {
    names_.erase(group);
    return Result::kNoRoom;
  }
  out.group = group;
  note(out, GroupChange::kCreated, leader, GroupRole::kLeader);
  return Result::kDone;
}

Result GroupHome::join(const Request& r, Outcome& out) {
  // Only the server makes somebody else join.
  if (!r.actor.empty() && !r.target.empty() && r.target != r.actor) return Result::kNotPermitted;
  const std::string_view user = r.actor.empty() ? r.target : r.actor;
  if (user.empty()) return Result::kInvalid;
  const uint32_t member = find_member(out.group, user);
  const bool invited = member != kNone && members_[member].role == GroupRole::kNone;
  if (member != kNone && !invited) return Result::kAlready;
  const Group& g = groups_[out.group];
  if (!invited && g.access == GroupAccess::kInvited && !r.moderates && !r.actor.empty())
    return Result::kNotPermitted;
  if (g.members >= group_members_max(limits_.kinds, r.group)) return Result::kFull;
  if (invited) {
    set_role(out.group, member, GroupRole::kMember);
  } else if (add_member(out.group, user, GroupRole::kMember) == kNone) {
    return Result::kNoRoom;
  }
  note(out, GroupChange::kJoined, user, GroupRole::kMember);
  return Result::kDone;
}

// A member or an invitation goes.
Result GroupHome::leave(uint32_t member, GroupChange why, Outcome& out) {
  const bool led = members_[member].role == GroupRole::kLeader;
  note(out, why, users_.name(members_[member].user), GroupRole::kNone);
  remove_member(out.group, member);
  const Group& g = groups_[out.group];
  if (g.members == 0) {
    out.ended = true;
  } else if (led) {
    const uint32_t heir = heir_of(out.group);
    set_role(out.group, heir, GroupRole::kLeader);
    note(out, GroupChange::kRole, users_.name(members_[heir].user), GroupRole::kLeader);
  }
  return Result::kDone;
}

Result GroupHome::invite(const Request& r, GroupRole own, Outcome& out) {
  if (r.target.empty()) return Result::kInvalid;
  if (own < GroupRole::kOfficer) return Result::kNotPermitted;
  if (find_member(out.group, r.target) != kNone) return Result::kAlready;
  const Group& g = groups_[out.group];
  const uint32_t most = group_members_max(limits_.kinds, r.group);
  // As many invitations as members: enough to fill the group, and no list without end.
  if (g.members >= most || g.invited >= most) return Result::kFull;
  if (add_member(out.group, r.target, GroupRole::kNone) == kNone) return Result::kNoRoom;
  note(out, GroupChange::kInvited, r.target, GroupRole::kNone);
  return Result::kDone;
}

GroupHome::Outcome GroupHome::apply(const Request& r) {
  Outcome out;
  out.group = names_.find(r.group);
  if (r.operation == GroupOperation::kCreate) {
    out.result = group_members_max(limits_.kinds, r.group) == 0 ? Result::kNoKind : create(r, out);
    return out;
  }
  if (out.group == kNone) {
    out.result = Result::kNoGroup;
    return out;
  }
  const GroupRole own =
      r.actor.empty() || r.moderates ? GroupRole::kLeader : role(out.group, r.actor);
  // Whom it is about: nobody named means oneself.
  const std::string_view user = r.target.empty() ? r.actor : r.target;
  const uint32_t member = user.empty() ? kNone : find_member(out.group, user);
  const GroupRole its = member == kNone ? GroupRole::kNone : members_[member].role;
  const bool is_member = its != GroupRole::kNone;
  switch (r.operation) {
    case GroupOperation::kJoin:
      out.result = join(r, out);
      break;
    case GroupOperation::kLeave:
      if (!r.actor.empty() && user != r.actor) {
        out.result = Result::kNotPermitted;
      } else {
        out.result = is_member ? leave(member, GroupChange::kLeft, out) : Result::kNoMember;
      }
      break;
    case GroupOperation::kInvite:
      out.result = invite(r, own, out);
      break;
    case GroupOperation::kDecline:
      if (user != r.actor && own < GroupRole::kOfficer) {
        out.result = Result::kNotPermitted;
      } else if (member == kNone || is_member) {
        out.result = Result::kNoMember;
      } else {
        out.result = leave(member, GroupChange::kDeclined, out);
      }
      break;
    case GroupOperation::kKick:
      // Only those below oneself; the server and moderators anybody.
      if (own < GroupRole::kOfficer ||
          (is_member && its >= own && !r.moderates && !r.actor.empty())) {
        out.result = Result::kNotPermitted;
      } else {
        out.result = is_member ? leave(member, GroupChange::kKicked, out) : Result::kNoMember;
      }
      break;
    case GroupOperation::kSetRole:
      if (own != GroupRole::kLeader) {
        out.result = Result::kNotPermitted;
      } else if (!is_member) {
        out.result = Result::kNoMember;
      } else if (r.role == GroupRole::kNone || r.role > GroupRole::kLeader ||
                 (its == GroupRole::kLeader && r.role != GroupRole::kLeader)) {
        out.result = Result::kInvalid;  // the lead is given away by naming the next leader
      } else if (its == r.role) {
        out.result = Result::kAlready;
      } else {
        if (r.role == GroupRole::kLeader) {
          for (uint32_t m = groups_[out.group].first; m != kNone; m = members_[m].next) {
            if (members_[m].role != GroupRole::kLeader) continue;
            set_role(out.group, m, GroupRole::kOfficer);
            note(out, GroupChange::kRole, users_.name(members_[m].user), GroupRole::kOfficer);
          }
        }
        set_role(out.group, member, r.role);
        note(out, GroupChange::kRole, user, r.role);
      }
      break;
    case GroupOperation::kSetAccess:
      if (own != GroupRole::kLeader) {
        out.result = Result::kNotPermitted;
      } else if (r.access > GroupAccess::kOpen) {
        out.result = Result::kInvalid;
      } else {
        groups_[out.group].access = r.access;
        note(out, GroupChange::kAccess, r.actor, own);
      }
      break;
    case GroupOperation::kDisband:
      if (own != GroupRole::kLeader) {
        out.result = Result::kNotPermitted;
      } else {
        note(out, GroupChange::kDisbanded, r.actor, GroupRole::kNone);
        out.ended = true;
      }
      break;
    case GroupOperation::kList:
      out.result = own == GroupRole::kNone && groups_[out.group].access != GroupAccess::kOpen &&
                           member == kNone
                       ? Result::kNotPermitted
                       : Result::kDone;
      break;
    default:
      out.result = Result::kInvalid;
  }
  return out;
}

}  // namespace tidegate::session
