// SPDX-License-Identifier: Apache-2.0
// Cells change their owner between two ticks: orders come from control, the owner gives the cell
// behind its encode and says so to all before its FrameDone, the new owner takes it when it hears
// of it, and the next tick waits for everybody's MovesTaken. docs/decisions/0014-cell-moves.md.
#include "shard/balance.h"

#include <algorithm>
#include <cstring>

#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;

void Shard::on_move_cells(base::Bytes bytes) {
  base::Bytes tail;
  const auto order = read_message<mailbox::MoveCells>(bytes, &tail);
  TG_ASSERT(tail.size() == order.count * sizeof(mailbox::CellOrder));
  for (uint32_t i = 0; i < order.count; ++i) {
    if (balance_.order_count == BalanceState::kOrdersMax) return;
    mailbox::CellOrder cell;
    std::memcpy(&cell, tail.data() + i * sizeof cell, sizeof cell);
    balance_.orders[balance_.order_count++] = {cell, barrier_.tick() + config_.world.tick_rate};
  }
}

// Behind the encode of the tick. Returns how many cells went.
uint32_t Shard::give_cells() {
  const uint32_t tick = barrier_.tick();
  uint32_t given = 0;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < balance_.order_count; ++i) {
    const BalanceState::Order& order = balance_.orders[i];
    const world::CellKey key{order.cell.cell_x, order.cell.cell_z};
    const base::ShardId to{order.cell.to};
    if (outbox_.strained() || !slice_.may_give(key, to, tick)) {
      const bool ours = slice_.owners().owner(key).value == config_.index &&
                        to.value < config_.count && to.value != config_.index;
      if (ours && static_cast<int32_t>(tick - order.until) < 0) balance_.orders[kept++] = order;
      continue;
    }
    const base::Bytes bytes = slice_.give_cell(key, to, tick);
    mailbox::CellMoved moved{};
    moved.cell_x = key.x;
    moved.cell_z = key.z;
    moved.to = to.value;
    moved.tick = tick;
    moved.data = bytes.data();
    moved.bytes = bytes.size();
    for (uint32_t other = 0; other < config_.count; ++other) {
      if (other != config_.index) outbox_.post(other, moved);
    }
    ++given;
  }
  balance_.order_count = kept;
  if (given == 0) return 0;
  slice_.end_giving();
  balance_.cells_out += given;
  counters_.add(Counter::kCellsMoved, given);
  return given;
}

void Shard::on_cell_moved(base::Bytes bytes) {
  const auto moved = read_message<mailbox::CellMoved>(bytes);
  const world::CellKey key{moved.cell_x, moved.cell_z};
  if (moved.to != config_.index) {
    slice_.note_owner(key, {moved.to});
    return;
  }
  const base::Instant started = io_.now();
  // When there is no room the slice counts the entities as refused.
  (void)slice_.take_cell(key, {moved.data, moved.bytes}, moved.tick);
  ++balance_.cells_in;
  counters_.record(metrics::Timing::kCellTaken, io_.now() - started);
}

void Shard::taken(base::EntityId entity, std::string_view player_id, bool marked) {
  if (marked) bridge_.mark(entity);
  const world::EntitySlot s = slice_.entities().find(entity);
  if (slice_.entities().image(s).kind != world::EntityKind::kPlayer && !realm_.is_remote(s)) {
    return;  // has no home
  }
  outbox_.post(world::home_of(player_id, config_.count).value, mailbox::TransferNotice{entity},
               base::as_bytes(player_id));
}

// At the end of a tick.
void Shard::report_load() {
  using mailbox::CellLoad;
  if (config_.balance_ticks == 0) return;
  const uint32_t tick = barrier_.tick();
  if (tick % config_.balance_ticks != 0) return;
  mailbox::ShardLoad load{};
  load.tick = tick;
  load.entities = slice_.entities().count();
  load.entities_limit = slice_.entities().limit();
  load.others = slice_.entities().others();
  load.others_limit = slice_.others_limit();
  load.watchers = live_players_;
  load.cells_out = balance_.cells_out;
  load.cells_in = balance_.cells_in;
  balance_.meter.take(&load.world_ns, &load.flush_ns);
  uint32_t n = 0;
  slice_.read_loads([&](world::CellKey key, uint32_t members, uint32_t others, uint32_t work) {
    load.records += work;
    if (members + work == 0 || n == balance_.loads.size()) return;
    balance_.loads[n++] = CellLoad{key.x, key.z, members, others, work};
  });
  CellLoad* const cells = balance_.loads.data();
  const uint32_t sent = std::min(n, mailbox::kCellsReportedMax);
  const auto heavier = [](const CellLoad& a, const CellLoad& b) {
    return a.records + a.entities > b.records + b.entities;
  };
  if (sent < n) std::nth_element(cells, cells + sent, cells + n, heavier);
  // Lost when the ring is full: the next one says it again.
  (void)mailbox_.post(mailbox_.control(), load,
                      {reinterpret_cast<const uint8_t*>(cells), sent * sizeof(CellLoad)});
}

}  // namespace tidegate::shard
