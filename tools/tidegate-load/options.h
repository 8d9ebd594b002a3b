// SPDX-License-Identifier: Apache-2.0
// What a load run does.
// Thread: setup. Owner: main. Limits: none.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tls/client_context.h"

namespace tidegate::load {

enum class Mode : uint8_t { kWalk, kIdle, kEcho };

struct Options {
  std::string url = "ws://127.0.0.1:7400/ws";
  std::string secret;  // HS256, to mint each bot's token
  std::string issuer, audience;
  std::string user_prefix = "bot";
  uint32_t bots = 100;
  uint32_t processes = 0;      // 0: enough for the descriptor limit
  double connect_rate = 2000;  // connections a second, all processes together
  double seconds = 20;         // measured time after everybody is in
  double move_rate = 20;       // of one bot
  double speed = 3;            // metres a second
  double area = 300;           // metres, edge of the square around the origin
  float view_distance = 0;     // metres, 0: the server's
  bool packed = true;
  uint32_t budget = 0;          // bytes a second that each bot asks for, 0: the server's choice
  uint32_t stalled = 0;         // the first so many bots read nothing once they are in the world
  uint32_t slow = 0;            // ... and the next so many read slow_rate bytes a second;
  uint32_t slow_rate = 16'000;  // neither of them counts in latencies and delivery
  uint32_t observers = 0;       // so many bots measure what they see of the others
  double cell_size = 64;        // metres, of the server; for the observers
  uint32_t mark_every = 10;     // each n-th bot carries its send time to its neighbours
  uint32_t echo_bytes = 64;
  uint32_t picture_every = 1;  // each n-th bot keeps a picture of the world; others count bytes
  double report_every = 10;    // seconds between two checksums sent by a bot of cells that agree
  double flip_every = 0;       // seconds between two bits flipped in a process' pictures; 0: none
  Mode mode = Mode::kWalk;
  bool polling = false;                // by HTTP long polling, without TLS
  std::vector<std::string> more_urls;  // further gateways; bots begin in turn at each
  bool resume = false;                 // who loses its connection comes back, at the next gateway
  double letters = 0;                  // a second, of one bot to the next one; examples/letters
  bool live = false;
  bool live_json = false;  // a JSON line a second instead of text
  std::string json_file;

  // Derived.
  struct Place {
    sockaddr_in6 address{};
    std::string host, path;
  };
  std::vector<Place> places;  // of url and more_urls
  bool loopback = false;
  std::string server_name;                  // host without its port
  const tls::ClientContext* tls = nullptr;  // null: ws
};

}  // namespace tidegate::load
