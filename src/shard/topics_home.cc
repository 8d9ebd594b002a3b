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
    home_.add_shard(topic, from);
    joined.next_offset = home_.next_offset(topic);
  }
  shard_.outbox_.post(from, joined, name);
}

void Topics::on_leave(uint32_t from, base::Bytes bytes) {
  base::Bytes name;
  read_message<mailbox::TopicLeave>(bytes, &name);
  const uint32_t topic = home_.find(base::as_text(name));
  if (topic != TopicHome::kNone) home_.remove_shard(topic, from);
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

// To every shard with subscribers. The name goes in front of the frame, so that the mailbox copies
// one piece of bytes.
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
  const std::string_view name = base::as_text(tail.first(publish.topic_bytes));
  mailbox::TopicPublished answer{};
  answer.connection = publish.connection;
  answer.sequence = publish.sequence;
  if (shard_.outbox_.strained()) {
    shard_.counters_.add(Counter::kTopicRequestsBusy, 1);
    answer.code = wire::kErrorRateLimited;
  } else if (const uint32_t topic = home_.open(name); topic == TopicHome::kNone) {
    answer.code = wire::kErrorTopic;
  } else {
    wire::Event event;
    event.topic = name;
    event.offset = answer.offset = home_.next_offset(topic);
    event.event_type = publish.event_type;
    event.version = kEventVersion;
    event.source_user = base::as_text(tail.subspan(publish.topic_bytes, publish.user_bytes));
    event.data = tail.subspan(size_t{publish.topic_bytes} + publish.user_bytes);
    event.timestamp = shard_.io_.unix_ms();
    uint16_t flags = publish.flags;
    if (flags >> mailbox::kTopicPriorityShift == 0) {  // the server's own, or another gateway's
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
    fan_out(topic, event.offset, encoded);
  }
  if (publish.connection.valid()) shard_.outbox_.post(from, answer);
}

void Topics::on_pull(uint32_t from, base::Bytes bytes) {
  base::Bytes name;
  const auto pull = read_message<mailbox::TopicPull>(bytes, &name);
  const uint32_t topic = home_.find(base::as_text(name));
  mailbox::TopicPiece piece{pull.subscription, pull.generation, pull.from, 1};
  uint32_t used = 0;
  if (topic != TopicHome::kNone) {
    const base::MutableBytes out{scratch_.data(), kScratchBytes};
    TopicHome::Piece found;
    while (used < kPieceBytes &&
           home_.read(topic, piece.next, shard_.now_,
                      out.subspan(used + sizeof(mailbox::TopicRecord)), &found)) {
      const mailbox::TopicRecord record{found.offset, found.bytes, found.note};
      std::memcpy(out.data() + used, &record, sizeof record);
      used += static_cast<uint32_t>(sizeof record) + found.bytes;
      piece.next = found.offset + 1;
    }
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
