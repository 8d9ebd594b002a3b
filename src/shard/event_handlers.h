// SPDX-License-Identifier: Apache-2.0
// An embedder's event handlers, which come and go while shards run. The list is an immutable array
// behind an atomic pointer; a handler that was taken out is marked, so that no call begins any
// more, and wait_for() waits for those under way (unless it is called by one).
//
// Thread: add and remove by one host thread at a time (embed holds a lock), dispatch on shards.
// Owner: embed; outlives the shards. Limits: kEventHandlersMax at a time. Arrays and entries that
// were taken out are kept until the destructor: their number is that of registrations.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "metrics/metrics.h"
#include "tidegate/events.h"
#include "tidegate/groups.h"
#include "tidegate/status.h"

namespace tidegate::shard {

enum class EventOutcome : uint8_t { kDone, kPassed, kFailed };

struct EventEntry {
  using Invoke = EventOutcome (*)(void* user, const ServerEvent& event) noexcept;
  std::string name;
  std::string pattern = "*";
  uint8_t priority = 5;
  uint8_t kinds = kAllEventKinds;
  Invoke invoke = nullptr;
  void* user = nullptr;
};

class EventHandlers {
 public:
  using Clock = base::Instant (*)(void* context);

  // Refuses bad and taken names, priorities, kinds, a missing function and more than the limit.
  Status add(EventEntry entry);
  struct Slot {
    EventEntry entry;
    std::atomic<bool> active{true};
    mutable std::atomic<uint32_t> calls{0};  // under way
  };
  // Takes a handler out; nullptr: none has this name. It may be under way still: wait_for().
  const Slot* remove(std::string_view name);
  // Returns when no call of it is under way, at once inside of a handler. Needs no lock.
  static void wait_for(const Slot& slot);

  // Whether any handler wants this kind: else no event need be made.
  bool wants(EventKind kind) const {
    return (kinds_.load(std::memory_order_relaxed) & static_cast<uint8_t>(kind)) != 0;
  }
  // Calls all that fit. `now`: for the time of each call, against `budget`.
  void dispatch(const ServerEvent& event, metrics::Counters& counters, base::Duration budget,
                Clock now, void* clock) const;

  // Asked when rules and token do not permit; null: nobody. Set before the shards run.
  bool (*policy)(void* user, const TopicRequest& request) noexcept = nullptr;
  void* policy_user = nullptr;
  // Asked about every GROUP_REQUEST that changes something; likewise.
  GroupVerdict (*group_policy)(void* user, const GroupQuestion& question) noexcept = nullptr;
  void* group_policy_user = nullptr;

 private:
  using List = std::vector<Slot*>;
  void publish();

  std::vector<std::unique_ptr<Slot>> slots_;  // ever registered
  std::vector<std::unique_ptr<List>> lists_;  // ever published
  std::atomic<const List*> list_{nullptr};
  std::atomic<uint8_t> kinds_{0};
};

}  // namespace tidegate::shard
