// SPDX-License-Identifier: Apache-2.0
#include "realm/areas.h"

#include <gtest/gtest.h>

namespace tidegate::realm {
namespace {

TEST(RealmAreas, FadeAfterTwoIntervals) {
  Areas areas(8);
  areas.note(1, {0, 0});
  areas.note(2, {0, 0});
  areas.note(2, {-3, 7});
  EXPECT_EQ(areas.watchers({0, 0}), 3u);
  EXPECT_EQ(areas.watchers({-3, 7}), 2u);
  EXPECT_EQ(areas.watchers({1, 0}), 0u);
  areas.age();
  areas.note(1, {0, 0});
  EXPECT_EQ(areas.watchers({0, 0}), 3u);
  areas.age();
  EXPECT_EQ(areas.watchers({0, 0}), 1u);
  EXPECT_EQ(areas.count(), 1u);
  areas.age();
  EXPECT_EQ(areas.count(), 0u);
}

TEST(RealmAreas, ForgetsAGateway) {
  Areas areas(8);
  for (int16_t i = 0; i < 8; ++i) areas.note(i % 2 == 0 ? 1 : 3, {i, 0});
  areas.forget(1);
  EXPECT_EQ(areas.count(), 4u);
  for (int16_t i = 0; i < 8; ++i) EXPECT_EQ(areas.watchers({i, 0}), i % 2 == 0 ? 0u : 2u);
}

TEST(RealmAreas, WhoSaysMoreThanFitsWatchesAll) {
  Areas areas(2);
  areas.note(1, {0, 0});
  areas.note(1, {1, 0});
  areas.note(4, {2, 0});
  EXPECT_EQ(areas.watchers({9, 9}), 4u);
  EXPECT_EQ(areas.watchers({0, 0}), 5u);
  areas.age();
  areas.age();
  EXPECT_EQ(areas.watchers({9, 9}), 0u);
}

}  // namespace
}  // namespace tidegate::realm
