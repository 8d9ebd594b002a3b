// SPDX-License-Identifier: Apache-2.0
// Reports come in as shards send them, orders go out to the owner, and the admin API shows both.
#include "control/balance_service.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace tidegate::control {
namespace {

struct NoWakes final : mailbox::WakeSink {
  void wake_agent(mailbox::AgentId) override {}
};

class BalanceServiceTest : public ::testing::Test {
 protected:
  static balance::Settings settings() {
    balance::Settings s;
    s.shards = 2;
    s.patience = 1;
    return s;
  }
  void report(uint32_t shard, uint32_t world_ns, const std::vector<mailbox::CellLoad>& cells) {
    mailbox::ShardLoad load{};
    load.tick = ++tick;
    load.entities_limit = 1000;
    load.world_ns = world_ns;
    std::vector<uint8_t> bytes(sizeof load + cells.size() * sizeof(mailbox::CellLoad));
    std::memcpy(bytes.data(), &load, sizeof load);
    if (!cells.empty()) {
      std::memcpy(bytes.data() + sizeof load, cells.data(),
                  cells.size() * sizeof(mailbox::CellLoad));
    }
    service.on_load(shard, bytes, control);
    control.publish_all(wakes);
  }

  mailbox::Fabric fabric{{.shards = 2, .shard_ring_bytes = 4096, .control_ring_bytes = 4096}};
  mailbox::Mailbox control{fabric, fabric.control()};
  metrics::Counters counters;
  BalanceService service{settings(), counters};
  NoWakes wakes;
  uint32_t tick = 0;
};

TEST_F(BalanceServiceTest, OrdersGoToTheOwnerAndAreShown) {
  const std::vector<mailbox::CellLoad> cells = {
      {0, 0, 50, 0, 900}, {1, 0, 50, 0, 900}, {5, -3, 50, 0, 900}};
  report(0, 3'000'000, cells);
  EXPECT_EQ(counters.get(metrics::Counter::kCellsOrdered), 0u) << "the other one is not heard yet";
  report(1, 0, {});
  uint32_t orders = 0;
  mailbox::Mailbox owner(fabric, 0);
  owner.drain(100, [&](mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes) {
    EXPECT_EQ(from, fabric.control());
    ASSERT_EQ(type, mailbox::MessageType::kMoveCells);
    base::Bytes tail;
    EXPECT_EQ(mailbox::read_message<mailbox::MoveCells>(bytes, &tail).count, 1u);
    mailbox::CellOrder order;
    ASSERT_EQ(tail.size(), sizeof order);
    std::memcpy(&order, tail.data(), sizeof order);
    EXPECT_EQ(order.to, 1u);
    ++orders;
  });
  EXPECT_GE(orders, 1u);
  EXPECT_EQ(counters.get(metrics::Counter::kCellsOrdered), orders);
  EXPECT_EQ(counters.get(metrics::Gauge::kLoadSpread), 100u);
  const std::string json = service.json();
  EXPECT_NE(json.find(R"("orders":)" + std::to_string(orders)), std::string::npos) << json;
  EXPECT_NE(json.find(R"({"x":5,"z":-3,"shard":0,"entities":50,"records":900})"), std::string::npos)
      << json;
  EXPECT_NE(json.find(R"("world_us":3000)"), std::string::npos) << json;
}

}  // namespace
}  // namespace tidegate::control
