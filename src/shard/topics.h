// SPDX-License-Identifier: Apache-2.0
// Topics on a shard, both sides of them: the subscriptions of its own connections, and the topics
// whose home it is. What a client asks goes to the topic's home by mailbox and comes back as REPLY
// or ERROR.
//
//   PUBLISH    publisher's shard -> home: offset, EVENT encoded once, history
//              home -> each shard with subscribers, one mailbox message: the same bytes
//              shard -> every subscriber's output, by reference; one send for each connection and
//              turn
//   SUBSCRIBE  shard -> home for the first subscriber of the shard; then it is known here
//   resume     subscriptions of a connection that is lost wait at the player's home, with the
//   offsets
//              to go on from
//   replay     the subscription pulls pieces of history as fast as its connection takes them, and
//   is
//              live behind the last one: rings keep order, so nothing is missed or doubled
//
// `note` of a message: where the EVENT's payload begins in its bytes << 16 | mailbox::TopicFlag.
//
// Thread: shard. Owner: Shard. Limits: session::TopicLimits; kPullsMax replays at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mailbox/bus_messages.h"
#include "mailbox/messages.h"
#include "mem/arena.h"
#include "mem/mapped_array.h"
#include "session/parked_topics.h"
#include "session/topic_home.h"
#include "session/topic_members.h"
#include "session/topic_rules.h"
#include "shard/identities.h"
#include "shard/packing.h"
#include "shard/router.h"
#include "tidegate/handlers.h"
#include "wire/event_messages.h"
#include "wire/social_messages.h"

namespace tidegate::shard {

class Topics {
 public:
  Topics(Shard& shard, const session::TopicLimits& limits, uint32_t slots);

  // What clients ask (routes of messages.cc).
  Handled on_subscribe(uint32_t slot, const wire::Envelope& message);
  Handled on_unsubscribe(uint32_t slot, const wire::Envelope& message);
  Handled on_publish(uint32_t slot, const wire::Envelope& message);
  // The connection ends; its subscriptions are parked unless the session ends with it.
  void on_closed(uint32_t slot);
  // The session of an earlier connection goes on.
  void on_resumed(uint32_t slot);

  // Messages of other agents; false when the type is none of topics.
  bool on_mail(uint32_t from, mailbox::MessageType type, base::Bytes bytes);

  // A message of the server itself, from no connection: kOk, kRange (a name that is none),
  // kTooLarge, or kBusy when the way to the home is full.
  SendResult publish(std::string_view topic, uint32_t event_type, std::string_view source,
                     base::Bytes data, uint16_t flags);
  const session::TopicLimits& limits() const { return limits_; }

  // ERROR and REPLY with the code; `counts`: against the client.
  enum class Counts : uint8_t { kNo, kYes };
  void refuse(uint32_t slot, uint64_t sequence, uint16_t code, std::string_view details,
              Counts counts);

  // Topics of groups (topics_groups.cc): their subscriptions follow memberships.
  // The connection's user is in the group: subscribed, from an offset on when it is not 0.
  void attach(uint32_t slot, std::string_view topic, uint64_t from);
  // It is not any more. The offset behind the last message that the connection was given; 0: it had
  // no subscription.
  uint64_t detach(uint32_t slot, std::string_view topic);
  // What the connection is in is known now: subscriptions that a session brought back begin or end.
  void check_group_topics(uint32_t slot);
  // Of an export (user_facts.cc): what the user published and histories of this home hold; `erase`:
  // and hold no longer. `count` topics from `first` on; true: these were the last.
  bool tell_facts(uint32_t request, std::string_view user, bool erase, uint32_t first,
                  uint32_t count);
  // At the topic's home: a GROUP_EVENT into the topic of its group. Its offset; 0: no room.
  uint64_t announce(wire::GroupEvent& event);

  // Bounded work of a turn: pieces of history that are due, topics that nobody needs any more.
  void turn();
  // The output was flushed: the bytes it referred to may go.
  void flushed() { frames_.reset(); }
  // Whether turn() has something to do soon that no message causes.
  bool waiting() const { return pull_count_ != 0 && pulls_out_ < kPullsMax; }
  void update_gauges();
  void charge_to(mem::Account* account) { home_.charge_to(account); }
  uint64_t memory_bytes() const {
    return home_.memory_bytes() + members_.memory_bytes() + parked_.memory_bytes() +
           pulls_.bytes() + held_.bytes() + kFramesBytes + kScratchBytes;
  }

  // With other gateways (topics_bus.cc). The members are others now; false from follow_view():
  // more is to be done for it in the next turn.
  void on_view();
  void on_missed(uint64_t gateways);  // something that was said to them, or that they said
  bool follow_view();
  void on_settled();
  void on_bus_mail(const mailbox::BusMail& mail, base::Bytes tail);

  // Copies shared bytes for this turn's output: they are valid until flushed().
  const uint8_t* keep(base::Bytes bytes);
  // The same without sending what was kept before: nullptr when there is no room.
  const uint8_t* try_keep(base::Bytes bytes) {
    return frames_.available() < bytes.size() ? nullptr : keep(bytes);
  }

 private:
  friend class Handover;
  static constexpr uint32_t kFramesBytes = 1 << 20;    // shared bytes of a turn before a flush
  static constexpr uint32_t kScratchBytes = 64 << 10;  // one EVENT, or one piece of history
  static constexpr uint32_t kPullsMax = 8;             // under way from this shard
  static constexpr uint32_t kPieceBytes = 12 << 10;

