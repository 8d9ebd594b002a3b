// SPDX-License-Identifier: Apache-2.0
// Submission side of the io_uring backend and poll(). The hot path fills submission entries itself
// rather than through liburing's helpers: no second head to keep, no index array to write.
#include "io/uring_io.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "base/assert.h"
#include "io/uring_compat.h"
#include "io/uring_slots.h"

namespace tidegate::io {
namespace {

const uint64_t kOne = 1;  // what a wake writes

int64_t clock_ns(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

base::Instant UringIo::now() { return {clock_ns(CLOCK_MONOTONIC)}; }
base::UnixMs UringIo::unix_ms() { return clock_ns(CLOCK_REALTIME) / 1'000'000; }

// ---- submission ----------------------------------------------------------------------------

void UringIo::enter(uint32_t min_complete, uint32_t flags, const __kernel_timespec* timeout) {
  if (!bound_) [[unlikely]]
    bind_to_this_thread();
  if (buffer_tail_dirty_) {
    __atomic_store_n(&buffer_ring_->tail, buffer_tail_, __ATOMIC_RELEASE);
    buffer_tail_dirty_ = false;
  }
  __atomic_store_n(ring_.sq.ktail, sq_tail_, __ATOMIC_RELEASE);
  const uint32_t queued = sq_tail_ - __atomic_load_n(ring_.sq.khead, __ATOMIC_ACQUIRE);
  io_uring_getevents_arg arg{};
  arg.sigmask_sz = _NSIG / 8;
  arg.ts = reinterpret_cast<uint64_t>(timeout);
  ++counters_.enters;
  const int result = io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), queued,
                                     min_complete, flags | enter_flags_ | IORING_ENTER_EXT_ARG,
                                     reinterpret_cast<sigset_t*>(&arg), sizeof arg);
  // ETIME: the deadline; EINTR: a signal; EAGAIN, ENOMEM: no memory for a request, tried again with
  // the next enter; EBUSY, EBADR: the completion queue ran over, see finish_sends and poll. What
  // else there is (EFAULT, EINVAL, EEXIST: a second thread) is our own bug.
  TG_ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
            result == -EBUSY || result == -EBADR || result == -ENOMEM);
  sq_head_seen_ = __atomic_load_n(ring_.sq.khead, __ATOMIC_ACQUIRE);
}

void UringIo::submit_all() {
  enter(0, 0, nullptr);
  while (sq_head_seen_ != sq_tail_) {
    // Not all were taken: make room for completions, then go on.
    move_to_stash();
    enter(0, IORING_ENTER_GETEVENTS, nullptr);
  }
}

void UringIo::arm_wake() {
  // Multishot poll reports every write to the eventfd, so the counter is never read and nothing
  // needs to be armed again.
  io_uring_sqe* sqe = prepare(IORING_OP_POLL_ADD, Op::kWake, 0, 0);
  sqe->fd = waker_.fd();
  sqe->poll32_events = POLLIN;
  sqe->len = IORING_POLL_ADD_MULTI;
}

void UringIo::service_accept() {
  if (accept_retry_.ns != 0) {
    if (now() < accept_retry_) return;
    accept_retry_ = {};
  }
  const uint32_t wanted = accept_wanted_;
  accept_wanted_ = 0;
  for (uint32_t i = 0; i < listener_count_; ++i) {
    if ((wanted & 1u << i) != 0) arm_accept(i);
  }
}

void UringIo::arm_accept(uint32_t listener) {
  accepts_out_ |= 1u << listener;
  io_uring_sqe* sqe = prepare(IORING_OP_ACCEPT, Op::kAccept, listener, 0);
  sqe->fd = listeners_[listener];
  sqe->ioprio = IORING_ACCEPT_MULTISHOT;
  sqe->file_index = IORING_FILE_INDEX_ALLOC;
}

void UringIo::arm_receive(uint32_t slot) {
  Slot& s = slots_[slot];
  if (pausing_) [[unlikely]] {
    s.state |= kHeldBack;
    return;
  }
  s.state |= kReceiving;
  io_uring_sqe* sqe = prepare(IORING_OP_RECV, Op::kReceive, slot, s.generation);
  sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  sqe->ioprio = IORING_RECV_MULTISHOT;
  sqe->fd = static_cast<int>(slot);
  sqe->buf_group = kBufferGroup;
}

void UringIo::start_receive(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  TG_ASSERT((s.state & (kReceiving | kStarved)) == 0);
  arm_receive(slot);
}

void UringIo::recycle(uint16_t buffer) {
  TG_ASSERT(buffer < limits_.buffers && buffers_out_ > 0);
  --buffers_out_;
  return_buffer(buffer);
}

