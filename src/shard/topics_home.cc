// SPDX-License-Identifier: Apache-2.0
// The home's side of topics: offsets, EVENTs encoded once, history, one mailbox message to each
// shard with subscribers; and what the admin API asks.
#include <algorithm>
#include <bit>
#include <cstring>

#include "protocol/ws.h"
#include "shard/shard.h"
#include "shard/topics.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using session::TopicHome;

namespace {
constexpr uint32_t kHeaderMax = 10;  // of a WebSocket frame without mask
constexpr uint32_t kEventVersion = 1;
}  // namespace

void Topics::on_join(uint32_t from, base::Bytes bytes) {
  base::Bytes name;
  read_message<mailbox::TopicJoin>(bytes, &name);
  const uint32_t topic = home_.open(base::as_text(name));
  mailbox::TopicJoined joined{};
  if (topic == TopicHome::kNone) {
    joined.code = wire::kErrorTopic;
  } else {
    adapt(topic);
    home_.add_shard(topic, from);
    const TopicHome::Role role = home_.relay(topic).role;
    if (role == TopicHome::Role::kOutside || role == TopicHome::Role::kAsked ||
        (role == TopicHome::Role::kHome && shard_.cluster_.joining())) {
      home_.relay(topic).waiting |= uint64_t{1} << from;
      if (role == TopicHome::Role::kOutside) join_home(topic);
      return;
    }
    joined.next_offset = home_.next_offset(topic);
  }
  shard_.outbox_.post(from, joined, name);
}

void Topics::on_leave(uint32_t from, base::Bytes bytes) {
  base::Bytes name;
  read_message<mailbox::TopicLeave>(bytes, &name);
  const uint32_t topic = home_.find(base::as_text(name));
  if (topic == TopicHome::kNone) return;
  home_.remove_shard(topic, from);
  home_.relay(topic).waiting &= ~(uint64_t{1} << from);
  if (home_.shards(topic) == 0) leave_home(topic);
}

template <class Message>
Topics::Encoded Topics::encode_frame(wire::MessageType type, int64_t timestamp,
                                     const Message& message, uint16_t flags) {
  uint8_t* const frame = scratch_.data() + kHeaderMax;
  wire::MessageWriter writer({frame, kScratchBytes - kHeaderMax}, {type, timestamp});
  const size_t head = writer.payload().size();
  wire::encode(writer.payload(), message);
  const uint32_t size = writer.finish();
  TG_ASSERT(size != 0);
  const size_t header = protocol::header_size(size);
  uint8_t* const begin = frame - header;
  protocol::write_header(begin, protocol::Opcode::kBinary, true, size);
  return {{begin, header + size}, static_cast<uint32_t>(header + head) << 16 | flags};
}

Topics::Encoded Topics::encode_event(const wire::Event& event, uint16_t flags) {
  return encode_frame(wire::MessageType::kEvent, event.timestamp, event, flags);
}

uint64_t Topics::announce(wire::GroupEvent& event) {
  char name[session::kTopicNameBytesMax];
  const size_t prefix = session::kGroupTopicPrefix.size();
  TG_ASSERT(prefix + event.group.size() <= sizeof name);
  std::memcpy(name, session::kGroupTopicPrefix.data(), prefix);
  std::memcpy(name + prefix, event.group.data(), event.group.size());
  const uint32_t topic = home_.open({name, prefix + event.group.size()});
  if (topic == TopicHome::kNone) return 0;
  event.offset = home_.next_offset(topic);
  uint16_t flags = mailbox::kTopicGroupEvent | wire::kPriorityMax << mailbox::kTopicPriorityShift;
  if (session::matches_any(limits_.durable, home_.name(topic))) flags |= mailbox::kTopicAckAsked;
  const Encoded encoded =
      encode_frame(wire::MessageType::kGroupEvent, shard_.io_.unix_ms(), event, flags);
  home_.append(topic, encoded.frame, encoded.note, shard_.now_);
  fan_out(topic, event.offset, encoded);
  return event.offset;
}

