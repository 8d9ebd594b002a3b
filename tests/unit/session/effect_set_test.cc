// SPDX-License-Identifier: Apache-2.0
#include "session/effect_set.h"

#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "base/prng.h"

namespace tidegate::session {
namespace {

TEST(EffectSet, KnowsTheLastOnesAndNoOthers) {
  EffectSet set;
  base::Prng prng(7);
  std::deque<uint64_t> order;
  std::set<uint64_t> model;
  EXPECT_FALSE(set.contains(1));
  set.insert(0);
  EXPECT_EQ(set.count(), 0u);
  for (uint32_t i = 0; i < 4 * EffectSet::kCapacity; ++i) {
    // Small numbers fall on neighbouring slots, and some come twice.
    const uint64_t effect = prng.chance(0.5) ? prng.next() | 1 : prng.below(100'000) + 1;
    set.insert(effect);
    if (!model.insert(effect).second) continue;
    order.push_back(effect);
    if (order.size() <= EffectSet::kCapacity) continue;
    const uint64_t oldest = order.front();
    order.pop_front();
    model.erase(oldest);
    ASSERT_FALSE(set.contains(oldest));
  }
  EXPECT_EQ(set.count(), EffectSet::kCapacity);
  for (const uint64_t effect : model) ASSERT_TRUE(set.contains(effect));
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t other = prng.next();
    ASSERT_EQ(set.contains(other), model.contains(other));
  }
}

}  // namespace
}  // namespace tidegate::session
