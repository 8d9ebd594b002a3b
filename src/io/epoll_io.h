// SPDX-License-Identifier: Apache-2.0
// The epoll backend of the completion contract: for machines whose kernel, container or sandbox
// refuses io_uring, and for tools that follow system calls of a process (valgrind, strace). The
// same events in the same order as the io_uring one, at one system call for each receive and send.
//
// Readiness is level-triggered: what a receive left in a socket is reported again by the kernel, so
// a short read never loses anything. A socket that nobody asks anything of is not in the set.
//
// A socket takes a descriptor of the process here; the limit of open files bounds the sockets of
// all shards together. wake() is a system call of its own.
//
// Thread: shard; make, listen and waker() also setup. Owner: the shard. Memory: all in make().
// Limits: IoLimits; kernel 3.9; waits are rounded up to milliseconds before 5.11.
#pragma once

#include <sys/epoll.h>

#include <memory>

#include "base/result.h"
#include "io/event_waker.h"
#include "io/io.h"
#include "mem/mapped_array.h"

namespace tidegate::io {

// What happened so far; plain numbers of the shard thread.
struct EpollCounters {
  uint64_t waits = 0;          // epoll_wait calls
  uint64_t changes = 0;        // epoll_ctl calls
  uint64_t buffer_pauses = 0;  // receives that found no buffer
  uint64_t memory_pauses = 0;  // receives and sends that the kernel had no memory for
  uint64_t accept_errors = 0;
  uint64_t short_sends = 0;
};

class EpollIo final : public Io {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<EpollIo>, IoStatus> make(const IoLimits& limits,
                                                                             SetupError* error);
  ~EpollIo() override;
  EpollIo(const EpollIo&) = delete;
  EpollIo& operator=(const EpollIo&) = delete;

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
  bool can_hand_over() const override { return true; }
  void pause() override;
  bool paused() const override;
  void resume() override;
  bool descriptors_of(std::span<const uint32_t> slots, std::span<int> out) override;
  std::span<const int> listeners() const override { return {listeners_, listener_count_}; }
  bool adopt(uint32_t slot, uint32_t generation, int descriptor) override;
  bool adopt_listener(int descriptor, const ListenSpec& spec) override;
  void wake(Waker& target) override { target.wake(); }
  EventWaker& waker() override { return waker_; }
  std::span<const Completion> poll(base::Instant deadline) override;
  base::Instant now() override;
  base::UnixMs unix_ms() override;

  IoTrouble trouble() const override {
    return {counters_.buffer_pauses, counters_.memory_pauses, 0};
  }

  const EpollCounters& counters() const { return counters_; }
  uint32_t open_sockets() const { return open_sockets_; }

 private:
  struct Slot {  // one for each socket; zero is free
    int fd;      // while kOpen and not closed yet
    uint32_t generation;
    uint16_t state;     // bits, see epoll_slots.h
    uint16_t interest;  // what the kernel was told: EPOLLIN, EPOLLOUT; 0: not in the set
    uint32_t next_starved;
    uint32_t previous_starved;
  };
  struct Late {  // an event that was decided outside poll
    Event event;
    uint32_t slot;
    uint32_t generation;
  };

  explicit EpollIo(const IoLimits& limits);
  IoStatus set_up(SetupError* error);

  Slot& claim(uint32_t slot, uint32_t generation);
  void tell_kernel(uint32_t slot);
  bool watch_listeners(bool on);
  void send_message(uint32_t slot, uint32_t generation, const iovec* parts, uint32_t count,
                    size_t total);
  void forget_short_sends();
  void starve(uint32_t slot);
  void unstarve(uint32_t slot);
  void resume_starved();
  void postpone(Event event, uint32_t slot, uint32_t generation);
  void take_late();
  int wait(base::Instant deadline, uint32_t room);
  void accept_ready(uint32_t listener, uint32_t room);
  void rest_accepting();
  void receive_ready(uint32_t slot, uint32_t buffers_max);
  void on_socket(uint32_t slot, uint32_t events, uint32_t buffers_max);
  Completion& push(Event event, uint32_t slot, uint32_t generation, int32_t result);

  IoLimits limits_;
  int epoll_ = -1;
  EventWaker waker_;
  EpollCounters counters_;
  bool fine_waits_ = true;  // epoll_pwait2 is there

  mem::MappedArray<Slot> slots_;
  mem::MappedArray<sockaddr_in6> peers_;  // by slot, from the accept on; IPv4 mapped
  mem::MappedArray<uint32_t> free_slots_;
  uint32_t free_count_ = 0;
  uint32_t open_sockets_ = 0;
  std::unique_ptr<epoll_event[]> ready_;
  std::unique_ptr<Completion[]> events_;
  uint32_t event_count_ = 0;
  mem::MappedArray<Late> late_;  // a ring: at most one of each kind for a socket
  uint64_t late_begin_ = 0;
  uint64_t late_end_ = 0;
  mem::MappedArray<ShortSend> short_sends_;
  uint32_t short_count_ = 0;
  bool short_taken_ = false;  // handed out; the next send starts a new list

  mem::MappedArray<uint8_t> buffer_memory_;
  mem::MappedArray<uint16_t> free_buffers_;
  uint32_t free_buffer_count_ = 0;
  uint32_t starved_first_ = UINT32_MAX;  // sockets that wait for a buffer, FIFO by slot
  uint32_t starved_last_ = UINT32_MAX;

  int listeners_[kListenersMax];
  uint32_t listener_count_ = 0;
  int record_flag_ = 0;  // MSG_EOR with ListenSpec::unsent_bytes, as in UringIo
  bool listeners_in_set_ = false;
  bool table_full_ = false;       // accepting rests until a slot is free
  bool pausing_ = false;          // for a hand-over: nothing is accepted or received
  base::Instant accept_retry_{};  // ... or until then, after the system had no descriptor
};

}  // namespace tidegate::io
