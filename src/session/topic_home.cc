// SPDX-License-Identifier: Apache-2.0
#include "session/topic_home.h"

#include <algorithm>
#include <cstring>

namespace tidegate::session {
namespace {

uint32_t seconds_of(base::Instant now) { return static_cast<uint32_t>(now.ns / 1'000'000'000); }

}  // namespace

TopicHome::TopicHome(const TopicLimits& limits)
    : limits_(limits),
      names_(limits.topics, limits.name_bytes),
      topics_(limits.topics),
      blocks_(static_cast<uint32_t>(
                  std::min<uint64_t>(limits.history_memory / kBlockBytes, UINT32_MAX / 2)),
              kBlockBytes) {}

uint32_t TopicHome::open(std::string_view name) {
  const uint32_t found = names_.find(name);
  if (found != kNone) return found;
  if (names_.full()) {
    if (oldest_ == kNone) return kNone;
    forget(oldest_);
  }
  const uint32_t topic = names_.insert(name);
  if (topic == kNone) return kNone;
  topics_[topic] = Topic{1, 0, 0, {}, kNone, kNone, 0, 0, kNone, kNone, 0, kNone, 0};
  list(topic);
  return topic;
}

void TopicHome::add_shard(uint32_t topic, uint32_t shard) {
  topics_[topic].shards |= uint64_t{1} << shard;
  unlist(topic);
}

void TopicHome::remove_shard(uint32_t topic, uint32_t shard) {
  Topic& t = topics_[topic];
  t.shards &= ~(uint64_t{1} << shard);
  if (t.shards == 0 && t.gateways == 0) list(topic);
}

void TopicHome::set_gateways(uint32_t topic, uint64_t gateways) {
  Topic& t = topics_[topic];
  t.gateways = gateways;
  if (t.shards == 0 && gateways == 0) {
    list(topic);
  } else {
    unlist(topic);
  }
}

void TopicHome::skip_to(uint32_t topic, uint64_t next_offset) {
  Topic& t = topics_[topic];
  if (next_offset <= t.next_offset) return;
  while (t.count != 0) drop_oldest(t);
  t.next_offset = next_offset;
  t.read_offset = 0;
}

void TopicHome::leap_to(uint32_t topic, uint64_t next_offset) {
  Topic& t = topics_[topic];
  t.next_offset = std::max(t.next_offset, next_offset);
}

void TopicHome::append(uint32_t topic, base::Bytes frame, uint32_t note, base::Instant now) {
  Topic& t = topics_[topic];
  if (t.listed != 0) {  // used now: the last to make room
    unlist(topic);
    list(topic);
  }
  drop_old(t, now);
  const uint32_t bytes = static_cast<uint32_t>(frame.size());
  const uint32_t need = (bytes + kBlockData - 1) / kBlockData;
  const bool keep = limits_.history_messages != 0 && bytes != 0 && bytes <= limits_.history_bytes &&
                    need <= blocks_.count();
  while (t.count != 0 &&
         (!keep || t.count >= limits_.history_messages || t.bytes + bytes > limits_.history_bytes ||
          blocks_.count() - blocks_.in_use() < need)) {
    drop_oldest(t);  // also when this one is not kept: a history has no holes
  }
  const uint64_t offset = t.next_offset++;
  if (!keep || blocks_.count() - blocks_.in_use() < need) return;
  uint32_t first = kNone;
  uint32_t last = kNone;
  for (uint32_t at = 0; at < bytes; at += kBlockData) {
    const uint32_t b = blocks_.allocate();
    TG_ASSERT(b != mem::BlockPool::kNone);
    block(b) = {offset, kNone, kNone, bytes, note, seconds_of(now), 0};
    std::memcpy(blocks_.data(b) + sizeof(Block), frame.data() + at,
                std::min(kBlockData, bytes - at));
    if (first == kNone) {
      first = b;
    } else {
      block(last).next_block = b;
    }
    last = b;
  }
  if (t.first == kNone) {
    t.first = first;
  } else {
    block(t.last).next_message = first;
  }
  t.last = first;
  ++t.count;
  t.bytes += bytes;
}

bool TopicHome::restore(std::string_view name, uint64_t first_offset) {
  const uint32_t topic = open(name);
  if (topic == kNone) return false;
  topics_[topic].next_offset = first_offset;
  return true;
}

bool TopicHome::read(uint32_t topic, uint64_t from, base::Instant now, base::MutableBytes out,
                     Piece* piece) {
  Topic& t = topics_[topic];
  drop_old(t, now);
  *piece = {};
  if (t.count == 0 || from >= t.next_offset) return false;
  uint32_t b = t.first;
  if (t.read_offset > block(b).offset && t.read_offset <= from) b = t.read_block;
  while (b != kNone && block(b).offset < from) b = block(b).next_message;
  if (b == kNone) return false;  // there has been none since the offsets leapt
  const Block& head = block(b);
  *piece = {head.offset, head.bytes, head.note};
  if (head.bytes > out.size()) return false;
  t.read_offset = head.offset;
  t.read_block = b;
  copy_message(b, out.first(piece->bytes));
  return true;
}

void TopicHome::copy_message(uint32_t first, base::MutableBytes out) {
  size_t at = 0;
  for (uint32_t part = first; part != kNone && at < out.size(); part = block(part).next_block) {
    const size_t n = std::min<size_t>(kBlockData, out.size() - at);
    std::memcpy(out.data() + at, blocks_.data(part) + sizeof(Block), n);
    at += n;
  }
}

// Its first block stays, so that the offsets of those behind it do.
void TopicHome::empty_message(Topic& t, uint32_t first) {
  for (uint32_t part = first; part != kNone; part = block(part).next_block) {
    std::memset(blocks_.data(part) + sizeof(Block), 0, kBlockData);
  }
  t.bytes -= block(first).bytes;
  block(first).bytes = 0;
  block(first).note = 0;
}

void TopicHome::expire(base::Instant now, uint32_t topics) {
  const uint32_t end = names_.high_water();
  for (uint32_t i = 0; i < topics && i < end; ++i) {
    expire_at_ = expire_at_ + 1 < end ? expire_at_ + 1 : 0;
    if (names_.used(expire_at_)) drop_old(topics_[expire_at_], now);
  }
}

TopicHome::Figures TopicHome::figures(uint32_t topic) const {
  const Topic& t = topics_[topic];
  return {t.next_offset, t.shards, t.count, t.bytes};
}

void TopicHome::drop_oldest(Topic& t) {
  const Block head = block(t.first);
  for (uint32_t b = t.first; b != kNone;) {
    const uint32_t next = block(b).next_block;
    blocks_.free(b);
    b = next;
  }
  if (t.read_offset == first_offset(t)) t.read_offset = 0;
  t.first = head.next_message;
  if (t.first == kNone) t.last = kNone;
  --t.count;
  t.bytes -= head.bytes;
}

void TopicHome::drop_old(Topic& t, base::Instant now) {
  const auto age_s = static_cast<int32_t>(limits_.history_age.ns / 1'000'000'000);
  // A message that was taken over may be of a time just ahead.
  while (t.count != 0 && static_cast<int32_t>(seconds_of(now) - block(t.first).time_s) > age_s) {
    drop_oldest(t);
  }
}

void TopicHome::list(uint32_t topic) {
  Topic& t = topics_[topic];
  if (t.listed != 0) return;
  t.listed = 1;
  t.older = newest_;
  t.newer = kNone;
  (newest_ == kNone ? oldest_ : topics_[newest_].newer) = topic;
  newest_ = topic;
}

void TopicHome::unlist(uint32_t topic) {
  Topic& t = topics_[topic];
  if (t.listed == 0) return;
  (t.older == kNone ? oldest_ : topics_[t.older].newer) = t.newer;
  (t.newer == kNone ? newest_ : topics_[t.newer].older) = t.older;
  t.listed = 0;
}

void TopicHome::forget(uint32_t topic) {
  Topic& t = topics_[topic];
  while (t.count != 0) drop_oldest(t);
  unlist(topic);
  names_.erase(topic);
}

}  // namespace tidegate::session
