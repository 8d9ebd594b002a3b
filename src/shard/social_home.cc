// SPDX-License-Identifier: Apache-2.0
// The homes' side of groups and lists: what a request changes, and who is told of it.
#include <cstring>

#include "shard/shard.h"
#include "shard/social.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using metrics::Gauge;
using session::GroupAccess;
using session::GroupChange;
using session::GroupHome;
using session::GroupOperation;
using session::GroupRole;
using session::Relation;
using session::UserHome;

namespace {

constexpr uint32_t kPieceBytes = 12 << 10;

struct Answer {
  uint16_t code;
  const char* text;
  bool counts;
};

Answer answer_of(GroupHome::Result result) {
  using Result = GroupHome::Result;
  switch (result) {
    case Result::kDone:
      return {0, "", false};
    case Result::kNoGroup:
      return {wire::kErrorTopic, "there is no such group", true};
    case Result::kTaken:
      return {wire::kErrorTopic, "there is a group of this name already", true};
    case Result::kNoKind:
      return {wire::kErrorTopic, "there are no groups of this kind (groups.kinds)", true};
    case Result::kNotPermitted:
      return {wire::kErrorNotPermitted, "not permitted to this member or user", true};
    case Result::kNoMember:
      return {wire::kErrorTopic, "the user is not in the group, or was not invited", true};
    case Result::kAlready:
      return {wire::kErrorTopic, "it is so already", true};
    case Result::kFull:
      return {wire::kErrorTopic, "the group is full", true};
    case Result::kNoRoom:
      return {wire::kErrorTopic, "the server has no room for it", false};
    case Result::kBusy:
      return {wire::kErrorRateLimited, "the way to other shards is full", false};
    case Result::kInvalid:
      return {wire::kErrorInvalidPayload, "no such operation, role or user", true};
  }
  return {wire::kErrorInvalidPayload, "", true};
}

// Entries for a connection's shard, sent whenever a piece is full.
class EntryList {
 public:
  template <class Send>
  void add(Relation relation, uint8_t value, bool gone, std::string_view name, Send&& send) {
    const mailbox::UserEntry entry{static_cast<uint8_t>(relation), value,
                                   gone ? uint8_t{1} : uint8_t{0},
                                   static_cast<uint8_t>(name.size())};
    if (used_ + sizeof entry + name.size() > sizeof bytes_) {
      send(written(), false);
      used_ = 0;
    }
    std::memcpy(bytes_ + used_, &entry, sizeof entry);
    if (!name.empty()) std::memcpy(bytes_ + used_ + sizeof entry, name.data(), name.size());
    used_ += sizeof entry + name.size();
  }
  base::Bytes written() const { return {bytes_, used_}; }

 private:
  size_t used_ = 0;
  uint8_t bytes_[kPieceBytes];
};

}  // namespace

uint32_t Social::home_of_user(std::string_view user) const {
  return session::home_shard(user, shard_.config_.count);
}

uint32_t Social::home_of_group(std::string_view group) const {
  char topic[session::kTopicNameBytesMax + 8];
  const size_t prefix = session::kGroupTopicPrefix.size();
  std::memcpy(topic, session::kGroupTopicPrefix.data(), prefix);
  std::memcpy(topic + prefix, group.data(), group.size());
  return session::home_shard({topic, prefix + group.size()}, shard_.config_.count);
}

// --- the group's home ---

void Social::on_ask(uint32_t from, base::Bytes bytes) {
  base::Bytes tail;
  const auto ask = read_message<mailbox::GroupAsk>(bytes, &tail);
  GroupHome::Request request;
  request.operation = static_cast<GroupOperation>(ask.operation);
  request.group = base::as_text(tail.first(ask.group_bytes));
  request.actor = base::as_text(tail.subspan(ask.group_bytes, ask.actor_bytes));
  request.target =
      base::as_text(tail.subspan(size_t{ask.group_bytes} + ask.actor_bytes, ask.target_bytes));
  request.role = static_cast<GroupRole>(ask.role);
  request.access = static_cast<GroupAccess>(ask.access);
  request.moderates = (ask.flags & mailbox::kGroupModerates) != 0;
  GroupHome::Outcome outcome;
  if (shard_.outbox_.strained()) {
    outcome.result = GroupHome::Result::kBusy;
  } else {
    outcome = groups_.apply(request);
  }
  if (outcome.result == GroupHome::Result::kDone) {
    if (request.operation == GroupOperation::kList) {
      send_state(from, ask.connection, outcome.group);
    } else {
      shard_.counters_.add(Counter::kGroupChanges, 1);
      announce(outcome, request.group, request.actor);
    }
  }
  if ((ask.flags & mailbox::kGroupQuiet) != 0) return;
  const Answer answer = answer_of(outcome.result);
  const std::string_view text = answer.code == 0 ? request.group : std::string_view{answer.text};
  shard_.outbox_.post(
      from,
      mailbox::SocialAnswer{ask.connection, ask.sequence, answer.code, answer.counts ? 1u : 0u},
      base::as_bytes(text));
}

