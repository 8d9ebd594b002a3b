// SPDX-License-Identifier: Apache-2.0
// Clients' side of groups and lists: what they ask, what their shard knows of them.
#include "shard/social.h"

#include <cstdio>
#include <cstring>

#include "shard/shard.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using session::GroupChange;
using session::GroupOperation;
using session::GroupRole;
using session::Relation;
using session::Subscription;
using session::TopicMembers;

namespace {

constexpr uint32_t kNone = TopicMembers::kNone;
constexpr uint32_t kReleasedPerTurn = 16;
constexpr uint32_t kMovesBytes = 12 << 10;
constexpr uint32_t kIdsMax = 200;  // of a SOCIAL_UPDATE: each is looked for in the user's lists

session::TopicLimits member_limits(const session::GroupLimits& limits) {
  session::TopicLimits l;
  l.topics = limits.local;
  l.per_connection = limits.per_user;
  l.subscriptions = limits.local;
  l.name_bytes = limits.name_bytes;
  return l;
}
session::TopicLimits block_limits(const session::UserLimits& limits) {
  session::TopicLimits l;
  l.topics = limits.entries;
  l.per_connection = limits.blocked;
  l.subscriptions = limits.entries;
  l.name_bytes = sizeof(uint64_t);
  return l;
}
std::string_view as_name(const uint64_t& hash) {
  return {reinterpret_cast<const char*>(&hash), sizeof hash};
}
bool is_user_id(std::string_view user) {
  return !user.empty() && user.size() <= session::kUserIdBytesMax;
}

}  // namespace

Social::Social(Shard& shard, const session::GroupLimits& groups, const session::UserLimits& users,
               uint32_t slots)
    : shard_(shard),
      kinds_(groups.kinds),
      create_(groups.create),
      focus_(groups.focus),
      limits_([&] {
        session::GroupLimits l = groups;
        l.kinds = kinds_;
        l.create = create_;
        l.focus = focus_;
        return l;
      }()),
      user_limits_(users),
      groups_(limits_),
      users_(users),
      members_(member_limits(groups), slots),
      blocks_(block_limits(users), slots),
      known_(slots),
      moves_(kMovesBytes) {}

bool Social::find_block(uint32_t slot, uint64_t source) const {
  const uint32_t row = blocks_.find_topic(as_name(source));
  return row != kNone && blocks_.find(slot, row) != kNone;
}

GroupRole Social::role(uint32_t slot, std::string_view group) const {
  const uint32_t row = members_.find_topic(group);
  const uint32_t s = row == kNone ? kNone : members_.find(slot, row);
  return s == kNone ? GroupRole::kNone : static_cast<GroupRole>(members_.at(s).request);
}

bool Social::may_use_topic(uint32_t slot, std::string_view topic) const {
  return topic.starts_with(session::kGroupTopicPrefix) &&
         role(slot, topic.substr(session::kGroupTopicPrefix.size())) != GroupRole::kNone;
}

void Social::on_closed(uint32_t slot) {
  for (uint32_t s = members_.first_of_slot(slot); s != kNone; s = members_.first_of_slot(slot)) {
    if (session::is_focus_group(limits_.focus, members_.name(members_.at(s).topic))) --focus_count_;
    members_.remove(s);
  }
  for (uint32_t s = blocks_.first_of_slot(slot); s != kNone; s = blocks_.first_of_slot(slot)) {
    blocks_.remove(s);
  }
  known_[slot] = kNew;
}

void Social::turn() {
  for (TopicMembers* table : {&members_, &blocks_}) {
    for (uint32_t i = 0; i < kReleasedPerTurn; ++i) {
      const uint32_t row = table->empty_topic();
      if (row == kNone) break;
      table->erase_topic(row);
    }
  }
  answer_question();
}

void Social::look_again(uint32_t slot) {
  if (known_[slot] == kKnown || shard_.outbox_.strained()) return;
  if (known_[slot] == kNew) {  // its home's word may be on the way
    known_[slot] = kWaited;
    return;
  }
  const std::string_view user = shard_.identities_.view(shard_.players_[slot].identity).user;
  shard_.outbox_.post(home_of_user(user), mailbox::UserAsk{shard_.endpoint_.ref(slot)},
                      base::as_bytes(user));
}

