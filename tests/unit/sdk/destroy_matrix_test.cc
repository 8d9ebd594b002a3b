// SPDX-License-Identifier: Apache-2.0
// Destroying a client: every state, every event, and whose thread the network is on. A busy life
// that has every event in every state it can come in is lived once to see which those are; then
// once more for each of them, with the client destroyed in that callback, and for each of its
// turns, with the client destroyed after it. Nothing is told afterwards and nothing stays open; the
// address and thread sanitizers watch the rest.
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "socket_game.h"
#include "wire/state_messages.h"

namespace tidegate::sdk {
namespace {

using Moment = std::pair<int32_t, int32_t>;  // event, and the state it is told in

// Everything a logged-in client can be told of, in messages of the server.
void tell_of_everything(ModelServer& server) {
  const auto cell = [&](const ByteString& bytes) {
    server.send(client::frame_of(MessageType::kCellFrame, base::Bytes(bytes)));
  };
  const auto zone = [&](const ByteString& bytes) {
    server.send(client::frame_of(MessageType::kZoneUpdate, base::Bytes(bytes)));
  };
  server.send(MessageType::kError, wire::ErrorNotification{});
  server.send(MessageType::kMoveAck, wire::MoveAck{});
  server.send(client::frame_of(static_cast<MessageType>(1000), base::Bytes{}));
  cell(client::keyframe(0, 1, {client::member(0, 1, "a")}));
  cell(client::delta(3, 9, {}, {}, {}));  // of a cell that nobody knows
  zone(client::zone_update({client::state_of("b")}, {}, {}));
  wire::PlayerStateDelta moved;
  moved.player_id = "b";
  moved.changed_fields = wire::kChangedFlags;
  zone(client::zone_update({}, {}, {moved}));
  zone(client::zone_update({}, {"b"}, {}));
  const uint8_t environment[] = {0x2a, 0x00};
  zone({environment, environment + sizeof environment});
  uint8_t bytes[256];
  wire::StateEntry entry;
  entry.key = "door";
  entry.version = 1;
  wire::PbWriter update(bytes);
  const size_t mark = update.begin(wire::kStateUpdateEntries);
  wire::encode(update, entry);
  update.end(mark);
  server.send(client::frame_of(MessageType::kStateUpdate, update.written()));
  wire::StateResult refused;
  refused.key = "door";
  refused.reason = 1;
  refused.current = entry;
  refused.has_current = true;
  wire::PbWriter result(bytes);
  wire::encode(result, refused);
  server.send(client::frame_of(MessageType::kStateResult, result.written()));
}

void configure(tidegate_client_config& c) {
  c.ask_token = 1;
  c.queue_messages = 4;
  c.send_buffer_bytes = 1024;
  c.protobuf = 0;
  c.backoff_first_ms = c.backoff_most_ms = 60'000;  // until the network is said to have changed
}

// What happens in a life, told by where it has come to, so that it is the same at any pace.
class Life {
 public:
  explicit Life(Game& game) : game_(game) {
    game_.server.logs_in = game_.server.enters = false;
    game_.hook = [this](const tidegate_client_event& e) { on_event(e); };
  }

  Moment end_at{-1, -1};  // destroys it in the `end_nth` callback like this
  int end_nth = 1;
  std::map<Moment, int> seen;
  bool dead = false;
  bool over = false;
  std::function<void(bool)> block;  // the network takes nothing; null: that cannot be had

  void destroy() {
    dead = true;
    tidegate_client_destroy(std::exchange(game_.client, nullptr));
  }
  // Before each turn; `cut` breaks the connection.
  template <class Cut>
  void act(Cut cut) {
    ModelServer& server = game_.server;
    switch (step_) {
      case 0:
        tidegate_client_connect(game_.client);
        break;
      case 1:  // the login is answered late
        if (!game_.in(TIDEGATE_CLIENT_AUTHENTICATING)) return;
        server.send(MessageType::kError, wire::ErrorNotification{});
        server.send(MessageType::kAuthenticationResult, [this] {
          wire::AuthenticationResult a;
          a.success = true;
          a.user_id = game_.server.player;
          return a;
        }());
        server.logs_in = true;
        break;
      case 2:  // and the first state even later
        if (!game_.in(TIDEGATE_CLIENT_AUTHENTICATED)) return;
        tell_of_everything(server);
        crowd();
        break;
      case 3:
        if (!told_all()) return;
        server.world({client::state_of(server.player), client::state_of("b")});
        server.enters = true;
        break;
      case 4:
        if (!game_.in(TIDEGATE_CLIENT_IN_WORLD)) return;
        game_.counts.clear();
        tell_of_everything(server);
        if (block) block(true);
        crowd();
        break;
      case 5:
        if (!told_all()) return;
        if (block && game_.counts[TIDEGATE_EVENT_DRAINED] == 0) return block(false);
        game_.counts.clear();
        server.send_acknowledged(1001, "kept");
        cut();
        break;
      case 6:  // what waits meanwhile is over before it goes out
        if (game_.counts[TIDEGATE_EVENT_LOST] == 0) return;
        crowd();
        break;
      case 7:
        if (game_.counts[TIDEGATE_EVENT_EXPIRED] == 0 ||
            game_.counts[TIDEGATE_EVENT_DRAINED] == 0) {
          return;
        }
        tidegate_client_network_changed(game_.client);
        break;
      case 8:
        if (!game_.in(TIDEGATE_CLIENT_IN_WORLD) || game_.counts[TIDEGATE_EVENT_RESUMED] == 0) {
          return;
        }
        tidegate_client_disconnect(game_.client, "enough");
        break;
      case 9:
        if (!game_.in(TIDEGATE_CLIENT_CLOSED)) return;
        over = true;
        return;
      default:
        return;
    }
    ++step_;
  }

