// SPDX-License-Identifier: Apache-2.0
// The subscribers' side of topics: what clients ask, and the way of a topic's messages into their
// output. topics_home.cc is the other side.
#include "shard/topics.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "shard/shard.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using metrics::Gauge;
using session::Subscription;
using session::SubscriptionState;
using session::TopicMembers;

namespace {
constexpr uint32_t kReleasedPerTurn = 64;
constexpr uint32_t kExpiredPerTurn = 16;
constexpr uint32_t kHeldBytes = 512 << 10;
constexpr uint32_t kNone = TopicMembers::kNone;

// Whether so much more could cost the connection, if the socket takes nothing of it.
bool overfull(const net::Endpoint& endpoint, const net::EndpointConfig& config, uint32_t slot,
              size_t bytes) {
  const auto& row = endpoint.hot(slot);
  const uint64_t waits = uint64_t{row.backlog_bytes} + row.output_bytes;
  return waits != 0 && waits + bytes + protocol::kHeaderMax > config.backlog_bytes;
}
}  // namespace

Topics::Topics(Shard& shard, const session::TopicLimits& limits, uint32_t slots)
    : shard_(shard),
      durable_(limits.durable),
      limits_(limits),
      home_(limits),
      members_(limits, slots),
      parked_(limits.parked, uint64_t{limits.parked} * 512),
      frames_(kFramesBytes),
      scratch_(kScratchBytes),
      pulls_(limits.subscriptions + 16),
      held_(kHeldBytes) {
  limits_.durable = durable_;
}

uint32_t Topics::home_of(std::string_view topic) const {
  return session::home_shard(topic, shard_.config_.count);
}

void Topics::reply(uint32_t slot, uint64_t sequence, uint16_t code) {
  uint8_t bytes[96];
  wire::PbWriter out(bytes);
  wire::Reply answer{sequence, code, {}};
  if (code != 0) answer.message = wire::text_of_error(code);
  wire::encode(out, answer);
  shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kReply), out.written());
}

void Topics::refuse(uint32_t slot, uint64_t sequence, uint16_t code, std::string_view details,
                    Counts counts) {
  char id[24];
  const int n = std::snprintf(id, sizeof id, "%llu", static_cast<unsigned long long>(sequence));
  const std::string_view request{id, sequence == 0 ? 0 : static_cast<size_t>(n)};
  reply(slot, sequence, code);
  if (counts == Counts::kYes) {
    shard_.violation(slot, code, details, request);
  } else {
    shard_.send_error(slot, code, details, false, request);
  }
}

bool Topics::policy_permits(const IdentityView& who, std::string_view topic,
                            session::TopicRight right) const {
  const EventHandlers* events = shard_.config_.events;
  if (events == nullptr || events->policy == nullptr) return false;
  return events->policy(events->policy_user,
                        {topic, who.user, who.permissions, right == session::TopicRight::kPublish});
}

bool Topics::check(uint32_t slot, uint64_t sequence, std::string_view topic,
                   session::TopicRight right) {
  switch (session::check_topic_name(topic, limits_.name_bytes)) {
    case session::TopicName::kGood:
      break;
    case session::TopicName::kInvalid:
      refuse(slot, sequence, wire::kErrorInvalidPayload,
             "a topic is text without control characters and without *", Counts::kYes);
      return false;
    case session::TopicName::kTooLong:
      refuse(slot, sequence, wire::kErrorTooLarge, "the topic's name is above topics.name_bytes",
             Counts::kYes);
      return false;
  }
  const IdentityView who = shard_.identities_.view(shard_.players_[slot].identity);
  if (!session::may_use_topic(right, topic, who.user, who.permissions) &&
      !shard_.social_.may_use_topic(slot, topic) && !policy_permits(who, topic, right)) {
    refuse(slot, sequence, wire::kErrorNotPermitted, "no permission for this topic", Counts::kYes);
    return false;
  }
  if (shard_.outbox_.strained()) {
    shard_.counters_.add(Counter::kTopicRequestsBusy, 1);
    refuse(slot, sequence, wire::kErrorRateLimited, "the way to the topic's shard is full",
           Counts::kNo);
    return false;
  }
  return true;
}

