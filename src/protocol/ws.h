// SPDX-License-Identifier: Apache-2.0
// WebSocket frames (RFC 6455) as a pure machine for both roles. parse_frame reads one frame at the
// front of a receive buffer and unmasks it in place: no copy, no heap, no state. WsReceiver holds
// the few bytes of a connection that outlive a frame and enforces the rules between frames:
// fragmentation, UTF-8 of text, close bodies, silence after close. Of extensions it knows the frame
// bit of permessage-deflate (RFC 7692 section 6.1): RSV1 on the first frame of a data message when
// the connection speaks it; the data itself is ws_deflate.h's. Every other reserved bit is an
// error.
//
// The caller keeps incomplete frames contiguous (kNeedMore says how many bytes it takes) and, when
// it wants fragmented messages whole, appends the fragments to a buffer of its own.
//
// Thread: any, one user for each receiver. Owner: borrows the input. Limits: max_payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "protocol/mask.h"
#include "protocol/utf8.h"

namespace tidegate::protocol {

enum class Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};
inline bool is_control(Opcode opcode) { return (static_cast<uint8_t>(opcode) & 8) != 0; }

// Which end this side is. A server takes masked frames only, a client unmasked ones only.
enum class Role : uint8_t { kServer, kClient };

enum class ParseStatus : uint8_t {
  kFrame = 0,  // a whole frame; from WsReceiver: no error
  kNeedMore,   // FrameView::consumed says how many bytes the input must hold at least

  // Errors of one frame (section 5.2). The connection must fail with close_code_of().
  kReservedBits,       // RSV1..3 where no extension gives them a meaning
  kUnknownOpcode,      // 3..7 or 11..15
  kControlFragmented,  // FIN clear on close, ping or pong
  kControlTooLong,     // control payload above 125 bytes
  kNotMasked,          // server role: mask bit clear
  kMasked,             // client role: mask bit set
  kLengthNotMinimal,   // 16 or 64 bits used for a length that fits in less
  kLengthTopBit,       // 64-bit length with the top bit set
  kTooBig,             // payload above max_payload

  // Errors between frames, from WsReceiver (sections 5.4, 5.5.1, 8.1).
  kUnexpectedContinuation,  // nothing to continue
  kInterleavedMessage,      // text or binary inside a fragmented message
  kBadUtf8,                 // text that is not UTF-8
  kBadCloseBody,            // a close body of one byte
  kBadCloseCode,            // a code that must not be on the wire
  kBadCloseReason,          // a reason that is not UTF-8
  kAfterClose,              // any frame after the peer's close frame

  // Errors of a compressed message; whoever inflates it says so.
  kBadDeflate,  // not DEFLATE data
  kCount,
};

// 1002, 1007 or 1009; 0 for kFrame and kNeedMore.
uint16_t close_code_of(ParseStatus status);
// One static sentence for the close reason and the log, at most 123 bytes.
std::string_view text_of(ParseStatus status);

inline constexpr uint16_t kCloseNormal = 1000;
inline constexpr uint16_t kCloseNone = 1005;  // stands for an empty close body, never on the wire
inline constexpr size_t kControlPayloadMax = 125;
inline constexpr size_t kHeaderMax = 14;                            // 64-bit length and mask
inline constexpr size_t kControlFrameMax = kControlPayloadMax + 6;  // masked

struct FrameView {
  Opcode opcode;
  bool fin;
  bool compressed;             // RSV1: begins a message that is compressed
  base::MutableBytes payload;  // unmasked, inside the input
  size_t consumed;             // kFrame: header and payload; kNeedMore: bytes needed from the start
};

namespace detail {
ParseStatus parse_frame_slow(base::MutableBytes input, Role role, uint64_t max_payload,
                             FrameView& out, uint64_t max_compressed);

// True when the first byte of a frame is FIN and a known opcode, nothing else.
inline bool is_whole_message_or_control(uint8_t first) {
  constexpr uint32_t kKnown = 0x0707;  // bit number: opcode
  const uint32_t opcode = first - 0x80u;
  return opcode < 16 && (kKnown >> opcode & 1) != 0;
}
}  // namespace detail

