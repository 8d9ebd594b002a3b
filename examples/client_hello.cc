// SPDX-License-Identifier: Apache-2.0
// Joins a world, walks, and prints who is near. Usage: client_hello URL TOKEN
#include <cstdio>
#include <tidegate/client.hpp>

static void on_added(const tidegate::ClientEvent& e) {
  std::printf("%.*s is here\n", static_cast<int>(e.entity->id.size), e.entity->id.data);
}

static void on_lost(const tidegate::ClientEvent& e) {
  std::fprintf(stderr, "lost: %.*s\n", static_cast<int>(e.text.size), e.text.data);
}

int main(int argc, char** argv) {
  tidegate::Client client({argc > 1 ? argv[1] : "ws://localhost:7400/ws"}, argc > 2 ? argv[2] : "");
  if (!client) return 2;
  auto added = client.on(TIDEGATE_EVENT_ENTITY_ADDED, on_added);
  auto lost = client.on(TIDEGATE_EVENT_LOST, on_lost);
  client.connect();
  int frame = 0;
  while (frame < 300 && client.run(16)) {
    if (client.move({2, 0, 0}, 0.016F) != TIDEGATE_CLIENT_OK || ++frame % 60 != 0) continue;
    for (const auto& e : client.entities())
      std::printf("%.*s at %.1f %.1f\n", static_cast<int>(e.id.size), e.id.data, e.shown.x,
                  e.shown.z);
  }
  return frame < 300;
}
