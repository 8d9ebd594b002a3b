// SPDX-License-Identifier: Apache-2.0
#include "control/balance_service.h"

#include <cstdio>
#include <cstring>
#include <vector>

#include "base/log.h"
#include "control/json_writer.h"

namespace tidegate::control {

using mailbox::CellLoad;
using metrics::Counter;
using metrics::Gauge;

BalanceService::BalanceService(const balance::Settings& settings, metrics::Counters& counters)
    : shard_count_(settings.shards), counters_(counters), balancer_(settings) {}

void BalanceService::on_load(mailbox::AgentId from, base::Bytes bytes, mailbox::Mailbox& mailbox) {
  base::Bytes tail;
  const auto load = mailbox::read_message<mailbox::ShardLoad>(bytes, &tail);
  TG_ASSERT(tail.size() % sizeof(CellLoad) == 0);
  std::vector<CellLoad> cells(tail.size() / sizeof(CellLoad));
  if (!cells.empty()) std::memcpy(cells.data(), tail.data(), tail.size());
  const std::lock_guard lock(mutex_);
  for (const balance::Move& move : balancer_.on_report(from, load, cells)) post(move, mailbox);
  counters_.set(Gauge::kCellsAway, balancer_.cells_away());
  counters_.set(Gauge::kLoadSpread, balancer_.spread());
}

void BalanceService::post(const balance::Move& move, mailbox::Mailbox& mailbox) {
  const mailbox::CellOrder order{move.cell.x, move.cell.z, move.to};
  // A full ring: the shard goes on reporting the cell, and the balancer sees that it stayed.
  (void)mailbox.post(move.from, mailbox::MoveCells{1},
                     {reinterpret_cast<const uint8_t*>(&order), sizeof order});
  counters_.add(Counter::kCellsOrdered, 1);
  ++orders_;
  char text[200];
  if (move.cost_ns == 0) {
    std::snprintf(text, sizeof text,
                  "balance: cell %d,%d is empty and goes from shard %u back to %u", move.cell.x,
                  move.cell.z, move.from, move.to);
  } else {
    std::snprintf(
        text, sizeof text,
        "balance: cell %d,%d with %u entities goes from shard %u to %u: %.2f of %.2f ms a "
        "tick, to %.2f ms",
        move.cell.x, move.cell.z, move.entities, move.from, move.to, move.cost_ns * 1e-6,
        move.from_ns * 1e-6, move.to_ns * 1e-6);
  }
  base::log(base::LogLevel::kInfo, text);
}

std::string BalanceService::json() {
  const std::lock_guard lock(mutex_);
  JsonWriter json;
  json.begin_object();
  json.key("rounds").unsigned_integer(balancer_.rounds());
  json.key("orders").unsigned_integer(orders_);
  json.key("cells_away").unsigned_integer(balancer_.cells_away());
  json.key("spread_percent").unsigned_integer(balancer_.spread());
  json.key("shards").begin_array();
  for (uint32_t s = 0; s < shard_count_; ++s) {
    const mailbox::ShardLoad& load = balancer_.shards()[s].load;
    json.begin_object();
    json.key("shard").unsigned_integer(s);
    json.key("entities").unsigned_integer(load.entities);
    json.key("watchers").unsigned_integer(load.watchers);
    json.key("world_us").number(load.world_ns * 1e-3);
    json.key("flush_us").number(load.flush_ns * 1e-3);
    json.key("records").unsigned_integer(load.records);
    json.key("cells_given").unsigned_integer(load.cells_out);
    json.key("cells_taken").unsigned_integer(load.cells_in);
    json.end_object();
  }
  json.end_array();
  json.key("cells").begin_array();
  for (uint32_t s = 0; s < shard_count_; ++s) {
    for (const CellLoad& cell : balancer_.shards()[s].cells) {
      json.begin_object();
      json.key("x").integer(cell.cell_x);
      json.key("z").integer(cell.cell_z);
      json.key("shard").unsigned_integer(s);
      json.key("entities").unsigned_integer(cell.entities);
      json.key("records").unsigned_integer(cell.records);
      json.end_object();
    }
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace tidegate::control
