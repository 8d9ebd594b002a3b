// SPDX-License-Identifier: Apache-2.0
// JSON-RPC 2.0: the examples of its specification, every error, and messages both ways.
#include "protocol/json_rpc.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "wire/messages.h"

namespace tidegate::protocol {
namespace {

using wire::Envelope;
using wire::MessageType;

constexpr uint64_t kToken = 1'000'000;

struct Seen {
  std::string id;
  int32_t error;
  std::string details;
  uint32_t type;
  uint64_t sequence;
  uint64_t ack;
  bool requires_ack;
  std::string payload;
};

class JsonRpc : public testing::Test {
 protected:
  std::vector<Seen> read(std::string_view text) {
    std::vector<Seen> all;
    RpcCall call;
    form_ = reader_.begin(base::as_bytes(text), &call);
    if (form_ == JsonRpcReader::Form::kRefused) {
      all.push_back(seen(call));
      EXPECT_FALSE(reader_.next(kToken, &call));
      return all;
    }
    while (reader_.next(kToken, &call)) all.push_back(seen(call));
    return all;
  }
  Seen one(std::string_view text) {
    const auto all = read(text);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Seen{} : all.front();
  }
  static Seen seen(const RpcCall& call) {
    Seen s{std::string(call.id), call.error, std::string(call.details), call.type, 0, 0, false, {}};
    if (call.error != 0) return s;
    Envelope m;
    EXPECT_TRUE(wire::decode_envelope(call.frame, &m));
    EXPECT_EQ(m.type, call.type);
    EXPECT_EQ(m.sequence, call.sequence);
    s.sequence = m.sequence;
    s.ack = m.ack;
    s.requires_ack = m.requires_ack;
    s.payload = std::string(base::as_text(m.payload));
    return s;
  }

  JsonRpcReader reader_{8192};
  JsonRpcReader::Form form_ = JsonRpcReader::Form::kRefused;
};

TEST_F(JsonRpc, ARequestBecomesANetworkMessage) {
  const Seen s = one(R"({"jsonrpc":"2.0","id":7,"method":"playerMove",
      "params":{"position":{"x":1.5,"y":0,"z":-2},"client_tick":3,"clientTime":"12"}})");
  ASSERT_EQ(s.error, 0) << s.details;
  EXPECT_EQ(s.id, "7");
  EXPECT_EQ(s.type, static_cast<uint32_t>(MessageType::kPlayerMove));
  EXPECT_EQ(s.sequence, kToken);
  EXPECT_FALSE(s.requires_ack);
  wire::PlayerMovement move;
  ASSERT_TRUE(wire::decode(base::as_bytes(s.payload), &move));
  EXPECT_EQ(move.position.x, 1.5F);
  EXPECT_EQ(move.position.z, -2.0F);
  EXPECT_EQ(move.client_tick, 3u);
  EXPECT_EQ(move.client_time, 12);
  EXPECT_FALSE(move.has_rotation);
}

TEST_F(JsonRpc, ANotificationHasNoIdAndNoNumber) {
  const Seen s = one(R"({"jsonrpc":"2.0","method":"subscribe","params":{"topic":"room.1"}})");
  ASSERT_EQ(s.error, 0);
  EXPECT_EQ(s.id, "");
  EXPECT_EQ(s.sequence, 0u);
}

TEST_F(JsonRpc, ParamsMayBeLeftOut) {
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"timeSync"})").error, 0);
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"ack"})").payload, "");
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"heartbeat"})").payload, "");
}

