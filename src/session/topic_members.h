// SPDX-License-Identifier: Apache-2.0
// Who on this shard subscribes to which topic: the list to walk for each message of a topic, and
// the list to end with a connection. A topic's row stays for a while after its last subscriber, so
// that the home shard is not asked again by who comes at once.
//
//   kAsked    the home shard was asked, its messages do not come yet
//   kJoined   they do
//
// Thread: shard. Owner: shard::Topics. Limits: TopicLimits; all memory at construction.
#pragma once

#include <cstdint>
#include <string_view>

#include "mem/mapped_array.h"
#include "session/name_table.h"
#include "session/topic_rules.h"

namespace tidegate::session {

enum class SubscriptionState : uint8_t {
  kFree,
  kWaiting,   // for the home shard's answer
  kCatching,  // is given the history; what is new comes behind it
  kLive,
};

struct Subscription {
  uint32_t slot;
  uint32_t topic;
  uint32_t next_of_topic, previous_of_topic;
  uint32_t next_of_slot;
  uint32_t generation;  // of this row
  SubscriptionState state;
  uint8_t replies;   // 1: `request` is not answered yet
  uint8_t pulling;   // 1: the home shard owes a piece of history
  uint64_t request;  // sequence of the SUBSCRIBE
  uint64_t next;     // offset to go on from; 0, while waiting: only what is new
};

class TopicMembers {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  enum class TopicState : uint8_t { kNew, kAsked, kJoined };

  TopicMembers(const TopicLimits& limits, uint32_t slots);

  uint32_t find_topic(std::string_view name) const { return names_.find(name); }
  std::string_view name(uint32_t topic) const { return names_.name(topic); }
  TopicState state(uint32_t topic) const { return topics_[topic].state; }
  void set_state(uint32_t topic, TopicState state) { topics_[topic].state = state; }
  // The offset behind the last message of the topic that came to this shard.
  uint64_t next_offset(uint32_t topic) const { return topics_[topic].next_offset; }
  void set_next_offset(uint32_t topic, uint64_t next) { topics_[topic].next_offset = next; }
  // Whether its messages are acknowledged ones, from the first such message on.
  bool acknowledged(uint32_t topic) const { return topics_[topic].acknowledged != 0; }
  void set_acknowledged(uint32_t topic) { topics_[topic].acknowledged = 1; }
  uint32_t subscribers(uint32_t topic) const { return topics_[topic].count; }

  // The connection's subscription, or kNone.
  uint32_t find(uint32_t slot, uint32_t topic) const;
  // A new one, waiting; kNone: a limit is reached. The connection must have none to this topic.
  uint32_t add(uint32_t slot, std::string_view topic);
  void remove(uint32_t subscription);
  // The connection's first one, for ending all of them; kNone: it has none.
  uint32_t first_of_slot(uint32_t slot) const { return slots_[slot].first - 1; }
  uint32_t count_of_slot(uint32_t slot) const { return slots_[slot].count; }

  Subscription& at(uint32_t subscription) { return subscriptions_[subscription]; }
  const Subscription& at(uint32_t subscription) const { return subscriptions_[subscription]; }
  // The row when it is still the same subscription, else nullptr.
  Subscription* find_row(uint32_t subscription, uint32_t generation);

  // Calls visit(subscription, Subscription&) for each of a topic. The visit may remove any
  // subscription, of this topic or another. Not to be nested.
  template <class Visit>
  void for_each(uint32_t topic, Visit&& visit) {
    walk_ = topics_[topic].first;
    while (walk_ != kNone) {
      const uint32_t s = walk_;
      walk_ = subscriptions_[s].next_of_topic;
      visit(s, subscriptions_[s]);
    }
  }

  // A topic that nobody here subscribes to any more, the longest so first; kNone: there is none.
  // Rows in state kAsked stay until they are answered.
  uint32_t empty_topic() const;
  // Takes the row of an empty one out of the table.
  void erase_topic(uint32_t topic);

  bool used(uint32_t topic) const { return names_.used(topic); }
  uint32_t high_water() const { return names_.high_water(); }
  uint32_t topic_count() const { return names_.count(); }
  uint32_t subscription_count() const { return count_; }
  uint64_t memory_bytes() const {
    return names_.memory_bytes() + topics_.bytes() + subscriptions_.bytes() + slots_.bytes();
  }

 private:
  struct Topic {
    uint64_t next_offset;
    uint32_t first;
    uint32_t count;
    TopicState state;
    uint8_t listed;  // 1: in the list of empty ones
    uint8_t acknowledged;
    uint32_t older, newer;
  };
  struct Slot {
    uint32_t first;  // + 1; 0: none, so that zeroed memory is no subscription
    uint32_t count;
  };
  void list(uint32_t topic);
  void unlist(uint32_t topic);

  TopicLimits limits_;
  NameTable names_;
  mem::MappedArray<Topic> topics_;
  mem::MappedArray<Subscription> subscriptions_;
  mem::MappedArray<Slot> slots_;
  uint32_t count_ = 0;
  uint32_t used_ = 0;  // rows ever used
  uint32_t free_ = kNone;
  uint32_t walk_ = kNone;                     // next of the walk that runs
  uint32_t oldest_ = kNone, newest_ = kNone;  // list of empty topics
};

}  // namespace tidegate::session
