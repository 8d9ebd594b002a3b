/* SPDX-License-Identifier: Apache-2.0
 * Joins a world, walks, and prints who is near. Usage: client_hello URL TOKEN */
#include <stdio.h>
#include <tidegate/client.h>

int main(int argc, char** argv) {
  const char* url = argc > 1 ? argv[1] : "ws://localhost:7400/ws";
  tidegate_client_config config = {
      .struct_size = sizeof config, .endpoints = &url, .endpoint_count = 1};
  config.token = argc > 2 ? argv[2] : NULL;
  tidegate_client* client;
  if (tidegate_client_create(&config, &client, NULL, 0) != TIDEGATE_CLIENT_OK) return 2;
  tidegate_client_connect(client);
  for (int frame = 0; frame < 300;) {
    tidegate_client_run(client, 16);
    const tidegate_vector velocity = {2, 0, 0};
    if (tidegate_client_move(client, velocity, 0, 0, 0.016F) != TIDEGATE_CLIENT_OK) continue;
    if (++frame % 60 != 0) continue;
    tidegate_client_entity e = {.struct_size = sizeof e};
    for (uint32_t at = 0; tidegate_client_next(client, &at, &e);)
      printf("%.*s at %.1f %.1f\n", (int)e.id.size, e.id.data, e.shown.x, e.shown.z);
  }
  tidegate_client_destroy(client);
  return 0;
}
