// SPDX-License-Identifier: Apache-2.0
// States, login, loss and coming back; tokens; codes; heartbeat.
#include "sdk/connection.h"

#include <gtest/gtest.h>

#include <cstddef>

#include "model_server.h"

namespace tidegate::sdk {
namespace {

using States = std::vector<int32_t>;

TEST(SdkConnection, FromClosedToTheWorldByItsStates) {
  Game game;
  game.create();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_CLOSED));
  ASSERT_TRUE(game.enter());
  EXPECT_EQ(game.states, (States{1, 2, 3, 4, 5}));
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_WORLD_ENTERED], 1);
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_ADDED], 1);
  const tidegate_text id = tidegate_client_player_id(game.client);
  EXPECT_EQ(std::string(id.data, id.size), "me");
  tidegate_client_disconnect(game.client, "enough");
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_CLOSED));
  EXPECT_EQ(game.states.size(), 5u) << "told outside of poll";
  game.step();
  EXPECT_EQ(game.states.back(), TIDEGATE_CLIENT_CLOSED);
  EXPECT_EQ(game.server.types[8], 1u);
  game.until([] { return false; }, 100'000, 500);
  EXPECT_EQ(game.net.wires.size(), 1u) << "it came back";
}

TEST(SdkConnection, NothingIsToldThatWasTakenBackBeforeThePoll) {
  Game game;
  game.create();
  for (int i = 0; i < 100; ++i) {
    tidegate_client_connect(game.client);
    tidegate_client_disconnect(game.client, nullptr);
  }
  game.step();
  EXPECT_TRUE(game.states.empty());
}

TEST(SdkConnection, EveryTransitionIsOneOfTheTable) {
  uint32_t allowed = 0;
  for (int32_t from = 0; from <= 6; ++from) {
    for (int32_t to = 0; to <= 6; ++to) {
      allowed += is_transition(static_cast<State>(from), static_cast<State>(to));
    }
  }
  EXPECT_EQ(allowed, 17u);
}

TEST(SdkConnection, ALossIsFollowedByABackoffAndTheSameServer) {
  Game game;
  game.create([](auto& c) { c.endpoint_count = 2; });
  ASSERT_TRUE(game.enter());
  game.net.wire()->cut = true;
  game.step();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_RECONNECTING));
  EXPECT_EQ(game.lost_code, 1006u);
  EXPECT_GE(game.retry_ms, 750);
  EXPECT_LE(game.retry_ms, 1250);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
  EXPECT_EQ(game.net.wire()->host, "one");
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_WORLD_ENTERED], 2);
  EXPECT_NE(game.server.heads.back().find("resume=resume-1"), std::string::npos);
}

TEST(SdkConnection, ASessionThatIsGoneIsNotAcknowledged) {
  for (const bool resumes : {true, false}) {
    Game game;
    game.create();
    ASSERT_TRUE(game.enter());
    game.server.send_acknowledged(1000, "one");
    game.server.send_acknowledged(1000, "two");
    game.until([] { return false; }, 200);
    ASSERT_EQ(game.messages.size(), 2u);
    game.server.resumes = resumes;
    game.net.wire()->cut = true;
    ASSERT_TRUE(game.until([&] { return game.server.logins == 2; }));
    ASSERT_TRUE(game.until([&] { return game.counts[TIDEGATE_EVENT_RESUMED] == 1; }));
    game.step();
    EXPECT_EQ(game.server.hello_acks, (std::vector<uint64_t>{0, 0})) << resumes;
    game.server.send_acknowledged(1000, "next");
    ASSERT_TRUE(game.until([&] { return game.messages.size() == 3; }));
    EXPECT_EQ(game.messages.back(), "next");
  }
}

TEST(SdkConnection, AServerThatCannotBeReachedIsFollowedByTheNext) {
  Game game;
  game.create([](auto& c) { c.endpoint_count = 2; });
  game.net.on_open = [](Wire& w) { w.refused = w.host == "one"; };
  tidegate_client_connect(game.client);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
  EXPECT_EQ(game.net.wires.size(), 2u);
  EXPECT_EQ(game.net.wire()->host, "two");
}

