// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "mem/arena.h"
#include "mem/block_pool.h"
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
