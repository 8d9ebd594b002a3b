// SPDX-License-Identifier: Apache-2.0
// Which row a name has: open addressing with linear probing over row numbers. The names stand in
// the rows; the table asks the caller for them.
// Thread: one. Owner: one array, grown when it is more than half full. Limits: 2^31 rows.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace tidegate::sdk {

class NameMap {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit NameMap(uint32_t rows) { resize(rows); }

  // `name_of(row)` gives the name of a row in the table.
  template <class NameOf>
  uint32_t find(std::string_view name, NameOf name_of) const {
    for (uint32_t at = hash(name) & mask_;; at = (at + 1) & mask_) {
      const uint32_t row = slots_[at];
      if (row == kNone || name_of(row) == name) return row;
    }
  }
  template <class NameOf>
  void add(std::string_view name, uint32_t row, NameOf name_of) {
    if (2 * (count_ + 1) > slots_.size()) {
      std::vector<uint32_t> old(std::move(slots_));
      resize(static_cast<uint32_t>(old.size()));
      for (const uint32_t r : old) {
        if (r != kNone) place(name_of(r), r);
      }
    }
    place(name, row);
    ++count_;
  }
  // The name must be in the table.
  template <class NameOf>
  void remove(std::string_view name, NameOf name_of) {
    uint32_t at = hash(name) & mask_;
    while (name_of(slots_[at]) != name) at = (at + 1) & mask_;
    // What stands behind and would be found no longer moves up.
    for (uint32_t next = (at + 1) & mask_; slots_[next] != kNone; next = (next + 1) & mask_) {
      const uint32_t home = hash(name_of(slots_[next])) & mask_;
      if (((next - home) & mask_) < ((next - at) & mask_)) continue;
      slots_[at] = slots_[next];
      at = next;
    }
    slots_[at] = kNone;
    --count_;
  }
  void clear() {
    slots_.assign(slots_.size(), kNone);
    count_ = 0;
  }

 private:
  static uint32_t hash(std::string_view name) {  // FNV-1a, folded
    uint64_t h = 0xcbf29ce484222325u;
    for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    return static_cast<uint32_t>(h ^ h >> 32);
  }
  void resize(uint32_t rows) {
    uint32_t size = 16;
    while (size < 2 * rows) size *= 2;
    slots_.assign(size, kNone);
    mask_ = size - 1;
  }
  void place(std::string_view name, uint32_t row) {
    uint32_t at = hash(name) & mask_;
    while (slots_[at] != kNone) at = (at + 1) & mask_;
    slots_[at] = row;
  }

  std::vector<uint32_t> slots_;
  uint32_t mask_ = 0;
  uint32_t count_ = 0;
};

}  // namespace tidegate::sdk
