// SPDX-License-Identifier: Apache-2.0
#include "wire/envelope.h"

namespace tidegate::wire {

bool decode_envelope(base::Bytes bytes, Envelope* out) {
  *out = Envelope{};
  PbReader reader(bytes);
  while (reader.next()) {
    const uint32_t field = reader.field();
    if (field == 4 || field == 6) {
      if (!reader.is(WireType::kBytes)) return false;
      if (field == 6) {
        out->payload = reader.bytes();
      } else {
        out->session_id = reader.text();
        if (!is_utf8(out->session_id)) return false;
      }
      continue;
    }
    if (field > 11) continue;
    if (!reader.is(WireType::kVarint)) return false;
    const uint64_t v = reader.varint();
    switch (field) {
      case 1:
        out->version = static_cast<uint32_t>(v);
        break;
      case 2:
        out->sequence = v;
        break;
      case 3:
        out->timestamp = static_cast<int64_t>(v);
        break;
      case 5:
        out->type = static_cast<uint32_t>(v);
        break;
      case 7:
        out->requires_ack = v != 0;
        break;
      case 8:
        out->priority = static_cast<uint32_t>(v);
        break;
      case 9:
        out->ack = v;
        break;
      case 10:
        out->compression = static_cast<uint32_t>(v);
        break;
      case 11:
        out->raw_size = static_cast<uint32_t>(v);
        break;
      default:
        break;
    }
  }
  return !reader.failed();
}

bool is_utf8(std::string_view text) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = p + text.size();
  while (p != end) {
    if (end - p >= 8 && (base::load_le<uint64_t>(p) & 0x8080808080808080u) == 0) {
      p += 8;
      continue;
    }
    const uint8_t b = *p++;
    if (b < 0x80) continue;
    int more = 0;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    if (b >= 0xc2 && b <= 0xdf) {
      more = 1;
    } else if (b >= 0xe0 && b <= 0xef) {
      more = 2;
      if (b == 0xe0) low = 0xa0;
      if (b == 0xed) high = 0x9f;  // surrogates
    } else if (b >= 0xf0 && b <= 0xf4) {
      more = 3;
      if (b == 0xf0) low = 0x90;
      if (b == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    for (; more > 0; --more) {
      if (p == end || *p < low || *p > high) return false;
      ++p;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}

MessageWriter::MessageWriter(base::MutableBytes out, const EnvelopeHead& head)
    : begin_(out.data()), writer_(out) {
  const uint8_t header[kFrameHeaderBytes] = {0x4d, 0x4d, 0, 1, 0, 0, 0, 0};
  writer_.raw(header, sizeof header);
  writer_.put_varint(1, 1);
  writer_.varint(2, head.sequence);
  writer_.int64(3, head.timestamp);
  writer_.text(4, head.session_id);
  writer_.put_varint(5, static_cast<uint32_t>(head.type));
  writer_.boolean(7, head.requires_ack);
  writer_.varint(9, head.ack);
  if (head.compression != 0) {
    writer_.varint(10, head.compression);
    writer_.varint(11, head.raw_size);
  }
  // The payload is the last field, so that shared bytes may follow. Its length has fixed room: a
  // varint may be longer than it needs.
  const uint8_t tag[1 + kLengthRoom] = {6 << 3 | 2, 0x80, 0x80, 0};
  writer_.raw(tag, sizeof tag);
  payload_length_at_ = writer_.size() - kLengthRoom;
}

uint32_t MessageWriter::finish() {
  const size_t own = writer_.size();
  if (writer_.overflow()) return 0;
  const uint64_t length = own - payload_length_at_ - kLengthRoom + uint64_t{shared_};
  if (length >> (7 * kLengthRoom) != 0) return 0;  // does not fit the room for the length
  const uint32_t payload = static_cast<uint32_t>(length);
  uint8_t* p = begin_ + payload_length_at_;
  p[0] = static_cast<uint8_t>(payload | 0x80);
  p[1] = static_cast<uint8_t>(payload >> 7 | 0x80);
  p[2] = static_cast<uint8_t>(payload >> 14 & 0x7f);
  base::store_be32(begin_ + 4, static_cast<uint32_t>(own - kFrameHeaderBytes) + shared_);
  return static_cast<uint32_t>(own);
}

}  // namespace tidegate::wire
