// SPDX-License-Identifier: Apache-2.0
#include "protocol/http_poll.h"

#include <gtest/gtest.h>

#include <string>

namespace tidegate::protocol {
namespace {

constexpr std::string_view kServed[] = {"tidegate.v1.proto", "tidegate.v1.json"};
const std::string kName = "02000011" + std::string(32, 'a');

UpgradeError parse(const std::string& line, PollRequest& out, const std::string& fields = {}) {
  const std::string head = line + " HTTP/1.1\r\nHost: game.example\r\n" + fields + "\r\n";
  EXPECT_EQ(find_head_end(base::as_bytes(head), 0), head.size());
  return parse_poll_request(base::as_bytes(head), {kServed, "/ws", nullptr}, out);
}
int status(const std::string& line, const std::string& fields = {}) {
  PollRequest request;
  return parse(line, request, fields).status;
}

TEST(HttpPoll, AnOpeningRequestSaysWhoAsks) {
  const std::string head =
      "POST /ws/poll?protocol=tidegate.v1.json&token=a%2Fb&resume=r HTTP/1.1\r\nHost: h\r\n"
      "Authorization: Bearer one\r\nOrigin: https://a\r\nCookie: auth_token=two\r\n"
      "Content-Length: 0\r\nConnection: keep-alive, close\r\n\r\n";
  PollRequest request;
  const UpgradeError error =
      parse_poll_request(base::as_bytes(head), {kServed, "/ws", nullptr}, request);
  ASSERT_EQ(error.status, 0) << error.message;
  EXPECT_EQ(request.kind, PollKind::kOpen);
  EXPECT_EQ(request.upgrade.token, "a/b");
  EXPECT_EQ(request.upgrade.resume, "r");
  EXPECT_EQ(request.upgrade.credential(), "one");
  EXPECT_EQ(request.upgrade.cookie_token, "two");
  EXPECT_EQ(request.upgrade.origin, "https://a");
  EXPECT_EQ(request.upgrade.subprotocol, 1);
  EXPECT_TRUE(request.close);
}

TEST(HttpPoll, OthersNameASessionAndANumber) {
  PollRequest post;
  ASSERT_EQ(parse("POST /ws/poll/" + kName + "?seq=12", post, "Content-Length: 7\r\n").status, 0);
  EXPECT_EQ(post.kind, PollKind::kPost);
  EXPECT_EQ(post.number, 12u);
  EXPECT_EQ(post.body_bytes, 7u);
  EXPECT_EQ(post.name.shard, 2u);
  EXPECT_EQ(post.name.index, 0x11u);
  EXPECT_EQ(post.name.secret[15], 0xaa);
  PollRequest get;
  ASSERT_EQ(parse("GET /ws/poll/" + kName + "?wait=50&from=99999999999", get).status, 0);
  EXPECT_EQ(get.kind, PollKind::kGet);
  EXPECT_EQ(get.number, 99'999'999'999u);
  EXPECT_EQ(get.wait_ms, 50u);
  PollRequest leave;
  ASSERT_EQ(parse("DELETE /ws/poll/" + kName, leave).status, 0);
  EXPECT_EQ(leave.kind, PollKind::kDelete);
  char text[kPollNameChars];
  write_poll_name(leave.name, text);
  EXPECT_EQ(std::string_view(text, sizeof text), kName);
}

TEST(HttpPoll, WhatIsNotOneIsRefusedWithItsStatus) {
  const std::string path = "/ws/poll/" + kName;
  EXPECT_EQ(status("GET " + path), 400);
  EXPECT_EQ(status("GET " + path + "?from=x"), 400);
  EXPECT_EQ(status("GET " + path + "?from=1&from=1"), 400);
  EXPECT_EQ(status("GET " + path + "?from=9223372036854775808"), 400);
  EXPECT_EQ(status("POST " + path + "?seq=1"), 411);
  EXPECT_EQ(status("POST " + path + "?seq=1", "Transfer-Encoding: chunked\r\n"), 411);
  EXPECT_EQ(status("POST " + path + "?seq=1", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400);
  EXPECT_EQ(status("POST " + path + "?seq=1", "Content-Length: +1\r\n"), 400);
  EXPECT_EQ(status("GET /ws/poll"), 405);
  EXPECT_EQ(status("PUT " + path), 405);
  EXPECT_EQ(status("GET " + path.substr(0, path.size() - 1) + "?from=0"), 404);
  EXPECT_EQ(status("GET /ws/poll/" + std::string(40, 'G') + "?from=0"), 404);
  EXPECT_EQ(status("OPTIONS /ws/pollen"), 404);
  EXPECT_EQ(status("POST /ws/poll?protocol=none"), 400);
  EXPECT_EQ(status("POST /ws/poll?token=1&token=2"), 400);
}

TEST(HttpPoll, OnlyItsOwnPathsAreTakenForOne) {
  const auto taken = [](const std::string& line) {
    return is_poll_request(base::as_bytes(line), "/ws");
  };
  EXPECT_TRUE(taken("POST /ws/poll HTTP/1.1\r\n"));
  EXPECT_TRUE(taken("OPTIONS /ws/poll?x HTTP/1.1\r\n"));
  EXPECT_TRUE(taken("GET /ws/poll/abc HTTP/1.1\r\n"));
  EXPECT_FALSE(taken("GET /ws HTTP/1.1\r\n"));
  EXPECT_FALSE(taken("GET /ws/polls HTTP/1.1\r\n"));
  EXPECT_FALSE(taken("GET /other/poll HTTP/1.1\r\n"));
  EXPECT_FALSE(taken(""));
}

TEST(HttpPoll, AnswersAreWhole) {
  uint8_t out[kAnswerBytesMax];
  PollAnswerHead head;
  head.status = 409;
  head.shared = true;
  const size_t size = write_poll_error(out, head, "sequence_gap", "no", "expected", 12'345'678'901);
  const std::string text(base::as_text({out, size}));
  EXPECT_TRUE(text.starts_with("HTTP/1.1 409 Conflict\r\n")) << text;
  EXPECT_NE(text.find("Access-Control-Allow-Origin: *\r\n"), std::string::npos);
  const std::string body = text.substr(text.find("\r\n\r\n") + 4);
  EXPECT_EQ(body, "{\"error\": \"sequence_gap\", \"message\": \"no\", \"expected\": 12345678901}");
  EXPECT_NE(text.find("Content-Length: " + std::to_string(body.size()) + "\r\n"),
            std::string::npos);
}

}  // namespace
}  // namespace tidegate::protocol
