// SPDX-License-Identifier: Apache-2.0
// Letters between players that arrive once and in order, also when a connection breaks on the way
// or the receiver is away: acknowledged delivery in both directions.
//
//   letters [PORT [SECONDS [KEY=VALUE ...]]]    port 7400; 0 seconds: until SIGINT or SIGTERM
//
// A client sends type 1000 with acknowledgement; its text is the receiver's name, a new line and
// the letter. The receiver gets type 1001: the sender's name, a new line, the letter. KEY=VALUE is
// any setting of docs/configuration.md, such as session.resume_window=1h.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "tidegate/server.h"

namespace {

constexpr uint32_t kLetter = 1000;
constexpr uint32_t kDelivery = 1001;

std::atomic<bool> stop_asked{false};
void on_signal(int) { stop_asked = true; }

void must(const tidegate::Status& status) {
  if (status) return;
  std::fprintf(stderr, "%s\n", status.text().c_str());
  std::exit(2);
}

tidegate::Outcome deliver(tidegate::Context& context, const tidegate::Message& message) {
  const std::string_view text = message.payload.text();
  const size_t line = text.find('\n');
  if (line == std::string_view::npos || line == 0) return tidegate::Outcome::kInvalid;
  std::string letter(context.player_id());
  letter += text.substr(line);
  const tidegate::SendResult sent =
      context.send_acknowledged(text.substr(0, line), kDelivery, tidegate::bytes_of(letter));
  return sent == tidegate::SendResult::kOk ? tidegate::Outcome::kOk : tidegate::Outcome::kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string port = argc > 1 ? argv[1] : "7400";
  const int seconds = argc > 2 ? std::atoi(argv[2]) : 0;
  tidegate::ServerConfig config;
  config.settings = {{"listen.websocket", "127.0.0.1:" + port},
                     {"admin.listen", ""},
                     {"auth.hs256_secret", "only an example: thirty-two bytes or more"},
                     {"limits.connections", "500"}};
  for (int i = 3; i < argc; ++i) {
    const std::string setting = argv[i];
    const size_t equals = std::min(setting.find('='), setting.size() - 1);
    config.settings.push_back({setting.substr(0, equals), setting.substr(equals + 1)});
  }
  config.log = [](tidegate::LogLevel level, std::string_view text) {
    if (level != tidegate::LogLevel::kDebug) {
      std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
    }
  };
  auto [server, status] = tidegate::Server::create(std::move(config));
  must(status);
  must(server->handle({.type = kLetter, .name = "letter", .function = deliver}));
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  must(server->start());
  std::printf("listening on 127.0.0.1:%u, admin %u\n", server->port(), server->admin_port());
  std::fflush(stdout);
  const auto began = std::chrono::steady_clock::now();
  while (!stop_asked && (seconds == 0 || std::chrono::steady_clock::now() - began <
                                             std::chrono::seconds(seconds))) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  server->stop();
  return 0;
}