Handled Topics::on_subscribe(uint32_t slot, const wire::Envelope& message) {
  wire::Subscribe ask;
  if (!wire::decode(message.payload, &ask)) return Handled::kInvalid;
  if (!check(slot, message.sequence, ask.topic, session::TopicRight::kSubscribe)) {
    return Handled::kAnswered;
  }
  const uint32_t known = members_.find_topic(ask.topic);
  const uint32_t had = known == kNone ? kNone : members_.find(slot, known);
  if (had != kNone) {  // once more: only a replay is asked for anew
    Subscription& s = members_.at(had);
    reply(slot, message.sequence, 0);
    if (ask.replay_from != 0) replay(had, s, ask.replay_from);
    return Handled::kOk;
  }
  uint32_t added = members_.add(slot, ask.topic);
  if (added == kNone && members_.count_of_slot(slot) < limits_.per_connection) {
    turn();  // rows that nobody needs
    added = members_.add(slot, ask.topic);
  }
  if (added == kNone) {
    const bool own = members_.count_of_slot(slot) >= limits_.per_connection;
    refuse(slot, message.sequence, wire::kErrorTopic,
           own ? "above topics.per_connection" : "the server has no room for more subscriptions",
           own ? Counts::kYes : Counts::kNo);
    return Handled::kAnswered;
  }
  Subscription& s = members_.at(added);
  s.request = message.sequence;
  s.replies = 1;
  s.next = ask.replay_from;
  ask_home(added);
  return Handled::kOk;
}

void Topics::replay(uint32_t subscription, Subscription& s, uint64_t from) {
  s.next = from;
  if (s.state == SubscriptionState::kWaiting) return;
  ++s.generation;  // what is under way for the replay before is not meant any more
  s.pulling = 0;
  s.state = SubscriptionState::kCatching;
  queue_pull(subscription, s);
}

// For the shard's first subscriber of a topic; others are served by what is known.
void Topics::ask_home(uint32_t subscription) {
  Subscription& s = members_.at(subscription);
  const std::string_view name = members_.name(s.topic);
  switch (members_.state(s.topic)) {
    case TopicMembers::TopicState::kNew:
      members_.set_state(s.topic, TopicMembers::TopicState::kAsked);
      shard_.outbox_.post(home_of(name), mailbox::TopicJoin{}, base::as_bytes(name));
      break;
    case TopicMembers::TopicState::kAsked:
      break;
    case TopicMembers::TopicState::kJoined:
      start(subscription, s, members_.next_offset(s.topic));
      break;
  }
}

// The topic's messages come: the subscription is live, or is given history first.
void Topics::start(uint32_t subscription, Subscription& s, uint64_t next_offset) {
  if (s.replies != 0) reply(s.slot, s.request, 0);
  s.replies = 0;
  // A relay may be behind what the client has had elsewhere: then the home is asked.
  const bool ahead = s.next > next_offset && !shard_.cluster_.alone();
  if (s.next == 0 || (s.next >= next_offset && !ahead)) {
    s.next = next_offset;
    s.state = SubscriptionState::kLive;
    return;
  }
  s.state = SubscriptionState::kCatching;
  queue_pull(subscription, s);
}

Handled Topics::on_unsubscribe(uint32_t slot, const wire::Envelope& message) {
  wire::Unsubscribe ask;
  if (!wire::decode(message.payload, &ask)) return Handled::kInvalid;
  const uint32_t topic = members_.find_topic(ask.topic);
  const uint32_t subscription = topic == kNone ? kNone : members_.find(slot, topic);
  if (subscription == kNone) {
    refuse(slot, message.sequence, wire::kErrorTopic, "not subscribed to this topic", Counts::kYes);
    return Handled::kAnswered;
  }
  Subscription& s = members_.at(subscription);
  if (s.replies != 0) reply(slot, s.request, 0);
  members_.remove(subscription);
  reply(slot, message.sequence, 0);
  return Handled::kOk;
}

Handled Topics::on_publish(uint32_t slot, const wire::Envelope& message) {
  wire::Publish ask;
  if (!wire::decode(message.payload, &ask)) return Handled::kInvalid;
  if (!check(slot, message.sequence, ask.topic, session::TopicRight::kPublish)) {
    return Handled::kAnswered;
  }
  if (ask.data.size() > limits_.payload_bytes) {
    refuse(slot, message.sequence, wire::kErrorTooLarge, "the data is above topics.payload_bytes",
           Counts::kYes);
    return Handled::kAnswered;
  }
  const IdentityView who = shard_.identities_.view(shard_.players_[slot].identity);
  mailbox::TopicPublish post{};
  post.connection = shard_.endpoint_.ref(slot);
  post.sequence = message.sequence;
  post.event_type = ask.event_type;
  const uint32_t priority = message.priority == 0 ? Shard::kPriorityPlain
                                                  : std::min(message.priority, wire::kPriorityMax);
  post.flags = static_cast<uint16_t>(priority << mailbox::kTopicPriorityShift);
  if (message.requires_ack) post.flags |= mailbox::kTopicAckAsked;
  post.topic_bytes = static_cast<uint16_t>(ask.topic.size());
  post.user_bytes = static_cast<uint16_t>(who.user.size());
  uint8_t* const tail = scratch_.data();
  size_t used = 0;
  for (const base::Bytes part : {base::as_bytes(ask.topic), base::as_bytes(who.user), ask.data}) {
    if (!part.empty()) std::memcpy(tail + used, part.data(), part.size());
    used += part.size();
  }
  shard_.outbox_.post(home_of(ask.topic), post, {tail, used});
  return Handled::kOk;
}

