// SPDX-License-Identifier: Apache-2.0
// A WebSocket client over two lanes of HTTP, the server's answers written by hand.
#include "client/poll_tunnel.h"

#include <gtest/gtest.h>

#include <string>

#include "client/ws_stream.h"

namespace tidegate::client {
namespace {

constexpr int kPosts = 0, kGets = 1;

class PollTunnelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    protocol::UpgradeOffer offer;
    offer.host = "h:1";
    offer.target = "/ws?resume=x";
    offer.subprotocols = "tidegate.v1.proto";
    offer.bearer = "token";
    ASSERT_TRUE(stream_.start(offer));
    tunnel_.start();
  }
  // What the client has to say goes in, what has arrived is read.
  std::vector<StreamEvent> turn() {
    if (!stream_.outgoing().empty()) {
      const size_t size = stream_.outgoing().size();
      tunnel_.put(stream_.outgoing(), now_);
      stream_.sent(size);
    }
    tunnel_.turn(now_);
    came_.assign(tunnel_.arrived().begin(), tunnel_.arrived().end());
    tunnel_.taken(came_.size());
    tunnel_.turn(now_);
    stream_.feed(came_);
    std::vector<StreamEvent> events;
    for (StreamEvent event; (event = stream_.next()) != StreamEvent::kNone;) {
      events.push_back(event);
      if (event == StreamEvent::kMessage) messages_.emplace_back(base::as_text(stream_.message()));
    }
    stream_.settle();
    for (int lane : {kPosts, kGets}) {
      if (tunnel_.is_done(lane)) tunnel_.lost(lane, now_);
      if (tunnel_.wants_link(lane, now_)) tunnel_.linked(lane);
    }
    return events;
  }
  // The request that stands in a lane, taken whole.
  std::string asked(int lane) {
    std::string text(base::as_text(tunnel_.outgoing(lane)));
    tunnel_.sent(lane, text.size());
    return text;
  }
  void answer(int lane, const std::string& status, const std::string& body = {}) {
    const std::string text =
        "HTTP/1.1 " + status + " x\r\n" +
        (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" +
        body;
    tunnel_.feed(lane, base::as_bytes(text), now_);
  }
  void open() {
    turn();
    const std::string request = asked(kPosts);
    EXPECT_TRUE(request.starts_with("POST /ws/poll?protocol=tidegate.v1.proto&resume=x HTTP/1.1"))
        << request;
    EXPECT_NE(request.find("Authorization: Bearer token\r\n"), std::string::npos);
    answer(kPosts, "200",
           "{\"id\": \"abc\", \"protocol\": \"tidegate.v1.proto\", \"hold_ms\": 1000, "
           "\"body_bytes\": 20}");
    EXPECT_EQ(turn(), std::vector<StreamEvent>{StreamEvent::kOpen});
    turn();
  }
  void say(const std::string& text) { stream_.send_binary(base::as_bytes(text)); }

  base::Instant now_{1'000'000'000};
  WsStream stream_{1, 1 << 20};
  PollTunnel tunnel_;
  std::vector<uint8_t> came_;
  std::vector<std::string> messages_;
};

TEST_F(PollTunnelTest, MessagesGoInPostsOneAfterTheOtherAndComeByGets) {
  open();
  EXPECT_TRUE(asked(kGets).starts_with("GET /ws/poll/abc?from=0 HTTP/1.1\r\n"));
  say("one");
  turn();
  std::string post = asked(kPosts);
  EXPECT_TRUE(post.starts_with("POST /ws/poll/abc?seq=1 ")) << post;
  EXPECT_TRUE(post.ends_with("\r\n\r\none"));
  for (const char* text : {"second", "third", "fourth one"}) say(text);
  turn();
  EXPECT_EQ(asked(kPosts), "") << "one at a time";
  answer(kPosts, "204");
  post = asked(kPosts);
  EXPECT_TRUE(post.ends_with("\r\n\r\nsecondthird")) << "whole messages up to the limit: " << post;
  answer(kPosts, "204");
  EXPECT_TRUE(asked(kPosts).ends_with("\r\n\r\nfourth one"));
  answer(kGets, "200", "hello");
  turn();
  EXPECT_EQ(messages_, std::vector<std::string>{"hello"});
  EXPECT_TRUE(asked(kGets).starts_with("GET /ws/poll/abc?from=5 "));
  answer(kGets, "204");
  EXPECT_TRUE(asked(kGets).starts_with("GET /ws/poll/abc?from=5 "));
}

TEST_F(PollTunnelTest, WhatIsLostIsAskedAgainUnderItsNumber) {
  open();
  const std::string get = asked(kGets);
  say("one");
  turn();
  const std::string post = asked(kPosts);
  tunnel_.feed(kGets, base::as_bytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), now_);
  tunnel_.lost(kGets, now_);
  tunnel_.lost(kPosts, now_);
  turn();
  EXPECT_EQ(asked(kGets), get);
  EXPECT_EQ(asked(kPosts), post);
  answer(kGets, "200", "hello there");
  answer(kPosts, "204");
  turn();
  EXPECT_EQ(messages_, std::vector<std::string>{"hello there"});
  EXPECT_FALSE(tunnel_.over());
}

TEST_F(PollTunnelTest, ItGivesUpWhenNothingButLossesComes) {
  open();
  const base::Instant from = now_;
  while (!tunnel_.over() && now_ - from < base::seconds(60)) {
    (void)asked(kGets);
    tunnel_.lost(kGets, now_);
    now_ = now_ + base::milliseconds(50);
    turn();
  }
  EXPECT_TRUE(tunnel_.over());
  EXPECT_GT(now_ - from, base::seconds(15));
  EXPECT_LT(now_ - from, base::seconds(20));
}

TEST_F(PollTunnelTest, AnAnswerThatNeverComesIsALoss) {
  open();
  (void)asked(kGets);
  now_ = now_ + base::seconds(12);  // the hold and ten seconds
  tunnel_.turn(now_);
  EXPECT_TRUE(tunnel_.is_done(kGets));
  turn();
  EXPECT_TRUE(asked(kGets).starts_with("GET "));
}

TEST_F(PollTunnelTest, RefusalsAndClosesAreTheWebSocketsOwn) {
  turn();
  (void)asked(kPosts);
  answer(kPosts, "401", "{\"error\": \"no_token\"}");
  EXPECT_EQ(turn(), std::vector<StreamEvent>{StreamEvent::kFailed});
  EXPECT_EQ(stream_.http_status(), 401);
  EXPECT_TRUE(tunnel_.over());

  SetUp();
  open();
  (void)asked(kGets);
  answer(kGets, "410",
         "{\"error\": \"session_closed\", \"message\": \"replaced\", \"code\": 4015}");
  EXPECT_EQ(turn(), std::vector<StreamEvent>{StreamEvent::kClosed});
  EXPECT_EQ(stream_.close_code(), 4015);
}

TEST_F(PollTunnelTest, ACloseWithACodeThatNoneMaySendIsALoss) {
  for (const char* code : {"0", "1006", "401", "99999", "\"x\""}) {
    SetUp();
    open();
    (void)asked(kGets);
    answer(kGets, "410", std::string("{\"message\": \"\xff\", \"code\": ") + code + "}");
    turn();
    EXPECT_TRUE(tunnel_.over()) << code;
    EXPECT_FALSE(tunnel_.problem().empty()) << code;
  }
}

TEST_F(PollTunnelTest, AGoodbyeFollowsWhatWasSaid) {
  open();
  (void)asked(kGets);
  say("last");
  stream_.send_close(1000);
  turn();
  EXPECT_TRUE(asked(kPosts).ends_with("last"));
  answer(kPosts, "204");
  turn();
  EXPECT_TRUE(asked(kPosts).starts_with("DELETE /ws/poll/abc "));
  answer(kPosts, "204");
  EXPECT_TRUE(tunnel_.over());
}

TEST_F(PollTunnelTest, ABusyServerOrFullAddressIsAskedAgainALittleLater) {
  open();
  say("one");
  turn();
  const std::string post = asked(kPosts);
  for (const char* busy : {"503", "429"}) {
    answer(kPosts, busy, "{}");
    turn();
    EXPECT_EQ(asked(kPosts), "") << busy;
    now_ = now_ + base::seconds(1);
    turn();
    EXPECT_EQ(asked(kPosts), post) << busy;
  }
}

}  // namespace
}  // namespace tidegate::client
