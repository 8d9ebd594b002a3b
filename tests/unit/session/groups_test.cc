// SPDX-License-Identifier: Apache-2.0
// Groups and users' lists: the rules one by one, and random requests against a plain model.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/prng.h"
#include "session/group_home.h"
#include "session/user_home.h"

namespace tidegate::session {
namespace {

using Result = GroupHome::Result;

GroupLimits small_limits() {
  GroupLimits limits;
  limits.groups = 8;
  limits.members = 40;
  limits.kinds = "party:3 guild:20";
  return limits;
}

class Groups : public ::testing::Test {
 protected:
  Result ask(GroupOperation operation, std::string_view actor, std::string_view target = {},
             GroupRole role = GroupRole::kNone, GroupAccess access = GroupAccess::kInvited,
             bool moderates = false) {
    GroupHome::Request r;
    r.operation = operation;
    r.group = group;
    r.actor = actor;
    r.target = target;
    r.role = role;
    r.access = access;
    r.moderates = moderates;
    last = home.apply(r);
    if (last.ended) home.end(last.group);
    return last.result;
  }
  GroupRole role(std::string_view user) const {
    const uint32_t row = home.find(group);
    return row == GroupHome::kNone ? GroupRole::kNone : home.role(row, user);
  }

  GroupHome home{small_limits()};
  GroupHome::Outcome last;
  std::string group = "party.one";
};

TEST_F(Groups, WhoCreatesLeadsAndMayInviteWhoThenMayJoin) {
  EXPECT_EQ(ask(GroupOperation::kCreate, "ann"), Result::kDone);
  EXPECT_EQ(role("ann"), GroupRole::kLeader);
  EXPECT_EQ(last.changes[0].change, GroupChange::kCreated);
  EXPECT_EQ(ask(GroupOperation::kCreate, "bob"), Result::kTaken);
  EXPECT_EQ(ask(GroupOperation::kJoin, "bob"), Result::kNotPermitted);
  EXPECT_EQ(ask(GroupOperation::kInvite, "bob", "cat"), Result::kNotPermitted);
  EXPECT_EQ(ask(GroupOperation::kInvite, "ann", "bob"), Result::kDone);
  EXPECT_EQ(ask(GroupOperation::kInvite, "ann", "bob"), Result::kAlready);
  EXPECT_EQ(role("bob"), GroupRole::kNone);
  EXPECT_EQ(ask(GroupOperation::kJoin, "bob"), Result::kDone);
  EXPECT_EQ(role("bob"), GroupRole::kMember);
  EXPECT_EQ(ask(GroupOperation::kJoin, "bob"), Result::kAlready);
}

TEST_F(Groups, KindsBoundTheirMembers) {
  ask(GroupOperation::kCreate, "ann", {}, GroupRole::kNone, GroupAccess::kOpen);
  EXPECT_EQ(ask(GroupOperation::kJoin, "bob"), Result::kDone);
  EXPECT_EQ(ask(GroupOperation::kJoin, "cat"), Result::kDone);
  EXPECT_EQ(ask(GroupOperation::kJoin, "dan"), Result::kFull);
  group = "raid.one";
  EXPECT_EQ(ask(GroupOperation::kCreate, "ann"), Result::kNoKind);
}

TEST_F(Groups, RolesDecideAndTheLeadIsHandedOver) {
  ask(GroupOperation::kCreate, "ann", {}, GroupRole::kNone, GroupAccess::kOpen);
  ask(GroupOperation::kJoin, "bob");
  ask(GroupOperation::kJoin, "cat");
  EXPECT_EQ(ask(GroupOperation::kKick, "bob", "cat"), Result::kNotPermitted);
  EXPECT_EQ(ask(GroupOperation::kSetRole, "ann", "bob", GroupRole::kOfficer), Result::kDone);
  EXPECT_EQ(ask(GroupOperation::kKick, "bob", "ann"), Result::kNotPermitted);
  EXPECT_EQ(ask(GroupOperation::kSetRole, "ann", "ann", GroupRole::kMember), Result::kInvalid);
  EXPECT_EQ(ask(GroupOperation::kSetRole, "ann", "bob", GroupRole::kLeader), Result::kDone);
  EXPECT_EQ(last.count, 2u);
  EXPECT_EQ(role("ann"), GroupRole::kOfficer);
  EXPECT_EQ(role("bob"), GroupRole::kLeader);
  EXPECT_EQ(ask(GroupOperation::kKick, "ann", "cat"), Result::kDone);
  EXPECT_EQ(ask(GroupOperation::kDisband, "ann"), Result::kNotPermitted);
  EXPECT_EQ(ask(GroupOperation::kDisband, "cat", {}, GroupRole::kNone, GroupAccess::kInvited, true),
            Result::kDone);
  EXPECT_EQ(home.count(), 0u);
  EXPECT_EQ(home.members_in_all(), 0u);
}

TEST_F(Groups, TheServerActsAsALeaderForAnyUser) {
  EXPECT_EQ(ask(GroupOperation::kCreate, "", "ann"), Result::kDone);
  EXPECT_EQ(ask(GroupOperation::kJoin, "", "bob"), Result::kDone);
  EXPECT_EQ(ask(GroupOperation::kKick, "", "ann"), Result::kDone);
  EXPECT_EQ(role("bob"), GroupRole::kLeader);
  EXPECT_EQ(ask(GroupOperation::kLeave, "", "bob"), Result::kDone);
  EXPECT_EQ(home.find(group), GroupHome::kNone);
}

TEST(GroupHome, WhatComesBackHasALeader) {
  GroupHome home(small_limits());
  EXPECT_TRUE(home.restore("guild.a", "bob", GroupRole::kMember));
  EXPECT_TRUE(home.restore("guild.a", "cat", GroupRole::kOfficer));
  EXPECT_TRUE(home.restore("guild.a", "dan", GroupRole::kNone));
  EXPECT_TRUE(home.restore("guild.b", "dan", GroupRole::kNone));
  home.restore_access("guild.a", GroupAccess::kOpen);
  home.settle();
  const uint32_t group = home.find("guild.a");
  ASSERT_NE(group, GroupHome::kNone);
  EXPECT_EQ(home.role(group, "cat"), GroupRole::kLeader);
  EXPECT_EQ(home.role(group, "bob"), GroupRole::kMember);
  EXPECT_EQ(home.member_count(group), 2u);
  EXPECT_EQ(home.access(group), GroupAccess::kOpen);
  EXPECT_EQ(home.find("guild.b"), GroupHome::kNone);  // nobody is left but who was invited
}

// Every request of the protocol by random users, against a map.
TEST(GroupHome, RandomRequestsKeepTheRules) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    base::Prng prng(seed);
    GroupHome home(small_limits());
    std::map<std::string, std::map<std::string, GroupRole>> model;  // kNone: invited
    std::map<std::string, uint64_t> versions;
    for (int step = 0; step < 4000; ++step) {
      const std::string group = "guild." + std::to_string(prng.next() % 10);
      const std::string actor = "u" + std::to_string(prng.next() % 12);
      const std::string target = prng.next() % 3 == 0 ? "" : "u" + std::to_string(prng.next() % 12);
      GroupHome::Request r;
      r.operation = static_cast<GroupOperation>(prng.next() % 12);
      r.group = group;
      r.actor = actor;
      r.target = target;
      r.role = static_cast<GroupRole>(prng.next() % 4);
      r.access = static_cast<GroupAccess>(prng.next() % 2);
      r.moderates = prng.next() % 16 == 0;
      const GroupHome::Outcome out = home.apply(r);
      ASSERT_TRUE(out.result == Result::kDone || out.count == 0);
      for (uint32_t i = 0; i < out.count; ++i) {
        const GroupHome::Change& c = out.changes[i];
        const std::string user(c.name());
        auto& members = model[group];
        switch (c.change) {
          case GroupChange::kCreated:
          case GroupChange::kJoined:
          case GroupChange::kRole:
          case GroupChange::kInvited:
            members[user] = c.role;
            break;
          case GroupChange::kLeft:
          case GroupChange::kKicked:
          case GroupChange::kDeclined:
            ASSERT_EQ(members.erase(user), 1u);
            break;
          case GroupChange::kDisbanded:
            members.clear();
            break;
          default:
            break;
        }
      }
      if (out.result == Result::kDone && out.count != 0) {
        const uint64_t version = home.version(out.group);
        ASSERT_EQ(version, versions[group] + out.count) << "each change raises it by one";
        versions[group] = version;
      }
      if (out.ended) {
        home.end(out.group);
        model.erase(group);
        versions.erase(group);
      }
      size_t rows = 0;
      for (const auto& [name, members] : model) {
        if (members.empty()) continue;
        const uint32_t row = home.find(name);
        ASSERT_NE(row, GroupHome::kNone);
        std::map<std::string, GroupRole> now;
        home.for_each(
            row, [&](std::string_view user, GroupRole role) { now[std::string(user)] = role; });
        ASSERT_EQ(now, members) << name << " seed " << seed << " step " << step;
        const auto leads = std::count_if(members.begin(), members.end(), [](const auto& m) {
          return m.second == GroupRole::kLeader;
        });
        ASSERT_EQ(leads, 1);
        rows += members.size();
      }
      ASSERT_EQ(home.members_in_all(), rows);
      ASSERT_LE(rows, 40u);
    }
  }
}

