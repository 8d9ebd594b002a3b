// SPDX-License-Identifier: Apache-2.0
// What EpollIo keeps for each socket. Private to the sources of EpollIo.
// Thread: shard. Owner: EpollIo. Limits: 24 bits of generation.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>

#include "io/epoll_io.h"

namespace tidegate::io::epoll {

inline constexpr uint16_t kOpen = 1u << 0;   // between kAccepted and kClosed
inline constexpr uint16_t kNamed = 1u << 1;  // generation is set
inline constexpr uint16_t kReceiving = 1u
                                       << 2;   // start_receive was called, kEnded did not come yet
inline constexpr uint16_t kPolling = 1u << 3;  // watch_writable
inline constexpr uint16_t kPeering = 1u << 4;  // kPeerName is on its way
inline constexpr uint16_t kStarved = 1u << 5;  // waits for a buffer, in the starved list
inline constexpr uint16_t kClosing = 1u << 6;  // close() was called, kClosed is on its way
inline constexpr uint16_t kUnwatched =
    1u << 7;  // the kernel would not watch it; kWritable is on its way

inline constexpr uint32_t kNoSlot = UINT32_MAX;
inline constexpr uint32_t kGenerationMask = 0xffffff;
inline constexpr uint32_t kEventsPerPoll = 512;  // as UringIo
// One socket may fill so many buffers in a row before others have their turn.
inline constexpr uint32_t kBuffersInARow = 8;
inline constexpr uint32_t kAcceptsInARow = 64;

// epoll_event::data: what became ready.
inline constexpr uint64_t kListenerMark = uint64_t{1} << 32;
inline constexpr uint64_t kWakerMark = uint64_t{2} << 32;

inline int64_t clock_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// The system has no memory for it just now; the socket is well.
inline bool memory_is_short(int error) { return error == ENOBUFS || error == ENOMEM; }

// IPv4 comes mapped.
inline void map_address(const sockaddr_storage& name, sockaddr_in6* out) {
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

}  // namespace tidegate::io::epoll
