// SPDX-License-Identifier: Apache-2.0
// Groups and users' lists on a shard: what its own connections are in and shut out, the groups
// whose topics have their home here (session/group_home.h), and the users whose home this is
// (session/user_home.h).
//
//   GROUP_REQUEST  shard -> the group's home, which decides: SocialAnswer back, GROUP_EVENT into
//                  the group's topic, GroupMembership to the home of the user it is about
//   membership     the user's home keeps it and tells the shard of each of its connections, which
//                  subscribes them to the group's topic and asks for GROUP_STATE
//   login          the user's home tells the connection's shard all entries that matter to it
//   SOCIAL_UPDATE  shard -> the user's home: entries change, SOCIAL_LIST to all its connections
//   blocked        a message from somebody whom the receiver has blocked is left out where it would
//                  become bytes for that connection: hides(). Nobody who blocks nobody pays
//   focus          social_focus.cc: members of parties follow each other at full rate
//
// Files: social.cc clients and their shard; social_home.cc both homes; social_focus.cc.
// Thread: shard. Owner: Shard. Limits: session::GroupLimits, session::UserLimits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "mailbox/social_messages.h"
#include "mem/mapped_array.h"
#include "session/group_home.h"
#include "session/topic_members.h"
#include "session/user_home.h"
#include "shard/router.h"
#include "tidegate/groups.h"
#include "tidegate/handlers.h"
#include "wire/social_messages.h"

namespace tidegate::shard {

class Shard;

class Social {
 public:
  Social(Shard& shard, const session::GroupLimits& groups, const session::UserLimits& users,
         uint32_t slots);

  // Routes of messages.cc.
  Handled on_group_request(uint32_t slot, const wire::Envelope& message);
  Handled on_social_update(uint32_t slot, const wire::Envelope& message);

  void on_closed(uint32_t slot);
  bool on_mail(uint32_t from, mailbox::MessageType type, base::Bytes bytes);
  void turn();

  // A connection of the user has come (at the user's home): its shard is told what it must know.
  void tell_connection(uint32_t shard, base::ConnectionRef connection, std::string_view user);

  // Of the connection's user, as this shard knows: kNone also for invitations.
  session::GroupRole role(uint32_t slot, std::string_view group) const;
  // Whether the topic is one of a group in which the connection's user is.
  bool may_use_topic(uint32_t slot, std::string_view topic) const;
  // Whether the shard knows yet what the connection's user is in.
  bool knows(uint32_t slot) const { return known_[slot] == kKnown; }
  // Once a second for each connection: asks again for what its home could not say.
  void look_again(uint32_t slot);
  // Whether the connection's user has blocked the user with this hash; 0 is nobody.
  bool hides(uint32_t slot, uint64_t source) const {
    return source != 0 && blocks_.subscription_count() != 0 && find_block(slot, source);
  }
  bool anybody_blocks() const { return blocks_.subscription_count() != 0; }

  // A request of the server itself. kRange: the names are none; kBusy.
  SendResult request(const GroupCommand& command);
  // To all members of the group that are connected here.
  void deliver_group(base::Bytes bytes);

  // Moves of those whom others follow, gathered since the last tick, to every shard; and for who
  // follows them here. Both once a tick.
  bool anybody_followed() const { return focus_count_ != 0; }
  void note_moved(uint32_t slot);
  void send_moves(uint32_t tick);

  const session::UserHome& users() const { return users_; }