// The members hear of it by the group's topic; whom it is about by its home, which also keeps it.
void Social::announce(const GroupHome::Outcome& outcome, std::string_view group,
                      std::string_view by) {
  const uint64_t last = groups_.version(outcome.group);
  for (uint32_t i = 0; i < outcome.count; ++i) {
    const GroupHome::Change& change = outcome.changes[i];
    wire::GroupEvent event;
    event.group = group;
    event.change = static_cast<uint32_t>(change.change);
    event.user_id = change.name();
    event.by_user = by;
    event.role = static_cast<uint32_t>(change.role);
    event.access = static_cast<uint32_t>(groups_.access(outcome.group));
    event.version = last - (outcome.count - 1 - i);
    const uint64_t offset = shard_.topics_.announce(event);
    if (shard_.wants_event(EventKind::kGroupChanged)) {
      ServerEvent told;
      told.kind = EventKind::kGroupChanged;
      told.name = group;
      told.offset = event.version;
      told.event_type = event.change;
      told.source_user = by;
      told.data = {change.user, change.user_bytes};
      told.timestamp = shard_.io_.unix_ms();
      shard_.tell_event(told);
    }
    if (change.change == GroupChange::kAccess || change.change == GroupChange::kCreated) {
      keep(Relation::kAccess, group, {}, static_cast<uint8_t>(groups_.access(outcome.group)),
           false);
    }
    if (change.change == GroupChange::kAccess || change.change == GroupChange::kDisbanded) continue;
    tell_user(outcome, group, change.name(), by, change.change, change.role, offset);
  }
  if (!outcome.ended) return;
  keep(Relation::kAccess, group, {}, 0, true);
  const bool disbanded = outcome.changes[0].change == GroupChange::kDisbanded;
  groups_.for_each(outcome.group, [&](std::string_view user, GroupRole role) {
    // Members have it by the topic; invitations end without a word of who ended them.
    tell_user(outcome, group, user, disbanded ? by : std::string_view{},
              role == GroupRole::kNone ? GroupChange::kDeclined : GroupChange::kDisbanded,
              GroupRole::kNone, 0);
  });
  groups_.end(outcome.group);
}

void Social::tell_user(const GroupHome::Outcome& outcome, std::string_view group,
                       std::string_view user, std::string_view by, GroupChange change,
                       GroupRole role, uint64_t offset) {
  uint8_t tail[session::kTopicNameBytesMax + 2 * session::kUserIdBytesMax];
  size_t used = 0;
  for (const std::string_view part : {group, user, by}) {
    if (!part.empty()) std::memcpy(tail + used, part.data(), part.size());
    used += part.size();
  }
  mailbox::GroupMembership mail{};
  mail.version = groups_.version(outcome.group);
  mail.offset = offset;
  mail.change = static_cast<uint8_t>(change);
  mail.role = static_cast<uint8_t>(role);
  mail.access = static_cast<uint8_t>(groups_.access(outcome.group));
  mail.group_bytes = static_cast<uint8_t>(group.size());
  mail.user_bytes = static_cast<uint8_t>(user.size());
  mail.by_bytes = static_cast<uint8_t>(by.size());
  shard_.outbox_.post(home_of_user(user), mail, {tail, used});
}