// --- what a client asks ---

void Social::answer(uint32_t slot, uint64_t sequence, uint32_t code, std::string_view text,
                    bool counts) {
  if (code != 0) {
    shard_.topics_.refuse(slot, sequence, static_cast<uint16_t>(code), text,
                          counts ? Topics::Counts::kYes : Topics::Counts::kNo);
    return;
  }
  uint8_t bytes[256];
  wire::PbWriter out(bytes);
  wire::encode(out, wire::Reply{sequence, 0, text});
  shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kReply), out.written());
}

bool Social::check_request(uint32_t slot, uint64_t sequence, const wire::GroupRequest& ask,
                           std::string_view name, bool* moderates) {
  const auto refuse = [&](uint16_t code, std::string_view why) {
    answer(slot, sequence, code, why, true);
    return false;
  };
  if (name.size() > limits_.name_bytes) {
    return refuse(wire::kErrorTooLarge, "the group's name is too long");
  }
  if (!session::check_group_name(name, limits_.name_bytes)) {
    return refuse(wire::kErrorInvalidPayload, "a group is named <kind>.<name>");
  }
  if (!ask.user_id.empty() && !is_user_id(ask.user_id)) {
    return refuse(wire::kErrorInvalidPayload, "user ids have at most 64 bytes");
  }
  const auto operation = static_cast<GroupOperation>(ask.operation);
  if (ask.operation == 0 || ask.operation > static_cast<uint32_t>(GroupOperation::kList) ||
      ask.role > static_cast<uint32_t>(GroupRole::kLeader) || ask.access > 1) {
    return refuse(wire::kErrorInvalidPayload, "no such operation, role or access");
  }
  const IdentityView who = shard_.identities_.view(shard_.players_[slot].identity);
  *moderates = session::moderates_group(name, who.permissions);
  const EventHandlers* const events = shard_.config_.events;
  if (events != nullptr && events->group_policy != nullptr && operation != GroupOperation::kList) {
    switch (events->group_policy(
        events->group_policy_user,
        {static_cast<GroupAction>(ask.operation), name, who.user, who.permissions, ask.user_id})) {
      case GroupVerdict::kPermit:
        *moderates = true;
        break;
      case GroupVerdict::kRefuse:
        return refuse(wire::kErrorNotPermitted, "the game does not permit it");
      case GroupVerdict::kRules:
        break;
    }
  }
  if (operation == GroupOperation::kCreate && !*moderates &&
      !session::matches_any(limits_.create, name)) {
    return refuse(wire::kErrorNotPermitted, "no permission to create this group");
  }
  if (!shard_.players_[slot].changes.take(shard_.endpoint_.now_ms(), limits_.changes_per_second,
                                          5 * limits_.changes_per_second)) {
    return refuse(wire::kErrorRateLimited, "change groups less often");
  }
  if ((operation == GroupOperation::kCreate || operation == GroupOperation::kJoin) &&
      members_.count_of_slot(slot) >= limits_.per_user) {
    return refuse(wire::kErrorTopic, "more groups than groups.per_user");
  }
  if (shard_.outbox_.strained()) {
    answer(slot, sequence, wire::kErrorRateLimited, "the way to the group's shard is full", false);
    return false;
  }
  return true;
}

