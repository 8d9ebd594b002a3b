// SPDX-License-Identifier: Apache-2.0
// Topics of several gateways. One of them is a topic's home (cluster.h); at the others the topic's
// home shard is a relay: towards its own shards it does what a home does, with offsets and frames
// that come from the real one.
//
//   subscribe  shard -> relay -> home gateway; the relay joins once for all its shards
//   publish    shard -> relay -> home; held at both while the home moves
//   event      home -> each gateway that has joined, in order; the relay keeps a history too
//   lost       a relay that sees a hole asks for what is missing; a home that has been quiet says
//              its last offset, so that the last message is missed too
//   moved      the old home gives offset and newest messages to the new one; relays join there and
//              say which offset they expect
//   lost home  nobody knows for sure which offset it gave last: the new one begins an era, which is
//              above all of them
#include <algorithm>
#include <bit>
#include <cstring>

#include "shard/shard.h"
#include "shard/topics.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusOp;
using metrics::Counter;
using session::TopicHome;
using Role = TopicHome::Role;

namespace {

constexpr uint32_t kNone = TopicHome::kNone;
constexpr uint32_t kFollowPerTurn = 512;
constexpr uint32_t kSweepPerTurn = 64;
constexpr uint32_t kAskAgainMs = 1000;
constexpr uint32_t kPullAgainMs = 3000;  // the bus answers sooner, if only that there is no answer
constexpr uint32_t kQuietMs = 200;       // then the last offset is said
constexpr uint32_t kHandoverBytes = 12 << 10;

struct Held {
  mailbox::TopicPublish publish;
  uint64_t number;
  uint32_t from, remote;
  uint32_t tail_bytes;
  uint32_t unused;
};

}  // namespace

// --- the view ---

void Topics::on_view() {
  const uint64_t kept = shard_.cluster_.kept();
  for (uint32_t t = 0; t < home_.high_water(); ++t) {
    if (home_.used(t) && (home_.gateways(t) & ~kept) != 0) {
      home_.set_gateways(t, home_.gateways(t) & kept);
    }
  }
  view_at_ = 0;
}

void Topics::on_missed(uint64_t gateways) {
  for (uint32_t t = 0; t < home_.high_water(); ++t) {
    if (!home_.used(t) || (home_.gateways(t) & gateways) == 0) continue;
    TopicHome::Relay& relay = home_.relay(t);
    if (relay.role == Role::kHome && relay.tails == 0) relay.tails = 1;
  }
}

bool Topics::follow_view() {
  for (uint32_t i = 0; i < kFollowPerTurn && view_at_ < home_.high_water(); ++i, ++view_at_) {
    if (home_.used(view_at_) && !adapt(view_at_)) return false;
  }
  return view_at_ >= home_.high_water();
}

// Lets the topic be what the view makes of it. False: the ring is full, and it is as before.
bool Topics::adapt(uint32_t topic) {
  TopicHome::Relay& relay = home_.relay(topic);
  if (!shard_.cluster_.configured()) return true;
  const Cluster::Home home = shard_.cluster_.home_of(home_.name(topic));
  if (relay.home_key == home.key) return true;
  const bool was_home = relay.role == Role::kHome;
  if (home.here) {
    relay.role = Role::kHome;
    relay.pulling = 0;
    relay.home_key = home.key;
    relay.taken = home.index == Cluster::kNone ? 0 : 1;  // groups' topics are here for good
    if (!shard_.cluster_.moving(home_.name(topic))) begin_era(topic);
    if (!shard_.cluster_.joining()) answer_waiting(topic, home_.next_offset(topic), 0);
    return true;
  }
  if (was_home && !hand_over(topic, home.index)) return false;
  relay.home_key = home.key;
  relay.role = Role::kOutside;
  relay.pulling = 0;
  relay.taken = 0;
  home_.set_gateways(topic, 0);
  if (home_.shards(topic) != 0) join_home(topic);
  return true;
}

// Nobody has handed the topic over, so a gateway that is gone may have been its home.
void Topics::begin_era(uint32_t topic) {
  TopicHome::Relay& relay = home_.relay(topic);
  if (relay.taken == 0) return;
  relay.taken = 0;
  home_.leap_to(topic, TopicHome::first_of_era(shard_.cluster_.era()));
}

