// SPDX-License-Identifier: Apache-2.0
// The client's end of a WebSocket as a pure machine: bytes in, whole messages out, and the bytes to
// send. It makes the upgrade request, judges the answer, puts fragments together and answers pings
// and closes. The game client of the load tool and the client library stand on it.
//
// Order: start(); then for what arrives feed(), next() until it says kNone, settle(). Messages are
// views into what was fed. A caller may settle() before everything was taken: the rest is kept and
// comes first the next time.
//
// Thread: one. Owner: the driver. Limits: messages of the size given; outgoing() grows with what
// the caller puts into it and is for the caller to bound.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/prng.h"
#include "protocol/http_connect.h"
#include "protocol/ws.h"

namespace tidegate::client {

enum class StreamEvent : uint8_t {
  kNone,     // nothing whole is left
  kOpen,     // the upgrade is done
  kMessage,  // message() holds it
  kClosed,   // the server's close, answered; close_code() says which
  kFailed,   // refused, or not what a server may send; problem() says why
};

class WsStream {
 public:
  WsStream(uint64_t seed, uint32_t message_bytes_max)
      : prng_(seed), message_bytes_max_(message_bytes_max) {}

  // Forgets the connection before and writes the request. `offer` without its key; what it points
  // to must hold until the upgrade is done. False: a field that no request can carry.
  bool start(const protocol::UpgradeOffer& offer);

  // Bytes of the socket, changed in place, valid until settle().
  void feed(base::MutableBytes bytes);
  StreamEvent next();
  void settle();
  base::MutableBytes message() const { return message_; }
  // Bytes fed and not yet taken.
  size_t waiting() const { return fed_ ? now_.size() - used_ : in_.size(); }

  base::Bytes outgoing() const { return {out_.data() + out_sent_, out_.size() - out_sent_}; }
  void sent(size_t bytes);
  void send_binary(base::Bytes payload) { send_frame(protocol::Opcode::kBinary, payload); }
  void send_close(uint16_t code);
  // Memory for so many bytes in each direction, taken at once.
  void reserve(size_t in, size_t out);

  bool upgrading() const { return phase_ == Phase::kUpgrading; }
  bool over() const { return phase_ == Phase::kOver; }
  uint16_t close_code() const { return close_code_; }  // 0: none came
  int http_status() const { return http_status_; }     // 0: no answer yet
  uint32_t retry_after_s() const { return retry_after_s_; }
  const std::string& problem() const { return problem_; }

 private:
  enum class Phase : uint8_t { kIdle, kUpgrading, kOpen, kOver };
  StreamEvent take_answer();
  StreamEvent take_frame();
  StreamEvent fail(std::string problem);
  void send_frame(protocol::Opcode opcode, base::Bytes payload);

  base::Prng prng_;
  uint32_t message_bytes_max_;
  Phase phase_ = Phase::kIdle;
  protocol::WsReceiver receiver_;
  protocol::UpgradeOffer offer_;
  char key_[protocol::kKeyChars] = {};
  base::MutableBytes now_;       // what was fed, or in_
  size_t used_ = 0;              // of now_
  bool fed_ = false;             // between feed() and settle()
  bool stored_ = false;          // now_ is in_
  bool fragments_told_ = false;  // message_ is fragments_, to be cleared
  std::vector<uint8_t> in_;      // incomplete head or frame
  std::vector<uint8_t> fragments_;
  base::MutableBytes message_;
  std::vector<uint8_t> out_;
  size_t out_sent_ = 0;
  uint16_t close_code_ = 0;
  int http_status_ = 0;
  uint32_t retry_after_s_ = 0;
  std::string problem_;
};

}  // namespace tidegate::client
