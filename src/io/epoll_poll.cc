// SPDX-License-Identifier: Apache-2.0
// From readiness to events: accepting, receiving, waiting.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "io/epoll_slots.h"

namespace tidegate::io {

using namespace epoll;

// ---- accept ----------------------------------------------------------------------------------

// Instead of failing at full speed.
void EpollIo::rest_accepting() {
  (void)watch_listeners(false);
  accept_retry_ = now() + base::milliseconds(20);
}

void EpollIo::accept_ready(uint32_t listener, uint32_t room) {
  if (!listeners_in_set_ || listener >= listener_count_) return;
  for (uint32_t i = std::min(room, kAcceptsInARow); i > 0; --i) {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    const int fd = ::accept4(listeners_[listener], reinterpret_cast<sockaddr*>(&name), &length,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      switch (errno) {
        case EAGAIN:
          return;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case EPERM:  // a firewall's word, or a sandbox's
          ++counters_.accept_errors;
          push(Event::kAccepted, kNoSlot, 0, -errno);
          rest_accepting();
          return;
        case EINTR:
          break;
        default:  // this client gave up while it waited, or its network did
          ++counters_.accept_errors;
      }
      continue;
    }
    if (free_count_ == 0) {
      // As the ring's kernel does it: this one is let go, the next wait in the backlog.
      ::close(fd);
      ++counters_.accept_errors;
      push(Event::kAccepted, kNoSlot, 0, -ENFILE);
      table_full_ = true;
      (void)watch_listeners(false);
      return;
    }
    const uint32_t slot = free_slots_[--free_count_];
    Slot& s = slots_[slot];
    s = {};
    s.fd = fd;
    s.state = kOpen;
    map_address(name, &peers_[slot]);
    ++open_sockets_;
    push(Event::kAccepted, slot, 0, 0).buffer = static_cast<uint16_t>(listener);
  }
}

// ---- poll ------------------------------------------------------------------------------------

Completion& EpollIo::push(Event event, uint32_t slot, uint32_t generation, int32_t result) {
  Completion& c = events_[event_count_++];
  c = {};
  c.event = event;
  c.slot = slot;
  c.generation = generation;
  c.result = result;
  return c;
}

void EpollIo::postpone(Event event, uint32_t slot, uint32_t generation) {
  TG_ASSERT(late_end_ - late_begin_ < late_.size());
  late_[late_end_++ & (late_.size() - 1)] = {event, slot, generation};
}

void EpollIo::take_late() {
  while (late_begin_ != late_end_ && event_count_ < kEventsPerPoll / 2) {
    const Late late = late_[late_begin_++ & (late_.size() - 1)];
    Slot& s = slots_[late.slot];
    // What was on its way to a socket that was closed meanwhile: only kClosed follows a close.
    if ((s.state & kOpen) == 0 || s.generation != late.generation) continue;
    if (((s.state & kClosing) != 0) != (late.event == Event::kClosed)) continue;
    const int32_t result = late.event == Event::kEnded ? -ENOMEM : 0;
    Completion& c = push(late.event, late.slot, late.generation, result);
    if (late.event == Event::kPeerName) {
      s.state &= static_cast<uint16_t>(~kPeering);
      c.peer = &peers_[late.slot];
    }
    if (late.event == Event::kWritable) s.state &= static_cast<uint16_t>(~(kPolling | kUnwatched));
    if (late.event != Event::kClosed) continue;
    s = {};
    free_slots_[free_count_++] = late.slot;
    --open_sockets_;
    if (table_full_) {
      table_full_ = false;
      accept_retry_ = base::Instant{1};  // at once
    }
  }
}

void EpollIo::starve(uint32_t slot) {
  Slot& s = slots_[slot];
  s.state |= kStarved;
  s.next_starved = kNoSlot;
  s.previous_starved = starved_last_;
  (starved_last_ == kNoSlot ? starved_first_ : slots_[starved_last_].next_starved) = slot;
  starved_last_ = slot;
  tell_kernel(slot);
}

void EpollIo::unstarve(uint32_t slot) {
  Slot& s = slots_[slot];
  (s.previous_starved == kNoSlot ? starved_first_ : slots_[s.previous_starved].next_starved) =
      s.next_starved;
  (s.next_starved == kNoSlot ? starved_last_ : slots_[s.next_starved].previous_starved) =
      s.previous_starved;
  s.state &= static_cast<uint16_t>(~kStarved);
}

void EpollIo::resume_starved() {
  for (uint32_t free = free_buffer_count_; free > 0 && starved_first_ != kNoSlot; --free) {
    const uint32_t slot = starved_first_;
    unstarve(slot);
    tell_kernel(slot);
  }
}

void EpollIo::receive_ready(uint32_t slot, uint32_t buffers_max) {
  Slot& s = slots_[slot];
  for (uint32_t i = 0; i < buffers_max; ++i) {
    if (free_buffer_count_ == 0) {
      if (i > 0) return;  // the kernel reports it again
      ++counters_.buffer_pauses;
      starve(slot);
      return;
    }
    const uint16_t buffer = free_buffers_[free_buffer_count_ - 1];
    uint8_t* data = buffer_memory_.data() + size_t{buffer} * limits_.buffer_bytes;
    const ssize_t size = ::recv(s.fd, data, limits_.buffer_bytes, MSG_DONTWAIT);
    if (size > 0) {
      --free_buffer_count_;
      Completion& c = push(Event::kReceived, slot, s.generation, static_cast<int32_t>(size));
      c.buffer = buffer;
      c.data = data;
      if (static_cast<size_t>(size) < limits_.buffer_bytes) return;
      continue;
    }
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0 && memory_is_short(errno)) {  // the bytes stay in the socket
      ++counters_.memory_pauses;
      return;
    }
    s.state &= static_cast<uint16_t>(~kReceiving);
    const int32_t result = size == 0 ? 0 : -errno;
    tell_kernel(slot);
    push(Event::kEnded, slot, s.generation, result);
    return;
  }
}

