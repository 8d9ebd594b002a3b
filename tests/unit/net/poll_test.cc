// SPDX-License-Identifier: Apache-2.0
// Long polling over the simulated network: what an answer carries, what a repeated request does,
// what is lost and fetched again, how sessions end. The handler echoes.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "io/sim_network.h"
#include "net/endpoint.h"

namespace tidegate::net {
namespace {

using base::milliseconds;

constexpr uint16_t kPort = 9000;
constexpr std::string_view kSubprotocols[] = {"proto", "json"};

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
  c.stall_timeout = base::seconds(20);
  c.rules.path = "/x";
  c.rules.subprotocols = kSubprotocols;
  c.poll.sessions = 4;
  c.poll.shards = 2;
  c.poll.hold = milliseconds(800);
  return c;
}

// One endpoint of two; letters between them take the way that a mailbox would.
class Side : public ConnectionHandler {
 public:
  Side(uint32_t shard, io::SimNetwork& network, EndpointConfig config)
      : io_(network, io::IoLimits{.sockets = 8 + kRefusalRows, .buffers = 64, .buffer_bytes = 512}),
        endpoint_((config.poll.shard = shard, config), io_, *this, counters_) {
    io::ListenSpec listen;
    listen.address.sin6_family = AF_INET6;
    listen.address.sin6_port = htons(static_cast<uint16_t>(kPort + shard));
    uint16_t port = 0;
    EXPECT_EQ(io_.listen(listen, &port), io::IoStatus::kOk);
  }
  void turn(base::Instant now) {
    const auto completions = io_.poll(now);
    endpoint_.begin_turn(now);
    for (const io::Completion& c : completions) endpoint_.on_completion(c);
    std::vector<std::pair<PollLetter, std::vector<uint8_t>>> mail;
    mail.swap(inbox);
    for (auto& [letter, body] : mail) endpoint_.on_poll_letter(letter, body);
    endpoint_.run_timers();
    if (say != 0) {
      endpoint_.send_message(slot, opcode, std::vector<uint8_t>(say, 's'));
      say = 0;
    }
    endpoint_.run_polls();
    endpoint_.flush();
  }

  UpgradeDecision on_upgrade(uint32_t s, const protocol::UpgradeRequest& request) override {
    if (request.credential() == "bad") {
      endpoint_.refuse_upgrade(s, 401, "invalid_token", "no");
      return UpgradeDecision::kRefused;
    }
    slot = s;
    return later ? UpgradeDecision::kLater : UpgradeDecision::kAccept;
  }
  void on_open(uint32_t s) override {
    ++opened;
    slot = s;
    if (endpoint_.hot(s).subprotocol == 1) endpoint_.speak_text(s);
  }
  void on_message(uint32_t s, protocol::Opcode op, base::MutableBytes payload) override {
    messages.emplace_back(base::as_text(payload));
    endpoint_.send_message(s, op, payload);
  }
  void on_closed(uint32_t, CloseCause cause, uint16_t) override { causes.push_back(cause); }
  bool on_secret(base::MutableBytes out) override {
    std::fill(out.begin(), out.end(), ++secret);
    return true;
  }
  bool on_poll_letter_out(uint32_t, const PollLetter& letter, base::Bytes body) override {
    if (full) return false;
    other->inbox.emplace_back(letter, std::vector<uint8_t>(body.begin(), body.end()));
    return true;
  }

