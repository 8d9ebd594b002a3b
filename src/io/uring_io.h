// SPDX-License-Identifier: Apache-2.0
// The io_uring backend of the completion contract: one ring for each shard, sockets as direct
// descriptors, multishot accept and receive, receive buffers from a registered ring, sends that
// end inside finish_sends(). A send that the socket takes whole costs no completion at all
// (IOSQE_CQE_SKIP_SUCCESS); only short ones are reported.
//
// make() and listen() may run on the setup thread: the ring is created disabled and is bound to
// the thread of the first poll (IORING_SETUP_R_DISABLED + SINGLE_ISSUER), so set-up errors and bind
// errors are known before a shard starts.
//
// Thread: shard; make, listen and waker() also setup. Owner: the shard. Memory: all in make().
// Limits: IoLimits; 65,536 sockets and 32,768 buffers at most; kernel 6.1 (peer names: 6.7).
#pragma once

#include <liburing.h>
#undef BLOCK_SIZE  // linux/fs.h by way of liburing.h; breaks unrelated headers

#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "io/event_waker.h"
#include "io/io.h"
#include "mem/mapped_array.h"

namespace tidegate::io {

// What happened so far; plain numbers of the shard thread.
struct UringCounters {
  uint64_t enters = 0;             // io_uring_enter calls
  uint64_t buffer_pauses = 0;      // receives that ended for want of a buffer and were re-armed
  uint64_t memory_pauses = 0;      // receives and sends the kernel had no memory for
  uint64_t accept_errors = 0;      // kAccepted with an error
  uint64_t short_sends = 0;        // sends not taken whole
  uint64_t overflows = 0;          // completion queue ran over (slow path, nothing lost)
  uint64_t stale_completions = 0;  // completions of a generation that is gone; expected 0
};

class UringIo final : public Io {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<UringIo>, IoStatus> make(const IoLimits& limits,
                                                                             SetupError* error);
  ~UringIo() override;
  UringIo(const UringIo&) = delete;
  UringIo& operator=(const UringIo&) = delete;

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
  // `target`: an EventWaker, be it another ring's or a control thread's.
  void wake(Waker& target) override;
  EventWaker& waker() override { return waker_; }
  std::span<const Completion> poll(base::Instant deadline) override;
  base::Instant now() override;
  base::UnixMs unix_ms() override;
  bool can_hand_over() const override { return true; }
  void pause() override;
  bool paused() const override;
  void resume() override;
  bool descriptors_of(std::span<const uint32_t> slots, std::span<int> out) override;
  std::span<const int> listeners() const override { return {listeners_, listener_count_}; }
  bool adopt(uint32_t slot, uint32_t generation, int descriptor) override;
  bool adopt_listener(int descriptor, const ListenSpec& spec) override;

  IoTrouble trouble() const override {
    return {counters_.buffer_pauses, counters_.memory_pauses, counters_.overflows};
  }

  const UringCounters& counters() const { return counters_; }
  uint32_t open_sockets() const { return open_sockets_; }

 private:
  friend struct UringFaults;  // tests: completions that the kernel gives only in want
  enum class Op : uint8_t;
  struct Slot {  // one for each socket
    uint32_t generation;
    uint32_t state;         // bits of uring_slots.h: what is in flight, what the owner asked for
    uint32_t next_starved;  // slot or UINT32_MAX; valid while kStarved
    uint32_t previous_starved;
  };

  explicit UringIo(const IoLimits& limits);
  IoStatus set_up(SetupError* error);
  void bind_to_this_thread();

  // submission
  io_uring_sqe* next_sqe();
  io_uring_sqe* prepare(uint8_t opcode, Op op, uint32_t slot, uint32_t generation);
  void wait(base::Duration remaining);
  io_uring_sqe* fast_sqe(uint32_t slot, uint32_t generation);
  io_uring_sqe* slow_sqe(uint32_t slot, uint32_t generation);
  void send_slowly(uint32_t slot, uint32_t generation, const uint8_t* data, uint32_t size);
  void start_send_batch();
  void forget_short_sends();
  void enter(uint32_t min_complete, uint32_t flags, const __kernel_timespec* timeout);
  void submit_all();
  void service_accept();
  void arm_accept(uint32_t listener);
  void arm_receive(uint32_t slot);
  void arm_wake();
  void starve(uint32_t slot);
  void unstarve(uint32_t slot);
  void resume_starved();
  bool collect_installed(std::span<int> by_slot, uint32_t count);
  void cancel(Op op, uint32_t slot);
  void return_buffer(uint16_t buffer);

