// SPDX-License-Identifier: Apache-2.0
// Who waits to enter the world: order, rate, and leaving the line from anywhere in it.
#include "shard/join_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "base/prng.h"

namespace tidegate::shard {
namespace {

using base::Instant;
using base::milliseconds;

std::vector<uint32_t> taken(JoinQueue* queue, Instant now) {
  std::vector<uint32_t> slots;
  for (uint32_t slot; (slot = queue->take(now)) != JoinQueue::kNone;) slots.push_back(slot);
  return slots;
}

TEST(JoinQueue, AFewGoAtOnce) {
  JoinQueue queue(8, 1000, milliseconds(4));
  const Instant now{1'000'000'000};
  for (uint32_t slot : {3u, 1u, 5u}) queue.push(slot);
  EXPECT_EQ(taken(&queue, now), (std::vector<uint32_t>{3, 1, 5}));
  EXPECT_EQ(queue.waiting(), 0u);
}

TEST(JoinQueue, ManyGoAtTheRate) {
  JoinQueue queue(1000, 1000, milliseconds(4));
  Instant now{1'000'000'000};
  for (uint32_t slot = 0; slot < 1000; ++slot) queue.push(slot);
  // The burst of 4 ms is 4 players, and the one whose time has come.
  size_t out = taken(&queue, now).size();
  EXPECT_EQ(out, 5u);
  for (int i = 0; i < 100; ++i) {
    now = now + milliseconds(5);
    out += taken(&queue, now).size();
  }
  EXPECT_EQ(out, 505u);
  // A pause is not made up for beyond the burst.
  queue.set_rate(100);
  now = now + milliseconds(10'000);
  EXPECT_EQ(taken(&queue, now).size(), 1u);
}

TEST(JoinQueue, IsALineThatMayBeLeft) {
  base::Prng prng(7);
  JoinQueue queue(64, 1'000'000, milliseconds(1000));
  std::deque<uint32_t> model;
  bool waits[64] = {};
  Instant now{0};
  for (int step = 0; step < 20'000; ++step) {
    const auto slot = static_cast<uint32_t>(prng.next() % 64);
    now = now + milliseconds(1);
    switch (prng.next() % 3) {
      case 0:
      case 1:
        if (waits[slot]) {
          queue.remove(slot);
          std::erase(model, slot);
        } else {
          queue.push(slot);
          model.push_back(slot);
        }
        waits[slot] = !waits[slot];
        break;
      default: {
        const uint32_t first = queue.take(now);
        ASSERT_EQ(first, model.empty() ? JoinQueue::kNone : model.front());
        if (first == JoinQueue::kNone) break;
        waits[first] = false;
        model.pop_front();
      }
    }
    ASSERT_EQ(queue.waiting(), model.size());
  }
}

}  // namespace
}  // namespace tidegate::shard
