// SPDX-License-Identifier: Apache-2.0
// The network on a thread of its own, over sockets of this machine: bytes both ways, full buffers,
// ends; then the whole client over it, destroyed in every state and inside callbacks. Built with
// the thread sanitizer too.
#include "sdk/network_thread.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <thread>

#include "sdk/tcp_transport.h"
#include "socket_game.h"

namespace tidegate::sdk {
namespace {

// A link of a thread of its own and the server's end of it.
class Pair {
 public:
  Pair() {
    std::string problem;
    thread = NetworkThread::make(tcp_transport(), tcp_descriptor, &problem);
    EXPECT_NE(thread, nullptr) << problem;
    table = thread->table();
    link = table.open(table.user, "127.0.0.1", listener.port(), 0);
    EXPECT_TRUE(until([this] { return (peer = listener.take()) >= 0; }));
    EXPECT_TRUE(until([this] { return table.status(table.user, link) == 1; }));
  }
  ~Pair() {
    if (link != nullptr) close();
    if (peer >= 0) ::close(peer);
  }
  void close() { table.close(table.user, std::exchange(link, nullptr)); }
  int64_t send(const std::string& text) {
    return table.send(table.user, link, text.data(), text.size());
  }
  int64_t receive(std::string* out, size_t most = 1 << 16) {
    std::string room(most, 0);
    const int64_t n = table.receive(table.user, link, room.data(), room.size());
    if (n > 0) out->append(room, 0, static_cast<size_t>(n));
    return n;
  }

