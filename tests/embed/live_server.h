// SPDX-License-Identifier: Apache-2.0
// A server in the test's process, small and on any port, made through include/tidegate only.
#pragma once

#include <gtest/gtest.h>

#include <atomic>

#include "live_client.h"
#include "tidegate/server.h"

namespace tidegate::embed_test {

class LiveServer : public ::testing::Test {
 protected:
  void SetUp() override { make({}); }
  void make(std::vector<Setting> more) {
    ServerConfig config;
    config.settings = {{"listen.websocket", "127.0.0.1:0"},   {"admin.listen", ""},
                       {"auth.hs256_secret", kSecret},        {"limits.connections", "200"},
                       {"limits.violations_per_minute", "5"}, {"shards.count", "2"}};
    config.settings.insert(config.settings.end(), more.begin(), more.end());
    config.log = [this](LogLevel level, std::string_view) {
      errors_logged += level == LogLevel::kError;
    };
    Server::Created made = Server::create(std::move(config));
    ASSERT_TRUE(made.server) << made.status.text();
    server = std::move(made.server);
  }
  void add(uint32_t type, const char* name, HandlerFunction function) {
    const Status status =
        server->handle({.type = type, .name = name, .function = std::move(function)});
    ASSERT_TRUE(status) << status.text();
  }
  void start() {
    const Status status = server->start();
    ASSERT_TRUE(status) << status.text();
  }
  // Ends the server when the test's body ends, before the variables that its callbacks refer to.
  std::shared_ptr<void> stop_at_end() {
    return {nullptr, [this](void*) { server.reset(); }};
  }
  uint64_t count(std::string_view name, std::string_view label = {}) {
    return metric(server->metrics(), name, label);
  }

  std::atomic<int> errors_logged{0};
  std::unique_ptr<Server> server;
};

}  // namespace tidegate::embed_test
