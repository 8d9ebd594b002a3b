// SPDX-License-Identifier: Apache-2.0
// Completion side of the io_uring backend: from queue entries to events.
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "io/uring_slots.h"

namespace tidegate::io {

uint32_t UringIo::ready_count() const {
  return stash_end_ - stash_begin_ +
         (__atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE) - *ring_.cq.khead);
}

void UringIo::translate_stash() {
  while (stash_begin_ != stash_end_ && event_count_ < kEventsPerPoll - 1) {
    const io_uring_cqe cqe = stash_[stash_begin_++];
    if (stash_begin_ == stash_end_) stash_begin_ = stash_end_ = 0;
    translate(cqe);
  }
}

void UringIo::translate_ready() {
  if (stash_end_ != 0) [[unlikely]]
    translate_stash();
  // One completion makes two events at most.
  while (event_count_ < kEventsPerPoll - 1) {
    translate_received();
    const uint32_t head = *ring_.cq.khead;
    if (head == __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE) ||
        event_count_ >= kEventsPerPoll - 1) {
      return;
    }
    const io_uring_cqe cqe = ring_.cq.cqes[head & ring_.cq.ring_mask];
    // The head moves first: translating may submit, and a submit that finds no room moves the
    // queue to the stash.
    __atomic_store_n(ring_.cq.khead, head + 1, __ATOMIC_RELEASE);
    translate(cqe);
    if (stash_end_ != 0) [[unlikely]]
      return;
  }
}

// The common case in a row: bytes on sockets that do nothing but receive. Stops at anything else.
// Members live in locals here: written through, the compiler would reload them for every entry.
void UringIo::translate_received() {
  constexpr uint32_t kMoreInBuffer = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE;
  constexpr uint32_t kJustReceiving = kOpen | kNamed | kReceiving;
  const io_uring_cqe* const queue = ring_.cq.cqes;
  const Slot* const slots = slots_.data();
  const uint32_t mask = ring_.cq.ring_mask;
  const uint64_t buffer_bytes = limits_.buffer_bytes;
  uint8_t* const memory = buffer_memory_;
  const uint32_t tail = __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE);
  const uint32_t first = *ring_.cq.khead;
  Completion* event = events_.get() + event_count_;
  Completion* const end = events_.get() + (kEventsPerPoll - 1);
  uint32_t head = first;
  for (; head != tail && event < end; ++head, ++event) {
    const io_uring_cqe& cqe = queue[head & mask];
    const uint64_t user_data = cqe.user_data;
    if (static_cast<Op>(op_of(user_data)) != Op::kReceive) break;
    const uint32_t slot = slot_of(user_data);
    const Slot& s = slots[slot];
    if (cqe.res <= 0 || s.state != kJustReceiving || s.generation != generation_of(user_data) ||
        (cqe.flags & kMoreInBuffer) != kMoreInBuffer) {
      break;
    }
    const uint32_t buffer = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
    event->event = Event::kReceived;
    event->buffer = static_cast<uint16_t>(buffer);
    event->slot = slot;
    event->generation = s.generation;
    event->result = cqe.res;
    event->data = memory + buffer * buffer_bytes;
  }
  event_count_ += head - first;
  buffers_out_ += head - first;
  __atomic_store_n(ring_.cq.khead, head, __ATOMIC_RELEASE);
}