TEST(SdkConnection, ACrowdIsSpreadOverTheEndpoints) {
  int first = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Game game(seed);
    game.create([](auto& c) {
      c.endpoint_count = 2;
      c.spread_endpoints = 1;
    });
    tidegate_client_connect(game.client);
    game.step();
    first += game.net.wire()->host == "one";
  }
  EXPECT_GT(first, 8);
  EXPECT_LT(first, 32);
}

TEST(SdkConnection, TheWaitDoublesUntilAStableTime) {
  Game game;
  game.create();
  std::vector<int64_t> waits;
  game.hook = [&](const auto& e) {
    if (e.kind == TIDEGATE_EVENT_LOST) waits.push_back(e.retry_ms);
  };
  game.net.on_open = [](Wire& w) { w.refused = true; };
  tidegate_client_connect(game.client);
  game.until([&] { return waits.size() == 9; }, 600'000, 100);
  ASSERT_EQ(waits.size(), 9u);
  for (size_t i = 0; i < waits.size(); ++i) {
    const double plain = std::min(60'000.0, 1000.0 * static_cast<double>(1u << i));
    EXPECT_GE(static_cast<double>(waits[i]), plain * 0.75 - 1);
    EXPECT_LE(static_cast<double>(waits[i]), plain * 1.25 + 1);
  }
  game.net.on_open = {};
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }, 100'000, 100));
  game.net.wire()->cut = true;  // at once: not stable yet
  game.step();
  EXPECT_GT(waits.back(), 40'000);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }, 100'000, 100));
  game.until([] { return false; }, 6000);
  game.net.wire()->cut = true;
  game.step();
  EXPECT_LT(waits.back(), 1300);
}

