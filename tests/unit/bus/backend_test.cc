// SPDX-License-Identifier: Apache-2.0
#include "bus/backend.h"

#include <gtest/gtest.h>

#include "memory_hub.h"
#include "wire/message_types.h"
#include "wire/pb.h"

namespace tidegate::bus {
namespace {

using base::milliseconds;
using mailbox::BusMail;
using mailbox::BusOp;

struct Sink final : BackendSink {
  void to_shard(const BusMail& mail, base::Bytes tail) override { to_shard(99, mail, tail); }
  void to_shard(uint32_t shard, const BusMail& mail, base::Bytes tail) override {
    items.push_back({shard, mail, std::string(base::as_text(tail))});
  }
  void publish(std::string_view topic, uint32_t type, bool ack, base::Bytes data) override {
    published.push_back(std::string(topic) + ':' + std::to_string(type) + (ack ? "!" : ".") +
                        std::string(base::as_text(data)));
  }
  struct Item {
    uint32_t shard;
    BusMail mail;
    std::string tail;
  };
  std::vector<Item> items;
  std::vector<std::string> published;
};

class Services : public ::testing::Test {
 protected:
  static BackendConfig config() {
    BackendConfig c;
    c.types = {{1000, 1099, Encoding::kProtobuf}, {1200, 1200, Encoding::kJson}};
    return c;
  }
  static std::vector<Subscription> ours() {
    std::vector<Subscription> s;
    Backend::add_subscriptions("main", "gate", &s);
    for (Subscription& x : s) {
      if (x.subject.ends_with(".*")) x.subject.back() = '>';
    }
    return s;
  }
  void call(uint32_t type, std::string_view payload) {
    BusMail mail;
    mail.op = BusOp::kServiceCall;
    mail.a = 0x7'0000'0003;
    mail.b = 12;
    mail.c = 0xabcdef;
    mail.d = type;
    mail.name_bytes = 3;
    std::string tail = "ann";
    tail += std::string("\x05\x00", 2) + "ann-1" + "chat admin";
    mail.extra_bytes = static_cast<uint16_t>(tail.size() - 3);
    tail += payload;
    backend_.on_call(2, mail, base::as_bytes(tail), now_, 1'700'000'000'123);
  }
  Delivery take() {
    Delivery d;
    EXPECT_TRUE(service_.poll(&d));
    return d;
  }
  void deliver() {
    Delivery d;
    while (port_.poll(&d)) EXPECT_TRUE(backend_.on_delivery(d, sink_));
  }
  void say(const std::string& subject, base::Bytes bytes) {
    service_.publish(subject, bytes, {}, {});
    deliver();
  }
  void say(const std::string& subject, std::string_view text) {
    say(subject, base::as_bytes(text));
  }