void UringIo::starve(uint32_t slot) {
  Slot& s = slots_[slot];
  ++counters_.buffer_pauses;
  if (pausing_) [[unlikely]] {
    s.state |= kHeldBack;
    return;
  }
  s.state |= kStarved;
  s.next_starved = kNoSlot;
  s.previous_starved = starved_last_;
  (starved_last_ == kNoSlot ? starved_first_ : slots_[starved_last_].next_starved) = slot;
  starved_last_ = slot;
}

void UringIo::unstarve(uint32_t slot) {
  Slot& s = slots_[slot];
  s.state &= ~kStarved;
  (s.previous_starved == kNoSlot ? starved_first_ : slots_[s.previous_starved].next_starved) =
      s.next_starved;
  (s.next_starved == kNoSlot ? starved_last_ : slots_[s.next_starved].previous_starved) =
      s.previous_starved;
}

// Receives at most as many sockets as there may be free buffers for. Completions not yet looked at
// hold some of them, so a few may starve again; each such round consumes completions, so it ends.
void UringIo::resume_starved() {
  uint32_t free = limits_.buffers - buffers_out_;
  while (free-- > 0 && starved_first_ != kNoSlot) {
    const uint32_t slot = starved_first_;
    unstarve(slot);
    arm_receive(slot);
  }
}

io_uring_sqe* UringIo::slow_sqe(uint32_t slot, uint32_t generation) {
  claim(slot, generation);
  start_send_batch();
  return next_sqe();
}

// The slow path is a call in tail position, so that the fast one saves no registers.
void UringIo::send_slowly(uint32_t slot, uint32_t generation, const uint8_t* data, uint32_t size) {
  write_send(slow_sqe(slot, generation), IORING_OP_SEND, slot, data, size,
             pack_user_data(static_cast<uint8_t>(Op::kSend), generation, slot), record_flag_);
}

void UringIo::send(uint32_t slot, uint32_t generation, const uint8_t* data, uint32_t size) {
  io_uring_sqe* sqe = fast_sqe(slot, generation);
  if (sqe == nullptr) [[unlikely]]
    return send_slowly(slot, generation, data, size);
  write_send(sqe, IORING_OP_SEND, slot, data, size,
             pack_user_data(static_cast<uint8_t>(Op::kSend), generation, slot), record_flag_);
}

void UringIo::send(uint32_t slot, uint32_t generation, const iovec* parts, uint32_t count,
                   uint32_t /*total*/) {
  TG_ASSERT(count <= 1024);  // UIO_MAXIOV
  io_uring_sqe* sqe = fast_sqe(slot, generation);
  if (sqe == nullptr) [[unlikely]]
    sqe = slow_sqe(slot, generation);
  msghdr& message = messages_[sqe - ring_.sq.sqes];  // the kernel copies it when it takes the entry
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  write_send(sqe, IORING_OP_SENDMSG, slot, &message, 1,
             pack_user_data(static_cast<uint8_t>(Op::kSend), generation, slot), record_flag_);
}

void UringIo::start_send_batch() {
  sends_queued_ = true;
  forget_short_sends();
}

// The list that finish_sends handed out ends with the next send.
void UringIo::forget_short_sends() {
  if (!short_taken_) return;
  short_taken_ = false;
  short_count_ = 0;
}

// Sends with MSG_DONTWAIT run inside the submitting enter, in order, and their failures stand in
// the completion queue when it returns; so all sends are over once every entry was taken.
// GETEVENTS: the same system call also collects what arrived, which often saves poll its own.
std::span<const ShortSend> UringIo::finish_sends() {
  forget_short_sends();
  if (sends_queued_) {
    enter(0, IORING_ENTER_GETEVENTS, nullptr);
    if (sq_head_seen_ != sq_tail_) submit_all();
    sends_queued_ = false;
    // Failed sends may be on the kernel's overflow list; what does not fit into the queue is
    // brought in by the next enter.
    while ((*ring_.sq.kflags & IORING_SQ_CQ_OVERFLOW) != 0) {
      move_to_stash();
      enter(0, IORING_ENTER_GETEVENTS, nullptr);
    }
    scan_sends();
  }
  short_taken_ = true;
  return {short_sends_.data(), short_count_};
}

void UringIo::watch_writable(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  if ((s.state & kPolling) != 0) return;
  s.state |= kPolling;
  io_uring_sqe* sqe = prepare(IORING_OP_POLL_ADD, Op::kWritable, slot, generation);
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->fd = static_cast<int>(slot);
  sqe->poll32_events = POLLOUT;
}

void UringIo::query_peer(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  if ((s.state & kPeering) != 0) return;
  s.state |= kPeering;
  io_uring_sqe* sqe = prepare(IORING_OP_URING_CMD, Op::kPeer, slot, generation);
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->fd = static_cast<int>(slot);
  sqe->off = kSocketUringGetsockopt;
  sqe->addr = static_cast<uint64_t>(SOL_SOCKET) | static_cast<uint64_t>(SO_PEERNAME) << 32;
  // The kernel refuses a length above that of the address.
  sqe->file_index = listener_family_ == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  sqe->addr3 = reinterpret_cast<uint64_t>(&peers_[slot]);
}