TEST(SdkConnection, AnAdvisedDelayWins) {
  Game game;
  game.create();
  ASSERT_TRUE(game.enter());
  wire::Disconnect bye;
  bye.code = wire::kErrorDraining;
  bye.retry_after_ms = 20'000;
  bye.reason = "draining";
  game.server.send(MessageType::kDisconnect, bye);
  game.server.close(1001);
  game.step();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_RECONNECTING));
  EXPECT_EQ(game.lost_text, "draining");
  EXPECT_GE(game.retry_ms, 20'000);
  EXPECT_LE(game.retry_ms, 25'000);
}

TEST(SdkConnection, AnAdvisedPlaceIsTriedNext) {
  Game game;
  game.create();
  ASSERT_TRUE(game.enter());
  wire::Disconnect bye;
  bye.code = wire::kErrorDraining;
  bye.reconnect_url = "ws://elsewhere:7/ws";
  game.server.send(MessageType::kDisconnect, bye);
  game.server.close(1001);
  ASSERT_TRUE(game.until([&] { return game.net.wires.size() == 2; }));
  EXPECT_EQ(game.net.wire()->host, "elsewhere");
}

TEST(SdkConnection, CodesThatEndIt) {
  for (const uint16_t code : {uint16_t{1000}, uint16_t{4015}}) {
    Game game;
    game.create();
    ASSERT_TRUE(game.enter());
    game.server.close(code);
    game.step();
    EXPECT_TRUE(game.in(TIDEGATE_CLIENT_CLOSED)) << code;
    EXPECT_EQ(game.lost_code, code);
    EXPECT_EQ(game.retry_ms, -1);
  }
  for (const uint16_t code : {1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013}) {
    Game game;
    game.create();
    ASSERT_TRUE(game.enter());
    game.server.close(code);
    game.step();
    EXPECT_TRUE(game.in(TIDEGATE_CLIENT_RECONNECTING)) << code;
  }
}

TEST(SdkConnection, RefusedUpgrades) {
  struct Case {
    int status;
    bool ask;
    tidegate_client_state then;
  };
  for (const Case& c :
       {Case{401, false, TIDEGATE_CLIENT_CLOSED}, Case{401, true, TIDEGATE_CLIENT_RECONNECTING},
        Case{429, false, TIDEGATE_CLIENT_RECONNECTING},
        Case{503, false, TIDEGATE_CLIENT_RECONNECTING}}) {
    Game game;
    game.create([&](auto& config) { config.ask_token = c.ask; });
    game.server.refuse_status = c.status;
    game.server.refuse_fields = "Retry-After: 30\r\n";
    game.hook = [&](const auto& e) {
      if (e.kind == TIDEGATE_EVENT_TOKEN_WANTED) {
        tidegate_client_give_token(game.client, e.attempt, "token");
      }
    };
    tidegate_client_connect(game.client);
    ASSERT_TRUE(game.until([&] { return game.counts[TIDEGATE_EVENT_LOST] == 1; }));
    EXPECT_TRUE(game.in(c.then)) << c.status;
    EXPECT_EQ(game.lost_code, static_cast<uint32_t>(c.status));
    if (c.then == TIDEGATE_CLIENT_RECONNECTING) {
      EXPECT_GE(game.retry_ms, 30'000);
    }
  }
}

TEST(SdkConnection, ATokenIsAskedForBeforeEachTryAndALateOneIsNothing) {
  Game game;
  game.create([](auto& c) { c.ask_token = 1; });
  std::vector<uint32_t> attempts;
  game.hook = [&](const auto& e) {
    if (e.kind == TIDEGATE_EVENT_TOKEN_WANTED) attempts.push_back(e.attempt);
  };
  tidegate_client_connect(game.client);
  game.step();
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_TRUE(game.net.wires.empty()) << "connected without the token";
  tidegate_client_disconnect(game.client, nullptr);
  EXPECT_EQ(tidegate_client_give_token(game.client, attempts[0], "late"), TIDEGATE_CLIENT_DROPPED);
  game.until([] { return false; }, 30'000, 500);
  EXPECT_TRUE(game.net.wires.empty()) << "a late token connected";
  tidegate_client_connect(game.client);
  game.step();
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(tidegate_client_give_token(game.client, attempts[1], "good"), TIDEGATE_CLIENT_OK);
  EXPECT_EQ(tidegate_client_give_token(game.client, attempts[1], "twice"), TIDEGATE_CLIENT_DROPPED);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
  EXPECT_NE(game.server.heads[0].find("Authorization: Bearer good"), std::string::npos);
  game.net.wire()->cut = true;
  ASSERT_TRUE(game.until([&] { return attempts.size() == 3; }));
  EXPECT_EQ(tidegate_client_give_token(game.client, attempts[2], nullptr), TIDEGATE_CLIENT_OK);
  game.step();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_RECONNECTING));
  EXPECT_EQ(game.lost_text, "there is no token");
}

TEST(SdkConnection, ANewerTokenGoesOnTheOpenConnectionWhenItIsWarned) {
  Game game;
  game.create([](auto& c) { c.ask_token = 1; });
  std::vector<uint32_t> attempts;
  game.hook = [&](const auto& e) {
    if (e.kind == TIDEGATE_EVENT_TOKEN_WANTED) attempts.push_back(e.attempt);
  };
  tidegate_client_connect(game.client);
  game.step();
  ASSERT_EQ(attempts.size(), 1u);
  ASSERT_EQ(tidegate_client_give_token(game.client, attempts[0], "first"), TIDEGATE_CLIENT_OK);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
  wire::ErrorNotification warning;
  warning.code = wire::kErrorSessionExpired;
  game.server.send(wire::MessageType::kError, warning);
  ASSERT_TRUE(game.until([&] { return attempts.size() == 2; }));
  constexpr auto kRefresh = static_cast<uint32_t>(wire::MessageType::kTokenRefresh);
  EXPECT_EQ(game.server.types[kRefresh], 0u);
  const std::string second(5000, 't');
  EXPECT_EQ(tidegate_client_give_token(game.client, attempts[1], second.c_str()),
            TIDEGATE_CLIENT_OK);
  ASSERT_TRUE(game.until([&] { return game.server.types[kRefresh] == 1; }));
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_IN_WORLD));
  EXPECT_EQ(tidegate_client_give_token(game.client, attempts[1], "again"), TIDEGATE_CLIENT_DROPPED);
  // Warned once more, and there is none: the connection lives as long as its token.
  game.server.send(wire::MessageType::kError, warning);
  ASSERT_TRUE(game.until([&] { return attempts.size() == 3; }));
  EXPECT_EQ(tidegate_client_give_token(game.client, attempts[2], nullptr), TIDEGATE_CLIENT_OK);
  game.step();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_IN_WORLD));
  EXPECT_EQ(game.server.types[kRefresh], 1u);
  EXPECT_EQ(game.net.wires.size(), 1u);
}

