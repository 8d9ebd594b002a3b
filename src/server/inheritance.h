// SPDX-License-Identifier: Apache-2.0
// What a server takes over from the process before it: first its listeners and what has to be known
// to set up, later everything it has (upgrade.cc, docs/decisions/0015-upgrade.md).
// Thread: setup. Owner: Server; closes descriptors that nobody took. Limits: handover/channel.h.
#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "handover/channel.h"
#include "handover/records.h"

namespace tidegate::server {

struct Inheritance {
  explicit Inheritance(int channel_descriptor) : channel(channel_descriptor) {}
  ~Inheritance() {
    for (const int fd : listeners) {
      if (fd >= 0) ::close(fd);
    }
  }

  // Reads what comes before kReady. False with text.
  [[nodiscard]] bool receive_hello(std::string* error);
  // The listener of a shard; the caller's now. -1: there is none.
  int take_listener(uint32_t shard, bool tls);
  void refuse(const std::string& why);

  handover::Channel channel;
  std::vector<uint8_t> hello_bytes;
  handover::Hello hello;
  std::vector<int> listeners;
  bool takes_secret = false;  // of resume tokens: none is configured
};

}  // namespace tidegate::server
