// SPDX-License-Identifier: Apache-2.0
#include "loopback_floor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmath>
#include <vector>

namespace tidegate::bench {

namespace {

double seconds_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
double seconds_of(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}
void no_delay(int fd) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// Answers what has come of `out_bytes` with `in_bytes`, until it is killed.
[[noreturn]] void answer(int listener, unsigned out_bytes, unsigned in_bytes) {
  const int poll = epoll_create1(0);
  epoll_event event{EPOLLIN, {.fd = listener}};
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  std::vector<char> in(64 * 1024), reply(in_bytes);
  std::vector<unsigned> owed;
  epoll_event events[512];
  for (;;) {
    const int n = epoll_wait(poll, events, 512, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        for (int one; (one = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
          no_delay(one);
          epoll_event added{EPOLLIN, {.fd = one}};
          epoll_ctl(poll, EPOLL_CTL_ADD, one, &added);
          if (owed.size() <= static_cast<size_t>(one)) owed.resize(static_cast<size_t>(one) + 1);
        }
        continue;
      }
      const ssize_t got = recv(fd, in.data(), in.size(), 0);
      if (got == 0) _exit(0);
      if (got < 0) continue;
      unsigned& rest = owed[static_cast<size_t>(fd)];
      for (rest += static_cast<unsigned>(got); rest >= out_bytes; rest -= out_bytes) {
        (void)!send(fd, reply.data(), reply.size(), MSG_NOSIGNAL);
      }
    }
  }
}

}  // namespace

bool measure_floor(unsigned connections, double rate, double seconds, unsigned out_bytes,
                   unsigned in_bytes, Floor* out) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 ||
      listen(listener, 4096) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) != 0) {
    return false;
  }
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) answer(listener, out_bytes, in_bytes);
  close(listener);
  std::vector<int> sockets;
  bool fine = true;
  for (unsigned i = 0; i < connections && fine; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    fine = fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
    if (fd >= 0) {
      no_delay(fd);
      sockets.push_back(fd);
    }
  }
  std::vector<char> request(out_bytes), reply(32 * 1024);
  rusage before{}, after{};
  unsigned long long done = 0, empty = 0;
  const double begun = seconds_now() + 1;  // the first second is not counted
  bool counting = false;
  for (double next = seconds_now(); fine; next += 1 / rate) {
    const double now = seconds_now();
    if (!counting && now >= begun) {
      counting = true;
      getrusage(RUSAGE_SELF, &before);
    }
    if (now >= begun + seconds) break;
    for (const int fd : sockets) {
      const ssize_t got = recv(fd, reply.data(), reply.size(), MSG_DONTWAIT);
      if (send(fd, request.data(), request.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) fine = false;
      done += counting;
      empty += counting && got <= 0;
    }
    const double wait = next + 1 / rate - seconds_now();
    if (wait > 0) {
      const timespec t{static_cast<time_t>(wait),
                       static_cast<long>((wait - std::floor(wait)) * 1e9)};
      nanosleep(&t, nullptr);
    } else {
      next = seconds_now() - 1 / rate;
    }
  }
  getrusage(RUSAGE_SELF, &after);
  for (const int fd : sockets) close(fd);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  if (!fine || done == 0) return false;
  const double each = 1e6 / static_cast<double>(done);
  out->user_us = (seconds_of(after.ru_utime) - seconds_of(before.ru_utime)) * each;
  out->kernel_us = (seconds_of(after.ru_stime) - seconds_of(before.ru_stime)) * each;
  out->empty = static_cast<double>(empty) / static_cast<double>(done);
  return true;
}

}  // namespace tidegate::bench
