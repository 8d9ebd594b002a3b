// SPDX-License-Identifier: Apache-2.0
// The client SDK on a blocking socket, for tests against a server in this or another process: what
// came in is kept, waits turn the client until a condition holds or ten seconds are over.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "crypto/jwt_sign.h"
#include "wire/pb.h"

namespace tidegate::embed_test {

inline constexpr const char* kSecret = "embed-tests-secret-of-32-bytes-or-more";

inline base::Instant now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

inline std::string token_for(const std::string& user, std::vector<std::string> permissions = {}) {
  crypto::MintClaims claims;
  claims.subject = user;
  claims.permissions = std::move(permissions);
  claims.issued_at = std::time(nullptr);
  claims.expires_at = claims.issued_at + 3600;
  return crypto::mint(kSecret, claims);
}

struct Received {
  uint32_t type;
  std::string payload;
};

class LiveClient final : public client::ClientEvents {
 public:
  LiveClient(uint16_t port, const std::string& user, std::vector<std::string> permissions = {},
             wire::StateEncoding encoding = wire::StateEncoding::kProtobuf) {
    client::ClientConfig config;
    config.token = token_for(user, std::move(permissions));
    config.encoding = encoding;
    client_ = std::make_unique<client::Client>(config, *this, std::hash<std::string>{}(user));
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      client_->on_disconnected();
    const int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    client_->start();
  }
  ~LiveClient() override { ::close(fd_); }
  LiveClient(const LiveClient&) = delete;
  LiveClient& operator=(const LiveClient&) = delete;

  // Sends and receives until `done` holds. False after ten seconds.
  bool until(const std::function<bool()>& done) {
    const base::Instant end = now() + base::seconds(10);
    while (!done()) {
      turn(20);
      if (now() > end) return false;
    }
    return true;
  }
  bool enter() {
    return until([this] { return client_->state() == client::ClientState::kInWorld; });
  }
  // Waits for the server's close and ends the connection.
  bool closed() {
    const bool done =
        until([this] { return client_->state() == client::ClientState::kClosed || gone_; });
    turn(0);  // our half of the close
    ::shutdown(fd_, SHUT_RDWR);
    return done;
  }
  // Waits for the next message of a type and takes it out; empty type 0 when none came.
  Received next(uint32_t type) {
    Received found{0, {}};
    until([&] {
      for (size_t i = 0; i < received.size(); ++i) {
        if (received[i].type != type) continue;
        found = received[i];
        received.erase(received.begin() + static_cast<ptrdiff_t>(i));
        return true;
      }
      return false;
    });
    return found;
  }
  // Waits for the next ERROR; 0 when none came.
  uint32_t next_error() {
    if (!until([this] { return !errors.empty(); })) return 0;
    const uint32_t code = errors.front();
    errors.erase(errors.begin());
    return code;
  }
  void send(uint32_t type, std::string_view payload, uint64_t sequence = 0) {
    client_->send_payload(type, base::as_bytes(payload), sequence);
    turn(0);
  }
  bool move_to(float x, float y, float z) {
    wire::PlayerMovement m;
    m.has_position = true;
    m.position = {x, y, z};
    m.client_tick = ++tick_;
    const uint64_t before = acks;
    return client_->send_move(m) && until([&] { return acks != before; });
  }

  client::Client& client() { return *client_; }

  std::vector<Received> received;
  std::vector<uint32_t> errors;
  uint64_t acks = 0;
  wire::MoveAck last_ack;
  std::vector<std::string> environments;       // encoded, as they came
  std::map<std::string, uint32_t> kinds;       // of spawns in ZONE_UPDATE
  std::map<std::string, std::string> customs;  // the last bytes of each
  uint64_t custom_count = 0;

 private:
  void turn(int wait_ms) {
    const base::Bytes out = client_->outgoing();
    if (!out.empty()) {
      const ssize_t n = ::send(fd_, out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) client_->sent(static_cast<size_t>(n));
    }
    pollfd wait{fd_, POLLIN, 0};
    if (gone_ || ::poll(&wait, 1, wait_ms) <= 0) return;
    uint8_t buffer[16384];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) {
      client_->on_bytes(now(), {buffer, static_cast<size_t>(n)});
    } else if (n == 0 || errno != EAGAIN) {
      gone_ = true;
      client_->on_disconnected();
    }
  }
  // What the picture leaves out: custom state, kinds of what came into view, the environment.
  void on_world_payload(base::Instant, uint32_t type, base::Bytes payload) override {
    const bool snapshot = type == static_cast<uint32_t>(wire::MessageType::kWorldState);
    wire::PbReader in(payload);
    while (in.next()) {
      if (in.field() == (snapshot ? 7u : wire::kZoneEnvironment)) {
        environments.emplace_back(in.text());
      } else if (!snapshot &&
                 (in.field() == wire::kZoneSpawns || in.field() == wire::kZoneUpdates)) {
        read_entity(in.bytes(), in.field() == wire::kZoneSpawns);
      }
    }
  }
  void read_entity(base::Bytes bytes, bool spawn) {
    std::string name;
    wire::PbReader in(bytes);
    while (in.next()) {
      if (in.field() == 1) {
        wire::PbReader state(in.bytes());
        if (state.next() && state.field() == 1) name = state.text();
        if (spawn) kinds[name] = 0;
      } else if (spawn && in.field() == 2) {
        kinds[name] = static_cast<uint32_t>(in.varint());
      } else if (in.field() == (spawn ? 3u : 2u)) {
        customs[name] = in.text();
        ++custom_count;
      }
    }
  }
  void on_custom(base::Instant, uint32_t type, base::Bytes payload) override {
    received.push_back({type, std::string(base::as_text(payload))});
  }
  void on_error(const wire::ErrorNotification& error) override { errors.push_back(error.code); }
  void on_move_ack(base::Instant, const wire::MoveAck& ack) override {
    last_ack = ack;
    ++acks;
  }

  std::unique_ptr<client::Client> client_;
  int fd_ = -1;
  uint32_t tick_ = 0;
  bool gone_ = false;
};

// Value of a line of /metrics whose name and labels contain both texts, summed over shards.
inline uint64_t metric(const std::string& text, std::string_view name,
                       std::string_view label = {}) {
  uint64_t sum = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    at = end + 1;
    if (line.rfind(name, 0) != 0 || line.size() <= name.size() || line[name.size()] != '{')
      continue;
    if (line.find(label) == std::string_view::npos) continue;
    sum += std::strtoull(std::string(line.substr(line.rfind(' ') + 1)).c_str(), nullptr, 10);
  }
  return sum;
}

}  // namespace tidegate::embed_test