  Listener listener;
  std::unique_ptr<NetworkThread> thread;
  tidegate_client_transport table{};
  void* link = nullptr;
  int peer = -1;
};

std::string pattern(size_t size, uint64_t seed) {
  base::Prng random(seed);
  std::string out(size, 0);
  for (char& c : out) c = static_cast<char>(random.below(256));
  return out;
}

TEST(NetworkThread, ARingGivesWhatWasPutIn) {
  base::Prng random(3);
  ByteRing ring(100);
  std::deque<uint8_t> model;
  uint8_t next = 0;
  for (int i = 0; i < 20'000; ++i) {
    uint8_t bytes[150];
    const size_t size = random.below(sizeof bytes);
    if (random.chance(0.5)) {
      for (size_t k = 0; k < size; ++k) bytes[k] = static_cast<uint8_t>(next + k);
      const size_t taken = ring.put(bytes, size);
      ASSERT_EQ(taken, std::min(size, 100 - model.size()));
      for (size_t k = 0; k < taken; ++k) model.push_back(next++);
    } else {
      const size_t got = ring.copy(bytes, size);
      ASSERT_EQ(got, std::min(size, model.size()));
      for (size_t k = 0; k < got; ++k) ASSERT_EQ(bytes[k], model[k]);
      const size_t drop = random.below(got + 1);
      ring.drop(drop);
      model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(drop));
    }
    ASSERT_EQ(ring.size() + ring.room(), 100u);
  }
}

TEST(NetworkThread, CarriesMoreThanItsBuffersHoldBothWays) {
  Pair pair;
  const std::string up = pattern(3 << 20, 1);
  const std::string down = pattern(3 << 20, 2);
  std::string came_up, came_down;
  size_t sent_up = 0;
  size_t sent_down = 0;
  std::vector<char> room(1 << 16);
  EXPECT_TRUE(until([&] { return came_up.size() == up.size() && came_down.size() == down.size(); },
                    [&] {
                      bool moved = false;
                      if (sent_up < up.size()) {
                        const int64_t n = pair.table.send(pair.table.user, pair.link,
                                                          up.data() + sent_up, up.size() - sent_up);
                        ASSERT_GE(n, 0);
                        sent_up += static_cast<size_t>(n);
                        moved = n > 0;
                      }
                      if (sent_down < down.size()) {
                        const ssize_t n = ::send(pair.peer, down.data() + sent_down,
                                                 down.size() - sent_down, MSG_NOSIGNAL);
                        if (n > 0) sent_down += static_cast<size_t>(n);
                        moved |= n > 0;
                      }
                      const ssize_t n = ::recv(pair.peer, room.data(), room.size(), 0);
                      if (n > 0) came_up.append(room.data(), static_cast<size_t>(n));
                      moved |= n > 0;
                      const int64_t m = pair.receive(&came_down);
                      ASSERT_GE(m, 0);
                      moved |= m > 0;
                      if (!moved) pair.table.wait(pair.table.user, pair.link, 0, 5);
                    }));
  EXPECT_TRUE(came_up == up);
  EXPECT_TRUE(came_down == down);
}

TEST(NetworkThread, SaysWhenItIsFullAndGoesOn) {
  Pair pair;
  // Nobody reads: the kernel's buffers and the ring fill up.
  const std::string piece(32 * 1024, 'x');
  size_t sent = 0;
  int refusals = 0;
  EXPECT_TRUE(until([&] { return refusals == 200; },
                    [&] {
                      const int64_t n = pair.send(piece);
                      ASSERT_GE(n, 0);
                      sent += static_cast<size_t>(n);
                      refusals = n == 0 ? refusals + 1 : 0;
                      if (n == 0) rest();
                    }));
  size_t came = 0;
  std::vector<char> room(1 << 16);
  EXPECT_TRUE(until([&] { return came == sent; },
                    [&] {
                      const ssize_t n = ::recv(pair.peer, room.data(), room.size(), 0);
                      if (n > 0)
                        came += static_cast<size_t>(n);
                      else
                        rest();
                    }));
}

TEST(NetworkThread, WhatCameBeforeTheEndIsRead) {
  Pair pair;
  const std::string last = pattern(600 * 1024, 5);  // more than the ring holds
  size_t sent = 0;
  std::string came;
  int64_t end = 0;
  EXPECT_TRUE(until([&] { return end < 0; },
                    [&] {
                      if (sent < last.size()) {
                        const ssize_t n =
                            ::send(pair.peer, last.data() + sent, last.size() - sent, MSG_NOSIGNAL);
                        if (n > 0) sent += static_cast<size_t>(n);
                        if (sent == last.size()) ::close(std::exchange(pair.peer, -1));
                      }
                      end = pair.receive(&came);
                      if (end == 0) pair.table.wait(pair.table.user, pair.link, 0, 5);
                    }));
  EXPECT_TRUE(came == last);
  EXPECT_EQ(pair.receive(&came), -1);
  EXPECT_EQ(pair.send("x"), -1);
}

TEST(NetworkThread, AGoodbyeIsSaidBeforeALinkCloses) {
  Pair pair;
  const std::string bye = pattern(50'000, 6);
  EXPECT_EQ(pair.send(bye), static_cast<int64_t>(bye.size()));
  pair.close();
  std::string came;
  std::vector<char> room(1 << 16);
  ssize_t n = -1;
  EXPECT_TRUE(until([&] { return n == 0; },
                    [&] {
                      n = ::recv(pair.peer, room.data(), room.size(), 0);
                      if (n > 0) came.append(room.data(), static_cast<size_t>(n));
                      if (n < 0) rest();
                    }));
  EXPECT_TRUE(came == bye);
}

TEST(NetworkThread, NobodyListens) {
  uint16_t port = 0;
  {
    port = Listener().port();
  }
  std::string problem;
  const auto thread = NetworkThread::make(tcp_transport(), tcp_descriptor, &problem);
  const tidegate_client_transport table = thread->table();
  void* const link = table.open(table.user, "127.0.0.1", port, 0);
  EXPECT_TRUE(until([&] { return table.status(table.user, link) == -1; }));
  EXPECT_EQ(table.send(table.user, link, "x", 1), -1);
  char byte = 0;
  EXPECT_EQ(table.receive(table.user, link, &byte, 1), -1);
  EXPECT_STREQ(table.problem(table.user, link), "");
  table.close(table.user, link);
}

TEST(NetworkThread, EndsWithLinksInEveryState) {
  for (int round = 0; round < 50; ++round) {
    Listener listener;
    std::string problem;
    const auto thread = NetworkThread::make(tcp_transport(), tcp_descriptor, &problem);
    const tidegate_client_transport table = thread->table();
    for (int i = 0; i < 4; ++i) {
      void* const link = table.open(table.user, "127.0.0.1", listener.port(), 0);
      ASSERT_NE(link, nullptr);
      if (round % 4 > 0) {
        ASSERT_TRUE(until([&] { return table.status(table.user, link) == 1; }));
      }
      if (round % 4 > 1) table.send(table.user, link, "hello", 5);
      if (round % 4 != 3 || i % 2 == 0) table.close(table.user, link);
    }
  }
}

TEST(NetworkThread, AClientPlaysOverIt) {
  SocketGame g;
  g.create();
  const auto here = std::this_thread::get_id();
  g.game.hook = [&](const auto&) {
    EXPECT_EQ(std::this_thread::get_id(), here);
    EXPECT_TRUE(g.inside()) << "called outside of poll";
  };
  tidegate_client_connect(g.game.client);
  ASSERT_TRUE(g.until_in(TIDEGATE_CLIENT_IN_WORLD));
  for (int i = 0; i < 50; ++i) {
    EXPECT_LE(g.game.send(std::to_string(i), TIDEGATE_SEND_ACKNOWLEDGED), TIDEGATE_CLIENT_QUEUED);
    g.game.server.send_acknowledged(1001, std::to_string(i));
    if (i == 20) g.cut();
    g.step();
  }
  EXPECT_TRUE(
      until([&] { return g.game.server.delivered.size() == 50 && g.game.messages.size() == 50; },
            [&] { g.step(); }));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(g.game.server.delivered[static_cast<size_t>(i)], std::to_string(i));
    EXPECT_EQ(g.game.messages[static_cast<size_t>(i)], std::to_string(i));
  }
  EXPECT_EQ(g.game.server.resumed, 1u);
  tidegate_client_disconnect(g.game.client, "bye");
  EXPECT_TRUE(until([&] { return !g.game.server.closes.empty(); },
                    [&] {
                      g.pump();
                      rest();
                    }));
}

TEST(NetworkThread, DropsAtRandomBytes) {
  SocketGame g(7);
  base::Prng random(7);
  int drops = 0;
  g.game.net.on_open = [&](Wire& w) {
    if (drops++ < 30) (random.chance(0.5) ? w.cut_up_at : w.cut_down_at) = 1 + random.below(1500);
  };
  g.create();
  tidegate_client_connect(g.game.client);
  size_t sent = 0;
  // What is sent and acknowledged brings every connection to its byte.
  EXPECT_TRUE(until([&] { return drops > 30 && g.game.in(TIDEGATE_CLIENT_IN_WORLD); },
                    [&] {
                      sent += g.game.send(std::to_string(sent), TIDEGATE_SEND_ACKNOWLEDGED) <=
                              TIDEGATE_CLIENT_QUEUED;
                      g.step();
                    }));
  EXPECT_TRUE(until([&] { return g.game.server.delivered.size() == sent; }, [&] { g.step(); }));
  for (size_t i = 0; i < sent; ++i) EXPECT_EQ(g.game.server.delivered[i], std::to_string(i));
  EXPECT_EQ(g.game.server.gaps, 0u);
}

// States by where the server stops; each destroyed from outside and inside the callback that tells
// of it, with bytes on their way in both directions.
TEST(NetworkThread, DestroyedInEveryState) {
  for (int32_t state = 0; state <= 6; ++state) {
    for (const bool inside : {false, true}) {
      if (inside && state == TIDEGATE_CLIENT_CLOSED) continue;  // nobody is told of it
      for (uint64_t seed = 1; seed <= 5; ++seed) {
        SocketGame g(seed);
        if (state == TIDEGATE_CLIENT_CONNECTED) g.game.server.greets = false;
        if (state == TIDEGATE_CLIENT_AUTHENTICATING) g.game.server.logs_in = false;
        if (state == TIDEGATE_CLIENT_AUTHENTICATED) g.game.server.enters = false;
        if (state == TIDEGATE_CLIENT_RECONNECTING) {
          g.game.net.on_open = [](Wire& w) { w.cut_up_at = 50; };
        }
        g.create();
        bool dead = false;
        g.game.hook = [&](const auto& e) {
          EXPECT_FALSE(dead) << "told after it was destroyed";
          if (!inside || dead || e.kind != TIDEGATE_EVENT_STATE || e.state != state) return;
          dead = true;
          tidegate_client_destroy(g.game.client);
        };
        if (state != TIDEGATE_CLIENT_CLOSED) tidegate_client_connect(g.game.client);
        const auto there = [&] {
          return inside ? dead : g.game.in(static_cast<tidegate_client_state>(state));
        };
        EXPECT_TRUE(until(there, [&] { g.step(); })) << "state " << state;
        if (inside) {
          EXPECT_EQ(g.game.client, nullptr);
          continue;
        }
        g.game.send("on its way", TIDEGATE_SEND_NOW);
        if (state > TIDEGATE_CLIENT_CONNECTED && state < TIDEGATE_CLIENT_RECONNECTING) {
          g.game.server.send(client::frame_of(static_cast<MessageType>(1000), base::Bytes{}));
          g.pump();
        }
        dead = true;
        tidegate_client_destroy(std::exchange(g.game.client, nullptr));
      }
    }
  }
}

TEST(NetworkThread, OnlyWithoutATransportOfOnesOwn) {
  Game game;
  tidegate_client_config config{};
  config.struct_size = sizeof config;
  const char* const url = "ws://127.0.0.1:1/ws";
  config.endpoints = &url;
  config.endpoint_count = 1;
  config.network_thread = 1;
  config.transport = &game.transport;
  char problem[200] = "";
  EXPECT_EQ(tidegate_client_create(&config, &game.client, problem, sizeof problem),
            TIDEGATE_CLIENT_INVALID);
  EXPECT_NE(std::string(problem).find("network_thread"), std::string::npos);
  config.transport = nullptr;
  config.network_thread = 2;
  EXPECT_EQ(tidegate_client_create(&config, &game.client, problem, sizeof problem),
            TIDEGATE_CLIENT_INVALID);
}

}  // namespace
}  // namespace tidegate::sdk
