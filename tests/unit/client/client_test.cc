// SPDX-License-Identifier: Apache-2.0
// The client machine against a server's bytes made by hand, in one piece and in many.
#include "client/client.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/prng.h"
#include "server_bytes.h"

namespace tidegate::client {
namespace {

using protocol::Opcode;
using wire::MessageType;

constexpr base::Instant kNow{1'000'000};

class Recorder final : public ClientEvents {
 public:
  void on_state(ClientState s) override { states.push_back(s); }
  void on_move_ack(base::Instant now, const wire::MoveAck& ack) override {
    ack_at = now;
    acks.push_back(ack.client_tick);
  }
  void on_entity_changed(base::Instant, std::string_view name, uint32_t flags) override {
    changes.push_back(std::string(name) + "=" + std::to_string(flags));
  }
  void on_error(const wire::ErrorNotification& e) override { errors.push_back(e.code); }
  void on_message(base::Instant, base::Bytes m) override {
    messages.emplace_back(m.begin(), m.end());
  }

  std::vector<ClientState> states;
  std::vector<uint32_t> acks, errors;
  std::vector<std::string> changes;
  std::vector<ByteString> messages;
  base::Instant ack_at;
};

// What a client sent: the opcode and the unmasked payload of each frame.
struct Sent {
  Opcode opcode;
  ByteString payload;
};

class ClientTest : public ::testing::Test {
 protected:
  explicit ClientTest(bool echo = false) : client_(config(echo), events_, 42) {}

  static ClientConfig config(bool echo) {
    ClientConfig c;
    c.host = "tide.example:7400";
    c.path = "/ws?x=1";
    c.token = "aaa.bbb.ccc";
    c.encoding = wire::StateEncoding::kPacked;
    c.view_distance = 150;
    c.echo = echo;
    return c;
  }

  void feed(ByteString bytes) { client_.on_bytes(kNow, bytes); }
  std::string request() {
    client_.start();
    return std::string(base::as_text(client_.outgoing()));
  }
  void upgrade() {
    const std::string text = request();
    client_.sent(text.size());
    feed(switching_protocols(text));
  }
  static ByteString login(std::string_view character = "hero") {
    wire::ConnectionEstablished established;
    established.session_id = "s";
    established.tick_rate = 60;
    wire::AuthenticationResult result;
    result.success = true;
    result.user_id = "alice";
    result.character_id = character;
    return ws_binary(frame_of(MessageType::kConnectionEstablished, established)) +
           ws_binary(frame_of(MessageType::kAuthenticationResult, result));
  }
  void enter_world() {
    upgrade();
    feed(login());
    feed(ws_binary(frame_of(MessageType::kCellFrame, keyframe(0, 1, {member(0, 8, "hero")}))));
    take_sent();
  }
  // Takes what the client wants to send and checks that it is masked frames.
  std::vector<Sent> take_sent() {
    ByteString bytes(client_.outgoing().begin(), client_.outgoing().end());
    client_.sent(bytes.size());
    std::vector<Sent> out;
    base::MutableBytes rest = bytes;
    protocol::FrameView frame;
    while (!rest.empty() && protocol::parse_frame(rest, protocol::Role::kServer, 1 << 20, frame) ==
                                protocol::ParseStatus::kFrame) {
      out.push_back({frame.opcode, {frame.payload.begin(), frame.payload.end()}});
      rest = rest.subspan(frame.consumed);
    }
    EXPECT_TRUE(rest.empty());
    return out;
  }
  static wire::Envelope envelope_of(const Sent& sent) {
    wire::FrameReader frames(sent.payload);
    base::Bytes payload;
    wire::Envelope envelope;
    EXPECT_EQ(frames.next(&payload), wire::FrameStatus::kFrame);
    EXPECT_TRUE(wire::decode_envelope(payload, &envelope));
    return envelope;
  }