void UringIo::shut_down_send(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  if ((s.state & kShutting) != 0) return;
  s.state |= kShutting;
  io_uring_sqe* sqe = prepare(IORING_OP_SHUTDOWN, Op::kShutdown, slot, generation);
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->fd = static_cast<int>(slot);
  sqe->len = SHUT_WR;
}

// By exact user_data: the kernel finds a waiting receive or poll in its hash table; a search by
// descriptor would walk all of them.
void UringIo::cancel(Op op, uint32_t slot) {
  const uint32_t generation = slots_[slot].generation;
  io_uring_sqe* sqe = prepare(IORING_OP_ASYNC_CANCEL, Op::kCancel, slot, generation);
  sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
  sqe->fd = -1;
  sqe->addr = pack_user_data(static_cast<uint8_t>(op), generation, slot);
}

void UringIo::close(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  s.state |= kClosing;
  if ((s.state & kStarved) != 0) unstarve(slot);
  if ((s.state & kReceiving) != 0) cancel(Op::kReceive, slot);
  if ((s.state & kPolling) != 0) cancel(Op::kWritable, slot);
  go_on_closing(slot);
}

void UringIo::go_on_closing(uint32_t slot) {
  Slot& s = slots_[slot];
  if ((s.state & (kInFlight | kCloseSent)) != 0) return;
  s.state |= kCloseSent;
  io_uring_sqe* sqe = prepare(IORING_OP_CLOSE, Op::kClose, slot, s.generation);
  sqe->file_index = slot + 1;
}

void UringIo::wake(Waker& target) {
  auto& waker = static_cast<EventWaker&>(target);
  waker.note_release();
  io_uring_sqe* sqe = prepare(IORING_OP_WRITE, Op::kIgnored, 0, 0);
  sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
  sqe->fd = waker.fd();
  sqe->off = UINT64_MAX;  // no position
  sqe->addr = reinterpret_cast<uint64_t>(&kOne);
  sqe->len = sizeof kOne;
}

// ---- poll ----------------------------------------------------------------------------------

void UringIo::wait(base::Duration remaining) {
  const bool forever = remaining.ns >= base::seconds(86400).ns;
  __kernel_timespec timeout{remaining.ns / 1'000'000'000, remaining.ns % 1'000'000'000};
  if (!limits_.poll_wait) {
    enter(1, IORING_ENTER_GETEVENTS, forever ? nullptr : &timeout);
    return;
  }
  // Submits, sleeps in poll(2), collects: some tools cannot follow a sleep inside the enter. The
  // sleep is on a registered eventfd, because deferred task work does not wake a poll on the ring.
  enter(0, IORING_ENTER_GETEVENTS, nullptr);
  if (ready_count() > 0) return;
  pollfd signal{completion_signal_->fd(), POLLIN, 0};
  timespec limit{timeout.tv_sec, static_cast<long>(timeout.tv_nsec)};
  ::ppoll(&signal, 1, forever ? nullptr : &limit, nullptr);
  completion_signal_->drain();
  enter(0, IORING_ENTER_GETEVENTS, nullptr);
}

std::span<const Completion> UringIo::poll(base::Instant deadline) {
  event_count_ = 0;
  woken_ = false;
  for (bool expired = false;;) {
    if (accept_wanted_ != 0) service_accept();
    if (starved_first_ != kNoSlot) resume_starved();
    const uint32_t kernel_flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
    if (ready_count() != 0) {
      // Enter only when there is something to submit or the kernel has more for us.
      if (sq_tail_ != sq_head_seen_ || kernel_flags != 0) {
        enter(0, IORING_ENTER_GETEVENTS, nullptr);
      }
    } else {
      base::Duration remaining{};
      if (deadline.ns > 0) {
        base::Instant until = deadline;
        if (accept_wanted_ != 0 && accept_retry_ < until) until = accept_retry_;
        const base::Instant at = now();
        remaining = until - at;
        expired = deadline <= at;
      } else {
        expired = true;
      }
      if (remaining.ns > 0) {
        wait(remaining);
      } else if (sq_tail_ != sq_head_seen_ || kernel_flags != 0 || !bound_) {
        enter(0, IORING_ENTER_GETEVENTS, nullptr);
      }
    }
    translate_ready();
    // Completions that are only our own bookkeeping do not end the wait.
    if (event_count_ != 0 || (expired && ready_count() == 0)) break;
  }
  return {events_.get(), event_count_};
}

}  // namespace tidegate::io