void UringIo::translate(const io_uring_cqe& cqe) {
  const auto op = static_cast<Op>(op_of(cqe.user_data));
  const uint32_t slot = slot_of(cqe.user_data);
  switch (op) {
    case Op::kReceive:
      on_receive(cqe, slot);
      return;
    case Op::kSend:  // finish_sends was not called yet; it will report this one
      take_short_send(cqe);
      return;
    case Op::kAccept:
      on_accept(cqe);
      return;
    case Op::kWake:
      if ((cqe.flags & IORING_CQE_F_MORE) == 0) arm_wake();  // the kernel ran out of room once
      waker_.note_acquire();
      if (!woken_) push(Event::kWoken, kNoSlot, 0, 0);
      woken_ = true;
      return;
    case Op::kIgnored:
    case Op::kInstall:  // descriptors_of() gave up before it came
      return;
    default:
      break;
  }
  // The rest are one-shot and belong to a socket.
  Slot& s = slots_[slot];
  if ((s.state & kOpen) == 0 || s.generation != generation_of(cqe.user_data)) {
    ++counters_.stale_completions;
    return;
  }
  const bool closing = (s.state & kClosing) != 0;
  switch (op) {
    case Op::kWritable:
      s.state &= ~kPolling;
      if (!closing) push(Event::kWritable, slot, s.generation, cqe.res < 0 ? cqe.res : 0);
      break;
    case Op::kPeer:
      s.state &= ~kPeering;
      if (!closing) on_peer(cqe, slot);
      break;
    case Op::kShutdown:
    case Op::kShutdownToClose:
      // ENOTCONN: the peer was faster, which is as good.
      s.state &= ~kShutting;
      break;
    case Op::kCancel:
      // ENOENT, EALREADY: not found or just running. Its last completion is either queued already
      // or it goes on waiting; shutting the socket down ends it for certain.
      if (closing && (s.state & (kReceiving | kPolling)) != 0 && (s.state & kForced) == 0) {
        s.state |= kForced | kShutting;
        io_uring_sqe* sqe = prepare(IORING_OP_SHUTDOWN, Op::kShutdownToClose, slot, s.generation);
        sqe->flags = IOSQE_FIXED_FILE;
        sqe->fd = static_cast<int>(slot);
        sqe->len = SHUT_RDWR;
      }
      break;
    case Op::kClose:
      if ((s.state & kCloseSent) != 0) on_closed(slot);
      return;
    default:
      return;
  }
  if (closing) go_on_closing(slot);
}

void UringIo::on_receive(const io_uring_cqe& cqe, uint32_t slot) {
  Slot& s = slots_[slot];
  const bool has_buffer = (cqe.flags & IORING_CQE_F_BUFFER) != 0;
  const auto buffer = static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
  const bool last = (cqe.flags & IORING_CQE_F_MORE) == 0;
  if ((s.state & kReceiving) == 0 || s.generation != generation_of(cqe.user_data)) {
    ++counters_.stale_completions;
    if (has_buffer) return_buffer(buffer);
    return;
  }
  if (last) s.state &= ~kReceiving;
  if ((s.state & kClosing) != 0) {
    if (has_buffer) return_buffer(buffer);
    if (last) go_on_closing(slot);
    return;
  }
  if (cqe.res > 0) {
    ++buffers_out_;
    Completion& c = push(Event::kReceived, slot, s.generation, cqe.res);
    c.buffer = buffer;
    c.data = buffer_memory_ + size_t{buffer} * limits_.buffer_bytes;
    // The kernel ends a multishot receive now and then, for example when the queue runs over.
    if (last) arm_receive(slot);
    return;
  }
  if (has_buffer) return_buffer(buffer);  // the end of a stream may carry an empty one
  switch (cqe.res) {
    case -ENOBUFS:  // no free buffer; the bytes stay in the socket
      starve(slot);
      break;
    case -ENOMEM:  // the bytes stay in the socket
      ++counters_.memory_pauses;
      [[fallthrough]];
    case -EINTR:
    case -EAGAIN:
      if (last) arm_receive(slot);
      break;
    case -ECANCELED:
      if (pausing_) {
        s.state |= kHeldBack;
        break;
      }
      [[fallthrough]];
    default:  // 0: FIN; ECONNRESET, ETIMEDOUT, EHOSTUNREACH...: broken
      push(Event::kEnded, slot, s.generation, cqe.res);
  }
}

void UringIo::on_accept(const io_uring_cqe& cqe) {
  const bool last = (cqe.flags & IORING_CQE_F_MORE) == 0;
  const uint32_t listener = slot_of(cqe.user_data);
  if (last) accepts_out_ &= ~(1u << listener);
  if (cqe.res >= 0) {
    const auto slot = static_cast<uint32_t>(cqe.res);
    TG_ASSERT(slot < limits_.sockets);
    Slot& s = slots_[slot];
    // Kernels before 6.16 may report a new socket before the close that made its slot free; the
    // late completion of that close then finds kCloseSent gone.
    if ((s.state & kOpen) != 0) on_closed(slot);
    s.state = kOpen;
    s.generation = 0;
    ++open_sockets_;
    push(Event::kAccepted, slot, 0, 0).buffer = static_cast<uint16_t>(listener);
    if (last && accepting_) accept_wanted_ |= 1u << listener;
    return;
  }
  if (!accepting_) return;  // the end that stop_accepting asked for
  switch (cqe.res) {
    case -ECANCELED:
    case -EINTR:
    case -EAGAIN:
      break;
    case -ECONNABORTED:  // the client gave up while it waited
    case -EPROTO:
    case -ENETDOWN:
      ++counters_.accept_errors;
      break;
    default:
      // ENFILE: our table or the machine's is full, and the kernel has dropped that client. EMFILE,
      // ENOMEM, ENOBUFS and what we do not know: rest a little instead of failing at full speed.
      ++counters_.accept_errors;
      push(Event::kAccepted, kNoSlot, 0, cqe.res);
      if (!last) return;
      if (cqe.res == -ENFILE && open_sockets_ == limits_.sockets) {
        table_full_ |= 1u << listener;
        return;
      }
      accept_retry_ = now() + base::milliseconds(20);
  }
  if (last) accept_wanted_ |= 1u << listener;
}

