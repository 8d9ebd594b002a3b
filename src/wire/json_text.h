// SPDX-License-Identifier: Apache-2.0
// JSON text written front to back into a buffer, and base64 both ways (RFC 4648). Text that is not
// UTF-8 is written with U+FFFD in place of what is wrong, so that what leaves is always JSON.
// Thread: any. Owner: borrows. Limits: the buffer given; see overflow().
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"

namespace tidegate::wire {

class JsonText {
 public:
  explicit JsonText(base::MutableBytes out)
      : begin_(reinterpret_cast<char*>(out.data())), at_(begin_), end_(begin_ + out.size()) {}

  void put(char c) {
    if (at_ == end_) {
      fail();
      return;
    }
    *at_++ = c;
  }
  // As it is.
  void put(std::string_view text) {
    if (text.size() > static_cast<size_t>(end_ - at_)) {
      fail();
      return;
    }
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void string(std::string_view text);  // in quotes, escaped
  void base64(base::Bytes bytes);      // in quotes
  void number(uint64_t v);
  void number(int64_t v);
  void number(float v);  // "NaN", "Infinity" and "-Infinity" as protobuf writes them
  void number(double v);
  void boolean(bool v) { put(v ? std::string_view("true") : std::string_view("false")); }

  size_t size() const { return static_cast<size_t>(at_ - begin_); }
  std::string_view text() const { return {begin_, size()}; }
  base::Bytes bytes() const { return base::as_bytes(text()); }
  // True when something did not fit; what was written is then useless.
  bool overflow() const { return overflow_; }

 private:
  // Nothing fits any more, however short.
  void fail() {
    overflow_ = true;
    end_ = at_;
  }
  template <class T>
  void put_number(T v);

  char* begin_;
  char* at_;
  char* end_;
  bool overflow_ = false;
};

// Characters of base64 with padding.
constexpr size_t base64_size(size_t bytes) { return (bytes + 2) / 3 * 4; }
// Standard or URL-safe alphabet, with or without padding. `out` holds text.size() / 4 * 3 + 3
// bytes. False: not base64.
bool decode_base64(std::string_view text, uint8_t* out, size_t* bytes);

}  // namespace tidegate::wire
