// SPDX-License-Identifier: Apache-2.0
// Topics of groups, whose subscriptions follow memberships, and messages that a subscriber does not
// get because its user blocks who they are from.
#include "shard/shard.h"
#include "shard/topics.h"

namespace tidegate::shard {

using session::Subscription;
using session::SubscriptionState;
using session::TopicMembers;

namespace {
constexpr uint32_t kNone = TopicMembers::kNone;
}  // namespace

void Topics::attach(uint32_t slot, std::string_view topic, uint64_t from) {
  const uint32_t known = members_.find_topic(topic);
  uint32_t s = known == kNone ? kNone : members_.find(slot, known);
  if (s != kNone) {
    // The session brought it back and it waited for this word.
    if (members_.at(s).state == SubscriptionState::kWaiting) ask_home(s);
    return;
  }
  s = members_.add(slot, topic);
  if (s == kNone) {
    turn();  // rows that nobody needs
    s = members_.add(slot, topic);
  }
  if (s == kNone) return;  // no room: the client may SUBSCRIBE when there is
  members_.at(s).next = from;
  ask_home(s);
}

uint64_t Topics::detach(uint32_t slot, std::string_view topic) {
  const uint32_t known = members_.find_topic(topic);
  const uint32_t s = known == kNone ? kNone : members_.find(slot, known);
  if (s == kNone) return 0;
  if (may_keep(slot, topic)) return members_.at(s).next;
  const bool live = members_.at(s).state == SubscriptionState::kLive;
  const uint64_t next = live ? members_.at(s).next : 0;
  members_.remove(s);
  return next;
}

// By membership, or by its token.
bool Topics::may_keep(uint32_t slot, std::string_view topic) const {
  const IdentityView who = shard_.identities_.view(shard_.players_[slot].identity);
  const auto right = session::TopicRight::kSubscribe;
  return shard_.social_.may_use_topic(slot, topic) ||
         session::may_use_topic(right, topic, who.user, who.permissions) ||
         policy_permits(who, topic, right);
}

void Topics::check_group_topics(uint32_t slot) {
  for (uint32_t s = members_.first_of_slot(slot); s != kNone;) {
    const uint32_t next = members_.at(s).next_of_slot;
    const std::string_view topic = members_.name(members_.at(s).topic);
    if (topic.starts_with(session::kGroupTopicPrefix)) {
      if (!may_keep(slot, topic)) {
        members_.remove(s);
      } else if (members_.at(s).state == SubscriptionState::kWaiting) {
        ask_home(s);
      }
    }
    s = next;
  }
}

bool Topics::hidden(uint32_t slot, uint64_t source) {
  if (source == 0 || !shard_.social_.hides(slot, source)) return false;
  shard_.counters_.add(metrics::Counter::kMessagesBlocked, 1);
  return true;
}

bool Topics::tell_facts(uint32_t request, std::string_view user, bool erase, uint32_t first,
                        uint32_t count) {
  for (uint32_t topic = first; topic < home_.high_water() && topic - first < count; ++topic) {
    if (!home_.used(topic)) continue;
    const auto mine = [&](uint64_t offset, uint32_t note, base::Bytes frame) {
      wire::Event event;
      if ((note & mailbox::kTopicGroupEvent) != 0 ||
          !wire::decode(frame.subspan(note >> 16), &event) || event.source_user != user) {
        return false;
      }
      shard_.social_.tell_fact(request, mailbox::UserFactKind::kMessage, 0, offset, event.topic,
                               event.data);
      return erase;
    };
    home_.empty_if(topic, {scratch_.data(), kScratchBytes}, mine);
  }
  return first + count >= home_.high_water();
}

// Who published it, as a hash; 0: the server, or nobody here blocks anybody.
uint64_t Topics::source_of(base::Bytes frame, uint32_t note) const {
  if (!shard_.social_.anybody_blocks() || (note & mailbox::kTopicGroupEvent) != 0) return 0;
  wire::Event event;
  if (!wire::decode(frame.subspan(note >> 16), &event) || event.source_user.empty()) return 0;
  return session::hash_name(event.source_user);
}

}  // namespace tidegate::shard
