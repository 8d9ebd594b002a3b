// SPDX-License-Identifier: Apache-2.0
// permessage-deflate through Endpoint over the simulated network: negotiation, messages both ways,
// shared parts, limits, and the share of a turn.
#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "io/sim_network.h"
#include "net/endpoint.h"

namespace tidegate::net {
namespace {

using base::milliseconds;
using protocol::Context;
using protocol::Opcode;

constexpr uint16_t kPort = 9000;

EndpointConfig small() {
  EndpointConfig c;
  c.connections = 8;
  c.message_bytes = 20'000;
  c.backlog_bytes = 1 << 20;
  c.backlog_pool_bytes = 8 << 20;
  c.turn_bytes = 1 << 20;
  c.receive_buffers = 64;
  c.rules.path = {};
  c.deflate.enabled = true;
  c.deflate.contexts = 2;
  return c;
}

io::SimConfig network_config() {
  io::SimConfig c;
  c.latency = milliseconds(1);
  c.window_bytes = 64 * 1024;
  return c;
}

// A client that speaks the extension and keeps what came as "opcode:payload".
struct Peer {
  io::SimClientSocket* socket = nullptr;
  std::string in;
  std::string answer;  // head
  std::vector<std::string> messages;
  std::vector<uint32_t> sizes;  // payload bytes on the wire
  uint16_t close_code = 0;
  std::vector<std::max_align_t> inflater_memory, deflater_memory;
  protocol::Inflater* inflater = nullptr;
  protocol::Deflater* deflater = nullptr;
  Context in_context = Context::kFresh, out_context = Context::kFresh;
  bool compressed_last = false;
};

class DeflateTest : public ::testing::Test, protected ConnectionHandler {
 protected:
  void start(const EndpointConfig& config) {
    endpoint_.reset();
    io_.reset();
    network_ = std::make_unique<io::SimNetwork>(1, network_config());
    io_ = std::make_unique<io::SimIo>(
        *network_, io::IoLimits{.sockets = 8 + kRefusalRows, .buffers = 64, .buffer_bytes = 4096});
    endpoint_ =
        std::make_unique<Endpoint>(config, *io_, static_cast<ConnectionHandler&>(*this), counters_);
    io::ListenSpec listen;
    listen.address.sin6_family = AF_INET6;
    listen.address.sin6_port = htons(kPort);
    uint16_t port = 0;
    ASSERT_EQ(io_->listen(listen, &port), io::IoStatus::kOk);
  }
  void turn() {
    network_->advance_to(network_->now() + milliseconds(1));
    const auto completions = io_->poll(network_->now());
    endpoint_->begin_turn(network_->now());
    for (const io::Completion& c : completions) endpoint_->on_completion(c);
    endpoint_->run_timers();
    if (at_turn_) at_turn_();
    endpoint_->flush();
  }
  void run(int ms) {
    for (int i = 0; i < ms; ++i) turn();
  }
  static void write(Peer& peer, std::string_view bytes) {
    ASSERT_EQ(peer.socket->send(base::as_bytes(bytes)), bytes.size());
  }
  std::unique_ptr<Peer> open(std::string_view offer) {
    auto peer = std::make_unique<Peer>();
    peer->socket = network_->connect(kPort);
    std::string request =
        "GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    if (!offer.empty()) request += "Sec-WebSocket-Extensions: " + std::string(offer) + "\r\n";
    write(*peer, request + "\r\n");
    run(8);
    take(*peer);
    const size_t end = peer->in.find("\r\n\r\n");
    EXPECT_NE(end, std::string::npos);
    peer->answer = peer->in.substr(0, end + 2);
    peer->in.erase(0, end + 4);
    const std::string& a = peer->answer;
    if (a.find("server_no_context") == std::string::npos) peer->in_context = Context::kTakeover;
    if (a.find("client_no_context") == std::string::npos) peer->out_context = Context::kTakeover;
    peer->inflater_memory.resize(protocol::Inflater::block_bytes(15) / sizeof(std::max_align_t) +
                                 1);
    peer->inflater = protocol::Inflater::make(bytes_of(peer->inflater_memory), 15);
    const protocol::Deflater::Settings settings{15, 8, 6};
    peer->deflater_memory.resize(
        protocol::Deflater::block_bytes(settings) / sizeof(std::max_align_t) + 1);
    peer->deflater = protocol::Deflater::make(bytes_of(peer->deflater_memory), settings);
    return peer;
  }
  static base::MutableBytes bytes_of(std::vector<std::max_align_t>& memory) {
    return {reinterpret_cast<uint8_t*>(memory.data()), memory.size() * sizeof(std::max_align_t)};
  }
  static void take(Peer& peer) {
    uint8_t buffer[4096];
    for (uint32_t n; (n = peer.socket->receive(buffer)) != 0;) {
      peer.in.append(reinterpret_cast<char*>(buffer), n);
    }
  }
  // Reads whole frames.
  static void receive(Peer& peer) {
    take(peer);
    for (;;) {
      protocol::FrameView frame;
      const base::MutableBytes in{reinterpret_cast<uint8_t*>(peer.in.data()), peer.in.size()};
      const auto status =
          protocol::parse_frame(in, protocol::Role::kClient, 1 << 20, frame, 1 << 20);
      if (status == protocol::ParseStatus::kNeedMore) return;
      ASSERT_EQ(status, protocol::ParseStatus::kFrame);
      std::string payload(base::as_text(frame.payload));
      if (frame.opcode == Opcode::kClose) {
        peer.close_code = base::load_be16(frame.payload.data());
      } else if (!is_control(frame.opcode)) {
        peer.sizes.push_back(static_cast<uint32_t>(payload.size()));
        peer.compressed_last = frame.compressed;
        if (frame.compressed) {
          std::vector<uint8_t> out(1 << 20);
          size_t size = 0;
          ASSERT_EQ(peer.inflater->decompress(frame.payload, out, &size, peer.in_context),
                    protocol::InflateStatus::kOk);
          payload.assign(reinterpret_cast<char*>(out.data()), size);
        }
        peer.messages.push_back(payload);
      }
      peer.in.erase(0, frame.consumed);
    }
  }
  static std::string raw_frame(uint8_t first, std::string_view payload) {
    std::string out(protocol::kHeaderMax + payload.size(), '\0');
    out.resize(protocol::write_masked_frame(reinterpret_cast<uint8_t*>(out.data()),
                                            static_cast<Opcode>(first & 0x0f), true,
                                            base::as_bytes(payload), 0x12345678));
    out[0] = static_cast<char>(first);
    return out;
  }
  static std::string compressed(Peer& peer, std::string_view text) {
    std::string out(text.size() + 200, '\0');
    const base::Bytes part = base::as_bytes(text);
    out.resize(peer.deflater->compress(
        &part, 1, {reinterpret_cast<uint8_t*>(out.data()), out.size()}, peer.out_context));
    return out;
  }