void EpollIo::on_socket(uint32_t slot, uint32_t events, uint32_t buffers_max) {
  Slot& s = slots_[slot];
  constexpr uint32_t kBroken = EPOLLHUP | EPOLLERR;
  if ((s.state & kPolling) != 0 && (events & (EPOLLOUT | kBroken)) != 0) {
    s.state &= static_cast<uint16_t>(~kPolling);
    tell_kernel(slot);
    push(Event::kWritable, slot, s.generation, 0);
  }
  if ((s.state & (kReceiving | kStarved)) == kReceiving && (events & (EPOLLIN | kBroken)) != 0) {
    receive_ready(slot, buffers_max);
  }
}

// Number of ready descriptors in ready_, of at most `room`.
int EpollIo::wait(base::Instant deadline, uint32_t room) {
  ++counters_.waits;
  const int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
  const int64_t left = std::max<int64_t>(deadline.ns - now_ns, 0);
  const bool forever = left >= base::seconds(86400).ns;
#ifdef SYS_epoll_pwait2
  if (fine_waits_) {
    timespec limit{static_cast<time_t>(left / 1'000'000'000),
                   static_cast<long>(left % 1'000'000'000)};
    const long count = ::syscall(SYS_epoll_pwait2, epoll_, ready_.get(), static_cast<int>(room),
                                 forever ? nullptr : &limit, nullptr, 0);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(count);
    fine_waits_ = false;  // before Linux 5.11, or hidden by a sandbox
  }
#endif
  const int milliseconds = forever ? -1 : static_cast<int>((left + 999'999) / 1'000'000);
  return ::epoll_wait(epoll_, ready_.get(), static_cast<int>(room), milliseconds);
}

std::span<const Completion> EpollIo::poll(base::Instant deadline) {
  event_count_ = 0;
  for (;;) {
    take_late();
    if (starved_first_ != kNoSlot && free_buffer_count_ > 0) resume_starved();
    base::Instant until = event_count_ > 0 ? base::Instant{} : deadline;
    if (accept_retry_.ns != 0 && !pausing_) {
      if (accept_retry_ <= now()) {
        accept_retry_ = {};
        if (!watch_listeners(true)) rest_accepting();
      } else {
        until = std::min(until, accept_retry_);
      }
    }
    // One socket makes two events at most, but for further buffers of the same one.
    const uint32_t room = (kEventsPerPoll - event_count_) / 2;
    const int count = wait(until, room);
    for (int i = 0; i < count; ++i) {
      const uint64_t what = ready_[i].data.u64;
      const uint32_t reserved = static_cast<uint32_t>(count - i) * 2;
      const uint32_t spare = kEventsPerPoll - event_count_ - std::min(reserved, kEventsPerPoll);
      if (what == kWakerMark) {
        waker_.drain();
        push(Event::kWoken, kNoSlot, 0, 0);
      } else if ((what & kListenerMark) != 0) {
        accept_ready(static_cast<uint32_t>(what), spare + 2);
      } else {
        on_socket(static_cast<uint32_t>(what), ready_[i].events,
                  1 + std::min(spare, kBuffersInARow - 1));
      }
    }
    if (event_count_ != 0 || deadline <= now()) break;
  }
  return {events_.get(), event_count_};
}

}  // namespace tidegate::io
