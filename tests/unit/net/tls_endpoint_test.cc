// SPDX-License-Identifier: Apache-2.0
// Endpoint with a TLS listener beside a plain one, over the simulated network.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <ctime>
#include <deque>
#include <string>
#include <vector>

#include "../tls/make_certificate.h"
#include "io/sim_io.h"
#include "io/sim_network.h"
#include "net/endpoint.h"
#include "tls/client_stream.h"

namespace tidegate::net {
namespace {

using base::milliseconds;

constexpr uint16_t kPlainPort = 9000;
constexpr uint16_t kTlsPort = 9443;
constexpr const char* kRequest =
    "GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

std::shared_ptr<const tls::ServerContext> server_context(const char* name) {
  tls::ServerOptions options;
  options.certificates = {tls::make_certificate({.names = {name}})};
  options.unix_seconds = std::time(nullptr);
  std::string error;
  std::vector<std::string> warnings;
  auto made = tls::ServerContext::make(options, &error, &warnings);
  EXPECT_NE(made, nullptr) << error;
  return made;
}

EndpointConfig config(tls::ContextHolder* holder) {
  EndpointConfig c;
  c.connections = 8;
  c.message_bytes = 70'000;
  c.backlog_bytes = 64 * 1024;
  c.backlog_pool_bytes = 4 << 20;
  c.turn_bytes = 1 << 20;
  c.receive_buffers = 64;
  c.handshake_timeout = milliseconds(500);
  c.heartbeat_interval = milliseconds(1000);
  c.heartbeat_timeout = milliseconds(2500);
  c.message_timeout = base::seconds(2);
  c.stall_timeout = base::seconds(2);
  c.extra_frames_per_second = 100;
  c.rules.path = {};
  c.tls.contexts = holder;
  c.tls.listeners = 2;
  c.tls.tickets.seed = {3};
  c.tls.tickets.rotation = base::seconds(100);
  return c;
}

io::SimConfig network_config() {
  io::SimConfig c;
  c.latency = milliseconds(1);
  c.window_bytes = 32 * 1024;
  return c;
}

std::string text(base::Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string frame(std::string_view payload) {
  std::string out(protocol::kHeaderMax + payload.size(), '\0');
  out.resize(protocol::write_masked_frame(reinterpret_cast<uint8_t*>(out.data()),
                                          protocol::Opcode::kBinary, true, base::as_bytes(payload),
                                          0x12345678));
  return out;
}

// A client over TLS.
struct Client {
  io::SimClientSocket* socket = nullptr;
  tls::Engine engine;
  tls::ClientStream stream;
  std::string got;
  bool over = false;

  void read(size_t most = SIZE_MAX) {
    uint8_t buffer[2000];
    for (uint32_t n;
         most > 0 && (n = socket->receive({buffer, std::min(most, sizeof buffer)})) != 0;
         most -= n) {
      base::MutableBytes plain;
      if (!stream.receive(engine, {buffer, n}, &plain)) over = true;
      got += text(plain);
    }
    write();
  }
  void write() {
    const base::Bytes out = stream.outgoing();
    if (!out.empty()) stream.sent(socket->send(out));
  }
  void say(std::string_view bytes) {
    ASSERT_TRUE(stream.seal(engine, base::as_bytes(bytes)));
    write();
  }
  std::string take() { return std::exchange(got, {}); }
};

class TlsEndpointTest : public ::testing::Test, protected ConnectionHandler {
 protected:
  explicit TlsEndpointTest(void (*change)(EndpointConfig&) = nullptr)
      : network_(1, network_config()),
        io_(network_,
            io::IoLimits{.sockets = 8 + kRefusalRows, .buffers = 64, .buffer_bytes = 2048}) {
    holder_.set(server_context("game.example"));
    EndpointConfig c = config(&holder_);
    if (change != nullptr) change(c);
    endpoint_.reset(new Endpoint(c, io_, *this, counters_));
    for (const uint16_t want : {kPlainPort, kTlsPort}) {
      io::ListenSpec listen;
      listen.address.sin6_family = AF_INET6;
      listen.address.sin6_port = htons(want);
      uint16_t port = 0;
      EXPECT_EQ(io_.listen(listen, &port), io::IoStatus::kOk);
    }
    std::string error;
    trusting_ = tls::ClientContext::make({.insecure = true}, &error);
  }

  void run(int ms, size_t read_most = SIZE_MAX) {
    for (int i = 0; i < ms; ++i) {
      network_.advance_to(network_.now() + milliseconds(1));
      const auto completions = io_.poll(network_.now());
      endpoint_->begin_turn(network_.now());
      for (const io::Completion& c : completions) endpoint_->on_completion(c);
      endpoint_->run_timers();
      if (serve_handshakes_) endpoint_->run_handshakes(base::Instant::never());
      endpoint_->flush();
      for (Client& client : clients_) {
        if (client.socket != nullptr && !client.over) client.read(read_most);
      }
    }
  }
  // Sends its hello at once.
  Client& connect() {
    Client& client = clients_.emplace_back();
    client.socket = network_.connect(kTlsPort);
    EXPECT_TRUE(client.stream.start(*trusting_, client.engine, "game.example"));
    client.write();
    return client;
  }
  Client& open() {
    Client& client = connect();
    run(10);
    EXPECT_TRUE(client.stream.established());
    client.say(kRequest);
    run(10);
    EXPECT_EQ(client.take().substr(0, 12), "HTTP/1.1 101");
    return client;
  }
  uint64_t failures(tls::Failure f) {
    return counters_.get(metrics::Family::kTlsFailures, static_cast<uint32_t>(f));
  }
  uint64_t count(metrics::Counter c) { return counters_.get(c); }

  UpgradeDecision on_upgrade(uint32_t, const protocol::UpgradeRequest&) override {
    return UpgradeDecision::kAccept;
  }
  void on_open(uint32_t) override {}
  void on_message(uint32_t slot, protocol::Opcode opcode, base::MutableBytes payload) override {
    endpoint_->send_message(slot, opcode, payload);
  }
  void on_closed(uint32_t, CloseCause cause, uint16_t) override { causes_.push_back(cause); }

  metrics::Counters counters_;
  tls::ContextHolder holder_;
  io::SimNetwork network_;
  io::SimIo io_;
  std::unique_ptr<Endpoint> endpoint_;
  std::unique_ptr<tls::ClientContext> trusting_;
  std::deque<Client> clients_;
  std::vector<CloseCause> causes_;
  bool serve_handshakes_ = true;
};

TEST_F(TlsEndpointTest, EchoesMessagesOfAllSizes) {
  Client& client = open();
  for (const size_t size :
       {0u, 1u, 125u, 126u, 1000u, 16'383u, 16'384u, 16'385u, 65'535u, 65'536u}) {
    const std::string payload(size, static_cast<char>('a' + size % 26));
    client.say(frame(payload));
    run(120);
    const std::string answer = client.take();
    ASSERT_EQ(answer.size(), protocol::header_size(size) + size);
    EXPECT_EQ(answer.substr(answer.size() - size), payload);
  }
  EXPECT_EQ(io_.buffers_out(), 0u);
  EXPECT_EQ(count(metrics::Counter::kTlsHandshakes), 1u);
  EXPECT_EQ(counters_.get(metrics::Gauge::kTlsConnections), 1u);
}

TEST_F(TlsEndpointTest, TheRequestMayComeInOnePieceWithTheEndOfTheHandshake) {
  Client& client = connect();
  for (int i = 0; i < 10 && !client.stream.established(); ++i) run(1, 0), client.read();
  client.say(std::string(kRequest) + frame("early"));
  run(10);
  const std::string answer = client.take();
  EXPECT_EQ(answer.substr(answer.size() - 5), "early");
}

TEST_F(TlsEndpointTest, BytesMayComeOneByOne) {
  network_.config().chunk_bytes_max = 3;
  Client& client = open();
  client.say(frame("small pieces"));
  run(200);
  const std::string answer = client.take();
  EXPECT_EQ(answer.substr(answer.size() - 12), "small pieces");
  EXPECT_EQ(io_.buffers_out(), 0u);
}

TEST_F(TlsEndpointTest, ManySmallMessagesGoIntoFewRecords) {
  Client& client = open();
  const uint64_t before = counters_.get(metrics::Counter::kBytesSent);
  for (int i = 0; i < 100; ++i) {
    endpoint_->send_message(0, protocol::Opcode::kBinary, base::as_bytes("ten bytes."));
  }
  run(10);
  EXPECT_EQ(client.take().size(), 1200u);
  EXPECT_LT(counters_.get(metrics::Counter::kBytesSent) - before, 1200u + 2 * 64);
}

TEST_F(TlsEndpointTest, SharedPartsAreSealedForEachReader) {
  Client& a = open();
  Client& b = open();
  std::string first(3000, 'x');
  std::string second(20'000, 'y');
  const iovec parts[] = {{first.data(), first.size()}, {second.data(), second.size()}};
  for (const uint32_t slot : {0u, 1u}) {
    endpoint_->send_gathered(slot, protocol::Opcode::kBinary, base::as_bytes("own"), parts, 2,
                             23'003);
    endpoint_->flush();  // the parts end with this
  }
  first.assign(first.size(), '-');
  run(40);
  const std::string wanted = "own" + std::string(3000, 'x') + second;
  EXPECT_EQ(a.take().substr(4), wanted);
  EXPECT_EQ(b.take().substr(4), wanted);
}

TEST_F(TlsEndpointTest, PlainAndTlsLiveBesideEachOther) {
  Client& client = open();
  io::SimClientSocket* plain = network_.connect(kPlainPort);
  EXPECT_NE(plain->send(base::as_bytes(kRequest)), 0u);
  run(10);
  EXPECT_NE(plain->send(base::as_bytes(frame("plain"))), 0u);
  client.say(frame("sealed"));
  run(10);
  uint8_t buffer[1024];
  const std::string answer = text({buffer, plain->receive(buffer)});
  EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 101");
  EXPECT_EQ(answer.substr(answer.size() - 5), "plain");
  EXPECT_EQ(client.take().substr(2), "sealed");
  EXPECT_EQ(counters_.get(metrics::Gauge::kTlsConnections), 1u);
}

TEST_F(TlsEndpointTest, APlainClientOnTheTlsPortIsEnded) {
  io::SimClientSocket* s = network_.connect(kTlsPort);
  EXPECT_NE(s->send(base::as_bytes(kRequest)), 0u);
  run(10);
  EXPECT_TRUE(s->closed());
  EXPECT_EQ(failures(tls::Failure::kNotTls), 1u);
  EXPECT_EQ(counters_.get(metrics::Family::kCloses, static_cast<uint32_t>(CloseCause::kTlsFailed)),
            1u);
  EXPECT_EQ(endpoint_->open_count(), 0u);
}

TEST_F(TlsEndpointTest, HandshakesAreGivenTheirTimeAndNoMore) {
  io::SimClientSocket* silent = network_.connect(kTlsPort);
  io::SimClientSocket* half = network_.connect(kTlsPort);
  run(2);
  Client& whole = connect();
  const base::Bytes hello = base::as_bytes(std::string_view("\x16\x03\x01\x02", 4));
  EXPECT_EQ(half->send(hello), 4u);
  Client& mute = connect();  // gets the server's flight and says nothing more
  mute.over = true;
  run(400);
  EXPECT_FALSE(silent->closed());
  EXPECT_TRUE(whole.stream.established());
  run(200);
  EXPECT_TRUE(silent->closed());
  EXPECT_TRUE(half->closed());
  EXPECT_EQ(failures(tls::Failure::kTimeout), 3u);
  // The one that is through has made no request: 408 as on a plain connection.
  EXPECT_EQ(whole.take().substr(0, 12), "HTTP/1.1 408");
  run(2500);
  EXPECT_EQ(endpoint_->open_count(), 0u);
}

TEST_F(TlsEndpointTest, AWaitForUsIsNoTimeout) {
  serve_handshakes_ = false;
  Client& client = connect();
  run(1200);
  EXPECT_FALSE(client.stream.established());
  EXPECT_EQ(failures(tls::Failure::kTimeout), 0u);
  EXPECT_EQ(endpoint_->next_deadline(), endpoint_->now());
  serve_handshakes_ = true;
  run(10);
  EXPECT_TRUE(client.stream.established());
}

class OneHandshakeATurn : public TlsEndpointTest {
 protected:
  OneHandshakeATurn() : TlsEndpointTest([](EndpointConfig& c) { c.tls.handshakes_per_turn = 1; }) {}
};

TEST_F(OneHandshakeATurn, AStormWaitsInOrder) {
  for (int i = 0; i < 8; ++i) connect();
  // All hellos come in one turn.
  uint32_t most = 0;
  uint64_t before = counters_.timing(metrics::Timing::kTlsHandshake).count();
  size_t through = 0;
  for (int turn = 0; turn < 60; ++turn) {
    run(1);
    const uint64_t now = counters_.timing(metrics::Timing::kTlsHandshake).count();
    most = std::max(most, static_cast<uint32_t>(now - before));
    before = now;
    // In order: nobody is through before those in front.
    for (size_t i = through; i < clients_.size() && clients_[i].stream.established(); ++i)
      ++through;
    for (size_t i = through + 1; i < clients_.size(); ++i) {
      EXPECT_FALSE(clients_[i].stream.established()) << i << " before " << through;
    }
  }
  EXPECT_EQ(through, 8u);
  EXPECT_EQ(count(metrics::Counter::kTlsHandshakes), 8u);
  EXPECT_LE(most, 2u);  // one of the queue, and one in the queue's stead before it
  EXPECT_GT(count(metrics::Counter::kTlsTurnsFull), 0u);
}

TEST_F(OneHandshakeATurn, ThoseWhoGiveUpLeaveTheLine) {
  serve_handshakes_ = false;
  for (int i = 0; i < 6; ++i) connect();
  run(10);
  for (const size_t i : {0u, 2u, 5u}) {
    clients_[i].socket->reset();
    clients_[i].over = true;
  }
  run(10);
  EXPECT_EQ(failures(tls::Failure::kPeerLost), 3u);
  serve_handshakes_ = true;
  run(30);
  for (const size_t i : {1u, 3u, 4u}) EXPECT_TRUE(clients_[i].stream.established()) << i;
  EXPECT_EQ(endpoint_->open_count(), 3u);
}

TEST_F(TlsEndpointTest, ASlowReaderIsCutAtItsLimitAndNobodyElseNotices) {
  open();
  open();
  const std::string message(4000, 'f');
  size_t got = 0;
  clients_[0].over = true;  // reads nothing any more
  for (int i = 0; i < 100 && causes_.empty(); ++i) {
    for (uint32_t slot = 0; slot < 2; ++slot) {
      endpoint_->send_message(slot, protocol::Opcode::kBinary, base::as_bytes(message));
    }
    run(1);
    EXPECT_LE(endpoint_->hot(0).backlog_bytes, 64u * 1024);
    got += clients_[1].take().size();
  }
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kSlowConsumer);
  EXPECT_GT(got, 60'000u);
  run(20);
  EXPECT_EQ(endpoint_->open_count(), 1u);
  EXPECT_EQ(counters_.get(metrics::Gauge::kTlsConnections), 1u);
}

TEST_F(TlsEndpointTest, ABacklogIsDeliveredInOrderWhenTheReaderComesBack) {
  Client& client = open();
  client.over = true;
  std::string wanted;
  for (int i = 0; i < 18; ++i) {
    const std::string payload(4000, static_cast<char>('a' + i));
    wanted += payload;
    endpoint_->send_message(0, protocol::Opcode::kBinary, base::as_bytes(payload));
    run(1);
  }
  EXPECT_GT(endpoint_->hot(0).backlog_bytes, 0u);
  endpoint_->close(0, 1000, "done", CloseCause::kServerClosed);
  run(3);
  client.over = false;
  run(60);
  EXPECT_TRUE(client.over);  // close_notify came behind all of it
  const std::string all = client.take();
  std::string payloads;
  size_t at = 0;
  for (; at + 4 < all.size() && static_cast<uint8_t>(all[at]) == 0x82; at += 4004) {
    payloads += all.substr(at + 4, 4000);
  }
  EXPECT_EQ(payloads, wanted);
  EXPECT_EQ(static_cast<uint8_t>(all[at]), 0x88);
}

class BigBacklog : public TlsEndpointTest {
 protected:
  BigBacklog()
      : TlsEndpointTest([](EndpointConfig& c) {
          c.backlog_bytes = 2 << 20;
          c.turn_bytes = 4 << 20;
        }) {}
};

// More than is sealed in one go, in one message and over several connections.
TEST_F(BigBacklog, OutputLargerThanTheSealingMemoryGoesOutInPieces) {
  for (int i = 0; i < 4; ++i) open();
  std::string big(900'000, ' ');
  base::Prng prng(3);
  for (char& c : big) c = static_cast<char>(prng.next());
  const iovec part{big.data(), big.size()};
  endpoint_->send_gathered(0, protocol::Opcode::kBinary, {}, &part, 1, 900'000);
  const std::string middle(120'000, 'm');
  for (const uint32_t slot : {1u, 2u, 3u}) {
    endpoint_->send_message(slot, protocol::Opcode::kBinary, base::as_bytes(middle));
  }
  endpoint_->close(0, 1001, "bye", CloseCause::kServerClosed);
  run(200);
  const std::string first = clients_[0].take();
  ASSERT_GT(first.size(), 900'010u);
  EXPECT_TRUE(first.substr(10, 900'000) == big);
  EXPECT_EQ(static_cast<uint8_t>(first[900'010]), 0x88);
  EXPECT_TRUE(clients_[0].over);
  for (const size_t i : {1u, 2u, 3u}) EXPECT_TRUE(clients_[i].take().substr(10) == middle) << i;
}

TEST_F(TlsEndpointTest, ACloseEndsWithCloseNotifyAndThenTheEndOfTheStream) {
  Client& client = open();
  endpoint_->close(0, 1000, "bye", CloseCause::kServerClosed);
  run(10);
  EXPECT_TRUE(client.over);
  EXPECT_EQ(client.stream.problem(), "");
  EXPECT_EQ(static_cast<uint8_t>(client.take()[0]), 0x88);
  EXPECT_TRUE(client.socket->ended());
}

TEST_F(TlsEndpointTest, APeersCloseNotifyIsAnswered) {
  Client& client = open();
  client.say(frame("last"));
  client.stream.shut_down(client.engine);
  client.write();
  run(10);
  EXPECT_EQ(client.take().substr(2, 4), "last");
  EXPECT_TRUE(client.over);
  EXPECT_EQ(client.stream.problem(), "");
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kPeerLost);
  client.socket->close();
  run(10);
  EXPECT_EQ(endpoint_->open_count(), 0u);
}

TEST_F(TlsEndpointTest, AnEndWithoutCloseNotifyIsTolerated) {
  Client& client = open();
  client.say(frame("last"));
  client.socket->finish();
  run(10);
  EXPECT_EQ(client.take().substr(2, 4), "last");
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kPeerLost);
  for (uint32_t f = 0; f < static_cast<uint32_t>(tls::Failure::kCount); ++f) {
    EXPECT_EQ(failures(static_cast<tls::Failure>(f)), 0u);
  }
}

TEST_F(TlsEndpointTest, ATamperedRecordEndsTheConnectionWithAnAlert) {
  Client& client = open();
  ASSERT_TRUE(client.stream.seal(client.engine, base::as_bytes(frame("hello"))));
  std::string bytes = text(client.stream.outgoing());
  client.stream.sent(bytes.size());
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  EXPECT_NE(client.socket->send(base::as_bytes(bytes)), 0u);
  run(10);
  EXPECT_TRUE(client.over);
  EXPECT_NE(client.stream.problem().find("peer_alert"), std::string::npos)
      << client.stream.problem();
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kTlsFailed);
  EXPECT_EQ(failures(tls::Failure::kBadRecord), 1u);
}

class Patient : public TlsEndpointTest {
 protected:
  Patient() : TlsEndpointTest([](EndpointConfig& c) { c.heartbeat_timeout = base::seconds(60); }) {}
};

TEST_F(Patient, ARecordThatIsNeverWholeIsEndedByTheMessageTimeout) {
  Client& client = open();
  EXPECT_NE(
      client.socket->send(base::as_bytes(std::string_view("\x17\x03\x03\x40\x00 and wait", 14))),
      0u);
  for (int i = 0; i < 5 && causes_.empty(); ++i) run(1000);
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kMessageTimeout);
}

TEST_F(TlsEndpointTest, AReloadIsForNewConnections) {
  Client& old = open();
  Client& half = connect();
  holder_.set(server_context("new.example"));
  old.say(frame("still here"));
  run(10);
  EXPECT_EQ(old.take().substr(2), "still here");
  EXPECT_TRUE(half.stream.established());
  Client& fresh = open();
  fresh.say(frame("hello"));
  run(10);
  EXPECT_EQ(fresh.take().substr(2), "hello");
}

TEST_F(TlsEndpointTest, AConnectionBeyondTheLimitCostsNoHandshake) {
  for (int i = 0; i < 8; ++i) open();
  Client& ninth = connect();
  run(10);
  EXPECT_TRUE(ninth.socket->closed());
  EXPECT_EQ(count(metrics::Counter::kTlsHandshakes), 8u);
  EXPECT_EQ(endpoint_->open_count(), 8u);
}

TEST_F(TlsEndpointTest, ManyConnectionsComeAndGo) {
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 8; ++i) open();
    for (Client& client : clients_) {
      if (round % 2 == 0) client.socket->reset();
      if (round % 2 == 1) client.socket->close();
      client.over = true;
    }
    run(20);
    EXPECT_EQ(endpoint_->open_count(), 0u);
    EXPECT_EQ(counters_.get(metrics::Gauge::kTlsConnections), 0u);
    clients_.clear();
  }
  EXPECT_EQ(io_.buffers_out(), 0u);
}

}  // namespace
}  // namespace tidegate::net
