// SPDX-License-Identifier: Apache-2.0
#include "session/topic_members.h"

namespace tidegate::session {

TopicMembers::TopicMembers(const TopicLimits& limits, uint32_t slots)
    : limits_(limits),
      names_(limits.topics, limits.name_bytes),
      topics_(limits.topics),
      subscriptions_(limits.subscriptions),
      slots_(slots) {}

uint32_t TopicMembers::find(uint32_t slot, uint32_t topic) const {
  for (uint32_t s = first_of_slot(slot); s != kNone; s = subscriptions_[s].next_of_slot) {
    if (subscriptions_[s].topic == topic) return s;
  }
  return kNone;
}

uint32_t TopicMembers::add(uint32_t slot, std::string_view name) {
  Slot& connection = slots_[slot];
  if (connection.count >= limits_.per_connection || count_ == limits_.subscriptions) return kNone;
  uint32_t topic = names_.find(name);
  if (topic == kNone) {
    topic = names_.insert(name);
    if (topic == kNone) return kNone;
    topics_[topic] = Topic{0, kNone, 0, TopicState::kNew, 0, 0, kNone, kNone};
  }
  uint32_t s = free_;
  if (s != kNone) {
    free_ = subscriptions_[s].next_of_slot;
  } else {
    s = used_++;
  }
  Topic& t = topics_[topic];
  unlist(topic);
  const uint32_t generation = subscriptions_[s].generation + 1;
  subscriptions_[s] = Subscription{
      slot, topic, t.first, kNone, connection.first - 1, generation, SubscriptionState::kWaiting,
      0,    0,     0,       0};
  if (t.first != kNone) subscriptions_[t.first].previous_of_topic = s;
  t.first = s;
  ++t.count;
  connection.first = s + 1;
  ++connection.count;
  ++count_;
  return s;
}

void TopicMembers::remove(uint32_t subscription) {
  Subscription& s = subscriptions_[subscription];
  TG_ASSERT(s.state != SubscriptionState::kFree);
  if (walk_ == subscription) walk_ = s.next_of_topic;
  Topic& t = topics_[s.topic];
  (s.previous_of_topic == kNone ? t.first : subscriptions_[s.previous_of_topic].next_of_topic) =
      s.next_of_topic;
  if (s.next_of_topic != kNone) {
    subscriptions_[s.next_of_topic].previous_of_topic = s.previous_of_topic;
  }
  Slot& connection = slots_[s.slot];
  if (connection.first == subscription + 1) {
    connection.first = s.next_of_slot + 1;
  } else {
    uint32_t before = connection.first - 1;
    while (subscriptions_[before].next_of_slot != subscription) {
      before = subscriptions_[before].next_of_slot;
    }
    subscriptions_[before].next_of_slot = s.next_of_slot;
  }
  --connection.count;
  --count_;
  if (--t.count == 0) list(s.topic);
  s.state = SubscriptionState::kFree;
  s.next_of_slot = free_;
  free_ = subscription;
}

Subscription* TopicMembers::find_row(uint32_t subscription, uint32_t generation) {
  if (subscription >= used_) return nullptr;
  Subscription& s = subscriptions_[subscription];
  return s.state != SubscriptionState::kFree && s.generation == generation ? &s : nullptr;
}

uint32_t TopicMembers::empty_topic() const {
  uint32_t topic = oldest_;
  while (topic != kNone && topics_[topic].state == TopicState::kAsked) topic = topics_[topic].newer;
  return topic;
}

void TopicMembers::erase_topic(uint32_t topic) {
  TG_ASSERT(topics_[topic].count == 0);
  unlist(topic);
  names_.erase(topic);
}

void TopicMembers::list(uint32_t topic) {
  Topic& t = topics_[topic];
  t.listed = 1;
  t.older = newest_;
  t.newer = kNone;
  (newest_ == kNone ? oldest_ : topics_[newest_].newer) = topic;
  newest_ = topic;
}

void TopicMembers::unlist(uint32_t topic) {
  Topic& t = topics_[topic];
  if (t.listed == 0) return;
  (t.older == kNone ? oldest_ : topics_[t.older].newer) = t.newer;
  (t.newer == kNone ? newest_ : topics_[t.newer].older) = t.older;
  t.listed = 0;
}

}  // namespace tidegate::session
