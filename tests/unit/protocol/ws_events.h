// SPDX-License-Identifier: Apache-2.0
// The part a transport plays for the WebSocket machine, with std containers: keeps incomplete
// frames contiguous, stores fragments, and writes down what it saw as one line for each event. The
// same bytes must give the same lines however they are split; unit tests and the fuzzer share it.
// Thread: one. Owner: test. Limits: none.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "protocol/ws.h"
#include "protocol/ws_deflate.h"

namespace tidegate::protocol {

class WsEvents {
 public:
  WsEvents(Role role, uint64_t message_bytes_max)
      : role_(role), message_bytes_max_(message_bytes_max) {}

  // As after permessage-deflate was negotiated with this window and takeover.
  void speak_deflate(uint8_t window_bits, Context context) {
    receiver_.speak_deflate();
    context_ = context;
    memory_.resize(Inflater::block_bytes(window_bits) / sizeof(Line) + 1);
    inflater_ = Inflater::make({memory_[0].bytes, memory_.size() * sizeof(Line)}, window_bits);
  }

  void feed(base::Bytes bytes) {
    if (ended_) return;
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    size_t used = 0;
    while (!ended_ && used < buffer_.size()) {
      FrameView frame;
      const base::MutableBytes input = base::MutableBytes(buffer_).subspan(used);
      const bool grows_compressed = receiver_.in_message() && receiver_.message_compressed();
      const uint64_t max_compressed =
          receiver_.speaks_deflate() ? compressed_bytes_max(message_bytes_max_) : 0;
      const ParseStatus status = parse_frame(
          input, role_, (grows_compressed ? max_compressed : message_bytes_max_) - message_.size(),
          frame, max_compressed);
      if (status == ParseStatus::kNeedMore) {
        // The promise must be larger than what is there, else a caller would spin.
        check(frame.consumed > input.size());
        promised_ = frame.consumed;
        const ParseStatus text = receiver_.check_incomplete(input, role_);
        if (text != ParseStatus::kFrame) {
          end("error " + std::to_string(close_code_of(text)) + " " + std::string(text_of(text)));
        }
        break;
      }
      if (status != ParseStatus::kFrame) {
        end("error " + std::to_string(close_code_of(status)) + " " + std::string(text_of(status)));
        break;
      }
      check(frame.consumed >= promised_);
      check(frame.consumed <= input.size());
      check(frame.payload.data() >= input.data());
      check(frame.payload.data() + frame.payload.size() == input.data() + frame.consumed);
      promised_ = 0;
      used += frame.consumed;
      on_frame(frame);
    }
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(used));
  }

  const std::string& lines() const { return lines_; }
  bool ended() const { return ended_; }
  const WsReceiver& receiver() const { return receiver_; }

 private:
  static void check(bool holds) {
    if (!holds) std::abort();
  }

  void on_frame(const FrameView& frame) {
    const std::string payload(base::as_text(frame.payload));
    const Received received = receiver_.on_frame(frame);
    switch (received.event) {
      case ReceiveEvent::kMessage:
        on_message(frame.opcode, payload);
        break;
      case ReceiveEvent::kCompressedMessage:
        on_compressed(payload);
        break;
      case ReceiveEvent::kFirstFragment:
        message_ = payload;
        check(receiver_.in_message());
        break;
      case ReceiveEvent::kNextFragment:
        message_ += payload;
        break;
      case ReceiveEvent::kLastFragment:
        if (receiver_.message_compressed()) {
          on_compressed(message_ + payload);
        } else {
          on_message(receiver_.message_opcode(), message_ + payload);
        }
        message_.clear();
        break;
      case ReceiveEvent::kPing:
        lines_ += "ping " + payload + "\n";
        break;
      case ReceiveEvent::kPong:
        lines_ += "pong " + payload + "\n";
        break;
      case ReceiveEvent::kClose:
        check(received.close_code != 0);
        end("close " + std::to_string(received.close_code) + " " +
            std::string(close_reason_of(frame.payload)));
        break;
      case ReceiveEvent::kError:
        check(close_code_of(received.status) != 0);
        end("error " + std::to_string(close_code_of(received.status)) + " " +
            std::string(text_of(received.status)));
        break;
    }
  }

  void on_compressed(const std::string& payload) {
    check(inflater_ != nullptr);
    std::vector<uint8_t> out(message_bytes_max_ + 1);
    size_t size = 0;
    const InflateStatus status =
        inflater_->decompress(base::as_bytes(payload), out, &size, context_);
    if (status != InflateStatus::kOk) {
      end(status == InflateStatus::kTooBig ? "error 1009 inflated" : "error 1007 deflate");
      return;
    }
    const std::string message(base::as_text({out.data(), size}));
    if (receiver_.message_opcode() == Opcode::kText && !is_valid_utf8(base::as_bytes(message))) {
      end("error 1007 inflated text");
      return;
    }
    on_message(receiver_.message_opcode(), message);
  }

  void on_message(Opcode opcode, const std::string& payload) {
    check(payload.size() <= message_bytes_max_);
    check(opcode == Opcode::kText || opcode == Opcode::kBinary);
    if (opcode == Opcode::kText) check(is_valid_utf8(base::as_bytes(payload)));
    lines_ += (opcode == Opcode::kText ? "text " : "binary ") + payload + "\n";
  }

  void end(const std::string& line) {
    lines_ += line + "\n";
    ended_ = true;
  }

  struct alignas(16) Line {
    uint8_t bytes[16];
  };

  Role role_;
  uint64_t message_bytes_max_;
  WsReceiver receiver_;
  std::vector<uint8_t> buffer_;
  std::string message_;
  std::string lines_;
  size_t promised_ = 0;
  Context context_ = Context::kFresh;
  std::vector<Line> memory_;  // of the inflater
  Inflater* inflater_ = nullptr;
  bool ended_ = false;
};

}  // namespace tidegate::protocol
