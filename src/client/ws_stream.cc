// SPDX-License-Identifier: Apache-2.0
#include "client/ws_stream.h"

#include "base/assert.h"
#include "protocol/http_upgrade.h"

namespace tidegate::client {

using protocol::Opcode;

namespace {
constexpr size_t kCompactBytes = 16 * 1024;
}  // namespace

bool WsStream::start(const protocol::UpgradeOffer& offer) {
  receiver_ = {};
  in_.clear();
  fragments_.clear();
  fragments_told_ = false;
  now_ = message_ = {};
  used_ = out_sent_ = 0;
  fed_ = stored_ = false;
  close_code_ = 0;
  http_status_ = 0;
  retry_after_s_ = 0;
  problem_.clear();
  uint8_t nonce[16];
  for (uint8_t& b : nonce) b = static_cast<uint8_t>(prng_.next());
  protocol::encode_websocket_key(nonce, key_);
  offer_ = offer;
  offer_.key = {key_, sizeof key_};
  out_.resize(offer.bearer.size() + offer.target.size() + offer.host.size() + offer.origin.size() +
              512);
  out_.resize(protocol::write_upgrade_request(out_, offer_));
  phase_ = out_.empty() ? Phase::kOver : Phase::kUpgrading;
  return !out_.empty();
}

void WsStream::reserve(size_t in, size_t out) {
  in_.reserve(in);
  out_.reserve(out);
}

void WsStream::sent(size_t bytes) {
  out_sent_ += bytes;
  if (out_sent_ == out_.size()) {
    out_.clear();
    out_sent_ = 0;
  } else if (out_sent_ > kCompactBytes && out_sent_ > out_.size() / 2) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_sent_));
    out_sent_ = 0;
  }
}

void WsStream::feed(base::MutableBytes bytes) {
  TG_ASSERT(!fed_);
  fed_ = true;
  used_ = 0;
  stored_ = !in_.empty();
  if (stored_) {
    in_.insert(in_.end(), bytes.begin(), bytes.end());
    bytes = in_;
  }
  now_ = bytes;
}

StreamEvent WsStream::next() {
  if (fragments_told_) {
    fragments_.clear();
    fragments_told_ = false;
  }
  while (phase_ != Phase::kOver && used_ < now_.size()) {
    const size_t before = used_;
    const StreamEvent event = phase_ == Phase::kUpgrading ? take_answer() : take_frame();
    if (event != StreamEvent::kNone) return event;
    if (used_ == before) break;
  }
  return StreamEvent::kNone;
}

void WsStream::settle() {
  if (!fed_) return;
  fed_ = false;
  if (stored_) {
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(used_));
  } else {
    in_.assign(now_.begin() + static_cast<std::ptrdiff_t>(used_), now_.end());
  }
  now_ = {};
  used_ = 0;
}

StreamEvent WsStream::fail(std::string problem) {
  phase_ = Phase::kOver;
  problem_ = std::move(problem);
  used_ = now_.size();
  return StreamEvent::kFailed;
}

StreamEvent WsStream::take_answer() {
  const base::MutableBytes bytes = now_.subspan(used_);
  const size_t head = protocol::find_head_end(bytes, 0);
  if (head == 0) {
    if (bytes.size() > message_bytes_max_) return fail("the answer to the upgrade has no end");
    return StreamEvent::kNone;
  }
  protocol::UpgradeAnswer answer;
  const protocol::ConnectStatus status =
      protocol::parse_upgrade_answer(bytes.first(head), offer_, answer);
  http_status_ = answer.status;
  if (status == protocol::ConnectStatus::kRefused) {
    retry_after_s_ = answer.retry_after_s;
    // The reason is in the body, which may come behind the head.
    if (answer.content_length > bytes.size() - head) {
      if (answer.content_length > message_bytes_max_) return fail("refused, with an endless body");
      return StreamEvent::kNone;
    }
    return fail("refused with HTTP " + std::to_string(http_status_) + ": " +
                std::string(base::as_text(bytes.subspan(head, answer.content_length))));
  }
  if (status != protocol::ConnectStatus::kOk) {
    return fail("the answer to the upgrade is not a valid one");
  }
  used_ += head;
  phase_ = Phase::kOpen;
  return StreamEvent::kOpen;
}

StreamEvent WsStream::take_frame() {
  protocol::FrameView frame;
  const protocol::ParseStatus status = protocol::parse_frame(
      now_.subspan(used_), protocol::Role::kClient, message_bytes_max_ - fragments_.size(), frame);
  if (status == protocol::ParseStatus::kNeedMore) return StreamEvent::kNone;
  if (status != protocol::ParseStatus::kFrame) {
    return fail("WebSocket error: " + std::string(protocol::text_of(status)));
  }
  used_ += frame.consumed;
  const protocol::Received received = receiver_.on_frame(frame);
  switch (received.event) {
    case protocol::ReceiveEvent::kMessage:
      message_ = frame.payload;
      return StreamEvent::kMessage;
    case protocol::ReceiveEvent::kCompressedMessage:  // not negotiated, so refused as a frame
      break;
    case protocol::ReceiveEvent::kFirstFragment:
    case protocol::ReceiveEvent::kNextFragment:
    case protocol::ReceiveEvent::kLastFragment:
      fragments_.insert(fragments_.end(), frame.payload.begin(), frame.payload.end());
      if (received.event != protocol::ReceiveEvent::kLastFragment) break;
      message_ = fragments_;
      fragments_told_ = true;
      return StreamEvent::kMessage;
    case protocol::ReceiveEvent::kPing:
      send_frame(Opcode::kPong, frame.payload);
      break;
    case protocol::ReceiveEvent::kPong:
      break;
    case protocol::ReceiveEvent::kClose:
      close_code_ = received.close_code;
      send_close(received.close_code);
      fail("closed by the server with " + std::to_string(received.close_code) + " " +
           std::string(protocol::close_reason_of(frame.payload)));
      return StreamEvent::kClosed;
    case protocol::ReceiveEvent::kError:
      return fail("WebSocket error: " + std::string(protocol::text_of(received.status)));
  }
  return StreamEvent::kNone;
}

void WsStream::send_close(uint16_t code) {
  const size_t at = out_.size();
  out_.resize(at + protocol::kControlFrameMax);
  out_.resize(at + protocol::write_masked_close(out_.data() + at, code, {},
                                                static_cast<uint32_t>(prng_.next())));
}

void WsStream::send_frame(Opcode opcode, base::Bytes payload) {
  const size_t at = out_.size();
  out_.resize(at + protocol::kHeaderMax + payload.size());
  out_.resize(at + protocol::write_masked_frame(out_.data() + at, opcode, true, payload,
                                                static_cast<uint32_t>(prng_.next())));
}

}  // namespace tidegate::client
