// SPDX-License-Identifier: Apache-2.0
// The client library against a server in this process, over real sockets that break at random
// bytes: it always comes back, and what is acknowledged arrives once and in order, with the same
// identity.
#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/prng.h"
#include "live_server.h"
#include "sdk/tcp_transport.h"
#include "tidegate/client.h"

namespace tidegate::embed_test {
namespace {

// TCP that is cut after so many bytes in a direction.
class Cutter {
 public:
  explicit Cutter(uint64_t seed) : base_(sdk::tcp_transport()), random_(seed) {
    table = base_;
    table.user = this;
    table.open = [](void* u, const char* host, uint16_t port, int32_t secure) -> void* {
      auto& me = *static_cast<Cutter*>(u);
      ++me.opened;
      me.up_ = me.down_ = INT64_MAX;
      if (me.cuts > 0) {
        --me.cuts;
        const auto at = static_cast<int64_t>(me.random_.below(me.random_.chance(0.5) ? 600 : 4000));
        (me.random_.chance(0.5) ? me.up_ : me.down_) = at;
      }
      return me.base_.open(nullptr, host, port, secure);
    };
    table.send = [](void* u, void* link, const void* data, size_t size) -> int64_t {
      auto& me = *static_cast<Cutter*>(u);
      const std::string_view text(static_cast<const char*>(data), size);
      if (me.blocks_websocket && text.find("Upgrade: websocket") != text.npos) return -1;
      return take(me.up_,
                  me.base_.send(nullptr, link, data, std::min(size, static_cast<size_t>(me.up_))));
    };
    table.receive = [](void* u, void* link, void* data, size_t room) -> int64_t {
      auto& me = *static_cast<Cutter*>(u);
      return take(me.down_, me.base_.receive(nullptr, link, data,
                                             std::min(room, static_cast<size_t>(me.down_))));
    };
  }

  tidegate_client_transport table;
  int cuts = 0;
  int opened = 0;
  bool blocks_websocket = false;

 private:
  static int64_t take(int64_t& left, int64_t moved) {
    if (left == 0) return -1;
    if (moved > 0 && left != INT64_MAX) left -= moved;
    return moved;
  }
  tidegate_client_transport base_;
  base::Prng random_;
  int64_t up_ = INT64_MAX, down_ = INT64_MAX;
};

class Sdk : public LiveServer {
 protected:
  void TearDown() override { tidegate_client_destroy(client); }
  void open(Cutter& cutter, const std::string& user, int32_t polling = 2) {
    const std::string url = "ws://127.0.0.1:" + std::to_string(server->port()) + "/ws";
    const std::string token = token_for(user);
    const char* endpoint = url.c_str();
    tidegate_client_config config{};
    config.struct_size = sizeof config;
    config.endpoints = &endpoint;
    config.endpoint_count = 1;
    config.token = token.c_str();
    config.backoff_first_ms = 5;
    config.backoff_most_ms = 20;
    config.transport = &cutter.table;
    config.polling = polling;
    char problem[200] = "";
    ASSERT_EQ(tidegate_client_create(&config, &client, problem, sizeof problem), TIDEGATE_CLIENT_OK)
        << problem;
    tidegate_client_connect(client);
  }
  bool until(const std::function<bool()>& done) {
    const base::Instant end = now() + base::seconds(150);
    while (!done()) {
      if (tidegate_client_run(client, 5) != TIDEGATE_CLIENT_OK || now() > end) return false;
    }
    return true;
  }
  bool in_world() const { return tidegate_client_get_state(client) == TIDEGATE_CLIENT_IN_WORLD; }

  tidegate_client* client = nullptr;
};

// Numbers sent with acknowledgement while connections are cut, and who got them.
class SdkNumbers : public Sdk, public ::testing::WithParamInterface<int32_t> {};
INSTANTIATE_TEST_SUITE_P(By, SdkNumbers, ::testing::Values(2, 1), [](const auto& test) {
  return std::string(test.param == 1 ? "LongPolling" : "WebSocket");
});

TEST_P(SdkNumbers, BreakAtRandomBytesAndAreNeitherLostNorDoubled) {
  std::mutex mutex;
  std::vector<int> got;
  add(1000, "numbers", [&](Context& context, const Message& m) {
    const std::lock_guard lock(mutex);
    got.push_back(std::stoi(std::string(m.payload.text())));
    EXPECT_EQ(context.player_id(), "walker");
    return Outcome::kOk;
  });
  start();
  Cutter cutter(5);
  cutter.cuts = 60;
  open(cutter, "walker", GetParam());
  int sent = 0;
  const auto size = [&] {
    const std::lock_guard lock(mutex);
    return static_cast<int>(got.size());
  };
  ASSERT_TRUE(until([&] {
    const std::string text = std::to_string(sent);
    const tidegate_client_send_options o{sizeof o, TIDEGATE_SEND_ACKNOWLEDGED, 5, 0, 0};
    if (sent < 500 && tidegate_client_send(client, 1000, text.data(), text.size(), &o) <=
                          TIDEGATE_CLIENT_QUEUED) {
      ++sent;
    }
    tidegate_client_move(client, {1, 0, 0}, 0, 0, 0.005F);
    return cutter.cuts == 0 && in_world() && sent == 500 && size() >= 500;
  })) << size()
      << " of " << sent << " after " << cutter.opened << " connections";
  ASSERT_TRUE(until([&] {
    tidegate_client_stats stats{};
    stats.struct_size = sizeof stats;
    tidegate_client_get_stats(client, &stats);
    return stats.unacknowledged == 0;
  }));
  const std::lock_guard lock(mutex);
  ASSERT_EQ(got.size(), 500u);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], i);
  tidegate_client_destroy(client);  // before the transport that it uses
  client = nullptr;
}

TEST_F(Sdk, FallsBackToLongPollingWhereWebSocketIsBlocked) {
  start();
  Cutter cutter(6);
  cutter.blocks_websocket = true;
  open(cutter, "walker", 0);
  ASSERT_TRUE(until([&] { return in_world(); }));
  tidegate_vector at{};
  ASSERT_TRUE(until([&] {
    tidegate_client_move(client, {3, 0, 0}, 0, 0, 0.02F);
    return tidegate_client_self(client, &at) != 0 && at.x > 1;
  }));
  const int opened = cutter.opened;
  ASSERT_TRUE(until([&] {
    tidegate_client_stats stats{};
    stats.struct_size = sizeof stats;
    tidegate_client_get_stats(client, &stats);
    return stats.rtt_ms > 0 && stats.pending_inputs == 0;
  }));
  EXPECT_EQ(cutter.opened, opened) << "connections are kept between requests";
  tidegate_client_destroy(client);  // before the transport that it uses
  client = nullptr;
}

}  // namespace
}  // namespace tidegate::embed_test