  metrics::Counters counters_;
  io::SimIo io_;
  Endpoint endpoint_;
  Side* other = nullptr;
  std::vector<std::pair<PollLetter, std::vector<uint8_t>>> inbox;
  std::vector<std::string> messages;
  std::vector<CloseCause> causes;
  uint32_t slot = kNone, say = 0;
  protocol::Opcode opcode = protocol::Opcode::kBinary;
  int opened = 0;
  uint8_t secret = 0;
  bool later = false, full = false;
};

struct Answer {
  int status = 0;
  std::string head, body;
};

class PollTest : public ::testing::Test {
 protected:
  explicit PollTest(const EndpointConfig& config = small())
      : network_(1,
                 [] {
                   io::SimConfig c;
                   c.latency = milliseconds(1);
                   c.window_bytes = 256 * 1024;
                   return c;
                 }()),
        a_(0, network_, config),
        b_(1, network_, config) {
    a_.other = &b_;
    b_.other = &a_;
  }
  void run(int ms) {
    for (int i = 0; i < ms; ++i) {
      network_.advance_to(network_.now() + milliseconds(1));
      a_.turn(network_.now());
      b_.turn(network_.now());
    }
  }
  io::SimClientSocket* connect(int shard = 0) {
    io::SimClientSocket* const s = network_.connect(static_cast<uint16_t>(kPort + shard));
    run(4);
    return s;
  }
  static void send(io::SimClientSocket* s, const std::string& text) {
    EXPECT_EQ(s->send(base::as_bytes(text)), text.size());
  }
  static std::string request(const std::string& line, const std::string& body = {},
                             const std::string& fields = {}) {
    return line + " HTTP/1.1\r\nHost: h\r\n" + fields +
           (line.starts_with("POST") ? "Content-Length: " + std::to_string(body.size()) + "\r\n"
                                     : "") +
           "\r\n" + body;
  }
  // The next whole answer; status 0: none came within `ms`.
  Answer read(io::SimClientSocket* s, int ms = 12) {
    std::string& text = arrived_[s];
    for (int i = 0; i <= ms; ++i) {
      uint8_t buffer[1024];
      for (uint32_t n; (n = s->receive(buffer)) != 0;) {
        text.append(reinterpret_cast<char*>(buffer), n);
      }
      const size_t end = text.find("\r\n\r\n");
      if (end != std::string::npos) {
        size_t length = 0;
        const size_t field = text.find("Content-Length: ");
        if (field < end) length = std::stoul(text.substr(field + 16));
        if (text.size() >= end + 4 + length) {
          Answer answer{std::stoi(text.substr(9)), text.substr(0, end),
                        text.substr(end + 4, length)};
          text.erase(0, end + 4 + length);
          return answer;
        }
      }
      run(1);
    }
    return {};
  }
  Answer ask(io::SimClientSocket* s, const std::string& line, const std::string& body = {},
             const std::string& fields = {}) {
    send(s, request(line, body, fields));
    return read(s);
  }
  std::string open(io::SimClientSocket* s, const std::string& query = {}) {
    const Answer answer = ask(s, "POST /x/poll" + query);
    EXPECT_EQ(answer.status, 200) << answer.head << answer.body;
    const size_t at = answer.body.find("\"id\": \"");
    return at == std::string::npos ? "" : "/x/poll/" + answer.body.substr(at + 7, 40);
  }
  static std::string get(const std::string& name, size_t from) {
    return "GET " + name + "?from=" + std::to_string(from);
  }
  static std::string post(const std::string& name, int seq) {
    return "POST " + name + "?seq=" + std::to_string(seq);
  }

  io::SimNetwork network_;
  Side a_, b_;
  std::map<io::SimClientSocket*, std::string> arrived_;
};

TEST_F(PollTest, MessagesGoBothWaysOverOneConnection) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s);
  EXPECT_EQ(a_.opened, 1);
  EXPECT_EQ(ask(s, post(name, 1), "hello").status, 204);
  EXPECT_EQ(a_.messages, std::vector<std::string>{"hello"});
  const Answer answer = ask(s, get(name, 0));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "hello");
  EXPECT_NE(answer.head.find("application/octet-stream"), std::string::npos);
}

TEST_F(PollTest, AGetWaitsForTheNextOutputAndEndsWithNothingWhenItsTimeIsOver) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s);
  send(s, request(get(name, 0)));
  run(100);
  EXPECT_EQ(read(s, 0).status, 0);
  a_.say = 10;
  EXPECT_EQ(read(s).body, "ssssssssss");
  send(s, request(get(name, 10)));
  EXPECT_EQ(read(s, 2000).status, 204);
  send(s, request(get(name, 10) + "&wait=50"));
  EXPECT_EQ(read(s, 100).status, 204);
}

TEST_F(PollTest, ALostAnswerIsFetchedAgainAndARepeatedPostIsTakenOnce) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s);
  ask(s, post(name, 1), "one");
  EXPECT_EQ(ask(s, get(name, 0)).body, "one");
  s->close();  // the client never read it
  s = connect();
  EXPECT_EQ(ask(s, post(name, 1), "one").status, 204);
  EXPECT_EQ(ask(s, post(name, 2), "two").status, 204);
  EXPECT_EQ(a_.messages, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(a_.counters_.get(metrics::Counter::kPollRepeats), 1u);
  EXPECT_EQ(ask(s, get(name, 0)).body, "onetwo");
  EXPECT_EQ(a_.counters_.get(metrics::Counter::kPollRefetchedBytes), 3u);
  EXPECT_EQ(ask(s, get(name, 3)).body, "two");
}