TEST(SdkConnection, ASessionThatIsGoneIsNoReasonForANewerToken) {
  Game game;
  game.create([](auto& c) { c.ask_token = 1; });
  uint32_t wanted = 0;
  game.hook = [&](const auto& e) {
    if (e.kind != TIDEGATE_EVENT_TOKEN_WANTED) return;
    ++wanted;
    EXPECT_EQ(tidegate_client_give_token(game.client, e.attempt, "good"), TIDEGATE_CLIENT_OK);
  };
  tidegate_client_connect(game.client);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
  game.server.resumes = false;
  game.net.wire()->cut = true;
  game.step();
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
  wire::ErrorNotification told;  // RESUME_RESULT in numbers
  told.code = wire::kErrorSessionExpired;
  game.server.send(wire::MessageType::kError, told);
  game.until([] { return false; }, 500);
  EXPECT_EQ(wanted, 2u);
}

TEST(SdkConnection, ALoginThatHangsIsGivenUp) {
  Game game;
  game.create();
  game.server.logs_in = false;
  tidegate_client_connect(game.client);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_RECONNECTING); }, 11'000));
  EXPECT_EQ(game.lost_text, "the login took too long");
  EXPECT_FALSE(game.net.wire()->open);
}

TEST(SdkConnection, SilenceIsALossAndAnswersMeasureTheWay) {
  Game game;
  game.create([](auto& c) { c.report_ms = UINT32_MAX; });
  ASSERT_TRUE(game.enter());
  tidegate_client_stats stats{};
  stats.struct_size = sizeof stats;
  ASSERT_TRUE(game.until([&] { return game.server.types[1] >= 2; }));
  game.step();
  tidegate_client_get_stats(game.client, &stats);
  EXPECT_GE(stats.rtt_last_ms, 0.0);
  EXPECT_LE(stats.rtt_last_ms, 20.0);
  // The server says nothing any more, but the stream stands.
  game.server.enters = game.server.answers_beats = false;
  game.net.wire()->ended = false;
  const auto before = game.net.now;
  while (game.in(TIDEGATE_CLIENT_IN_WORLD) && game.net.now - before < base::seconds(60)) {
    game.net.now = game.net.now + base::milliseconds(50);
    ASSERT_EQ(tidegate_client_poll(game.client, 0), TIDEGATE_CLIENT_OK);
  }
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_RECONNECTING));
  EXPECT_EQ(game.lost_text, "the server is silent");
  EXPECT_LE((game.net.now - before).ns, base::seconds(21).ns);
}

TEST(SdkConnection, ANetworkThatIsBackEndsTheWaitAndTestsALinkThatStands) {
  Game game;
  game.create();
  game.net.on_open = [](Wire& w) { w.refused = true; };
  tidegate_client_connect(game.client);
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(game.until([&] { return game.counts[TIDEGATE_EVENT_LOST] == i + 1; }, 100'000));
  }
  game.net.on_open = {};
  tidegate_client_network_changed(game.client);
  EXPECT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }, 1000));
  // A dead link: nothing comes back on it.
  tidegate_client_network_changed(game.client);
  const auto before = game.net.now;
  while (game.in(TIDEGATE_CLIENT_IN_WORLD) && game.net.now - before < base::seconds(60)) {
    game.net.now = game.net.now + base::milliseconds(50);
    ASSERT_EQ(tidegate_client_poll(game.client, 0), TIDEGATE_CLIENT_OK);
  }
  EXPECT_LE((game.net.now - before).ns, base::seconds(3).ns);
}

