// SPDX-License-Identifier: Apache-2.0
// One face over both backends for the contract tests: a server Io, clients, and a pump that lets
// time pass (virtual in the simulation, real and event-driven under io_uring).
// Thread: the test's. Owner: the test. Limits: none.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "io/epoll_io.h"
#include "io/io.h"
#include "io/sim_io.h"
#include "io/uring_io.h"

namespace tidegate::io {

enum class Backend { kUring, kEpoll, kSim, kSimHarsh };

class TestClient {
 public:
  virtual ~TestClient() = default;
  virtual uint32_t send(const uint8_t* data, uint32_t size) = 0;  // bytes taken
  virtual uint32_t receive(uint8_t* out, uint32_t capacity) = 0;  // bytes read now
  virtual void finish() = 0;
  virtual void close() = 0;
  virtual void reset() = 0;
  virtual bool ended() = 0;   // after receive() returned 0
  virtual bool broken() = 0;  // likewise
  virtual uint16_t local_port() = 0;

  void send_text(const std::string& text) {
    ASSERT_EQ(
        send(reinterpret_cast<const uint8_t*>(text.data()), static_cast<uint32_t>(text.size())),
        text.size());
  }
  // Reads what is there and appends it to `received`.
  uint32_t drain() {
    uint8_t chunk[16384];
    uint32_t total = 0;
    for (uint32_t n; (n = receive(chunk, sizeof chunk)) > 0; total += n) {
      received.append(reinterpret_cast<char*>(chunk), n);
    }
    return total;
  }
  std::string received;
};

// What the server saw of one socket.
struct Seen {
  uint32_t generation = 0;
  std::string received;
  std::vector<Event> events;
  int32_t end_result = 1;  // 1: no kEnded
  bool open = false;
  bool closed = false;
  bool writable = false;
  std::string peer;  // address and port, empty before kPeerName
};

class Rig {
 public:
  Rig(Backend backend, IoLimits limits = {});
  ~Rig();

  // Null when this machine does not permit io_uring; the test skips then.
  bool usable() const { return io_ != nullptr; }
  Io& io() { return *io_; }
  UringIo* uring() { return uring_; }
  EpollIo* epoll() { return epoll_; }
  SimIo* sim() { return sim_; }
  SimNetwork* network() { return network_.get(); }

  void listen();
  std::unique_ptr<TestClient> connect();
  // Connects and waits until the server has it; the slot is last_slot.
  std::unique_ptr<TestClient> connect_accepted();

  // Lets things happen until `done`; false when nothing happens any more.
  bool until(const std::function<bool()>& done);
  // Lets everything that is under way arrive.
  void settle();
  void pump(bool wait);

  void send(uint32_t slot, const std::string& text);  // one send, finished, must be taken whole
  void close(uint32_t slot) { io_->close(slot, sockets[slot].generation); }
  uint32_t gen(uint32_t slot) { return sockets[slot].generation; }

  // Behaviour of the server.
  bool receive_on_accept = true;
  bool hold_buffers = false;  // into `held` instead of recycling
  std::function<void(const Completion&)> on_event;

  std::map<uint32_t, Seen> sockets;  // by slot, the newest user of it
  std::vector<uint16_t> held;
  std::vector<int32_t> accept_errors;
  uint32_t accepted = 0;
  uint32_t closed = 0;
  uint32_t woken = 0;
  uint32_t last_slot = UINT32_MAX;
  uint16_t port = 0;

 private:
  void take(const Completion& c);

  std::unique_ptr<SimNetwork> network_;
  std::unique_ptr<Io> io_;
  UringIo* uring_ = nullptr;
  EpollIo* epoll_ = nullptr;
  SimIo* sim_ = nullptr;
  uint32_t next_generation_ = 1;
  uint64_t progress_ = 0;
};

std::string pattern(uint32_t size, uint32_t seed);

}  // namespace tidegate::io
