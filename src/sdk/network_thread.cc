// SPDX-License-Identifier: Apache-2.0
#include "sdk/network_thread.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace tidegate::sdk {

namespace {

constexpr int64_t kGoodbyeNs = 1'000'000'000;  // that a closed link may take to say its last words
constexpr int kGoodbyePauseMs = 50;

void drain(int fd) {
  uint64_t count = 0;
  while (::read(fd, &count, sizeof count) > 0) continue;
}

}  // namespace

size_t ByteRing::put(const uint8_t* data, size_t size) {
  size = std::min(size, room());
  const size_t at = (first_ + size_) % bytes_.size();
  const size_t whole = std::min(size, bytes_.size() - at);
  std::memcpy(bytes_.data() + at, data, whole);
  if (size > whole) std::memcpy(bytes_.data(), data + whole, size - whole);
  size_ += size;
  return size;
}

size_t ByteRing::copy(uint8_t* data, size_t most) const {
  const size_t size = std::min(most, size_);
  const size_t whole = std::min(size, bytes_.size() - first_);
  std::memcpy(data, bytes_.data() + first_, whole);
  if (size > whole) std::memcpy(data + whole, bytes_.data(), size - whole);
  return size;
}

void ByteRing::drop(size_t size) {
  first_ = (first_ + size) % bytes_.size();
  size_ -= size;
}

// ---- the thread

std::unique_ptr<NetworkThread> NetworkThread::make(const tidegate_client_transport& below,
                                                   DescriptorOf descriptor, std::string* problem) {
  std::unique_ptr<NetworkThread> made(new (std::nothrow) NetworkThread(below, descriptor));
  if (made == nullptr) {
    *problem = "no memory";
    return nullptr;
  }
  made->links_.reserve(kLinksMost);
  made->thread_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  made->user_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  // The game's signals are not for this thread.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  made->started_ = made->thread_fd_ >= 0 && made->user_fd_ >= 0 &&
                   ::pthread_create(&made->thread_, nullptr, run, made.get()) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (made->started_) return made;
  *problem = "no thread for the network was to be had";
  return nullptr;
}

NetworkThread::~NetworkThread() {
  if (started_) {
    {
      const std::lock_guard guard(mutex_);
      stop_ = true;
    }
    wake(thread_fd_);
    ::pthread_join(thread_, nullptr);
  }
  if (thread_fd_ >= 0) ::close(thread_fd_);
  if (user_fd_ >= 0) ::close(user_fd_);
}

void NetworkThread::wake(int fd) {
  const uint64_t one = 1;
  if (::write(fd, &one, sizeof one) < 0) return;  // full: it is awake
}

void* NetworkThread::run(void* self) {
  static_cast<NetworkThread*>(self)->loop();
  return nullptr;
}

void NetworkThread::loop() {
  std::vector<Link*> links;
  links.reserve(kLinksMost);
  for (bool stop = false; !stop;) {
    drain(thread_fd_);
    links.clear();
    {
      const std::lock_guard guard(mutex_);
      for (const auto& link : links_) links.push_back(link.get());
      stop = stop_;
    }
    size_t kept = 0;
    for (Link* link : links) {
      if (!step(*link)) {
        links[kept++] = link;
        continue;
      }
      const std::lock_guard guard(mutex_);
      links_.erase(std::find_if(links_.begin(), links_.end(),
                                [link](const auto& l) { return l.get() == link; }));
    }
    links.resize(kept);
    bool tell = false;
    {
      const std::lock_guard guard(mutex_);
      tell = waiting_;
    }
    if (tell) wake(user_fd_);
    if (!stop) pause(links);
  }
  // Whoever closed its links and went: what could be said has been said.
  for (const auto& link : links_) {
    if (link->below != nullptr) below_.close(below_.user, link->below);
  }
  links_.clear();
}

bool NetworkThread::step(Link& link) {
  if (!link.begun) begin(link);
  if (!link.over && !link.connected) {
    const int32_t status = below_.status(below_.user, link.below);
    if (status < 0) fail(link);
    if (status > 0) {
      link.connected = true;
      const std::lock_guard guard(mutex_);
      link.status = 1;
    }
  }
  if (!link.over && link.connected) {
    move_up(link);
    move_down(link);
  }
  return finish(link);
}

void NetworkThread::begin(Link& link) {
  link.begun = true;
  link.below = below_.open(below_.user, link.host.c_str(), link.port, link.secure);
  if (link.below == nullptr) fail(link);
}

void NetworkThread::fail(Link& link) {
  const char* const why =
      below_.problem != nullptr ? below_.problem(below_.user, link.below) : nullptr;
  const std::lock_guard guard(mutex_);
  link.over = link.ended = true;
  if (link.status == 0) link.status = -1;
  if (why != nullptr) link.problem = why;
}

void NetworkThread::move_up(Link& link) {
  link.blocked = false;
  while (!link.mute) {
    size_t size = 0;
    {
      const std::lock_guard guard(mutex_);
      size = link.up.copy(chunk_, sizeof chunk_);
    }
    if (size == 0) return;
    const int64_t taken = below_.send(below_.user, link.below, chunk_, size);
    if (taken <= 0) {
      link.mute = taken < 0;
      link.blocked = taken == 0;
      return;
    }
    const std::lock_guard guard(mutex_);
    link.up.drop(static_cast<size_t>(taken));
  }
}

void NetworkThread::move_down(Link& link) {
  for (;;) {
    size_t room = 0;
    {
      const std::lock_guard guard(mutex_);
      room = link.closing ? sizeof chunk_ : link.down.room();
      link.full = room == 0;
    }
    link.reading = room != 0;
    if (room == 0) return;
    const int64_t came =
        below_.receive(below_.user, link.below, chunk_, std::min(room, sizeof chunk_));
    if (came < 0 || (came == 0 && link.mute)) return fail(link);
    if (came == 0) return;
    const std::lock_guard guard(mutex_);
    if (!link.closing) link.down.put(chunk_, static_cast<size_t>(came));
  }
}