TEST_F(JsonRpc, SeqAndAckStandAmongTheParamsOrBesideThem) {
  for (
      const char* text :
      {R"({"jsonrpc":"2.0","id":1,"method":"playerMove","params":{"clientTick":1,"seq":5,"ack":9}})",
       R"({"jsonrpc":"2.0","id":1,"method":"playerMove","params":{"clientTick":1},"seq":5,"ack":"9"})",
       R"({"jsonrpc":"2.0","seq":5,"id":1,"method":"playerMove","params":{"clientTick":1,"ack":9}})"}) {
    const Seen s = one(text);
    ASSERT_EQ(s.error, 0) << s.details;
    EXPECT_EQ(s.sequence, 5u);
    EXPECT_EQ(s.ack, 9u);
    EXPECT_TRUE(s.requires_ack);
    wire::PlayerMovement move;
    ASSERT_TRUE(wire::decode(base::as_bytes(s.payload), &move));
    EXPECT_EQ(move.client_tick, 1u);
  }
  for (const char* seq : {"0", "-1", "\"x\"", "1.5", "null", "[]"}) {
    const Seen s = one(R"({"jsonrpc":"2.0","id":1,"method":"playerMove","params":{"seq":)" +
                       std::string(seq) + "}}");
    EXPECT_EQ(s.error, kRpcParams) << seq;
  }
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"ack","params":{"seq":1},"seq":2})").error,
            kRpcParams);
}

TEST_F(JsonRpc, OpaquePayloadsAreBase64) {
  Seen s = one(R"({"jsonrpc":"2.0","id":1,"method":"heartbeat","params":{"payload":"aGk="}})");
  ASSERT_EQ(s.error, 0);
  EXPECT_EQ(s.payload, "hi");
  s = one(R"({"jsonrpc":"2.0","id":1,"method":"chatMessage","params":{"payload":"aGk","seq":2}})");
  ASSERT_EQ(s.error, 0);
  EXPECT_EQ(s.type, 403u);
  EXPECT_EQ(s.payload, "hi");
  EXPECT_EQ(s.sequence, 2u);
  s = one(R"({"jsonrpc":"2.0","id":1,"method":"custom","params":{"type":1234,"payload":"aGk="}})");
  ASSERT_EQ(s.error, 0);
  EXPECT_EQ(s.type, 1234u);
  EXPECT_EQ(s.payload, "hi");
  for (const char* params :
       {R"({"type":999})", R"({})", R"({"type":"x"})", R"({"type":1000,"payload":1})",
        R"({"type":1000,"payload":"a"})", R"({"type":1000,"data":"aGk="})"}) {
    s = one(R"({"jsonrpc":"2.0","id":1,"method":"custom","params":)" + std::string(params) + "}");
    EXPECT_EQ(s.error, kRpcParams) << params;
  }
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"heartbeat","params":{"type":1}})").error,
            kRpcParams);
}

TEST_F(JsonRpc, IdsAreEchoedAsTheyAre) {
  const auto id = [this](const std::string& text) {
    return one(R"({"jsonrpc":"2.0","method":"ack","id":)" + text + "}");
  };
  EXPECT_EQ(id("\"a\\\"b\\u20ac\"").id, "\"a\\\"b\xe2\x82\xac\"");
  EXPECT_EQ(id("-5").id, "-5");
  EXPECT_EQ(id("18446744073709551615").id, "18446744073709551615");
  EXPECT_EQ(id("1.5").id, "1.5");
  EXPECT_EQ(id("null").id, "null");
  EXPECT_EQ(id('"' + std::string(62, 'x') + '"').error, 0);
  for (const std::string& wrong : {std::string("true"), std::string("[1]"), std::string("{}"),
                                   '"' + std::string(63, 'x') + '"'}) {
    EXPECT_EQ(id(wrong).error, kRpcRequest) << wrong;
    EXPECT_EQ(id(wrong).id, "null");
    // A good one before it is gone: its place was written over.
    EXPECT_EQ(id("\"12345678\",\"id\":" + wrong).id, "null") << wrong;
  }
}

TEST_F(JsonRpc, WhatIsNoJsonIsAParseError) {
  for (const char* text : {"", " ", "{", "nul", R"({"jsonrpc": "2.0", "method": "foobar, "params")",
                           "{}{}", "[1,]", "{\"a\":NaN}", "\xff", "\"\xed\xa0\x80\""}) {
    const Seen s = one(text);
    EXPECT_EQ(form_, JsonRpcReader::Form::kRefused) << text;
    EXPECT_EQ(s.error, kRpcParse) << text;
    EXPECT_EQ(s.id, "null");
    EXPECT_FALSE(s.details.empty());
  }
}