  MemoryHub hub_;
  MemoryHub::Port port_{hub_, ours()};
  MemoryHub::Port service_{hub_, {{"tidegate.main.in.>", {}}}};
  Backend backend_{config(), "main", "gate", port_};
  Sink sink_;
  base::Instant now_{1'000'000'000};
};

TEST(ServedTypes, AreReadAndRefused) {
  ServedTypes t;
  EXPECT_TRUE(parse_served("1000", &t));
  EXPECT_EQ(t.last, 1000U);
  EXPECT_TRUE(parse_served("json:1000-1099", &t));
  EXPECT_EQ(t.encoding, Encoding::kJson);
  EXPECT_EQ(t.last, 1099U);
  for (const char* bad : {"", "999", "1000-", "1100-1000", "x", "json:", "1000 ", "-1000"}) {
    EXPECT_FALSE(parse_served(bad, &t)) << bad;
  }
}

TEST_F(Services, ACallInProtobufSaysWhoAndIsAnswered) {
  call(1005, "hello");
  const Delivery d = take();
  EXPECT_EQ(d.subject, "tidegate.main.in.1005");
  wire::PbReader pb(d.bytes);
  std::vector<std::string> seen;
  while (pb.next()) {
    seen.push_back(
        std::to_string(pb.field()) + '=' +
        (pb.is(wire::WireType::kBytes) ? std::string(pb.text()) : std::to_string(pb.varint())));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"1=1", "2=1005", "3=gate", "4=0000000000abcdef",
                                            "5=ann", "6=ann-1", "7=chat", "7=admin", "8=12",
                                            "9=1700000000123", "10=hello"}));
  uint8_t room[64];
  wire::PbWriter out(room);
  out.text(2, "well");
  out.varint(3, 1006);
  out.text(4, "olleh");
  say(d.reply, out.written());
  ASSERT_EQ(sink_.items.size(), 1U);
  const Sink::Item& item = sink_.items[0];
  EXPECT_EQ(item.shard, 2U);
  EXPECT_EQ(item.mail.op, BusOp::kServiceAnswer);
  EXPECT_EQ(item.mail.a, 0x7'0000'0003U);
  EXPECT_EQ(item.mail.b, 12U);
  EXPECT_EQ(item.mail.c, 0U);
  EXPECT_EQ(item.mail.d, 1006U);
  EXPECT_EQ(item.mail.flags, 0);
  EXPECT_EQ(item.tail, "wellolleh");
  say(d.reply, out.written());
  EXPECT_EQ(sink_.items.size(), 1U) << "only the first answer counts";
}

TEST_F(Services, ACallInJson) {
  call(1200, "hi");
  const Delivery d = take();
  EXPECT_EQ(base::as_text(d.bytes),
            R"({"version":1,"type":1200,"gateway":"gate","session_id":"0000000000abcdef",)"
            R"("user_id":"ann","player_id":"ann-1","permissions":["chat","admin"],)"
            R"("sequence":12,"timestamp":1700000000123,"payload":"aGk="})");
  say(d.reply, R"({"code": 7, "message": "no", "other": [1]})");
  ASSERT_EQ(sink_.items.size(), 1U);
  EXPECT_EQ(sink_.items[0].mail.c, 7U);
  EXPECT_EQ(sink_.items[0].tail, "no");
}

TEST_F(Services, EveryWayToFailIsAnswered) {
  call(1005, "late");
  (void)take();
  backend_.turn(now_ + base::seconds(6), sink_);
  ASSERT_EQ(sink_.items.size(), 1U);
  EXPECT_EQ(sink_.items[0].mail.c, uint64_t{wire::kErrorHandlerTimeout});
  EXPECT_EQ(sink_.items[0].mail.flags, 1);

  call(1005, "nobody");
  Delivery d = take();
  Delivery none;
  none.subject = d.reply;
  none.no_responders = true;
  EXPECT_TRUE(backend_.on_delivery(none, sink_));
  EXPECT_EQ(sink_.items.back().mail.c, uint64_t{wire::kErrorUnknownType});

  call(1005, "rubbish");
  say(take().reply, "{\"code\": \"x\"}");
  EXPECT_EQ(sink_.items.back().mail.c, uint64_t{wire::kErrorHandlerFailed});

  call(1005, "a type of the protocol's own");
  say(take().reply, R"({"type": 13})");
  EXPECT_EQ(sink_.items.back().mail.c, uint64_t{wire::kErrorHandlerFailed});

  call(1500, "not served");
  backend_.turn(now_, sink_);
  EXPECT_EQ(sink_.items.back().mail.c, uint64_t{wire::kErrorUnknownType});

  port_.set_connected(false);
  call(1005, "no bus");
  backend_.turn(now_, sink_);
  EXPECT_EQ(sink_.items.back().mail.c, uint64_t{wire::kErrorRateLimited});
  EXPECT_EQ(backend_.next_deadline(), base::Instant::never());
}

TEST_F(Services, PushesGoToWhomTheyAreFor) {
  say("tidegate.main.out.user", R"({"to":"ann","type":1001,"payload":"aGk="})");
  say("tidegate.main.out.player", R"({"to":"ann-1","type":1001})");
  say("tidegate.main.out.player",
      R"({"to":"ann-1","type":1001,"requires_ack":true,"session_id":"00ff"})");
  say("tidegate.main.out.everyone", R"({"type":1002,"payload":"aGk="})");
  say("tidegate.main.out.topic",
      R"({"to":"room.x","type":3,"payload":"aGk=","requires_ack":true})");
  ASSERT_EQ(sink_.items.size(), 4U);
  EXPECT_EQ(sink_.items[0].mail.op, BusOp::kSendUser);
  EXPECT_EQ(sink_.items[0].tail, "annhi");
  EXPECT_EQ(sink_.items[1].mail.op, BusOp::kSendPlayer);
  EXPECT_EQ(sink_.items[2].mail.op, BusOp::kSendSession);
  EXPECT_EQ(sink_.items[2].mail.a, 0xffU);
  EXPECT_EQ(sink_.items[3].mail.op, BusOp::kSendEveryone);
  EXPECT_EQ(sink_.published, std::vector<std::string>{"room.x:3!hi"});
  EXPECT_EQ(backend_.figures().pushes, 5U);
}

TEST_F(Services, PushesThatAreNotAllowedAreCounted) {
  say("tidegate.main.out.user", R"({"to":"ann","type":13})");
  say("tidegate.main.out.user", R"({"type":1001})");
  say("tidegate.main.out.user", R"({"to":"ann","type":1001,"payload":"***"})");
  say("tidegate.main.out.user", "\xff\xff\xff");
  say("tidegate.main.out.topic", R"({"to":"room.*","type":3})");
  say("tidegate.main.out.everyone", R"({"type":1001,"requires_ack":true})");
  EXPECT_TRUE(sink_.items.empty());
  EXPECT_TRUE(sink_.published.empty());
  EXPECT_EQ(backend_.figures().refused, 6U);
}

}  // namespace
}  // namespace tidegate::bus
