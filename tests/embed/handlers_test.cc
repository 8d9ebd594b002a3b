// SPDX-License-Identifier: Apache-2.0
// Handlers in a running server: what is refused at registration, what a handler sees and can do,
// and that failing, throwing and slow ones are answered and harm nobody else.
#include "tidegate/handlers.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "live_server.h"
#include "wire/pb.h"

namespace tidegate::embed_test {
namespace {

HandlerFunction nothing() {
  return [](Context&, const Message&) { return Outcome::kOk; };
}

class Handlers : public LiveServer {};

TEST_F(Handlers, RegistrationRefusesWhatIsReservedTakenOrWrong) {
  for (const uint32_t type :
       {0u, 1u, 100u, 102u, 104u, 200u, 204u, 300u, 301u, 302u, 399u, 407u, 500u, 999u}) {
    EXPECT_EQ(server->handle({.type = type, .name = "x", .function = nothing()}).code(),
              Code::kTypeReserved)
        << type;
  }
  for (const uint32_t type : {101u, 400u, 406u, 1000u, 4'000'000'000u}) {
    const Status status =
        server->handle({.type = type, .name = "t" + std::to_string(type), .function = nothing()});
    EXPECT_TRUE(status) << status.text();
  }
  const Status taken = server->handle({.type = 1000, .name = "other", .function = nothing()});
  EXPECT_EQ(taken.code(), Code::kTypeTaken);
  EXPECT_NE(taken.text().find("t1000"), std::string::npos);
  EXPECT_EQ(server->handle({.type = 1001, .name = "t1000", .function = nothing()}).code(),
            Code::kNameTaken);
  EXPECT_EQ(server->handle({.type = 1001, .name = "", .function = nothing()}).code(),
            Code::kNameInvalid);
  EXPECT_EQ(server->handle({.type = 1001, .name = "a b", .function = nothing()}).code(),
            Code::kNameInvalid);
  EXPECT_EQ(
      server->handle({.type = 1001, .name = "x", .function = nothing(), .priority = 11}).code(),
      Code::kOutOfRange);
  EXPECT_EQ(server->handle({.type = 1001, .name = "x"}).code(), Code::kMissing);
  for (uint32_t i = 0; i < kHandlersMax - 5; ++i) {
    ASSERT_TRUE(
        server->handle({.type = 2000 + i, .name = "n" + std::to_string(i), .function = nothing()}));
  }
  EXPECT_EQ(server->handle({.type = 9000, .name = "last", .function = nothing()}).code(),
            Code::kFull);
}

TEST_F(Handlers, AHandlerSeesThePlayerAndReplies) {
  add(1000, "who", [](Context& c, const Message& m) {
    const std::string text = std::string(c.player_id()) + '/' + std::string(c.user_id()) + '/' +
                             (c.has_permission("gm") ? "gm" : "-") +
                             (c.has_permission("g") ? "!" : "") +
                             (c.in_world() ? "/in/" : "/out/") + std::string(m.payload.text());
    EXPECT_GT(c.tick(), 0u);
    EXPECT_LT(c.shard(), 2u);
    EXPECT_EQ(c.reply(13, bytes_of("x")), SendResult::kBadType);
    EXPECT_EQ(c.reply(101, bytes_of("x")), SendResult::kBadType);
    const std::string large(kReplyBytesMax + 1, 'x');
    EXPECT_EQ(c.reply(1000, bytes_of(large)), SendResult::kTooLarge);
    EXPECT_EQ(c.reply(1001, bytes_of(text)), SendResult::kOk);
    return c.reply(1002, {}) == SendResult::kOk ? Outcome::kOk : Outcome::kFailed;
  });
  add(101, "action", [](Context& c, const Message& m) {
    c.reply(400, m.payload);
    return c.answer(7, "done") == SendResult::kOk ? Outcome::kOk : Outcome::kFailed;
  });
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann", {"chat", "gm"});
  ASSERT_TRUE(client.enter());
  client.send(1000, "hello");
  EXPECT_EQ(client.next(1001).payload, "ann/ann/gm/in/hello");
  EXPECT_EQ(client.next(1002).type, 1002u);
  client.send(101, "jump", 1);
  EXPECT_EQ(client.next(400).payload, "jump");
  const Received reply = client.next(14);
  wire::PbReader fields(base::as_bytes(reply.payload));
  ASSERT_TRUE(fields.next());
  EXPECT_EQ(fields.varint(), 1u);
  ASSERT_TRUE(fields.next());
  EXPECT_EQ(fields.varint(), 7u);
  ASSERT_TRUE(fields.next());
  EXPECT_EQ(fields.text(), "done");
  // Nobody serves 1003, and 404 is known and not registered.
  client.send(1003, "");
  EXPECT_EQ(client.next_error(), 4004u);
  client.send(404, "");
  EXPECT_EQ(client.next_error(), 4004u);
  EXPECT_EQ(count("tidegate_handler_calls_total", "\"who\""), 1u);
  EXPECT_EQ(count("tidegate_handler_calls_total", "\"action\""), 1u);
}

TEST_F(Handlers, TheLargestReplyArrives) {
  add(1000, "big", [](Context& c, const Message&) {
    const std::string large(kReplyBytesMax, 'y');
    return c.reply(1000, bytes_of(large)) == SendResult::kOk ? Outcome::kOk : Outcome::kFailed;
  });
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  client.send(1000, "");
  EXPECT_EQ(client.next(1000).payload, std::string(kReplyBytesMax, 'y'));
}

TEST_F(Handlers, FailuresAreAnsweredAndTheOthersGoOn) {
  add(1000, "echo", [](Context& c, const Message& m) {
    c.reply(1000, m.payload);
    return Outcome::kOk;
  });
  add(1001, "fails", [](Context&, const Message&) { return Outcome::kFailed; });
  add(1002, "throws",
      [](Context&, const Message&) -> Outcome { throw std::runtime_error("no luck"); });
  add(1003, "throws_int", [](Context&, const Message&) -> Outcome { throw 5; });
  add(1004, "invalid", [](Context&, const Message&) { return Outcome::kInvalid; });
  add(1005, "forbidden", [](Context&, const Message&) { return Outcome::kNotPermitted; });
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  const std::pair<uint32_t, uint32_t> cases[] = {
      {1001, 4009}, {1002, 4009}, {1003, 4009}, {1004, 4003}, {1005, 4005}};
  for (const auto& [type, code] : cases) {
    client.send(type, "x");
    EXPECT_EQ(client.next_error(), code) << type;
  }
  // More of the handler's failures than a client may have violations: the connection stays.
  for (int i = 0; i < 10; ++i) {
    client.send(1002, "x");
    EXPECT_EQ(client.next_error(), 4009u);
  }
  client.send(1000, "still here");
  EXPECT_EQ(client.next(1000).payload, "still here");
  EXPECT_EQ(count("tidegate_handler_failures_total", "\"throws\""), 11u);
  EXPECT_EQ(count("tidegate_handler_failures_total", "\"fails\""), 1u);
  EXPECT_EQ(count("tidegate_handler_failures_total", "\"echo\""), 0u);
  EXPECT_EQ(errors_logged, 2);  // each thrower once
}

TEST_F(Handlers, ASlowHandlerIsAnsweredAndCounted) {
  make({{"handlers.time_limit", "30ms"}, {"handlers.budget", "5ms"}});
  add(1000, "sleeps", [](Context&, const Message& m) {
    ::poll(nullptr, 0, m.payload.size == 1 ? 10 : 60);
    return Outcome::kOk;
  });
  add(1001, "echo", [](Context& c, const Message& m) {
    c.reply(1001, m.payload);
    return Outcome::kOk;
  });
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  client.send(1000, "long");
  EXPECT_EQ(client.next_error(), 4008u);
  client.send(1000, "s");  // over the budget, within the limit on a machine that is not stalled
  client.send(1001, "after");
  EXPECT_EQ(client.next(1001).payload, "after");
  EXPECT_GE(count("tidegate_handler_timeouts_total", "\"sleeps\""), 1u);
  EXPECT_EQ(count("tidegate_handler_over_budget_total", "\"sleeps\""), 2u);
  EXPECT_EQ(count("tidegate_handler_calls_total", "\"sleeps\""), 2u);
}

TEST_F(Handlers, MessagesReachPlayersOnEveryShard) {
  make({{"world.max_speed", "300"}});
  add(1000, "whisper", [](Context& c, const Message& m) {
    const std::string_view text = m.payload.text();
    const size_t colon = text.find(':');
    EXPECT_EQ(c.send_to_player("", 1001, {}), SendResult::kRange);
    EXPECT_EQ(c.send_to_player("bob", 202, {}), SendResult::kBadType);
    EXPECT_EQ(c.send_to_player("nobody-is-called-so", 1001, {}), SendResult::kOk);
    return c.send_to_player(text.substr(0, colon), 1001, bytes_of(text.substr(colon + 1))) ==
                   SendResult::kOk
               ? Outcome::kOk
               : Outcome::kFailed;
  });
  add(1002, "shout", [](Context& c, const Message& m) {
    EXPECT_EQ(c.send_to_nearby(-1, 1003, {}), SendResult::kRange);
    return c.send_to_nearby(10, 1003, m.payload) == SendResult::kOk ? Outcome::kOk
                                                                    : Outcome::kFailed;
  });
  start();
  const auto stop = stop_at_end();
  std::vector<std::unique_ptr<LiveClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<LiveClient>(server->port(), "p" + std::to_string(i)));
    ASSERT_TRUE(clients.back()->enter());
    // Even ones stand together, odd ones 20 m off.
    ASSERT_TRUE(clients.back()->move_to(static_cast<float>(i % 2) * 20, 0, 0));
  }
  for (int i = 1; i < 8; ++i) {
    clients[0]->send(1000, "p" + std::to_string(i) + ":hi " + std::to_string(i));
    EXPECT_EQ(clients[static_cast<size_t>(i)]->next(1001).payload, "hi " + std::to_string(i));
  }
  const std::string large(kPeerBytesMax, 'z');
  clients[0]->send(1000, "p3:" + large);
  EXPECT_EQ(clients[3]->next(1001).payload, large);
  clients[0]->send(1002, "near");
  for (int i = 2; i < 8; i += 2)
    EXPECT_EQ(clients[static_cast<size_t>(i)]->next(1003).payload, "near");
  // A whisper behind the shout has come: what was not there by then does not come.
  for (int i = 1; i < 8; i += 2) {
    clients[0]->send(1000, "p" + std::to_string(i) + ":mark");
    EXPECT_EQ(clients[static_cast<size_t>(i)]->next(1001).payload, "mark");
    EXPECT_TRUE(clients[static_cast<size_t>(i)]->received.empty());
  }
  EXPECT_TRUE(clients[0]->received.empty());  // not to the one who shouts
}

TEST_F(Handlers, AHandlerDisconnects) {
  add(1000, "kick", [](Context& c, const Message&) {
    EXPECT_EQ(c.disconnect(1002, "x"), SendResult::kRange);
    EXPECT_EQ(c.disconnect(4100, std::string(200, 'x')), SendResult::kRange);
    EXPECT_EQ(c.disconnect(4100, "out"), SendResult::kOk);
    EXPECT_EQ(c.disconnect(4100, "again"), SendResult::kClosed);
    EXPECT_EQ(c.reply(1000, {}), SendResult::kClosed);
    return Outcome::kFailed;  // too late for an ERROR
  });
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  client.send(1000, "");
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(client.client().close_code(), 4100);
  EXPECT_TRUE(client.errors.empty());
}

}  // namespace
}  // namespace tidegate::embed_test
