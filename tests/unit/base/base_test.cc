// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"

namespace tidegate::base {
namespace {

TEST(Bytes, BigEndianLoadsAndStores) {
  uint8_t b[8];
  store_be64(b, 0x0102030405060708u);
  EXPECT_EQ(b[0], 1);
  EXPECT_EQ(b[7], 8);
  EXPECT_EQ(load_be64(b), 0x0102030405060708u);
  EXPECT_EQ(load_be32(b + 1), 0x02030405u);
  EXPECT_EQ(load_be16(b + 6), 0x0708u);
}

TEST(Prng, SameSeedSameSequenceAndBoundsHold) {
  Prng a(7);
  Prng b(7);
  Prng c(8);
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t x = a.next();
    EXPECT_EQ(x, b.next());
    differs |= x != c.next();
    EXPECT_LT(a.below(10), 10u);
    b.below(10);
    const int64_t y = a.between(-5, 5);
    EXPECT_GE(y, -5);
    EXPECT_LE(y, 5);
    b.between(-5, 5);
  }
  EXPECT_TRUE(differs);
}

TEST(Prng, ReachesEveryValueOfASmallRange) {
  Prng prng(1);
  int seen[8] = {};
  for (int i = 0; i < 8000; ++i) ++seen[prng.below(8)];
  for (int n : seen) EXPECT_NEAR(n, 1000, 200);
}

TEST(Time, ArithmeticAndNever) {
  const Instant t{1000};
  EXPECT_EQ((t + milliseconds(2)).ns, 2001000);
  EXPECT_EQ((Instant{5000} - t).ns, 4000);
  EXPECT_LT(t, Instant::never());
}

TEST(Ids, NoneIsNotValidAndKindsHash) {
  EXPECT_FALSE(EntityId::none().valid());
  EXPECT_TRUE(EntityId{0}.valid());
  EXPECT_FALSE(ConnectionRef{}.valid());
  EXPECT_NE(std::hash<EntityId>{}(EntityId{1}), std::hash<EntityId>{}(EntityId{2}));
}

enum class Status { kOk, kBad };

TEST(Result, HoldsAValueOrAStatus) {
  Result<int, Status> good(5);
  Result<int, Status> bad(Status::kBad);
  EXPECT_TRUE(good.ok());
  EXPECT_EQ(*good, 5);
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.status(), Status::kBad);
  EXPECT_DEATH((void)bad.value(), "assertion failed");
}

}  // namespace
}  // namespace tidegate::base