void Social::send_state(uint32_t to, base::ConnectionRef connection, uint32_t group) {
  uint8_t bytes[kPieceBytes + 512];
  wire::PbWriter out(bytes);
  const auto begin = [&] {
    out = wire::PbWriter(bytes);
    out.text(wire::kGroupStateGroup, groups_.name(group));
    out.varint(wire::kGroupStateAccess, static_cast<uint32_t>(groups_.access(group)));
    out.varint(wire::kGroupStateVersion, groups_.version(group));
  };
  const auto send = [&](bool more) {
    out.boolean(wire::kGroupStateMore, more);
    TG_ASSERT(!out.overflow());
    shard_.outbox_.post(
        to, mailbox::Deliver{connection, static_cast<uint32_t>(wire::MessageType::kGroupState)},
        out.written());
  };
  begin();
  groups_.for_each(group, [&](std::string_view user, GroupRole role) {
    if (out.size() > kPieceBytes) {
      send(true);
      begin();
    }
    if (role == GroupRole::kNone) {
      out.put_text(wire::kGroupStateInvited, user);
      return;
    }
    const size_t member = out.begin(wire::kGroupStateMembers);
    wire::encode(out, wire::GroupMember{user, static_cast<uint32_t>(role)});
    out.end(member);
  });
  send(false);
}

// --- the user's home ---

void Social::on_membership(base::Bytes bytes) {
  base::Bytes tail;
  auto mail = read_message<mailbox::GroupMembership>(bytes, &tail);
  const std::string_view group = base::as_text(tail.first(mail.group_bytes));
  const std::string_view user = base::as_text(tail.subspan(mail.group_bytes, mail.user_bytes));
  const std::string_view by =
      base::as_text(tail.subspan(size_t{mail.group_bytes} + mail.user_bytes, mail.by_bytes));
  const bool invited = mail.change == static_cast<uint8_t>(GroupChange::kInvited);
  if (invited && users_.has(user, Relation::kBlocked, by)) {
    shard_.counters_.add(Counter::kMessagesBlocked, 1);
    return;  // the group keeps the invitation; the user never hears of it
  }
  if (mail.role != 0 || invited) {
    const UserHome::Result kept = users_.set(user, Relation::kGroup, group, mail.role);
    if (kept == UserHome::Result::kFull || kept == UserHome::Result::kNoRoom) {
      // More than this user may have, or more than there is room for: it leaves again.
      mailbox::GroupAsk leave{};
      leave.operation =
          static_cast<uint8_t>(invited ? GroupOperation::kDecline : GroupOperation::kLeave);
      leave.flags = mailbox::kGroupQuiet;
      ask_group(group, user, {}, leave);
      return;
    }
    keep(Relation::kGroup, user, group, mail.role, false);
  } else if (users_.remove(user, Relation::kGroup, group)) {
    keep(Relation::kGroup, user, group, 0, true);
  }
  shard_.presence_.for_each_place(user, [&](uint32_t shard, base::ConnectionRef connection) {
    mail.connection = connection;
    shard_.outbox_.post(shard, mail, tail);
  });
}

void Social::keep(Relation relation, std::string_view user, std::string_view name, uint8_t value,
                  bool gone) {
  if (!shard_.config_.keep_lists) return;
  uint8_t tail[session::kTopicNameBytesMax + UserHome::kNameBytes];
  TG_ASSERT(user.size() + name.size() <= sizeof tail);
  std::memcpy(tail, user.data(), user.size());
  if (!name.empty()) std::memcpy(tail + user.size(), name.data(), name.size());
  shard_.outbox_.post(
      shard_.mailbox_.control(),
      mailbox::UserRecord{static_cast<uint8_t>(relation), value, gone ? uint8_t{1} : uint8_t{0},
                          static_cast<uint8_t>(user.size())},
      {tail, user.size() + name.size()});
}

void Social::tell_connection(uint32_t shard, base::ConnectionRef connection,
                             std::string_view user) {
  if (shard_.outbox_.strained()) return;  // it will ask again
  EntryList list;
  const auto send = [&](base::Bytes piece, bool complete) {
    shard_.outbox_.post(shard, mailbox::UserEntries{connection, complete ? 1u : 0u}, piece);
  };
  users_.for_each(user, [&](Relation relation, uint8_t value, std::string_view name) {
    if (relation != Relation::kGroup && relation != Relation::kBlocked) return;
    list.add(relation, value, false, name, send);
  });
  send(list.written(), true);
}