  Recorder events_;
  Client client_;
};

TEST_F(ClientTest, AsksForAnUpgradeThatAServerUnderstands) {
  const std::string text = request();
  EXPECT_EQ(client_.state(), ClientState::kUpgrading);
  constexpr std::string_view kServed[] = {"tidegate.v1.proto"};
  protocol::UpgradeRules rules;
  rules.subprotocols = kServed;
  protocol::UpgradeRequest parsed;
  const auto error = protocol::parse_upgrade(base::as_bytes(text), rules, parsed);
  EXPECT_EQ(error.status, 0) << error.message;
  EXPECT_EQ(parsed.path, "/ws");
  EXPECT_EQ(parsed.query, "x=1");
  EXPECT_EQ(parsed.host, "tide.example:7400");
  EXPECT_EQ(parsed.credential(), "aaa.bbb.ccc");
  EXPECT_EQ(parsed.subprotocol, 0);
}

TEST_F(ClientTest, SentBytesAreTakenOffTheFront) {
  const std::string text = request();
  client_.sent(10);
  EXPECT_EQ(base::as_text(client_.outgoing()), text.substr(10));
  client_.sent(text.size() - 10);
  EXPECT_TRUE(client_.outgoing().empty());
}

TEST_F(ClientTest, SaysHelloAfterTheLoginAndNotBefore) {
  upgrade();
  EXPECT_EQ(client_.state(), ClientState::kOpen);
  EXPECT_TRUE(client_.outgoing().empty());
  feed(login());
  EXPECT_EQ(client_.state(), ClientState::kAuthenticated);
  EXPECT_EQ(client_.player_id(), "hero");
  EXPECT_EQ(client_.server_tick_rate(), 60u);
  const std::vector<Sent> sent = take_sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].opcode, Opcode::kBinary);
  const wire::Envelope envelope = envelope_of(sent[0]);
  ASSERT_EQ(static_cast<MessageType>(envelope.type), MessageType::kClientHello);
  wire::ClientHello hello;
  ASSERT_TRUE(wire::decode(envelope.payload, &hello));
  EXPECT_EQ(hello.state_encoding, 1u);
  EXPECT_EQ(hello.view_distance, 150);
}

TEST_F(ClientTest, ThePlayerIsTheUserWhereThereIsNoCharacter) {
  upgrade();
  feed(login(""));
  EXPECT_EQ(client_.player_id(), "alice");
}

TEST_F(ClientTest, TheFirstStateOfEitherEncodingIsTheWorld) {
  enter_world();
  EXPECT_EQ(client_.state(), ClientState::kInWorld);
  EXPECT_EQ(events_.states, (std::vector{ClientState::kUpgrading, ClientState::kOpen,
                                         ClientState::kAuthenticated, ClientState::kInWorld}));
  Recorder other;
  Client protobuf(config(false), other, 1);
  protobuf.start();
  ByteString answer =
      switching_protocols(base::as_text(protobuf.outgoing())) + login() +
      ws_binary(frame_of(MessageType::kWorldState, world_state({state_of("hero")})));
  protobuf.on_bytes(kNow, answer);
  EXPECT_EQ(protobuf.state(), ClientState::kInWorld);
  EXPECT_EQ(protobuf.picture().entity_count(), 1u);
}

TEST_F(ClientTest, ALoginThatFailsClosesIt) {
  upgrade();
  feed(ws_binary(frame_of(MessageType::kAuthenticationResult, wire::AuthenticationResult{})));
  EXPECT_EQ(client_.state(), ClientState::kClosed);
  EXPECT_FALSE(client_.problem().empty());
}

ByteString refusal() {
  ByteString out(protocol::kAnswerBytesMax);
  out.resize(protocol::write_refusal(out, 401, "token_expired", "the token has expired"));
  return out;
}

TEST_F(ClientTest, ARefusalTellsStatusAndReason) {
  request();
  feed(refusal());
  EXPECT_EQ(client_.state(), ClientState::kClosed);
  EXPECT_EQ(client_.http_status(), 401);
  EXPECT_NE(client_.problem().find("401"), std::string::npos);
  EXPECT_NE(client_.problem().find("token_expired"), std::string::npos) << client_.problem();
}

// The reason was lost when the body came in a segment of its own.
TEST_F(ClientTest, ARefusalsReasonMayComeBehindItsHead) {
  request();
  const ByteString all = refusal();
  const size_t head = protocol::find_head_end(all, 0);
  feed({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(head)});
  feed({all.begin() + static_cast<std::ptrdiff_t>(head), all.end()});
  EXPECT_EQ(client_.state(), ClientState::kClosed);
  EXPECT_NE(client_.problem().find("token_expired"), std::string::npos) << client_.problem();
}

