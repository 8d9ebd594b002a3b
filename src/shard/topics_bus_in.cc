// SPDX-License-Identifier: Apache-2.0
// Topics of several gateways: what other gateways say, at the home and at relays (topics_bus.cc).
// They are of the same house, but what comes over a network is looked at before it is used.
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

// Whole records only, and none that could not have been made by a home.
bool next_record(base::Bytes* rest, mailbox::TopicRecord* record, base::Bytes* frame) {
  if (rest->size() < sizeof *record) return false;
  std::memcpy(record, rest->data(), sizeof *record);
  if (record->bytes > rest->size() - sizeof *record || (record->note >> 16) > record->bytes) {
    return false;
  }
  *frame = rest->subspan(sizeof *record, record->bytes);
  *rest = rest->subspan(sizeof *record + record->bytes);
  return true;
}

}  // namespace

void Topics::on_bus_mail(const BusMail& mail, base::Bytes tail) {
  const std::string_view name = base::as_text(tail.first(mail.name_bytes));
  const auto gateway = static_cast<uint32_t>(std::countr_zero(mail.gateways));
  if (mail.op == BusOp::kTopicPublished) {
    mailbox::TopicPublished published{};
    published.connection.slot = static_cast<uint32_t>(mail.a) - 1;
    published.connection.generation = static_cast<uint32_t>(mail.a >> 32);
    published.sequence = mail.b;
    published.offset = mail.c;
    published.code = mail.d;
    if (mail.a != 0) {
      // To the publisher's shard, which this home shard may not be.
      shard_.outbox_.post(mail.shard < shard_.config_.count ? mail.shard : shard_.config_.index,
                          published);
    }
    return;
  }
  if (name.size() > limits_.name_bytes || name.empty()) return;
  const base::Bytes data = tail.subspan(size_t{mail.name_bytes} + mail.extra_bytes);
  const uint32_t topic = home_.find(name);
  if (topic != kNone) adapt(topic);
  switch (mail.op) {
    case BusOp::kTopicJoin:
      on_bus_join(gateway, name, mail);
      break;
    case BusOp::kTopicJoined:
      if (topic != kNone) on_bus_joined(gateway, topic, mail);
      break;
    case BusOp::kTopicLeave:
      if (topic != kNone) {
        home_.set_gateways(topic, home_.gateways(topic) & ~mail.gateways);
      }
      break;
    case BusOp::kTopicPublish:
      on_bus_publish(gateway, mail, tail);
      break;
    case BusOp::kTopicEvent:
      on_bus_event(gateway, topic, mail, data);
      if (topic == kNone) {  // nobody here wants it any more
        BusMail leave;
        leave.op = BusOp::kTopicLeave;
        leave.gateways = mail.gateways;
        (void)shard_.cluster_.post(leave, name, {}, {});
      }
      break;
    case BusOp::kTopicPull:
      on_bus_pull(gateway, topic, mail, name);
      break;
    case BusOp::kTopicPiece:
      on_bus_piece(mail, name, data);
      break;
    case BusOp::kTopicTail:
      if (topic != kNone && home_.relay(topic).role == Role::kRelay &&
          mail.a > home_.next_offset(topic)) {
        repair(topic);
      }
      break;
    case BusOp::kTopicHandover:
      on_bus_handover(name, mail, data);
      break;
    default:
      break;
  }
}

void Topics::on_bus_join(uint32_t gateway, std::string_view name, const BusMail& mail) {
  if (!shard_.cluster_.home_of(name).here || (shard_.cluster_.members() & mail.gateways) == 0) {
    return;  // it sees other members than we; it asks again
  }
  BusMail joined;
  joined.op = BusOp::kTopicJoined;
  joined.gateways = uint64_t{1} << gateway;
  joined.b = mail.b;
  const uint32_t topic = home_.open(name);
  if (topic == kNone) {
    joined.d = wire::kErrorTopic;
  } else {
    adapt(topic);
    home_.skip_to(topic, mail.a);  // it has had more than we know of
    home_.set_gateways(topic, home_.gateways(topic) | mail.gateways);
    joined.a = home_.next_offset(topic);
  }
  (void)shard_.cluster_.post(joined, name, {}, {});
}

void Topics::on_bus_joined(uint32_t gateway, uint32_t topic, const BusMail& mail) {
  TopicHome::Relay& relay = home_.relay(topic);
  const Cluster::Home home = shard_.cluster_.home_of(home_.name(topic));
  if (relay.role != Role::kAsked || home.here || home.index != gateway) return;
  // Of a join under an epoch before: the home has forgotten it since, and the later one may be
  // lost. 0: of a gateway that does not say.
  if (mail.b != 0 && mail.b != relay.home_key) return;
  if (mail.d != 0) {
    answer_waiting(topic, 0, mail.d);
    if (home_.shards(topic) == 0) relay.role = Role::kOutside;
    return;
  }
  relay.role = Role::kRelay;
  relay.pulling = 0;
  if ((home_.shards(topic) & ~relay.waiting) == 0) home_.skip_to(topic, mail.a);
  if (mail.a > home_.next_offset(topic)) repair(topic);
  answer_waiting(topic, mail.a, 0);
}

