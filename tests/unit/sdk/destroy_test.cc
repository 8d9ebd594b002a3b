// SPDX-License-Identifier: Apache-2.0
// Destroying and disconnecting a client in every state and inside every callback. Nothing is called
// afterwards; the address sanitizer watches the rest.
#include <gtest/gtest.h>

#include "model_server.h"

namespace tidegate::sdk {
namespace {

// Brings a game into a state by stopping the server on the way.
bool reach(Game& game, int32_t state) {
  game.create([&](auto& c) { c.ask_token = 0; });
  switch (state) {
    case TIDEGATE_CLIENT_CLOSED:
      return true;
    case TIDEGATE_CLIENT_CONNECTING:
      game.net.on_open = [](Wire& w) { w.connected = false; };
      break;
    case TIDEGATE_CLIENT_CONNECTED:
      game.server.greets = false;
      break;
    case TIDEGATE_CLIENT_AUTHENTICATING:
      game.server.logs_in = false;
      break;
    case TIDEGATE_CLIENT_AUTHENTICATED:
      game.server.enters = false;
      break;
    case TIDEGATE_CLIENT_RECONNECTING:
      game.net.on_open = [](Wire& w) { w.refused = true; };
      break;
    default:
      break;
  }
  tidegate_client_connect(game.client);
  return game.until([&] { return game.in(static_cast<tidegate_client_state>(state)); }, 5000);
}

// What may be done at any time.
void everything(tidegate_client* c, base::Prng& random) {
  const char* const token = "token";
  tidegate_client_entity entity{};
  entity.struct_size = sizeof entity;
  tidegate_client_stats stats{};
  stats.struct_size = sizeof stats;
  tidegate_vector v;
  uint32_t cursor = 0;
  switch (random.below(12)) {
    case 0:
      tidegate_client_connect(c);
      break;
    case 1:
      tidegate_client_disconnect(c, "x");
      break;
    case 2:
      tidegate_client_network_changed(c);
      break;
    case 3:
      tidegate_client_give_token(c, static_cast<uint32_t>(random.below(5)), token);
      break;
    case 4:
      tidegate_client_send(c, 1000, token, 5, nullptr);
      break;
    case 5: {
      const tidegate_client_send_options o{sizeof o, static_cast<int32_t>(1 + random.below(3)), 5,
                                           static_cast<uint32_t>(random.below(3)) * 50, 0};
      tidegate_client_send(c, 1000, token, 5, &o);
      break;
    }
    case 6:
      tidegate_client_move(c, {1, 0, 0}, 0, 0, 0.016F);
      break;
    case 7:
      while (tidegate_client_next(c, &cursor, &entity) != 0) continue;
      break;
    case 8:
      tidegate_client_get_stats(c, &stats);
      break;
    case 9:
      tidegate_client_self(c, &v);
      break;
    case 10:
      tidegate_client_poll(c, 0);
      break;
    default:
      tidegate_client_drop_connection(c);
      break;
  }
}

TEST(SdkDestroy, InEveryState) {
  for (int32_t state = 0; state <= 6; ++state) {
    Game game;
    ASSERT_TRUE(reach(game, state)) << "state " << state;
    const auto told = game.counts;
    tidegate_client_destroy(game.client);
    game.client = nullptr;
    EXPECT_EQ(game.counts, told) << "told while it was destroyed";
    for (const auto& w : game.net.wires) EXPECT_FALSE(w->open) << "state " << state;
  }
}

TEST(SdkDestroy, DisconnectInEveryStateThenBackAgain) {
  for (int32_t state = 0; state <= 6; ++state) {
    Game game;
    ASSERT_TRUE(reach(game, state));
    tidegate_client_disconnect(game.client, "again");
    EXPECT_TRUE(game.in(TIDEGATE_CLIENT_CLOSED));
    for (const auto& w : game.net.wires) EXPECT_FALSE(w->open);
    game.net.on_open = {};
    game.server.greets = game.server.logs_in = game.server.enters = true;
    ASSERT_TRUE(game.enter()) << "state " << state;
  }
}

// Any call in any callback, in any order.
TEST(SdkDestroy, AnythingInsideCallbacks) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Game game(seed);
    base::Prng random(seed);
    game.net.fragment = true;
    game.net.on_open = [&](Wire& w) {
      if (random.chance(0.5)) w.cut_down_at = random.below(3000);
    };
    game.create([&](auto& c) {
      c.ask_token = static_cast<int32_t>(random.below(2));
      c.backoff_first_ms = 20;
      c.backoff_most_ms = 50;
    });
    bool dead = false;
    game.last_state = 0;
    game.hook = [&](const tidegate_client_event& e) {
      ASSERT_FALSE(dead);
      if (e.kind == TIDEGATE_EVENT_TOKEN_WANTED && random.chance(0.8)) {
        tidegate_client_give_token(game.client, e.attempt, "t");
      }
      if (random.chance(0.3)) everything(game.client, random);
      if (random.chance(0.01)) {
        dead = true;
        tidegate_client_destroy(game.client);
      }
    };
    tidegate_client_connect(game.client);
    for (int i = 0; i < 300 && game.client != nullptr; ++i) {
      if (random.chance(0.3)) everything(game.client, random);
      if (random.chance(0.05)) tidegate_client_connect(game.client);
      game.step();
    }
  }
}

TEST(SdkDestroy, ListenersComeAndGoInsideCallbacks) {
  Game game;
  game.create();
  struct Probe {
    uint32_t id = 0, other = 0;
    int calls = 0;
  } first, second;
  first.id = tidegate_client_listen(
      game.client, TIDEGATE_EVENT_MESSAGE,
      [](void* user, tidegate_client* c, const tidegate_client_event*) {
        auto& me = *static_cast<Probe*>(user);
        ++me.calls;
        tidegate_client_unlisten(c, me.other);
        tidegate_client_unlisten(c, me.id);
      },
      &first);
  second.id = tidegate_client_listen(
      game.client, TIDEGATE_EVENT_MESSAGE,
      [](void* user, tidegate_client*, const tidegate_client_event*) {
        ++static_cast<Probe*>(user)->calls;
      },
      &second);
  first.other = second.id;
  ASSERT_TRUE(game.enter());
  for (int i = 0; i < 3; ++i) {
    game.server.send(client::frame_of(static_cast<MessageType>(1000), base::Bytes{}));
  }
  game.step();
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 0) << "ended before its turn";
  uint32_t last = 0;
  int made = 0;
  while ((last = tidegate_client_listen(
              game.client, 0, [](void*, tidegate_client*, const auto*) {}, nullptr)) != 0) {
    ++made;
  }
  EXPECT_EQ(made, 64 - 1 - TIDEGATE_EVENT_STATE_RESULT);
}

}  // namespace
}  // namespace tidegate::sdk
