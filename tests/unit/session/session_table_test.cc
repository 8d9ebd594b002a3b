// SPDX-License-Identifier: Apache-2.0
#include "session/session_table.h"

#include <gtest/gtest.h>

#include <list>
#include <map>
#include <string>

#include "base/prng.h"

namespace tidegate::session {
namespace {

uint64_t hash_of(std::string_view name) { return std::hash<std::string_view>{}(name) & 0xff; }

TEST(SessionTable, RefusesNamesThatDoNotFitAndWhatHasNoRoom) {
  SessionTable table(2);
  EXPECT_EQ(table.insert("", 1), SessionTable::kNone);
  EXPECT_EQ(table.insert(std::string(65, 'a'), 1), SessionTable::kNone);
  const uint32_t a = table.insert(std::string(64, 'a'), 1);
  const uint32_t b = table.insert("b", 1);
  ASSERT_NE(b, SessionTable::kNone);
  EXPECT_EQ(table.insert("c", 1), SessionTable::kNone);
  EXPECT_EQ(table.player(a), std::string(64, 'a'));
  EXPECT_EQ(table.oldest_parked(), a);
  table.attached(a);
  EXPECT_EQ(table.oldest_parked(), b);
  table.erase(b);
  EXPECT_EQ(table.oldest_parked(), SessionTable::kNone);
  EXPECT_EQ(table.find("b", 1), SessionTable::kNone);
  EXPECT_NE(table.insert("c", 1), SessionTable::kNone);
}

// Few hashes, so that probes cross and erasing moves rows of the index.
TEST(SessionTable, AgreesWithAMapForAnyOrderOfCalls) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    base::Prng prng(seed);
    SessionTable table(60);
    std::map<std::string, uint32_t> rows;
    std::list<std::string> parked;
    for (int step = 0; step < 5000; ++step) {
      const std::string name = "p" + std::to_string(prng.below(90));
      const auto it = rows.find(name);
      ASSERT_EQ(table.find(name, hash_of(name)),
                it == rows.end() ? SessionTable::kNone : it->second);
      if (it == rows.end()) {
        const uint32_t row = table.insert(name, hash_of(name));
        ASSERT_EQ(row == SessionTable::kNone, rows.size() == 60);
        if (row == SessionTable::kNone) continue;
        rows[name] = row;
        parked.push_back(name);
      } else if (prng.chance(0.4)) {
        table.erase(it->second);
        parked.remove(name);
        rows.erase(it);
      } else if (prng.chance(0.5)) {
        table.attached(it->second);
        parked.remove(name);
      } else {
        table.parked(it->second);
        parked.remove(name);
        parked.push_back(name);
      }
      ASSERT_EQ(table.count(), rows.size());
      ASSERT_EQ(table.parked_count(), parked.size());
      ASSERT_EQ(table.oldest_parked(),
                parked.empty() ? SessionTable::kNone : rows.at(parked.front()));
    }
  }
}

}  // namespace
}  // namespace tidegate::session
