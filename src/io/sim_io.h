// SPDX-License-Identifier: Apache-2.0
// The simulation backend of the completion contract: same events in the same order rules as the
// io_uring one, from a SimNetwork with virtual time. A shard cannot tell them apart.
//
// poll() never waits: it returns what is due at the network's time. finish_sends() reports short
// sends when the link's window is full, exactly as a full socket buffer would.
//
// Thread: the network's. Owner: the test or its shard. Limits: IoLimits; slots are given out
// lowest free first.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "io/io.h"
#include "io/sim_network.h"

namespace tidegate::io {

// Waker of a SimIo, or of a simulated thread without one.
class SimWaker final : public Waker {
 public:
  void wake() override { woken_ = true; }
  bool woken() const { return woken_; }
  // Whether a wake came since the last call.
  bool take() {
    const bool woken = woken_;
    woken_ = false;
    return woken;
  }

 private:
  bool woken_ = false;
};

class SimIo final : public Io {
 public:
  SimIo(SimNetwork& network, const IoLimits& limits);
  ~SimIo() override;
  SimIo(const SimIo&) = delete;
  SimIo& operator=(const SimIo&) = delete;

  IoStatus listen(const ListenSpec& spec, uint16_t* port_out) override;
  void stop_accepting() override;
  void start_receive(uint32_t slot, uint32_t generation) override;
  void recycle(uint16_t buffer) override;
  void send(uint32_t slot, uint32_t generation, const uint8_t* data, uint32_t size) override;
  void send(uint32_t slot, uint32_t generation, const iovec* parts, uint32_t count,
            uint32_t total) override;
  std::span<const ShortSend> finish_sends() override;
  void watch_writable(uint32_t slot, uint32_t generation) override;
  void query_peer(uint32_t slot, uint32_t generation) override;
  void shut_down_send(uint32_t slot, uint32_t generation) override;
  void close(uint32_t slot, uint32_t generation) override;
  void wake(Waker& target) override { target.wake(); }
  SimWaker& waker() override { return waker_; }
  std::span<const Completion> poll(base::Instant deadline) override;
  IoTrouble trouble() const override { return {}; }
  base::Instant now() override { return network_.now(); }
  base::UnixMs unix_ms() override { return network_.unix_ms(); }

  bool ready() const;  // poll would return something
  uint32_t open_sockets() const { return open_sockets_; }
  uint32_t buffers_out() const { return buffers_out_; }

 private:
  friend class SimNetwork;
  struct Slot;
  struct PendingSend {
    uint32_t slot;
    uint32_t generation;
    std::vector<iovec> parts;
  };

  // From the network.
  void on_syn(SimLink& link);
  void on_progress(SimLink& link);  // bytes, FIN, RST, credit or a resumed receive

  Slot& claim(uint32_t slot, uint32_t generation);
  void accept_waiting();
  void receive_ready();
  bool receive_one(uint32_t slot);
  bool writable(SimLink& link) const;
  void send_now(const PendingSend& send);
  void run_sends();
  void drop_queued(uint32_t slot);
  void release(uint32_t slot);
  void mark_ready(uint32_t slot);
  void push(Event event, uint32_t slot, uint32_t generation, int32_t result);

  SimNetwork& network_;
  IoLimits limits_;
  SimWaker waker_;
  std::vector<Slot> slots_;
  std::vector<uint8_t> buffer_memory_;
  std::vector<uint16_t> free_buffers_;
  uint32_t buffers_out_ = 0;
  std::vector<Completion> queued_;      // for the next poll
  std::vector<Completion> handed_out_;  // by the last poll
  std::deque<uint32_t> ready_slots_;
  std::deque<SimLink*> backlog_;  // that wait for a slot
  std::vector<PendingSend> sends_;
  std::vector<ShortSend> short_sends_;
  uint32_t open_sockets_ = 0;
  std::vector<uint16_t> ports_;  // of the listeners, by number
  int backlog_max_ = 0;
  bool accepting_ = false;
  bool table_full_ = false;
  bool short_taken_ = false;  // handed out; the next send starts a new list
};

}  // namespace tidegate::io
