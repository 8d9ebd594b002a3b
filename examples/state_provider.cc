// SPDX-License-Identifier: Apache-2.0
// State of the game's own beside every entity: health, which a handler takes away and time gives
// back, as clients see it in `custom` of EntitySpawn and EntityUpdate.
//
//   state-provider [PORT [SECONDS]]     port 7400; without SECONDS until SIGINT or SIGTERM
//
// A client sends type 1000 with a number as text and loses so much health; a guard, who stands in
// the middle, loses one each second by himself. The provider writes two bytes, maximum and health,
// or the one byte that changed.
#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "tidegate/server.h"

namespace {

constexpr int kMaximum = 100;
constexpr uint32_t kTicksPerSecond = 60;

// By name, because the handler (on the connection's shard) and the provider (on the entity's) meet
// here: atomics instead of a lock. Names that share a place share their health; a game would give
// each player a place when it loads the character.
class Health {
 public:
  Health() {
    for (auto& h : places_) h = kMaximum;
  }
  std::atomic<int>& of(std::string_view name) {
    return places_[std::hash<std::string_view>{}(name) % places_.size()];
  }
  void take(std::string_view name, int points) {
    std::atomic<int>& h = of(name);
    int now = h;
    while (!h.compare_exchange_weak(now, now > points ? now - points : 0)) {
    }
  }

 private:
  std::array<std::atomic<int>, 4096> places_;
};

tidegate::Server* running = nullptr;  // for the signal handler
void on_signal(int) { running->request_stop(); }

}  // namespace

int main(int argc, char** argv) {
  const int port = argc > 1 ? std::atoi(argv[1]) : 7400;
  const uint32_t last_tick =
      argc > 2 ? static_cast<uint32_t>(std::atoi(argv[2])) * kTicksPerSecond : 0;
  tidegate::ServerConfig config;
  config.settings = {{"listen.websocket", "127.0.0.1:" + std::to_string(port)},
                     {"admin.listen", ""},
                     {"auth.hs256_secret", "only an example: thirty-two bytes or more"},
                     {"limits.connections", "500"},
                     {"world.npcs", "1"}};
  config.log = [](tidegate::LogLevel level, std::string_view text) {
    if (level != tidegate::LogLevel::kDebug) {
      std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
    }
  };
  auto [server, status] = tidegate::Server::create(std::move(config));
  if (!server) {
    std::fprintf(stderr, "%s\n", status.text().c_str());
    return 2;
  }
  tidegate::Server& tidegate_server = *server;

  Health health;
  std::atomic<uint32_t> wholes{0};
  std::atomic<uint32_t> changes{0};
  const auto must = [](const tidegate::Status& s) {
    if (s) return;
    std::fprintf(stderr, "%s\n", s.text().c_str());
    std::exit(2);
  };
  must(tidegate_server.state_provider(
      {.name = "health",
       .delta = true,
       .write = [&](const tidegate::EntityView& entity, tidegate::StateRequest request,
                    uint8_t* out, size_t room) -> size_t {
         if (room < 2) return 0;
         const auto now = static_cast<uint8_t>(health.of(entity.id).load());
         if (request == tidegate::StateRequest::kChange) {
           ++changes;
           out[0] = now;
           return 1;
         }
         ++wholes;
         out[0] = kMaximum;
         out[1] = now;
         return 2;
       }}));
  must(tidegate_server.handle(
      {.type = 1000,
       .name = "hurt",
       .function = [&](tidegate::Context& context, const tidegate::Message& message) {
         const std::string_view text = message.payload.text();
         int points = 0;
         const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), points);
         if (error != std::errc() || end != text.data() + text.size() || points < 0) {
           return tidegate::Outcome::kInvalid;
         }
         health.take(context.player_id(), points);
         context.mark_state();
         return tidegate::Outcome::kOk;
       }}));
  tidegate::WorldHooks hooks;
  hooks.tick = [&](tidegate::World& world) {
    const tidegate::Position middle{0, 0, 0};
    if (world.tick() == 1 && world.owns(middle)) {
      world.spawn({.id = "guard", .position = middle});
    }
    if (world.tick() % kTicksPerSecond == 0) {
      tidegate::EntityView entity;
      for (uint32_t at = 0; world.next(&at, &entity);) {
        if (entity.kind == tidegate::Kind::kPlayer) continue;
        health.take(entity.id, 1);
        world.mark_state(entity.ref);
      }
    }
    if (last_tick != 0 && world.tick() == last_tick + 1) tidegate_server.request_stop();
  };
  must(tidegate_server.hooks(std::move(hooks)));

  running = server.get();
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  status = tidegate_server.run();
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  must(status);
  std::printf("asked for %u whole states and %u changes\n", wholes.load(), changes.load());
  return wholes != 0 ? 0 : 1;
}
