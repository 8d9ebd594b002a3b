/* SPDX-License-Identifier: Apache-2.0
 * Joins a world, walks, and prints who is near. Usage: client_hello URL TOKEN */
#include <stdio.h>
#include <tidegate/client.h>

static void on_lost(void* user, tidegate_client* client, const tidegate_client_event* e) {
  (void)user, (void)client;
  fprintf(stderr, "lost: %.*s\n", (int)e->text.size, e->text.data);
}

int main(int argc, char** argv) {
  const char* url = argc > 1 ? argv[1] : "ws://localhost:7400/ws";
  tidegate_client_config config = {
      .struct_size = sizeof config, .endpoints = &url, .endpoint_count = 1};
  config.token = argc > 2 ? argv[2] : NULL;
  tidegate_client* client;
  if (tidegate_client_create(&config, &client, NULL, 0) != TIDEGATE_CLIENT_OK) return 2;
  tidegate_client_listen(client, TIDEGATE_EVENT_LOST, on_lost, NULL);
  tidegate_client_connect(client);
  int frame = 0;
  while (frame < 300 && tidegate_client_get_state(client) != TIDEGATE_CLIENT_CLOSED) {
    tidegate_client_run(client, 16);
    const tidegate_vector velocity = {2, 0, 0};
    if (tidegate_client_move(client, velocity, 0, 0, 0.016F) != TIDEGATE_CLIENT_OK) continue;
    if (++frame % 60 != 0) continue;
    tidegate_client_entity e = {.struct_size = sizeof e};
    for (uint32_t at = 0; tidegate_client_next(client, &at, &e);)
      printf("%.*s at %.1f %.1f\n", (int)e.id.size, e.id.data, e.shown.x, e.shown.z);
  }
  tidegate_client_destroy(client);
  return frame < 300;
}