  // Before the first turn, from the store: an entry of a user of this home; a member of a group of
  // this home, its access.
  bool restore_entry(session::Relation relation, std::string_view user, std::string_view name,
                     uint8_t value) {
    const auto set = users_.set(user, relation, name, value);
    return set == session::UserHome::Result::kDone || set == session::UserHome::Result::kSame;
  }
  bool restore_member(std::string_view group, std::string_view user, session::GroupRole role) {
    return groups_.restore(group, user, role);
  }
  void settle_restored() { groups_.settle(); }
  void restore_access(std::string_view group, session::GroupAccess access) {
    groups_.restore_access(group, access);
  }
  // Whether turn() has something to do soon that no message causes.
  bool answering() const {
    return std::any_of(questions_, questions_ + kQuestionsMax,
                       [](const Question& q) { return q.request != 0; });
  }
  // Of an export (user_facts.cc).
  void tell_fact(uint32_t request, mailbox::UserFactKind kind, uint8_t value, uint64_t number,
                 std::string_view name, base::Bytes data);
  void update_gauges();
  uint64_t memory_bytes() const {
    return groups_.memory_bytes() + users_.memory_bytes() + members_.memory_bytes() +
           blocks_.memory_bytes() + known_.bytes() + moves_.bytes();
  }

 private:
  friend class Handover;
  // social.cc
  bool find_block(uint32_t slot, uint64_t source) const;
  bool check_request(uint32_t slot, uint64_t sequence, const wire::GroupRequest& ask,
                     std::string_view name, bool* moderates);
  void answer(uint32_t slot, uint64_t sequence, uint32_t code, std::string_view text, bool counts);
  void join_local(uint32_t slot, std::string_view group, session::GroupRole role, uint64_t from);
  void leave_local(uint32_t slot, std::string_view group);
  void send_event(uint32_t slot, const wire::GroupEvent& event);
  void on_answer(base::Bytes bytes);
  void on_entries(base::Bytes bytes);
  void on_membership_here(base::Bytes bytes);
  void ask_group(std::string_view group, std::string_view actor, std::string_view target,
                 mailbox::GroupAsk ask);

  // social_home.cc
  uint32_t home_of_group(std::string_view group) const;
  uint32_t home_of_user(std::string_view user) const;
  void on_ask(uint32_t from, base::Bytes bytes);
  void announce(const session::GroupHome::Outcome& outcome, std::string_view group,
                std::string_view by);
  void tell_user(const session::GroupHome::Outcome& outcome, std::string_view group,
                 std::string_view user, std::string_view by, session::GroupChange change,
                 session::GroupRole role, uint64_t offset);
  void send_state(uint32_t to, base::ConnectionRef connection, uint32_t group);
  void on_membership(base::Bytes bytes);
  void on_set(uint32_t from, base::Bytes bytes);
  void send_list(std::string_view user);
  // Of an entry of this home, to the store.
  void keep(session::Relation relation, std::string_view user, std::string_view name, uint8_t value,
            bool gone);

  // user_facts.cc
  void on_question(base::Bytes bytes);
  void answer_question();
  void end_question(uint32_t request);
  void forget_naming(std::string_view user, uint32_t from, uint32_t to);
  void forget_own(std::string_view user);

  // social_focus.cc
  void post_moves(uint32_t tick);
  void on_moves(base::Bytes bytes);

  Shard& shard_;
  std::string kinds_, create_, focus_;  // what the limits refer to
  session::GroupLimits limits_;
  session::UserLimits user_limits_;
  session::GroupHome groups_;
  session::UserHome users_;
  session::TopicMembers members_;    // "topics" are groups; `request` of a subscription is the role
  session::TopicMembers blocks_;     // "topics" are hashes of users whom somebody here blocks
  mem::MappedArray<uint8_t> known_;  // by slot
  mem::MappedArray<uint8_t> moves_;  // FocusMoves of this tick
  uint32_t moves_bytes_ = 0;
  enum Known : uint8_t { kNew = 0, kWaited = 1, kKnown = 2 };
  // Of a question of the admin API that is being answered, a piece in each turn.
  struct Question {
    uint32_t request = 0;  // 0: none
    uint32_t step = 0;     // next topic, or row of users_
    bool erase = false;
    bool topics_done = false;
    bool lost = false;  // a fact did not go out
    uint64_t named = 0;
    uint8_t user_bytes = 0;
    char user[session::kUserIdBytesMax];
  };
  static constexpr uint32_t kQuestionsMax = 4;
  Question questions_[kQuestionsMax];
  uint32_t focus_count_ = 0;  // memberships in focus groups
};

}  // namespace tidegate::shard
