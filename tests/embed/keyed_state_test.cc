// SPDX-License-Identifier: Apache-2.0
// Keyed state in a running server, as the client library shows it: who sees what, what survives a
// reconnect, what ends by itself, and who wins when two change the same.
#include <map>

#include "live_server.h"
#include "tidegate/client.hpp"
#include "tidegate/tidegate.h"

namespace tidegate::embed_test {
namespace {

constexpr uint32_t kZone = 0, kPlace = 1, kSession = 2, kView = 3;

// The client library with the answers to its changes.
class StateClient {
 public:
  StateClient(uint16_t port, const std::string& user, tidegate_client_config config = {})
      : client({"ws://127.0.0.1:" + std::to_string(port) + "/ws"}, token_for(user), config) {
    EXPECT_TRUE(client) << client.problem();
    result_ = client.on(TIDEGATE_EVENT_STATE_RESULT, [this](const ClientEvent& e) {
      results[e.attempt] = e.code;
      if (e.keyed != nullptr)
        corrections[e.attempt] =
            std::string(view(e.keyed->owner)) + "/" + std::string(view(e.keyed->value));
    });
    told_ = client.on(TIDEGATE_EVENT_KEYED_STATE, [this](const ClientEvent& e) {
      ++(e.code == 0 ? appeared : gone)[std::string(view(e.keyed->key))];
    });
    lost_ = client.on(TIDEGATE_EVENT_LOST, [this](const ClientEvent& e) { lost = e.code; });
    client.connect();
  }
  bool until(const std::function<bool()>& done) {
    const base::Instant end = now() + base::seconds(20);
    while (!done()) {
      client.run(5);
      if (now() > end) return false;
    }
    return true;
  }
  bool enter() {
    return until([this] { return client.in_world(); });
  }
  // Value of a state, "-" when it is not there.
  std::string value(uint32_t scope, std::string_view key) const {
    ClientKeyedState s{};
    return client.find_state(scope, key, &s) ? std::string(view(s.value)) : "-";
  }
  std::string owner(uint32_t scope, std::string_view key) const {
    ClientKeyedState s{};
    return client.find_state(scope, key, &s) ? std::string(view(s.owner)) : "-";
  }
  uint64_t version(uint32_t scope, std::string_view key) const {
    ClientKeyedState s{};
    return client.find_state(scope, key, &s) ? s.version : 0;
  }
  bool has(uint32_t scope, std::string_view key, std::string_view wanted) {
    return until([&] { return value(scope, key) == wanted; });
  }
  uint32_t ask(uint32_t scope, std::string_view key, std::string_view wanted, uint64_t base = 0,
               tidegate_client_state_operation operation = TIDEGATE_STATE_OPERATION_SET) {
    uint32_t request = 0;
    EXPECT_EQ(client.change_state(scope, key, wanted, base, operation, &request),
              TIDEGATE_CLIENT_OK);
    return request;
  }
  // What came of a change, 99 when nothing did.
  uint32_t answer(uint32_t request) {
    return until([&] { return results.count(request) != 0; }) ? results[request] : 99;
  }

  Client client;
  std::map<uint32_t, uint32_t> results;
  std::map<uint32_t, std::string> corrections;  // owner/value
  std::map<std::string, int> appeared, gone;
  uint32_t lost = 0;