TEST_F(ClientTest, ARefusalWhoseBodyNeverComesStillTellsItsStatus) {
  request();
  ByteString part = refusal();
  part.resize(part.size() - 5);
  feed(part);
  client_.on_disconnected();
  EXPECT_EQ(client_.state(), ClientState::kClosed);
  EXPECT_NE(client_.problem().find("401"), std::string::npos) << client_.problem();
}

TEST_F(ClientTest, AWrongAcceptKeyIsNoWebSocket) {
  std::string text = request();
  const size_t at = text.find("Sec-WebSocket-Key: ") + 19;
  text[at] = text[at] == 'A' ? 'B' : 'A';
  feed(switching_protocols(text));
  EXPECT_EQ(client_.state(), ClientState::kClosed);
}

TEST_F(ClientTest, ALostConnectionHasAReason) {
  request();
  client_.on_disconnected();
  EXPECT_NE(client_.problem().find("before the upgrade"), std::string::npos);
  Recorder other;
  Client second(config(false), other, 1);
  second.start();
  ByteString answer = switching_protocols(base::as_text(second.outgoing()));
  second.on_bytes(kNow, answer);
  second.on_disconnected();
  EXPECT_EQ(second.state(), ClientState::kClosed);
  EXPECT_EQ(second.problem(), "the connection was lost");
}

TEST_F(ClientTest, AnswersPingAndHeartbeatWithTheSameBytes) {
  enter_world();
  feed(ws_frame(Opcode::kPing, base::as_bytes("abc")));
  feed(ws_binary(frame_of(MessageType::kHeartbeat, base::as_bytes("tick"))));
  const std::vector<Sent> sent = take_sent();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].opcode, Opcode::kPong);
  EXPECT_EQ(base::as_text(sent[0].payload), "abc");
  const wire::Envelope pong = envelope_of(sent[1]);
  EXPECT_EQ(static_cast<MessageType>(pong.type), MessageType::kPong);
  EXPECT_EQ(base::as_text(pong.payload), "tick");
}

TEST_F(ClientTest, AnswersACloseOnceAndReadsNoMore) {
  enter_world();
  ByteString close(protocol::kControlFrameMax);
  close.resize(protocol::write_close(close.data(), 1013, "too slow"));
  feed(close + ws_frame(Opcode::kPing, base::as_bytes("x")));
  EXPECT_EQ(client_.state(), ClientState::kClosed);
  EXPECT_EQ(client_.close_code(), 1013);
  EXPECT_NE(client_.problem().find("too slow"), std::string::npos);
  const std::vector<Sent> sent = take_sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].opcode, Opcode::kClose);
  EXPECT_EQ(base::load_be16(sent[0].payload.data()), 1013);
  feed(ws_frame(Opcode::kPing, base::as_bytes("y")));
  EXPECT_TRUE(client_.outgoing().empty());
}

TEST_F(ClientTest, TheReasonOfADisconnectOutlivesTheClose) {
  enter_world();
  wire::Disconnect m;
  m.code = 4015;
  m.reason = "logged in elsewhere";
  feed(ws_binary(frame_of(MessageType::kDisconnect, m)));
  client_.on_disconnected();
  EXPECT_NE(client_.problem().find("logged in elsewhere"), std::string::npos);
}

TEST_F(ClientTest, MovesGoOutInTheWorldOnly) {
  wire::PlayerMovement m;
  m.client_tick = 7;
  m.movement_flags = 0xfffffff1;
  upgrade();
  EXPECT_FALSE(client_.send_move(m));
  feed(login());
  EXPECT_FALSE(client_.send_move(m));
  feed(ws_binary(frame_of(MessageType::kCellFrame, keyframe(0, 1, {}))));
  take_sent();
  EXPECT_TRUE(client_.send_move(m));
  const std::vector<Sent> sent = take_sent();
  ASSERT_EQ(sent.size(), 1u);
  wire::PlayerMovement got;
  ASSERT_TRUE(wire::decode(envelope_of(sent[0]).payload, &got));
  EXPECT_EQ(got.client_tick, 7u);
  EXPECT_EQ(got.movement_flags, 0xfffffff1u);
}