  struct Encoded {
    base::Bytes frame;  // one WebSocket message, in scratch_
    uint32_t note;
  };
  struct Waiting {
    uint32_t subscription, generation;
  };
  struct Origin {     // of a PUBLISH
    uint64_t number;  // of another gateway's request; 0: nobody waits for an answer
    uint32_t from;    // shard, or index of a gateway
    uint32_t remote;  // 1: of a gateway; 2: of one, by way of another
  };

  // The name as it may be used, or the answer is out.
  bool check(uint32_t slot, uint64_t sequence, std::string_view topic, session::TopicRight right);
  // What an embedder's policy says where rules and token do not permit.
  bool policy_permits(const IdentityView& who, std::string_view topic,
                      session::TopicRight right) const;
  void reply(uint32_t slot, uint64_t sequence, uint16_t code);
  Encoded encode_event(const wire::Event& event, uint16_t flags);
  // To one subscriber; false: the way of acknowledged messages is full, it is to be sent again.
  bool deliver(uint32_t slot, const uint8_t* frame, uint32_t bytes, uint32_t note,
               PackedForms& forms);
  // Whether the connection is to be spared the message because its user blocks who it is from.
  bool hidden(uint32_t slot, uint64_t source);
  uint64_t source_of(base::Bytes frame, uint32_t note) const;
  bool may_keep(uint32_t slot, std::string_view topic) const;
  template <class Message>
  Encoded encode_frame(wire::MessageType type, int64_t timestamp, const Message& message,
                       uint16_t flags);
  void fan_out(uint32_t topic, uint64_t offset, const Encoded& encoded);
  void ask_home(uint32_t subscription);
  // A known subscription is given the history from an offset on.
  void replay(uint32_t subscription, session::Subscription& s, uint64_t from);
  void start(uint32_t subscription, session::Subscription& s, uint64_t next_offset);
  void queue_pull(uint32_t subscription, session::Subscription& s);
  uint32_t home_of(std::string_view topic) const;

  // Messages at their home, or on their way to it.
  void take_publish(const Origin& origin, const mailbox::TopicPublish& publish, base::Bytes tail);
  void publish_here(const Origin& origin, const mailbox::TopicPublish& publish, base::Bytes tail);
  void answer_publish(const Origin& origin, const mailbox::TopicPublish& publish, uint64_t offset,
                      uint32_t code);
  uint32_t collect(uint32_t topic, uint64_t* next, uint32_t bytes_max, base::MutableBytes out);
  // topics_bus.cc
  bool adapt(uint32_t topic);
  bool hand_over(uint32_t topic, uint32_t gateway);
  void join_home(uint32_t topic);
  void leave_home(uint32_t topic);
  void repair(uint32_t topic);
  void answer_waiting(uint32_t topic, uint64_t next_offset, uint32_t code);
  void begin_era(uint32_t topic);
  void pass_to(uint32_t topic, uint64_t next_offset);
  void sweep();
  bool hold(const Origin& origin, const mailbox::TopicPublish& publish, base::Bytes tail);
  bool pull_from_home(uint32_t from, const mailbox::TopicPull& pull, base::Bytes name);
  void take_records(uint32_t topic, base::Bytes records);
  void on_bus_join(uint32_t gateway, std::string_view name, const mailbox::BusMail& mail);
  void on_bus_joined(uint32_t gateway, uint32_t topic, const mailbox::BusMail& mail);
  void on_bus_publish(uint32_t gateway, const mailbox::BusMail& mail, base::Bytes tail);
  void on_bus_event(uint32_t gateway, uint32_t topic, const mailbox::BusMail& mail,
                    base::Bytes frame);
  void on_bus_pull(uint32_t gateway, uint32_t topic, const mailbox::BusMail& mail,
                   std::string_view name);
  void on_bus_piece(const mailbox::BusMail& mail, std::string_view name, base::Bytes records);
  void on_bus_handover(std::string_view name, const mailbox::BusMail& mail, base::Bytes records);

  void on_join(uint32_t from, base::Bytes bytes);
  void on_joined(base::Bytes bytes);
  void on_leave(uint32_t from, base::Bytes bytes);
  void on_publish_mail(uint32_t from, base::Bytes bytes);
  void on_published(base::Bytes bytes);
  void on_event(base::Bytes bytes);
  void on_pull(uint32_t from, base::Bytes bytes);
  void on_piece(base::Bytes bytes);
  void on_list(base::Bytes bytes);
  void park(uint32_t slot);
  void on_parked(base::Bytes bytes);
  void on_resumed_mail(uint32_t from, base::Bytes bytes);
  void on_restored(base::Bytes bytes);

  Shard& shard_;
  std::string durable_;  // patterns
  session::TopicLimits limits_;
  session::TopicHome home_;
  session::TopicMembers members_;
  session::ParkedTopics parked_;
  mem::Arena frames_;
  mem::MappedArray<uint8_t> scratch_;
  mem::MappedArray<Waiting> pulls_;  // subscriptions whose next piece is to be asked for, a ring
  uint32_t pull_head_ = 0, pull_count_ = 0;
  uint32_t pulls_out_ = 0;
  mem::MappedArray<uint8_t> held_;  // PUBLISHes while their topic's home moves, oldest first
  uint32_t held_bytes_ = 0;
  uint32_t view_at_ = 0;  // topics that follow the view already
  uint32_t sweep_at_ = 0;
};

}  // namespace tidegate::shard