void UringIo::on_closed(uint32_t slot) {
  Slot& s = slots_[slot];
  push(Event::kClosed, slot, s.generation, 0);
  s.state = 0;
  --open_sockets_;
  if (table_full_ != 0) {
    if (accepting_) accept_wanted_ |= table_full_;
    table_full_ = 0;
  }
}

void UringIo::on_peer(const io_uring_cqe& cqe, uint32_t slot) {
  Completion& c = push(Event::kPeerName, slot, slots_[slot].generation, cqe.res < 0 ? cqe.res : 0);
  if (cqe.res < 0) return;
  sockaddr_in6& peer = peers_[slot];
  if (peer.sin6_family == AF_INET) {
    sockaddr_in four;
    std::memcpy(&four, &peer, sizeof four);
    peer = {};
    peer.sin6_family = AF_INET6;
    peer.sin6_port = four.sin_port;
    peer.sin6_addr.s6_addr[10] = peer.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(peer.sin6_addr.s6_addr + 12, &four.sin_addr, 4);
  }
  c.peer = &peer;
}

// ---- sends ---------------------------------------------------------------------------------

void UringIo::take_short_send(const io_uring_cqe& cqe) {
  forget_short_sends();
  ++counters_.short_sends;
  TG_ASSERT(short_count_ < limits_.sockets);
  int32_t sent = cqe.res;
  switch (sent) {
    case -ENOMEM:  // the kernel had no memory for it just now: what was to be sent waits
    case -ENOBUFS:
      ++counters_.memory_pauses;
      [[fallthrough]];
    case -EAGAIN:
    case -EINTR:
    case -ECANCELED:
      sent = 0;
      break;
    default:
      break;
  }
  short_sends_[short_count_++] = {slot_of(cqe.user_data), generation_of(cqe.user_data), sent};
}

// Picks the sends out of the completion queue where they stand and leaves the rest to poll.
void UringIo::scan_sends() {
  const uint32_t tail = __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE);
  const uint32_t head = *ring_.cq.khead;
  if (static_cast<int32_t>(head - cq_scanned_) > 0) cq_scanned_ = head;
  for (; cq_scanned_ != tail; ++cq_scanned_) {
    io_uring_cqe& cqe = ring_.cq.cqes[cq_scanned_ & ring_.cq.ring_mask];
    if (static_cast<Op>(op_of(cqe.user_data)) != Op::kSend) [[likely]]
      continue;
    take_short_send(cqe);
    cqe.user_data = 0;  // Op::kIgnored; the kernel does not read this memory
  }
}

void UringIo::move_to_stash() {
  ++counters_.overflows;
  scan_sends();
  const uint32_t tail = __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE);
  uint32_t head = *ring_.cq.khead;
  if (stash_begin_ > 0) {
    std::memmove(&stash_[0], &stash_[stash_begin_],
                 (stash_end_ - stash_begin_) * sizeof(io_uring_cqe));
    stash_end_ -= stash_begin_;
    stash_begin_ = 0;
  }
  for (; head != tail; ++head) {
    const io_uring_cqe& cqe = ring_.cq.cqes[head & ring_.cq.ring_mask];
    if (cqe.user_data == 0) continue;
    TG_ASSERT(stash_end_ < stash_capacity_);
    stash_[stash_end_++] = cqe;
  }
  __atomic_store_n(ring_.cq.khead, head, __ATOMIC_RELEASE);
}

}  // namespace tidegate::io
