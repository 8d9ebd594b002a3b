// SPDX-License-Identifier: Apache-2.0
#include "common/ring.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tidegate::bench {
namespace {
constexpr int kBufferGroup = 0;
}

void fail(const char* what, int error) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(error));
  std::exit(1);
}

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

void pin_to_cpu(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) < 0) fail("sched_setaffinity", errno);
}

Ring::Ring(const RingLimits& limits, Wait wait) : limits_(limits), wait_(wait) {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE;
  params.cq_entries = limits.completions;
  int r = io_uring_queue_init_params(limits.submissions, &ring_, &params);
  if (r < 0) fail("io_uring_queue_init", -r);
  io_uring_register_ring_fd(&ring_);
  r = io_uring_register_files_sparse(&ring_, limits.files);
  if (r < 0) fail("io_uring_register_files_sparse", -r);

  if (wait == Wait::kPoll) {
    event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (event_ < 0) fail("eventfd", errno);
    r = io_uring_register_eventfd(&ring_, event_);
    if (r < 0) fail("io_uring_register_eventfd", -r);
  }

  // Both regions are touched now, so that no first-touch fault falls into a measured round.
  const size_t ring_bytes = limits.buffers * sizeof(io_uring_buf);
  const size_t data_bytes = size_t{limits.buffers} * limits.buffer_bytes;
  void* map = mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  void* data = mmap(nullptr, data_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (map == MAP_FAILED || data == MAP_FAILED) fail("mmap", errno);
  buffers_ = static_cast<io_uring_buf_ring*>(map);
  memory_ = static_cast<uint8_t*>(data);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(map);
  registration.ring_entries = limits.buffers;
  registration.bgid = kBufferGroup;
  r = io_uring_register_buf_ring(&ring_, &registration, 0);
  if (r < 0) fail("io_uring_register_buf_ring", -r);
  for (unsigned id = 0; id < limits.buffers; ++id) recycle(id);
  publish_buffers();
}

io_uring_sqe* Ring::sqe() {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  while (entry == nullptr) {
    const int r = io_uring_submit(&ring_);
    if (r < 0 && r != -EBUSY && r != -EINTR && r != -EAGAIN) fail("io_uring_submit", -r);
    entry = io_uring_get_sqe(&ring_);
  }
  return entry;
}

void Ring::arm_accept(int listener, uint64_t data) {
  io_uring_sqe* entry = sqe();
  io_uring_prep_multishot_accept_direct(entry, listener, nullptr, nullptr, 0);
  io_uring_sqe_set_data64(entry, data);
}

void Ring::arm_receive(unsigned slot, uint64_t data) {
  io_uring_sqe* entry = sqe();
  io_uring_prep_recv_multishot(entry, static_cast<int>(slot), nullptr, 0, 0);
  entry->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  entry->buf_group = kBufferGroup;
  io_uring_sqe_set_data64(entry, data);
}

void Ring::send(unsigned slot, const void* bytes, unsigned size, uint64_t data) {
  io_uring_sqe* entry = sqe();
  io_uring_prep_send(entry, static_cast<int>(slot), bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  entry->flags |= IOSQE_FIXED_FILE;
  io_uring_sqe_set_data64(entry, data);
}

void Ring::close(unsigned slot, uint64_t data) {
  io_uring_sqe* entry = sqe();
  io_uring_prep_close_direct(entry, slot);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, data);
}

void Ring::submit_and_wait(unsigned completions, int64_t timeout_ns) {
  if (wait_ == Wait::kPoll) {
    submit();
    if (io_uring_cq_ready(&ring_) == 0) {
      pollfd p{event_, POLLIN, 0};
      const timespec t{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
      uint64_t count;
      if (ppoll(&p, 1, timeout_ns < 0 ? nullptr : &t, nullptr) > 0 &&
          read(event_, &count, sizeof count) < 0 && errno != EAGAIN)
        fail("eventfd read", errno);
    }
    return;
  }
  int r;
  if (timeout_ns < 0) {
    r = io_uring_submit_and_wait(&ring_, completions);
  } else {
    __kernel_timespec t{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
    io_uring_cqe* unused = nullptr;
    r = io_uring_submit_and_wait_timeout(&ring_, &unused, completions, &t, nullptr);
  }
  if (r < 0 && r != -ETIME && r != -EINTR && r != -EBUSY && r != -EAGAIN)
    fail("io_uring_enter", -r);
}

void Ring::submit() {
  const int r = io_uring_submit_and_get_events(&ring_);
  if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN) fail("io_uring_enter", -r);
}

unsigned Ring::peek(io_uring_cqe** out, unsigned count) {
  return io_uring_peek_batch_cqe(&ring_, out, count);
}

void Ring::advance(unsigned count) { io_uring_cq_advance(&ring_, count); }

void Ring::recycle(unsigned id) {
  io_uring_buf& entry = buffers_->bufs[tail_ & (limits_.buffers - 1)];
  entry.addr = reinterpret_cast<uint64_t>(memory_ + size_t{id} * limits_.buffer_bytes);
  entry.len = limits_.buffer_bytes;
  entry.bid = static_cast<uint16_t>(id);
  ++tail_;
}

void Ring::publish_buffers() {
  // Pairs with the kernel's acquiring load of the tail.
  __atomic_store_n(&buffers_->tail, tail_, __ATOMIC_RELEASE);
}

void Ring::install(unsigned slot, int descriptor) {
  const int r = io_uring_register_files_update(&ring_, slot, &descriptor, 1);
  if (r < 0) fail("io_uring_register_files_update", -r);
}

}  // namespace tidegate::bench
