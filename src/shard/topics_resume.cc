// SPDX-License-Identifier: Apache-2.0
// Subscriptions outlive the connection: they wait at the player's home shard, which also has the
// session, and go on behind the last message that was handed to the connection.
#include <cstring>

#include "shard/shard.h"
#include "shard/topics.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using mailbox::ParkedTopic;
using mailbox::read_message;
using session::Subscription;
using session::SubscriptionState;
using session::TopicMembers;

namespace {
constexpr uint32_t kNone = TopicMembers::kNone;
}  // namespace

void Topics::park(uint32_t slot) {
  uint32_t used = 0;
  for (uint32_t i = members_.first_of_slot(slot); i != kNone; i = members_.at(i).next_of_slot) {
    const Subscription& s = members_.at(i);
    const std::string_view name = members_.name(s.topic);
    if (used + sizeof(ParkedTopic) + name.size() > session::ParkedTopics::kListBytesMax) break;
    const ParkedTopic parked{s.next, static_cast<uint16_t>(name.size()),
                             members_.acknowledged(s.topic) ? uint16_t{1} : uint16_t{0}};
    std::memcpy(scratch_.data() + used, &parked, sizeof parked);
    std::memcpy(scratch_.data() + used + sizeof parked, name.data(), name.size());
    used += static_cast<uint32_t>(sizeof parked + name.size());
  }
  if (used == 0) return;
  shard_.outbox_.post(world::home_of(shard_.player_id(slot), shard_.config_.count).value,
                      mailbox::TopicsParked{shard_.players_[slot].session},
                      {scratch_.data(), used});
}

void Topics::on_parked(base::Bytes bytes) {
  base::Bytes list;
  const auto parked = read_message<mailbox::TopicsParked>(bytes, &list);
  parked_.put(parked.session, list, static_cast<uint32_t>(shard_.now_.ns / 1'000'000'000));
}

void Topics::on_resumed(uint32_t slot) {
  const std::string_view player = shard_.player_id(slot);
  shard_.outbox_.post(
      world::home_of(player, shard_.config_.count).value,
      mailbox::TopicsResumed{shard_.endpoint_.ref(slot), shard_.players_[slot].session});
}

void Topics::on_resumed_mail(uint32_t from, base::Bytes bytes) {
  const auto resumed = read_message<mailbox::TopicsResumed>(bytes);
  const uint32_t size = parked_.take(resumed.session, {scratch_.data(), kScratchBytes});
  if (size == 0) return;
  shard_.outbox_.post(from, mailbox::TopicsRestored{resumed.connection, resumed.session},
                      {scratch_.data(), size});
}

void Topics::on_restored(base::Bytes bytes) {
  base::Bytes list;
  const auto restored = read_message<mailbox::TopicsRestored>(bytes, &list);
  const uint32_t slot = shard_.endpoint_.find(restored.connection);
  if (slot == net::kNone || shard_.players_[slot].session != restored.session) return;
  while (!list.empty()) {
    ParkedTopic parked;
    std::memcpy(&parked, list.data(), sizeof parked);
    const std::string_view name = base::as_text(list.subspan(sizeof parked, parked.name_bytes));
    list = list.subspan(sizeof parked + parked.name_bytes);
    const uint32_t known = members_.find_topic(name);
    const uint32_t had = known == kNone ? kNone : members_.find(slot, known);
    const bool of_group = name.starts_with(session::kGroupTopicPrefix);
    if (had != kNone) {
      // Its own SUBSCRIBE counts; what a membership began takes up where the session was.
      if (of_group) replay(had, members_.at(had), parked.next);
      continue;
    }
    if (of_group && shard_.social_.knows(slot) && !may_keep(slot, name)) continue;
    const uint32_t added = members_.add(slot, name);
    if (added == kNone) continue;  // no room any more
    Subscription& s = members_.at(added);
    s.next = parked.next;
    if (parked.acknowledged != 0) members_.set_acknowledged(s.topic);
    if (of_group && !shard_.social_.knows(slot)) continue;  // check_group_topics() begins it
    ask_home(added);
  }
}

}  // namespace tidegate::shard
