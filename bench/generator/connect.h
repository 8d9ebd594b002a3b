// SPDX-License-Identifier: Apache-2.0
// Opens the generator's connections before the ring takes over: TCP from several loopback source
// addresses, then the WebSocket upgrade, in batches smaller than any server's backlog.
// Thread: setup. Owner: the caller owns the descriptors. Limits: a failure ends the program.
#pragma once

#include <netinet/in.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tidegate::bench {

struct ConnectPlan {
  sockaddr_in server{};
  unsigned connections = 1;
  unsigned sources = 8;  // 127.0.0.1 .. 127.0.0.<sources>
  bool raw = false;      // no upgrade
  std::string path = "/";
  std::vector<std::string> tokens;  // one bearer token each, may be empty
};

// What came in the same segment as the end of the 101 belongs to the stream.
struct Opened {
  int descriptor = -1;
  std::string surplus;
};

// Calls `on_batch(first, opened)` for each batch of new connections, so that the caller can start
// to read them: a server that publishes does not wait until all are there.
using OnBatch = std::function<void(unsigned first, std::span<const Opened> opened)>;
void open_connections(const ConnectPlan& plan, const OnBatch& on_batch);

}  // namespace tidegate::bench
