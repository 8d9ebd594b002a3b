// SPDX-License-Identifier: Apache-2.0
// A whole connection, or several: one shard on the simulated network, a script of what clients do
// and of how time passes. From the first byte on a socket through upgrade, login, frames, messages,
// topics, presence and world to the close. Each input is a fresh server, so a find can be repeated.
//
// Script, a byte and what belongs to it:
//   0..47     so many milliseconds pass
//   48..95    raw bytes: the next byte says how many
//   96..143   a WebSocket frame: first byte as it stands, then how many bytes of payload
//   144..207  a message: type, how many bytes, payload; in a right frame and envelope
//   208..215  the upgrade request of client (b & 3) with a good token
//   216..223  ... of a client without a token
//   224..231  client (b & 3) is the one that acts from now on
//   232..239  it reads what has come     240..247  it closes      248..251  it resets
//   252..255  it ends its half of the connection
// At the end everybody is gone, and nothing may be left: no connection, no buffer, no charge.
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "io/sim_network.h"
#include "mailbox/mailboxes.h"
#include "mem/budget.h"
#include "protocol/ws.h"
#include "shard/shard.h"
#include "wire/envelope.h"

using namespace tidegate;

namespace {

constexpr uint16_t kPort = 7400;
constexpr uint32_t kClients = 4;
constexpr uint32_t kStepsMax = 400;
constexpr uint32_t kMillisecondsMax = 1500;
constexpr std::string_view kSubprotocols[] = {"tidegate.v1.proto", "tidegate.v1.json"};

shard::ShardConfig config_of(mem::Account* account) {
  shard::ShardConfig c;
  c.server_version = "fuzz";
  c.first_tick = base::Instant{0} + base::milliseconds(20);
  c.world.entities = 32;
  c.world.cells = 64;
  c.world.history_ticks = 4;
  c.world.linger_ms = 100;
  c.world.budget.queue_bytes = 48 * 1024;
  c.endpoint.connections = 16;
  c.endpoint.message_bytes = 4096;
  c.endpoint.turn_bytes = 128 * 1024;
  c.endpoint.backlog_pool_bytes = 1 << 20;
  c.endpoint.big_inputs = 4;
  c.endpoint.receive_buffers = 16;
  c.endpoint.handshake_timeout = base::milliseconds(500);
  c.endpoint.message_timeout = base::seconds(1);
  c.endpoint.stall_timeout = base::seconds(1);
  c.endpoint.heartbeat_interval = base::milliseconds(400);
  c.endpoint.heartbeat_timeout = base::milliseconds(900);
  c.endpoint.close_timeout = base::milliseconds(200);
  c.endpoint.extra_frames_per_second = 200;
  c.endpoint.rules.subprotocols = kSubprotocols;
  c.endpoint.account = account;
  c.endpoint.deflate.enabled = true;
  c.endpoint.deflate.contexts = 2;
  c.hello_wait = base::milliseconds(100);
  c.messages_per_second = 200;
  c.messages_burst = 50;
  c.session.limit = 32;
  c.topics.topics = 8;
  c.topics.subscriptions = 32;
  c.topics.per_connection = 4;
  c.topics.history_memory = 64 * 1024;
  c.topics.parked = 16;
  c.presence.users = 32;
  c.presence.watches = 32;
  return c;
}

class Place {
 public:
  Place()
      : network_(7, {}),
        fabric_({.shards = 1, .shard_ring_bytes = 256 * 1024, .control_ring_bytes = 256 * 1024}),
        control_(fabric_, fabric_.control()),
        budget_(4 << 20),
        account_(budget_),
        io_(network_,
            io::IoLimits{.sockets = 16 + net::kRefusalRows, .buffers = 16, .buffer_bytes = 512}) {
    io::ListenSpec listen;
    listen.address.sin6_family = AF_INET6;
    listen.address.sin6_port = htons(kPort);
    uint16_t port = 0;
    if (io_.listen(listen, &port) != io::IoStatus::kOk) std::abort();
    shard_ =
        std::make_unique<shard::Shard>(config_of(&account_), io_, fabric_,
                                       std::vector<io::Waker*>{&io_.waker(), &waker_}, counters_);
    base_charge_ = account_.charged();
  }

  void pass(uint32_t ms, uint32_t step = 4) {
    for (uint32_t i = 0; i < ms; i += step) {
      network_.advance_to(network_.now() + base::milliseconds(step));
      shard_->turn(shard::Shard::Wait::kNo);
      control_turn();
      shard_->turn(shard::Shard::Wait::kNo);
    }
  }
  io::SimClientSocket& client() {
    if (clients_[at_] == nullptr) clients_[at_] = network_.connect(kPort);
    return *clients_[at_];
  }
  void choose(uint32_t i) { at_ = i % kClients; }
  void send(std::string_view bytes) { (void)client().send(base::as_bytes(bytes)); }
  void read() {
    uint8_t chunk[4096];
    while (client().receive(chunk) != 0) {
    }
  }
  void let_go() {
    if (clients_[at_] != nullptr) network_.release(clients_[at_]);
    clients_[at_] = nullptr;
  }
  void request(bool token) {
    std::string head =
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    head += at_ % 2 == 0 ? "Sec-WebSocket-Protocol: tidegate.v1.proto\r\n"
                         : "Sec-WebSocket-Protocol: tidegate.v1.json\r\n";
    if (at_ == 2) head += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    if (token) head += "Authorization: Bearer player" + std::to_string(at_) + "\r\n";
    send(head + "\r\n");
  }

