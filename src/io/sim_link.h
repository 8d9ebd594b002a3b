// SPDX-License-Identifier: Apache-2.0
// One simulated connection: two byte streams and the state of both ends. Private to the
// simulation backend.
// Thread: the network's. Owner: SimNetwork. Limits: SimConfig::window_bytes for each direction.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "io/sim_io.h"
#include "io/sim_network.h"

namespace tidegate::io {

// First in, first out bytes; keeps its memory.
class ByteQueue {
 public:
  void append(const uint8_t* data, uint32_t size) {
    if (size == 0) return;
    if (begin_ > 0 && bytes_.size() + size > bytes_.capacity()) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(begin_));
      begin_ = 0;
    }
    bytes_.insert(bytes_.end(), data, data + size);
  }
  void take(uint8_t* out, uint32_t size) {
    std::memcpy(out, bytes_.data() + begin_, size);
    begin_ += size;
    if (begin_ == bytes_.size()) {
      bytes_.clear();
      begin_ = 0;
    }
  }

 private:
  std::vector<uint8_t> bytes_;
  size_t begin_ = 0;
};

// One direction.
struct SimPipe {
  ByteQueue bytes;           // sent and not yet read
  uint32_t charged = 0;      // counts against the window: not read, or the credit is on its way
  uint32_t arrived = 0;      // readable now
  base::Instant last_due{};  // arrival of the last piece; order is kept
  bool fin_sent = false;
  bool fin_arrived = false;  // nothing more comes behind `arrived`
  bool reset_arrived = false;
};

struct SimLink {
  uint32_t id = 0;
  uint16_t port = 0;
  sockaddr_in6 client{};
  SimPipe to_server;
  SimPipe to_client;
  std::unique_ptr<SimClientSocket> socket;

  // Client end. `client_open`: not closed by the test; `client_held`: release() not called.
  bool client_open = true;
  bool client_held = true;
  bool client_broken = false;

  // Server end.
  SimIo* io = nullptr;         // from the SYN's arrival until the slot is free again or refusal
  uint32_t slot = UINT32_MAX;  // UINT32_MAX: waiting for a slot, or never had one
  bool server_open = false;    // has a slot and was not closed
  bool accepted_once = false;
  bool syn_travels = false;     // the SYN has not arrived
  bool torn = false;            // broken by a fault: nothing arrives any more
  bool reset_answered = false;  // data for a closed end was answered once

  SimPipe& pipe(bool to_server_side) { return to_server_side ? to_server : to_client; }
};

}  // namespace tidegate::io