TEST_F(PollTest, NumbersThatCannotBeAreRefusedAndSayWhatIsExpected) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s);
  Answer answer = ask(s, post(name, 3), "x");
  EXPECT_EQ(answer.status, 409);
  EXPECT_NE(answer.body.find("\"expected\": 1"), std::string::npos) << answer.body;
  ask(s, post(name, 1), "abc");
  EXPECT_EQ(ask(s, get(name, 1)).status, 409);  // nothing was answered yet
  EXPECT_EQ(ask(s, get(name, 0)).body, "abc");
  EXPECT_EQ(ask(s, get(name, 2)).body, "c");
  EXPECT_EQ(ask(s, get(name, 1)).status, 409);  // given up by the request before
}

TEST_F(PollTest, ASecondGetAnswersTheFirst) {
  io::SimClientSocket* s = connect();
  io::SimClientSocket* t = connect();
  const std::string name = open(s);
  send(s, request(get(name, 0)));
  run(10);
  send(t, request(get(name, 0)));
  EXPECT_EQ(read(s).status, 409);
  a_.say = 3;
  EXPECT_EQ(read(t).body, "sss");
}

TEST_F(PollTest, RequestsThatLandOnAnotherShardAreServed) {
  io::SimClientSocket* s = connect(0);
  const std::string name = open(s);
  io::SimClientSocket* t = connect(1);
  EXPECT_EQ(ask(t, post(name, 1), "over there").status, 204);
  EXPECT_EQ(a_.messages, std::vector<std::string>{"over there"});
  EXPECT_EQ(ask(t, get(name, 0)).body, "over there");
  send(t, request(get(name, 10)));
  run(50);
  a_.say = 4;
  EXPECT_EQ(read(t).body, "ssss");
  // The answer comes back when the way is free again.
  send(t, request(get(name, 14)));
  run(10);
  a_.full = true;
  a_.say = 5;
  run(20);
  EXPECT_EQ(read(t, 0).status, 0);
  a_.full = false;
  EXPECT_EQ(read(t).body, "sssss");
  b_.full = true;
  EXPECT_EQ(ask(t, post(name, 2), "x").status, 503);
  b_.full = false;
  EXPECT_EQ(ask(t, post(name, 2), "x").status, 204);
  // A new GET here tells the one that waits there.
  send(t, request(get(name, 20)));
  run(10);
  send(s, request(get(name, 20)));
  EXPECT_EQ(read(t).status, 409);
}

TEST_F(PollTest, UnknownNamesAreNotFound) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s);
  std::string other = name;
  other.back() = other.back() == '0' ? '1' : '0';
  EXPECT_EQ(ask(s, get(other, 0)).status, 404);
  other = name;
  other[9] = '7';  // no such shard
  EXPECT_EQ(ask(s, get(other, 0)).status, 404);
  EXPECT_EQ(ask(s, get(name + "0", 0)).status, 404);
}

TEST_F(PollTest, LeavingAndBeingClosedAreTold) {
  io::SimClientSocket* s = connect();
  std::string name = open(s);
  EXPECT_EQ(ask(s, "DELETE " + name).status, 204);
  EXPECT_EQ(a_.causes, std::vector<CloseCause>{CloseCause::kPeerClosed});
  EXPECT_EQ(ask(s, get(name, 0)).status, 404);
  EXPECT_EQ(a_.endpoint_.poll_sessions(), 0u);

  name = open(s);
  send(s, request(get(name, 0)));
  run(10);
  a_.endpoint_.send_message(a_.slot, protocol::Opcode::kBinary, base::as_bytes("last words"));
  a_.endpoint_.close(a_.slot, 4015, "replaced", CloseCause::kServerClosed);
  EXPECT_EQ(read(s).body, "last words");
  const Answer answer = ask(s, get(name, 10));
  EXPECT_EQ(answer.status, 410);
  EXPECT_NE(answer.body.find("\"code\": 4015"), std::string::npos) << answer.body;
  EXPECT_NE(answer.body.find("replaced"), std::string::npos);
  EXPECT_EQ(ask(s, post(name, 1), "x").status, 410);
  run(11'000);
  EXPECT_EQ(a_.endpoint_.poll_sessions(), 0u);
}

TEST_F(PollTest, WhoNeverComesBackIsSilentAndHisRowIsFreeAgain) {
  io::SimClientSocket* s = connect();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) open(s);
    EXPECT_EQ(ask(s, "POST /x/poll").status, 429);
    run(13'000);  // heartbeat.timeout, and the time to hear of it
    EXPECT_EQ(a_.endpoint_.poll_sessions(), 0u);
  }
  EXPECT_EQ(a_.causes.size(), 12u);
  EXPECT_EQ(a_.causes[0], CloseCause::kHeartbeatTimeout);
  EXPECT_EQ(a_.endpoint_.backlog_bytes_in_use(), 0u);
}