 private:
  Subscription result_, told_, lost_;
};

class KeyedStates : public LiveServer {
 protected:
  void set(const StateSpec& spec) { ASSERT_EQ(server->set_state(spec), SendResult::kOk); }
  static uint32_t code(StateReason reason) { return static_cast<uint32_t>(reason); }
};

TEST_F(KeyedStates, OfTheZoneAreSeenByAllAndByWhoComesLater) {
  EXPECT_EQ(server->set_state({.key = "early"}), SendResult::kClosed);
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  ASSERT_TRUE(ann.enter());
  for (int i = 0; i < 40; ++i) {
    const std::string key = "event." + std::to_string(i);
    set({.key = key, .value = bytes_of("on")});
  }
  set({.key = "score", .value = bytes_of("1")});
  set({.key = "score", .value = bytes_of("2")});
  EXPECT_TRUE(ann.has(kZone, "score", "2"));
  tidegate_client_config protobuf{};
  protobuf.protobuf = 1;
  StateClient bob(server->port(), "bob", protobuf);
  ASSERT_TRUE(bob.enter());
  EXPECT_TRUE(bob.has(kZone, "score", "2"));
  for (StateClient* c : {&ann, &bob}) {
    for (int i = 0; i < 40; ++i) {
      EXPECT_TRUE(c->has(kZone, "event." + std::to_string(i), "on")) << i;
    }
  }
  EXPECT_EQ(server->remove_state(StateScope::kZone, "score"), SendResult::kOk);
  EXPECT_TRUE(ann.has(kZone, "score", "-"));
  EXPECT_TRUE(bob.has(kZone, "score", "-"));
  EXPECT_EQ(server->set_state({.key = ""}), SendResult::kRange);
  EXPECT_EQ(server->set_state({.key = "a", .player = "ann"}), SendResult::kRange);
  EXPECT_EQ(server->set_state({.key = "a", .scope = StateScope::kView}), SendResult::kRange);
  const std::string large(kStateValueBytesMax + 1, 'x');
  EXPECT_EQ(server->set_state({.key = "a", .value = bytes_of(large)}), SendResult::kTooLarge);
}

TEST_F(KeyedStates, OfAPlaceAreSeenByWhoIsNear) {
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  ASSERT_TRUE(ann.enter());
  set({.key = "fire", .scope = StateScope::kPlace, .value = bytes_of("hot"), .radius = 4});
  set({.key = "far", .scope = StateScope::kPlace, .position = {900, 0, 900}, .radius = 50});
  set({.key = "last"});
  EXPECT_TRUE(ann.has(kPlace, "fire", "hot"));
  EXPECT_TRUE(ann.has(kZone, "last", ""));
  EXPECT_EQ(ann.value(kPlace, "far"), "-");
  // Away from the fire, and back.
  const auto walk = [&](float speed, const char* wanted) {
    return ann.until([&] {
      ann.client.move({speed, 0, 0}, 0.02F);
      return ann.value(kPlace, "fire") == wanted;
    });
  };
  EXPECT_TRUE(walk(10, "-"));
  EXPECT_TRUE(walk(-10, "hot"));
  // The place itself goes away, too.
  set({.key = "fire", .scope = StateScope::kPlace, .position = {900, 0, 900}, .radius = 4});
  EXPECT_TRUE(ann.has(kPlace, "fire", "-"));
  EXPECT_EQ(ann.answer(ann.ask(kPlace, "far", "x")), code(StateReason::kServerOnly));
}

TEST_F(KeyedStates, OfASessionComeAgainAndOfAViewDoNot) {
  add(1000, "set", [&](Context& c, const Message& m) {
    const StateSpec purse{.key = "purse",
                          .scope = StateScope::kSession,
                          .rule = StateRule::kOwner,
                          .value = m.payload,
                          .player = c.player_id()};
    const StateSpec hint{
        .key = "hint", .scope = StateScope::kView, .value = m.payload, .player = c.player_id()};
    return c.set_state(purse) == SendResult::kOk && c.set_state(hint) == SendResult::kOk
               ? Outcome::kOk
               : Outcome::kFailed;
  });
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  StateClient bob(server->port(), "bob");
  ASSERT_TRUE(ann.enter() && bob.enter());
  ann.client.send(1000, "7");
  EXPECT_TRUE(ann.has(kSession, "purse", "7"));
  EXPECT_TRUE(ann.has(kView, "hint", "7"));
  // The player may change its own where the rule says so, others do not see it.
  EXPECT_EQ(ann.answer(ann.ask(kSession, "purse", "8")), 0u);
  EXPECT_TRUE(ann.has(kSession, "purse", "8"));
  EXPECT_EQ(ann.answer(ann.ask(kView, "hint", "8")), code(StateReason::kServerOnly));
  EXPECT_EQ(bob.answer(bob.ask(kSession, "purse", "0")), code(StateReason::kUnknown));
  EXPECT_EQ(bob.value(kSession, "purse"), "-");
  ASSERT_EQ(tidegate_client_drop_connection(ann.client.get()), TIDEGATE_CLIENT_OK);
  ASSERT_TRUE(ann.until([&] { return !ann.client.in_world(); }));
  ASSERT_TRUE(ann.enter());
  EXPECT_TRUE(ann.has(kSession, "purse", "8"));
  set({.key = "mark"});
  EXPECT_TRUE(ann.has(kZone, "mark", ""));
  EXPECT_EQ(ann.value(kView, "hint"), "-");
  // Nobody there who would see it.
  set({.key = "purse", .scope = StateScope::kSession, .player = "nobody"});
  EXPECT_TRUE(ann.until([&] { return count("tidegate_states_refused_total") == 1; }));
  // A session that ends takes its states along.
  ann.client.disconnect("bye");
  ASSERT_TRUE(bob.until([&] { return count("tidegate_sessions") == 1; }));
  StateClient again(server->port(), "ann");
  ASSERT_TRUE(again.enter());
  EXPECT_TRUE(again.has(kZone, "mark", ""));
  EXPECT_EQ(again.value(kSession, "purse"), "-");
}

TEST_F(KeyedStates, EphemeralOnesEndByThemselves) {
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  ASSERT_TRUE(ann.enter());
  // On a slow machine one may be over before it was seen: then another.
  uint64_t expired = 0;
  bool waiting = false;
  EXPECT_TRUE(ann.until([&] {
    if (waiting) waiting = count("tidegate_states_expired_total") == expired;
    if (!waiting && ann.appeared["flash"] == 0) {
      expired = count("tidegate_states_expired_total");
      waiting = server->set_state({.key = "flash",
                                   .scope = StateScope::kPlace,
                                   .value = bytes_of("!"),
                                   .radius = 20,
                                   .lifetime_ms = 400}) == SendResult::kOk;
    }
    return ann.appeared["flash"] != 0 && ann.gone["flash"] != 0;
  }));
  EXPECT_EQ(ann.value(kPlace, "flash"), "-");
  EXPECT_TRUE(ann.until([&] { return count("tidegate_states") == 0; }));  // shown once a tick
}

TEST_F(KeyedStates, OfTwoWhoClaimOneObjectOneGetsIt) {
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  StateClient bob(server->port(), "bob");
  ASSERT_TRUE(ann.enter() && bob.enter());
  for (int round = 0; round < 5; ++round) {
    const std::string key = "chest." + std::to_string(round);
    set({.key = key, .rule = StateRule::kFirst, .value = bytes_of("full")});
    ASSERT_TRUE(ann.has(kZone, key, "full") && bob.has(kZone, key, "full"));
    const auto claim = TIDEGATE_STATE_OPERATION_CLAIM;
    const uint32_t a = ann.ask(kZone, key, "ann's", 0, claim);
    const uint32_t b = bob.ask(kZone, key, "bob's", 0, claim);
    const uint32_t of_ann = ann.answer(a);
    const uint32_t of_bob = bob.answer(b);
    ASSERT_NE(of_ann == 0, of_bob == 0) << of_ann << " " << of_bob;
    const std::string winner = of_ann == 0 ? "ann" : "bob";
    StateClient& loser = of_ann == 0 ? bob : ann;
    EXPECT_EQ(of_ann == 0 ? of_bob : of_ann, code(StateReason::kTaken));
    EXPECT_EQ(loser.corrections[of_ann == 0 ? b : a], winner + "/" + winner + "'s");
    EXPECT_EQ(loser.owner(kZone, key), winner);
    for (StateClient* c : {&ann, &bob}) {
      EXPECT_TRUE(c->until([&] { return c->owner(kZone, key) == winner; }));
    }
  }
  EXPECT_EQ(count("tidegate_state_conflicts_total"), 5u);
}

TEST_F(KeyedStates, AStaleVersionLosesAndIsTold) {
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  StateClient bob(server->port(), "bob");
  ASSERT_TRUE(ann.enter() && bob.enter());
  set({.key = "vote", .rule = StateRule::kVersion, .value = bytes_of("0")});
  ASSERT_TRUE(ann.has(kZone, "vote", "0") && bob.has(kZone, "vote", "0"));
  const uint64_t first = ann.version(kZone, "vote");
  EXPECT_EQ(ann.answer(ann.ask(kZone, "vote", "1", first)), 0u);
  const uint32_t late = bob.ask(kZone, "vote", "2", first);
  EXPECT_EQ(bob.answer(late), code(StateReason::kStale));
  EXPECT_EQ(bob.corrections[late], "/1");
  EXPECT_EQ(bob.value(kZone, "vote"), "1");  // corrected with the answer
  EXPECT_EQ(bob.answer(bob.ask(kZone, "vote", "2", bob.version(kZone, "vote"))), 0u);
  EXPECT_TRUE(ann.has(kZone, "vote", "2"));
}

TEST_F(KeyedStates, TheHookForgivesRefusesAndDisconnects) {
  std::atomic<uint32_t> refused{0};
  WorldHooks hooks;
  hooks.state_attempt = [&](const StateAttempt& a) {
    if (a.wanted.text() == "please") return StateVerdict::kApply;
    if (a.wanted.text() == "no") return StateVerdict::kRefuse;
    if (a.wanted.text() == "throw") throw 1;
    refused = a.refused;
    return a.refused >= 3 ? StateVerdict::kDisconnect : StateVerdict::kByRule;
  };
  ASSERT_TRUE(server->hooks(std::move(hooks)));
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  ASSERT_TRUE(ann.enter());
  set({.key = "door", .rule = StateRule::kOwner, .owner = "bob"});
  set({.key = "mine", .rule = StateRule::kOwner, .owner = "ann"});
  ASSERT_TRUE(ann.has(kZone, "door", "") && ann.has(kZone, "mine", ""));
  EXPECT_EQ(ann.answer(ann.ask(kZone, "door", "please")), 0u);
  EXPECT_TRUE(ann.has(kZone, "door", "please"));
  EXPECT_EQ(ann.answer(ann.ask(kZone, "mine", "no")), code(StateReason::kRefused));
  EXPECT_EQ(ann.answer(ann.ask(kZone, "mine", "throw")), code(StateReason::kRefused));
  EXPECT_EQ(count("tidegate_hook_failures_total"), 1u);
  ann.ask(kZone, "door", "mine");  // the third that is refused
  EXPECT_TRUE(ann.until([&] { return ann.lost == 1008; }));
  EXPECT_EQ(refused, 3u);
}

TEST_F(KeyedStates, WhoAsksForWhatIsNotItsOwnAgainAndAgainIsClosed) {
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  ASSERT_TRUE(ann.enter());
  set({.key = "sky"});
  ASSERT_TRUE(ann.has(kZone, "sky", ""));
  EXPECT_TRUE(ann.until([&] {
    if (ann.client.in_world()) ann.client.change_state(kZone, "sky", "blue");
    return ann.lost == 1008;
  }));
  EXPECT_EQ(count("tidegate_state_changes_total"), 1u);
}

TEST_F(KeyedStates, TheTickHookAndTheCApiSetThem) {
  WorldHooks hooks;
  std::atomic<int> set_by_hook{0};
  hooks.tick = [&](World& world) {
    if (world.shard() != 1 || set_by_hook != 0) return;
    set_by_hook = world.set_state({.key = "hook", .value = bytes_of("h")}) == SendResult::kOk;
  };
  ASSERT_TRUE(server->hooks(std::move(hooks)));
  start();
  const auto stop = stop_at_end();
  StateClient ann(server->port(), "ann");
  ASSERT_TRUE(ann.enter());
  EXPECT_TRUE(ann.has(kZone, "hook", "h"));
  auto* const c = reinterpret_cast<tidegate_server*>(server.get());
  tidegate_state state{};
  state.key = {"from c", 6};
  state.value = {"c", 1};
  EXPECT_EQ(tidegate_server_set_state(c, &state), TIDEGATE_SEND_RANGE);  // no struct_size
  state.struct_size = sizeof state;
  EXPECT_EQ(tidegate_server_set_state(c, &state), TIDEGATE_SENT);
  EXPECT_TRUE(ann.has(kZone, "from c", "c"));
  EXPECT_EQ(tidegate_server_remove_state(c, TIDEGATE_STATE_ZONE, state.key, {}), TIDEGATE_SENT);
  EXPECT_TRUE(ann.has(kZone, "from c", "-"));
  state.scope = 9;
  EXPECT_EQ(tidegate_server_set_state(c, &state), TIDEGATE_SEND_RANGE);
}

}  // namespace
}  // namespace tidegate::embed_test
