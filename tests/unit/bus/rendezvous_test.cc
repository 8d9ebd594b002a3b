// SPDX-License-Identifier: Apache-2.0
#include "bus/rendezvous.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace tidegate::bus {
namespace {

struct Row {
  uint64_t id;
};

std::vector<Row> gateways(int count) {
  std::vector<Row> rows;
  for (int i = 0; i < count; ++i) rows.push_back({hash_text("gateway-" + std::to_string(i))});
  return rows;
}

uint64_t home(const std::vector<Row>& rows, const std::string& name) {
  return rows[home_among(rows, static_cast<uint32_t>(rows.size()), hash_text(name))].id;
}

TEST(Rendezvous, TheOrderOfTheListDoesNotMatter) {
  std::vector<Row> rows = gateways(5);
  std::vector<Row> turned = rows;
  std::reverse(turned.begin(), turned.end());
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "room." + std::to_string(i);
    EXPECT_EQ(home(rows, name), home(turned, name));
  }
}

TEST(Rendezvous, NamesAreSpreadEvenly) {
  constexpr int kNames = 30'000;
  const std::vector<Row> rows = gateways(3);
  for (const Row& row : rows) {
    int mine = 0;
    for (int i = 0; i < kNames; ++i) mine += home(rows, "room." + std::to_string(i)) == row.id;
    EXPECT_NEAR(mine, kNames / 3, kNames / 60);
  }
}

TEST(Rendezvous, OnlyNamesOfWhoComesOrGoesMove) {
  const std::vector<Row> four = gateways(4);
  const std::vector<Row> three = gateways(3);
  int moved = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string name = "room." + std::to_string(i);
    if (home(four, name) == home(three, name)) continue;
    EXPECT_EQ(home(four, name), four[3].id);
    ++moved;
  }
  EXPECT_NEAR(moved, 1000, 150);
}

// Other implementations have to choose the same: these are part of docs/cluster.md.
TEST(Rendezvous, KnownValues) {
  EXPECT_EQ(hash_text(""), 0xcbf29ce484222325u);
  EXPECT_EQ(hash_text("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_NE(weight(1, 2), weight(2, 1));
}

}  // namespace
}  // namespace tidegate::bus
