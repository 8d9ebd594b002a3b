// SPDX-License-Identifier: Apache-2.0
// Endpoint over the simulated network: upgrade, echo, slow readers, limits, heartbeats, closes.
#include "net/endpoint.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "io/sim_io.h"
#include "io/sim_network.h"

namespace tidegate::net {
namespace {

using base::milliseconds;

constexpr uint16_t kPort = 9000;
constexpr const char* kRequest =
    "GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

EndpointConfig small() {
  EndpointConfig c;
  c.connections = 8;
  c.message_bytes = 4096;
  c.backlog_bytes = 16 * 1024;
  c.backlog_pool_bytes = 1 << 20;
  c.turn_bytes = 1 << 20;
  c.receive_buffers = 64;
  c.handshake_timeout = milliseconds(500);
  c.heartbeat_interval = milliseconds(1000);
  c.heartbeat_timeout = milliseconds(2500);
  c.message_timeout = base::seconds(2);
  c.stall_timeout = base::seconds(2);
  c.extra_frames_per_second = 100;
  c.rules.path = {};
  return c;
}

io::SimConfig network_config() {
  io::SimConfig c;
  c.latency = milliseconds(1);
  c.window_bytes = 8 * 1024;
  return c;
}

class EndpointTest : public ::testing::Test, protected ConnectionHandler {
 protected:
  explicit EndpointTest(const EndpointConfig& config = small())
      : network_(1, network_config()),
        io_(network_,
            io::IoLimits{.sockets = 8 + kRefusalRows, .buffers = 64, .buffer_bytes = 512}),
        endpoint_(config, io_, *this, counters_) {
    io::ListenSpec listen;
    listen.address.sin6_family = AF_INET6;
    listen.address.sin6_port = htons(kPort);
    uint16_t port = 0;
    EXPECT_EQ(io_.listen(listen, &port), io::IoStatus::kOk);
  }

  void run(int ms) {
    for (int i = 0; i < ms; ++i) {
      network_.advance_to(network_.now() + milliseconds(1));
      const auto completions = io_.poll(network_.now());
      endpoint_.begin_turn(network_.now());
      for (const io::Completion& c : completions) endpoint_.on_completion(c);
      endpoint_.run_timers();
      if (flood_ != 0) {
        const std::vector<uint8_t> bytes(flood_, 'f');
        for (uint32_t slot = 0; slot < endpoint_.slots_used(); ++slot) {
          endpoint_.send_message(slot, protocol::Opcode::kBinary, bytes);
        }
      }
      endpoint_.flush();
    }
  }
  // All that happens in `ms` comes in one turn, as after a turn that took long.
  void run_at_once(int ms) {
    std::vector<io::Completion> all;
    for (int i = 0; i < ms; ++i) {
      network_.advance_to(network_.now() + milliseconds(1));
      const auto completions = io_.poll(network_.now());
      all.insert(all.end(), completions.begin(), completions.end());
    }
    endpoint_.begin_turn(network_.now());
    for (const io::Completion& c : all) endpoint_.on_completion(c);
    endpoint_.flush();
  }
  static void send(io::SimClientSocket* s, std::string_view text) {
    EXPECT_EQ(s->send(base::as_bytes(text)), text.size());
  }
  static std::string read(io::SimClientSocket* s) {
    std::string out;
    uint8_t buffer[1024];
    for (uint32_t n; (n = s->receive(buffer)) != 0;) out.append(reinterpret_cast<char*>(buffer), n);
    return out;
  }
  io::SimClientSocket* open() {
    io::SimClientSocket* s = network_.connect(kPort);
    send(s, kRequest);
    run(10);
    EXPECT_EQ(read(s).substr(0, 12), "HTTP/1.1 101");
    return s;
  }
  static std::string frame(std::string_view payload) {
    std::string out(protocol::kHeaderMax + payload.size(), '\0');
    out.resize(protocol::write_masked_frame(reinterpret_cast<uint8_t*>(out.data()),
                                            protocol::Opcode::kBinary, true,
                                            base::as_bytes(payload), 0x12345678));
    return out;
  }

  UpgradeDecision on_upgrade(uint32_t, const protocol::UpgradeRequest&) override {
    return later_ ? UpgradeDecision::kLater : UpgradeDecision::kAccept;
  }
  void on_open(uint32_t) override { ++opened_; }
  void on_message(uint32_t slot, protocol::Opcode opcode, base::MutableBytes payload) override {
    EXPECT_TRUE(endpoint_.is_open(slot));
    endpoint_.send_message(slot, opcode, payload);
  }
  void on_closed(uint32_t, CloseCause cause, uint16_t) override { causes_.push_back(cause); }

