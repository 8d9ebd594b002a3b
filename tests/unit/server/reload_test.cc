// SPDX-License-Identifier: Apache-2.0
// A configuration that is read again while other threads use the server. What may not happen shows
// under ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "server/server.h"

namespace tidegate::server {
namespace {

TEST(Reload, KeysThatNeedARestartAreReadMeanwhile) {
  control::Config config;
  ASSERT_EQ(control::parse_address("127.0.0.1:0", &config.listen.websocket), nullptr);
  config.admin.listen = {};
  config.auth.hs256_secret = "a secret of a test, more than thirty-two bytes";
  config.shards.count = 2;
  config.limits.connections = 100;
  config.world.zone = "a zone with a name of more than a few bytes";
  std::string error;
  const auto server = Server::make(config, &error);
  ASSERT_NE(server, nullptr) << error;
  uint32_t told = 0;
  server->set_reload(
      [&] {
        control::LoadedConfig loaded;
        loaded.config = config;
        loaded.config.limits.messages_per_second = 100 + told;  // live
        loaded.config.world.zone = "another one, which has to wait for a restart";
        return loaded;
      },
      [&](const control::Config& running) {
        ++told;
        EXPECT_EQ(running.limits.messages_per_second, 99 + told);
        EXPECT_EQ(running.world.zone, config.world.zone);
      });
  ASSERT_TRUE(server->start(&error)) << error;
  std::atomic<bool> over{false};
  std::atomic<uint32_t> sent{0};
  std::thread sender([&] {
    const uint8_t byte = 7;
    while (!over) {
      const SendResult result = server->send(Target::zone(config.world.zone), 1000, {&byte, 1});
      ASSERT_TRUE(result == SendResult::kOk || result == SendResult::kBusy);
      ++sent;
    }
  });
  for (uint32_t i = 0; i < 50 || sent < 1000; ++i) EXPECT_EQ(server->reload().status, 200);
  over = true;
  sender.join();
  server->stop(base::seconds(1));
  EXPECT_GE(told, 50u);
}

}  // namespace
}  // namespace tidegate::server