TEST(GroupRules, NamesKindsAndPermissions) {
  EXPECT_TRUE(check_group_name("party.a", 120));
  EXPECT_FALSE(check_group_name("party.", 120));
  EXPECT_FALSE(check_group_name("party", 120));
  EXPECT_FALSE(check_group_name(".a", 120));
  EXPECT_FALSE(check_group_name("party.*", 120));
  EXPECT_EQ(group_members_max("party:8 guild:200", "guild.x.y"), 200u);
  EXPECT_EQ(group_members_max("party:8 guild:200", "part.x"), 0u);
  EXPECT_TRUE(check_group_kinds(""));
  EXPECT_FALSE(check_group_kinds("party"));
  EXPECT_FALSE(check_group_kinds("party:0"));
  EXPECT_TRUE(check_group_kinds("party:1000"));
  EXPECT_FALSE(check_group_kinds("party:1001"));
  EXPECT_FALSE(check_group_kinds("par.ty:3"));
  EXPECT_TRUE(is_focus_group("party squad", "squad.1"));
  EXPECT_FALSE(is_focus_group("party squad", "guild.1"));
  EXPECT_TRUE(moderates_group("guild.x", "publish:a group:guild.*"));
  EXPECT_FALSE(moderates_group("party.x", "publish:a group:guild.*"));
}