TEST_F(ClientTest, TellsOfAcksErrorsAndChangesOfOthers) {
  enter_world();
  EXPECT_FALSE(client_.has_own_position());
  wire::MoveAck ack;
  ack.client_tick = 3;
  ack.position = {1, 2, 3};
  wire::ErrorNotification error;
  error.code = 4003;
  wire::CellChange own;
  own.flags_changed = true;
  own.flags = 1;
  wire::CellChange other = own;
  other.slot = 1;
  other.flags = 2;
  // One message, several frames back to back.
  feed(
      ws_binary(frame_of(MessageType::kMoveAck, ack) + frame_of(MessageType::kError, error) +
                frame_of(MessageType::kCellFrame, delta(0, 2, {}, {member(1, 16, "villain")}, {})) +
                frame_of(MessageType::kCellFrame, delta(0, 3, {}, {}, {own, other}))));
  EXPECT_EQ(events_.acks, std::vector<uint32_t>{3});
  EXPECT_EQ(events_.ack_at, kNow);
  EXPECT_EQ(client_.own_position().y, 2);
  EXPECT_EQ(events_.errors, std::vector<uint32_t>{4003});
  EXPECT_EQ(events_.changes, std::vector<std::string>{"villain=2"});
}

TEST_F(ClientTest, PicksUpFragmentsWithAPingBetweenThem) {
  enter_world();
  const ByteString m = frame_of(MessageType::kMoveAck, wire::MoveAck{.client_tick = 9});
  const base::Bytes all = m;
  feed(ws_frame(Opcode::kBinary, all.first(5), false) + ws_frame(Opcode::kPing, {}) +
       ws_frame(Opcode::kContinuation, all.subspan(5, 3), false) +
       ws_frame(Opcode::kContinuation, all.subspan(8)));
  EXPECT_EQ(events_.acks, std::vector<uint32_t>{9});
  EXPECT_EQ(take_sent().size(), 1u);
}

TEST_F(ClientTest, HowTheBytesAreCutDoesNotMatter) {
  upgrade();
  ByteString stream = login();
  append(stream, ws_binary(frame_of(MessageType::kCellFrame,
                                    keyframe(0, 1, {member(0, 8, "hero"), member(1, 16, "b")}))));
  for (uint32_t i = 2; i < 60; ++i) {
    wire::CellChange c;
    c.slot = 1;
    c.flags_changed = true;
    c.flags = i;
    append(stream, ws_binary(frame_of(MessageType::kCellFrame, delta(0, i, {}, {}, {c}))));
    if (i % 7 == 0) append(stream, ws_frame(Opcode::kPing, base::as_bytes("p")));
  }
  feed(stream);
  const std::vector<std::string> whole = events_.changes;
  const size_t answers = take_sent().size();
  EXPECT_EQ(whole.size(), 58u);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    base::Prng prng(seed);
    Recorder events;
    Client client(config(false), events, seed);
    client.start();
    ByteString all = switching_protocols(base::as_text(client.outgoing())) + stream;
    client.sent(client.outgoing().size());
    for (size_t at = 0; at < all.size();) {
      const size_t n =
          std::min(all.size() - at, static_cast<size_t>(1 + prng.below(seed < 2 ? 1 : 90)));
      client.on_bytes(kNow, base::MutableBytes(all).subspan(at, n));
      at += n;
    }
    ASSERT_EQ(events.changes, whole) << "seed " << seed;
    ASSERT_EQ(client.state(), ClientState::kInWorld);
    ASSERT_GT(client.outgoing().size(), answers);
  }
}

TEST_F(ClientTest, WhatIsNoMessageEndsIt) {
  enter_world();
  ByteString m = frame_of(MessageType::kMoveAck, wire::MoveAck{});
  m[0] ^= 1;
  feed(ws_binary(m));
  EXPECT_EQ(client_.state(), ClientState::kClosed);
}

TEST_F(ClientTest, AMaskedFrameFromTheServerEndsIt) {
  enter_world();
  feed({0x82, 0x81, 1, 2, 3, 4, 5});
  EXPECT_EQ(client_.state(), ClientState::kClosed);
}

TEST_F(ClientTest, AnEndlessMessageEndsIt) {
  enter_world();
  feed({0x82, 127, 0, 0, 0, 0, 0x7f, 0, 0, 0});
  EXPECT_EQ(client_.state(), ClientState::kClosed);
}

TEST_F(ClientTest, AnswerHeadsWithoutAnEndAreNotKeptForEver) {
  request();
  feed(bytes_of("HTTP/1.1 101 Switching Protocols\r\n"));
  for (int i = 0; i < 300 && client_.state() == ClientState::kUpgrading; ++i) {
    feed(bytes_of("X: " + std::string(5000, 'x') + "\r\n"));
  }
  EXPECT_EQ(client_.state(), ClientState::kClosed);
}