SendResult Topics::publish(std::string_view topic, uint32_t event_type, std::string_view source,
                           base::Bytes data, uint16_t flags) {
  if (session::check_topic_name(topic, limits_.name_bytes) != session::TopicName::kGood ||
      !wire::is_utf8(topic)) {
    return SendResult::kRange;
  }
  if (data.size() > limits_.payload_bytes) return SendResult::kTooLarge;
  if (shard_.outbox_.strained()) return SendResult::kBusy;
  mailbox::TopicPublish post{};
  post.event_type = event_type;
  post.flags = flags;
  post.topic_bytes = static_cast<uint16_t>(topic.size());
  post.user_bytes = static_cast<uint16_t>(source.size());
  uint8_t* const tail = scratch_.data();
  size_t used = 0;
  for (const base::Bytes part : {base::as_bytes(topic), base::as_bytes(source), data}) {
    if (!part.empty()) std::memcpy(tail + used, part.data(), part.size());
    used += part.size();
  }
  shard_.outbox_.post(home_of(topic), post, {tail, used});
  return SendResult::kOk;
}

void Topics::on_closed(uint32_t slot) {
  if ((shard_.players_[slot].flags & kSessionEnds) == 0) park(slot);
  for (uint32_t s = members_.first_of_slot(slot); s != kNone; s = members_.first_of_slot(slot)) {
    members_.remove(s);
  }
}

void Topics::on_published(base::Bytes bytes) {
  const auto published = read_message<mailbox::TopicPublished>(bytes);
  const uint32_t slot = shard_.endpoint_.find(published.connection);
  if (slot == net::kNone || shard_.players_[slot].session == 0) return;  // it left meanwhile
  if (published.code == 0) {
    reply(slot, published.sequence, 0);
  } else {
    refuse(slot, published.sequence, static_cast<uint16_t>(published.code),
           "the server has no room for the message or its topic", Counts::kNo);
  }
}

void Topics::on_joined(base::Bytes bytes) {
  base::Bytes name;
  const auto joined = read_message<mailbox::TopicJoined>(bytes, &name);
  const uint32_t topic = members_.find_topic(base::as_text(name));
  if (topic == kNone || members_.state(topic) != TopicMembers::TopicState::kAsked) return;
  const bool good = joined.code == 0;
  members_.set_next_offset(topic, joined.next_offset);
  members_.set_state(topic,
                     good ? TopicMembers::TopicState::kJoined : TopicMembers::TopicState::kNew);
  members_.for_each(topic, [&](uint32_t subscription, Subscription& s) {
    if (good) {
      start(subscription, s, joined.next_offset);
      return;
    }
    const uint32_t slot = s.slot;
    const uint64_t request = s.request;
    const bool asked = s.replies != 0;  // by its client; else it was restored after a resume
    members_.remove(subscription);
    if (!asked) return;
    refuse(slot, request, static_cast<uint16_t>(joined.code),
           "the server has no room for more topics", Counts::kNo);
  });
}

const uint8_t* Topics::keep(base::Bytes bytes) {
  if (frames_.available() < bytes.size()) {
    shard_.endpoint_.flush();
    frames_.reset();
  }
  uint8_t* const kept = frames_.take(bytes.size());
  std::memcpy(kept, bytes.data(), bytes.size());
  return kept;
}