UserLimits few() {
  UserLimits limits;
  limits.users = 4;
  limits.entries = 10;
  limits.friends = limits.blocked = limits.shared = 3;
  limits.groups = 2;
  return limits;
}

TEST(UserHome, ListsAreBoundedAndRowsComeBack) {
  UserHome home(few());
  EXPECT_EQ(home.set("ann", Relation::kGroup, "party.a", 3), UserHome::Result::kDone);
  EXPECT_EQ(home.set("ann", Relation::kGroup, "party.a", 3), UserHome::Result::kSame);
  EXPECT_EQ(home.set("ann", Relation::kGroup, "party.b", 0), UserHome::Result::kDone);
  EXPECT_EQ(home.set("ann", Relation::kGroup, "party.c", 0), UserHome::Result::kFull);
  for (int round = 0; round < 20; ++round) {
    for (const char* user : {"bob", "cat", "dan"}) {
      EXPECT_EQ(home.set(user, Relation::kFriend, "ann", 1), UserHome::Result::kDone);
    }
    EXPECT_EQ(home.set("eve", Relation::kFriend, "ann", 1), UserHome::Result::kNoRoom);
    for (const char* user : {"bob", "cat", "dan"}) {
      EXPECT_TRUE(home.remove(user, Relation::kFriend, "ann"));
      EXPECT_FALSE(home.remove(user, Relation::kFriend, "ann"));
    }
    EXPECT_EQ(home.count(), 1u);
    EXPECT_EQ(home.entry_count(), 2u);
  }
}

TEST(UserHome, WhoSeesAPresence) {
  UserHome home(few());
  EXPECT_TRUE(home.shows("ann", "bob"));
  EXPECT_FALSE(home.restricted("ann"));
  home.set("ann", Relation::kBlocked, "bob", 1);
  EXPECT_TRUE(home.restricted("ann"));
  EXPECT_FALSE(home.shows("ann", "bob"));
  EXPECT_TRUE(home.shows("ann", "cat"));
  uint64_t audience[8];
  bool inclusive = true;
  EXPECT_EQ(home.audience("ann", &inclusive, audience, 8), 1u);
  EXPECT_FALSE(inclusive);
  EXPECT_EQ(audience[0], hash_name("bob"));
  // Friends only; somebody blocked is none, whatever the list says.
  home.set("ann", Relation::kSharing, "", static_cast<uint8_t>(Sharing::kFriends));
  home.set("ann", Relation::kFriend, "bob", 1);
  home.set("ann", Relation::kFriend, "cat", 1);
  EXPECT_FALSE(home.shows("ann", "bob"));
  EXPECT_TRUE(home.shows("ann", "cat"));
  EXPECT_FALSE(home.shows("ann", "dan"));
  EXPECT_EQ(home.audience("ann", &inclusive, audience, 8), 1u);
  EXPECT_TRUE(inclusive);
  EXPECT_EQ(audience[0], hash_name("cat"));
  home.set("ann", Relation::kSharing, "", static_cast<uint8_t>(Sharing::kNobody));
  EXPECT_FALSE(home.shows("ann", "cat"));
  EXPECT_EQ(home.audience("ann", &inclusive, audience, 8), 0u);
  EXPECT_TRUE(inclusive);
}

}  // namespace
}  // namespace tidegate::session