bool Topics::hand_over(uint32_t topic, uint32_t gateway) {
  const uint64_t end = home_.next_offset(topic);
  if (end == 1) return true;  // nothing was ever said
  // The newest that fit: those in front are let go one by one.
  uint64_t from = home_.first_offset(topic);
  uint32_t bytes = home_.figures(topic).history_bytes;
  const base::MutableBytes out{scratch_.data(), kScratchBytes};
  while (from < end && bytes > kHandoverBytes) {
    TopicHome::Piece piece;
    if (!home_.read(topic, from, shard_.now_, out, &piece)) break;
    bytes -= std::min(bytes, piece.bytes);
    from = piece.offset + 1;
  }
  uint64_t next = from;
  const uint32_t used = collect(topic, &next, kHandoverBytes, out);
  BusMail mail;
  mail.op = BusOp::kTopicHandover;
  mail.gateways = uint64_t{1} << gateway;
  mail.a = end;
  mail.flags = home_.relay(topic).taken;
  return shard_.cluster_.post(mail, home_.name(topic), {}, out.first(used));
}

void Topics::on_settled() {
  for (uint32_t t = 0; t < home_.high_water(); ++t) {  // that came while we were joining
    if (home_.used(t) && adapt(t) && home_.relay(t).role == Role::kHome) {
      begin_era(t);
      answer_waiting(t, home_.next_offset(t), 0);
    }
  }
  // In one go: what is held is bounded, and nothing may overtake it.
  const uint32_t end = held_bytes_;
  held_bytes_ = 0;
  for (uint32_t at = 0; at < end;) {
    Held held;
    std::memcpy(&held, held_.data() + at, sizeof held);
    const base::Bytes tail{held_.data() + at + sizeof held, held.tail_bytes};
    take_publish({held.number, held.from, held.remote}, held.publish, tail);
    at += static_cast<uint32_t>(sizeof held) + ((held.tail_bytes + 7) & ~7u);
  }
}

bool Topics::hold(const Origin& origin, const mailbox::TopicPublish& publish, base::Bytes tail) {
  const auto tail_bytes = static_cast<uint32_t>(tail.size());
  const uint32_t need = static_cast<uint32_t>(sizeof(Held)) + ((tail_bytes + 7) & ~7u);
  if (held_bytes_ + need > held_.size()) return false;
  const Held held{publish, origin.number, origin.from, origin.remote, tail_bytes, 0};
  std::memcpy(held_.data() + held_bytes_, &held, sizeof held);
  if (!tail.empty()) {
    std::memcpy(held_.data() + held_bytes_ + sizeof held, tail.data(), tail.size());
  }
  held_bytes_ += need;
  shard_.counters_.add(Counter::kBusPublishesHeld, 1);
  return true;
}

// --- a relay and its home ---

void Topics::join_home(uint32_t topic) {
  TopicHome::Relay& relay = home_.relay(topic);
  const Cluster::Home home = shard_.cluster_.home_of(home_.name(topic));
  relay.role = Role::kAsked;
  relay.asked_ms = shard_.endpoint_.now_ms();
  BusMail mail;
  mail.op = BusOp::kTopicJoin;
  mail.gateways = uint64_t{1} << home.index;
  mail.a = home_.next_offset(topic);
  mail.b = relay.home_key;
  (void)shard_.cluster_.post(mail, home_.name(topic), {}, {});  // sweep() asks again
}

void Topics::leave_home(uint32_t topic) {
  TopicHome::Relay& relay = home_.relay(topic);
  if (relay.role != Role::kRelay && relay.role != Role::kAsked) return;
  relay.role = Role::kOutside;
  relay.pulling = 0;
  BusMail mail;
  mail.op = BusOp::kTopicLeave;
  mail.gateways = uint64_t{1} << shard_.cluster_.home_of(home_.name(topic)).index;
  (void)shard_.cluster_.post(mail, home_.name(topic), {}, {});  // or at the next EVENT
}

void Topics::answer_waiting(uint32_t topic, uint64_t next_offset, uint32_t code) {
  mailbox::TopicJoined joined{};
  joined.next_offset = next_offset;
  joined.code = code;
  TopicHome::Relay& relay = home_.relay(topic);
  for (uint64_t left = relay.waiting; left != 0; left &= left - 1) {
    const auto shard = static_cast<uint32_t>(std::countr_zero(left));
    if (code != 0) home_.remove_shard(topic, shard);
    shard_.outbox_.post(shard, joined, base::as_bytes(home_.name(topic)));
  }
  relay.waiting = 0;
}

// Asks for what is missing from the expected offset on.
void Topics::repair(uint32_t topic) {
  TopicHome::Relay& relay = home_.relay(topic);
  if (relay.pulling != 0) return;
  relay.pulling = 1;
  relay.asked_ms = shard_.endpoint_.now_ms();
  BusMail mail;
  mail.op = BusOp::kTopicPull;
  mail.gateways = uint64_t{1} << shard_.cluster_.home_of(home_.name(topic)).index;
  mail.a = home_.next_offset(topic);
  shard_.counters_.add(Counter::kBusTopicRepairs, 1);
  (void)shard_.cluster_.post(mail, home_.name(topic), {}, {});
}

