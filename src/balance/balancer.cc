// SPDX-License-Identifier: Apache-2.0
#include "balance/balancer.h"

#include <algorithm>

namespace tidegate::balance {

using mailbox::CellLoad;
using world::CellKey;

Balancer::Balancer(const Settings& settings)
    : settings_(settings),
      owners_(settings.shards, settings.cells),
      shards_(settings.shards),
      work_(settings.shards) {}

std::span<const Move> Balancer::on_report(uint32_t shard, const mailbox::ShardLoad& load,
                                          std::span<const CellLoad> cells) {
  TG_ASSERT(shard < shards_.size());
  ShardView& view = shards_[shard];
  const bool first = view.load.tick == 0;
  view.load = load;
  view.cells.assign(cells.begin(), cells.end());
  view.fresh = true;
  work_[shard] = first ? load.world_ns : (work_[shard] + load.world_ns) / 2;
  moves_.clear();
  for (const ShardView& v : shards_) {
    if (!v.fresh) return {};
  }
  for (ShardView& v : shards_) v.fresh = false;
  ++round_;
  decide();
  return moves_;
}

void Balancer::decide() {
  // What shards report is how it is: an order may have been lost, or have come too late.
  for (uint32_t s = 0; s < shards_.size(); ++s) {
    for (const CellLoad& cell : shards_[s].cells) {
      const CellKey key{cell.cell_x, cell.cell_z};
      if (owners_.owner(key).value != s) owners_.move(key, {static_cast<uint16_t>(s)});
      const auto moved = moved_.find(key.packed());
      if (moved != moved_.end()) moved->second.seen_round = round_;
    }
  }
  return_idle();
  const auto [low, high] = std::minmax_element(work_.begin(), work_.end());
  const double spread = *high > 0 ? (*high - *low) / *high : 0;
  spread_ = static_cast<uint32_t>(spread * 100);
  if (round_ < settled_round_) return;
  if (*high < settings_.work_ns || spread < settings_.imbalance) {
    unbalanced_ = 0;
    return;
  }
  if (++unbalanced_ < settings_.patience) return;
  std::vector<double> after = work_;
  const size_t before = moves_.size();
  even_out(static_cast<uint32_t>(high - work_.begin()), after);
  if (moves_.size() == before) return;  // looked at again in the next round
  settled_round_ = round_ + 1 + kSettleRounds;
  // The next rounds' means begin with what is expected.
  work_ = after;
}

// Takes cells off the busiest shard, the one that brings most first.
void Balancer::even_out(uint32_t from, std::vector<double>& work) {
  const ShardView& view = shards_[from];
  double sum = 0;
  for (const CellLoad& cell : view.cells) sum += weight(cell);
  if (sum <= 0) return;
  const double unit = view.load.world_ns / sum;
  std::vector<bool> gone(view.cells.size());
  // A tenth is left for those who cross and come.
  const auto left = [](uint32_t limit, uint32_t taken) {
    const uint32_t most = limit - limit / 10;
    return most > taken ? most - taken : 0;
  };
  std::vector<uint32_t> room(shards_.size());
  std::vector<uint32_t> others_room(shards_.size());
  for (size_t s = 0; s < shards_.size(); ++s) {
    const mailbox::ShardLoad& load = shards_[s].load;
    room[s] = left(load.entities_limit, load.entities);
    others_room[s] = left(load.others_limit, load.others);
  }
  for (uint32_t n = 0; n < settings_.moves; ++n) {
    const auto to =
        static_cast<uint32_t>(std::min_element(work.begin(), work.end()) - work.begin());
    const double difference = work[from] - work[to];
    if (to == from || difference < settings_.imbalance * work[from] / 2) return;
    double best = 0;
    size_t best_at = 0;
    for (size_t i = 0; i < view.cells.size(); ++i) {
      const CellLoad& cell = view.cells[i];
      const CellKey key{cell.cell_x, cell.cell_z};
      const double cost = weight(cell) * unit;
      if (gone[i] || owners_.owner(key).value != from) continue;
      if (cell.entities > room[to] || cell.others > others_room[to]) continue;
      if (!owners_.may_move(key, {static_cast<uint16_t>(to)})) continue;
      const auto moved = moved_.find(key.packed());
      if (moved != moved_.end() && round_ < moved->second.round + settings_.hold) continue;
      // What it takes off the busier of the two; little is not worth a move.
      const double gain = std::min(cost, difference - cost);
      if (gain < difference / 64) continue;
      // Beside cells of that shard, walkers cross to another shard less often.
      uint32_t neighbours = 0;
      for (int dz = -1; dz <= 1; ++dz) {
        for (int dx = -1; dx <= 1; ++dx) {
          const CellKey beside{static_cast<int16_t>(key.x + dx), static_cast<int16_t>(key.z + dz)};
          neighbours += owners_.owner(beside).value == to;
        }
      }
      // Of two that bring about the same the smaller one goes.
      const double part = gain / cost;
      const double score = gain * part * part * (16 + neighbours);
      if (score > best) {
        best = score;
        best_at = i;
      }
    }
    if (best <= 0) return;
    const CellLoad& cell = view.cells[best_at];
    const double cost = weight(cell) * unit;
    gone[best_at] = true;
    order({{cell.cell_x, cell.cell_z},
           static_cast<uint16_t>(from),
           static_cast<uint16_t>(to),
           cell.entities,
           std::max(1u, static_cast<uint32_t>(cost)),
           static_cast<uint32_t>(work[from]),
           static_cast<uint32_t>(work[to])});
    work[from] -= cost;
    work[to] += cost;
    room[to] -= cell.entities;
    others_room[to] -= cell.others;
  }
}

void Balancer::return_idle() {
  uint32_t returned = 0;
  for (auto at = moved_.begin(); at != moved_.end() && returned < kReturnsMax;) {
    const CellKey key = CellKey::from_packed(at->first);
    const base::ShardId rule = world::owner_of(key, settings_.shards);
    const base::ShardId now = owners_.owner(key);
    if (now == rule && round_ >= at->second.round + settings_.hold) {
      at = moved_.erase(at);
      continue;
    }
    // A report that is cut says nothing of small cells.
    const bool cut = shards_[now.value].cells.size() >= mailbox::kCellsReportedMax;
    if (now != rule && !cut && round_ >= at->second.seen_round + kIdleRounds &&
        round_ >= at->second.round + settings_.hold) {
      moves_.push_back({key, now.value, rule.value, 0, 0, 0, 0});
      owners_.move(key, rule);
      ++returned;
      at = moved_.erase(at);
      continue;
    }
    ++at;
  }
}

void Balancer::order(const Move& move) {
  owners_.move(move.cell, {move.to});
  moved_[move.cell.packed()] = {round_, round_};
  moves_.push_back(move);
}

}  // namespace tidegate::balance
