// SPDX-License-Identifier: Apache-2.0
// The client's half of the handshake, against the server's half and against wrong answers.
#include "protocol/http_connect.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "protocol/http_upgrade.h"

namespace tidegate::protocol {
namespace {

constexpr std::string_view kServed[] = {"tidegate.v1.proto", "tidegate.v1.json"};

UpgradeOffer offer() {
  return {.host = "tide.example",
          .target = "/ws?resume=abc",
          .key = "dGhlIHNhbXBsZSBub25jZQ==",
          .subprotocols = "tidegate.v1.json, other",
          .bearer = "a.b.c",
          .origin = "https://tide.example"};
}

ConnectStatus judge(const std::string& head, UpgradeAnswer& answer,
                    const UpgradeOffer& to = offer()) {
  return parse_upgrade_answer(base::as_bytes(head), to, answer);
}

ConnectStatus judge(const std::string& head) {
  UpgradeAnswer answer;
  return judge(head, answer);
}

TEST(Connect, TheServersHalfUnderstandsTheRequest) {
  uint8_t out[1024];
  const size_t size = write_upgrade_request(out, offer());
  ASSERT_GT(size, 0u);
  EXPECT_EQ(find_head_end({out, size}, 0), size);
  auto request = std::make_unique<UpgradeRequest>();
  const UpgradeError error = parse_upgrade({out, size}, {kServed}, *request);
  ASSERT_EQ(error.status, 0) << error.message;
  EXPECT_EQ(request->host, "tide.example");
  EXPECT_EQ(request->resume, "abc");
  EXPECT_EQ(request->bearer, "a.b.c");
  EXPECT_EQ(request->origin, "https://tide.example");
  EXPECT_EQ(request->subprotocol, 1);

  char accept[kAcceptKeyChars];
  compute_accept_key(request->key, accept);
  uint8_t reply[kAnswerBytesMax];
  const size_t reply_size = write_switching_protocols(reply, {accept, sizeof accept}, kServed[1]);
  UpgradeAnswer answer;
  EXPECT_EQ(find_head_end({reply, reply_size}, 0), reply_size);
  EXPECT_EQ(parse_upgrade_answer({reply, reply_size}, offer(), answer), ConnectStatus::kOk);
  EXPECT_EQ(answer.status, 101);
  EXPECT_EQ(answer.subprotocol, "tidegate.v1.json");
}

TEST(Connect, AbsentFieldsAreLeftOut) {
  uint8_t out[1024];
  const size_t size = write_upgrade_request(out, {.host = "h", .key = "dGhlIHNhbXBsZSBub25jZQ=="});
  EXPECT_EQ(base::as_text({out, size}),
            "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
  EXPECT_EQ(
      write_upgrade_request({out, size - 1}, {.host = "h", .key = "dGhlIHNhbXBsZSBub25jZQ=="}), 0u);
}

TEST(Connect, ControlCharactersCannotBeSmuggledIn) {
  uint8_t out[1024];
  UpgradeOffer bad = offer();
  bad.bearer = "x\r\nEvil: yes";
  EXPECT_EQ(write_upgrade_request(out, bad), 0u);
  bad = offer();
  bad.target = "/ws HTTP/1.1\r\nX: y";
  EXPECT_EQ(write_upgrade_request(out, bad), 0u);
  bad = offer();
  bad.target = "/w s";
  EXPECT_EQ(write_upgrade_request(out, bad), 0u);
}

constexpr const char* kUpgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
constexpr const char* kAccept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

std::string answer_with(const std::string& fields) {
  return "HTTP/1.1 101 Switching Protocols\r\n" + fields + "\r\n";
}

TEST(Connect, WrongAnswers) {
  EXPECT_EQ(judge(answer_with(std::string(kUpgrade) + kAccept)), ConnectStatus::kOk);
  EXPECT_EQ(judge(answer_with(kAccept)), ConnectStatus::kNotWebSocket);
  EXPECT_EQ(judge(answer_with(std::string("Upgrade: h2c\r\nConnection: Upgrade\r\n") + kAccept)),
            ConnectStatus::kNotWebSocket);
  EXPECT_EQ(judge(answer_with(std::string("Upgrade: websocket\r\n") + kAccept)),
            ConnectStatus::kNotWebSocket);
  EXPECT_EQ(judge(answer_with(kUpgrade)), ConnectStatus::kBadAcceptKey);
  EXPECT_EQ(judge(answer_with(std::string(kUpgrade) +
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n")),
            ConnectStatus::kBadAcceptKey);
  EXPECT_EQ(judge(answer_with(std::string(kUpgrade) + kAccept + kAccept)),
            ConnectStatus::kBadAcceptKey);
  EXPECT_EQ(judge(answer_with(std::string(kUpgrade) + kAccept +
                              "Sec-WebSocket-Protocol: tidegate.v1.proto\r\n")),
            ConnectStatus::kBadSubprotocol);
  EXPECT_EQ(judge(answer_with(std::string(kUpgrade) + kAccept +
                              "Sec-WebSocket-Protocol: tidegate.v1.json, other\r\n")),
            ConnectStatus::kBadSubprotocol);
  EXPECT_EQ(judge(answer_with(std::string(kUpgrade) + kAccept +
                              "Sec-WebSocket-Extensions: permessage-deflate\r\n")),
            ConnectStatus::kExtension);
}

TEST(Connect, MalformedAnswers) {
  for (const char* const head :
       {"", "HTTP/1.1 101", "HTTP/1.0 101 OK\r\n\r\n", "HTTP/1.1 1x1 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 1010 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"}) {
    EXPECT_EQ(judge(head), ConnectStatus::kMalformed) << head;
  }
}

TEST(Connect, RefusalsCarryWhatTheClientNeeds) {
  uint8_t out[kAnswerBytesMax];
  const size_t size = write_refusal(out, 429, "rate_limited", "Too many. Wait.", 7);
  const size_t head = find_head_end({out, size}, 0);
  UpgradeAnswer answer;
  EXPECT_EQ(parse_upgrade_answer({out, head}, offer(), answer), ConnectStatus::kRefused);
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.retry_after_s, 7u);
  EXPECT_EQ(answer.content_length, size - head);
  EXPECT_EQ(judge("HTTP/1.1 503 \r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n", answer),
            ConnectStatus::kRefused);
  EXPECT_EQ(answer.retry_after_s, 0u);
}

}  // namespace
}  // namespace tidegate::protocol
