// SPDX-License-Identifier: Apache-2.0
// System calls and allocations that fail as the environment TIDEGATE_FAULTS says, for programs that
// are started with this library in LD_PRELOAD, and for tests that are linked with it. A list of
// rules, separated by commas; everything comes from `seed`:
//   recv.short=30      of 100 receives so many give fewer bytes than there are
//   sendmsg.short=20   likewise for sends
//   recv.EINTR=5       so many of 100 calls fail; also EAGAIN, ENOBUFS, ENOMEM, EMFILE, ENFILE,
//                      ECONNABORTED and EPERM, and also of sendmsg, accept4 and epoll_ctl
//   new.fail=17        the 17th operator new after the program has set its new-handler fails
//   mmap.fail=3        the 3rd mmap after that
//   report=1           at the end a line on stderr says how many calls failed
// Only calls that the epoll backend makes are touched: receives with MSG_DONTWAIT, accepts with
// SOCK_NONBLOCK.
// Thread: any. Owner: none. Limits: kRulesMax rules.
#include "faults.h"

#include <dlfcn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

constexpr int kShort = -1;
constexpr uint32_t kRulesMax = 32;

enum Call : uint8_t { kRecv, kSendmsg, kAccept, kEpollCtl, kNew, kMmap, kCalls };
constexpr const char* kCallNames[kCalls] = {"recv",      "sendmsg", "accept4",
                                            "epoll_ctl", "new",     "mmap"};
constexpr struct {
  const char* name;
  int error;
} kErrors[] = {{"short", kShort},    {"EINTR", EINTR},   {"EAGAIN", EAGAIN},
               {"ENOBUFS", ENOBUFS}, {"ENOMEM", ENOMEM}, {"EMFILE", EMFILE},
               {"ENFILE", ENFILE},   {"EPERM", EPERM},   {"ECONNABORTED", ECONNABORTED},
               {"fail", ENOMEM}};

struct Rule {
  Call call;
  int error;
  uint32_t percent;
};

struct Plan {
  Rule rules[kRulesMax];
  uint32_t count = 0;
  uint64_t nth[kCalls] = {};  // 0: none
  bool report = false;
};

Plan plan;
std::atomic<bool> ready{false};
std::atomic<uint64_t> state{1};
std::atomic<uint64_t> calls[kCalls];
std::atomic<uint64_t> failed[kCalls];

void read_rule(const char* text, size_t size) {
  char rule[64] = {};
  if (size >= sizeof rule) return;
  std::memcpy(rule, text, size);
  char* equals = std::strchr(rule, '=');
  char* dot = std::strchr(rule, '.');
  if (equals == nullptr) return;
  const uint64_t value = std::strtoull(equals + 1, nullptr, 10);
  *equals = '\0';
  if (std::strcmp(rule, "seed") == 0) state = value * 2 + 1;
  if (std::strcmp(rule, "report") == 0) plan.report = value != 0;
  if (dot == nullptr) return;
  *dot = '\0';
  for (uint32_t call = 0; call < kCalls; ++call) {
    if (std::strcmp(rule, kCallNames[call]) != 0) continue;
    if (call == kNew || call == kMmap) {
      plan.nth[call] = value;
      return;
    }
    for (const auto& error : kErrors) {
      if (std::strcmp(dot + 1, error.name) != 0 || plan.count == kRulesMax) continue;
      plan.rules[plan.count++] = {static_cast<Call>(call), error.error,
                                  static_cast<uint32_t>(value)};
    }
  }
}

uint32_t below(uint32_t n) {
  uint64_t x = state.fetch_add(0x9e3779b97f4a7c15, std::memory_order_relaxed);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return static_cast<uint32_t>((x ^ (x >> 31)) % n);
}

// What is to befall this call: 0 nothing, kShort, or an errno.
int fate(Call call) {
  if (!ready.load(std::memory_order_acquire)) return 0;
  for (uint32_t i = 0; i < plan.count; ++i) {
    const Rule& rule = plan.rules[i];
    if (rule.call != call || below(100) >= rule.percent) continue;
    failed[call].fetch_add(1, std::memory_order_relaxed);
    return rule.error;
  }
  return 0;
}

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

#ifdef TIDEGATE_FAULTS_PRELOAD
bool nth_fails(Call call) {
  if (!ready.load(std::memory_order_acquire) || plan.nth[call] == 0) return false;
  if (std::get_new_handler() == nullptr) return false;  // the program is not up yet
  if (calls[call].fetch_add(1, std::memory_order_relaxed) + 1 != plan.nth[call]) return false;
  failed[call].fetch_add(1, std::memory_order_relaxed);
  return true;
}

void* take(size_t size, size_t alignment) {
  if (nth_fails(kNew)) {
    if (const std::new_handler handler = std::get_new_handler(); handler != nullptr) handler();
    throw std::bad_alloc();
  }
  void* p = alignment == 0
                ? std::malloc(size == 0 ? 1 : size)
                : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr) {
    if (const std::new_handler handler = std::get_new_handler(); handler != nullptr) handler();
    throw std::bad_alloc();
  }
  return p;
}
#endif

