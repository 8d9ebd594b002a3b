// SPDX-License-Identifier: Apache-2.0
// The shard's side of cells that change their owner: orders that wait to be carried out, and the
// measured load that the balancer (control) decides by. balance.cc has the messages.
// Thread: shard. Owner: Shard. Limits: kOrdersMax orders; kCellsReportedMax cells in a report.
#pragma once

#include <array>
#include <cstdint>

#include "mailbox/balance_messages.h"
#include "mem/mapped_array.h"
#include "shard/load_meter.h"

namespace tidegate::shard {

struct BalanceState {
  static constexpr uint32_t kOrdersMax = 64;

  explicit BalanceState(uint32_t cells) : loads(cells) {}

  struct Order {
    mailbox::CellOrder cell;
    uint32_t until;  // tick; then it is forgotten
  };
  std::array<Order, kOrdersMax> orders;
  uint32_t order_count = 0;
  LoadMeter meter;
  mem::MappedArray<mailbox::CellLoad> loads;  // of one report; empty when none are made
  uint32_t cells_out = 0, cells_in = 0;
};

}  // namespace tidegate::shard
