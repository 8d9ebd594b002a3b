// SPDX-License-Identifier: Apache-2.0
// An embedder's handlers with a client of the JSON-RPC subprotocol: custom types both ways, answers
// as results and errors, failures, batches, and messages between clients of both subprotocols.
#include <gtest/gtest.h>

#include "live_server.h"
#include "text_client.h"
#include "wire/json_text.h"

namespace tidegate::embed_test {
namespace {

class JsonHandlers : public LiveServer {};

std::string call(int id, const std::string& type_and_payload) {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) +
         R"(,"method":"custom","params":{"type":)" + type_and_payload + "}}";
}

TEST_F(JsonHandlers, CustomTypesAreServedAndAnswered) {
  add(1000, "echo", [](Context& c, const Message& m) {
    EXPECT_EQ(m.sequence, 0u);  // what tells answers apart is not the client's number
    c.reply(1001, m.payload);
    return Outcome::kOk;
  });
  add(1002, "answers", [](Context& c, const Message& m) {
    c.answer(m.payload.size == 0 ? 0 : 4711, "so be it");
    return Outcome::kOk;
  });
  add(1003, "fails", [](Context&, const Message&) { return Outcome::kFailed; });
  add(1004, "refuses", [](Context&, const Message&) { return Outcome::kInvalid; });
  add(403, "chat", [](Context& c, const Message& m) {
    c.reply(403, m.payload);
    return Outcome::kOk;
  });
  start();
  TextClient client(server->port(), "ann");
  ASSERT_TRUE(client.opened());
  EXPECT_NE(client.next("authenticationResult"), "");
  client.send(call(1, R"(1000,"payload":"aGVsbG8=")"));
  EXPECT_EQ(client.next("1001"),
            R"({"jsonrpc":"2.0","method":"custom","params":{"type":1001,"payload":"aGVsbG8="}})");
  EXPECT_EQ(client.next("\"id\":1"), R"({"jsonrpc":"2.0","id":1,"result":{}})");
  client.send(call(2, "1002"));
  EXPECT_EQ(client.next("\"id\":2"), R"({"jsonrpc":"2.0","id":2,"result":{"message":"so be it"}})");
  client.send(call(3, R"(1002,"payload":"AA==","seq":1)"));
  const std::string refused = client.next("\"id\":3");
  EXPECT_NE(refused.find(R"("error":{"code":4711,"message":"refused","data":{"code":4711,)"
                         R"("details":"so be it")"),
            std::string::npos)
      << refused;
  client.send(call(4, "1003"));
  EXPECT_NE(client.next("\"id\":4").find("\"code\":4009"), std::string::npos);
  client.send(call(5, "1004"));
  EXPECT_NE(client.next("\"id\":5").find("\"code\":-32602"), std::string::npos);
  client.send(call(6, "1999"));
  EXPECT_NE(client.next("\"id\":6").find("\"code\":4004"), std::string::npos);
  client.send(R"({"jsonrpc":"2.0","method":"chatMessage","params":{"payload":"aGk="}})");
  EXPECT_EQ(client.next("chatMessage"),
            R"({"jsonrpc":"2.0","method":"chatMessage","params":{"payload":"aGk="}})");
}

TEST_F(JsonHandlers, AnswersOfABatchThatAreTooLongBecomeShortErrors) {
  // 32 answers of 1,000 characters that JSON writes as six each.
  add(1000, "long", [](Context& c, const Message&) {
    c.answer(0, std::string(1000, '\x01'));
    return Outcome::kOk;
  });
  start();
  TextClient client(server->port(), "ann");
  ASSERT_TRUE(client.opened());
  std::string batch = "[" + call(0, "1000");
  for (int i = 1; i < 32; ++i) batch += "," + call(i, "1000");
  client.send(batch + "]");
  const std::string answers = client.next("\"id\":31");
  ASSERT_NE(answers, "");
  EXPECT_EQ(answers.front(), '[');
  EXPECT_EQ(answers.back(), ']');
  EXPECT_LE(answers.size(), 60u * 1024);
  for (int i = 0; i < 32; ++i) {
    EXPECT_NE(answers.find("\"id\":" + std::to_string(i) + ","), std::string::npos) << i;
  }
  EXPECT_NE(answers.find("\"id\":0,\"result\""), std::string::npos);
  EXPECT_NE(answers.find("\"id\":31,\"error\":{\"code\":-32603"), std::string::npos);
}

TEST_F(JsonHandlers, ClientsOfBothSubprotocolsReachEachOther) {
  add(1000, "tell", [](Context& c, const Message& m) {
    c.send_to_player(c.player_id() == "ann" ? "bob" : "ann", 1001, m.payload);
    return Outcome::kOk;
  });
  start();
  TextClient ann(server->port(), "ann");
  ASSERT_TRUE(ann.opened());
  EXPECT_NE(ann.next("worldState"), "");
  LiveClient bob(server->port(), "bob");
  ASSERT_TRUE(bob.enter());
  ann.send(call(1, R"(1000,"payload":"aGVsbG8=")"));
  EXPECT_EQ(bob.next(1001).payload, "hello");
  bob.send(1000, "hi");
  EXPECT_EQ(ann.next("1001"),
            R"({"jsonrpc":"2.0","method":"custom","params":{"type":1001,"payload":"aGk="}})");
}

TEST_F(JsonHandlers, TheLargestReplyArrives) {
  add(1000, "big", [](Context& c, const Message&) {
    const std::string large(kReplyBytesMax, 'y');
    return c.reply(1000, bytes_of(large)) == SendResult::kOk ? Outcome::kOk : Outcome::kFailed;
  });
  start();
  TextClient client(server->port(), "ann");
  ASSERT_TRUE(client.opened());
  client.send(call(1, "1000"));
  const std::string text = client.next("\"type\":1000");
  const std::string_view around =
      R"({"jsonrpc":"2.0","method":"custom","params":{"type":1000,"payload":""}})";
  EXPECT_EQ(text.size(), around.size() + wire::base64_size(kReplyBytesMax));
}

}  // namespace
}  // namespace tidegate::embed_test
