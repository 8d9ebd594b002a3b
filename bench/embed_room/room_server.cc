// SPDX-License-Identifier: Apache-2.0
// The room of bench/room: a server whose tick hook lets so many NPCs walk in a square, one step a
// tick each, so that what is measured is telling clients of them and nothing else.
//
//   room-server --config FILE [--entities 300] [--area 100] [--every 1] [--set key=value]…
//
// Each NPC is moved every so many ticks.
//
// Walks are like those of bench/peers/colyseus-room.mjs: steps, speeds and turns, another
// generator. Thread: main, and the server's own. Owner: the process. Limits: one shard.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/prng.h"
#include "common/flags.h"
#include "tidegate/server.h"

namespace tidegate::bench {
namespace {

// On a grid of 2 cm, as both sides of the comparison send it.
struct Walker {
  int32_t x, z;    // steps of 2 cm
  int32_t dx, dz;  // a tick
  EntityRef ref;
};

class Room {
 public:
  Room(uint32_t entities, double metres, uint32_t every)
      : half_(static_cast<int32_t>(metres * 25)), every_(every), walkers_(entities) {
    for (Walker& w : walkers_) {
      w.x = within();
      w.z = within();
      turn(w);
    }
  }

  void tick(World& world) {
    for (size_t i = 0; i < walkers_.size(); ++i) {
      Walker& w = walkers_[i];
      if (w.ref && (world.tick() + i) % every_ != 0) continue;
      if (prng_.below(50) == 0) turn(w);
      if (w.x + w.dx > half_ || w.x + w.dx < -half_) w.dx = -w.dx;
      if (w.z + w.dz > half_ || w.z + w.dz < -half_) w.dz = -w.dz;
      w.x += w.dx;
      w.z += w.dz;
      if (!w.ref) {
        const std::string id = "npc" + std::to_string(i);
        world.spawn({.id = id, .position = place(w), .yaw = yaw(w)}, &w.ref);
        continue;
      }
      world.move(w.ref,
                 {.position = place(w), .yaw = yaw(w), .has_position = true, .has_yaw = true});
    }
  }

 private:
  int32_t within() {
    return static_cast<int32_t>(prng_.below(static_cast<uint64_t>(half_) * 2)) - half_;
  }
  // 0.6 to 3 m a second in one of 16 directions.
  void turn(Walker& w) {
    constexpr int32_t kX[] = {10, 9, 7, 4, 0, -4, -7, -9, -10, -9, -7, -4, 0, 4, 7, 9};
    heading_ = prng_.below(16);
    const auto speed = static_cast<int32_t>(2 + prng_.below(6));
    w.dx = kX[heading_] * speed / 10;
    w.dz = kX[(heading_ + 12) % 16] * speed / 10;
  }
  static Position place(const Walker& w) {
    return {static_cast<float>(w.x) * 0.02F, 0, static_cast<float>(w.z) * 0.02F};
  }
  // A quarter turn for each sign of the direction: it changes when the walker turns.
  static float yaw(const Walker& w) {
    return static_cast<float>((w.dx < 0 ? 1 : 0) + (w.dz < 0 ? 2 : 0)) * 1.57F;
  }

  int32_t half_;
  uint32_t every_;
  base::Prng prng_{17};
  uint64_t heading_ = 0;
  std::vector<Walker> walkers_;
};

Server* running = nullptr;

int run(int argc, char** argv) {
  Flags flags(argc, argv);
  Room room(flags.count("--entities", 300), flags.number("--area", 100),
            std::max(1u, flags.count("--every", 1)));
  ServerConfig config;
  config.file = flags.text("--config", "");
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--set") != 0) continue;
    const std::string text = argv[i + 1];
    const size_t equals = std::min(text.find('='), text.size() - 1);
    config.settings.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  Server::Created made = Server::create(std::move(config));
  if (!made.server) {
    std::fprintf(stderr, "%s\n", made.status.text().c_str());
    return 2;
  }
  WorldHooks hooks;
  hooks.tick = [&](World& world) { room.tick(world); };
  if (!made.server->hooks(std::move(hooks))) return 2;
  running = made.server.get();
  for (const int signal : {SIGTERM, SIGINT}) {
    std::signal(signal, [](int) { running->request_stop(); });
  }
  const Status status = made.server->run(std::chrono::milliseconds(0));
  if (!status) std::fprintf(stderr, "%s\n", status.text().c_str());
  return status ? 0 : 1;
}

}  // namespace
}  // namespace tidegate::bench

int main(int argc, char** argv) { return tidegate::bench::run(argc, argv); }
