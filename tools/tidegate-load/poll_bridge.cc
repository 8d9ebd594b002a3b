// SPDX-License-Identifier: Apache-2.0
#include "poll_bridge.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "worker.h"

namespace tidegate::load {

namespace {
constexpr uint64_t kWake = UINT64_MAX;
constexpr int kTurnMs = 50;  // for what tunnels do by time
}  // namespace

PollBridge::PollBridge(const sockaddr_in6& server)
    : server_(server),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  epoll_event event{EPOLLIN, {.u64 = kWake}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
  thread_ = std::thread([this] { run(); });
}

PollBridge::~PollBridge() {
  stop_ = true;
  eventfd_write(wake_, 1);
  thread_.join();
  for (const auto& link : links_) {
    if (link->bot >= 0) close(link->bot);
    for (const int lane : link->lanes) {
      if (lane >= 0) close(lane);
    }
  }
  close(wake_);
  close(epoll_);
}

int PollBridge::attach() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return -1;
  {
    const std::lock_guard lock(mutex_);
    arrivals_.push_back(pair[1]);
  }
  eventfd_write(wake_, 1);
  return pair[0];
}

void PollBridge::run() {
  epoll_event events[256];
  base::Instant turn = monotonic_now();
  while (!stop_) {
    const int n = epoll_wait(epoll_, events, 256, kTurnMs);
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == kWake) {
        eventfd_t count;
        eventfd_read(wake_, &count);
        const std::lock_guard lock(mutex_);
        for (const int fd : arrivals_) {
          links_.push_back(std::make_unique<Link>());
          links_.back()->bot = fd;
          links_.back()->tunnel.start();
          drive(links_.size() - 1);
        }
        arrivals_.clear();
        continue;
      }
      drive(events[i].data.u64 >> 2);
    }
    if (monotonic_now() - turn < base::milliseconds(kTurnMs)) continue;
    turn = monotonic_now();
    for (size_t i = 0; i < links_.size(); ++i) {
      if (links_[i]->tunnel.due() <= turn) drive(i);
    }
  }
}

void PollBridge::drive(size_t index) {
  Link& link = *links_[index];
  if (link.bot < 0) return;
  read_bot(link);
  link.tunnel.turn(monotonic_now());
  for (int lane = 0; lane < client::PollTunnel::kLanes; ++lane) move_lane(index, lane);
  const base::Bytes came = link.tunnel.arrived();
  if (!came.empty()) {
    const ssize_t n = send(link.bot, came.data(), came.size(), MSG_NOSIGNAL);
    if (n > 0) link.tunnel.taken(static_cast<size_t>(n));
    // The next GET leaves when all was taken.
    if (link.tunnel.arrived().empty()) {
      link.tunnel.turn(monotonic_now());
      for (int lane = 0; lane < client::PollTunnel::kLanes; ++lane) move_lane(index, lane);
    }
  }
  if (link.tunnel.over() && link.tunnel.arrived().empty()) {
    for (int lane = 0; lane < client::PollTunnel::kLanes; ++lane) drop_lane(link, lane);
    close(link.bot);
    link.bot = -1;
    return;
  }
  watch(index, 0, link.bot, !link.tunnel.arrived().empty());
}

void PollBridge::read_bot(Link& link) {
  uint8_t buffer[16 * 1024];
  while (link.tunnel.has_room()) {
    const ssize_t n = recv(link.bot, buffer, sizeof buffer, 0);
    if (n < 0) return;
    if (n == 0) {  // the bot has gone
      const uint8_t close_frame[] = {0x88, 0x80, 0, 0, 0, 0};
      link.tunnel.put(close_frame, monotonic_now());
      shutdown(link.bot, SHUT_RDWR);
      return;
    }
    link.tunnel.put({buffer, static_cast<size_t>(n)}, monotonic_now());
  }
}

void PollBridge::drop_lane(Link& link, int lane) {
  if (link.lanes[lane] >= 0) close(link.lanes[lane]);
  link.lanes[lane] = -1;
  link.watched[1 + lane] = 0;
  link.tunnel.lost(lane, monotonic_now());
}

int PollBridge::connect_lane() {
  const bool v4 = IN6_IS_ADDR_V4MAPPED(&server_.sin6_addr);
  const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = server_.sin6_port;
  std::memcpy(&to.sin_addr, &server_.sin6_addr.s6_addr[12], 4);
  const int result = v4 ? connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to)
                        : connect(fd, reinterpret_cast<const sockaddr*>(&server_), sizeof server_);
  if (result == 0 || errno == EINPROGRESS) return fd;
  close(fd);
  return -1;
}

void PollBridge::move_lane(size_t index, int lane) {
  Link& link = *links_[index];
  int& fd = link.lanes[lane];
  if (link.tunnel.is_done(lane)) drop_lane(link, lane);
  if (fd < 0) {
    if (!link.tunnel.wants_link(lane, monotonic_now())) return;
    fd = connect_lane();
    if (fd < 0) return link.tunnel.lost(lane, monotonic_now());
    link.tunnel.linked(lane);
  }
  uint8_t buffer[16 * 1024];
  while (!link.tunnel.is_done(lane)) {
    const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)) break;
    if (n <= 0) return drop_lane(link, lane);
    link.tunnel.feed(lane, {buffer, static_cast<size_t>(n)}, monotonic_now());
  }
  while (!link.tunnel.outgoing(lane).empty()) {
    const base::Bytes out = link.tunnel.outgoing(lane);
    const ssize_t n = send(fd, out.data(), out.size(), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)) break;
    if (n < 0) return drop_lane(link, lane);
    link.tunnel.sent(lane, static_cast<size_t>(n));
  }
  watch(index, 1 + lane, fd, !link.tunnel.outgoing(lane).empty());
}

void PollBridge::watch(size_t index, int which, int fd, bool write) {
  uint32_t& watched = links_[index]->watched[which];
  const uint32_t wanted = write ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (watched == wanted) return;
  epoll_event event{wanted, {.u64 = index << 2 | static_cast<uint64_t>(which)}};
  epoll_ctl(epoll_, watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
  watched = wanted;
}

}  // namespace tidegate::load
