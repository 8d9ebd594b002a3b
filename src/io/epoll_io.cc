// SPDX-License-Identifier: Apache-2.0
// Set-up and end of an EpollIo, and what the shard asks of it; epoll_poll.cc is what it hears.
#include "io/epoll_io.h"

#include <sys/socket.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "base/assert.h"
#include "base/log.h"
#include "io/epoll_slots.h"
#include "io/listener.h"

namespace tidegate::io {

using namespace epoll;

base::Result<std::unique_ptr<EpollIo>, IoStatus> EpollIo::make(const IoLimits& limits,
                                                               SetupError* error) {
  TG_ASSERT(std::has_single_bit(limits.buffers) && limits.buffers <= 32768);
  TG_ASSERT(limits.sockets > 0 && limits.sockets <= 65536 && limits.buffer_bytes > 0);
  std::unique_ptr<EpollIo> io(new EpollIo(limits));
  const IoStatus status = io->set_up(error);
  if (status != IoStatus::kOk) return status;
  return io;
}

EpollIo::EpollIo(const IoLimits& limits)
    : limits_(limits),
      slots_(limits.sockets),
      peers_(limits.sockets),
      free_slots_(limits.sockets),
      ready_(new epoll_event[kEventsPerPoll]),
      events_(new Completion[kEventsPerPoll]()),
      late_(std::bit_ceil(size_t{limits.sockets} * 4)),
      short_sends_(limits.sockets),
      buffer_memory_(size_t{limits.buffers} * limits.buffer_bytes),
      free_buffers_(limits.buffers) {
  while (free_count_ < limits.sockets) {
    free_slots_[free_count_] = limits.sockets - 1 - free_count_;
    ++free_count_;
  }
  while (free_buffer_count_ < limits.buffers) {
    free_buffers_[free_buffer_count_] =
        static_cast<uint16_t>(limits.buffers - 1 - free_buffer_count_);
    ++free_buffer_count_;
  }
}

IoStatus EpollIo::set_up(SetupError* error) {
  const auto fail = [error](const char* what) {
    const int code = errno;
    base::format_into(error->text, "%s failed: %s", what, std::strerror(code));
    return code == EMFILE || code == ENFILE || memory_is_short(code) ? IoStatus::kNoDescriptors
                                                                     : IoStatus::kFailed;
  };
  if (!waker_.valid()) return fail("eventfd");
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return fail("epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakerMark;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, waker_.fd(), &event) != 0) return fail("epoll_ctl");
  return IoStatus::kOk;
}

EpollIo::~EpollIo() {
  for (uint32_t i = 0; i < listener_count_; ++i) ::close(listeners_[i]);
  for (uint32_t i = 0; i < limits_.sockets; ++i) {
    if ((slots_[i].state & (kOpen | kClosing)) == kOpen) ::close(slots_[i].fd);
  }
  if (epoll_ >= 0) ::close(epoll_);
}

base::Instant EpollIo::now() { return {clock_ns(CLOCK_MONOTONIC)}; }
base::UnixMs EpollIo::unix_ms() { return clock_ns(CLOCK_REALTIME) / 1'000'000; }

// ---- accept ----------------------------------------------------------------------------------

IoStatus EpollIo::listen(const ListenSpec& spec, uint16_t* port_out) {
  TG_ASSERT(listener_count_ < kListenersMax);
  int family = 0;
  const IoStatus status = open_listener(spec, &listeners_[listener_count_], &family, port_out);
  if (status != IoStatus::kOk) return status;
  record_flag_ = spec.unsent_bytes != 0 ? MSG_EOR : 0;
  if (listeners_in_set_) (void)watch_listeners(false);
  ++listener_count_;
  return watch_listeners(true) ? IoStatus::kOk : IoStatus::kNoDescriptors;
}

void EpollIo::stop_accepting() {
  for (uint32_t i = 0; i < listener_count_; ++i) {
    ::shutdown(listeners_[i], SHUT_RDWR);
    ::close(listeners_[i]);
  }
  listener_count_ = 0;
  listeners_in_set_ = false;
  table_full_ = false;
  accept_retry_ = {};
}

bool EpollIo::watch_listeners(bool on) {
  bool good = true;
  for (uint32_t i = 0; i < listener_count_; ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kListenerMark | i;
    ++counters_.changes;
    good &= epoll_ctl(epoll_, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listeners_[i], &event) == 0 ||
            errno == (on ? EEXIST : ENOENT);
  }
  listeners_in_set_ = on;
  return good;
}

// ---- what the shard asks ---------------------------------------------------------------------

EpollIo::Slot& EpollIo::claim(uint32_t slot, uint32_t generation) {
  TG_ASSERT(slot < limits_.sockets);
  Slot& s = slots_[slot];
  TG_ASSERT((s.state & (kOpen | kClosing)) == kOpen);
  if ((s.state & kNamed) == 0) {
    s.generation = generation & kGenerationMask;
    s.state |= kNamed;
  }
  TG_ASSERT(s.generation == (generation & kGenerationMask));
  return s;
}

// Brings the set in line with what is asked of the socket.
void EpollIo::tell_kernel(uint32_t slot) {
  Slot& s = slots_[slot];
  uint16_t wanted = 0;
  if ((s.state & (kReceiving | kStarved)) == kReceiving && !pausing_) wanted |= EPOLLIN;
  if ((s.state & (kPolling | kUnwatched)) == kPolling) wanted |= EPOLLOUT;
  if (wanted == s.interest) return;
  epoll_event event{};
  event.events = wanted;
  event.data.u64 = slot;
  const int op = wanted == 0 ? EPOLL_CTL_DEL : s.interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  ++counters_.changes;
  if (epoll_ctl(epoll_, op, s.fd, &event) == 0) {
    s.interest = wanted;
    return;
  }
  // ENOMEM, or max_user_watches of this user (ENOSPC): the socket cannot be served. Its owner
  // hears of it as of a broken one.
  if (op == EPOLL_CTL_DEL) return;
  if ((s.state & kReceiving) != 0) {
    if ((s.state & kStarved) != 0) unstarve(slot);
    s.state &= static_cast<uint16_t>(~kReceiving);
    postpone(Event::kEnded, slot, s.generation);
  }
  if ((s.state & (kPolling | kUnwatched)) == kPolling) {
    s.state |= kUnwatched;
    postpone(Event::kWritable, slot, s.generation);
  }
}

void EpollIo::start_receive(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  TG_ASSERT((s.state & kReceiving) == 0);
  s.state |= kReceiving;
  tell_kernel(slot);
}

void EpollIo::recycle(uint16_t buffer) {
  TG_ASSERT(buffer < limits_.buffers && free_buffer_count_ < limits_.buffers);
  free_buffers_[free_buffer_count_++] = buffer;
}

void EpollIo::send(uint32_t slot, uint32_t generation, const uint8_t* data, uint32_t size) {
  const iovec part{const_cast<uint8_t*>(data), size};
  send_message(slot, generation, &part, 1, size);
}

void EpollIo::send(uint32_t slot, uint32_t generation, const iovec* parts, uint32_t count,
                   uint32_t /*total*/) {
  TG_ASSERT(count <= 1024);  // UIO_MAXIOV
  size_t total = 0;
  for (uint32_t i = 0; i < count; ++i) total += parts[i].iov_len;
  send_message(slot, generation, parts, count, total);
}

void EpollIo::send_message(uint32_t slot, uint32_t generation, const iovec* parts, uint32_t count,
                           size_t total) {
  const Slot& s = claim(slot, generation);
  forget_short_sends();
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(s.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | record_flag_);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0 && static_cast<size_t>(sent) == total) return;
  int32_t result = static_cast<int32_t>(sent);
  if (sent < 0) {
    result = errno == EAGAIN ? 0 : -errno;
    if (memory_is_short(errno)) {  // what was to be sent waits, as with a full socket
      ++counters_.memory_pauses;
      result = 0;
    }
  }
  ++counters_.short_sends;
  TG_ASSERT(short_count_ < limits_.sockets);
  short_sends_[short_count_++] = {slot, s.generation, result};
}

// The list that finish_sends handed out ends with the next send.
void EpollIo::forget_short_sends() {
  if (!short_taken_) return;
  short_taken_ = false;
  short_count_ = 0;
}

std::span<const ShortSend> EpollIo::finish_sends() {
  forget_short_sends();
  short_taken_ = true;
  return {short_sends_.data(), short_count_};
}

void EpollIo::watch_writable(uint32_t slot, uint32_t generation) {
  claim(slot, generation).state |= kPolling;
  tell_kernel(slot);
}

void EpollIo::query_peer(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  if ((s.state & kPeering) != 0) return;
  s.state |= kPeering;
  postpone(Event::kPeerName, slot, s.generation);
}

void EpollIo::shut_down_send(uint32_t slot, uint32_t generation) {
  // ENOTCONN: the peer was faster, which is as good.
  (void)::shutdown(claim(slot, generation).fd, SHUT_WR);
}

void EpollIo::close(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  if ((s.state & kStarved) != 0) unstarve(slot);
  s.state = kOpen | kNamed | kClosing;
  s.interest = 0;
  ::close(s.fd);  // leaves the set with it: no other descriptor refers to the socket
  s.fd = -1;
  postpone(Event::kClosed, slot, s.generation);
}

}  // namespace tidegate::io
