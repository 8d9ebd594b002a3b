// SPDX-License-Identifier: Apache-2.0
#include "io/listener.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"

namespace tidegate::io {
namespace {

IoStatus status_of(int error) {
  switch (error) {
    case EADDRINUSE:  // without SO_REUSEPORT by another process, or by another user
      return IoStatus::kAddressInUse;
    case EACCES:         // a port below net.ipv4.ip_unprivileged_port_start
    case EADDRNOTAVAIL:  // no interface has the address
      return IoStatus::kAddressDenied;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return IoStatus::kNoDescriptors;
    default:
      return IoStatus::kFailed;
  }
}

// Fills `out` for bind; IPv4 addresses come mapped and leave as they are for AF_INET6.
socklen_t to_family(const sockaddr_in6& address, int family, sockaddr_storage* out) {
  std::memset(out, 0, sizeof *out);
  if (family == AF_INET6) {
    sockaddr_in6 six = address;
    six.sin6_family = AF_INET6;
    std::memcpy(out, &six, sizeof six);
    return sizeof six;
  }
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = address.sin6_port;
  std::memcpy(&four.sin_addr, address.sin6_addr.s6_addr + 12, sizeof four.sin_addr);
  std::memcpy(out, &four, sizeof four);
  return sizeof four;
}

}  // namespace

IoStatus open_listener(const ListenSpec& spec, int* descriptor, int* family, uint16_t* port_out) {
  *family = AF_INET6;
  int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool any = std::memcmp(&spec.address.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
  if (fd < 0 && errno == EAFNOSUPPORT &&
      (any || IN6_IS_ADDR_V4MAPPED(&spec.address.sin6_addr))) {  // ipv6.disable=1
    *family = AF_INET;
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  }
  if (fd < 0) return status_of(errno);

  const int on = 1;
  const int off = 0;
  sockaddr_storage address;
  const socklen_t length = to_family(spec.address, *family, &address);
  bool ok = ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
            ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
  if (spec.unsent_bytes != 0) {  // accepted sockets inherit it
    const int unsent = static_cast<int>(spec.unsent_bytes);
    ok = ok && ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent) == 0;
  }
  if (*family == AF_INET6) {
    ok = ok && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
  }
  ok = ok && ::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
       ::listen(fd, spec.backlog) == 0;
  sockaddr_storage bound{};
  socklen_t bound_length = sizeof bound;
  ok = ok && ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &bound_length) == 0;
  if (!ok) {
    const IoStatus status = status_of(errno);
    ::close(fd);
    return status;
  }
  if (port_out != nullptr) {
    // The port stands at the same place in sockaddr_in and sockaddr_in6, in network order.
    *port_out = base::load_be16(reinterpret_cast<const uint8_t*>(&bound) + 2);
  }
  *descriptor = fd;
  return IoStatus::kOk;
}

}  // namespace tidegate::io
