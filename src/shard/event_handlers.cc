// SPDX-License-Identifier: Apache-2.0
#include "shard/event_handlers.h"

#include <algorithm>

#include "session/topic_rules.h"
#include "shard/handler_table.h"

namespace tidegate::shard {
namespace {
// Handlers that this thread is inside of: one that removes itself must not wait for itself.
thread_local uint32_t depth = 0;
}  // namespace

Status EventHandlers::add(EventEntry entry) {
  const std::string who = "event handler " + entry.name;
  if (!is_label(entry.name)) {
    return {Code::kNameInvalid, {}, who + ": a name is 1 to 32 of [A-Za-z0-9_.-]"};
  }
  if (entry.priority > kPriorityMax) {
    return {Code::kOutOfRange, {}, who + ": its priority is above 10"};
  }
  if (entry.kinds == 0 || (entry.kinds & ~kAllEventKinds) != 0) {
    return {Code::kOutOfRange, {}, who + ": kinds are bits of EventKind"};
  }
  if (entry.pattern.empty() || entry.pattern.size() > kTopicBytesMax) {
    return {Code::kOutOfRange, {}, who + ": a pattern has 1 to 256 bytes"};
  }
  if (entry.invoke == nullptr) return {Code::kMissing, {}, who + ": no function was given"};
  size_t active = 0;
  for (const auto& slot : slots_) {
    if (!slot->active.load(std::memory_order_relaxed)) continue;
    ++active;
    if (slot->entry.name == entry.name) {
      return {Code::kNameTaken, {}, who + ": another one has this name"};
    }
  }
  if (active == kEventHandlersMax) {
    return {Code::kFull, {}, who + ": the table of event handlers is full"};
  }
  slots_.push_back(std::make_unique<Slot>());
  slots_.back()->entry = std::move(entry);
  publish();
  return {};
}

const EventHandlers::Slot* EventHandlers::remove(std::string_view name) {
  const auto it = std::find_if(slots_.begin(), slots_.end(), [&](const auto& slot) {
    return slot->active.load(std::memory_order_relaxed) && slot->entry.name == name;
  });
  if (it == slots_.end()) return nullptr;
  // Pairs with dispatch(): of its count and this mark one is first, so either it sees the mark or
  // wait_for() the call.
  (*it)->active.store(false, std::memory_order_seq_cst);
  publish();
  return it->get();
}

void EventHandlers::wait_for(const Slot& slot) {
  if (depth != 0) return;
  for (uint32_t n = slot.calls.load(std::memory_order_seq_cst); n != 0;
       n = slot.calls.load(std::memory_order_seq_cst)) {
    slot.calls.wait(n, std::memory_order_seq_cst);
  }
}

void EventHandlers::publish() {
  auto list = std::make_unique<List>();
  uint8_t kinds = 0;
  for (const auto& slot : slots_) {
    if (!slot->active.load(std::memory_order_relaxed)) continue;
    list->push_back(slot.get());
    kinds |= slot->entry.kinds;
  }
  std::stable_sort(list->begin(), list->end(), [](const Slot* a, const Slot* b) {
    return a->entry.priority > b->entry.priority;
  });
  lists_.push_back(std::move(list));
  list_.store(lists_.back().get(), std::memory_order_release);  // pairs with dispatch()
  kinds_.store(kinds, std::memory_order_relaxed);
}

void EventHandlers::dispatch(const ServerEvent& event, metrics::Counters& counters,
                             base::Duration budget, Clock now, void* clock) const {
  const List* list = list_.load(std::memory_order_acquire);  // pairs with publish()
  if (list == nullptr) return;
  for (const Slot* slot : *list) {
    const EventEntry& entry = slot->entry;
    if ((entry.kinds & static_cast<uint8_t>(event.kind)) == 0 ||
        !session::matches_pattern(entry.pattern, event.name)) {
      continue;
    }
    slot->calls.fetch_add(1, std::memory_order_seq_cst);  // pairs with remove() and wait_for()
    if (slot->active.load(std::memory_order_seq_cst)) {
      const base::Instant began = now(clock);
      ++depth;
      const EventOutcome outcome = entry.invoke(entry.user, event);
      --depth;
      if (outcome != EventOutcome::kPassed) {
        counters.add(metrics::Counter::kEventHandlerCalls, 1);
        if (now(clock) - began > budget) {
          counters.add(metrics::Counter::kEventHandlerOverBudget, 1);
        }
      }
      if (outcome == EventOutcome::kFailed) {
        counters.add(metrics::Counter::kEventHandlerFailures, 1);
      }
    }
    if (slot->calls.fetch_sub(1, std::memory_order_seq_cst) == 1) slot->calls.notify_all();
  }
}

}  // namespace tidegate::shard