// To every shard with subscribers; the frame may lie in scratch_. The name goes in front of the
// frame, so that the mailbox copies one piece of bytes.
void Topics::fan_out(uint32_t topic, uint64_t offset, const Encoded& encoded) {
  const uint64_t shards = home_.shards(topic);
  if (shards == 0) return;
  const std::string_view name = home_.name(topic);
  const auto frame_bytes = static_cast<uint32_t>(encoded.frame.size());
  std::memmove(scratch_.data() + name.size(), encoded.frame.data(), frame_bytes);
  std::memcpy(scratch_.data(), name.data(), name.size());
  const mailbox::TopicEvent post{offset, encoded.note, static_cast<uint32_t>(name.size())};
  for (uint64_t left = shards; left != 0; left &= left - 1) {
    shard_.outbox_.post(static_cast<uint32_t>(std::countr_zero(left)), post,
                        {scratch_.data(), name.size() + frame_bytes});
  }
}

void Topics::on_publish_mail(uint32_t from, base::Bytes bytes) {
  base::Bytes tail;
  const auto publish = read_message<mailbox::TopicPublish>(bytes, &tail);
  TG_ASSERT(tail.size() >= size_t{publish.topic_bytes} + publish.user_bytes);
  take_publish({publish.connection.valid() ? 1u : 0u, from, 0}, publish, tail);
}

void Topics::answer_publish(const Origin& origin, const mailbox::TopicPublish& publish,
                            uint64_t offset, uint32_t code) {
  if (origin.number == 0) return;
  if (origin.remote != 0) {
    mailbox::BusMail answer;
    answer.op = mailbox::BusOp::kTopicPublished;
    answer.gateways = uint64_t{1} << origin.from;
    answer.a = origin.number;
    answer.c = offset;
    answer.d = code;
    (void)shard_.cluster_.post(answer, {}, {}, {});  // or it times out over there
    return;
  }
  shard_.outbox_.post(origin.from,
                      mailbox::TopicPublished{publish.connection, publish.sequence, offset, code});
}

void Topics::publish_here(const Origin& origin, const mailbox::TopicPublish& publish,
                          base::Bytes tail) {
  const std::string_view name = base::as_text(tail.first(publish.topic_bytes));
  if (shard_.outbox_.strained()) {
    shard_.counters_.add(Counter::kTopicRequestsBusy, 1);
    answer_publish(origin, publish, 0, wire::kErrorRateLimited);
    return;
  }
  const uint32_t topic = home_.open(name);
  if (topic == TopicHome::kNone) {
    answer_publish(origin, publish, 0, wire::kErrorTopic);
    return;
  }
  adapt(topic);
  wire::Event event;
  event.topic = name;
  event.offset = home_.next_offset(topic);
  event.event_type = publish.event_type;
  event.version = kEventVersion;
  event.source_user = base::as_text(tail.subspan(publish.topic_bytes, publish.user_bytes));
  event.data = tail.subspan(size_t{publish.topic_bytes} + publish.user_bytes);
  event.timestamp = shard_.io_.unix_ms();
  uint16_t flags = publish.flags;
  if (flags >> mailbox::kTopicPriorityShift == 0) {  // the server's own
    flags |= Shard::kPriorityPlain << mailbox::kTopicPriorityShift;
  }
  if (session::matches_any(limits_.durable, name)) flags |= mailbox::kTopicAckAsked;
  if (shard_.wants_event(EventKind::kTopicMessage)) {
    ServerEvent told;
    told.name = name;
    told.offset = event.offset;
    told.event_type = event.event_type;
    told.source_user = event.source_user;
    told.data = {event.data.data(), event.data.size()};
    told.timestamp = event.timestamp;
    shard_.tell_event(told);
  }
  const Encoded encoded = encode_event(event, flags);
  home_.append(topic, encoded.frame, encoded.note, shard_.now_);
  shard_.counters_.add(Counter::kTopicMessages, 1);
  if (const uint64_t gateways = home_.gateways(topic); gateways != 0) {
    mailbox::BusMail mail;
    mail.op = mailbox::BusOp::kTopicEvent;
    mail.gateways = gateways;
    mail.a = event.offset;
    mail.d = encoded.note;
    // What is lost on the way is asked for by who misses it.
    (void)shard_.cluster_.post(mail, name, {}, encoded.frame);
    home_.relay(topic).said_ms = shard_.endpoint_.now_ms();
    home_.relay(topic).tails = 2;
  }
  fan_out(topic, event.offset, encoded);
  answer_publish(origin, publish, event.offset, 0);
}