  // Everybody goes; then nothing is held.
  void check_end() {
    for (at_ = 0; at_ < kClients; ++at_) let_go();
    pass(2500, 20);
    if (shard_->open_connections() != 0 || io_.open_sockets() != 0 || io_.buffers_out() != 0) {
      std::abort();
    }
    if (counters_.get(metrics::Gauge::kInputMemoryUsed) != 0 ||
        counters_.get(metrics::Gauge::kBacklogMemoryUsed) != 0) {
      std::abort();
    }
  }

 private:
  struct NoWakes final : mailbox::WakeSink {
    void wake_agent(mailbox::AgentId) override {}
  };

  // Any token is a user's name, as long as it begins like one of ours.
  void control_turn() {
    control_.drain(
        100, [this](mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes) {
          if (type != mailbox::MessageType::kAuthRequest) return;
          base::Bytes token;
          const auto request = mailbox::read_message<mailbox::AuthRequest>(bytes, &token);
          token = token.first(token.size() - request.resume_bytes);
          mailbox::AuthResult result{};
          result.connection = request.connection;
          result.asked_ns = request.asked_ns;
          std::string tail(base::as_text(token));
          if (tail.rfind("player", 0) != 0 || tail.size() > 32) {
            result.http_status = 401;
            tail = "invalid_token";
            result.user_bytes = static_cast<uint16_t>(tail.size());
          } else {
            result.user_bytes = result.player_bytes = static_cast<uint16_t>(tail.size());
            tail += tail;
            result.session = ++sessions_;
            result.nonce = ++sessions_;
          }
          (void)control_.post(from, result, base::as_bytes(tail));
        });
    NoWakes wakes;
    control_.publish_all(wakes);
  }

  io::SimNetwork network_;
  mailbox::Fabric fabric_;
  mailbox::Mailbox control_;
  io::SimWaker waker_;
  mem::Budget budget_;
  mem::Account account_;
  metrics::Counters counters_;
  io::SimIo io_;
  std::unique_ptr<shard::Shard> shard_;
  io::SimClientSocket* clients_[kClients] = {};
  uint32_t at_ = 0;
  uint64_t sessions_ = 0;
  uint64_t base_charge_ = 0;
};

std::string masked(uint8_t first, std::string_view payload) {
  std::string out(protocol::kHeaderMax + payload.size(), '\0');
  out.resize(protocol::write_masked_frame(reinterpret_cast<uint8_t*>(out.data()),
                                          protocol::Opcode::kBinary, true, base::as_bytes(payload),
                                          0x01020304));
  out[0] = static_cast<char>(first);
  return out;
}

// A NetworkMessage of any type with any payload, in its 8-byte frame.
std::string message(uint8_t type, uint64_t sequence, std::string_view payload) {
  std::string envelope;
  const auto varint = [&](uint64_t v) {
    for (; v >= 0x80; v >>= 7) envelope += static_cast<char>(v | 0x80);
    envelope += static_cast<char>(v);
  };
  varint(2 << 3);  // sequence
  varint(sequence);
  varint(5 << 3);  // type
  varint(type);
  varint(6 << 3 | 2);  // payload
  varint(payload.size());
  envelope += payload;
  if (sequence != 0) envelope += "\x38\x01";  // requires_ack
  std::string out(8, '\0');
  auto* head = reinterpret_cast<uint8_t*>(out.data());
  base::store_be16(head, wire::kFrameMagic);
  base::store_be16(head + 2, wire::kFrameVersion);
  base::store_be32(head + 4, static_cast<uint32_t>(envelope.size()));
  return out + envelope;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Place world;
  const uint8_t* const end = data + size;
  const auto byte = [&]() -> uint8_t { return data == end ? 0 : *data++; };
  const auto take = [&](size_t n) {
    n = std::min<size_t>(n, static_cast<size_t>(end - data));
    const std::string_view out(reinterpret_cast<const char*>(data), n);
    data += n;
    return out;
  };
  uint64_t sequence = 0;
  uint32_t passed = 0;
  for (uint32_t step = 0; data != end && step < kStepsMax; ++step) {
    const uint8_t what = byte();
    if (what < 48) {
      if (passed < kMillisecondsMax) world.pass(what);
      passed += what;
    } else if (what < 96) {
      world.send(take(byte()));
    } else if (what < 144) {
      const uint8_t first = byte();
      world.send(masked(first, take(byte())));
    } else if (what < 208) {
      const uint8_t type = byte();
      world.send(masked(0x82, message(type, (what & 1) != 0 ? ++sequence : 0, take(byte()))));
    } else if (what < 216) {
      world.choose(what);
      world.request(true);
      world.pass(8);
    } else if (what < 224) {
      world.choose(what);
      world.request(false);
    } else if (what < 232) {
      world.choose(what);
    } else if (what < 240) {
      world.read();
    } else if (what < 248) {
      world.let_go();
    } else if (what < 252) {
      world.client().reset();
      world.let_go();
    } else {
      world.client().finish();
    }
  }
  world.check_end();
  return 0;
}
