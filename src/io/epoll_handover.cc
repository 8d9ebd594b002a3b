// SPDX-License-Identifier: Apache-2.0
// Sockets on their way to and from another process. Here they have numbers of the process already,
// and nothing is in flight that could be lost: what was not received stays in the socket.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "io/epoll_slots.h"

namespace tidegate::io {

using namespace epoll;

void EpollIo::pause() {
  if (pausing_) return;
  pausing_ = true;
  (void)watch_listeners(false);
  for (uint32_t slot = 0; slot < limits_.sockets; ++slot) {
    if ((slots_[slot].state & (kOpen | kClosing)) == kOpen) tell_kernel(slot);
  }
}

bool EpollIo::paused() const { return pausing_ && late_begin_ == late_end_; }

void EpollIo::resume() {
  pausing_ = false;
  accept_retry_ = base::Instant{1};  // at once
  for (uint32_t slot = 0; slot < limits_.sockets; ++slot) {
    if ((slots_[slot].state & (kOpen | kClosing)) == kOpen) tell_kernel(slot);
  }
}

bool EpollIo::descriptors_of(std::span<const uint32_t> slots, std::span<int> out) {
  TG_ASSERT(slots.size() == out.size());
  bool good = true;
  for (size_t i = 0; i < slots.size(); ++i) {
    out[i] = good ? ::fcntl(slots_[slots[i]].fd, F_DUPFD_CLOEXEC, 0) : -1;
    good = good && out[i] >= 0;
  }
  if (good) return true;
  for (int& descriptor : out) {
    if (descriptor >= 0) ::close(descriptor);
    descriptor = -1;
  }
  return false;
}

bool EpollIo::adopt(uint32_t slot, uint32_t generation, int descriptor) {
  pausing_ = true;
  uint32_t* const end = free_slots_.data() + free_count_;
  uint32_t* const place = std::find(free_slots_.data(), end, slot);
  if (place == end) {
    ::close(descriptor);
    return false;
  }
  *place = *(end - 1);
  --free_count_;
  Slot& s = slots_[slot];
  s = {};
  s.fd = descriptor;
  s.generation = generation & kGenerationMask;
  s.state = kOpen | kNamed;
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  (void)::getpeername(descriptor, reinterpret_cast<sockaddr*>(&name), &length);
  map_address(name, &peers_[slot]);
  ++open_sockets_;
  return true;
}

bool EpollIo::adopt_listener(int descriptor, const ListenSpec& spec) {
  pausing_ = true;
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (listener_count_ == kListenersMax || flags < 0 ||
      ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) != 0) {
    ::close(descriptor);
    return false;
  }
  record_flag_ = spec.unsent_bytes != 0 ? MSG_EOR : 0;
  listeners_[listener_count_++] = descriptor;
  return true;
}

}  // namespace tidegate::io
