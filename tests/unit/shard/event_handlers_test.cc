// SPDX-License-Identifier: Apache-2.0
// Event handlers that come and go while two threads dispatch: once remove() and wait_for() have
// returned, nothing touches what the handler used. Run with thread sanitizer by tools/test.
#include "shard/event_handlers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace tidegate::shard {
namespace {

thread_local uint32_t my_number = 0;

struct Box {
  uint64_t calls[2] = {};  // written without protection, each by its thread
  static EventOutcome call(void* user, const ServerEvent&) noexcept {
    ++static_cast<Box*>(user)->calls[my_number];
    return EventOutcome::kDone;
  }
};

base::Instant no_time(void*) { return {}; }

EventEntry entry(const char* name, uint8_t priority, EventEntry::Invoke invoke, void* user) {
  EventEntry e;
  e.name = name;
  e.priority = priority;
  e.invoke = invoke;
  e.user = user;
  return e;
}

TEST(EventHandlers, AreNotTouchedOnceTheyAreGone) {
  EventHandlers handlers;
  std::atomic<bool> stop{false};
  std::atomic<bool> called{false};
  const auto dispatch = [&](uint32_t number) {
    my_number = number;
    metrics::Counters counters;
    ServerEvent event;
    event.name = "room.x";
    while (!stop) {
      handlers.dispatch(event, counters, base::seconds(1), no_time, nullptr);
      if (counters.get(metrics::Counter::kEventHandlerCalls) != 0) called = true;
    }
  };
  std::thread first(dispatch, 0);
  std::thread second(dispatch, 1);
  uint64_t seen = 0;
  for (int i = 0; i < 300 || (!called && i < 2'000'000); ++i) {
    auto box = std::make_unique<Box>();
    ASSERT_TRUE(handlers.add(entry("comes-and-goes", 5, Box::call, box.get())));
    std::this_thread::yield();
    const EventHandlers::Slot* slot = handlers.remove("comes-and-goes");
    ASSERT_NE(slot, nullptr);
    EventHandlers::wait_for(*slot);
    seen += box->calls[0] + box->calls[1];
  }
  stop = true;
  first.join();
  second.join();
  EXPECT_GT(seen, 0u);
}

TEST(EventHandlers, KindsAndPatternsChooseAndPrioritiesOrder) {
  EventHandlers handlers;
  std::string log;
  struct Named {
    std::string* log;
    char letter;
    static EventOutcome call(void* user, const ServerEvent&) noexcept {
      auto& named = *static_cast<Named*>(user);
      *named.log += named.letter;
      return named.letter == 'f' ? EventOutcome::kFailed : EventOutcome::kDone;
    }
  };
  Named a{&log, 'a'};
  Named b{&log, 'b'};
  Named f{&log, 'f'};
  EventEntry users = entry("users", 9, Named::call, &a);
  users.kinds = static_cast<uint8_t>(EventKind::kUserOnline);
  EventEntry rooms = entry("rooms", 1, Named::call, &b);
  rooms.pattern = "room.*";
  EXPECT_FALSE(handlers.wants(EventKind::kTopicMessage));
  ASSERT_TRUE(handlers.add(users));
  EXPECT_FALSE(handlers.wants(EventKind::kTopicMessage));
  EXPECT_TRUE(handlers.wants(EventKind::kUserOnline));
  ASSERT_TRUE(handlers.add(rooms));
  ASSERT_TRUE(handlers.add(entry("fails", 4, Named::call, &f)));
  metrics::Counters counters;
  ServerEvent event;
  event.name = "room.1";
  handlers.dispatch(event, counters, base::seconds(1), no_time, nullptr);
  EXPECT_EQ(log, "fb");
  event.kind = EventKind::kUserOnline;
  event.name = "ann";
  handlers.dispatch(event, counters, base::seconds(1), no_time, nullptr);
  EXPECT_EQ(log, "fbaf");
  EXPECT_EQ(counters.get(metrics::Counter::kEventHandlerFailures), 2u);
  EXPECT_EQ(counters.get(metrics::Counter::kEventHandlerCalls), 4u);
  EXPECT_EQ(handlers.remove("nobody"), nullptr);
}

TEST(EventHandlers, NoMoreThanTheTableHolds) {
  EventHandlers handlers;
  Box box;
  for (size_t i = 0; i < kEventHandlersMax; ++i) {
    ASSERT_TRUE(handlers.add(entry(("h" + std::to_string(i)).c_str(), 5, Box::call, &box)));
  }
  EXPECT_EQ(handlers.add(entry("more", 5, Box::call, &box)).code(), Code::kFull);
  ASSERT_NE(handlers.remove("h7"), nullptr);
  EXPECT_TRUE(handlers.add(entry("more", 5, Box::call, &box)));
}

}  // namespace
}  // namespace tidegate::shard
