// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/prng.h"

namespace tidegate::io {
namespace {

class TcpClient final : public TestClient {
 public:
  explicit TcpClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int result = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to);
    if (result != 0 && errno != EINPROGRESS) broken_ = true;
  }
  ~TcpClient() override { close(); }
  uint32_t send(const uint8_t* data, uint32_t size) override {
    const ssize_t n = ::send(fd_, data, size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) broken_ = true;
    return n < 0 ? 0 : static_cast<uint32_t>(n);
  }
  uint32_t receive(uint8_t* out, uint32_t capacity) override {
    if (fd_ < 0) return 0;
    const ssize_t n = ::recv(fd_, out, capacity, 0);
    if (n == 0) ended_ = true;
    if (n < 0 && errno != EAGAIN) broken_ = true;
    return n < 0 ? 0 : static_cast<uint32_t>(n);
  }
  void finish() override { ::shutdown(fd_, SHUT_WR); }
  void close() override {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void reset() override {
    const linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }
  bool ended() override { return ended_; }
  bool broken() override { return broken_; }
  uint16_t local_port() override {
    sockaddr_in name{};
    socklen_t length = sizeof name;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &length);
    return ntohs(name.sin_port);
  }

 private:
  int fd_;
  bool ended_ = false;
  bool broken_ = false;
};

class SimClient final : public TestClient {
 public:
  SimClient(SimNetwork& network, uint16_t port)
      : network_(network), socket_(network.connect(port)) {}
  ~SimClient() override { network_.release(socket_); }
  uint32_t send(const uint8_t* data, uint32_t size) override { return socket_->send({data, size}); }
  uint32_t receive(uint8_t* out, uint32_t capacity) override {
    return socket_->receive({out, capacity});
  }
  void finish() override { socket_->finish(); }
  void close() override { socket_->close(); }
  void reset() override { socket_->reset(); }
  bool ended() override { return socket_->ended(); }
  bool broken() override { return socket_->broken(); }
  uint16_t local_port() override { return ntohs(socket_->address().sin6_port); }

 private:
  SimNetwork& network_;
  SimClientSocket* socket_;
};

SimConfig harsh() {
  SimConfig config;
  config.jitter = base::milliseconds(7);
  config.chunk_bytes_max = 700;
  config.window_bytes = 16 * 1024;
  config.stall_probability = 0.002;
  config.starvation_probability = 0.05;
  return config;
}

}  // namespace

Rig::Rig(Backend backend, IoLimits limits) {
  if (backend == Backend::kUring) {
    SetupError error;
    auto made = UringIo::make(limits, &error);
    EXPECT_TRUE(made.ok()) << error.text;
    if (!made.ok()) return;
    uring_ = made->get();
    io_ = std::move(made.value());
    return;
  }
  if (backend == Backend::kEpoll) {
    SetupError error;
    auto made = EpollIo::make(limits, &error);
    EXPECT_TRUE(made.ok()) << error.text;
    if (!made.ok()) return;
    epoll_ = made->get();
    io_ = std::move(made.value());
    return;
  }
  network_ = std::make_unique<SimNetwork>(7, backend == Backend::kSimHarsh ? harsh() : SimConfig{});
  auto sim = std::make_unique<SimIo>(*network_, limits);
  sim_ = sim.get();
  io_ = std::move(sim);
}

Rig::~Rig() {
  if (io_ == nullptr) return;
  for (const uint16_t buffer : held) io_->recycle(buffer);
}

void Rig::listen() {
  ListenSpec spec;
  const uint8_t loopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  std::memcpy(&spec.address.sin6_addr, loopback, sizeof loopback);
  ASSERT_EQ(io_->listen(spec, &port), IoStatus::kOk);
  ASSERT_NE(port, 0);
}

std::unique_ptr<TestClient> Rig::connect() {
  pump(false);  // the accept is armed, so that the backlog cannot run over
  if (network_) return std::make_unique<SimClient>(*network_, port);
  return std::make_unique<TcpClient>(port);
}

std::unique_ptr<TestClient> Rig::connect_accepted() {
  const uint32_t before = accepted;
  auto client = connect();
  EXPECT_TRUE(until([&] { return accepted > before; }));
  return client;
}

bool Rig::until(const std::function<bool()>& done) {
  uint64_t seen = progress_;
  for (uint32_t idle = 0; !done();) {
    pump(true);
    idle = progress_ == seen ? idle + 1 : 0;
    seen = progress_;
    if (idle > 400) return false;
  }
  return true;
}

void Rig::settle() {
  if (network_) {
    until([&] { return network_->next_event_time() == base::Instant::never(); });
    return;
  }
  // Loopback delivers inside the sender's system call: what was sent is there after a few turns.
  for (int i = 0; i < 5; ++i) pump(true);
}

void Rig::pump(bool wait) {
  base::Instant deadline{};
  if (!network_ && wait) deadline = io_->now() + base::milliseconds(10);
  if (network_ && wait) {
    const base::Instant next = network_->next_event_time();
    if (next != base::Instant::never()) {
      if (next > network_->now()) ++progress_;
      network_->advance_to(next);
    }
  }
  for (const Completion& c : io_->poll(deadline)) {
    ++progress_;
    take(c);
    if (on_event) on_event(c);
  }
}

void Rig::take(const Completion& c) {
  switch (c.event) {
    case Event::kAccepted: {
      if (c.result < 0) {
        accept_errors.push_back(c.result);
        return;
      }
      EXPECT_FALSE(sockets[c.slot].open) << "slot given out twice";
      last_slot = c.slot;
      ++accepted;
      Seen& s = sockets[c.slot];
      s = {};
      s.open = true;
      s.generation = next_generation_++;
      if (receive_on_accept) io_->start_receive(c.slot, s.generation);
      s.events.push_back(c.event);
      return;
    }
    case Event::kWoken:
      ++woken;
      return;
    default:
      break;
  }
  Seen& s = sockets[c.slot];
  EXPECT_TRUE(s.open) << "event of a closed socket";
  EXPECT_EQ(c.generation, s.generation);
  s.events.push_back(c.event);
  switch (c.event) {
    case Event::kReceived:
      EXPECT_EQ(s.end_result, 1) << "bytes after the end";
      EXPECT_GT(c.result, 0);
      s.received.append(reinterpret_cast<char*>(c.data), static_cast<size_t>(c.result));
      if (hold_buffers) {
        held.push_back(c.buffer);
      } else {
        io_->recycle(c.buffer);
      }
      break;
    case Event::kEnded:
      EXPECT_EQ(s.end_result, 1) << "ended twice";
      s.end_result = c.result;
      break;
    case Event::kWritable:
      s.writable = true;
      break;
    case Event::kPeerName: {
      EXPECT_EQ(c.result, 0);
      if (c.result != 0) break;
      char text[INET6_ADDRSTRLEN] = {};
      inet_ntop(AF_INET6, &c.peer->sin6_addr, text, sizeof text);
      s.peer = std::string(text) + " " + std::to_string(ntohs(c.peer->sin6_port));
      break;
    }
    case Event::kClosed:
      s.open = false;
      s.closed = true;
      ++closed;
      break;
    default:
      break;
  }
}

void Rig::send(uint32_t slot, const std::string& text) {
  io_->send(slot, gen(slot), reinterpret_cast<const uint8_t*>(text.data()),
            static_cast<uint32_t>(text.size()));
  EXPECT_TRUE(io_->finish_sends().empty());
  ++progress_;
}

std::string pattern(uint32_t size, uint32_t seed) {
  base::Prng prng(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(prng.next());
  return text;
}

}  // namespace tidegate::io