void Social::on_set(uint32_t from, base::Bytes bytes) {
  base::Bytes tail;
  const auto set = read_message<mailbox::SocialSet>(bytes, &tail);
  const std::string_view user = base::as_text(tail.first(set.user_bytes));
  if (shard_.outbox_.strained()) {
    shard_.outbox_.post(
        from, mailbox::SocialAnswer{set.connection, set.sequence, wire::kErrorRateLimited, 0},
        base::as_bytes("the way to other shards is full"));
    return;
  }
  uint32_t sharing = 0;
  bool full = false, no_room = false, privacy = false;
  EntryList blocks;
  const auto send = [&](base::Bytes piece, bool) {
    shard_.presence_.for_each_place(user, [&](uint32_t shard, base::ConnectionRef connection) {
      shard_.outbox_.post(shard, mailbox::UserEntries{connection, 0}, piece);
    });
  };
  const auto put = [&](Relation relation, std::string_view name, uint8_t value) {
    switch (users_.set(user, relation, name, value)) {
      case UserHome::Result::kDone:
        keep(relation, user, name, value, false);
        return true;
      case UserHome::Result::kSame:
        return false;
      case UserHome::Result::kFull:
        full = true;
        return false;
      case UserHome::Result::kNoRoom:
        no_room = true;
        return false;
    }
    return false;
  };
  const auto take = [&](Relation relation, std::string_view name) {
    if (!users_.remove(user, relation, name)) return false;
    keep(relation, user, name, 0, true);
    return true;
  };
  const bool good = wire::decode_social_update(
      tail.subspan(set.user_bytes), &sharing, [&](uint32_t field, std::string_view name) {
        switch (field) {
          case 2:
            privacy |= put(Relation::kFriend, name, 1);
            break;
          case 3:
            privacy |= take(Relation::kFriend, name);
            break;
          case 4:
            if (name == user || !put(Relation::kBlocked, name, 1)) break;
            privacy = true;
            blocks.add(Relation::kBlocked, 1, false, name, send);
            break;
          case 5:
            if (!take(Relation::kBlocked, name)) break;
            privacy = true;
            blocks.add(Relation::kBlocked, 1, true, name, send);
            break;
          case 6:
            privacy |= put(Relation::kSharedWith, name, 1);
            break;
          case 7:
            privacy |= take(Relation::kSharedWith, name);
            break;
          default:
            break;
        }
      });
  TG_ASSERT(good);  // the client's shard has read it
  if (sharing == static_cast<uint32_t>(session::Sharing::kEveryone)) {
    privacy |= take(Relation::kSharing, {});
  } else if (sharing != 0) {
    privacy |= put(Relation::kSharing, {}, static_cast<uint8_t>(sharing));
  }
  if (!blocks.written().empty()) send(blocks.written(), false);
  if (privacy) shard_.presence_.on_privacy_changed(user);
  const std::string_view text = full      ? "a list is as long as it may be (social.*)"
                                : no_room ? "the server has no room for more entries"
                                          : "";
  const uint32_t code = full || no_room ? uint32_t{wire::kErrorTopic} : 0;
  shard_.outbox_.post(from,
                      mailbox::SocialAnswer{set.connection, set.sequence, code, full ? 1u : 0u},
                      base::as_bytes(text));
  send_list(user);
}

// SOCIAL_LIST to every connection of the user.
void Social::send_list(std::string_view user) {
  uint8_t bytes[kPieceBytes + 512];
  wire::PbWriter out(bytes);
  const auto begin = [&] {
    out = wire::PbWriter(bytes);
    out.varint(wire::kSocialListSharing, static_cast<uint32_t>(users_.sharing(user)));
  };
  const auto send = [&](bool more) {
    out.boolean(wire::kSocialListMore, more);
    TG_ASSERT(!out.overflow());
    shard_.presence_.for_each_place(user, [&](uint32_t shard, base::ConnectionRef connection) {
      shard_.outbox_.post(
          shard,
          mailbox::Deliver{connection, static_cast<uint32_t>(wire::MessageType::kSocialList)},
          out.written());
    });
  };
  begin();
  users_.for_each(user, [&](Relation relation, uint8_t, std::string_view name) {
    const uint32_t field = relation == Relation::kFriend       ? wire::kSocialListFriends
                           : relation == Relation::kBlocked    ? wire::kSocialListBlocked
                           : relation == Relation::kSharedWith ? wire::kSocialListShared
                                                               : 0;
    if (field == 0) return;
    if (out.size() > kPieceBytes) {
      send(true);
      begin();
    }
    out.put_text(field, name);
  });
  send(false);
}

void Social::update_gauges() {
  shard_.counters_.set(Gauge::kGroups, groups_.count());
  shard_.counters_.set(Gauge::kGroupMembers, groups_.members_in_all());
  shard_.counters_.set(Gauge::kUserEntries, users_.entry_count());
}

}  // namespace tidegate::shard