// Reads and unmasks the frame at the front of `input`; call again behind `consumed` bytes for the
// next. The input is changed only when kFrame is returned. `max_payload` bounds data frames and is
// applied as soon as the length is read; for a continuation pass what the message may still grow.
// `max_compressed` does the same for a frame with RSV1; 0 means that RSV1 is not spoken.
// Pass a constant role: the other one's code then folds away.
// Cost at x86-64-v3 for a masked frame of 64 bytes, counted with callgrind: 84 instructions alone,
// 68 in a loop over a batch with WsReceiver::on_frame included.
inline ParseStatus parse_frame(base::MutableBytes input, Role role, uint64_t max_payload,
                               FrameView& out, uint64_t max_compressed = 0) {
  // The fast path: final frames with a 7-bit length, whole in the input.
  uint8_t* const data = input.data();
  const size_t header = role == Role::kServer ? 6 : 2;
  if (input.size() >= header) [[likely]] {
    const uint8_t first = data[0];
    // In the server role an unmasked frame wraps to a huge length here and leaves the fast path.
    const uint32_t length = data[1] - (role == Role::kServer ? 0x80u : 0u);
    if (length < 126 && length <= max_payload && header + length <= input.size() &&
        detail::is_whole_message_or_control(first)) [[likely]] {
      out.opcode = static_cast<Opcode>(first & 0x0f);
      out.fin = true;
      out.compressed = false;
      out.payload = {data + header, length};
      out.consumed = header + length;
      if (role == Role::kServer) {
        apply_mask(data + 6, length, base::load_le<uint32_t>(data + 2));
      }
      return ParseStatus::kFrame;
    }
  }
  return detail::parse_frame_slow(input, role, max_payload, out, max_compressed);
}

// What a frame means to its connection.
enum class ReceiveEvent : uint8_t {
  kMessage,            // a whole message, in place in the frame's payload
  kCompressedMessage,  // the same, to be inflated; see message_opcode()
  kFirstFragment,      // begins a message: store the payload; see message_opcode()
  kNextFragment,       // append the payload
  kLastFragment,       // append the payload; the stored message is whole, see message_compressed()
  kPing,               // answer with a pong of the same payload
  kPong,
  kClose,  // the peer's close; answer with `close_code`, then read no more
  kError,  // fail the connection with close_code_of(status)
};

struct Received {
  ReceiveEvent event;
  ParseStatus status = ParseStatus::kFrame;  // kError: the rule that was broken
  uint16_t close_code = 0;  // kClose: the peer's code, kCloseNone for an empty body
};

// The receiving half of one connection between frames. Feed it every frame that parse_frame gave,
// in order; after kError or kClose it refuses everything.
class WsReceiver {
 public:
  Received on_frame(const FrameView& frame) {
    if (flags_ == 0 && frame.fin && frame.opcode == Opcode::kBinary) [[likely]] {
      return {ReceiveEvent::kMessage};
    }
    return on_other_frame(frame);
  }

  // permessage-deflate was negotiated: RSV1 may begin a message. UTF-8 of compressed text is then
  // for whoever inflates it.
  void speak_deflate() { flags_ |= kDeflate; }
  bool speaks_deflate() const { return (flags_ & kDeflate) != 0; }
  // The other side takes text only: whoever has binary output must make text of it first. Kept here
  // because senders look at one byte for this and for compression.
  void take_text_only() { flags_ |= kTextOnly; }
  bool takes_text_only() const { return (flags_ & kTextOnly) != 0; }
  bool has_special_output() const { return (flags_ & (kDeflate | kTextOnly)) != 0; }
  // Of the message that the last fragment event belongs to.
  bool message_compressed() const { return (flags_ & kCompressed) != 0; }

  // Looks at the payload of the incomplete frame at the front of `input`, so that text which is
  // wrong already fails before its frame is whole (RFC 6455 section 8.1). kFrame: nothing wrong so
  // far. Call when parse_frame said kNeedMore; each byte is looked at once.
  ParseStatus check_incomplete(base::Bytes input, Role role);

  // True between kFirstFragment and kLastFragment.
  bool in_message() const { return (flags_ & kInMessage) != 0; }
  // kText or kBinary: of the message that the last fragment event belongs to.
  Opcode message_opcode() const { return message_opcode_; }
  bool peer_closed() const { return (flags_ & kEnded) != 0; }

