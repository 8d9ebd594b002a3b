// SPDX-License-Identifier: Apache-2.0
// The handlers an embedder registered: filled at set-up, then read by every shard without a lock.
// It decides which message types may be registered at all. Calling convention: a plain function
// with a pointer of its own, so that nothing here allocates or throws (module embed catches).
//
// Thread: setup fills, shards read. Owner: embed or a test; outlives the shards.
// Limits: kHandlersMax entries.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tidegate/handlers.h"
#include "tidegate/status.h"

namespace tidegate::shard {

struct HandlerEntry {
  using Invoke = Outcome (*)(void* user, Context& context, const Message& message) noexcept;

  uint32_t type = 0;
  std::string name;
  uint8_t priority = 5;
  bool compress = false;
  Invoke invoke = nullptr;
  void* user = nullptr;
};

// Whether an embedder may serve, and send, messages of this type.
constexpr bool may_send(uint32_t type) {
  return type >= kCustomTypeMin || (type >= 400 && type <= 406);
}
constexpr bool may_register(uint32_t type) { return may_send(type) || type == kPlayerActionType; }

// Whether a name may stand as a label in the metrics.
bool is_label(std::string_view name);

class HandlerTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  Status add(HandlerEntry entry);
  // Index of the entry for a type, or kNone. A binary search.
  uint32_t find(uint32_t type) const;
  const HandlerEntry& entry(uint32_t index) const { return *entries_[index]; }
  uint32_t count() const { return static_cast<uint32_t>(entries_.size()); }

 private:
  struct Sorted {
    uint32_t type;
    uint32_t index;
  };
  std::vector<std::unique_ptr<HandlerEntry>> entries_;  // in order of registration
  std::vector<Sorted> by_type_;
};

}  // namespace tidegate::shard
