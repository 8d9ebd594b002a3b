// SPDX-License-Identifier: Apache-2.0
#include "sdk/tcp_transport.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>
#include <string>

namespace tidegate::sdk {

namespace {

struct TcpLink {
  int fd = -1;
  bool connected = false;
  int next = 0, count = 0;  // of addresses
  sockaddr_storage addresses[kAddressesMax];
  socklen_t sizes[kAddressesMax];
};

void close_fd(TcpLink& link) {
  if (link.fd >= 0) ::close(link.fd);
  link.fd = -1;
}

// Begins to connect to the next address. False: none is left.
bool try_next(TcpLink& link) {
  while (link.next < link.count) {
    close_fd(link);
    const auto* address = reinterpret_cast<const sockaddr*>(&link.addresses[link.next]);
    const socklen_t size = link.sizes[link.next++];
    link.fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link.fd < 0) continue;
    const int one = 1;
    ::setsockopt(link.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (::connect(link.fd, address, size) == 0 || errno == EINPROGRESS) return true;
  }
  close_fd(link);
  return false;
}

void* open_link(void* /*user*/, const char* host, uint16_t port, int32_t secure) {
  if (secure != 0) return nullptr;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  const std::string service = std::to_string(port);
  const bool local = std::strcmp(host, "localhost") == 0;
  addrinfo* found = nullptr;
  if (::getaddrinfo(local ? "127.0.0.1" : host, service.c_str(), &hints, &found) != 0) {
    return nullptr;
  }
  auto* const link = new (std::nothrow) TcpLink;
  if (link != nullptr) {
    for (const addrinfo* a = found; a != nullptr && link->count < kAddressesMax; a = a->ai_next) {
      std::memcpy(&link->addresses[link->count], a->ai_addr, a->ai_addrlen);
      link->sizes[link->count++] = a->ai_addrlen;
    }
    try_next(*link);  // none: status() says so
  }
  ::freeaddrinfo(found);
  return link;
}

int32_t status_of(void* /*user*/, void* handle) {
  auto& link = *static_cast<TcpLink*>(handle);
  if (link.connected) return 1;
  if (link.fd < 0) return -1;
  pollfd wait{link.fd, POLLOUT, 0};
  if (::poll(&wait, 1, 0) <= 0) return 0;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(link.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return try_next(link) ? 0 : -1;
  link.connected = true;
  return 1;
}

int64_t send_bytes(void* /*user*/, void* handle, const void* data, size_t size) {
  const ssize_t n =
      ::send(static_cast<TcpLink*>(handle)->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

int64_t receive_bytes(void* /*user*/, void* handle, void* data, size_t room) {
  const ssize_t n = ::recv(static_cast<TcpLink*>(handle)->fd, data, room, MSG_DONTWAIT);
  if (n > 0) return n;
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void close_link(void* /*user*/, void* handle) {
  auto* const link = static_cast<TcpLink*>(handle);
  close_fd(*link);
  delete link;
}

void wait_for(void* /*user*/, void* handle, int32_t for_write, int32_t most_ms) {
  const auto* link = static_cast<const TcpLink*>(handle);
  pollfd wait{link != nullptr ? link->fd : -1, POLLIN, 0};
  if (for_write != 0) wait.events |= POLLOUT;
  ::poll(&wait, 1, most_ms);
}

int64_t now_ns(void* /*user*/) {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}
int64_t unix_ms(void* /*user*/) {
  timespec t;
  ::clock_gettime(CLOCK_REALTIME, &t);
  return int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1'000'000;
}
uint64_t random_bits(void* /*user*/) {
  uint64_t bits = 0;
  if (::getrandom(&bits, sizeof bits, GRND_NONBLOCK) != sizeof bits) {
    bits = static_cast<uint64_t>(now_ns(nullptr)) * 0x9e3779b97f4a7c15u;
  }
  return bits;
}

}  // namespace

int tcp_descriptor(void* /*user*/, void* handle, bool* wants_write) {
  const auto& link = *static_cast<const TcpLink*>(handle);
  *wants_write = !link.connected;
  return link.fd;
}

tidegate_client_transport tcp_transport() {
  tidegate_client_transport t{};
  t.struct_size = sizeof t;
  t.open = open_link;
  t.status = status_of;
  t.send = send_bytes;
  t.receive = receive_bytes;
  t.close = close_link;
  t.wait = wait_for;
  t.now_ns = now_ns;
  t.unix_ms = unix_ms;
  t.random = random_bits;
  return t;
}

}  // namespace tidegate::sdk
