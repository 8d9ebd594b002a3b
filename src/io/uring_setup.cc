// SPDX-License-Identifier: Apache-2.0
// Set-up and end of a UringIo: the ring, its tables and buffers, the listening socket.
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/log.h"
#include "io/listener.h"
#include "io/probe.h"
#include "io/uring_slots.h"

namespace tidegate::io {
namespace {

// mmap, touched at once: no page fault and no surprise about memory later. Null when refused.
void* map_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

IoStatus status_of(int error) {
  switch (error) {
    case EMFILE:  // the process' limit, which also bounds the table of direct descriptors
    case ENFILE:  // the machine's
    case ENOMEM:  // no memory, or RLIMIT_MEMLOCK
      return IoStatus::kNoDescriptors;
    case EPERM:   // seccomp or kernel.io_uring_disabled
    case EACCES:  // a security module
      return IoStatus::kRefused;
    case ENOSYS:  // no io_uring in this kernel
    case EINVAL:  // a set-up flag this kernel does not know
    case EOPNOTSUPP:
      return IoStatus::kKernelTooOld;
    default:
      return IoStatus::kFailed;
  }
}

}  // namespace

base::Result<std::unique_ptr<UringIo>, IoStatus> UringIo::make(const IoLimits& limits,
                                                               SetupError* error) {
  TG_ASSERT(std::has_single_bit(limits.buffers) && limits.buffers <= 32768);
  TG_ASSERT(std::has_single_bit(limits.queue_entries) && limits.queue_entries <= 16384);
  TG_ASSERT(limits.sockets > 0 && limits.sockets <= 65536 && limits.buffer_bytes > 0);
  std::unique_ptr<UringIo> io(new UringIo(limits));
  const IoStatus status = io->set_up(error);
  if (status != IoStatus::kOk) return status;
  return io;
}

UringIo::UringIo(const IoLimits& limits)
    : limits_(limits),
      slots_(limits.sockets),
      peers_(limits.sockets),
      messages_(new msghdr[limits.queue_entries]()),
      events_(new Completion[kEventsPerPoll]()),
      short_sends_(limits.sockets),
      // All that can be in flight at once: a completion for each buffer, and for each socket the
      // ends of its accept, receive, poll, peer query, shutdown, cancels, close and send.
      stash_capacity_(limits.buffers + limits.sockets * 10 + 64) {
  stash_.reset(new io_uring_cqe[stash_capacity_]);  // not touched before the first overflow
}

IoStatus UringIo::set_up(SetupError* error) {
  const auto fail = [error](const char* what, int code) {
    base::format_into(error->text, "%s failed: %s; %s", what, std::strerror(code),
                      explain_setup_error(code));
    return status_of(code);
  };
  if (!waker_.valid()) return fail("eventfd", EMFILE);

  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = limits_.queue_entries * 4;
  int result = io_uring_queue_init_params(limits_.queue_entries, &ring_, &params);
  if (result < 0) return fail("io_uring_setup", -result);
  ring_open_ = true;
  if ((params.features & IORING_FEAT_CQE_SKIP) == 0 ||
      (params.features & IORING_FEAT_NODROP) == 0 || (params.features & IORING_FEAT_EXT_ARG) == 0) {
    return fail("io_uring feature check", EINVAL);
  }
  // Submission entries are used in ring order, so the index array never changes.
  for (uint32_t i = 0; i < ring_.sq.ring_entries; ++i) ring_.sq.array[i] = i;
  TG_ASSERT(ring_.sq.ring_entries == limits_.queue_entries);

  if (limits_.poll_wait) {
    completion_signal_ = std::make_unique<EventWaker>();
    if (!completion_signal_->valid()) return fail("eventfd", EMFILE);
    result = io_uring_register_eventfd(&ring_, completion_signal_->fd());
    if (result < 0) return fail("registering an eventfd", -result);
  }

  result = io_uring_register_files_sparse(&ring_, limits_.sockets);
  if (result < 0) return fail("registering the descriptor table", -result);

  buffer_memory_bytes_ = size_t{limits_.buffers} * limits_.buffer_bytes;
  buffer_memory_ = static_cast<uint8_t*>(map_memory(buffer_memory_bytes_));
  buffer_ring_bytes_ = size_t{limits_.buffers} * sizeof(io_uring_buf);
  buffer_ring_ = static_cast<io_uring_buf_ring*>(map_memory(buffer_ring_bytes_));
  if (buffer_memory_ == nullptr || buffer_ring_ == nullptr) return fail("mmap", ENOMEM);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(buffer_ring_);
  registration.ring_entries = limits_.buffers;
  registration.bgid = kBufferGroup;
  result = io_uring_register_buf_ring(&ring_, &registration, 0);
  if (result < 0) return fail("registering the buffer ring", -result);
  for (uint32_t i = 0; i < limits_.buffers; ++i) return_buffer(static_cast<uint16_t>(i));
  return IoStatus::kOk;
}

// The ring is created disabled on the set-up thread; enabling makes the caller its only submitter.
void UringIo::bind_to_this_thread() {
  bound_ = true;
  const int result = io_uring_enable_rings(&ring_);
  TG_ASSERT(result == 0);
  // A registered ring saves the descriptor look-up in every enter; not having it costs only that.
  if (io_uring_register_ring_fd(&ring_) == 1) enter_flags_ = IORING_ENTER_REGISTERED_RING;
  arm_wake();
}

UringIo::~UringIo() {
  for (uint32_t i = 0; i < listener_count_; ++i) ::close(listeners_[i]);
  if (ring_open_) {
    // Drops the table first, so that sockets end now. From another thread than the shard's the
    // kernel refuses, and they end a little later with the ring.
    if (bound_) io_uring_unregister_files(&ring_);
    io_uring_queue_exit(&ring_);
  }
  if (buffer_ring_ != nullptr) munmap(buffer_ring_, buffer_ring_bytes_);
  if (buffer_memory_ != nullptr) munmap(buffer_memory_, buffer_memory_bytes_);
}

IoStatus UringIo::listen(const ListenSpec& spec, uint16_t* port_out) {
  TG_ASSERT(listener_count_ < kListenersMax);
  const IoStatus status =
      open_listener(spec, &listeners_[listener_count_], &listener_family_, port_out);
  if (status != IoStatus::kOk) return status;
  record_flag_ = spec.unsent_bytes != 0 ? MSG_EOR : 0;
  accepting_ = true;
  accept_wanted_ |= 1u << listener_count_++;
  accept_retry_ = {};
  return IoStatus::kOk;
}

void UringIo::stop_accepting() {
  if (listener_count_ == 0) return;
  accepting_ = false;
  accept_wanted_ = 0;
  table_full_ = 0;
  // An accept that is still queued names the descriptor's number, so it goes out first. Shutting
  // a listener down ends the accept; clients in the backlog see a reset.
  if (bound_) submit_all();
  for (uint32_t i = 0; i < listener_count_; ++i) {
    ::shutdown(listeners_[i], SHUT_RDWR);
    ::close(listeners_[i]);
  }
  listener_count_ = 0;
}

}  // namespace tidegate::io
