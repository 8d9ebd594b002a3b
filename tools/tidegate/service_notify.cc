// SPDX-License-Identifier: Apache-2.0
#include "service_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace tidegate::program {
namespace {

int64_t monotonic_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

ServiceNotify::ServiceNotify() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  address_ = path;
  if (address_.size() >= sizeof(sockaddr_un::sun_path)) return;
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const char* watchdog = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (watchdog != nullptr && (pid == nullptr || std::atoll(pid) == ::getpid())) {
    watchdog_ns_ = std::atoll(watchdog) * 1000;
  }
}

ServiceNotify::~ServiceNotify() {
  if (socket_ >= 0) ::close(socket_);
}

void ServiceNotify::ready(const std::string& status) { send("READY=1\nSTATUS=" + status); }

void ServiceNotify::reloading() {
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_ns() / 1000));
}

void ServiceNotify::stopping() { send("STOPPING=1\nSTATUS=draining"); }

void ServiceNotify::moved_to(int pid) { send("MAINPID=" + std::to_string(pid) + "\nREADY=1"); }

void ServiceNotify::watchdog(bool alive) {
  const int64_t now = monotonic_ns();
  if (watchdog_ns_ == 0 || !alive || now - last_ns_ < watchdog_ns_ / 2) return;
  last_ns_ = now;
  send("WATCHDOG=1");
}

void ServiceNotify::send(const std::string& text) {
  if (socket_ < 0) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';  // abstract: the name is as long as it says
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  (void)::sendto(socket_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                 reinterpret_cast<const sockaddr*>(&to), size);
}

}  // namespace tidegate::program
