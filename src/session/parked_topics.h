// SPDX-License-Identifier: Apache-2.0
// What sessions without a connection subscribe to, and from which offsets they go on: bytes that
// only the shards' topics understand, by session. When there is no room, those parked longest ago
// go. Thread: shard. Owner: shard::Topics. Limits: sessions and bytes by constructor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "mem/block_pool.h"
#include "mem/mapped_array.h"
#include "session/name_table.h"

namespace tidegate::session {

class ParkedTopics {
 public:
  static constexpr uint32_t kListBytesMax = 32 * 1024;

  ParkedTopics(uint32_t sessions, uint64_t memory);

  // Takes the place of what the session had; nothing (or too much) forgets it.
  void put(uint64_t session, base::Bytes list, uint32_t now_s);
  // Copies and forgets it; returns the bytes, 0: there is none. `out` has kListBytesMax.
  uint32_t take(uint64_t session, base::MutableBytes out);
  // Forgets those parked before.
  void expire(uint32_t before_s);

  // Calls visit(session, at_s, list), the longest parked first; `list` is valid in it.
  template <class Visit>
  void for_each(std::vector<uint8_t>* scratch, Visit&& visit) const {
    for (uint32_t row = oldest_; row != kNone; row = rows_[row].newer) {
      scratch->resize(rows_[row].bytes);
      uint32_t at = 0;
      for (uint32_t b = rows_[row].first; b != kNone;
           b = base::load_le<uint32_t>(blocks_.data(b))) {
        const uint32_t n = std::min(kBlockData, rows_[row].bytes - at);
        std::memcpy(scratch->data() + at, blocks_.data(b) + sizeof(uint32_t), n);
        at += n;
      }
      const std::string_view key = names_.name(row);
      visit(base::load_le<uint64_t>(reinterpret_cast<const uint8_t*>(key.data())), rows_[row].at_s,
            base::Bytes{*scratch});
    }
  }

  uint32_t count() const { return names_.count(); }
  uint64_t memory_bytes() const {
    return names_.memory_bytes() + rows_.bytes() + blocks_.memory_bytes();
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kBlockBytes = 256;
  static constexpr uint32_t kBlockData = kBlockBytes - sizeof(uint32_t);
  struct Row {
    uint32_t first;  // block
    uint32_t bytes;
    uint32_t at_s;
    uint32_t older, newer;
  };
  void forget(uint32_t row);

  NameTable names_;  // the session's eight bytes
  mem::MappedArray<Row> rows_;
  mem::BlockPool blocks_;
  uint32_t oldest_ = kNone, newest_ = kNone;
};

}  // namespace tidegate::session