  metrics::Counters counters_;
  io::SimNetwork network_;
  io::SimIo io_;
  Endpoint endpoint_;
  bool later_ = false;
  int opened_ = 0;
  uint32_t flood_ = 0;
  std::vector<CloseCause> causes_;
};

TEST_F(EndpointTest, EchoesAMessageThatComesInPieces) {
  io::SimClientSocket* s = open();
  const std::string payload(3000, 'a');
  const std::string bytes = frame(payload);
  for (size_t at = 0; at < bytes.size(); at += 700) {
    send(s, std::string_view(bytes).substr(at, 700));
    run(3);
  }
  run(5);
  const std::string answer = read(s);
  ASSERT_EQ(answer.size(), 4 + payload.size());
  EXPECT_EQ(answer.substr(4), payload);
  EXPECT_EQ(io_.buffers_out(), 0u);
}

TEST_F(EndpointTest, MessagesBehindTheRequestAreNotLost) {
  io::SimClientSocket* s = network_.connect(kPort);
  send(s, std::string(kRequest) + frame("early"));
  run(10);
  const std::string answer = read(s);
  EXPECT_EQ(answer.substr(answer.size() - 5), "early");
}

TEST_F(EndpointTest, APartOfAFrameBehindTheRequestWaitsForItsRest) {
  later_ = true;  // the answer to the upgrade comes in a later turn
  io::SimClientSocket* s = network_.connect(kPort);
  const std::string bytes = frame("early");
  send(s, std::string(kRequest) + bytes.substr(0, 4));
  run(10);
  endpoint_.accept_upgrade(0);
  run(5);
  send(s, bytes.substr(4));
  run(10);
  const std::string answer = read(s);
  EXPECT_EQ(answer.substr(answer.size() - 5), "early");
}

TEST_F(EndpointTest, ASlowReaderIsCutAtItsLimitAndNobodyElseNotices) {
  io::SimClientSocket* slow = open();
  io::SimClientSocket* quick = open();
  flood_ = 1000;
  size_t got = 0;
  for (int i = 0; i < 100 && causes_.empty(); ++i) {
    run(1);
    got += read(quick).size();
    for (uint32_t slot = 0; slot < endpoint_.slots_used(); ++slot) {
      EXPECT_LE(endpoint_.hot(slot).backlog_bytes, small().backlog_bytes);
    }
  }
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kSlowConsumer);
  EXPECT_GT(got, 15'000u);
  run(20);
  EXPECT_EQ(endpoint_.open_count(), 1u);
  EXPECT_FALSE(quick->closed());
  (void)slow;
}

TEST_F(EndpointTest, AnEmptyBacklogTakesTheWholeOfWhatBelongsTogether) {
  io::SimClientSocket* s = open();
  const std::string part(60'000, 'k');
  const auto send_burst = [&] {
    endpoint_.expect_output(0, 3 * 60'000);
    for (int i = 0; i < 3; ++i) {
      endpoint_.send_message(0, protocol::Opcode::kBinary, base::as_bytes(part));
    }
    run(1);
  };
  send_burst();
  ASSERT_TRUE(causes_.empty());
  EXPECT_GT(endpoint_.hot(0).backlog_bytes, small().backlog_bytes);
  // A little more finds room, a second such burst does not.
  endpoint_.send_message(0, protocol::Opcode::kBinary, base::as_bytes(part.substr(0, 1000)));
  run(1);
  ASSERT_TRUE(causes_.empty());
  size_t got = 0;
  for (int i = 0; i < 200; ++i) {
    got += read(s).size();
    run(1);
  }
  EXPECT_EQ(endpoint_.hot(0).backlog_bytes, 0u);
  EXPECT_EQ(got, 3 * 60'004u + 1004);
  send_burst();
  ASSERT_TRUE(causes_.empty());
  send_burst();
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kSlowConsumer);
}

TEST_F(EndpointTest, ABacklogIsDeliveredInOrderWhenTheReaderComesBack) {
  io::SimClientSocket* s = open();
  flood_ = 1000;
  run(12);  // window of 8 KiB full, some messages wait
  flood_ = 0;
  EXPECT_GT(endpoint_.hot(0).backlog_bytes, 0u);
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += read(s);
    run(1);
  }
  EXPECT_EQ(endpoint_.hot(0).backlog_bytes, 0u);
  EXPECT_EQ(all.size() % 1004, 0u);
  for (size_t at = 0; at < all.size(); at += 1004)
    EXPECT_EQ(all.substr(at + 4, 1000), std::string(1000, 'f'));
}

TEST_F(EndpointTest, TooManyConnectionsAreToldSo) {
  for (int i = 0; i < 8; ++i) open();
  io::SimClientSocket* s = network_.connect(kPort);
  send(s, kRequest);
  run(10);
  EXPECT_EQ(read(s).substr(0, 12), "HTTP/1.1 429");
  s->finish();
  run(10);
  EXPECT_EQ(endpoint_.open_count(), 8u);
}

class BudgetedEndpointTest : public EndpointTest {
 protected:
  static EndpointConfig with(mem::Account* account) {
    EndpointConfig c = small();
    c.account = account;
    return c;
  }
  explicit BudgetedEndpointTest() : EndpointTest(with(&account_)) {}
  static constexpr uint64_t kBytes = 160 * 1024;
  // Before the base: it is charged from there.
  static inline mem::Budget budget_{kBytes};
  static inline mem::Account account_{budget_};
};

TEST_F(BudgetedEndpointTest, SlowReadersAreCutAndNewcomersRefusedWhenTheSumIsSpent) {
  std::vector<io::SimClientSocket*> readers;
  for (int i = 0; i < 8; ++i) readers.push_back(open());
  flood_ = 1000;  // nobody reads: each may hold 16 KiB, but all together no more than the budget
  for (int i = 0; i < 60; ++i) {
    run(1);
    EXPECT_LE(account_.charged(), kBytes);
  }
  flood_ = 0;
  EXPECT_FALSE(causes_.empty());
  // The test's own charge stands for what other shards hold.
  ASSERT_TRUE(account_.charge(kBytes, mem::Rank::kKept));
  run(3000);
  const size_t open_now = endpoint_.open_count();
  io::SimClientSocket* late = network_.connect(kPort);
  send(late, kRequest);
  run(10);
  EXPECT_EQ(read(late).substr(0, 12), "HTTP/1.1 503");
  late->finish();
  run(3000);
  EXPECT_LE(endpoint_.open_count(), open_now);
  EXPECT_EQ(counters_.get(metrics::Family::kAdmission, static_cast<uint32_t>(Admission::kMemory)),
            1u);
  account_.release(kBytes);
  io::SimClientSocket* again = network_.connect(kPort);
  send(again, kRequest);
  run(10);
  EXPECT_EQ(read(again).substr(0, 12), "HTTP/1.1 101");
  for (io::SimClientSocket* s : readers) s->reset();
  again->reset();
  run(3000);
  EXPECT_EQ(account_.charged(), 0u);
}

TEST_F(EndpointTest, ASilentHandshakeTimesOut) {
  io::SimClientSocket* s = network_.connect(kPort);
  send(s, "GET / HTTP/1.1\r\n");
  run(600);
  EXPECT_EQ(read(s).substr(0, 12), "HTTP/1.1 408");
  run(3000);
  EXPECT_EQ(endpoint_.open_count(), 0u);
  EXPECT_TRUE(causes_.empty());  // the handler never heard of it
}

TEST_F(EndpointTest, ASilentPeerIsPingedThenClosed) {
  io::SimClientSocket* s = open();
  run(1200);
  EXPECT_EQ(read(s).substr(0, 2), std::string("\x89\x08"));
  run(2000);
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kHeartbeatTimeout);
  run(3000);
  EXPECT_EQ(endpoint_.open_count(), 0u);
}

TEST_F(EndpointTest, AMessageAboveTheLimitClosesWith1009) {
  io::SimClientSocket* s = open();
  send(s, frame(std::string(4097, 'x')).substr(0, 100));
  run(5);
  const std::string answer = read(s);
  ASSERT_GE(answer.size(), 4u);
  EXPECT_EQ(static_cast<uint8_t>(answer[0]), 0x88);
  EXPECT_EQ(base::load_be16(reinterpret_cast<const uint8_t*>(answer.data() + 2)), 1009);
  EXPECT_EQ(causes_.at(0), CloseCause::kTooBig);
}

// --- what a peer must not hold or cost without end ---

TEST_F(EndpointTest, AMessageThatIsNotFinishedIsEndedAlthoughThePeerTalks) {
  for (const bool fragments : {false, true}) {
    causes_.clear();
    io::SimClientSocket* s = open();
    std::string begun = frame(std::string(3000, 'x')).substr(0, 20);
    if (fragments) {
      begun = frame("part");
      begun[0] = 0x02;
    }
    send(s, begun);
    for (int i = 0; i < 9 && causes_.empty(); ++i) {
      run(500);
      // One more byte of the frame, or one more fragment: never silent, never done.
      if (fragments) {
        std::string more = frame("x");
        more[0] = 0x00;
        if (causes_.empty()) send(s, more);
      } else if (causes_.empty()) {
        send(s, "x");
      }
    }
    ASSERT_EQ(causes_.size(), 1u) << fragments;
    EXPECT_EQ(causes_[0], CloseCause::kMessageTimeout);
    EXPECT_NE(read(s).find("not ended in time"), std::string::npos);
    s->close();
    run(20);
  }
  EXPECT_EQ(counters_.get(metrics::Counter::kMessageTimeouts), 2u);
}

TEST_F(EndpointTest, AStreamOfMessagesThatNeverEndsAtABorderIsNoUnfinishedMessage) {
  io::SimClientSocket* s = open();
  std::string stream;
  for (int i = 0; i < 200; ++i) stream += frame(std::string(97, 'm'));
  for (size_t at = 0; at + 100 < stream.size(); at += 100) {  // 103 bytes each: always cut
    send(s, std::string_view(stream).substr(at, 100));
    run(40);
    read(s);
  }
  EXPECT_TRUE(causes_.empty());
}

TEST_F(EndpointTest, ABacklogThatNothingIsTakenOfIsEndedAlthoughThePeerTalks) {
  io::SimClientSocket* s = open();
  flood_ = 1000;
  run(12);
  flood_ = 0;
  ASSERT_GT(endpoint_.hot(0).backlog_bytes, 0u);
  std::string pong = frame("");
  pong[0] = static_cast<char>(0x8a);
  for (int i = 0; i < 10 && causes_.empty(); ++i) {
    run(500);
    if (causes_.empty()) send(s, pong);
  }
  ASSERT_EQ(causes_.size(), 1u);
  EXPECT_EQ(causes_[0], CloseCause::kSlowConsumer);
  EXPECT_EQ(counters_.get(metrics::Counter::kStallTimeouts), 1u);
}

TEST_F(EndpointTest, FloodsOfFramesThatMakeNoMessageAreEnded) {
  const auto empty = [](uint8_t first) {
    std::string one = frame("");
    one[0] = static_cast<char>(first);
    return one;
  };
  for (const uint8_t first : {0x89, 0x8a, 0x00}) {
    causes_.clear();
    io::SimClientSocket* s = open();
    const bool fragments = first == 0x00;
    for (int second = 0; second < 3; ++second) {  // as many as allowed do no harm
      if (fragments) send(s, empty(0x02));
      for (int i = 0; i < 60; ++i) send(s, empty(first));
      if (fragments) send(s, empty(0x80));
      run(1100);
      read(s);
    }
    EXPECT_TRUE(causes_.empty()) << int{first};
    if (fragments) send(s, empty(0x02));
    for (int i = 0; i < 150; ++i) send(s, empty(first));
    run(50);
    ASSERT_EQ(causes_.size(), 1u) << int{first};
    EXPECT_EQ(causes_[0], CloseCause::kFlood);
    s->close();
    run(50);
  }
  EXPECT_EQ(counters_.get(metrics::Counter::kFrameFloods), 3u);
}

// The seconds that limits are counted in go on when the clock in milliseconds wraps.
TEST_F(EndpointTest, ADayOnWhichTheMillisecondsWrapEndsNobody) {
  network_.advance_to(base::Instant{(int64_t{1} << 32) * 1'000'000 - 500'000'000});
  io::SimClientSocket* s = open();
  std::string begun = frame("part");
  begun[0] = 0x02;
  send(s, begun);
  run(1500);  // a timer looks at it, a second after its begin
  EXPECT_TRUE(causes_.empty());
  begun[0] = static_cast<char>(0x80);
  send(s, begun);
  run(10);
  const std::string answer = read(s);
  EXPECT_EQ(answer.substr(answer.size() - 8), "partpart");
}

// A peer may end its half behind its last words; all of it comes in one turn.
TEST_F(EndpointTest, LastWordsInFrontOfAHalfCloseAreAnswered) {
  io::SimClientSocket* s = open();
  std::string bye = frame("\x03\xe8");
  bye[0] = static_cast<char>(0x88);
  send(s, frame("last words") + bye);
  s->finish();
  run_at_once(10);
  run(20);
  EXPECT_EQ(read(s), std::string("\x82\x0alast words\x88\x02\x03\xe8"));
  EXPECT_TRUE(s->ended());
  EXPECT_EQ(causes_.at(0), CloseCause::kPeerClosed);

  s = network_.connect(kPort);
  run(5);
  send(s, "GET nowhere HTTP/1.1\r\n\r\n");
  s->finish();
  run_at_once(10);
  run(20);
  EXPECT_EQ(read(s).substr(0, 12), "HTTP/1.1 400");
  EXPECT_EQ(io_.buffers_out(), 0u);
}

// We said goodbye; what the peer says before it has heard that is for nobody.
TEST_F(EndpointTest, NothingIsDeliveredBehindOurOwnClose) {
  io::SimClientSocket* s = open();
  endpoint_.close(0, 1001, "going away", CloseCause::kServerClosed);
  ASSERT_EQ(causes_.size(), 1u);
  for (int i = 0; i < 3; ++i) {
    send(s, frame("late"));
    run(2);
  }
  const std::string answer = read(s);
  EXPECT_EQ(answer.find("late"), std::string::npos);
  EXPECT_EQ(static_cast<uint8_t>(answer[0]), 0x88);
  EXPECT_EQ(endpoint_.cold(0).messages_in, 0u);
  EXPECT_EQ(causes_.size(), 1u);
  EXPECT_EQ(io_.buffers_out(), 0u);
}

// The end of one message and the start of the next may share a receive buffer.
TEST_F(EndpointTest, ThereIsRoomBehindAMessageOfTheLargestSize) {
  io::SimClientSocket* s = open();
  const std::string bytes = frame(std::string(4096, 'x'));
  send(s, std::string_view(bytes).substr(0, bytes.size() - 1));
  run(20);
  const std::string more = bytes.substr(bytes.size() - 1) + frame(std::string(3000, 'y'));
  for (size_t at = 0; at < more.size(); at += 500) send(s, std::string_view(more).substr(at, 500));
  run(20);
  EXPECT_EQ(read(s).size(), 4096u + 4 + 3000 + 4);
}

TEST_F(EndpointTest, ChurnLeavesNothingBehind) {
  for (int round = 0; round < 50; ++round) {
    std::vector<io::SimClientSocket*> sockets;
    for (int i = 0; i < 8; ++i) sockets.push_back(open());
    for (size_t i = 0; i < sockets.size(); ++i) {
      send(sockets[i], frame("bye").substr(0, 3 + i));
      if (i % 2 == 0)
        sockets[i]->reset();
      else
        sockets[i]->close();
    }
    run(30);
    for (auto* s : sockets) network_.release(s);
    ASSERT_EQ(endpoint_.open_count(), 0u) << round;
  }
  EXPECT_EQ(causes_.size(), 400u);
  EXPECT_EQ(io_.buffers_out(), 0u);
}

TEST_F(EndpointTest, HeartbeatsMeasureTheRoundTripAndHowMuchItChanges) {
  io::SimClientSocket* s = open();
  // Each ping is answered after so many milliseconds.
  const auto beat = [&](int after_ms) {
    std::string ping;
    for (int i = 0; i < 1100 && ping.empty(); ++i) {
      run(1);
      ping = read(s);
    }
    ASSERT_EQ(ping.size(), 10u);
    run(after_ms);
    std::string pong(protocol::kHeaderMax + 8, '\0');
    pong.resize(protocol::write_masked_frame(
        reinterpret_cast<uint8_t*>(pong.data()), protocol::Opcode::kPong, true,
        base::as_bytes(std::string_view(ping).substr(2)), 0x12345678));
    send(s, pong);
    run(10);
  };
  beat(20);
  const Cold& cold = endpoint_.cold(0);
  const uint32_t first = cold.rtt_us;
  EXPECT_GE(first, 20'000u);
  EXPECT_LT(first, 40'000u);
  EXPECT_EQ(cold.opened.rtt_jitter_us, 0u);
  beat(60);
  const uint32_t second = cold.rtt_us;
  EXPECT_GT(second, first + 30'000);
  EXPECT_EQ(cold.opened.rtt_jitter_us, (second - first) / 4);
  beat(60);
  EXPECT_LT(cold.opened.rtt_jitter_us, (second - first) / 4);
}

// A turn in which two connections are told something in turns: neither's bytes lie together, and
// one send takes 1,024 parts.
TEST_F(EndpointTest, AnOutputOfMorePartsThanASendTakes) {
  io::SimClientSocket* clients[2] = {open(), open()};
  constexpr uint32_t kMessages = 2500;
  std::string expected[2];
  for (uint32_t i = 0; i < kMessages; ++i) {
    for (uint32_t slot = 0; slot < 2; ++slot) {
      const uint8_t byte[1] = {static_cast<uint8_t>(i * 2 + slot)};
      endpoint_.send_message(slot, protocol::Opcode::kBinary, byte);
      expected[slot] += std::string("\x82\x01", 2) + static_cast<char>(byte[0]);
    }
  }
  endpoint_.flush();
  std::string got[2];
  for (int i = 0; i < 50; ++i) {
    run(1);
    for (uint32_t slot = 0; slot < 2; ++slot) got[slot] += read(clients[slot]);
  }
  for (uint32_t slot = 0; slot < 2; ++slot) EXPECT_TRUE(got[slot] == expected[slot]) << slot;
}

// --- hand-over to another process (handover.cc) ---

std::vector<uint8_t> bytes_of(const handover::Connection& c) {
  std::vector<uint8_t> out;
  handover::Writer(out).add(c);
  return out;
}

TEST_F(EndpointTest, AConnectionIsTheSameInAnotherEndpoint) {
  io::SimClientSocket* s = open();
  // The first half of a message, the beginning of a frame, and more answers than the peer reads.
  std::string fragment = frame("the first half, ");
  fragment[0] = 0x02;  // binary, not the last
  send(s, fragment + frame("the second half").substr(0, 9));
  flood_ = 2000;
  run(8);
  flood_ = 0;
  std::vector<uint8_t> scratch;
  const handover::Connection from = endpoint_.save(0, &scratch);
  EXPECT_EQ(from.open, 1);
  EXPECT_EQ(base::as_text(from.message), "the first half, ");
  EXPECT_EQ(from.input.size(), 9u);
  EXPECT_GT(from.backlog.size(), 4000u);
  EXPECT_EQ(from.backlog.size(), endpoint_.hot(0).backlog_bytes);

  Endpoint other(small(), io_, *this, counters_);
  other.begin_turn(network_.now());
  ASSERT_TRUE(other.restore(from));
  EXPECT_TRUE(other.is_open(0));
  EXPECT_EQ(other.open_count(), 1u);
  EXPECT_EQ(other.ref(0), endpoint_.ref(0));
  std::vector<uint8_t> other_scratch;
  EXPECT_EQ(bytes_of(other.save(0, &other_scratch)), bytes_of(from));
  EXPECT_FALSE(other.restore(from)) << "a slot is taken once";
}

TEST_F(EndpointTest, WhatIsNoConnectionIsRefused) {
  open();
  std::vector<uint8_t> scratch;
  const handover::Connection good = endpoint_.save(0, &scratch);
  Endpoint other(small(), io_, *this, counters_);
  other.begin_turn(network_.now());
  const auto refused = [&](auto&& change) {
    handover::Connection c = good;
    change(c);
    return !other.restore(c);
  };
  EXPECT_TRUE(refused([](auto& c) { c.slot = 100'000; }));
  EXPECT_TRUE(refused([](auto& c) { c.generation = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.generation = 1u << 24; }));
  EXPECT_TRUE(refused([](auto& c) { c.subprotocol = 7; }));
  EXPECT_TRUE(refused([](auto& c) { c.receiver[0] = 0x80; }));
  EXPECT_TRUE(refused([](auto& c) { c.receiver[1] = 8; }));
  EXPECT_TRUE(refused([](auto& c) { c.receiver[2] = 99; }));
  EXPECT_TRUE(refused([](auto& c) { c.deflate = 1; })) << "compression is off here";
  const std::string long_text(100'000, 'x');
  EXPECT_TRUE(refused([&](auto& c) { c.input = base::as_bytes(long_text); }));
  EXPECT_FALSE(refused([](auto&) {}));
}

}  // namespace
}  // namespace tidegate::net