// TopicRecords from *next on; returns their bytes.
uint32_t Topics::collect(uint32_t topic, uint64_t* next, uint32_t bytes_max,
                         base::MutableBytes out) {
  uint32_t used = 0;
  TopicHome::Piece found;
  while (used < bytes_max && home_.read(topic, *next, shard_.now_,
                                        out.subspan(used + sizeof(mailbox::TopicRecord)), &found)) {
    const mailbox::TopicRecord record{found.offset, found.bytes, found.note};
    std::memcpy(out.data() + used, &record, sizeof record);
    used += static_cast<uint32_t>(sizeof record) + found.bytes;
    *next = found.offset + 1;
  }
  return used;
}

void Topics::on_pull(uint32_t from, base::Bytes bytes) {
  base::Bytes name;
  const auto pull = read_message<mailbox::TopicPull>(bytes, &name);
  if (pull_from_home(from, pull, name)) return;
  const uint32_t topic = home_.find(base::as_text(name));
  mailbox::TopicPiece piece{pull.subscription, pull.generation, pull.from, 1};
  uint32_t used = 0;
  if (topic != TopicHome::kNone) {
    piece.next = std::min(piece.next, home_.next_offset(topic));  // there is nothing beyond
    used = collect(topic, &piece.next, kPieceBytes, {scratch_.data(), kScratchBytes});
    // Also done when nothing is held any more from there on.
    TopicHome::Piece more;
    piece.done = !home_.read(topic, piece.next, shard_.now_, {}, &more) && more.bytes == 0;
  }
  shard_.outbox_.post(from, piece, {scratch_.data(), used});
}

// Topics of the rows offset..offset+limit: what this shard is home of, and what it subscribes to of
// other homes.
void Topics::on_list(base::Bytes bytes) {
  const auto list = read_message<mailbox::ListTopics>(bytes);
  const uint32_t control = shard_.mailbox_.control();
  const uint64_t end = uint64_t{list.offset} + list.limit;
  for (uint32_t t = list.offset; t < std::min<uint64_t>(end, home_.high_water()); ++t) {
    if (!home_.used(t)) continue;
    const TopicHome::Figures f = home_.figures(t);
    const std::string_view name = home_.name(t);
    const uint32_t here = members_.find_topic(name);
    const uint32_t subscribers = here == TopicHome::kNone ? 0 : members_.subscribers(here);
    shard_.outbox_.post(control,
                        mailbox::TopicRow{list.request, subscribers, f.next_offset,
                                          f.history_messages, f.history_bytes},
                        base::as_bytes(name));
  }
  for (uint32_t t = list.offset; t < std::min<uint64_t>(end, members_.high_water()); ++t) {
    if (!members_.used(t) || members_.subscribers(t) == 0) continue;
    const std::string_view name = members_.name(t);
    if (home_of(name) == shard_.config_.index) continue;
    shard_.outbox_.post(control, mailbox::TopicRow{list.request, members_.subscribers(t), 0, 0, 0},
                        base::as_bytes(name));
  }
  const bool more = end < std::max(home_.high_water(), members_.high_water());
  shard_.outbox_.post(control, mailbox::TopicListEnd{list.request, home_.count(), more ? 1u : 0u});
}

}  // namespace tidegate::shard