Handled Social::on_group_request(uint32_t slot, const wire::Envelope& message) {
  wire::GroupRequest ask;
  if (!wire::decode(message.payload, &ask)) return Handled::kInvalid;
  char made[session::kTopicNameBytesMax + 20];
  std::string_view name = ask.group;
  // "<kind>." alone: the server gives the rest of the name.
  if (ask.operation == static_cast<uint32_t>(GroupOperation::kCreate) && name.ends_with('.') &&
      name.size() <= limits_.name_bytes) {
    const int n = std::snprintf(made, sizeof made, "%.*s%016llx", static_cast<int>(name.size()),
                                name.data(), static_cast<unsigned long long>(shard_.prng_.next()));
    name = {made, static_cast<size_t>(n)};
  }
  bool moderates = false;
  if (!check_request(slot, message.sequence, ask, name, &moderates)) return Handled::kAnswered;
  mailbox::GroupAsk post{};
  post.connection = shard_.endpoint_.ref(slot);
  post.sequence = message.sequence;
  post.operation = static_cast<uint8_t>(ask.operation);
  post.role = static_cast<uint8_t>(ask.role);
  post.access = static_cast<uint8_t>(ask.access);
  post.flags = moderates ? uint8_t{mailbox::kGroupModerates} : uint8_t{0};
  ask_group(name, shard_.identities_.view(shard_.players_[slot].identity).user, ask.user_id, post);
  return Handled::kOk;
}

void Social::ask_group(std::string_view group, std::string_view actor, std::string_view target,
                       mailbox::GroupAsk ask) {
  uint8_t tail[session::kTopicNameBytesMax + 2 * session::kUserIdBytesMax];
  size_t used = 0;
  for (const std::string_view part : {group, actor, target}) {
    if (!part.empty()) std::memcpy(tail + used, part.data(), part.size());
    used += part.size();
  }
  ask.group_bytes = static_cast<uint8_t>(group.size());
  ask.actor_bytes = static_cast<uint8_t>(actor.size());
  ask.target_bytes = static_cast<uint8_t>(target.size());
  shard_.outbox_.post(home_of_group(group), ask, {tail, used});
}

SendResult Social::request(const GroupCommand& command) {
  if (!session::check_group_name(command.group, limits_.name_bytes) ||
      command.user.size() > session::kUserIdBytesMax) {
    return SendResult::kRange;
  }
  if (shard_.outbox_.strained()) return SendResult::kBusy;
  mailbox::GroupAsk ask{};
  ask.operation = static_cast<uint8_t>(command.action);
  ask.role = static_cast<uint8_t>(command.role);
  ask.access = command.open ? 1 : 0;
  ask.flags = mailbox::kGroupQuiet;
  ask_group(command.group, {}, command.user, ask);
  return SendResult::kOk;
}

Handled Social::on_social_update(uint32_t slot, const wire::Envelope& message) {
  uint32_t sharing = 0;
  bool ids = true;
  uint32_t count = 0;
  if (!wire::decode_social_update(message.payload, &sharing, [&](uint32_t, std::string_view user) {
        ids &= is_user_id(user);
        ++count;
      })) {
    return Handled::kInvalid;
  }
  if (!ids || sharing > static_cast<uint32_t>(session::Sharing::kNobody)) return Handled::kInvalid;
  if (!shard_.players_[slot].changes.take(shard_.endpoint_.now_ms(), limits_.changes_per_second,
                                          5 * limits_.changes_per_second)) {
    answer(slot, message.sequence, wire::kErrorRateLimited, "change lists less often", true);
    return Handled::kAnswered;
  }
  if (count > kIdsMax) {
    answer(slot, message.sequence, wire::kErrorTooLarge, "more ids than fit one message", true);
    return Handled::kAnswered;
  }
  if (shard_.outbox_.strained()) {
    answer(slot, message.sequence, wire::kErrorRateLimited, "the way to another shard is full",
           false);
    return Handled::kAnswered;
  }
  const std::string_view user = shard_.identities_.view(shard_.players_[slot].identity).user;
  uint8_t tail[mailbox::kTailBytesMax];
  std::memcpy(tail, user.data(), user.size());
  if (!message.payload.empty()) {
    std::memcpy(tail + user.size(), message.payload.data(), message.payload.size());
  }
  mailbox::SocialSet set{};
  set.connection = shard_.endpoint_.ref(slot);
  set.sequence = message.sequence;
  set.user_bytes = static_cast<uint32_t>(user.size());
  shard_.outbox_.post(home_of_user(user), set, {tail, user.size() + message.payload.size()});
  return Handled::kOk;
}