 private:
  void on_event(const tidegate_client_event& e) {
    EXPECT_FALSE(dead) << "told of " << e.kind << " after it was destroyed";
    if (dead) return;
    const Moment now{e.kind, tidegate_client_get_state(game_.client)};
    if (++seen[now] == end_nth && now == end_at) {
      // The pointer stays: poll() still has to say that it ended.
      dead = true;
      tidegate_client_destroy(game_.client);
      return;
    }
    if (e.kind == TIDEGATE_EVENT_TOKEN_WANTED) {
      tidegate_client_give_token(game_.client, e.attempt, "t");
    }
  }
  // More than its queue holds, for a moment.
  void crowd() {
    for (int i = 0; i < 8; ++i) game_.send(std::string(600, 'q'), TIDEGATE_SEND_QUEUED, 5, 1);
  }
  bool told_all() {
    return game_.counts[TIDEGATE_EVENT_STATE_RESULT] > 0 &&
           game_.counts[TIDEGATE_EVENT_KEYED_STATE] > 0;
  }

  Game& game_;
  int step_ = 0;
};

// ---- the network in poll(), virtual time

struct Polled {
  Game game;
  Life life{game};
  explicit Polled(bool blocks = true) {
    game.create(configure);
    if (!blocks) return;
    life.block = [this](bool yes) { game.net.wire()->up_room = yes ? 0 : SIZE_MAX; };
  }
  // Lives until it is over or destroyed; after so many half turns, of what the game does and of
  // what poll() does, it is destroyed from outside.
  void live(int halves = 4000) {
    for (int i = 0; i < halves && !life.over && game.client != nullptr; ++i) {
      if (i % 2 == 0) {
        life.act([this] { game.net.wire()->cut = true; });
      } else {
        game.step();
      }
    }
    if (game.client != nullptr && !life.over) {
      last = tidegate_client_get_state(game.client);
      life.destroy();
    }
  }
  bool all_closed() const {
    return std::none_of(game.net.wires.begin(), game.net.wires.end(),
                        [](const auto& w) { return w->open; });
  }
  int32_t last = -1;  // the state it was destroyed in from outside
};

std::map<Moment, int> moments_of_a_life(bool blocks) {
  Polled p(blocks);
  p.live();
  EXPECT_TRUE(p.life.over) << "the life did not come to its end";
  return p.life.seen;
}

TEST(SdkDestroyMatrix, ALifeHasEveryEventAndEveryState) {
  std::set<int32_t> events, states;
  for (const auto& [moment, count] : moments_of_a_life(true)) {
    events.insert(moment.first);
    if (moment.first == TIDEGATE_EVENT_STATE) states.insert(moment.second);
  }
  EXPECT_EQ(events.size(), size_t{TIDEGATE_EVENT_STATE_RESULT} + 1);
  EXPECT_EQ(states.size(), size_t{TIDEGATE_CLIENT_RECONNECTING} + 1);
}

TEST(SdkDestroyMatrix, InEveryCallbackAndState) {
  for (const auto& [moment, count] : moments_of_a_life(true)) {
    for (int nth = 1; nth <= std::min(count, 4); ++nth) {
      Polled p;
      p.life.end_at = moment;
      p.life.end_nth = nth;
      p.live();
      EXPECT_TRUE(p.life.dead) << "event " << moment.first << " in state " << moment.second;
      EXPECT_EQ(p.game.client, nullptr);
      EXPECT_TRUE(p.all_closed()) << "event " << moment.first << " in state " << moment.second;
    }
  }
}

TEST(SdkDestroyMatrix, AfterEveryHalfTurn) {
  std::set<int32_t> states;
  for (int halves = 0;; ++halves) {
    Polled p;
    p.live(halves);
    if (p.life.over) break;
    ASSERT_LT(halves, 1000);
    states.insert(p.last);
    EXPECT_TRUE(p.all_closed()) << "after " << halves << " halves, state " << p.last;
  }
  // CONNECTED does not outlast a poll here; SdkDestroy.InEveryState stops the server in it.
  EXPECT_EQ(states.size(), size_t{TIDEGATE_CLIENT_RECONNECTING});
}

// ---- the network on a thread of its own, sockets

void live(SocketGame& g, Life& life) {
  EXPECT_TRUE(until([&] { return life.over || g.game.client == nullptr; },
                    [&] {
                      life.act([&] { g.cut(); });
                      g.step();
                    }));
}

TEST(SdkDestroyMatrix, InEveryCallbackAndStateWithANetworkThread) {
  bool by_run = false;
  for (const auto& [moment, count] : moments_of_a_life(false)) {
    SocketGame g;
    by_run = !by_run;  // every other one within tidegate_client_run()
    g.by_run = by_run;
    Life life(g.game);
    g.create(configure);
    life.end_at = moment;
    live(g, life);
    EXPECT_TRUE(life.dead) << "event " << moment.first << " in state " << moment.second;
    EXPECT_EQ(g.game.client, nullptr);
  }
}

// From outside, at moments of the clock rather than of the life: bytes are on their way between the
// threads at each.
TEST(SdkDestroyMatrix, AfterSomeTurnsWithANetworkThread) {
  std::set<int32_t> states;
  for (int turns = 0; turns < 60; ++turns) {
    SocketGame g;
    Life life(g.game);
    g.create(configure);
    for (int i = 0; i < turns && !life.over; ++i) {
      life.act([&] { g.cut(); });
      g.step();
    }
    states.insert(tidegate_client_get_state(g.game.client));
    life.destroy();
    g.pump();
  }
  EXPECT_GT(states.size(), 1u);
}

}  // namespace
}  // namespace tidegate::sdk
