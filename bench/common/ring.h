// SPDX-License-Identifier: Apache-2.0
// A thin io_uring for the benchmark programs: one ring with the flags the product uses
// (SINGLE_ISSUER, DEFER_TASKRUN), a sparse table of direct descriptors and one ring of provided
// receive buffers. It is written apart from src/io on purpose: the floor must not inherit a
// weakness of the code it measures.
// Thread: the one that built it. Owner: the program. Limits: the constructor's numbers; every
// failure at set-up ends the program with a message, because a benchmark has nothing to fall back
// on.
#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>

namespace tidegate::bench {

// How the thread sleeps when nothing is ready. kPoll exists for valgrind, which runs one thread at
// a time and never gets control back from a blocking io_uring_enter. It sleeps on an eventfd of the
// ring: with DEFER_TASKRUN work that waits for its task does not wake a poll() on the ring itself.
enum class Wait : uint8_t { kEnter, kPoll };

struct RingLimits {
  unsigned submissions = 4096;   // power of two
  unsigned completions = 32768;  // power of two
  unsigned files = 1024;         // direct descriptors
  unsigned buffers = 4096;       // power of two, at most 32768
  unsigned buffer_bytes = 2048;
};

class Ring {
 public:
  Ring(const RingLimits& limits, Wait wait);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // A free submission entry; submits what waits when the queue is full.
  io_uring_sqe* sqe();

  void arm_accept(int listener, uint64_t data);
  void arm_receive(unsigned slot, uint64_t data);
  // One MSG_DONTWAIT send: it completes within the submitting system call.
  void send(unsigned slot, const void* bytes, unsigned size, uint64_t data);
  // Closes a direct descriptor; its completion is suppressed unless it fails.
  void close(unsigned slot, uint64_t data);

  // Submits everything and sleeps until `completions` are there or `timeout_ns` has passed
  // (negative: no limit). With Wait::kPoll any one completion ends the sleep.
  void submit_and_wait(unsigned completions, int64_t timeout_ns);
  // Submits and collects without sleeping.
  void submit();

  // Up to `count` completions; call advance() with the number used.
  unsigned peek(io_uring_cqe** out, unsigned count);
  void advance(unsigned count);

  const uint8_t* buffer(unsigned id) const { return memory_ + size_t{id} * limits_.buffer_bytes; }
  // Gives a receive buffer back; the kernel sees it at the next publish_buffers().
  void recycle(unsigned id);
  void publish_buffers();

  void install(unsigned slot, int descriptor);  // puts an ordinary descriptor into the table

 private:
  RingLimits limits_;
  Wait wait_;
  io_uring ring_{};
  io_uring_buf_ring* buffers_ = nullptr;
  uint8_t* memory_ = nullptr;
  int event_ = -1;     // Wait::kPoll: signalled when work is there
  uint16_t tail_ = 0;  // local tail of the buffer ring
};

[[noreturn]] void fail(const char* what, int error);

// Nanoseconds of CLOCK_MONOTONIC.
int64_t now_ns();
void pin_to_cpu(int cpu);  // negative: stays where it is

}  // namespace tidegate::bench