TEST_F(ClientTest, DamagedStreamsDoNoHarm) {
  ByteString stream = login();
  append(stream, ws_binary(frame_of(MessageType::kWorldState, world_state({state_of("hero")}))));
  append(stream,
         ws_binary(frame_of(MessageType::kZoneUpdate, zone_update({state_of("a")}, {"hero"}, {}))));
  append(stream, ws_binary(frame_of(MessageType::kInterestUpdate, interest_update({"a"}, {}))));
  append(stream,
         ws_binary(frame_of(MessageType::kCellFrame, keyframe(0, 1, {member(0, 8, "hero")}))));
  append(stream, ws_binary(frame_of(MessageType::kCellFrame, delta(0, 2, {}, {}, {}))));
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    base::Prng prng(seed);
    Recorder events;
    Client client(config(false), events, seed);
    client.start();
    ByteString answer = switching_protocols(base::as_text(client.outgoing()));
    client.on_bytes(kNow, answer);
    ByteString damaged = stream;
    for (uint64_t n = 1 + prng.below(6); n > 0; --n) {
      damaged[prng.below(damaged.size())] ^= static_cast<uint8_t>(1 + prng.below(255));
    }
    client.on_bytes(kNow, damaged);
    ASSERT_EQ(client.state() == ClientState::kClosed, !client.problem().empty()) << seed;
  }
}

TEST_F(ClientTest, ReportsAFrameWhoseChecksumDiffers) {
  enter_world();
  feed(ws_binary(frame_of(MessageType::kCellFrame,
                          keyframe(2, 9, {member(0, 8, "a"), member(5, 9, "b")}, 1))));
  const std::vector<Sent> sent = take_sent();
  ASSERT_EQ(sent.size(), 1u);
  const wire::Envelope envelope = envelope_of(sent[0]);
  ASSERT_EQ(envelope.type, static_cast<uint32_t>(MessageType::kCellReport));
  wire::CellReport report;
  ASSERT_TRUE(wire::decode(envelope.payload, &report));
  EXPECT_EQ(report.cell_x, 2);
  EXPECT_EQ(report.frame, 9u);
  EXPECT_EQ(report.checksum, report.expected ^ 1);
  ASSERT_EQ(report.members.size(), 2 * wire::kCellRowBytes);
  wire::CellChecksum sum;
  for (size_t i = 0; i < 2; ++i) {
    const wire::CellRow r = wire::read_cell_row(report.members.data() + i * wire::kCellRowBytes);
    sum.add(r.slot, r.kind, r.yaw, r.id, r.x, r.y, r.z, r.flags);
  }
  EXPECT_EQ(sum.value(), report.checksum);
}

TEST_F(ClientTest, AuditsOneCellAfterTheOther) {
  enter_world();
  feed(ws_binary(frame_of(MessageType::kCellFrame, keyframe(1, 4, {member(0, 9, "b")}))));
  std::map<int32_t, int> reports;
  base::Instant now = kNow;
  for (int i = 0; i < 100; ++i) {
    now = now + base::seconds(1);
    client_.audit(now);
    for (const Sent& sent : take_sent()) {
      wire::CellReport report;
      ASSERT_TRUE(wire::decode(envelope_of(sent).payload, &report));
      EXPECT_TRUE(report.members.empty());
      ++reports[report.cell_x];
    }
  }
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_GE(reports[0], 4);
  EXPECT_LE(std::abs(reports[0] - reports[1]), 1);
}

class EchoClientTest : public ClientTest {
 protected:
  EchoClientTest() : ClientTest(true) {}
};

TEST_F(EchoClientTest, SpeaksPlainWebSocket) {
  const std::string text = request();
  EXPECT_EQ(text.find("Sec-WebSocket-Protocol"), std::string::npos);
  client_.sent(text.size());
  feed(switching_protocols(text));
  client_.send_binary(base::as_bytes("hello"));
  const std::vector<Sent> sent = take_sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(base::as_text(sent[0].payload), "hello");
  feed(ws_binary(base::as_bytes("hello")));
  ASSERT_EQ(events_.messages.size(), 1u);
  EXPECT_EQ(events_.messages[0], bytes_of("hello"));
}

}  // namespace
}  // namespace tidegate::client
