// SPDX-License-Identifier: Apache-2.0
// Counters and what they did in the last second.
// Thread: one. Owner: values. Limits: types that are not in the table count together.
#pragma once

#include <algorithm>
#include <cstdint>

#include "wire/message_types.h"

namespace tidegate::sdk {

// Sums over a sliding second, in tenths.
class Rate {
 public:
  void add(double amount, double now_ms) {
    move(now_ms);
    slots_[static_cast<uint64_t>(slot_) % 10] += amount;
  }
  double per_second(double now_ms) {
    move(now_ms);
    double sum = 0;
    for (const double s : slots_) sum += s;
    return sum;
  }

 private:
  void move(double now_ms) {
    const auto slot = static_cast<int64_t>(now_ms / 100);
    if (slot <= slot_) return;
    for (int64_t i = std::max(slot_ + 1, slot - 9); i <= slot; ++i) slots_[i % 10] = 0;
    slot_ = slot;
  }
  double slots_[10] = {};
  int64_t slot_ = 0;
};

// Traffic of one direction, in all and by message type.
class Traffic {
 public:
  static constexpr uint32_t kTypesMax = 64;

  struct Figures {
    uint64_t messages = 0, bytes = 0;
  };
  void add(uint32_t type, uint64_t bytes) {
    for (Figures* f : {&all_, &types_[std::min(wire::index_of_type(type), kTypesMax - 1)]}) {
      ++f->messages;
      f->bytes += bytes;
    }
  }
  const Figures& all() const { return all_; }
  const Figures& of(uint32_t type) const {
    return types_[std::min(wire::index_of_type(type), kTypesMax - 1)];
  }

 private:
  Figures all_;
  Figures types_[kTypesMax];
};

}  // namespace tidegate::sdk
