// SPDX-License-Identifier: Apache-2.0
// Bit streams, least significant bit first, with exp-Golomb codes of order k (Teuhola 1978): n +
// 2^k in binary behind as many zeros as it has bits more than k + 1. Both ends never pass their
// buffer. Thread: any. Owner: borrows. Limits: values of 32 bits, k up to 16.
#pragma once

#include <bit>
#include <cstdint>

#include "base/bytes.h"

namespace tidegate::wire {

constexpr uint32_t zigzag(int32_t v) {
  return static_cast<uint32_t>(v) << 1 ^ static_cast<uint32_t>(v >> 31);
}
constexpr int32_t unzigzag(uint32_t v) { return static_cast<int32_t>(v >> 1 ^ (0u - (v & 1))); }

class BitWriter {
 public:
  explicit BitWriter(base::MutableBytes out)
      : begin_(out.data()), at_(out.data()), end_(out.data() + out.size()) {}

  // The low `count` bits of v; count 0..32, the bits above must be zero.
  void bits(uint32_t v, uint32_t count) {
    pending_ |= uint64_t{v} << filled_;
    filled_ += count;
    if (filled_ >= 32) spill();
  }
  void bit(bool v) { bits(v ? 1 : 0, 1); }
  void golomb(uint32_t v, uint32_t k) {
    const uint64_t n = uint64_t{v} + (uint64_t{1} << k);
    const uint32_t width = static_cast<uint32_t>(std::bit_width(n));  // k + 1 .. 33
    bits(0, width - k - 1);
    // The leading one goes first, so that the reader can count the zeros in front of it.
    bits(1, 1);
    const uint64_t rest = n - (uint64_t{1} << (width - 1));
    bits(static_cast<uint32_t>(rest), width - 1);
  }
  void golomb_signed(int32_t v, uint32_t k) { golomb(zigzag(v), k); }
  static uint32_t golomb_bits(uint32_t v, uint32_t k) {
    return 2 * static_cast<uint32_t>(std::bit_width(uint64_t{v} + (uint64_t{1} << k))) - k - 1;
  }

  // Fills the last byte with zeros; returns the bytes written, 0 when they did not fit.
  size_t finish() {
    while (filled_ > 0 && !overflow_) {
      put(static_cast<uint8_t>(pending_));
      pending_ >>= 8;
      filled_ = filled_ > 8 ? filled_ - 8 : 0;
    }
    return overflow_ ? 0 : static_cast<size_t>(at_ - begin_);
  }
  bool overflow() const { return overflow_; }

 private:
  void put(uint8_t b) {
    if (at_ == end_) {
      overflow_ = true;
      return;
    }
    *at_++ = b;
  }
  void spill() {
    if (end_ - at_ < 4) {
      overflow_ = true;
    } else {
      base::store_le<uint32_t>(at_, static_cast<uint32_t>(pending_));
      at_ += 4;
    }
    pending_ >>= 32;
    filled_ -= 32;
  }

  uint8_t* begin_;
  uint8_t* at_;
  uint8_t* end_;
  uint64_t pending_ = 0;
  uint32_t filled_ = 0;
  bool overflow_ = false;
};

class BitReader {
 public:
  explicit BitReader(base::Bytes bytes)
      : begin_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  uint32_t bits(uint32_t count) {
    if (count == 0) return 0;
    if (filled_ < count) refill();
    if (filled_ < count) {
      failed_ = true;
      return 0;
    }
    const uint32_t v = static_cast<uint32_t>(pending_ & ((uint64_t{1} << count) - 1));
    pending_ >>= count;
    filled_ -= count;
    return v;
  }
  bool bit() { return bits(1) != 0; }
  uint32_t golomb(uint32_t k) {
    uint32_t zeros = 0;
    while (!failed_ && bits(1) == 0) {
      if (++zeros > 32 - k) failed_ = true;
    }
    if (failed_) return 0;
    const uint32_t width = zeros + k;
    // 33 bits at most: the highest possible value is 2^32 - 1.
    const uint64_t n = (uint64_t{1} << width) + bits(width);
    const uint64_t v = n - (uint64_t{1} << k);
    if (v > UINT32_MAX) failed_ = true;
    return failed_ ? 0 : static_cast<uint32_t>(v);
  }
  int32_t golomb_signed(uint32_t k) { return unzigzag(golomb(k)); }

  // Bits read so far.
  uint64_t position() const { return static_cast<uint64_t>(at_ - begin_) * 8 - filled_; }
  // True once something was read past the end; values are then 0.
  bool failed() const { return failed_; }
  // Whether only the zero bits that fill the last byte are left.
  bool at_end() {
    if (failed_ || end_ != at_ || filled_ >= 8) return false;
    return pending_ == 0;
  }

 private:
  void refill() {
    while (filled_ <= 56 && at_ != end_) {
      pending_ |= uint64_t{*at_++} << filled_;
      filled_ += 8;
    }
  }

  const uint8_t* begin_;
  const uint8_t* at_;
  const uint8_t* end_;
  uint64_t pending_ = 0;
  uint32_t filled_ = 0;
  bool failed_ = false;
};

}  // namespace tidegate::wire