  // completion
  uint32_t ready_count() const;
  void translate(const io_uring_cqe& cqe);
  void on_accept(const io_uring_cqe& cqe);
  void on_receive(const io_uring_cqe& cqe, uint32_t slot);
  void on_closed(uint32_t slot);
  void on_peer(const io_uring_cqe& cqe, uint32_t slot);
  void take_short_send(const io_uring_cqe& cqe);
  void scan_sends();
  void move_to_stash();
  void translate_ready();
  void translate_received();
  void translate_stash();
  void go_on_closing(uint32_t slot);
  Slot& claim(uint32_t slot, uint32_t generation);
  Completion& push(Event event, uint32_t slot, uint32_t generation, int32_t result);

  IoLimits limits_;
  io_uring ring_{};
  bool ring_open_ = false;
  bool bound_ = false;  // enabled, on the thread that polls
  EventWaker waker_;
  std::unique_ptr<EventWaker>
      completion_signal_;  // with IoLimits::poll_wait: written by the kernel
  UringCounters counters_;

  // Own view of the queues; liburing is used to set them up, the hot path is written out here.
  uint32_t sq_tail_ = 0;       // next entry to fill
  uint32_t sq_head_seen_ = 0;  // kernel's head when last looked
  uint32_t enter_flags_ = 0;   // IORING_ENTER_REGISTERED_RING or 0
  uint32_t cq_scanned_ = 0;    // completions before this one were searched for sends
  bool woken_ = false;         // this poll has its kWoken already
  bool sends_queued_ = false;  // since the last finish_sends

  mem::MappedArray<Slot> slots_;
  mem::MappedArray<sockaddr_in6> peers_;  // by slot, valid from query to the next poll
  std::unique_ptr<msghdr[]> messages_;    // by submission entry
  std::unique_ptr<Completion[]> events_;
  uint32_t event_count_ = 0;
  mem::MappedArray<ShortSend> short_sends_;
  uint32_t short_count_ = 0;
  bool short_taken_ = false;               // handed out; the next send starts a new list
  std::unique_ptr<io_uring_cqe[]> stash_;  // completions moved aside after an overflow
  uint32_t stash_begin_ = 0;
  uint32_t stash_end_ = 0;
  uint32_t stash_capacity_ = 0;

  // Receive buffers: memory, the ring of free ones, sockets that wait for one (FIFO by slot).
  uint8_t* buffer_memory_ = nullptr;
  size_t buffer_memory_bytes_ = 0;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  size_t buffer_ring_bytes_ = 0;
  uint16_t buffer_tail_ = 0;
  bool buffer_tail_dirty_ = false;
  uint32_t buffers_out_ = 0;  // with the caller
  uint32_t starved_first_ = UINT32_MAX;
  uint32_t starved_last_ = UINT32_MAX;

  int listeners_[kListenersMax];
  uint32_t listener_count_ = 0;
  int listener_family_ = 0;
  // MSG_EOR with ListenSpec::unsent_bytes: else TCP adds to its last packet without looking at the
  // limit, 64 KiB and more.
  uint32_t record_flag_ = 0;
  bool accepting_ = false;
  uint32_t accepts_out_ = 0;  // bits: an accept is in flight
  bool pausing_ = false;      // nothing new is received or accepted
  // Bits are numbers of listeners.
  uint32_t accept_wanted_ = 0;  // to be armed by poll, not before accept_retry_
  uint32_t table_full_ = 0;     // accepting rests until a slot is free
  base::Instant accept_retry_{};
  uint32_t open_sockets_ = 0;
};

}  // namespace tidegate::io
