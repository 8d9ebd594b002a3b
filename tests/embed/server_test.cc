// SPDX-License-Identifier: Apache-2.0
// tidegate::Server: configuration from text, file and settings, errors that name the key, start,
// stop, run, and a second start.
#include "tidegate/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <thread>

#include "live_client.h"

namespace tidegate::embed_test {
namespace {

std::vector<Setting> settings() {
  return {{"listen.websocket", "127.0.0.1:0"},
          {"admin.listen", ""},
          {"auth.hs256_secret", kSecret},
          {"limits.connections", "200"},
          {"shards.count", "2"}};
}

TEST(Server, EveryProblemOfAConfigurationNamesItsKey) {
  const Server::Created made =
      Server::create({.text = "[limits]\nconections = 5\n",
                      .settings = {{"world.tick_rate", "9000"}, {"nokey", "1"}}});
  EXPECT_EQ(made.server, nullptr);
  ASSERT_EQ(made.status.problems().size(), 3u);
  EXPECT_EQ(made.status.code(), Code::kConfig);
  std::vector<std::string> keys;
  for (const Problem& p : made.status.problems()) {
    keys.push_back(p.key);
    EXPECT_EQ(p.code, Code::kConfig);
  }
  EXPECT_NE(std::find(keys.begin(), keys.end(), "limits.conections"), keys.end());
  EXPECT_NE(std::find(keys.begin(), keys.end(), "world.tick_rate"), keys.end());
  EXPECT_NE(std::find(keys.begin(), keys.end(), "nokey"), keys.end());
  EXPECT_NE(made.status.text().find("limits.connections"), std::string::npos);  // the nearest
}

TEST(Server, AMissingFileAndBothSourcesAreErrors) {
  EXPECT_EQ(Server::create({.file = "/nonexistent/tidegate.toml"}).status.code(),
            Code::kEnvironment);
  EXPECT_EQ(Server::create({.file = "a", .text = "b"}).status.code(), Code::kConfig);
}

TEST(Server, ATakenPortIsAnErrorOfStart) {
  std::vector<Setting> same = settings();
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in taken{};
  taken.sin_family = AF_INET;
  taken.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&taken), sizeof taken), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  socklen_t size = sizeof taken;
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&taken), &size), 0);
  same[0].value = "127.0.0.1:" + std::to_string(ntohs(taken.sin_port));
  const Server::Created second = Server::create({.settings = same});
  ASSERT_TRUE(second.server) << second.status.text();
  const Status status = second.server->start();
  EXPECT_EQ(status.code(), Code::kEnvironment);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.problems()[0].key, "listen.websocket");
  EXPECT_FALSE(second.server->running());
  ::close(fd);
}

TEST(Server, FromAFileItStartsStopsAndStartsAgain) {
  char path[] = "/tmp/tidegate-embed-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  ::close(fd);
  std::ofstream(path) << "[listen]\nwebsocket = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n"
                      << "[auth]\nhs256_secret = \"" << kSecret
                      << "\"\n[limits]\nconnections = 100\n";
  std::atomic<int> lines{0};
  Server::Created made =
      Server::create({.file = path, .log = [&](LogLevel, std::string_view) { ++lines; }});
  std::remove(path);
  ASSERT_TRUE(made.server) << made.status.text();
  Server& server = *made.server;
  EXPECT_EQ(server.port(), 0);
  EXPECT_TRUE(server.metrics().empty());
  for (int run = 0; run < 2; ++run) {
    const Status started = server.start();
    ASSERT_TRUE(started) << started.text();
    EXPECT_EQ(server.start().code(), Code::kAlreadyStarted);
    EXPECT_EQ(server
                  .handle({.type = 1000,
                           .name = "late",
                           .function = [](Context&, const Message&) { return Outcome::kOk; }})
                  .code(),
              Code::kAlreadyStarted);
    LiveClient client(server.port(), "ann");
    EXPECT_TRUE(client.enter());
    EXPECT_GE(metric(server.metrics(), "tidegate_connections_accepted_total"), 1u);
    EXPECT_TRUE(server.running());
    std::thread stopper([&] { server.stop(std::chrono::seconds(3)); });
    EXPECT_TRUE(client.closed());
    stopper.join();
    EXPECT_EQ(client.client().close_code(), 1001);
    EXPECT_FALSE(server.running());
  }
  EXPECT_GE(lines, 4);  // started and stopped, twice
}

TEST(Server, RunEndsByRequestStop) {
  Server::Created made = Server::create({.settings = settings()});
  ASSERT_TRUE(made.server) << made.status.text();
  Status status;
  std::thread host([&] { status = made.server->run(std::chrono::seconds(1)); });
  const base::Instant end = now() + base::seconds(10);
  while (!made.server->running() && now() < end) ::poll(nullptr, 0, 5);
  EXPECT_TRUE(made.server->running());
  made.server->request_stop();
  host.join();
  EXPECT_TRUE(status.ok()) << status.text();
  EXPECT_FALSE(made.server->running());
}

}  // namespace
}  // namespace tidegate::embed_test
