// SPDX-License-Identifier: Apache-2.0
#include "io/timer_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/prng.h"

namespace tidegate::io {
namespace {

using base::Instant;
using base::milliseconds;

TEST(TimerWheel, IsNeverEarlyAndLateByLessThanAStep) {
  TimerWheel wheel(4, milliseconds(10), Instant{1000});
  wheel.schedule(2, Instant{1000} + milliseconds(25));
  EXPECT_EQ(wheel.next_deadline(), Instant{1000} + milliseconds(30));
  const auto fail = [](uint32_t) { FAIL() << "early"; };
  EXPECT_EQ(wheel.advance(Instant{1000} + milliseconds(29), fail), 0u);
  uint32_t got = TimerWheel::kNone;
  EXPECT_EQ(wheel.advance(Instant{1000} + milliseconds(30), [&](uint32_t i) { got = i; }), 1u);
  EXPECT_EQ(got, 2u);
  EXPECT_FALSE(wheel.scheduled(2));
  EXPECT_EQ(wheel.next_deadline(), Instant::never());
}

TEST(TimerWheel, ReschedulesAndCancels) {
  TimerWheel wheel(2, milliseconds(1), Instant{});
  wheel.schedule(0, Instant{} + milliseconds(5));
  wheel.schedule(0, Instant{} + milliseconds(500));
  wheel.schedule(1, Instant{} + milliseconds(5));
  wheel.cancel(1);
  wheel.cancel(1);
  EXPECT_EQ(wheel.count(), 1u);
  EXPECT_EQ(wheel.advance(Instant{} + milliseconds(499), [](uint32_t) {}), 0u);
  EXPECT_EQ(wheel.advance(Instant{} + milliseconds(500), [](uint32_t) {}), 1u);
  wheel.schedule(0, Instant{} + milliseconds(600));
  wheel.schedule(0, Instant::never());
  EXPECT_FALSE(wheel.scheduled(0));
  EXPECT_EQ(wheel.count(), 0u);
}

TEST(TimerWheel, CallbackMayScheduleThePastWithoutAnEndlessLoop) {
  TimerWheel wheel(1, milliseconds(1), Instant{});
  const Instant now = Instant{} + milliseconds(10);
  wheel.schedule(0, Instant{});
  int calls = 0;
  const auto again = [&](uint32_t i) {
    ++calls;
    wheel.schedule(i, Instant{});
  };
  EXPECT_EQ(wheel.advance(now, again), 1u);
  EXPECT_LE(wheel.next_deadline(), now);
  EXPECT_EQ(wheel.advance(now, again), 1u);
  EXPECT_EQ(calls, 2);
}

TEST(TimerWheel, LimitLeavesTheRestDue) {
  TimerWheel wheel(10, milliseconds(1), Instant{});
  for (uint32_t i = 0; i < 10; ++i) wheel.schedule(i, Instant{} + milliseconds(3));
  const Instant now = Instant{} + milliseconds(3);
  EXPECT_EQ(wheel.advance(now, [](uint32_t) {}, 4), 4u);
  EXPECT_LE(wheel.next_deadline(), now);
  // A due timer can still be taken back.
  uint32_t left = TimerWheel::kNone;
  for (uint32_t i = 0; i < 10; ++i) {
    if (wheel.scheduled(i)) left = i;
  }
  wheel.cancel(left);
  EXPECT_EQ(wheel.advance(now, [&](uint32_t i) { EXPECT_NE(i, left); }), 5u);
  EXPECT_EQ(wheel.count(), 0u);
}

// Against an ordered map. `span`: how far away timers are set, in steps of one nanosecond; the
// largest goes beyond the top level, which wraps every 2^36 steps.
void compare_with_map(uint64_t seed, int64_t span) {
  constexpr uint32_t kTimers = 200;
  base::Prng prng(seed);
  TimerWheel wheel(kTimers, base::nanoseconds(1), Instant{17});
  std::map<uint32_t, int64_t> model;
  int64_t now = 17;
  for (int step = 0; step < 3000; ++step) {
    for (int i = 0; i < 3; ++i) {
      const auto index = static_cast<uint32_t>(prng.below(kTimers));
      if (prng.chance(0.2)) {
        wheel.cancel(index);
        model.erase(index);
      } else {
        const int64_t due = now - 5 + prng.between(0, prng.chance(0.5) ? span : 100);
        wheel.schedule(index, Instant{due});
        model[index] = due;
      }
    }
    int64_t earliest = INT64_MAX;
    for (const auto& [index, due] : model) earliest = std::min(earliest, due);
    if (!model.empty()) {
      ASSERT_LE(wheel.next_deadline().ns, std::max(earliest, now)) << "seed " << seed;
    }
    now += prng.chance(0.3) ? prng.between(0, span / 20 + 1) : prng.between(0, 200);
    std::set<uint32_t> called;
    wheel.advance(Instant{now}, [&](uint32_t index) { called.insert(index); });
    for (auto it = model.begin(); it != model.end();) {
      ASSERT_EQ(called.contains(it->first), it->second <= now)
          << "seed " << seed << " timer " << it->first << " due " << it->second << " now " << now;
      it = it->second <= now ? model.erase(it) : std::next(it);
    }
    ASSERT_EQ(wheel.count(), model.size());
  }
}

TEST(TimerWheel, AgreesWithAnOrderedMap) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    compare_with_map(seed, 1000);
    compare_with_map(seed, 10'000'000);
    compare_with_map(seed, int64_t{1} << 38);
  }
}

// Following next_deadline() from one to the next reaches every timer: a sleeper that trusts it
// neither misses one nor wakes more than once a level.
TEST(TimerWheel, DeadlinesLeadToEveryTimer) {
  base::Prng prng(9);
  TimerWheel wheel(50, milliseconds(1), Instant{});
  for (uint32_t i = 0; i < 50; ++i) {
    wheel.schedule(i, Instant{} + milliseconds(prng.between(1, 100'000'000)));
  }
  int wakes = 0;
  for (; wheel.count() > 0; ++wakes) {
    const Instant now = wheel.next_deadline();
    ASSERT_NE(now, Instant::never());
    wheel.advance(now, [](uint32_t) {});
    ASSERT_LT(wakes, 300);
  }
  EXPECT_GE(wakes, 50);
}

}  // namespace
}  // namespace tidegate::io