TEST_F(JsonRpc, WhatIsNoRequestIsRefusedWithItsIdOrNull) {
  EXPECT_EQ(one("1").error, kRpcRequest);
  EXPECT_EQ(one(R"({"foo":"boo"})").error, kRpcRequest);
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","method":1,"params":"bar"})").error, kRpcRequest);
  EXPECT_EQ(one(R"({"jsonrpc":"1.0","id":4,"method":"ack"})").error, kRpcRequest);
  EXPECT_EQ(one(R"({"jsonrpc":"1.0","id":4,"method":"ack"})").id, "4");
  EXPECT_EQ(one(R"({"id":4,"method":"ack"})").error, kRpcRequest);
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":4,"method":"ack","params":3})").error, kRpcRequest);
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":4})").error, kRpcRequest);
}

TEST_F(JsonRpc, UnknownMethodsAndParams) {
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"foobar"})").error, kRpcMethod);
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"PLAYER_MOVE"})").error, kRpcMethod);
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"playerMove","params":[1]})").error,
            kRpcParams);
  const Seen s = one(R"({"jsonrpc":"2.0","id":1,"method":"playerMove","params":{"position":3}})");
  EXPECT_EQ(s.error, kRpcParams);
  EXPECT_EQ(s.details, "position: an object is expected");
}

TEST_F(JsonRpc, Batches) {
  auto all = read(R"([{"jsonrpc":"2.0","id":"1","method":"timeSync"}, 1,
      {"jsonrpc":"2.0","method":"ack"}, {"foo":"boo"}, {"jsonrpc":"2.0","id":"5","method":"x"}])");
  EXPECT_EQ(form_, JsonRpcReader::Form::kBatch);
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[0].id, "\"1\"");
  EXPECT_EQ(all[0].error, 0);
  EXPECT_EQ(all[1].error, kRpcRequest);
  EXPECT_EQ(all[1].id, "null");
  EXPECT_EQ(all[2].error, 0);
  EXPECT_EQ(all[2].id, "");
  EXPECT_EQ(all[3].error, kRpcRequest);
  EXPECT_EQ(all[4].error, kRpcMethod);

  EXPECT_EQ(one("[]").error, kRpcRequest);
  std::string many = "[1";
  for (uint32_t i = 1; i < kRpcBatchMax; ++i) many += ",1";
  EXPECT_EQ(read(many + "]").size(), kRpcBatchMax);
  EXPECT_EQ(one(many + ",1]").error, kRpcRequest);
}

TEST_F(JsonRpc, DepthAndSizeAreLimited) {
  const auto nested = [this](size_t depth) {
    return one(std::string(depth, '[') + "1" + std::string(depth, ']'));
  };
  EXPECT_EQ(nested(kRpcDepthMax).details, "a request is an object");
  EXPECT_EQ(nested(kRpcDepthMax + 1).details, "nested too deeply");
  EXPECT_EQ(nested(4000).error, kRpcRequest);
  EXPECT_EQ(one(std::string(8193, ' ')).error, kRpcRequest);
  EXPECT_EQ(one(std::string(8192 - 2, ' ') + "{}").error, kRpcRequest);
  // Ten bytes of protobuf for three of JSON: more than the frame's room.
  std::string list = "-1";
  while (list.size() < 8000) list += ",-1";
  EXPECT_EQ(one(R"({"jsonrpc":"2.0","id":1,"method":"clientHello","params":{"compression":[)" +
                list + "]}}")
                .error,
            kRpcParams);
}

std::string written(auto&& write) {
  static uint8_t room[4096];
  wire::JsonText out(room);
  write(out);
  EXPECT_FALSE(out.overflow());
  return std::string(out.text());
}

