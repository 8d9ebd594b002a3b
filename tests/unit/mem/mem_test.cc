// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "mem/arena.h"
#include "mem/block_pool.h"
#include "mem/budget.h"
#include "mem/mapped_array.h"

namespace tidegate::mem {
namespace {

TEST(BlockPool, GivesEachBlockOnceAndAnswersWhenEmpty) {
  BlockPool pool(100, 32);
  std::set<uint32_t> blocks;
  for (int i = 0; i < 100; ++i) {
    const uint32_t b = pool.allocate();
    ASSERT_NE(b, BlockPool::kNone);
    EXPECT_TRUE(blocks.insert(b).second);
    std::fill_n(pool.data(b), 32, static_cast<uint8_t>(i));
  }
  EXPECT_EQ(pool.allocate(), BlockPool::kNone);
  EXPECT_EQ(pool.in_use(), 100u);
  pool.free(42);
  EXPECT_EQ(pool.allocate(), 42u);
  int i = 0;
  for (uint32_t b : blocks) EXPECT_EQ(pool.data(b)[31], static_cast<uint8_t>(i++));
}

TEST(BlockPool, FreeOfABlockNeverGivenOutIsOurBug) {
  BlockPool pool(4, 32);
  EXPECT_DEATH(pool.free(2), "assertion failed");
}

TEST(BlockPool, FreeingABlockTwiceIsOurBug) {
  BlockPool pool(4, 32);
  const uint32_t a = pool.allocate();
  pool.allocate();
  pool.free(a);
  EXPECT_DEATH(pool.free(a), "assertion failed");
}

TEST(Budget, RefusesByRankAndGivesBack) {
  constexpr uint64_t kStep = Account::kStepBytes;
  Budget budget(8 * kStep);
  Account one(budget);
  Account two(budget);
  ASSERT_TRUE(one.charge(6 * kStep, Rank::kInput));
  EXPECT_FALSE(one.tight());  // at three quarters, not above
  ASSERT_TRUE(two.charge(100, Rank::kInput));
  EXPECT_TRUE(one.tight());
  EXPECT_TRUE(two.tight());
  EXPECT_FALSE(two.charge(kStep, Rank::kInput));  // above seven eighths
  EXPECT_TRUE(two.charge(kStep, Rank::kBacklog));
  EXPECT_FALSE(one.charge(1, Rank::kBacklog));
  EXPECT_FALSE(two.charge(kStep, Rank::kBacklog));
  EXPECT_EQ(two.refused(), 2u);
  EXPECT_EQ(two.charged(), 100 + kStep);
  ASSERT_TRUE(one.charge(3 * kStep, Rank::kKept));  // what was promised, also above it all
  EXPECT_GT(budget.taken(), budget.limit());
  one.release(9 * kStep);
  EXPECT_FALSE(two.tight());
  EXPECT_TRUE(two.charge(3 * kStep, Rank::kInput));
  two.release(100 + 4 * kStep);
  EXPECT_EQ(one.charged() + two.charged(), 0u);
  EXPECT_LE(budget.taken(), 2 * 2 * kStep);  // what accounts keep at hand
}

TEST(Budget, TheLastBytesCanBeUsed) {
  Budget budget(1000);
  {
    Account account(budget);
    EXPECT_TRUE(account.charge(1000, Rank::kBacklog));
    EXPECT_FALSE(account.charge(1, Rank::kBacklog));
    account.release(1000);
    EXPECT_TRUE(account.charge(400, Rank::kBacklog));
  }
  EXPECT_EQ(budget.taken(), 0u);  // an account that ends gives back what it had
}

TEST(BlockPool, ChargesWhatIsOut) {
  Budget budget(4 * 32);
  Account account(budget);
  BlockPool pool(100, 32);
  pool.charge_to(&account, Rank::kBacklog);
  std::vector<uint32_t> blocks;
  for (uint32_t b; (b = pool.allocate()) != BlockPool::kNone;) blocks.push_back(b);
  EXPECT_EQ(blocks.size(), 4u);
  EXPECT_EQ(account.charged(), 4u * 32);
  for (const uint32_t b : blocks) pool.free(b);
  EXPECT_EQ(account.charged(), 0u);
  EXPECT_NE(pool.allocate(), BlockPool::kNone);
}

TEST(MappedArray, ComesZeroed) {
  MappedArray<uint64_t> array(10000);
  for (size_t i = 0; i < array.size(); ++i) ASSERT_EQ(array[i], 0u);
  EXPECT_EQ(array.bytes(), 80000u);
}

TEST(Arena, TakesResetsAndRefuses) {
  Arena arena(64);
  uint8_t* a = arena.take(10);
  uint8_t* b = arena.peek(20);
  EXPECT_EQ(b, a + 10);
  EXPECT_EQ(arena.take(20), b);
  EXPECT_EQ(arena.available(), 34u);
  EXPECT_DEATH(arena.take(35), "assertion failed");
  arena.reset();
  EXPECT_EQ(arena.take(64), a);
}

}  // namespace
}  // namespace tidegate::mem
