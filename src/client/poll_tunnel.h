// SPDX-License-Identifier: Apache-2.0
// A WebSocket where none can be: the client's end of HTTP long polling as a pure machine. On one
// side a WsStream speaks as to a server, upgrade request first; on the other are two HTTP
// connections ("lanes"), one for what is posted and one for the GET that waits. Either may break at
// any byte: it is opened again and the request repeated, so the stream between goes on as if
// nothing had been (docs/protocol.md, "Long polling").
//
// Order: put() what the WsStream has to send, take arrived(); for each lane open a connection when
// wants_link(), then linked(), and move its bytes with outgoing(), sent(), feed(); lost() when it
// ended. turn() now and then, by due() at the latest. When over(), what has arrived is all there
// is.
//
// Thread: one. Owner: the driver. Limits: what is put in waits for the POST under way; has_room()
// bounds it. A new GET waits until what arrived was taken.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace tidegate::client {

class PollTunnel {
 public:
  static constexpr int kLanes = 2;

  // Forgets the session before; the next bytes put in begin with an upgrade request.
  void start();

  // --- the WebSocket's side ---
  bool has_room() const { return posts_.size() + up_.size() < kWaitingMost; }
  void put(base::Bytes bytes, base::Instant now);
  base::Bytes arrived() const { return {down_.data() + down_taken_, down_.size() - down_taken_}; }
  void taken(size_t bytes);
  bool over() const { return over_; }
  // Why, when it was not by a close frame: for people.
  const std::string& problem() const { return problem_; }

  // --- the lanes ---
  bool wants_link(int lane, base::Instant now) const;
  void linked(int lane) { lanes_[lane].open = true; }
  void lost(int lane, base::Instant now);
  base::Bytes outgoing(int lane) const;
  void sent(int lane, size_t bytes) { lanes_[lane].sent += bytes; }
  void feed(int lane, base::Bytes bytes, base::Instant now);
  // True: the lane's connection is to be closed and is told lost() by that.
  bool is_done(int lane) const { return lanes_[lane].done; }
  void turn(base::Instant now);
  base::Instant due() const;

 private:
  enum class Ask : uint8_t { kNone, kOpen, kPost, kGet, kDelete };
  struct Lane {
    Ask ask = Ask::kNone;
    bool open = false;  // there is a connection
    bool done = false;  // the connection must not be used again
    std::vector<uint8_t> request;
    size_t sent = 0;
    std::vector<uint8_t> answer;
    base::Instant until = base::Instant::never();  // for the answer
    base::Instant not_before{};                    // of the next connection
    uint32_t losses = 0;                           // since the last answer
    base::Instant lost_since{};                    // valid while losses is not 0
  };
  struct Head {
    int status = 0;
    size_t length = 0;
    bool close = false;
    uint32_t retry_after_s = 0;
  };
  static bool parse_head(base::Bytes head, Head* out);

  void take_upgrade(base::Instant now);
  void take_frames();
  void begin(int lane, Ask ask, std::string_view first_line, base::Bytes body, base::Instant now);
  void take_answer(int lane, const Head& head, base::Bytes whole, base::Bytes body);
  void take_opened(base::Bytes body);
  void take_data(base::Bytes body);
  void put_frame(base::Bytes payload);
  void put_close(uint16_t code, std::string_view reason);
  void fail(std::string_view problem);
  void ask_more(base::Instant now);

  static constexpr size_t kWaitingMost = 256 * 1024;

  Lane lanes_[kLanes];
  bool over_ = false;
  bool opened_ = false;
  bool leaving_ = false;
  bool text_ = false;
  std::string problem_;
  std::vector<uint8_t> up_;  // bytes of the WebSocket that make no frame yet, or the request
  std::vector<uint8_t> posts_;
  std::vector<uint32_t> ends_;    // of the messages in posts_
  std::vector<uint8_t> posting_;  // the body under way
  uint64_t sequence_ = 0;         // of the POST under way, or the last one
  uint64_t received_ = 0;         // bytes of the server's stream
  std::vector<uint8_t> down_;
  size_t down_taken_ = 0;
  std::string host_, path_, query_, bearer_, session_;
  char key_[24] = {};
  std::string subprotocol_;
  uint32_t hold_ms_ = 20'000;
  uint32_t body_bytes_ = 0;
};

}  // namespace tidegate::client