// An EVENT that asks for acknowledgement has a sequence of each session: only its payload is
// shared, and it goes by the session's home (delivery.cc).
bool Topics::deliver(uint32_t slot, const uint8_t* frame, uint32_t bytes, uint32_t note,
                     PackedForms& forms) {
  const uint32_t payload_at = note >> 16;
  const auto type =
      static_cast<uint32_t>((note & mailbox::kTopicGroupEvent) != 0 ? wire::MessageType::kGroupEvent
                                                                    : wire::MessageType::kEvent);
  if ((note & mailbox::kTopicAckAsked) != 0 &&
      bytes - payload_at <= session::ReplayLogs::kPayloadBytesMax) {
    const base::Bytes payload{frame + payload_at, bytes - payload_at};
    return shard_.send_acknowledged(slot, type, payload) != SendResult::kBusy;
  }
  if (shard_.packing_.large(bytes - payload_at) && shard_.players_[slot].packing != 0) {
    (void)shard_.find_form(slot, type, {frame + payload_at, bytes - payload_at}, forms, &frame,
                           &bytes);
  }
  shard_.endpoint_.send_framed(slot, frame, bytes, 1);
  return true;
}

void Topics::on_event(base::Bytes bytes) {
  base::Bytes tail;
  const auto event = read_message<mailbox::TopicEvent>(bytes, &tail);
  const uint32_t topic = members_.find_topic(base::as_text(tail.first(event.topic_bytes)));
  if (topic == kNone) return;
  members_.set_next_offset(topic, event.offset + 1);
  if (members_.subscribers(topic) == 0) return;
  const base::Bytes frame = tail.subspan(event.topic_bytes);
  // What follows on an acknowledged message takes the same way, or it would overtake it.
  uint32_t note = event.note;
  if ((note & mailbox::kTopicAckAsked) != 0) members_.set_acknowledged(topic);
  if (members_.acknowledged(topic)) note |= mailbox::kTopicAckAsked;
  const uint8_t* const shared = keep(frame);
  const uint64_t source = source_of(frame, note);
  const uint32_t priority = note >> mailbox::kTopicPriorityShift & 0xf;
  PackedForms forms;
  uint64_t sent = 0;
  members_.for_each(topic, [&](uint32_t subscription, Subscription& s) {
    if (s.state != SubscriptionState::kLive) return;  // gets it with its history
    if (event.offset < s.next) return;                // had it with another gateway's history
    s.next = event.offset + 1;                        // first: the slot may close on the way
    if (hidden(s.slot, source)) return;
    if ((note & mailbox::kTopicAckAsked) == 0 &&
        (shard_.holds_back(s.slot, priority) ||
         overfull(shard_.endpoint_, shard_.config_.endpoint, s.slot, frame.size()))) {
      shard_.counters_.add(Counter::kEventsPutOff, 1);
      s.state = SubscriptionState::kCatching;  // out of the history when the connection has taken
                                               // what waits
      s.next = event.offset;
      queue_pull(subscription, s);
      return;
    }
    if (deliver(s.slot, shared, static_cast<uint32_t>(frame.size()), note, forms)) {
      ++sent;
      return;
    }
    s.state = SubscriptionState::kCatching;
    s.next = event.offset;
    queue_pull(subscription, s);
  });
  shard_.counters_.add(Counter::kTopicDeliveries, sent);
}

void Topics::queue_pull(uint32_t subscription, Subscription& s) {
  if (pull_count_ == pulls_.size()) {  // entries of subscriptions that are gone
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pull_count_; ++i) {
      const Waiting w = pulls_[(pull_head_ + i) % pulls_.size()];
      const Subscription* row = members_.find_row(w.subscription, w.generation);
      if (row == nullptr || row->pulling != 1) continue;
      pulls_[(pull_head_ + kept++) % pulls_.size()] = w;
    }
    pull_count_ = kept;
  }
  s.pulling = 1;
  pulls_[(pull_head_ + pull_count_++) % pulls_.size()] = {subscription, s.generation};
}