  UpgradeDecision on_upgrade(uint32_t, const protocol::UpgradeRequest&) override {
    return UpgradeDecision::kAccept;
  }
  void on_open(uint32_t) override {}
  void on_message(uint32_t slot, Opcode opcode, base::MutableBytes payload) override {
    ++received_;
    if (in_place_) {
      uint8_t* out = endpoint_->reserve_message(slot, static_cast<uint32_t>(payload.size()) + 100);
      std::memcpy(out, payload.data(), payload.size());
      endpoint_->commit_message(slot, opcode, static_cast<uint32_t>(payload.size()));
      return;
    }
    if (echo_) endpoint_->send_message(slot, opcode, payload);
  }
  void on_closed(uint32_t, CloseCause cause, uint16_t) override { causes_.push_back(cause); }
  uint64_t count(metrics::Counter c) const { return counters_.get(c); }

  metrics::Counters counters_;
  std::unique_ptr<io::SimNetwork> network_;
  std::unique_ptr<io::SimIo> io_;
  std::unique_ptr<Endpoint> endpoint_;
  std::vector<CloseCause> causes_;
  std::function<void()> at_turn_;
  uint32_t received_ = 0;
  bool echo_ = true;
  bool in_place_ = false;
};

const std::string kText = [] {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "the tide turns at gate " + std::to_string(i % 7) + "; ";
  return text;
}();

TEST_F(DeflateTest, AConnectionThatOffersNothingGetsNothing) {
  start(small());
  auto peer = open("");
  EXPECT_EQ(peer->answer.find("Extensions"), std::string::npos);
  write(*peer, raw_frame(0x82, kText));
  run(8);
  receive(*peer);
  ASSERT_EQ(peer->messages.size(), 1u);
  EXPECT_EQ(peer->sizes[0], kText.size());
  write(*peer, raw_frame(0xc2, "x"));
  run(8);
  receive(*peer);
  EXPECT_EQ(peer->close_code, 1002);
}

TEST_F(DeflateTest, MessagesGoCompressedBothWays) {
  for (const bool takeover : {false, true}) {
    for (const bool in_place : {false, true}) {
      EndpointConfig config = small();
      config.deflate.rules.server_context_takeover = takeover;
      config.deflate.rules.client_context_takeover = takeover;
      start(config);
      in_place_ = in_place;
      auto peer = open("permessage-deflate; client_max_window_bits");
      EXPECT_EQ(peer->in_context == Context::kTakeover, takeover);
      EXPECT_EQ(peer->out_context == Context::kTakeover, takeover);
      for (int i = 0; i < 5; ++i) {
        write(*peer, raw_frame(0xc2, compressed(*peer, kText.substr(static_cast<size_t>(i)))));
        run(8);
        receive(*peer);
        ASSERT_EQ(peer->messages.size(), static_cast<size_t>(i + 1));
        EXPECT_EQ(peer->messages.back(), kText.substr(static_cast<size_t>(i)));
        EXPECT_TRUE(peer->compressed_last);
        EXPECT_LT(peer->sizes.back(), takeover && i > 0 ? 150u : 1000u);
      }
      // Small ones and what does not shrink go as they are.
      std::string noise;
      for (int i = 0; i < 3000; ++i) noise += static_cast<char>(i * i * 31 + i / 7 * 113);
      for (const std::string& text : {std::string("hi"), std::string(), noise.substr(0, 70)}) {
        write(*peer, raw_frame(0x82, text));
        run(8);
        receive(*peer);
        EXPECT_EQ(peer->messages.back(), text);
      }
      write(*peer, raw_frame(0xc2, compressed(*peer, kText)));
      run(8);
      receive(*peer);
      EXPECT_EQ(peer->messages.back(), kText);
      EXPECT_EQ(io_->buffers_out(), 0u);
    }
  }
}

TEST_F(DeflateTest, BeyondThePoolTheExtensionIsDeclined) {
  EndpointConfig config = small();
  config.deflate.rules.client_context_takeover = true;
  start(config);
  const std::string_view offer = "permessage-deflate";
  auto a = open(offer), b = open(offer), c = open(offer);
  EXPECT_NE(b->answer.find("permessage-deflate"), std::string::npos);
  EXPECT_EQ(c->answer.find("permessage-deflate"), std::string::npos);
  EXPECT_EQ(count(metrics::Counter::kDeflateDeclined), 1u);
  // One that asks for no takeover needs no context.
  auto d = open("permessage-deflate; client_no_context_takeover");
  EXPECT_NE(d->answer.find("permessage-deflate"), std::string::npos);
  a->socket->close();
  run(50);
  auto e = open(offer);
  EXPECT_NE(e->answer.find("permessage-deflate"), std::string::npos);
}

TEST_F(DeflateTest, BadMessagesCloseTheConnection) {
  struct Case {
    uint16_t code;
    uint8_t first;
    std::string payload;
    CloseCause cause;
  };
  const std::string bad_text("\0\x02\0\xfd\xff\xc3\x28\0", 8);
  start(small());
  auto maker = open("permessage-deflate");
  const std::string bomb = compressed(*maker, std::string(20'001, 'a'));
  for (const Case& c : {Case{1007, 0xc2, "\xff\xff", CloseCause::kProtocolError},
                        Case{1007, 0xc2, "", CloseCause::kProtocolError},
                        Case{1007, 0xc1, bad_text, CloseCause::kProtocolError},
                        Case{1009, 0xc2, bomb, CloseCause::kTooBig},
                        Case{1002, 0xc9, "", CloseCause::kProtocolError},
                        Case{1009, 0x82, std::string(20'001, 'a'), CloseCause::kTooBig}}) {
    causes_.clear();
    auto peer = open("permessage-deflate");
    write(*peer, raw_frame(c.first, c.payload));
    run(10);
    receive(*peer);
    EXPECT_EQ(peer->close_code, c.code);
    ASSERT_EQ(causes_.size(), 1u);
    EXPECT_EQ(causes_[0], c.cause);
    peer->socket->close();
    run(20);
  }
  EXPECT_EQ(received_, 0u);
}

// Messages of shared parts: compressed once, whoever watches, and right for every window.
TEST_F(DeflateTest, SharedPartsAreCompressedOnce) {
  EndpointConfig config = small();
  config.deflate.rules.server_context_takeover = true;
  start(config);
  auto plain = open("");
  auto fresh = open("permessage-deflate; server_no_context_takeover");
  auto fresh2 = open("permessage-deflate; server_no_context_takeover");
  auto narrow = open("permessage-deflate; server_no_context_takeover; server_max_window_bits=9");
  auto keeps = open("permessage-deflate");
  std::string noise;
  for (int i = 0; i < 900; ++i) noise += static_cast<char>(i * i * 31 + i / 7 * 113);
  const std::string one = kText, two = kText.substr(11), three = noise, own = "own bytes";
  const auto part = [](const std::string& s) {
    return iovec{const_cast<char*>(s.data()), s.size()};
  };
  for (int round = 0; round < 3; ++round) {
    const uint64_t shared_before = count(metrics::Counter::kDeflateShared);
    at_turn_ = [&] {
      for (uint32_t slot = 0; slot < 5; ++slot) {
        const iovec parts[] = {part(one), part(three), part(two)};
        endpoint_->send_gathered(
            slot, Opcode::kBinary, base::as_bytes(own), parts, 3,
            static_cast<uint32_t>(own.size() + one.size() + three.size() + two.size()));
        const iovec reversed[] = {part(two), part(three)};
        endpoint_->send_gathered(slot, Opcode::kBinary, {}, reversed, 2,
                                 static_cast<uint32_t>(two.size() + three.size()));
      }
    };
    turn();
    at_turn_ = nullptr;
    run(5);
    // Two of three parts of `fresh` in its second message, all of fresh2's, `narrow` for itself.
    EXPECT_GE(count(metrics::Counter::kDeflateShared) - shared_before, 2u + 2u + 2u);
    for (Peer* peer : {plain.get(), fresh.get(), fresh2.get(), narrow.get(), keeps.get()}) {
      receive(*peer);
      ASSERT_EQ(peer->messages.size(), 2u);
      EXPECT_EQ(peer->messages[0], own + one + three + two);
      EXPECT_EQ(peer->messages[1], two + three);
      if (peer != plain.get()) {
        EXPECT_LT(peer->sizes[0], 3500u);
        EXPECT_TRUE(peer->compressed_last);
      }
      peer->messages.clear();
      peer->sizes.clear();
    }
  }
}

TEST_F(DeflateTest, AFrameMadeForAllIsCompressedForThoseWhoSpeakIt) {
  start(small());
  auto plain = open("");
  auto fresh = open("permessage-deflate");
  std::string frame(protocol::header_size(kText.size()), '\0');
  protocol::write_header(reinterpret_cast<uint8_t*>(frame.data()), Opcode::kText, true,
                         kText.size());
  frame += kText;
  at_turn_ = [&] {
    for (uint32_t slot = 0; slot < 2; ++slot) {
      endpoint_->send_framed(slot, reinterpret_cast<const uint8_t*>(frame.data()),
                             static_cast<uint32_t>(frame.size()), 1);
    }
  };
  turn();
  at_turn_ = nullptr;
  run(5);
  for (Peer* peer : {plain.get(), fresh.get()}) {
    receive(*peer);
    ASSERT_EQ(peer->messages.size(), 1u);
    EXPECT_EQ(peer->messages[0], kText);
  }
  EXPECT_LT(fresh->sizes[0], 1000u);
}

// What a turn does not inflate waits, in order, and nothing is lost, not even the end.
TEST_F(DeflateTest, ATurnInflatesItsShareAndTheNextGoesOn) {
  EndpointConfig config = small();
  config.deflate.turn_bytes = 64 * 1024;
  start(config);
  echo_ = false;
  auto peer = open("permessage-deflate");
  auto other = open("");
  std::string bytes;
  for (int i = 0; i < 200; ++i) {
    bytes += raw_frame(0xc2, compressed(*peer, std::string(16'000 + i, 'a')));
  }
  bytes += raw_frame(0x88, std::string("\x03\xe8", 2));
  write(*peer, bytes);
  uint32_t before = 0, busy_turns = 0;
  for (int i = 0; i < 200 && causes_.empty(); ++i) {
    if (i == 3) write(*other, raw_frame(0x82, "not kept waiting"));
    turn();
    EXPECT_LE(received_ - before, 6u);  // 64 KiB, the message that passes it, the other's
    busy_turns += received_ != before;
    before = received_;
    if (i == 5) {
      EXPECT_LT(received_, 60u);
    }
  }
  EXPECT_EQ(received_, 201u);
  EXPECT_GE(busy_turns, 40u);
  EXPECT_GT(count(metrics::Counter::kInflateParked), 0u);
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kPeerClosed);
  run(2500);
  EXPECT_EQ(io_->buffers_out(), 0u);
}

TEST_F(DeflateTest, APeerThatVanishesWithWorkParkedLeavesNothingBehind) {
  EndpointConfig config = small();
  config.deflate.turn_bytes = 64 * 1024;
  config.deflate.rules.client_context_takeover = true;
  start(config);
  echo_ = false;
  for (int round = 0; round < 4; ++round) {
    auto peer = open("permessage-deflate");
    std::string bytes;
    for (int i = 0; i < 200; ++i) {
      bytes += raw_frame(0xc2, compressed(*peer, std::string(16'000 + i, 'a')));
    }
    write(*peer, bytes);
    run(4);
    if (round % 2 == 0) {
      peer->socket->reset();
    } else {
      endpoint_->close_all(1001, "drain");
      peer->socket->close();
    }
    run(3000);
    EXPECT_EQ(endpoint_->open_count(), 0u);
    EXPECT_EQ(io_->buffers_out(), 0u);
  }
  EXPECT_EQ(causes_.size(), 4u);
}

}  // namespace
}  // namespace tidegate::net