void Social::on_answer(base::Bytes bytes) {
  base::Bytes text;
  const auto mail = read_message<mailbox::SocialAnswer>(bytes, &text);
  const uint32_t slot = shard_.endpoint_.find(mail.connection);
  if (slot == net::kNone || shard_.players_[slot].session == 0) return;  // it left meanwhile
  answer(slot, mail.sequence, mail.code, base::as_text(text), mail.counts != 0);
}

// --- what the user's home tells ---

void Social::join_local(uint32_t slot, std::string_view group, GroupRole role, uint64_t from) {
  const uint32_t row = members_.find_topic(group);
  uint32_t s = row == kNone ? kNone : members_.find(slot, row);
  const bool knew = s != kNone;
  if (!knew) s = members_.add(slot, group);
  if (s == kNone) return;  // no room here: the user is in the group, this connection is not told
  members_.at(s).request = static_cast<uint64_t>(role);
  if (knew) return;
  if (session::is_focus_group(limits_.focus, group)) ++focus_count_;
  char topic[session::kTopicNameBytesMax + 8];
  const int n = std::snprintf(topic, sizeof topic, "group.%.*s", static_cast<int>(group.size()),
                              group.data());
  shard_.topics_.attach(slot, {topic, static_cast<size_t>(n)}, from);
  // Behind the subscription: what changes from there on comes as GROUP_EVENT.
  mailbox::GroupAsk ask{};
  ask.connection = shard_.endpoint_.ref(slot);
  ask.operation = static_cast<uint8_t>(GroupOperation::kList);
  ask.flags = mailbox::kGroupQuiet;
  ask_group(group, shard_.identities_.view(shard_.players_[slot].identity).user, {}, ask);
}

void Social::leave_local(uint32_t slot, std::string_view group) {
  const uint32_t row = members_.find_topic(group);
  const uint32_t s = row == kNone ? kNone : members_.find(slot, row);
  if (s == kNone) return;
  if (session::is_focus_group(limits_.focus, group)) --focus_count_;
  members_.remove(s);
}

void Social::send_event(uint32_t slot, const wire::GroupEvent& event) {
  uint8_t bytes[session::kTopicNameBytesMax + 2 * session::kUserIdBytesMax + 64];
  wire::PbWriter out(bytes);
  wire::encode(out, event);
  TG_ASSERT(!out.overflow());
  shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kGroupEvent), out.written());
}

void Social::on_membership_here(base::Bytes bytes) {
  base::Bytes tail;
  const auto mail = read_message<mailbox::GroupMembership>(bytes, &tail);
  const uint32_t slot = shard_.endpoint_.find(mail.connection);
  if (slot == net::kNone || shard_.players_[slot].session == 0) return;
  wire::GroupEvent event;
  event.group = base::as_text(tail.first(mail.group_bytes));
  event.user_id = base::as_text(tail.subspan(mail.group_bytes, mail.user_bytes));
  event.by_user = base::as_text(tail.subspan(size_t{mail.group_bytes} + mail.user_bytes));
  event.change = mail.change;
  event.role = mail.role;
  event.access = mail.access;
  event.version = mail.version;
  const auto change = static_cast<GroupChange>(mail.change);
  if (mail.role != 0) {
    join_local(slot, event.group, static_cast<GroupRole>(mail.role), mail.offset);
    return;
  }
  // Whom an invitation or the end of a membership is about is not, or no longer, one of the topic's
  // subscribers.
  const bool was_member = role(slot, event.group) != GroupRole::kNone;
  bool told = false;
  if (was_member) {
    leave_local(slot, event.group);
    char topic[session::kTopicNameBytesMax + 8];
    const int n = std::snprintf(topic, sizeof topic, "group.%.*s",
                                static_cast<int>(event.group.size()), event.group.data());
    told = shard_.topics_.detach(slot, {topic, static_cast<size_t>(n)}) > mail.offset;
  }
  const bool about_invitation = change == GroupChange::kInvited || change == GroupChange::kDeclined;
  if (!told && (was_member || about_invitation || change == GroupChange::kDisbanded)) {
    send_event(slot, event);
  }
}