bool NetworkThread::finish(Link& link) {
  {
    const std::lock_guard guard(mutex_);
    if (!link.closing) return false;
    const int64_t now = below_.now_ns(below_.user);
    if (link.close_by_ns == 0) link.close_by_ns = now + kGoodbyeNs;
    const bool silent = link.over || link.mute || link.status != 1 || link.up.size() == 0;
    if (!silent && !stop_ && now < link.close_by_ns) return false;
  }
  if (link.below != nullptr) below_.close(below_.user, link.below);
  link.below = nullptr;
  return true;
}

// Until a socket or the user has something.
void NetworkThread::pause(const std::vector<Link*>& links) {
  pollfd fds[kLinksMost + 1];
  nfds_t count = 0;
  int most_ms = -1;
  fds[count++] = {thread_fd_, POLLIN, 0};
  for (Link* link : links) {
    if (link->close_by_ns != 0) most_ms = kGoodbyePauseMs;
    if (link->over || link->below == nullptr || count > kLinksMost) continue;
    bool write = false;
    const int fd = descriptor_(below_.user, link->below, &write);
    if (fd < 0) continue;
    const bool read = link->reading || !link->connected;
    const auto events =
        static_cast<int16_t>((read ? POLLIN : 0) | (write || link->blocked ? POLLOUT : 0));
    if (events != 0) fds[count++] = {fd, events, 0};
  }
  ::poll(fds, count, most_ms);
}

// ---- the user's side

struct NetworkThread::Calls {
  static NetworkThread& self(void* user) { return *static_cast<NetworkThread*>(user); }
  static Link& of(void* link) { return *static_cast<Link*>(link); }

  static void* open(void* user, const char* host, uint16_t port, int32_t secure) {
    NetworkThread& t = self(user);
    auto link = std::unique_ptr<Link>(new (std::nothrow) Link);
    if (link == nullptr) return nullptr;
    link->host = host;
    link->port = port;
    link->secure = secure;
    Link* const made = link.get();
    {
      const std::lock_guard guard(t.mutex_);
      if (t.links_.size() == kLinksMost) return nullptr;
      t.links_.push_back(std::move(link));
    }
    t.wake(t.thread_fd_);
    return made;
  }

  static int32_t status(void* user, void* handle) {
    const std::lock_guard guard(self(user).mutex_);
    return of(handle).status;
  }

  static int64_t send(void* user, void* handle, const void* data, size_t size) {
    NetworkThread& t = self(user);
    Link& link = of(handle);
    size_t taken = 0;
    bool idle = false;
    {
      const std::lock_guard guard(t.mutex_);
      if (link.ended || link.status < 0) return -1;
      idle = link.up.size() == 0;
      taken = link.up.put(static_cast<const uint8_t*>(data), size);
    }
    // With more before it the thread is at it, or waits for the socket.
    if (idle) t.wake(t.thread_fd_);
    return static_cast<int64_t>(taken);
  }

  static int64_t receive(void* user, void* handle, void* data, size_t room) {
    NetworkThread& t = self(user);
    Link& link = of(handle);
    size_t size = 0;
    bool was_full = false;
    {
      const std::lock_guard guard(t.mutex_);
      size = link.down.copy(static_cast<uint8_t*>(data), room);
      link.down.drop(size);
      if (size == 0) return link.ended ? -1 : 0;
      was_full = link.full;
      link.full = false;
    }
    if (was_full) t.wake(t.thread_fd_);
    return static_cast<int64_t>(size);
  }

  static void close(void* user, void* handle) {
    NetworkThread& t = self(user);
    {
      const std::lock_guard guard(t.mutex_);
      of(handle).closing = true;
    }
    t.wake(t.thread_fd_);
  }

  static void wait(void* user, void* handle, int32_t for_write, int32_t most_ms) {
    NetworkThread& t = self(user);
    drain(t.user_fd_);
    {
      const std::lock_guard guard(t.mutex_);
      if (handle != nullptr) {
        const Link& link = of(handle);
        if (link.down.size() != 0 || link.ended || link.status < 0) return;
        if (for_write != 0 && link.status > 0 && link.up.room() != 0) return;
      }
      t.waiting_ = handle != nullptr;
    }
    pollfd fd{t.user_fd_, POLLIN, 0};
    ::poll(&fd, 1, most_ms);
    const std::lock_guard guard(t.mutex_);
    t.waiting_ = false;
  }

  static int64_t now_ns(void* user) { return self(user).below_.now_ns(self(user).below_.user); }
  static int64_t unix_ms(void* user) { return self(user).below_.unix_ms(self(user).below_.user); }
  static uint64_t draw(void* user) { return self(user).below_.random(self(user).below_.user); }

  static const char* problem(void* user, void* handle) {
    if (handle == nullptr) return "too many connections are still being closed, or no memory";
    const std::lock_guard guard(self(user).mutex_);
    of(handle).told = of(handle).problem;
    return of(handle).told.c_str();
  }
};

tidegate_client_transport NetworkThread::table() {
  tidegate_client_transport t{};
  t.struct_size = sizeof t;
  t.user = this;
  t.open = Calls::open;
  t.status = Calls::status;
  t.send = Calls::send;
  t.receive = Calls::receive;
  t.close = Calls::close;
  t.wait = Calls::wait;
  t.now_ns = Calls::now_ns;
  t.unix_ms = Calls::unix_ms;
  t.random = Calls::draw;
  t.problem = Calls::problem;
  return t;
}

}  // namespace tidegate::sdk
