// SPDX-License-Identifier: Apache-2.0
#include "session/replay_log.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace tidegate::session {
namespace {
constexpr uint32_t kNone = mem::BlockPool::kNone;
}

ReplayLogs::ReplayLogs(const ReplayLimits& limits)
    : limits_(limits),
      blocks_(std::max(limits.pool_bytes / kBlockBytes, 1u), kBlockBytes),
      next_(blocks_.count()),
      scratch_(kPayloadBytesMax) {}

ReplayLogs::Append ReplayLogs::append(ReplayLog& log, uint32_t type, base::Bytes payload) {
  TG_ASSERT(payload.size() <= kPayloadBytesMax);
  const auto size = static_cast<uint32_t>(payload.size());
  if (log.count >= limits_.messages) return Append::kMessages;
  if (log.bytes + size > limits_.bytes) return Append::kBytes;
  const uint32_t room = log.tail_.block == kNone ? 0 : kBlockBytes - log.tail_.at;
  const uint32_t need = static_cast<uint32_t>(sizeof(Header)) + size;
  const uint32_t blocks = need <= room ? 0 : (need - room + kBlockBytes - 1) / kBlockBytes;
  if (blocks > blocks_.count() - blocks_.in_use()) return Append::kPool;
  if (log.tail_.block == kNone) {
    log.head_ = log.cursor_ = log.tail_ = {take_block(), 0};
  }
  const Header header{type, size};
  log.tail_ = copy_in(log.tail_, {reinterpret_cast<const uint8_t*>(&header), sizeof header});
  log.tail_ = copy_in(log.tail_, payload);
  ++log.count;
  log.bytes += size;
  return Append::kOk;
}

uint32_t ReplayLogs::acknowledge(ReplayLog& log, uint64_t ack) {
  TG_ASSERT(ack <= log.last_sent());
  uint32_t gone = 0;
  for (; log.acked < ack; ++gone) {
    Header header;
    (void)copy_out(log.head_, {reinterpret_cast<uint8_t*>(&header), sizeof header});
    log.head_ = skip(log.head_, static_cast<uint32_t>(sizeof header) + header.bytes, true);
    ++log.acked;
    --log.count;
    --log.sent;
    log.bytes -= header.bytes;
    log.sent_bytes -= header.bytes;
  }
  if (log.count == 0 && log.head_.block != kNone) {
    blocks_.free(log.head_.block);
    log.head_ = log.cursor_ = log.tail_ = {};
  }
  return gone;
}

bool ReplayLogs::next_unsent(const ReplayLog& log, LoggedMessage* out) {
  if (log.all_sent()) return false;
  (void)read(log.cursor_, log.last_sent() + 1, out);
  return true;
}

void ReplayLogs::advance(ReplayLog& log) {
  TG_ASSERT(!log.all_sent());
  Header header;
  (void)copy_out(log.cursor_, {reinterpret_cast<uint8_t*>(&header), sizeof header});
  log.cursor_ = skip(log.cursor_, static_cast<uint32_t>(sizeof header) + header.bytes, false);
  ++log.sent;
  log.sent_bytes += header.bytes;
}

void ReplayLogs::rewind(ReplayLog& log) {
  log.cursor_ = log.head_;
  log.sent = 0;
  log.sent_bytes = 0;
}

void ReplayLogs::clear(ReplayLog& log) {
  while (!log.all_sent()) advance(log);
  (void)acknowledge(log, log.last());
}

ReplayLogs::Place ReplayLogs::read(Place place, uint64_t sequence, LoggedMessage* out) {
  Header header;
  place = copy_out(place, {reinterpret_cast<uint8_t*>(&header), sizeof header});
  place = copy_out(place, {scratch_.data(), header.bytes});
  *out = {sequence, header.type, {scratch_.data(), header.bytes}};
  return place;
}

ReplayLogs::Place ReplayLogs::copy_out(Place place, base::MutableBytes out) {
  for (size_t done = 0; done < out.size();) {
    if (place.at == kBlockBytes) place = {next_[place.block], 0};
    const size_t n = std::min<size_t>(out.size() - done, kBlockBytes - place.at);
    std::memcpy(out.data() + done, blocks_.data(place.block) + place.at, n);
    done += n;
    place.at += static_cast<uint32_t>(n);
  }
  return place;
}

ReplayLogs::Place ReplayLogs::copy_in(Place place, base::Bytes in) {
  for (size_t done = 0; done < in.size();) {
    if (place.at == kBlockBytes) {
      const uint32_t block = take_block();
      next_[place.block] = block;
      place = {block, 0};
    }
    const size_t n = std::min<size_t>(in.size() - done, kBlockBytes - place.at);
    std::memcpy(blocks_.data(place.block) + place.at, in.data() + done, n);
    done += n;
    place.at += static_cast<uint32_t>(n);
  }
  return place;
}

ReplayLogs::Place ReplayLogs::skip(Place place, uint32_t bytes, bool free_behind) {
  while (bytes != 0) {
    if (place.at == kBlockBytes) {
      const uint32_t next = next_[place.block];
      if (free_behind) blocks_.free(place.block);
      place = {next, 0};
    }
    const uint32_t n = std::min(bytes, kBlockBytes - place.at);
    bytes -= n;
    place.at += n;
  }
  return place;
}

uint32_t ReplayLogs::take_block() {
  const uint32_t block = blocks_.allocate();
  TG_ASSERT(block != kNone);  // counted before
  next_[block] = kNone;
  return block;
}

}  // namespace tidegate::session