void Social::on_entries(base::Bytes bytes) {
  base::Bytes tail;
  const auto mail = read_message<mailbox::UserEntries>(bytes, &tail);
  const uint32_t slot = shard_.endpoint_.find(mail.connection);
  if (slot == net::kNone || shard_.players_[slot].session == 0) return;
  const std::string_view own = shard_.identities_.view(shard_.players_[slot].identity).user;
  while (!tail.empty()) {
    mailbox::UserEntry entry;
    std::memcpy(&entry, tail.data(), sizeof entry);
    const std::string_view name = base::as_text(tail.subspan(sizeof entry, entry.name_bytes));
    tail = tail.subspan(sizeof entry + entry.name_bytes);
    switch (static_cast<Relation>(entry.relation)) {
      case Relation::kGroup:
        if (entry.value != 0) {
          join_local(slot, name, static_cast<GroupRole>(entry.value), 0);
        } else {
          wire::GroupEvent event;
          event.group = name;
          event.change = static_cast<uint32_t>(GroupChange::kInvited);
          event.user_id = own;
          send_event(slot, event);
        }
        break;
      case Relation::kBlocked: {
        const uint64_t hash = session::hash_name(name);
        const uint32_t row = blocks_.find_topic(as_name(hash));
        const uint32_t s = row == kNone ? kNone : blocks_.find(slot, row);
        if (entry.gone != 0 && s != kNone) blocks_.remove(s);
        if (entry.gone == 0 && s == kNone) (void)blocks_.add(slot, as_name(hash));
        shard_.presence_.on_blocked(slot, name);
        break;
      }
      default:
        break;
    }
  }
  if (mail.complete == 0) return;
  known_[slot] = kKnown;
  shard_.topics_.check_group_topics(slot);
}

void Social::deliver_group(base::Bytes bytes) {
  base::Bytes tail;
  const auto mail = read_message<mailbox::DeliverGroup>(bytes, &tail);
  const uint32_t row = members_.find_topic(base::as_text(tail.first(mail.group_bytes)));
  if (row == kNone) return;
  const base::Bytes payload = tail.subspan(mail.group_bytes);
  const uint32_t priority = shard_.priority_of(mail.message_type);
  members_.for_each(row, [&](uint32_t, Subscription& s) {
    const uint32_t slot = s.slot;
    if (hides(slot, mail.source)) {
      shard_.counters_.add(Counter::kMessagesBlocked, 1);
      return;
    }
    if (!shard_.endpoint_.is_open(slot)) return;
    if (shard_.holds_back(slot, priority)) {
      shard_.counters_.add(Counter::kMessagesHeldBack, 1);
      return;
    }
    shard_.send_payload(slot, mail.message_type, payload);
  });
}

bool Social::on_mail(uint32_t from, mailbox::MessageType type, base::Bytes bytes) {
  using mailbox::MessageType;
  switch (type) {
    case MessageType::kGroupAsk:
      on_ask(from, bytes);
      return true;
    case MessageType::kSocialAnswer:
      on_answer(bytes);
      return true;
    case MessageType::kGroupMembership:
      if (read_message<mailbox::GroupMembership>(bytes).connection.valid()) {
        on_membership_here(bytes);
      } else {
        on_membership(bytes);
      }
      return true;
    case MessageType::kUserAsk: {
      base::Bytes user;
      const auto ask = read_message<mailbox::UserAsk>(bytes, &user);
      tell_connection(from, ask.connection, base::as_text(user));
      return true;
    }
    case MessageType::kUserEntries:
      on_entries(bytes);
      return true;
    case MessageType::kSocialSet:
      on_set(from, bytes);
      return true;
    case MessageType::kDeliverGroup:
      deliver_group(bytes);
      return true;
    case MessageType::kFocusMoves:
      on_moves(bytes);
      return true;
    case MessageType::kUserQuestion:
      on_question(bytes);
      return true;
    default:
      return false;
  }
}

}  // namespace tidegate::shard
