// SPDX-License-Identifier: Apache-2.0
// The model server behind real sockets, and a client with a network thread that plays with it.
// Thread: the test. Owner: values. Limits: one client.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "model_server.h"
#include "sdk/tcp_transport.h"

namespace tidegate::sdk {

inline int64_t now_ns() { return tcp_transport().now_ns(nullptr); }
inline void rest() { ::poll(nullptr, 0, 1); }

// Until `done`, with `work` in between; not for ever.
template <class Done, class Work>
bool until(Done done, Work work) {
  const int64_t end = now_ns() + 60'000'000'000;
  while (!done()) {
    if (now_ns() > end) return false;
    work();
  }
  return true;
}
template <class Done>
bool until(Done done) {
  return until(done, rest);
}

class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(fd_, 16), 0);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
  }
  ~Listener() { ::close(fd_); }
  uint16_t port() const { return port_; }
  // -1: nobody.
  int take() const { return ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }

 private:
  int fd_;
  uint16_t port_ = 0;
};

class SocketGame {
 public:
  explicit SocketGame(uint64_t seed = 1) : game(seed) {}
  ~SocketGame() {
    game.hook = {};
    for (const Socket& s : sockets_) ::close(s.fd);
  }
  void create(std::function<void(tidegate_client_config&)> change = {}) {
    url_ = "ws://127.0.0.1:" + std::to_string(listener_.port()) + "/ws";
    game.create([&](auto& c) {
      endpoint_ = url_.c_str();
      c.endpoints = &endpoint_;
      c.transport = nullptr;
      c.network_thread = 1;
      c.backoff_first_ms = 5;
      c.backoff_most_ms = 10;
      if (change) change(c);
    });
  }
  // A turn of both, and a moment for the thread between them.
  bool step() {
    if (!poll()) return false;
    pump();
    tidegate_client_wait(game.client, 2);
    return true;
  }
  bool poll() {
    inside_ = true;
    const bool alive = (by_run ? tidegate_client_run(game.client, 1)
                               : tidegate_client_poll(game.client, 0)) == TIDEGATE_CLIENT_OK;
    inside_ = false;
    if (!alive) game.client = nullptr;
    return alive;
  }
  bool inside() const { return inside_; }
  bool until_in(tidegate_client_state state) {
    return until([&] { return game.in(state); }, [&] { step(); });
  }
  void pump() {
    game.net.now = {now_ns()};
    for (int fd = listener_.take(); fd >= 0; fd = listener_.take()) {
      game.net.wires.push_back(std::make_unique<Wire>());
      sockets_.push_back({fd, game.net.wires.back().get()});
      if (game.net.on_open) game.net.on_open(*sockets_.back().wire);
    }
    read_all();
    game.server.turn();
    write_all();
  }
  // Loses the connection that stands, with a reset.
  void cut() {
    if (!sockets_.empty()) drop(sockets_.size() - 1);
  }
  Game game;
  bool by_run = false;  // tidegate_client_run() instead of polls

 private:
  struct Socket {
    int fd;
    Wire* wire;
  };
  void drop(size_t i) {
    const linger reset{1, 0};
    ::setsockopt(sockets_[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    ::close(sockets_[i].fd);
    sockets_[i].wire->cut = true;
    sockets_.erase(sockets_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  void read_all() {
    for (size_t i = sockets_.size(); i-- > 0;) {
      Wire& w = *sockets_[i].wire;
      uint8_t bytes[4096];
      ssize_t n = 0;
      while ((n = ::recv(sockets_[i].fd, bytes, sizeof bytes, 0)) > 0) {
        w.up.insert(w.up.end(), bytes, bytes + n);
        w.up_total += static_cast<size_t>(n);
      }
      // What came before the end is the server's to take first.
      if ((n == 0 && w.up.empty()) || w.up_total >= w.cut_up_at) drop(i);
    }
  }
  void write_all() {
    for (size_t i = sockets_.size(); i-- > 0;) {
      Wire& w = *sockets_[i].wire;
      const size_t most = w.cut_down_at - std::min(w.cut_down_at, w.down_total);
      const ssize_t n =
          ::send(sockets_[i].fd, w.down.data(), std::min(most, w.down.size()), MSG_NOSIGNAL);
      if (n > 0) {
        w.down.erase(w.down.begin(), w.down.begin() + n);
        w.down_total += static_cast<size_t>(n);
      }
      if (w.down_total >= w.cut_down_at) {
        drop(i);
      } else if (w.ended && w.down.empty()) {
        ::shutdown(sockets_[i].fd, SHUT_WR);
      }
    }
  }

  Listener listener_;
  std::string url_;
  const char* endpoint_ = nullptr;
  std::vector<Socket> sockets_;
  bool inside_ = false;
};

}  // namespace tidegate::sdk