TEST(SdkConnection, RubbishFromTheServerIsALossNotACrash) {
  base::Prng random(7);
  for (int round = 0; round < 200; ++round) {
    Game game(static_cast<uint64_t>(round));
    game.create([&](auto& c) { c.protobuf = round & 1; });
    ASSERT_TRUE(game.enter());
    ByteString bytes(1 + random.below(300));
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.next());
    if (round % 3 == 0) {
      game.server.put(bytes);
    } else if (round % 3 == 1) {
      game.server.send(bytes);
    } else {
      game.server.send(
          client::frame_of(static_cast<MessageType>(5 + random.below(300)), base::Bytes(bytes)));
    }
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(game.step());
  }
}

TEST(SdkConnection, ConfigurationsThatCannotBe) {
  VirtualNet net;
  tidegate_client_transport transport = net.table();
  const auto code = [&](std::function<void(tidegate_client_config&)> change) {
    tidegate_client_config c{};
    c.struct_size = sizeof c;
    static const char* const kGood[] = {"ws://here/ws"};
    c.endpoints = kGood;
    c.endpoint_count = 1;
    c.transport = &transport;
    change(c);
    tidegate_client* made = nullptr;
    char problem[100] = "";
    const auto result = tidegate_client_create(&c, &made, problem, sizeof problem);
    EXPECT_EQ(made == nullptr, result != TIDEGATE_CLIENT_OK);
    EXPECT_EQ(problem[0] == 0, result == TIDEGATE_CLIENT_OK);
    tidegate_client_destroy(made);
    return result;
  };
  EXPECT_EQ(code([](auto&) {}), TIDEGATE_CLIENT_OK);
  EXPECT_EQ(code([](auto& c) { c.struct_size = 1; }), TIDEGATE_CLIENT_INVALID);
  // Of an older version, which ends before the transport: TCP, and nothing is connected yet.
  EXPECT_EQ(code([](auto& c) { c.struct_size = offsetof(tidegate_client_config, transport); }),
            TIDEGATE_CLIENT_OK);
  EXPECT_EQ(code([](auto& c) { c.endpoint_count = 0; }), TIDEGATE_CLIENT_INVALID);
  EXPECT_EQ(code([&](auto&) { transport.now_ns = nullptr; }), TIDEGATE_CLIENT_INVALID);
  transport = net.table();
  for (const char* url : {"http://x", "ws://", "ws://x:0/", "ws://x:99999/", "ws://u@x/", "x"}) {
    EXPECT_EQ(code([&](auto& c) { c.endpoints = &url; }), TIDEGATE_CLIENT_INVALID) << url;
  }
  const char* secure = "wss://x/ws";
  EXPECT_EQ(code([&](auto& c) { c.endpoints = &secure; }), TIDEGATE_CLIENT_OK);
#ifdef TIDEGATE_CLIENT_TLS
  const tidegate_client_result built_in = TIDEGATE_CLIENT_OK;
#else
  const tidegate_client_result built_in = TIDEGATE_CLIENT_INVALID;
#endif
  EXPECT_EQ(code([&](auto& c) {
              c.endpoints = &secure;
              c.transport = nullptr;
            }),
            built_in);
}

TEST(SdkConnection, Endpoints) {
  Endpoint e;
  ASSERT_TRUE(parse_endpoint("ws://example.org", &e));
  EXPECT_EQ(std::tie(e.host, e.port, e.target, e.name),
            std::make_tuple("example.org", 80, "/ws", "example.org"));
  ASSERT_TRUE(parse_endpoint("wss://[::1]:7400/a?b=c#d", &e));
  EXPECT_EQ(std::tie(e.host, e.port, e.target, e.name),
            std::make_tuple("::1", 7400, "/a?b=c", "[::1]:7400"));
  EXPECT_TRUE(e.secure);
}

}  // namespace
}  // namespace tidegate::sdk
