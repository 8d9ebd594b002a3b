// SPDX-License-Identifier: Apache-2.0
// Budgets: the bucket and the ladder by themselves, then slow readers in a crowd whose pictures are
// checked like everybody's.
#include "world/budget.h"

#include <gtest/gtest.h>

#include "harness.h"

namespace tidegate::world::test {
namespace {

// A link of so many bytes a second, a tick of 16 ms, and what is put in front of it.
struct Link {
  BudgetConfig config{.bytes_per_second = 40'000, .queue_bytes = 48 * 1024, .stall_ms = 5000};
  Budget budget;
  QueueSample queue;
  uint32_t bytes_per_second = UINT32_MAX;

  Link() { budget.start(config, 0); }
  Rung tick(uint32_t bytes) {
    queue.now_ms += 16;
    queue.waiting += bytes;
    budget.spend(bytes, 0);
    const auto can = static_cast<uint32_t>(uint64_t{bytes_per_second} * 16 / 1000);
    const uint32_t taken = std::min(queue.waiting, can);
    queue.waiting -= taken;
    queue.sent += taken;
    return budget.update(config, queue);
  }
};

TEST(Budget, ASecondOfTheRateFitsAndComesBack) {
  Link link;
  EXPECT_EQ(link.tick(0), Rung::kAll);
  EXPECT_EQ(link.budget.tokens(), 40'000);
  link.tick(30'000);
  EXPECT_EQ(link.budget.tokens(), 10'000 + 640);
  for (int i = 0; i < 62; ++i) link.tick(0);
  EXPECT_EQ(link.budget.tokens(), 40'000);
}

TEST(Budget, NoSecondTakesMoreThanTheRateHoweverFullTheBucketIs) {
  Link link;
  for (int i = 0; i < 200; ++i) link.tick(0);
  ASSERT_EQ(link.budget.tokens(), 40'000);
  std::vector<uint32_t> sent;
  uint64_t all = 0;
  for (int i = 0; i < 1000; ++i) {
    uint32_t bytes = 0;
    // Much at once, then little, then as much as there may be.
    const int32_t most = i % 200 < 10 ? 20'000 : i % 200 < 60 ? 100 : 5'000;
    while (link.budget.allowance() >= 500 && static_cast<int32_t>(bytes) < most) {
      link.budget.spend(500, 0);
      bytes += 500;
    }
    sent.push_back(bytes);
    all += bytes;
    link.tick(0);
    uint64_t second = 0;
    for (size_t t = sent.size() < 62 ? 0 : sent.size() - 62; t < sent.size(); ++t) {
      second += sent[t];
    }
    ASSERT_LE(second, 40'800u) << i;
  }
  EXPECT_GT(all, 1000 * 16 * 40'000 / 1000 / 4 * 3);
}

TEST(Budget, KeepsRoomForWhatIsToCome) {
  for (const uint32_t rate : {40'000u, 20'000'000u}) {
    Link link;
    link.config.bytes_per_second = rate;
    link.budget.start(link.config, 0);
    for (int i = 0; i < 200; ++i) link.tick(0);
    link.budget.expect(rate / 4 * 3);
    EXPECT_LE(link.budget.allowance(), static_cast<int32_t>(rate / 3));
    EXPECT_GE(link.budget.allowance(), static_cast<int32_t>(rate / 5));
  }
}

TEST(Budget, WhatIsAskedForIsCutToTheLargest) {
  Link link;
  link.budget.start(link.config, 1'000'000'000);
  EXPECT_EQ(link.budget.rate(), link.config.bytes_per_second_max);
  link.budget.start(link.config, 1);
  EXPECT_EQ(link.budget.rate(), kBudgetRateMin);
}

TEST(Budget, OverdrawnAfterASecondOfDebt) {
  Link link;
  link.tick(0);
  link.tick(200'000);
  EXPECT_EQ(link.budget.tokens(), -40'000 + 640);  // no deeper than a second
  int ticks = 0;
  while (!link.budget.overdrawn() && ticks < 200) {
    link.tick(640);
    ++ticks;
  }
  EXPECT_NEAR(ticks, 1000 / 16, 2);
  EXPECT_FALSE(link.budget.overdrawn());
}

TEST(Budget, ABusyLinkIsMeasuredAndTheRateRisesAgainWhenItIsIdle) {
  Link link;
  link.bytes_per_second = 10'000;
  for (int i = 0; i < 60; ++i) link.tick(i < 40 ? 400 : 0);
  EXPECT_NEAR(link.budget.rate(), 10'000 * 7 / 8, 500);
  link.bytes_per_second = UINT32_MAX;
  for (int i = 0; i < 320; ++i) link.tick(10);
  EXPECT_EQ(link.budget.rate(), 40'000u);
}

TEST(Budget, GoesDownEveryRungAndEndsWithAStalledReader) {
  Link link;
  link.tick(0);
  link.bytes_per_second = 0;
  Rung last = Rung::kAll;
  uint32_t begun = 0;
  for (uint32_t ms = 0; last != Rung::kEnd && ms < 10'000; ms += 16) {
    const Rung rung = link.tick(ms == 0 ? 5'000 : 0);
    if (ms == 0) begun = link.queue.now_ms;
    ASSERT_GE(rung, last);
    ASSERT_LE(static_cast<int>(rung) - static_cast<int>(last), 1) << "skips a rung";
    last = rung;
  }
  EXPECT_EQ(last, Rung::kEnd);
  EXPECT_NEAR(link.queue.now_ms - begun, 5000, 20);
}

TEST(Budget, ASlowReaderWhoseQueueMovesIsAsOldAsItsOldestByte) {
  Link link;
  link.bytes_per_second = 20'000;
  link.tick(4'000);  // 200 ms of the link, and always that much
  Rung worst = Rung::kAll;
  for (int i = 0; i < 1000; ++i) worst = std::max(worst, link.tick(320));
  EXPECT_GE(worst, Rung::kNoLayer3);
  EXPECT_LE(worst, Rung::kNoLayer2);
}

TEST(Budget, ClimbsARungEachHalfSecondOfAnEmptyQueue) {
  Link link;
  link.bytes_per_second = 0;
  while (link.budget.rung() != Rung::kOwnOnly) link.tick(100);
  link.bytes_per_second = UINT32_MAX;
  const uint32_t from = link.queue.now_ms;
  while (link.budget.rung() != Rung::kAll) link.tick(0);
  EXPECT_NEAR(link.queue.now_ms - from, 4 * 500, 80);
}

WorldConfig crowded() {
  WorldConfig c;
  c.shard_count = 2;
  c.entities = 256;
  c.cells = 512;
  c.full_rate_distance = 20.0F;
  c.half_rate_distance = 40.0F;
  c.quarter_rate_distance = 60.0F;
  c.budget = {.bytes_per_second = 200'000, .queue_bytes = 48 * 1024, .stall_ms = 3000};
  return c;
}

class Crowd : public ::testing::Test {
 protected:
  static Options options_for(const WorldConfig& config) {
    Options o;
    o.config = config;
    o.seed = 5;
    o.strict = false;  // a WORLD_STATE begins a protobuf client anew
    o.levels = true;
    o.budgets = true;
    return o;
  }
  void populate(Harness& h, uint32_t walkers) {
    for (uint32_t i = 0; i < walkers; ++i) {
      const Steps3 at{static_cast<int32_t>(i * 397 % 9000) - 4500, 0,
                      static_cast<int32_t>(i * 611 % 9000) - 4500};
      h.add(at, true, i % 4 == 3 ? Encoding::kProtobuf : Encoding::kPacked);
    }
  }
  void walk(Harness& h) {
    for (uint32_t i = 0; i < h.walkers.size(); ++i) {
      Walker& w = h.walkers[i];
      Steps3 wish = w.position;
      wish[0] += static_cast<int32_t>((h.tick / 40 + i) % 5) - 2;
      wish[2] += static_cast<int32_t>((h.tick / 60 + i) % 5) - 2;
      h.send(w, h.slice(0).scale().clamp(wish), static_cast<uint8_t>(h.tick + i));
    }
    h.step();
  }
  InterestCounters counters(Harness& h) {
    InterestCounters sum;
    for (uint32_t s = 0; s < h.shards(); ++s) {
      const InterestCounters& c = h.interest(s).counters();
      sum.frames_left_out += c.frames_left_out;
      sum.cells_stale += c.cells_stale;
      sum.cells_cut += c.cells_cut;
      for (size_t r = 0; r < std::size(sum.rungs); ++r) sum.rungs[r] += c.rungs[r];
    }
    return sum;
  }
};

TEST_F(Crowd, SlowReadersGetLessTheOthersAllAndEverybodyRecovers) {
  Harness h(options_for(crowded()));
  populate(h, 48);
  for (int i = 0; i < 60; ++i) walk(h);
  EXPECT_EQ(counters(h).frames_left_out, 0u);
  // Two kinds of slow ones of each encoding, and one that reads nothing.
  for (uint32_t i = 0; i < 4; ++i) h.walkers[i].link = 60;
  for (uint32_t i = 4; i < 8; ++i) h.walkers[i].link = 15;
  h.walkers[8].link = 0;
  for (int i = 0; i < 500 && !HasFailure(); ++i) {
    walk(h);
    h.check_levels();
  }
  const InterestCounters slow = counters(h);
  for (uint32_t r = 1; r < static_cast<uint32_t>(Rung::kCount); ++r) {
    EXPECT_GT(slow.rungs[r], 0u) << name_of(static_cast<Rung>(r));
  }
  EXPECT_EQ(slow.rungs[static_cast<uint32_t>(Rung::kEnd)], 1u);
  EXPECT_TRUE(h.walkers[8].ended);
  for (uint32_t i = 0; i < h.walkers.size(); ++i) {
    EXPECT_LE(h.walkers[i].waiting_most, 64u * 1024) << i;
    if (i < 9) continue;
    // Nobody else went down a rung, and none of their cells is late.
    EXPECT_EQ(h.interest(h.walkers[i].shard).rung(h.walkers[i].slot), Rung::kAll);
  }
  h.disconnect(h.walkers[8]);
  for (uint32_t i = 0; i < 8; ++i) h.walkers[i].link = UINT32_MAX;
  for (int i = 0; i < 900; ++i) h.step();
  h.check();
  for (uint32_t s = 0; s < h.shards(); ++s) EXPECT_EQ(h.interest(s).limited_count(), 0u);
}

TEST_F(Crowd, ASmallBudgetIsKeptByChoosingFrames) {
  WorldConfig config = crowded();
  config.budget.bytes_per_second = 3'000;
  Harness h(options_for(config));
  for (uint32_t i = 0; i < 60; ++i) {
    h.add({static_cast<int32_t>(i * 397 % 9000) - 4500, 0,
           static_cast<int32_t>(i * 611 % 9000) - 4500},
          i < 20, Encoding::kPacked);
  }
  for (int i = 0; i < 120; ++i) walk(h);
  const uint64_t before = h.bytes_sent;
  const uint32_t ticks = 600;
  for (uint32_t i = 0; i < ticks && !HasFailure(); ++i) {
    walk(h);
    h.check_levels();
  }
  const double per_second = static_cast<double>(h.bytes_sent - before) / 20 / (ticks * 0.016);
  EXPECT_LE(per_second, 3'000 * 1.2);  // a second of debt at the end
  EXPECT_GE(per_second, 3'000 * 0.5);  // and it is used
  EXPECT_GT(counters(h).frames_left_out, 100u);
}

// What a client is sent in any second, wherever it begins, stays within 2 % of its budget, once the
// first images are there: in 985 of 1,000 seconds, for budgets between what has to be told and what
// there is to tell. (A keyframe of a cell that went without is sent all the same.)
TEST_F(Crowd, EachSecondOfEachClientStaysWithinItsBudget) {
  WorldConfig config = crowded();
  config.budget.bytes_per_second_max = 200'000;
  Harness h(options_for(config));
  constexpr uint32_t kWatching = 12;
  const uint32_t budgets[] = {6'000, 7'500, 9'000};
  for (uint32_t i = 0; i < 150; ++i) {
    const Steps3 at{static_cast<int32_t>(i * 397 % 4000) - 2000, 0,
                    static_cast<int32_t>(i * 611 % 4000) - 2000};
    h.add(at, i < kWatching, Encoding::kPacked);
    if (i >= kWatching) continue;
    Walker& w = h.walkers[i];
    h.interest(w.shard).remove(w.slot);
    h.interest(w.shard).add(w.slot, w.encoding, 0, w.position, budgets[i % std::size(budgets)]);
  }
  constexpr uint32_t kTicksASecond = 62;  // of 16 ms, and 8 ms less than a second
  std::vector<std::vector<uint32_t>> sent(kWatching);
  for (int i = 0; i < 1500 && !HasFailure(); ++i) {
    std::vector<uint32_t> before;
    for (uint32_t k = 0; k < kWatching; ++k) before.push_back(h.walkers[k].sent);
    walk(h);
    for (uint32_t k = 0; k < kWatching; ++k) sent[k].push_back(h.walkers[k].sent - before[k]);
  }
  uint64_t windows = 0;
  uint64_t over = 0;
  std::string each;
  for (uint32_t k = 0; k < kWatching; ++k) {
    const uint64_t budget = budgets[k % std::size(budgets)];
    uint64_t all = 0;
    uint64_t most = 0;
    const uint64_t over_before = over;
    for (size_t from = 250; from + kTicksASecond <= sent[k].size(); ++from) {
      uint64_t bytes = 0;
      for (size_t t = from; t < from + kTicksASecond; ++t) bytes += sent[k][t];
      ++windows;
      over += bytes * 100 > budget * 102;
      most = std::max(most, bytes);
      all += bytes;
    }
    const double mean = static_cast<double>(all) / static_cast<double>(sent[k].size() - 250 - 61);
    EXPECT_GT(mean, 0.6 * static_cast<double>(budget)) << k;  // and it is used
    each += "\n" + std::to_string(budget) + ": mean " + std::to_string(mean) + ", most " +
            std::to_string(most) + ", over " + std::to_string(over - over_before);
  }
  EXPECT_GT(counters(h).frames_left_out, 1'000u);
  EXPECT_LE(over * 66, windows) << over << " of " << windows << each;
}

// A hundred come to one place in one tick: their keyframes are spread over the next anchors, and
// what is sent of them in a tick stays within what was allowed and one keyframe.
TEST_F(Crowd, KeyframesOfManyWhoJoinArePaced) {
  Options options = options_for(crowded());
  options.keyframe_bytes = 8 * 1024;
  Harness h(options);
  for (uint32_t i = 0; i < 100; ++i) h.add({100, 0, 100}, true, Encoding::kPacked);
  uint64_t sent = 0, most = 0;
  int ticks = 0;
  const auto all_in = [&] {
    return std::all_of(h.walkers.begin(), h.walkers.end(), [&](const Walker& w) {
      return h.interest(w.shard).has(w.slot, h.slice(0).scale().cell_of(w.position)) &&
             std::any_of(w.client->images.begin(), w.client->images.end(),
                         [](const auto& i) { return i.second.count() == 100; });
    });
  };
  for (; ticks < 600 && !all_in() && !HasFailure(); ++ticks) {
    h.step();
    most = std::max(most, h.bytes_sent - sent);
    sent = h.bytes_sent;
  }
  EXPECT_TRUE(all_in());
  EXPECT_GT(ticks, 3 * static_cast<int>(kLayerPeriod));
  const uint64_t keyframe = sent / 100;
  EXPECT_LE(most, 2 * (8 * 1024 + keyframe) + 4096);  // two shards
  uint64_t put_off = 0;
  for (uint32_t s = 0; s < h.shards(); ++s) {
    put_off += h.interest(s).counters().keyframes_put_off;
  }
  EXPECT_GT(put_off, 100u);
  for (int i = 0; i < 60; ++i) h.step();
  h.check();
}

// When rates come up again after load, everybody's own cell goes back to its chain, which begins
// with a keyframe: those are paced too, and in the end all have it.
TEST_F(Crowd, KeyframesForTheChainAfterLoadArePaced) {
  Options options = options_for(crowded());
  options.config.budget.bytes_per_second = options.config.budget.bytes_per_second_max = 100'000'000;
  options.config.budget.queue_bytes = 100'000'000;
  Harness h(options);
  for (uint32_t i = 0; i < 100; ++i) h.add({100, 0, 100}, true, Encoding::kPacked);
  const auto step = [&] {
    h.send(h.walkers[0], {100, 0, 100}, 0, h.tick);  // flags: told in every tick
    h.step();
  };
  for (int i = 0; i < 60; ++i) step();
  h.options().ceiling = 0;
  for (int i = 0; i < 60; ++i) step();
  h.options().ceiling = kFullLevel;
  h.options().keyframe_bytes = 8 * 1024;
  uint64_t sent = h.bytes_sent, most = 0;
  for (int i = 0; i < 300; ++i) {
    step();
    most = std::max(most, h.bytes_sent - sent);
    sent = h.bytes_sent;
  }
  // Two shards, each with its allowance and one keyframe, and a small frame for everybody.
  EXPECT_LE(most, 2 * (8 * 1024 + 4096) + 100 * 64u);
  // All are in the chain again: a change is told to all of them in its tick.
  uint32_t told = 0;
  for (int i = 0; i < 8; ++i) {
    step();
    for (const Walker& w : h.walkers) {
      for (const auto& [key, image] : w.client->images) told += image.header().tick + 1 == h.tick;
    }
  }
  EXPECT_EQ(told, 8u * 100u);
}

// The first image of a cell is larger than a second's budget: the client is in debt, and its own
// cell goes on all the same instead of beginning again each second.
TEST_F(Crowd, AFirstImageLargerThanTheBudgetIsNotSentAgainAndAgain) {
  WorldConfig config = crowded();
  config.budget.bytes_per_second = 3'000;
  Harness h(options_for(config));
  for (uint32_t i = 0; i < 250; ++i) h.add({100, 0, 100}, i < 10, Encoding::kPacked);
  for (int i = 0; i < 300 && !HasFailure(); ++i) {
    // One of them moves: a few bytes in each tick.
    Walker& w = h.walkers[200];
    h.send(w, {100 + i % 50, 0, 100}, static_cast<uint8_t>(i));
    h.step();
  }
  EXPECT_EQ(counters(h).cells_stale, 0u);
  EXPECT_GT(h.bytes_sent, 10 * 3'000u);
}

TEST_F(Crowd, UnderACeilingEveryCellGoesOnAtItsRateAndComesBack) {
  Harness h(options_for(crowded()));
  populate(h, 48);
  for (int i = 0; i < 120; ++i) walk(h);
  uint64_t before = h.bytes_sent;
  for (int i = 0; i < 120; ++i) walk(h);
  const uint64_t full = h.bytes_sent - before;
  for (const uint8_t ceiling : {uint8_t{2}, uint8_t{0}, uint8_t{1}}) {
    h.options().ceiling = ceiling;
    for (int i = 0; i < 60 && !HasFailure(); ++i) {
      walk(h);
      h.check_levels();
    }
  }
  h.options().ceiling = 0;
  for (int i = 0; i < 60; ++i) walk(h);
  before = h.bytes_sent;
  for (int i = 0; i < 120; ++i) walk(h);
  EXPECT_LT(h.bytes_sent - before, full / 2);
  EXPECT_EQ(counters(h).cells_stale, 0u);
  h.options().ceiling = kFullLevel;
  for (int i = 0; i < 300; ++i) h.step();
  h.check();
}

// Each watched cell has had a new image within a second, or the client was told that it is off.
TEST_F(Crowd, NoCellIsForgotten) {
  WorldConfig config = crowded();
  config.budget.bytes_per_second = kBudgetRateMin;
  Harness h(options_for(config));
  for (uint32_t i = 0; i < 60; ++i) {
    h.add({static_cast<int32_t>(i * 397 % 9000) - 4500, 0,
           static_cast<int32_t>(i * 611 % 9000) - 4500},
          i < 8, Encoding::kPacked);
  }
  for (int i = 0; i < 300; ++i) walk(h);
  uint32_t active_least = UINT32_MAX;
  for (int i = 0; i < 600 && !HasFailure(); ++i) {
    walk(h);
    for (const Walker& w : h.walkers) {
      if (!w.client) continue;
      CellKey cells[kActiveCellsMax];
      active_least = std::min(active_least, h.interest(w.shard).active_cells(w.slot, cells));
      for (const auto& [key, image] : w.client->images) {
        if (!image.has_frame() || image.count() == 0) continue;
        ASSERT_LE(h.tick - image.header().tick, 60u + 3 * kLayerPeriod) << w.name;
      }
    }
  }
  EXPECT_GE(active_least, 1u);
}

}  // namespace
}  // namespace tidegate::world::test
