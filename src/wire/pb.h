// SPDX-License-Identifier: Apache-2.0
// Protocol Buffers wire format (encoding guide of protobuf 3), read and written without heap and
// without exceptions. The reader is strict: a varint above ten bytes, a field number of 0, a
// truncated field or a group ends it with failed(). The writer never passes its buffer's end.
// Thread: any. Owner: borrows. Limits: the buffer given.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"

namespace tidegate::wire {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

class PbReader {
 public:
  explicit PbReader(base::Bytes bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  // Steps to the next field; false at the end or when the bytes are malformed (failed()).
  bool next();
  uint32_t field() const { return field_; }
  WireType type() const { return type_; }
  bool failed() const { return failed_; }
  // Values of the current field. Only valid for the field's type; is() checks it first.
  uint64_t varint() const { return value_; }
  uint32_t fixed32() const { return static_cast<uint32_t>(value_); }
  uint64_t fixed64() const { return value_; }
  float number() const { return std::bit_cast<float>(fixed32()); }
  base::Bytes bytes() const { return bytes_; }
  std::string_view text() const { return base::as_text(bytes_); }
  bool is(WireType type) const { return type_ == type; }
  // What follows the current field.
  base::Bytes rest() const { return {at_, static_cast<size_t>(end_ - at_)}; }
  // Instead of next(), when the bytes are a packed list of varints: its next value.
  bool next_packed(uint64_t* out) { return at_ != end_ && !failed_ && read_varint(out); }

 private:
  bool fail() {
    failed_ = true;
    return false;
  }
  bool read_varint(uint64_t* out);
  bool read_varint32(uint32_t* out);

  const uint8_t* at_;
  const uint8_t* end_;
  uint64_t value_ = 0;
  base::Bytes bytes_;
  uint32_t field_ = 0;
  WireType type_ = WireType::kVarint;
  bool failed_ = false;
};

class PbWriter {
 public:
  explicit PbWriter(base::MutableBytes out)
      : begin_(out.data()), at_(out.data()), end_(out.data() + out.size()) {}

  void varint(uint32_t field, uint64_t v) {
    if (v != 0) put_varint(field, v);
  }
  void put_varint(uint32_t field, uint64_t v) {
    raw_varint(uint64_t{field} << 3);
    raw_varint(v);
  }
  void boolean(uint32_t field, bool v) { varint(field, v ? 1 : 0); }
  void int64(uint32_t field, int64_t v) { varint(field, static_cast<uint64_t>(v)); }
  void number(uint32_t field, float v) {
    const uint32_t bits = std::bit_cast<uint32_t>(v);
    if (bits == 0) return;  // -0.0 is not the default
    raw_varint(uint64_t{field} << 3 | 5);
    raw(&bits, 4);
  }
  void fixed64(uint32_t field, uint64_t v) {
    if (v == 0) return;
    raw_varint(uint64_t{field} << 3 | 1);
    raw(&v, 8);
  }
  void bytes(uint32_t field, base::Bytes v) {
    if (!v.empty()) put_bytes(field, v);
  }
  void text(uint32_t field, std::string_view v) { bytes(field, base::as_bytes(v)); }
  void put_bytes(uint32_t field, base::Bytes v) {
    raw_varint(uint64_t{field} << 3 | 2);
    raw_varint(v.size());
    raw(v.data(), v.size());
  }
  void put_text(uint32_t field, std::string_view v) { put_bytes(field, base::as_bytes(v)); }

  // A nested message: begin, write its fields, end. Its length takes as few bytes as it needs.
  size_t begin(uint32_t field) {
    raw_varint(uint64_t{field} << 3 | 2);
    const size_t at = size();
    const uint8_t zero = 0;
    raw(&zero, 1);
    return at;
  }
  void end(size_t mark);

  // Bytes that come as base64, without a length; false: it is none.
  bool base64(std::string_view text);

  void raw(const void* data, size_t n) {
    if (n > static_cast<size_t>(end_ - at_)) {
      overflow_ = true;
      at_ = end_;
      return;
    }
    if (n != 0) std::memcpy(at_, data, n);
    at_ += n;
  }
  void raw_varint(uint64_t v) {
    if (end_ - at_ < 10) {
      slow_varint(v);
      return;
    }
    while (v >= 0x80) {
      *at_++ = static_cast<uint8_t>(v | 0x80);
      v >>= 7;
    }
    *at_++ = static_cast<uint8_t>(v);
  }

  size_t size() const { return static_cast<size_t>(at_ - begin_); }
  // True when something did not fit; what was written is then useless.
  bool overflow() const { return overflow_; }
  base::Bytes written() const { return {begin_, size()}; }

 private:
  void slow_varint(uint64_t v);

  uint8_t* begin_;
  uint8_t* at_;
  uint8_t* end_;
  bool overflow_ = false;
};

constexpr size_t varint_size(uint64_t v) {
  return v == 0 ? 1 : (static_cast<size_t>(std::bit_width(v)) + 6) / 7;
}

}  // namespace tidegate::wire
