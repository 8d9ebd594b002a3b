// SPDX-License-Identifier: Apache-2.0
#include "protocol/ws.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "base/assert.h"

namespace tidegate::protocol {

using base::Bytes;
using base::MutableBytes;

namespace {

struct StatusRow {
  uint16_t close_code;
  std::string_view text;
};

// In the order of ParseStatus. The texts go out as close reasons.
constexpr StatusRow kStatusRows[] = {
    {0, ""},
    {0, ""},
    {1002, "reserved bits are set where no extension gives them a meaning"},
    {1002, "unknown opcode; use 0, 1, 2, 8, 9 or 10"},
    {1002, "a control frame must not be fragmented"},
    {1002, "a control frame carries at most 125 bytes"},
    {1002, "a client must mask its frames"},
    {1002, "a server must not mask its frames"},
    {1002, "the payload length must use the shortest form"},
    {1002, "the payload length must not have its top bit set"},
    {1009, "the message is larger than the limit"},
    {1002, "a continuation frame without a message to continue"},
    {1002, "a new message began before the fragmented one ended"},
    {1007, "a text message must be valid UTF-8"},
    {1002, "a close body must be empty or hold a two-byte code"},
    {1002, "this close code must not be sent"},
    {1007, "a close reason must be valid UTF-8"},
    {1002, "a frame after the close frame"},
    // Like text that is not UTF-8: the frames are right, what they carry is not.
    {1007, "a compressed message must be valid DEFLATE data"},
};
static_assert(std::size(kStatusRows) == static_cast<size_t>(ParseStatus::kCount));

// The body of a close frame; returns its size, at most kControlPayloadMax.
size_t write_close_body(uint8_t* out, uint16_t code, std::string_view reason) {
  if (code == kCloseNone) return 0;
  TG_ASSERT(is_close_code_on_wire(code));
  base::store_be16(out, code);
  size_t size = std::min(reason.size(), kControlPayloadMax - 2);
  if (size < reason.size()) {
    // Never cut a code point in two: step back over tail bytes to the lead that would be cut off.
    while (size > 0 && (static_cast<uint8_t>(reason[size]) & 0xc0) == 0x80) --size;
  }
  if (size > 0) std::memcpy(out + 2, reason.data(), size);
  return 2 + size;
}

size_t write_control(uint8_t* out, Opcode opcode, Bytes payload) {
  TG_ASSERT(payload.size() <= kControlPayloadMax);
  const size_t header = write_header(out, opcode, true, payload.size());
  if (!payload.empty()) std::memcpy(out + header, payload.data(), payload.size());
  return header + payload.size();
}

}  // namespace

uint16_t close_code_of(ParseStatus status) {
  return kStatusRows[static_cast<size_t>(status)].close_code;
}

std::string_view text_of(ParseStatus status) {
  return kStatusRows[static_cast<size_t>(status)].text;
}

// Everything the fast path leaves: longer lengths, incomplete input, errors. Each rule is applied
// as soon as the bytes it needs are there.
ParseStatus detail::parse_frame_slow(MutableBytes input, Role role, uint64_t max_payload,
                                     FrameView& out, uint64_t max_compressed) {
  uint8_t* const data = input.data();
  const size_t mask_bytes = role == Role::kServer ? 4 : 0;
  out.consumed = 2 + mask_bytes;
  if (input.empty()) return ParseStatus::kNeedMore;

  const uint8_t first = data[0];
  const Opcode opcode = static_cast<Opcode>(first & 0x0f);
  const bool fin = (first & 0x80) != 0;
  const bool compressed = (first & 0x40) != 0;
  if ((first & 0x70) != 0) {
    const bool begins_message = opcode == Opcode::kText || opcode == Opcode::kBinary;
    if ((first & 0x30) != 0 || max_compressed == 0 || !begins_message) {
      return ParseStatus::kReservedBits;
    }
    max_payload = max_compressed;
  }
  if (!is_whole_message_or_control((first & 0x0f) | 0x80)) return ParseStatus::kUnknownOpcode;
  if (is_control(opcode) && !fin) return ParseStatus::kControlFragmented;
  if (input.size() < 2) return ParseStatus::kNeedMore;

  const bool masked = (data[1] & 0x80) != 0;
  if (masked != (role == Role::kServer)) {
    return masked ? ParseStatus::kMasked : ParseStatus::kNotMasked;
  }
  uint64_t length = data[1] & 0x7f;
  if (is_control(opcode) && length > kControlPayloadMax) return ParseStatus::kControlTooLong;
  const size_t length_bytes = length == 127 ? 8 : length == 126 ? 2 : 0;
  const size_t header = 2 + length_bytes + mask_bytes;
  if (input.size() < 2 + length_bytes) {
    out.consumed = header;
    return ParseStatus::kNeedMore;
  }
  if (length_bytes == 2) {
    length = base::load_be16(data + 2);
    if (length < 126) return ParseStatus::kLengthNotMinimal;
  } else if (length_bytes == 8) {
    length = base::load_be64(data + 2);
    if (length >> 63 != 0) return ParseStatus::kLengthTopBit;
    if (length < 65536) return ParseStatus::kLengthNotMinimal;
  }
  // Control frames are small and may come when a message has used up its limit.
  if (!is_control(opcode) && length > max_payload) return ParseStatus::kTooBig;

  out.consumed = header + length;
  if (input.size() < out.consumed) return ParseStatus::kNeedMore;
  if (masked) apply_mask(data + header, length, base::load_le<uint32_t>(data + header - 4));
  out.opcode = opcode;
  out.fin = fin;
  out.compressed = compressed;
  out.payload = {data + header, static_cast<size_t>(length)};
  return ParseStatus::kFrame;
}

bool WsReceiver::restore(const Saved& saved) {
  constexpr uint8_t kKnown = kInMessage | kEnded | kDeflate | kCompressed | kTextOnly;
  const auto opcode = static_cast<Opcode>(saved.bytes[1]);
  constexpr auto kLast = static_cast<uint8_t>(Utf8State::kInvalid);
  if ((saved.bytes[0] & ~kKnown) != 0 || (opcode != Opcode::kText && opcode != Opcode::kBinary) ||
      saved.bytes[2] >= kLast || saved.bytes[3] >= kLast) {
    return false;
  }
  flags_ = saved.bytes[0];
  message_opcode_ = opcode;
  utf8_ = static_cast<Utf8State>(saved.bytes[2]);
  incomplete_utf8_ = static_cast<Utf8State>(saved.bytes[3]);
  incomplete_bytes_ = saved.incomplete_bytes;
  return true;
}

Received WsReceiver::fail(ParseStatus status) {
  flags_ |= kEnded;
  return {ReceiveEvent::kError, status};
}

Received WsReceiver::on_other_frame(const FrameView& frame) {
  if ((flags_ & kEnded) != 0) return fail(ParseStatus::kAfterClose);
  switch (frame.opcode) {
    case Opcode::kPing:
      return {ReceiveEvent::kPing};
    case Opcode::kPong:
      return {ReceiveEvent::kPong};
    case Opcode::kClose:
      return on_close(frame);
    default:
      return on_data(frame);
  }
}

Received WsReceiver::on_data(const FrameView& frame) {
  const bool continues = frame.opcode == Opcode::kContinuation;
  if (continues != in_message()) {
    return fail(continues ? ParseStatus::kUnexpectedContinuation
                          : ParseStatus::kInterleavedMessage);
  }
  incomplete_bytes_ = 0;
  // utf8_ needs no reset: a text message that ends elsewhere than at a boundary is an error.
  if (!continues) {
    message_opcode_ = frame.opcode;
    flags_ = static_cast<uint8_t>(frame.compressed ? flags_ | kCompressed : flags_ & ~kCompressed);
  }
  if (message_opcode_ == Opcode::kText && !message_compressed()) {
    utf8_ = advance_utf8(utf8_, frame.payload);
    if (utf8_ == Utf8State::kInvalid || (frame.fin && utf8_ != Utf8State::kBoundary)) {
      return fail(ParseStatus::kBadUtf8);
    }
  }
  if (frame.fin) {
    flags_ &= static_cast<uint8_t>(~kInMessage);
    if (continues) return {ReceiveEvent::kLastFragment};
    return {frame.compressed ? ReceiveEvent::kCompressedMessage : ReceiveEvent::kMessage};
  }
  flags_ |= kInMessage;
  return {continues ? ReceiveEvent::kNextFragment : ReceiveEvent::kFirstFragment};
}

ParseStatus WsReceiver::check_incomplete(Bytes input, Role role) {
  const size_t mask_bytes = role == Role::kServer ? 4 : 0;
  if (input.size() < 2 + mask_bytes) return ParseStatus::kFrame;
  const Opcode opcode = static_cast<Opcode>(input[0] & 0x0f);
  const bool begins = opcode == Opcode::kText && !in_message() && (input[0] & 0x40) == 0;
  const bool goes_on = opcode == Opcode::kContinuation && in_message() &&
                       message_opcode_ == Opcode::kText && !message_compressed();
  if (!begins && !goes_on) return ParseStatus::kFrame;
  const uint8_t length = input[1] & 0x7f;
  const size_t header = 2 + (length == 127 ? 8 : length == 126 ? 2 : 0) + mask_bytes;
  if (incomplete_bytes_ == 0) incomplete_utf8_ = begins ? Utf8State::kBoundary : utf8_;
  while (header + incomplete_bytes_ < input.size()) {
    const Bytes rest = input.subspan(header + incomplete_bytes_);
    uint8_t block[1024];  // a multiple of four, so that the mask begins anew with each
    const size_t size = std::min(rest.size(), sizeof block);
    std::memcpy(block, rest.data(), size);
    if (mask_bytes != 0) {
      const uint32_t key = base::load_le<uint32_t>(input.data() + header - 4);
      apply_mask(block, size, std::rotr(key, 8 * static_cast<int>(incomplete_bytes_ & 3)));
    }
    incomplete_utf8_ = advance_utf8(incomplete_utf8_, {block, size});
    incomplete_bytes_ += static_cast<uint32_t>(size);
    if (incomplete_utf8_ == Utf8State::kInvalid) {
      flags_ |= kEnded;
      return ParseStatus::kBadUtf8;
    }
  }
  return ParseStatus::kFrame;
}

Received WsReceiver::on_close(const FrameView& frame) {
  const Bytes body = frame.payload;
  uint16_t code = kCloseNone;
  if (body.size() == 1) return fail(ParseStatus::kBadCloseBody);
  if (body.size() >= 2) {
    code = base::load_be16(body.data());
    if (!is_close_code_on_wire(code)) return fail(ParseStatus::kBadCloseCode);
    if (!is_valid_utf8(body.subspan(2))) return fail(ParseStatus::kBadCloseReason);
  }
  flags_ |= kEnded;
  return {ReceiveEvent::kClose, ParseStatus::kFrame, code};
}

std::string_view close_reason_of(Bytes close_payload) {
  return close_payload.size() <= 2 ? std::string_view{} : base::as_text(close_payload.subspan(2));
}

bool is_close_code_on_wire(uint16_t code) {
  // 1004 is reserved; 1005, 1006 and 1015 are for local use only (section 7.4.1). 1012 to 1014 are
  // in IANA's registry.
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}

size_t write_ping(uint8_t* out, Bytes payload) {
  return write_control(out, Opcode::kPing, payload);
}
size_t write_pong(uint8_t* out, Bytes payload) {
  return write_control(out, Opcode::kPong, payload);
}

size_t write_close(uint8_t* out, uint16_t code, std::string_view reason) {
  const size_t body = write_close_body(out + 2, code, reason);
  return write_header(out, Opcode::kClose, true, body) + body;
}

size_t write_masked_frame(uint8_t* out, Opcode opcode, bool fin, Bytes payload, uint32_t mask_key) {
  const size_t header = write_masked_header(out, opcode, fin, payload.size(), mask_key);
  if (!payload.empty()) std::memcpy(out + header, payload.data(), payload.size());
  apply_mask(out + header, payload.size(), mask_key);
  return header + payload.size();
}

size_t write_masked_close(uint8_t* out, uint16_t code, std::string_view reason, uint32_t mask_key) {
  constexpr size_t kHeader = 6;  // of a control frame: 2 bytes and the key
  const size_t size = write_close_body(out + kHeader, code, reason);
  write_masked_header(out, Opcode::kClose, true, size, mask_key);
  apply_mask(out + kHeader, size, mask_key);
  return kHeader + size;
}

}  // namespace tidegate::protocol
