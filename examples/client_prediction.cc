// SPDX-License-Identifier: Apache-2.0
// Own movement over a bad network: shown at once, with walls of the game's own, corrected when the
// server refuses, back by itself after the connection broke. Usage: client_prediction URL TOKEN
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <tidegate/client.hpp>

namespace {

constexpr float kFrame = 0.016F;
constexpr double kWall = 6;  // metres from the middle, in x

// Runs for each input, and again for those that wait when the server corrects.
void step(void*, const double at[3], const float velocity[3], double dt, double out[3]) {
  out[0] = std::clamp(at[0] + static_cast<double>(velocity[0]) * dt, at[0] - kWall, at[0] + kWall);
  out[1] = at[1];
  out[2] = at[2] + static_cast<double>(velocity[2]) * dt;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  tidegate_client_config config{};
  config.step = step;
  tidegate::Client client({argv[1]}, argv[2], config);
  if (!client) return std::puts(client.problem().c_str()), 2;
  if (!client.simulate("wifi")) std::puts("built without the simulator: the network is as it is");
  const auto refused = client.on(TIDEGATE_EVENT_MOVE_ACK, [](const tidegate::ClientEvent& e) {
    if (e.code != 0) std::printf("refused with %u\n", e.code);
  });
  const auto lost = client.on(TIDEGATE_EVENT_LOST, [](const tidegate::ClientEvent& e) {
    std::printf("lost: %.*s; again in %d ms\n", static_cast<int>(e.text.size), e.text.data,
                static_cast<int>(e.retry_ms));
  });
  int entered = 0, sent = 0;
  const auto world = client.on(TIDEGATE_EVENT_WORLD_ENTERED, [&](const auto&) { ++entered; });
  client.connect();
  // Until it has walked for five seconds in two lives; half a minute at the most.
  for (int frame = 0; frame < 2000 && (entered < 2 || sent < 300); ++frame) {
    if (!client.run(16)) return 1;
    const float angle = static_cast<float>(frame) * 0.02F;
    if (client.move({3 * std::cos(angle), 0, 3 * std::sin(angle)}, kFrame, angle) ==
        TIDEGATE_CLIENT_OK) {
      ++sent;
    }
    // A move that nobody can make: ten seconds' worth in one frame.
    if (sent == 100) client.move({9, 0, 9}, 10), ++sent;
    if (sent == 200 && entered == 1) {
      tidegate_client_drop_connection(client.get());
      ++sent;
    }
    tidegate_vector at;
    if (frame % 30 == 0 && client.self(&at)) {
      std::printf("at %.2f %.2f, %u inputs under way, %.0f ms\n", at.x, at.z,
                  client.stats().pending_inputs, client.stats().rtt_ms);
    }
  }
  const auto stats = client.stats();
  std::printf("%d moves, %llu refused, %llu corrections, %u reconnects\n", sent,
              static_cast<unsigned long long>(stats.refused_moves),
              static_cast<unsigned long long>(stats.corrections), stats.reconnects);
  return entered > 0 && stats.refused_moves > 0 ? 0 : 1;
}
