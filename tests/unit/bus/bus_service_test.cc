// SPDX-License-Identifier: Apache-2.0
// Two services over a hub in memory, with shards that only write down what comes.
#include "bus/bus_service.h"

#include <gtest/gtest.h>

#include <cstring>

#include "bus/rendezvous.h"
#include "memory_hub.h"
#include "wire/message_types.h"

namespace tidegate::bus {
namespace {

using base::milliseconds;
using mailbox::BusMail;
using mailbox::BusOp;
using mailbox::MessageType;

struct Shards final : ShardPort {
  struct Item {
    uint32_t shard;
    BusMail mail;
    std::string tail;
  };
  bool post(uint32_t shard, MessageType type, base::Bytes bytes) override {
    if (full) return false;
    if (type == MessageType::kBusView) {
      ++views;
      members = (bytes.size() - sizeof(mailbox::BusView)) / sizeof(mailbox::BusMember);
      return true;
    }
    Item item{shard, {}, {}};
    std::memcpy(&item.mail, bytes.data(), sizeof(BusMail));
    item.tail = base::as_text(bytes.subspan(sizeof(BusMail)));
    if (item.mail.op == BusOp::kMark) {
      marks.push_back(item);
    } else {
      items.push_back(item);
    }
    return true;
  }
  std::vector<Item> items, marks;
  size_t members = 0;
  int views = 0;
  bool full = false;
};

class Gateway {
 public:
  Gateway(MemoryHub& hub, const std::string& name) : config_(make(name)) {
    port = std::make_unique<MemoryHub::Port>(hub, BusService::subscriptions(config_));
    service = std::make_unique<BusService>(config_, *port);
  }
  static BusConfig make(const std::string& name) {
    BusConfig c;
    c.gateway = name;
    c.shards = 2;
    c.player_home = [](std::string_view, uint32_t) -> uint32_t { return 1; };
    return c;
  }
  void turn(base::Instant now) {
    service->turn(now, now.ns / 1'000'000, shards);
    for (const auto& mark : std::exchange(shards.marks, {})) {
      if (mark.mail.d == 3) {
        settled += mark.shard == 0 ? 1 : 0;
        continue;
      }
      BusMail echo = mark.mail;
      echo.op = BusOp::kEcho;
      service->on_mail(mark.shard, echo, {});
    }
  }
  std::unique_ptr<MemoryHub::Port> port;
  std::unique_ptr<BusService> service;
  Shards shards;
  int settled = 0;

 private:
  BusConfig config_;
};

class Service : public ::testing::Test {
 protected:
  void run(base::Duration time) {
    for (const base::Instant end = now_ + time; now_ < end; now_ = now_ + milliseconds(10)) {
      a_.turn(now_);
      b_.turn(now_);
    }
  }
  static uint64_t index_of(const Gateway& at, const std::string& name) {
    return uint64_t{1} << at.service->membership().find(hash_text(name))->index;
  }
  static BusMail mail(BusOp op, uint64_t gateways, std::string_view name) {
    BusMail m;
    m.op = op;
    m.gateways = gateways;
    m.name_bytes = static_cast<uint16_t>(name.size());
    return m;
  }