TEST_F(PollTest, JsonGoesInLines) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s, "?protocol=json");
  EXPECT_EQ(ask(s, post(name, 1), "{\"a\": 1}\n{\"b\": 2}").status, 204);
  EXPECT_EQ(a_.messages, (std::vector<std::string>{"{\"a\": 1}", "{\"b\": 2}"}));
  const Answer answer = ask(s, get(name, 0));
  EXPECT_EQ(answer.body, "{\"a\": 1}\n{\"b\": 2}\n");
  EXPECT_NE(answer.head.find("application/x-ndjson"), std::string::npos);
  EXPECT_EQ(ask(s, post(name, 2), "\xff").status, 204);
  EXPECT_EQ(ask(s, get(name, answer.body.size())).status, 410);
}

TEST_F(PollTest, RefusalsKeepTheConnectionAndHaveTheirStatus) {
  io::SimClientSocket* s = connect();
  EXPECT_EQ(ask(s, "POST /x/poll?token=bad").status, 401);
  EXPECT_EQ(ask(s, "POST /x/poll?protocol=other").status, 400);  // this one ends it
  s = connect();
  a_.later = true;
  send(s, request("POST /x/poll"));
  const Answer answer = read(s, 1000);
  EXPECT_EQ(answer.status, 408) << answer.body;
  EXPECT_EQ(a_.endpoint_.poll_sessions(), 0u);
}

TEST_F(PollTest, PagesOfOtherOriginsMayAskWhenTheListLetsThem) {
  io::SimClientSocket* s = connect();
  Answer answer = ask(s, "OPTIONS /x/poll", {}, "Origin: https://game.example\r\n");
  EXPECT_EQ(answer.status, 204);
  EXPECT_NE(answer.head.find("Access-Control-Allow-Methods"), std::string::npos);
  answer = ask(s, "POST /x/poll", {}, "Origin: https://game.example\r\n");
  EXPECT_NE(answer.head.find("Access-Control-Allow-Origin: *"), std::string::npos);
  LiveLimits limits;
  limits.handshake_timeout = limits.heartbeat_timeout = limits.heartbeat_interval =
      base::seconds(9);
  limits.edge.origins.add("https://other.example");
  a_.endpoint_.set_limits(limits);
  EXPECT_EQ(ask(s, "OPTIONS /x/poll", {}, "Origin: https://game.example\r\n").status, 403);
}

TEST_F(PollTest, ABodyMayComeInPiecesAndHasALimit) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s);
  const std::string text = request(post(name, 1), std::string(4000, 'b'));
  for (size_t at = 0; at < text.size(); at += 600) {
    send(s, text.substr(at, 600));
    run(2);
  }
  EXPECT_EQ(read(s).status, 204);
  ASSERT_EQ(a_.messages.size(), 1u);
  EXPECT_EQ(a_.messages[0].size(), 4000u);
  EXPECT_EQ(ask(s, post(name, 2), std::string(4097, 'b')).status, 413);
  s = connect();
  EXPECT_EQ(ask(s, "GET " + name + "?from=0", {}, "Transfer-Encoding: chunked\r\n").status, 411);
}

TEST_F(PollTest, NoConnectionLivesLongWithoutASession) {
  io::SimClientSocket* s = connect();
  io::SimClientSocket* t = connect();
  open(t);
  for (int i = 0; i < 8 && !s->closed(); ++i) {  // handshake_timeout is 500 ms
    send(s, request("OPTIONS /x/poll"));
    run(100);
    (void)read(s, 0);  // what closed() waits for
  }
  EXPECT_TRUE(s->closed());
  EXPECT_FALSE(t->closed());
}

TEST_F(PollTest, RequestsInOneGoAreAnsweredInTheirOrder) {
  io::SimClientSocket* s = connect();
  const std::string name = open(s);
  send(s, request(post(name, 1), "a") + request(get(name, 0)) + request(post(name, 2), "b") +
              request(get(name, 1)));
  EXPECT_EQ(read(s).status, 204);
  EXPECT_EQ(read(s).body, "a");
  EXPECT_EQ(read(s).status, 204);
  EXPECT_EQ(read(s).body, "b");
}

TEST_F(PollTest, WhatNobodyFetchesHasALimit) {
  io::SimClientSocket* s = connect();
  open(s);
  for (int i = 0; i < 5; ++i) {
    a_.say = 4000;
    run(1);
  }
  EXPECT_EQ(a_.causes, std::vector<CloseCause>{CloseCause::kSlowConsumer});
  run(5);
  EXPECT_EQ(a_.endpoint_.backlog_bytes_in_use(), 0u);
  EXPECT_EQ(a_.endpoint_.poll_sessions(), 0u);
}

}  // namespace
}  // namespace tidegate::net