void Topics::sweep() {
  const uint32_t now_ms = shard_.endpoint_.now_ms();
  const uint32_t end = home_.high_water();
  for (uint32_t i = 0; i < kSweepPerTurn && i < end; ++i) {
    sweep_at_ = sweep_at_ + 1 < end ? sweep_at_ + 1 : 0;
    if (!home_.used(sweep_at_)) continue;
    TopicHome::Relay& relay = home_.relay(sweep_at_);
    if (relay.role == Role::kAsked && now_ms - relay.asked_ms > kAskAgainMs) {
      join_home(sweep_at_);
    } else if (relay.pulling != 0 && now_ms - relay.asked_ms > kPullAgainMs) {
      relay.pulling = 0;
      repair(sweep_at_);
    } else if (relay.role == Role::kHome && relay.tails != 0 && now_ms - relay.said_ms > kQuietMs) {
      --relay.tails;
      relay.said_ms = now_ms;
      BusMail mail;
      mail.op = BusOp::kTopicTail;
      mail.gateways = home_.gateways(sweep_at_);
      mail.a = home_.next_offset(sweep_at_);
      if (mail.gateways != 0) {
        (void)shard_.cluster_.post(mail, home_.name(sweep_at_), {}, {});
      }
    }
  }
}

// --- messages on their way to the home ---

void Topics::take_publish(const Origin& origin, const mailbox::TopicPublish& publish,
                          base::Bytes tail) {
  if (shard_.cluster_.alone() && shard_.cluster_.settled()) {
    publish_here(origin, publish, tail);
    return;
  }
  const std::string_view name = base::as_text(tail.first(publish.topic_bytes));
  if (shard_.cluster_.moving(name)) {
    if (!hold(origin, publish, tail)) {
      shard_.counters_.add(Counter::kTopicRequestsBusy, 1);
      answer_publish(origin, publish, 0, wire::kErrorRateLimited);
    }
    return;
  }
  const Cluster::Home home = shard_.cluster_.home_of(name);
  if (home.here) {
    publish_here(origin, publish, tail);
    return;
  }
  if (origin.remote == 2) {  // it goes round in a circle: gateways see different members
    answer_publish(origin, publish, 0, wire::kErrorRateLimited);
    return;
  }
  BusMail mail;
  mail.op = BusOp::kTopicPublish;
  mail.gateways = uint64_t{1} << home.index;
  mail.c = publish.event_type;
  mail.flags = publish.flags;
  if (origin.remote != 0) {
    // It came here as to the home before: the answer goes by its own gateway's number.
    mail.d = static_cast<uint32_t>(origin.number);
    mail.b = publish.sequence;  // that gateway
  } else if (origin.number != 0) {
    mail.a = uint64_t{publish.connection.generation} << 32 | (publish.connection.slot + 1u);
    mail.b = publish.sequence;
    mail.shard = static_cast<uint16_t>(origin.from);
  }
  const base::Bytes user = tail.subspan(publish.topic_bytes, publish.user_bytes);
  const base::Bytes data = tail.subspan(size_t{publish.topic_bytes} + publish.user_bytes);
  if (!shard_.cluster_.post(mail, name, user, data)) {
    shard_.counters_.add(Counter::kTopicRequestsBusy, 1);
    answer_publish(origin, publish, 0, wire::kErrorRateLimited);
  }
}

// At a relay: history that it has not, or cannot know to be whole, comes from the home. The answer
// comes back by this shard, so that it keeps its place among the topic's messages.
bool Topics::pull_from_home(uint32_t from, const mailbox::TopicPull& pull, base::Bytes name) {
  const std::string_view topic_name = base::as_text(name);
  const uint32_t topic = home_.find(topic_name);
  if (topic == kNone || shard_.cluster_.alone()) return false;
  adapt(topic);
  if (home_.relay(topic).role == Role::kHome) return false;
  if (pull.from >= home_.first_offset(topic) && pull.from <= home_.next_offset(topic)) return false;
  BusMail mail;
  mail.op = BusOp::kTopicPull;
  mail.gateways = uint64_t{1} << shard_.cluster_.home_of(topic_name).index;
  mail.a = pull.from;
  mail.b = uint64_t{pull.subscription} << 32 | pull.generation;
  mail.d = from + 1;
  if (!shard_.cluster_.post(mail, topic_name, {}, {})) {
    shard_.outbox_.post(from,
                        mailbox::TopicPiece{pull.subscription, pull.generation, pull.from, 0, 0});
  }
  return true;
}

}  // namespace tidegate::shard
