// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tidegate/client.h"

namespace {

struct Abilities {
  Abilities() : a(tidegate_client_abilities_create(100, 10)) {
    tidegate_client_abilities_define(a, 1, 1000, 30);
    tidegate_client_abilities_define(a, 2, 0, 50);
  }
  ~Abilities() { tidegate_client_abilities_destroy(a); }
  tidegate_client_use use(uint32_t ability, double now) {
    return tidegate_client_abilities_use(a, ability, now, &number);
  }
  void answer(uint32_t n, bool taken) { tidegate_client_abilities_answer(a, n, taken ? 1 : 0); }
  double resource(double now) { return tidegate_client_abilities_resource(a, now); }
  double cooldown(uint32_t ability, double now) {
    return tidegate_client_abilities_cooldown(a, ability, now);
  }
  tidegate_client_abilities* a;
  uint32_t number = 0;
};

TEST(Ability, CostsAndCoolsDownAtOnce) {
  Abilities t;
  EXPECT_EQ(t.use(1, 0), TIDEGATE_USE_OK);
  EXPECT_EQ(t.resource(0), 70);
  EXPECT_EQ(t.use(1, 500), TIDEGATE_USE_COOLDOWN);
  EXPECT_EQ(t.cooldown(1, 500), 500);
  EXPECT_EQ(t.use(2, 500), TIDEGATE_USE_OK);
  EXPECT_EQ(t.resource(500), 25);
  EXPECT_EQ(t.use(1, 1000), TIDEGATE_USE_OK) << "30 of 30 there are";
  EXPECT_EQ(t.use(2, 1000), TIDEGATE_USE_COST);
  EXPECT_EQ(t.resource(100'000), 100) << "no more than the most";
  EXPECT_EQ(t.use(3, 0), TIDEGATE_USE_UNKNOWN);
  EXPECT_EQ(t.use(99, 0), TIDEGATE_USE_UNKNOWN);
  EXPECT_EQ(tidegate_client_abilities_define(t.a, 64, 0, 0), 0);
}

TEST(Ability, WhatIsRefusedNeverWas) {
  Abilities t;
  t.use(1, 0);
  const uint32_t first = t.number;
  t.use(2, 100);
  t.answer(first, false);
  EXPECT_EQ(t.cooldown(1, 100), 0);
  EXPECT_EQ(t.resource(100), 50);
  EXPECT_EQ(t.use(1, 100), TIDEGATE_USE_OK);
  t.answer(first, true);  // too late and unknown
  EXPECT_EQ(t.resource(100), 20);
}

TEST(Ability, WhatIsTakenStays) {
  Abilities t;
  t.use(1, 0);
  t.answer(t.number, true);
  EXPECT_EQ(t.resource(0), 70);
  EXPECT_EQ(t.cooldown(1, 400), 600);
  EXPECT_EQ(t.use(1, 999), TIDEGATE_USE_COOLDOWN);
  EXPECT_EQ(t.use(1, 1000), TIDEGATE_USE_OK);
}

TEST(Ability, TheServersResourceIsTheStart) {
  Abilities t;
  t.use(2, 0);
  tidegate_client_abilities_set(t.a, 60, 0);
  EXPECT_EQ(t.resource(0), 10) << "the use that waits comes on top";
  t.answer(t.number, false);
  EXPECT_EQ(t.resource(0), 60);
  EXPECT_EQ(t.resource(1000), 70);
}

TEST(Ability, OnlySoManyWait) {
  Abilities t;
  tidegate_client_abilities_define(t.a, 5, 0, 0);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(t.use(5, i), TIDEGATE_USE_OK);
  EXPECT_EQ(t.use(5, 64), TIDEGATE_USE_FULL);
  t.answer(t.number, true);
  EXPECT_EQ(t.use(5, 64), TIDEGATE_USE_OK);
}

}  // namespace
