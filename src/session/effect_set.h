// SPDX-License-Identifier: Apache-2.0
// The last effects of clients' messages, by their 64-bit names: whether one was seen before. When
// it is full the oldest goes. Thread: shard. Owner: shard::SessionHome. Limits: kCapacity; 384 KiB
// at construction.
#pragma once

#include <cstdint>

#include "mem/mapped_array.h"

namespace tidegate::session {

class EffectSet {
 public:
  static constexpr uint32_t kCapacity = 16 * 1024;

  EffectSet() : ring_(kCapacity), slots_(kSlots) {}

  bool contains(uint64_t effect) const { return slots_[place_of(effect)] != 0; }
  // 0 is none.
  void insert(uint64_t effect) {
    if (effect == 0 || contains(effect)) return;
    if (count_ == kCapacity) {
      erase(ring_[next_]);
    } else {
      ++count_;
    }
    ring_[next_] = effect;
    next_ = (next_ + 1) % kCapacity;
    slots_[place_of(effect)] = effect;
  }
  uint32_t count() const { return count_; }
  uint64_t memory_bytes() const { return ring_.bytes() + slots_.bytes(); }

 private:
  static constexpr uint32_t kSlots = kCapacity * 2;

  // They are hashes already, or random.
  static uint32_t home_of(uint64_t effect) {
    return static_cast<uint32_t>((effect * 0x9e3779b97f4a7c15u) >> 32) % kSlots;
  }
  // Where it is, or the free slot where it would be.
  uint32_t place_of(uint64_t effect) const {
    uint32_t at = home_of(effect);
    while (slots_[at] != 0 && slots_[at] != effect) at = (at + 1) % kSlots;
    return at;
  }
  void erase(uint64_t effect) {
    uint32_t hole = place_of(effect);
    slots_[hole] = 0;
    // Those behind it that may stand nearer to where they belong.
    for (uint32_t at = (hole + 1) % kSlots; slots_[at] != 0; at = (at + 1) % kSlots) {
      const uint32_t from_home = (at + kSlots - home_of(slots_[at])) % kSlots;
      const uint32_t from_hole = (at + kSlots - hole) % kSlots;
      if (from_home < from_hole) continue;
      slots_[hole] = slots_[at];
      slots_[at] = 0;
      hole = at;
    }
  }

  mem::MappedArray<uint64_t> ring_;
  mem::MappedArray<uint64_t> slots_;
  uint32_t next_ = 0;
  uint32_t count_ = 0;
};

}  // namespace tidegate::session