struct Loader {
  Loader() {
    if (const char* text = std::getenv("TIDEGATE_FAULTS"); text != nullptr) {
      tidegate::faults::set(text);
    }
  }
  ~Loader() {
    if (!plan.report) return;
    char line[200];
    const int size = std::snprintf(line, sizeof line,
                                   "faults: recv %llu sendmsg %llu accept4 %llu epoll_ctl %llu\n",
                                   static_cast<unsigned long long>(failed[kRecv]),
                                   static_cast<unsigned long long>(failed[kSendmsg]),
                                   static_cast<unsigned long long>(failed[kAccept]),
                                   static_cast<unsigned long long>(failed[kEpollCtl]));
    (void)!::write(STDERR_FILENO, line, static_cast<size_t>(size));
  }
} loader;

}  // namespace

namespace tidegate::faults {

void set(const char* rules) {
  ready = false;
  plan = {};
  for (uint32_t call = 0; call < kCalls; ++call) calls[call] = failed[call] = 0;
  for (const char* at = rules; *at != '\0';) {
    const size_t size = std::strcspn(at, ",");
    read_rule(at, size);
    at += size + (at[size] == ',' ? 1 : 0);
  }
  ready = true;
}

uint64_t count(const char* call) {
  for (uint32_t i = 0; i < kCalls; ++i) {
    if (std::strcmp(call, kCallNames[i]) == 0) return failed[i];
  }
  return 0;
}

}  // namespace tidegate::faults

extern "C" {

ssize_t recv(int fd, void* data, size_t size, int flags) {
  static const auto real = next<ssize_t (*)(int, void*, size_t, int)>("recv");
  const int how = (flags & MSG_DONTWAIT) != 0 ? fate(kRecv) : 0;
  if (how > 0) {
    errno = how;
    return -1;
  }
  if (how == kShort && size > 1) size = 1 + below(static_cast<uint32_t>(size > 64 ? 64 : size));
  return real(fd, data, size, flags);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto real = next<ssize_t (*)(int, const msghdr*, int)>("sendmsg");
  const int how = fate(kSendmsg);
  if (how > 0) {
    errno = how;
    return -1;
  }
  if (how != kShort || message->msg_iovlen == 0) return real(fd, message, flags);
  // All parts but the last, and of that one a piece.
  iovec parts[64];
  const size_t count = message->msg_iovlen < 64 ? message->msg_iovlen : 64;
  std::memcpy(parts, message->msg_iov, count * sizeof *parts);
  iovec& last = parts[count - 1];
  if (last.iov_len > 1) last.iov_len = 1 + below(static_cast<uint32_t>(last.iov_len - 1));
  msghdr less = *message;
  less.msg_iov = parts;
  less.msg_iovlen = count;
  return real(fd, &less, flags);
}

int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  static const auto real = next<int (*)(int, sockaddr*, socklen_t*, int)>("accept4");
  const int how = (flags & SOCK_NONBLOCK) != 0 ? fate(kAccept) : 0;
  if (how > 0) {
    errno = how;
    return -1;
  }
  return real(fd, address, length, flags);
}

int epoll_ctl(int epoll, int op, int fd, epoll_event* event) noexcept {
  static const auto real = next<int (*)(int, int, int, epoll_event*)>("epoll_ctl");
  const int how = op == EPOLL_CTL_DEL ? 0 : fate(kEpollCtl);
  if (how > 0) {
    errno = how;
    return -1;
  }
  return real(epoll, op, fd, event);
}

#ifdef TIDEGATE_FAULTS_PRELOAD
// Under names of their own: with 64-bit offsets the headers make one symbol of the two.
void* failing_mmap(void* address, size_t size, int protection, int flags, int fd,
                   int64_t offset) __asm__("mmap");
void* failing_mmap64(void* address, size_t size, int protection, int flags, int fd,
                     int64_t offset) __asm__("mmap64");

void* failing_mmap(void* address, size_t size, int protection, int flags, int fd, int64_t offset) {
  static const auto real = next<void* (*)(void*, size_t, int, int, int, int64_t)>("mmap");
  if (nth_fails(kMmap)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return real(address, size, protection, flags, fd, offset);
}

void* failing_mmap64(void* address, size_t size, int protection, int flags, int fd,
                     int64_t offset) {
  return failing_mmap(address, size, protection, flags, fd, offset);
}
#endif

}  // extern "C"

#ifdef TIDEGATE_FAULTS_PRELOAD
void* operator new(size_t size) { return take(size, 0); }
void* operator new[](size_t size) { return take(size, 0); }
void* operator new(size_t size, std::align_val_t alignment) {
  return take(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return take(size, static_cast<size_t>(alignment));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { std::free(p); }
#endif
