// SPDX-License-Identifier: Apache-2.0
// The board of keyed states against a plain model: after each look a connection has what it should
// have, whatever was set, removed and put in a gone one's row between two looks.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/prng.h"
#include "state/state_board.h"

namespace tidegate::state {
namespace {

constexpr uint32_t kRows = 6;
constexpr uint32_t kConnections = 3;

struct Model {
  Scope scope = Scope::kZone;
  int32_t x = 0;
  uint32_t radius = 0;
  std::string key;
  uint64_t version = 0;
};

BoardRow board_row(const Model& m) {
  BoardRow row{};
  row.scope = m.scope;
  row.version = m.version;
  row.position[0] = m.x;
  row.radius = m.radius;
  EXPECT_TRUE(row.key.set(m.key));
  return row;
}

struct Client {
  int32_t position[3] = {0, 0, 0};
  std::map<std::string, uint64_t> has;
  uint32_t told = 0;

  void look(StateBoard& board, uint32_t connection) {
    told = 0;
    board.look(
        connection, position, [this] { has.clear(); },
        [this](const BoardRow& row, bool shown) {
          ++told;
          const std::string key(row.key.text());
          if (shown) {
            has[key] = row.version;
          } else {
            EXPECT_EQ(has.erase(key), 1u) << "told that " << key << " is gone, which it never had";
          }
        });
  }
};

TEST(StateBoard, EachLookBringsAConnectionUpToDate) {
  base::Prng prng(11);
  StateBoard board(kRows, kConnections);
  std::map<uint32_t, Model> model;  // by the home's number
  Client clients[kConnections];
  for (uint32_t c = 0; c < kConnections; ++c) board.begin(c);
  uint64_t version = 0;
  uint32_t names = 0;
  for (int step = 0; step < 20'000; ++step) {
    const auto home = static_cast<uint32_t>(prng.below(kRows));
    if (prng.chance(0.3) && model.count(home) != 0) {
      board.remove(home);
      model.erase(home);
    } else {
      Model& m = model[home];
      if (m.key.empty() || prng.chance(0.2)) {
        const bool known = !m.key.empty();
        if (known) board.remove(home);
        m.key = "k" + std::to_string(++names);
        m.scope = prng.chance(0.5) ? Scope::kPlace : Scope::kZone;
        m.x = static_cast<int32_t>(prng.below(1000));
        m.radius = static_cast<uint32_t>(50 + prng.below(200));
      }
      m.version = ++version;
      board.put(home, board_row(m));
    }
    const auto c = static_cast<uint32_t>(prng.below(kConnections));
    // The last one is slow: much happens between two of its looks.
    if (c == kConnections - 1 && !prng.chance(0.05)) continue;
    Client& client = clients[c];
    if (prng.chance(0.01)) {  // another connection in its slot
      client.has.clear();
      board.begin(c);
    }
    client.position[0] = static_cast<int32_t>(prng.below(1000));
    client.look(board, c);
    for (const auto& [number, m] : model) {
      const int64_t distance = std::abs(int64_t{client.position[0]} - m.x);
      const auto had = client.has.find(m.key);
      if (m.scope == Scope::kZone || distance <= m.radius) {
        ASSERT_NE(had, client.has.end()) << m.key;
        ASSERT_EQ(had->second, m.version) << m.key;
      } else if (distance > int64_t{m.radius} + m.radius / 8) {
        ASSERT_EQ(had, client.has.end()) << m.key;
      }
    }
    for (const auto& [key, at] : client.has) {
      bool live = false;
      for (const auto& [number, m] : model) live |= m.key == key;
      ASSERT_TRUE(live) << key << " is gone";
    }
    EXPECT_TRUE(board.up_to_date(c, client.position));
    client.look(board, c);
    EXPECT_EQ(client.told, 0u) << "told twice";
  }
  EXPECT_EQ(board.count(), model.size());
}

TEST(StateBoard, AStateThatChangesOftenIsToldOnceALook) {
  StateBoard board(kRows, 1);
  board.begin(0);
  Client client;
  Model m;
  m.key = "score";
  for (uint64_t v = 1; v <= 1000; ++v) {
    m.version = v;
    board.put(0, board_row(m));
  }
  client.look(board, 0);
  EXPECT_EQ(client.told, 1u);
  EXPECT_EQ(client.has["score"], 1000u);
}

}  // namespace
}  // namespace tidegate::state