  // For another process, which goes on where this one stood.
  struct Saved {
    uint8_t bytes[4];  // flags, opcode, both states of UTF-8
    uint32_t incomplete_bytes;
  };
  Saved save() const {
    return {{flags_, static_cast<uint8_t>(message_opcode_), static_cast<uint8_t>(utf8_),
             static_cast<uint8_t>(incomplete_utf8_)},
            incomplete_bytes_};
  }
  // False: these are no bytes of save().
  [[nodiscard]] bool restore(const Saved& saved);

 private:
  static constexpr uint8_t kInMessage = 1;
  static constexpr uint8_t kEnded = 2;       // close frame seen, or failed
  static constexpr uint8_t kDeflate = 4;     // the extension is spoken
  static constexpr uint8_t kCompressed = 8;  // the message in progress, or the last one
  static constexpr uint8_t kTextOnly = 16;

  Received on_other_frame(const FrameView& frame);
  Received on_data(const FrameView& frame);
  Received on_close(const FrameView& frame);
  Received fail(ParseStatus status);

  uint8_t flags_ = 0;
  Opcode message_opcode_ = Opcode::kBinary;
  Utf8State utf8_ = Utf8State::kBoundary;             // of the text message in progress
  Utf8State incomplete_utf8_ = Utf8State::kBoundary;  // behind incomplete_bytes_
  uint32_t incomplete_bytes_ = 0;  // of an incomplete frame's payload that were looked at
};
static_assert(sizeof(WsReceiver) <= 8, "it lives in the connection's hot cache line");

// The reason text of a close frame's payload; empty when there is none. Valid while the payload is.
std::string_view close_reason_of(base::Bytes close_payload);
// Codes that a peer may put into a close frame: 1000-1003, 1007-1014, 3000-4999.
bool is_close_code_on_wire(uint16_t code);

// --- writers; each returns the bytes written ---

// Header without mask, as a server sends it: 2, 4 or 10 bytes.
constexpr size_t header_size(uint64_t payload_bytes) {
  return payload_bytes < 126 ? 2 : payload_bytes < 65536 ? 4 : 10;
}
// Writes exactly header_size(payload_bytes) bytes.
inline size_t write_header(uint8_t* out, Opcode opcode, bool fin, uint64_t payload_bytes) {
  out[0] = static_cast<uint8_t>((fin ? 0x80 : 0) | static_cast<uint8_t>(opcode));
  if (payload_bytes < 126) {
    out[1] = static_cast<uint8_t>(payload_bytes);
    return 2;
  }
  if (payload_bytes < 65536) {
    out[1] = 126;
    base::store_be16(out + 2, static_cast<uint16_t>(payload_bytes));
    return 4;
  }
  out[1] = 127;
  base::store_be64(out + 2, payload_bytes);
  return 10;
}

// Server frames; `out` holds kControlFrameMax bytes. Payloads above 125 bytes are our own bug.
size_t write_ping(uint8_t* out, base::Bytes payload);
size_t write_pong(uint8_t* out, base::Bytes payload);
// `code` kCloseNone makes an empty body; any other must satisfy is_close_code_on_wire. The reason
// is cut at a code point border to fit.
size_t write_close(uint8_t* out, uint16_t code, std::string_view reason);

// Client frames: the same with a mask. `mask_key` is fresh randomness for each frame, in the form
// apply_mask takes; the caller then masks the payload it puts behind the header with it.
inline size_t write_masked_header(uint8_t* out, Opcode opcode, bool fin, uint64_t payload_bytes,
                                  uint32_t mask_key) {
  const size_t size = write_header(out, opcode, fin, payload_bytes);
  out[1] |= 0x80;
  base::store_le(out + size, mask_key);
  return size + 4;
}
// A whole client frame with a masked copy of the payload; `out` holds kHeaderMax + payload bytes.
size_t write_masked_frame(uint8_t* out, Opcode opcode, bool fin, base::Bytes payload,
                          uint32_t mask_key);
size_t write_masked_close(uint8_t* out, uint16_t code, std::string_view reason, uint32_t mask_key);

}  // namespace tidegate::protocol