void Topics::on_bus_publish(uint32_t gateway, const BusMail& mail, base::Bytes tail) {
  mailbox::TopicPublish publish{};
  publish.event_type = static_cast<uint32_t>(mail.c);
  publish.flags = mail.flags;
  publish.topic_bytes = mail.name_bytes;
  publish.user_bytes = mail.extra_bytes;
  Origin origin{mail.a, gateway, 1};
  if (mail.a == 0 && mail.d != 0) {  // it was sent on by the home before
    origin.number = mail.d;
    origin.remote = 2;
    origin.from = shard_.cluster_.index_of(mail.b);
    if (origin.from == Cluster::kNone) origin.number = 0;
  }
  // Should it have to be sent on from here: on whose behalf.
  publish.sequence = shard_.cluster_.id_of(origin.from);
  if (tail.size() - mail.name_bytes - mail.extra_bytes > limits_.payload_bytes ||
      mail.extra_bytes > session::kUserIdBytesMax) {
    answer_publish(origin, publish, 0, wire::kErrorTooLarge);
    return;
  }
  take_publish(origin, publish, tail);
}

void Topics::on_bus_event(uint32_t gateway, uint32_t topic, const BusMail& mail,
                          base::Bytes frame) {
  if (topic == kNone || frame.size() + session::kTopicNameBytesMax > kScratchBytes ||
      (mail.d >> 16) > frame.size()) {
    return;
  }
  const TopicHome::Relay& relay = home_.relay(topic);
  const Cluster::Home home = shard_.cluster_.home_of(home_.name(topic));
  if (home.here || home.index != gateway || relay.role == Role::kHome) return;  // of an old home
  const uint64_t expected = home_.next_offset(topic);
  if (mail.a < expected) return;
  if (mail.a > expected) {
    if (relay.role != Role::kRelay) return;
    if (!TopicHome::begins_era(mail.a) || relay.pulling != 0) {
      repair(topic);
      return;
    }
    home_.leap_to(topic, mail.a);
  }
  home_.append(topic, frame, mail.d, shard_.now_);
  fan_out(topic, mail.a, {frame, mail.d});
}

void Topics::on_bus_pull(uint32_t gateway, uint32_t topic, const BusMail& mail,
                         std::string_view name) {
  BusMail piece;
  piece.op = BusOp::kTopicPiece;
  piece.gateways = uint64_t{1} << gateway;
  piece.b = mail.b;
  uint64_t next = mail.a;
  uint32_t used = 0;
  piece.flags = 1;
  if (topic != kNone) {
    if (home_.relay(topic).role != Role::kHome) return;  // it asks again
    next = std::min(next, home_.next_offset(topic));     // there is nothing beyond
    used = collect(topic, &next, kPieceBytes, {scratch_.data(), kScratchBytes});
    TopicHome::Piece more;
    piece.flags = !home_.read(topic, next, shard_.now_, {}, &more) && more.bytes == 0 ? 1 : 0;
    if (piece.flags != 0) next = std::max(next, home_.next_offset(topic));
  }
  piece.a = next;
  (void)shard_.cluster_.post(piece, name, {}, {scratch_.data(), used});
}

// The home has nothing between what is expected and this offset.
void Topics::pass_to(uint32_t topic, uint64_t next_offset) {
  if (next_offset <= home_.next_offset(topic)) return;
  if (TopicHome::begins_era(next_offset)) {
    home_.leap_to(topic, next_offset);
    return;
  }
  if (home_.shards(topic) != 0) shard_.counters_.add(Counter::kBusTopicHoles, 1);
  home_.skip_to(topic, next_offset);
}

// What was missed, and what the home before had: on to the shards with what is new to them.
void Topics::take_records(uint32_t topic, base::Bytes records) {
  mailbox::TopicRecord record;
  base::Bytes frame;
  while (next_record(&records, &record, &frame)) {
    if (record.offset < home_.next_offset(topic)) continue;
    pass_to(topic, record.offset);
    home_.append(topic, frame, record.note, shard_.now_);
    fan_out(topic, record.offset, {frame, record.note});
  }
}

void Topics::on_bus_piece(const BusMail& mail, std::string_view name, base::Bytes records) {
  if (mail.d != 0) {  // for a shard's subscription
    if (mail.d > shard_.config_.count) return;
    mailbox::TopicRecord record;
    base::Bytes frame;
    base::Bytes rest = records;
    while (next_record(&rest, &record, &frame)) {
    }
    mailbox::TopicPiece piece{static_cast<uint32_t>(mail.b >> 32), static_cast<uint32_t>(mail.b),
                              mail.a, mail.flags & 1u, 0};
    shard_.outbox_.post(mail.d - 1, piece, records.first(records.size() - rest.size()));
    return;
  }
  const uint32_t topic = home_.find(name);
  if (topic == kNone || home_.relay(topic).role != Role::kRelay) return;
  if (mail.gateways == 0) return;  // no answer: sweep() asks again
  home_.relay(topic).pulling = 0;
  take_records(topic, records);
  if ((mail.flags & 1) == 0) {
    repair(topic);
  } else {
    pass_to(topic, mail.a);  // the home does not have it any more
  }
}

void Topics::on_bus_handover(std::string_view name, const BusMail& mail, base::Bytes records) {
  const uint32_t topic = home_.open(name);
  if (topic == kNone) return;
  adapt(topic);
  if (home_.relay(topic).role != Role::kHome) return;  // it sees other members than we
  take_records(topic, records);
  home_.skip_to(topic, mail.a);
  // Unless the one before had just taken it over itself, and does not know either.
  if (mail.flags == 0) home_.relay(topic).taken = 0;
}

}  // namespace tidegate::shard
