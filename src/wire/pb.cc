// SPDX-License-Identifier: Apache-2.0
#include "wire/pb.h"

#include "wire/json_text.h"

namespace tidegate::wire {

bool PbReader::read_varint(uint64_t* out) {
  uint64_t v = 0;
  for (int shift = 0; shift < 64 && at_ != end_; shift += 7) {
    const uint8_t b = *at_++;
    // The tenth byte holds one bit.
    if (shift == 63 && b > 1) return fail();
    v |= uint64_t{b & 0x7fu} << shift;
    if (b < 0x80) {
      *out = v;
      return true;
    }
  }
  return fail();
}

// Tags and lengths: libprotobuf reads at most five bytes of them, and so do we, or a peer could
// send what one side takes and the other refuses.
bool PbReader::read_varint32(uint32_t* out) {
  const uint8_t* const start = at_;
  uint64_t v = 0;
  if (!read_varint(&v)) return false;
  if (at_ - start > 5 || v > UINT32_MAX) return fail();
  *out = static_cast<uint32_t>(v);
  return true;
}

bool PbReader::next() {
  if (at_ == end_ || failed_) return false;
  uint32_t key = 0;
  if (!read_varint32(&key)) return false;
  field_ = key >> 3;
  if (field_ == 0) return fail();
  switch (key & 7) {
    case 0:
      type_ = WireType::kVarint;
      return read_varint(&value_);
    case 1:
      type_ = WireType::kFixed64;
      if (end_ - at_ < 8) return fail();
      value_ = base::load_le<uint64_t>(at_);
      at_ += 8;
      return true;
    case 2: {
      type_ = WireType::kBytes;
      uint32_t size = 0;
      if (!read_varint32(&size)) return false;
      if (size > static_cast<uint64_t>(end_ - at_)) return fail();
      bytes_ = {at_, size};
      at_ += size;
      return true;
    }
    case 5:
      type_ = WireType::kFixed32;
      if (end_ - at_ < 4) return fail();
      value_ = base::load_le<uint32_t>(at_);
      at_ += 4;
      return true;
    default:
      return fail();  // groups
  }
}

void PbWriter::slow_varint(uint64_t v) {
  uint8_t buffer[10];
  size_t n = 0;
  while (v >= 0x80) {
    buffer[n++] = static_cast<uint8_t>(v | 0x80);
    v >>= 7;
  }
  buffer[n++] = static_cast<uint8_t>(v);
  raw(buffer, n);
}

bool PbWriter::base64(std::string_view text) {
  size_t bytes = 0;
  // What is decoded may be three bytes shorter than the room that decoding asks for.
  if (text.size() / 4 * 3 + 3 > static_cast<size_t>(end_ - at_)) {
    overflow_ = true;
    at_ = end_;
    return true;
  }
  if (!decode_base64(text, at_, &bytes)) return false;
  at_ += bytes;
  return true;
}

void PbWriter::end(size_t mark) {
  if (overflow_) return;
  const size_t length = size() - mark - 1;
  const size_t need = varint_size(length);
  if (need > 1) {
    if (static_cast<size_t>(end_ - at_) < need - 1) {
      overflow_ = true;
      return;
    }
    std::memmove(begin_ + mark + need, begin_ + mark + 1, length);
    at_ += need - 1;
  }
  uint8_t* p = begin_ + mark;
  uint64_t v = length;
  while (v >= 0x80) {
    *p++ = static_cast<uint8_t>(v | 0x80);
    v >>= 7;
  }
  *p = static_cast<uint8_t>(v);
}

}  // namespace tidegate::wire