TEST(JsonRpcWriters, NotificationsCarryPayloadSeqAndAck) {
  uint8_t room[256];
  wire::PbWriter payload(room);
  wire::MoveAck ack;
  ack.client_tick = 3;
  ack.corrected = true;
  wire::encode(payload, ack);
  Envelope m;
  m.type = static_cast<uint32_t>(MessageType::kMoveAck);
  m.payload = payload.written();
  const std::string text = written([&](wire::JsonText& out) { write_notification(out, m); });
  EXPECT_EQ(text.find(R"({"jsonrpc":"2.0","method":"moveAck","params":{"clientTick":3,)"), 0u);
  EXPECT_NE(text.find(R"("corrected":true})"), std::string::npos);
  m = Envelope{};
  m.type = static_cast<uint32_t>(MessageType::kAck);
  m.ack = 12;
  EXPECT_EQ(written([&](wire::JsonText& out) { write_notification(out, m); }),
            R"({"jsonrpc":"2.0","method":"ack","params":{"ack":12}})");
  m = Envelope{};
  m.type = 1234;
  m.sequence = 4;
  m.payload = base::as_bytes("hi");
  EXPECT_EQ(
      written([&](wire::JsonText& out) { write_notification(out, m); }),
      R"({"jsonrpc":"2.0","method":"custom","params":{"type":1234,"payload":"aGk=","seq":4}})");
}

TEST(JsonRpcWriters, ResultsAndErrors) {
  Envelope pong;
  pong.type = static_cast<uint32_t>(MessageType::kPong);
  pong.payload = base::as_bytes("hi");
  pong.ack = 2;
  EXPECT_EQ(written([&](wire::JsonText& out) { write_result(out, "1", pong); }),
            R"({"jsonrpc":"2.0","id":1,"result":{"payload":"aGk=","ack":2}})");
  uint8_t room[64];
  wire::PbWriter reply(room);
  reply.varint(1, kToken);
  reply.text(3, "done");
  Envelope done;
  done.type = static_cast<uint32_t>(MessageType::kReply);
  done.payload = reply.written();
  EXPECT_EQ(written([&](wire::JsonText& out) { write_result(out, "\"a\"", done); }),
            R"({"jsonrpc":"2.0","id":"a","result":{"message":"done"}})");
  EXPECT_EQ(written([&](wire::JsonText& out) { write_taken(out, "null"); }),
            R"({"jsonrpc":"2.0","id":null,"result":{}})");
  EXPECT_EQ(written([&](wire::JsonText& out) {
              write_error(out, "3", {4005, 4005, {}, "not yours", true, 8});
            }),
            R"({"jsonrpc":"2.0","id":3,"error":{"code":4005,"message":"not permitted",)"
            R"("data":{"code":4005,"details":"not yours","fatal":true,"ack":8}}})");
  EXPECT_EQ(written([&](wire::JsonText& out) {
              write_error(out, "", {kRpcParse, 4002, {}, {}, false, 0});
            }),
            R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error",)"
            R"("data":{"code":4002}}})");
}

TEST(JsonRpcWriters, CodesOfTheSpecificationWinWhereThereAreSome) {
  EXPECT_EQ(rpc_code_of(4003, Naming::kByName), kRpcParams);
  EXPECT_EQ(rpc_code_of(4004, Naming::kByName), kRpcMethod);
  EXPECT_EQ(rpc_code_of(4004, Naming::kByNumber), 4004);
  for (const int32_t code : {4000, 4001, 4002, 4005, 4006, 4007, 4008, 4009, 4010, 4012, 4017}) {
    EXPECT_EQ(rpc_code_of(static_cast<uint32_t>(code), Naming::kByName), code);
  }
  EXPECT_EQ(code_of_rpc(kRpcParse), 4002u);
  EXPECT_EQ(code_of_rpc(kRpcMethod), 4004u);
  EXPECT_EQ(code_of_rpc(kRpcParams), 4003u);
}

}  // namespace
}  // namespace tidegate::protocol
