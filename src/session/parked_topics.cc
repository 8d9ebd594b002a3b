// SPDX-License-Identifier: Apache-2.0
#include "session/parked_topics.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace tidegate::session {
namespace {

struct Key {
  explicit Key(uint64_t session) { base::store_le(bytes, session); }
  std::string_view view() const { return {reinterpret_cast<const char*>(bytes), sizeof bytes}; }
  uint8_t bytes[8];
};

}  // namespace

ParkedTopics::ParkedTopics(uint32_t sessions, uint64_t memory)
    : names_(sessions, sizeof(uint64_t)),
      rows_(sessions),
      blocks_(static_cast<uint32_t>(std::min<uint64_t>(memory / kBlockBytes, UINT32_MAX / 2)),
              kBlockBytes) {}

void ParkedTopics::put(uint64_t session, base::Bytes list, uint32_t now_s) {
  const Key key(session);
  if (const uint32_t had = names_.find(key.view()); had != kNone) forget(had);
  const uint32_t bytes = static_cast<uint32_t>(list.size());
  const uint32_t need = (bytes + kBlockData - 1) / kBlockData;
  if (bytes == 0 || bytes > kListBytesMax || need > blocks_.count()) return;
  while (names_.full() || blocks_.count() - blocks_.in_use() < need) {
    if (oldest_ == kNone) return;
    forget(oldest_);
  }
  const uint32_t row = names_.insert(key.view());
  if (row == kNone) return;
  Row& r = rows_[row];
  r = {kNone, bytes, now_s, newest_, kNone};
  uint32_t last = kNone;
  for (uint32_t at = 0; at < bytes; at += kBlockData) {
    const uint32_t b = blocks_.allocate();
    base::store_le(blocks_.data(b), kNone);
    std::memcpy(blocks_.data(b) + sizeof(uint32_t), list.data() + at,
                std::min(kBlockData, bytes - at));
    if (last == kNone) {
      r.first = b;
    } else {
      base::store_le(blocks_.data(last), b);
    }
    last = b;
  }
  (newest_ == kNone ? oldest_ : rows_[newest_].newer) = row;
  newest_ = row;
}

uint32_t ParkedTopics::take(uint64_t session, base::MutableBytes out) {
  const uint32_t row = names_.find(Key(session).view());
  if (row == kNone) return 0;
  const uint32_t bytes = rows_[row].bytes;
  TG_ASSERT(bytes <= out.size());
  uint32_t at = 0;
  for (uint32_t b = rows_[row].first; b != kNone; b = base::load_le<uint32_t>(blocks_.data(b))) {
    const uint32_t n = std::min(kBlockData, bytes - at);
    std::memcpy(out.data() + at, blocks_.data(b) + sizeof(uint32_t), n);
    at += n;
  }
  forget(row);
  return bytes;
}

void ParkedTopics::expire(uint32_t before_s) {
  while (oldest_ != kNone && rows_[oldest_].at_s < before_s) forget(oldest_);
}

void ParkedTopics::forget(uint32_t row) {
  const Row r = rows_[row];
  for (uint32_t b = r.first; b != kNone;) {
    const uint32_t next = base::load_le<uint32_t>(blocks_.data(b));
    blocks_.free(b);
    b = next;
  }
  (r.older == kNone ? oldest_ : rows_[r.older].newer) = r.newer;
  (r.newer == kNone ? newest_ : rows_[r.newer].older) = r.older;
  names_.erase(row);
}

}  // namespace tidegate::session
