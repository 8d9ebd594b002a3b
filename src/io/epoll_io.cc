// SPDX-License-Identifier: Apache-2.0
#include "io/epoll_io.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/assert.h"
#include "base/log.h"
#include "io/listener.h"

namespace tidegate::io {
namespace {

constexpr uint16_t kOpen = 1u << 0;       // between kAccepted and kClosed
constexpr uint16_t kNamed = 1u << 1;      // generation is set
constexpr uint16_t kReceiving = 1u << 2;  // start_receive was called, kEnded did not come yet
constexpr uint16_t kPolling = 1u << 3;    // watch_writable
constexpr uint16_t kPeering = 1u << 4;    // kPeerName is on its way
constexpr uint16_t kStarved = 1u << 5;    // waits for a buffer, in the starved list
constexpr uint16_t kClosing = 1u << 6;    // close() was called, kClosed is on its way
constexpr uint16_t kUnwatched = 1u << 7;  // the kernel would not watch it; kWritable is on its way

constexpr uint32_t kNoSlot = UINT32_MAX;
constexpr uint32_t kGenerationMask = 0xffffff;
constexpr uint32_t kEventsPerPoll = 512;  // as UringIo
// One socket may fill so many buffers in a row before others have their turn.
constexpr uint32_t kBuffersInARow = 8;
constexpr uint32_t kAcceptsInARow = 64;

// epoll_event::data: what became ready.
constexpr uint64_t kListenerMark = uint64_t{1} << 32;
constexpr uint64_t kWakerMark = uint64_t{2} << 32;

int64_t clock_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// The system has no memory for it just now; the socket is well.
bool memory_is_short(int error) { return error == ENOBUFS || error == ENOMEM; }

void map_address(const sockaddr_storage& name, sockaddr_in6* out) {
  if (name.ss_family == AF_INET6) {
    std::memcpy(out, &name, sizeof *out);
    return;
  }
  sockaddr_in four;
  std::memcpy(&four, &name, sizeof four);
  *out = {};
  out->sin6_family = AF_INET6;
  out->sin6_port = four.sin_port;
  out->sin6_addr.s6_addr[10] = out->sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(out->sin6_addr.s6_addr + 12, &four.sin_addr, 4);
}

}  // namespace

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
  if ((s.state & (kReceiving | kStarved)) == kReceiving) wanted |= EPOLLIN;
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
    if (accept_retry_.ns != 0) {
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