void Topics::turn() {
  const uint32_t begin = pull_count_;
  for (uint32_t i = 0; i < begin && pulls_out_ < kPullsMax; ++i) {
    const Waiting w = pulls_[pull_head_];
    pull_head_ = (pull_head_ + 1) % static_cast<uint32_t>(pulls_.size());
    --pull_count_;
    Subscription* s = members_.find_row(w.subscription, w.generation);
    if (s == nullptr || s->pulling != 1) continue;
    if (shard_.endpoint_.hot(s->slot).backlog_bytes > shard_.config_.endpoint.backlog_bytes / 4) {
      queue_pull(w.subscription, *s);  // what it was given is to leave first
      continue;
    }
    s->pulling = 2;
    ++pulls_out_;
    const std::string_view name = members_.name(s->topic);
    shard_.outbox_.post(home_of(name), mailbox::TopicPull{w.subscription, w.generation, s->next},
                        base::as_bytes(name));
  }
  for (uint32_t i = 0; i < kReleasedPerTurn && !shard_.outbox_.strained(); ++i) {
    const uint32_t topic = members_.empty_topic();
    if (topic == kNone) break;
    if (members_.state(topic) == TopicMembers::TopicState::kJoined) {
      const std::string_view name = members_.name(topic);
      shard_.outbox_.post(home_of(name), mailbox::TopicLeave{}, base::as_bytes(name));
    }
    members_.erase_topic(topic);
  }
  home_.expire(shard_.now_, kExpiredPerTurn);
  if (!shard_.cluster_.alone()) sweep();
  const int64_t parked_before = (shard_.now_ - limits_.parked_age).ns / 1'000'000'000;
  if (parked_before > 0) parked_.expire(static_cast<uint32_t>(parked_before));
}

void Topics::on_piece(base::Bytes bytes) {
  base::Bytes tail;
  const auto piece = read_message<mailbox::TopicPiece>(bytes, &tail);
  TG_ASSERT(pulls_out_ != 0);
  --pulls_out_;
  Subscription* s = members_.find_row(piece.subscription, piece.generation);
  if (s == nullptr || s->pulling != 2) return;  // it ended, or asked for another replay
  s->pulling = 0;
  s->next = piece.next;
  if (piece.done != 0) {
    s->state = SubscriptionState::kLive;
  } else {
    queue_pull(piece.subscription, *s);
  }
  const uint32_t slot = s->slot;
  const uint32_t topic = s->topic;
  uint64_t sent = 0;
  while (!tail.empty()) {
    mailbox::TopicRecord record;
    std::memcpy(&record, tail.data(), sizeof record);
    const base::Bytes frame = tail.subspan(sizeof record, record.bytes);
    tail = tail.subspan(sizeof record + record.bytes);
    if (record.bytes == 0) continue;  // its author had it erased
    if ((record.note & mailbox::kTopicAckAsked) != 0) members_.set_acknowledged(topic);
    if (members_.acknowledged(topic)) record.note |= mailbox::kTopicAckAsked;
    if (hidden(slot, source_of(frame, record.note))) continue;
    PackedForms forms;
    // What was there when the piece was asked for may have filled up since.
    const bool fits = (record.note & mailbox::kTopicAckAsked) != 0 ||
                      !overfull(shard_.endpoint_, shard_.config_.endpoint, slot, record.bytes);
    if (!fits || !deliver(slot, keep(frame), record.bytes, record.note, forms)) {
      s = members_.find_row(piece.subscription, piece.generation);
      if (s == nullptr) return;
      s->next = record.offset;  // from here on once more
      s->state = SubscriptionState::kCatching;
      if (s->pulling == 0) queue_pull(piece.subscription, *s);
      break;
    }
    ++sent;
  }
  shard_.counters_.add(Counter::kTopicReplayed, sent);
}

void Topics::update_gauges() {
  shard_.counters_.set(Gauge::kTopics, home_.count());
  shard_.counters_.set(Gauge::kTopicSubscriptions, members_.subscription_count());
  shard_.counters_.set(Gauge::kTopicHistoryBytes, home_.history_bytes());
}

bool Topics::on_mail(uint32_t from, mailbox::MessageType type, base::Bytes bytes) {
  using mailbox::MessageType;
  switch (type) {
    case MessageType::kTopicJoin:
      on_join(from, bytes);
      return true;
    case MessageType::kTopicJoined:
      on_joined(bytes);
      return true;
    case MessageType::kTopicLeave:
      on_leave(from, bytes);
      return true;
    case MessageType::kTopicPublish:
      on_publish_mail(from, bytes);
      return true;
    case MessageType::kTopicPublished:
      on_published(bytes);
      return true;
    case MessageType::kTopicEvent:
      on_event(bytes);
      return true;
    case MessageType::kTopicPull:
      on_pull(from, bytes);
      return true;
    case MessageType::kTopicPiece:
      on_piece(bytes);
      return true;
    case MessageType::kListTopics:
      on_list(bytes);
      return true;
    case MessageType::kTopicsParked:
      on_parked(bytes);
      return true;
    case MessageType::kTopicsResumed:
      on_resumed_mail(from, bytes);
      return true;
    case MessageType::kTopicsRestored:
      on_restored(bytes);
      return true;
    default:
      return false;
  }
}

}  // namespace tidegate::shard
