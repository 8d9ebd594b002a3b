// SPDX-License-Identifier: Apache-2.0
// All that a shard knows of one user beyond the connection: for an export of a person's data, and
// to forget it. Sessions, tokens and places in the world are not among it (docs/events.md says
// where they are).
#include <algorithm>
#include <cstring>

#include "shard/shard.h"
#include "shard/social.h"
#include "wire/event_messages.h"

namespace tidegate::shard {

using mailbox::read_message;
using mailbox::UserFactKind;
using session::GroupRole;
using session::Relation;

void Social::tell_fact(uint32_t request, UserFactKind kind, uint8_t value, uint64_t number,
                       std::string_view name, base::Bytes data) {
  constexpr uint32_t kDataMax = mailbox::kTailBytesMax - 512;
  uint8_t tail[mailbox::kTailBytesMax];
  if (!name.empty()) std::memcpy(tail, name.data(), name.size());
  data = data.first(std::min<size_t>(data.size(), kDataMax));
  if (!data.empty()) std::memcpy(tail + name.size(), data.data(), data.size());
  mailbox::UserFact fact{};
  fact.request = request;
  fact.number = number;
  fact.kind = kind;
  fact.value = value;
  fact.name_bytes = static_cast<uint16_t>(name.size());
  if (!shard_.outbox_.strained()) {
    shard_.outbox_.post(shard_.mailbox_.control(), fact, {tail, name.size() + data.size()});
  } else {  // the answer is then not complete
    for (Question& q : questions_) q.lost |= q.request == request;
  }
}

void Social::on_question(base::Bytes bytes) {
  base::Bytes tail;
  const auto ask = read_message<mailbox::UserQuestion>(bytes, &tail);
  if (tail.empty() || tail.size() > session::kUserIdBytesMax) {
    end_question(ask.request);
    return;
  }
  for (Question& q : questions_) {
    if (q.request != 0) continue;
    q = Question{};
    q.request = ask.request;
    q.erase = ask.erase != 0;
    q.user_bytes = static_cast<uint8_t>(tail.size());
    std::memcpy(q.user, tail.data(), tail.size());
    return;
  }
  // Too many at once: it stays without its end, so it is not complete.
}

void Social::end_question(uint32_t request) {
  mailbox::UserFact end{};
  end.request = request;
  end.kind = UserFactKind::kEnd;
  shard_.outbox_.post(shard_.mailbox_.control(), end);
}

// First what histories hold, some topics in a turn; then others' entries, some users in a turn; at
// last the user's own.
void Social::answer_question() {
  constexpr uint32_t kTopicsInTurn = 16;
  constexpr uint32_t kUsersInTurn = 1024;
  for (Question& q : questions_) {
    if (q.request == 0) continue;
    const std::string_view user{q.user, q.user_bytes};
    if (!q.topics_done) {
      q.topics_done = shard_.topics_.tell_facts(q.request, user, q.erase, q.step, kTopicsInTurn);
      q.step = q.topics_done ? 0 : q.step + kTopicsInTurn;
      return;
    }
    if (q.step < users_.high_water()) {
      const uint32_t to = std::min(q.step + kUsersInTurn, users_.high_water());
      users_.for_each_naming(user, q.step, to,
                             [&](std::string_view, Relation, uint8_t) { ++q.named; });
      if (q.erase) forget_naming(user, q.step, to);
      q.step = to;
      return;
    }
    users_.for_each(user, [&](Relation relation, uint8_t value, std::string_view name) {
      tell_fact(q.request, UserFactKind::kEntry, static_cast<uint8_t>(relation), value, name, {});
    });
    shard_.presence_.tell_facts(q.request, user);
    if (q.named != 0) tell_fact(q.request, UserFactKind::kNamed, 0, q.named, {}, {});
    if (q.erase) forget_own(user);
    if (!q.lost) end_question(q.request);
    q.request = 0;
    return;
  }
}

// Entries of others that name it, of users in these rows.
void Social::forget_naming(std::string_view user, uint32_t from, uint32_t to) {
  struct Owned {
    Relation relation;
    uint8_t bytes;
    char owner[session::kUserIdBytesMax];
  };
  constexpr uint32_t kBatch = 64;
  for (uint32_t count = kBatch; count == kBatch;) {
    Owned found[kBatch];
    count = 0;
    users_.for_each_naming(user, from, to, [&](std::string_view owner, Relation relation, uint8_t) {
      if (count == kBatch) return;
      Owned& o = found[count++];
      o.relation = relation;
      o.bytes = static_cast<uint8_t>(owner.size());
      std::memcpy(o.owner, owner.data(), owner.size());
    });
    for (uint32_t i = 0; i < count; ++i) {
      const std::string_view owner{found[i].owner, found[i].bytes};
      users_.remove(owner, found[i].relation, user);
      keep(found[i].relation, owner, user, 0, true);
      shard_.presence_.on_privacy_changed(owner);
    }
  }
}

// Its own entries, its place in groups, its presence.
void Social::forget_own(std::string_view user) {
  struct Entry {
    Relation relation;
    uint8_t bytes;
    char name[session::UserHome::kNameBytes];
  };
  for (;;) {  // one by one: each removal changes the list
    Entry first{};
    bool any = false;
    users_.for_each(user, [&](Relation relation, uint8_t, std::string_view name) {
      if (any) return;
      any = true;
      first.relation = relation;
      first.bytes = static_cast<uint8_t>(name.size());
      if (!name.empty()) std::memcpy(first.name, name.data(), name.size());
    });
    if (!any) break;
    const std::string_view name{first.name, first.bytes};
    if (first.relation == Relation::kGroup) {
      mailbox::GroupAsk leave{};
      leave.flags = mailbox::kGroupQuiet;
      leave.operation = static_cast<uint8_t>(session::GroupOperation::kLeave);
      ask_group(name, user, {}, leave);
      leave.operation = static_cast<uint8_t>(session::GroupOperation::kDecline);
      ask_group(name, user, {}, leave);  // one of the two is its case
    }
    users_.remove(user, first.relation, name);
    keep(first.relation, user, name, 0, true);
  }
  shard_.presence_.forget(user);
}

}  // namespace tidegate::shard