  MemoryHub hub_;
  Gateway a_{hub_, "a"}, b_{hub_, "b"};
  base::Instant now_{1'000'000'000};
};

TEST_F(Service, MembersAreToldToTheShardsAndSettle) {
  run(milliseconds(600));
  EXPECT_EQ(a_.shards.members, 2U);
  EXPECT_EQ(b_.shards.members, 2U);
  EXPECT_GE(a_.settled, 1);
  EXPECT_EQ(a_.service->membership().stage(), Membership::Stage::kSettled);
  EXPECT_EQ(a_.service->figures().unsettled, 0U);
}

// Presence was wrong until it was said again, up to 10 s later.
TEST_F(Service, WhatIsLostOnTheWayIsNoticedWithTheNextHeartbeat) {
  run(milliseconds(1000));
  const auto missed = [](const Gateway& g) {
    size_t count = 0;
    for (const auto& item : g.shards.items) count += item.mail.op == BusOp::kMissed ? 1 : 0;
    return count;
  };
  for (const bool to_all : {false, true}) {
    a_.shards.items.clear();
    b_.shards.items.clear();
    b_.port->lose(1);
    const uint64_t to = to_all ? mailbox::kAllGateways : index_of(a_, "b");
    a_.service->on_mail(0, mail(BusOp::kPresenceState, to, "ann"), base::as_bytes("ann"));
    run(milliseconds(250));
    EXPECT_EQ(missed(b_), 2U) << "each shard";
    EXPECT_EQ(missed(a_), 2U);
    ASSERT_FALSE(b_.shards.items.empty());
    EXPECT_EQ(b_.shards.items[0].mail.gateways, index_of(b_, "a"));
    EXPECT_EQ(a_.shards.items[0].mail.gateways, index_of(a_, "b"));
    run(milliseconds(1000));
    EXPECT_EQ(missed(b_), 2U) << "once";
    EXPECT_EQ(missed(a_), 2U);
  }
  EXPECT_EQ(a_.service->figures().views, 2U) << "nobody's epoch rises for that";
  // Again and again: not more often than that shows something new.
  a_.shards.items.clear();
  for (int i = 0; i < 20; ++i) {
    b_.port->lose(1);
    a_.service->on_mail(0, mail(BusOp::kPresenceState, index_of(a_, "b"), "ann"),
                        base::as_bytes("ann"));
    run(milliseconds(200));
  }
  EXPECT_GE(missed(a_), 10U);
  EXPECT_LE(missed(a_), 18U) << "each shard, in 4 s";
  EXPECT_GE(b_.service->figures().missed, 15U);
}

TEST_F(Service, MailGoesToTheShardOfTheName) {
  run(milliseconds(600));
  a_.service->on_mail(0, mail(BusOp::kSendPlayer, mailbox::kAllGateways, "ann"),
                      base::as_bytes("annhello"));
  a_.service->on_mail(0, mail(BusOp::kSendEveryone, mailbox::kAllGateways, ""),
                      base::as_bytes("all"));
  run(milliseconds(30));
  ASSERT_EQ(b_.shards.items.size(), 3U);
  EXPECT_EQ(b_.shards.items[0].shard, 1U);
  EXPECT_EQ(b_.shards.items[0].tail, "annhello");
  EXPECT_EQ(b_.shards.items[0].mail.gateways, index_of(b_, "a"));
  EXPECT_EQ(b_.shards.items[1].shard, 0U);
  EXPECT_EQ(b_.shards.items[2].shard, 1U);
  EXPECT_TRUE(a_.shards.items.empty()) << "nothing comes back to who said it";
}

TEST_F(Service, APublishIsAnsweredToItsConnectionAlsoWhenNobodyAnswers) {
  run(milliseconds(600));
  BusMail publish = mail(BusOp::kTopicPublish, index_of(a_, "b"), "room.x");
  publish.a = 0x1'0000'0007;
  publish.b = 9;
  publish.shard = 1;
  a_.service->on_mail(0, publish, base::as_bytes("room.x"));
  run(milliseconds(30));
  ASSERT_EQ(b_.shards.items.size(), 1U);
  BusMail answer = mail(BusOp::kTopicPublished, b_.shards.items[0].mail.gateways, "");
  answer.a = b_.shards.items[0].mail.a;
  answer.c = 5;
  EXPECT_NE(answer.a, publish.a) << "a number of the gateway, no connection";
  b_.service->on_mail(0, answer, {});
  b_.service->on_mail(0, answer, {});  // twice
  run(milliseconds(30));
  ASSERT_EQ(a_.shards.items.size(), 1U);
  EXPECT_EQ(a_.shards.items[0].mail.op, BusOp::kTopicPublished);
  EXPECT_EQ(a_.shards.items[0].mail.a, publish.a);
  EXPECT_EQ(a_.shards.items[0].mail.b, 9U);
  EXPECT_EQ(a_.shards.items[0].mail.shard, 1U);
  EXPECT_EQ(a_.shards.items[0].mail.c, 5U);

  a_.shards.items.clear();
  publish.b = 10;
  a_.service->on_mail(0, publish, base::as_bytes("room.x"));
  run(base::seconds(3));
  ASSERT_EQ(a_.shards.items.size(), 1U);
  EXPECT_EQ(a_.shards.items[0].mail.b, 10U);
  EXPECT_EQ(a_.shards.items[0].mail.d, uint32_t{wire::kErrorHandlerTimeout});
  EXPECT_EQ(a_.service->figures().timeouts, 1U);
  EXPECT_EQ(a_.service->figures().requests, 0U);
}

TEST_F(Service, WhatIsForNobodyFailsAtOnce) {
  run(milliseconds(600));
  BusMail pull = mail(BusOp::kTopicPull, uint64_t{1} << 40, "room.x");
  pull.a = 3;
  pull.b = 0x5'0000'0006;
  pull.d = 2;
  a_.service->on_mail(0, pull, base::as_bytes("room.x"));
  run(milliseconds(20));
  ASSERT_EQ(a_.shards.items.size(), 1U);
  EXPECT_EQ(a_.shards.items[0].mail.op, BusOp::kTopicPiece);
  EXPECT_EQ(a_.shards.items[0].mail.flags, 0) << "not done: it is asked again";
  EXPECT_EQ(a_.shards.items[0].mail.a, 3U);
  EXPECT_EQ(a_.shards.items[0].mail.d, 2U);
}

TEST_F(Service, AfterABreakTheEpochRisesAndAllIsSaidAnew) {
  run(milliseconds(600));
  const uint64_t view = b_.service->membership().view();
  a_.port->set_connected(false);
  run(milliseconds(300));
  a_.port->set_connected(true);
  run(milliseconds(600));
  EXPECT_NE(b_.service->membership().view(), view);
  EXPECT_EQ(b_.service->membership().view(), a_.service->membership().view());
  EXPECT_EQ(b_.service->membership().stage(), Membership::Stage::kSettled);
}

TEST_F(Service, WithoutAConnectionItIsAloneAndSettled) {
  run(milliseconds(600));
  a_.port->set_connected(false);
  run(base::seconds(3));
  EXPECT_EQ(a_.shards.members, 1U);
  EXPECT_EQ(a_.service->membership().stage(), Membership::Stage::kSettled);
  EXPECT_EQ(b_.shards.members, 1U);
}

TEST_F(Service, AFullRingMakesItWaitAndABoundMakesItDrop) {
  run(milliseconds(600));
  b_.shards.full = true;
  const std::string big(64 << 10, 'x');
  for (int i = 0; i < 100; ++i) {
    BusMail m = mail(BusOp::kSendPlayer, mailbox::kAllGateways, "ann");
    m.d = static_cast<uint32_t>(i);
    a_.service->on_mail(0, m, base::as_bytes("ann" + big));
  }
  run(milliseconds(50));
  EXPECT_LE(b_.service->figures().backlog_bytes, BusService::kBacklogBytes + (1 << 20));
  EXPECT_GT(b_.service->figures().dropped, 0U);
  b_.shards.full = false;
  run(milliseconds(50));
  ASSERT_GT(b_.shards.items.size(), 50U);
  for (size_t i = 0; i < b_.shards.items.size(); ++i) EXPECT_EQ(b_.shards.items[i].mail.d, i);
  EXPECT_EQ(b_.service->figures().backlog_bytes, 0U);
}

TEST_F(Service, WhoLeavesIsGoneAtOnce) {
  run(milliseconds(600));
  b_.service->leave();
  b_.port->set_connected(false);
  a_.turn(now_ + milliseconds(10));
  EXPECT_EQ(a_.shards.members, 1U);
}

TEST_F(Service, RubbishIsCountedAndNothingElse) {
  run(milliseconds(600));
  a_.port->publish("tidegate.main.gateways", base::as_bytes("what is this"), {}, {});
  std::vector<uint8_t> frame = write_head(FrameKind::kMail, 1, "a");
  BusMail evil = mail(BusOp::kSendPlayer, 0, "ann");
  evil.shard = 77;
  append_mail(evil, &frame);
  a_.port->publish("tidegate.main.gateway.b", frame, base::as_bytes("ann"), {});
  evil.op = BusOp::kMark;
  frame = write_head(FrameKind::kMail, 1, "a");
  append_mail(evil, &frame);
  a_.port->publish("tidegate.main.gateway.b", frame, base::as_bytes("ann"), {});
  run(milliseconds(30));
  EXPECT_GE(b_.service->figures().refused, 3U);
  EXPECT_TRUE(b_.shards.items.empty());
}

}  // namespace
}  // namespace tidegate::bus
