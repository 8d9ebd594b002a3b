// SPDX-License-Identifier: Apache-2.0
// Decides which cells go to another shard, from what the shards measured. It moves as little as it
// can: only when the busiest shard has much more work than the idlest for several rounds, a few
// cells at a time, none that moved lately, and only such that make the busiest less busy than it
// was without making the other busier than that. A moved cell that stands empty goes back to the
// rule. Work is that of simulate and encode, shared out over a shard's cells by what was encoded of
// them. Sends do not count: they stay with the connections, and a tick's phases wait for each
// other, so that the slowest shard of the world's phases costs all the same time whoever sends
// much. Thread: control. Owner: server. Limits: Settings::cells away from the rule.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "mailbox/balance_messages.h"
#include "world/owner_map.h"

namespace tidegate::balance {

struct Settings {
  uint32_t shards = 1;
  uint32_t cells = 1024;       // that may be away from the rule
  double imbalance = 0.25;     // least part of the busiest shard's work that the idlest has less
  uint32_t work_ns = 500'000;  // of a tick; a shard that is less busy gives nothing
  uint32_t patience = 3;       // rounds of imbalance before something moves
  uint32_t moves = 8;          // cells of one round
  uint32_t hold = 30;          // rounds that a moved cell stays
};

struct Move {
  world::CellKey cell;
  uint16_t from = 0, to = 0;
  uint32_t entities = 0;
  uint32_t cost_ns = 0;             // share of a tick; 0: it goes back because it stands empty
  uint32_t from_ns = 0, to_ns = 0;  // work of both before it
};

// A shard's last report.
struct ShardView {
  mailbox::ShardLoad load{};
  std::vector<mailbox::CellLoad> cells;
  bool fresh = false;  // came since the last round
};

class Balancer {
 public:
  explicit Balancer(const Settings& settings);

  // One report. When every shard has reported since the last round, the round's moves, possibly
  // none; valid until the next call.
  std::span<const Move> on_report(uint32_t shard, const mailbox::ShardLoad& load,
                                  std::span<const mailbox::CellLoad> cells);

  std::span<const ShardView> shards() const { return shards_; }
  // As ordered and reported.
  base::ShardId owner(world::CellKey cell) const { return owners_.owner(cell); }
  uint32_t cells_away() const { return owners_.moved(); }
  uint64_t rounds() const { return round_; }
  // How much less work the idlest shard has than the busiest, percent of the busiest's.
  uint32_t spread() const { return spread_; }

 private:
  static constexpr uint32_t kSettleRounds = 2;  // behind a move; measured is what was before it
  static constexpr uint32_t kIdleRounds = 10;   // empty so long: back to the rule
  static constexpr uint32_t kReturnsMax = 16;   // of one round

  struct Moved {
    uint64_t round;       // in which it moved
    uint64_t seen_round;  // in which it was last reported
  };
  void decide();
  void even_out(uint32_t from, std::vector<double>& work);
  void return_idle();
  void order(const Move& move);
  static double weight(const mailbox::CellLoad& cell) { return cell.records + cell.entities / 8.0; }

  Settings settings_;
  world::OwnerMap owners_;
  std::vector<ShardView> shards_;
  std::vector<double> work_;                   // smoothed, ns of a tick
  std::unordered_map<uint32_t, Moved> moved_;  // by packed cell
  std::vector<Move> moves_;
  uint64_t round_ = 0;
  uint64_t settled_round_ = 0;  // before it nothing is decided
  uint32_t unbalanced_ = 0;     // rounds in a row
  uint32_t spread_ = 0;
};

}  // namespace tidegate::balance
