// SPDX-License-Identifier: Apache-2.0
#include "control/json_writer.h"

#include <charconv>
#include <cmath>

#include "base/assert.h"

namespace tidegate::control {
namespace {

// Length of the UTF-8 sequence at the front, 0 when there is none.
size_t sequence_length(std::string_view s) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char b = at(0);
  size_t n = b < 0x80                 ? 1
             : b >= 0xc2 && b <= 0xdf ? 2
             : b >= 0xe0 && b <= 0xef ? 3
             : b >= 0xf0 && b <= 0xf4 ? 4
                                      : 0;
  if (n == 0 || s.size() < n) return 0;
  for (size_t i = 1; i < n; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if ((b == 0xe0 && at(1) < 0xa0) || (b == 0xed && at(1) > 0x9f) || (b == 0xf0 && at(1) < 0x90) ||
      (b == 0xf4 && at(1) > 0x8f)) {
    return 0;
  }
  return n;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    const size_t n = sequence_length(text);
    const char c = text[0];
    if (n == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += "\\u00";
      out += kHex[c >> 4 & 15];
      out += kHex[c & 15];
    } else {
      out.append(text.substr(0, n));
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  out += '"';
}

bool is_plain_text(std::string_view text) {
  while (!text.empty()) {
    const size_t n = sequence_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (n == 0 || first < 0x20 || first == 0x7f) return false;
    if (n == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) return false;
    text.remove_prefix(n);
  }
  return true;
}

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (has_members_ >> depth_ & 1) out_ += ',';
  has_members_ |= uint64_t{1} << depth_;
}

JsonWriter& JsonWriter::begin_object() {
  before_value();
  TG_ASSERT(depth_ + 1 < kDepthMax);
  out_ += '{';
  ++depth_;
  has_members_ &= ~(uint64_t{1} << depth_);
  return *this;
}
JsonWriter& JsonWriter::end_object() {
  TG_ASSERT(depth_ > 0);
  --depth_;
  out_ += '}';
  return *this;
}
JsonWriter& JsonWriter::begin_array() {
  before_value();
  TG_ASSERT(depth_ + 1 < kDepthMax);
  out_ += '[';
  ++depth_;
  has_members_ &= ~(uint64_t{1} << depth_);
  return *this;
}
JsonWriter& JsonWriter::end_array() {
  TG_ASSERT(depth_ > 0);
  --depth_;
  out_ += ']';
  return *this;
}
JsonWriter& JsonWriter::key(std::string_view name) {
  before_value();
  append_json_string(out_, name);
  out_ += ':';
  after_key_ = true;
  return *this;
}
JsonWriter& JsonWriter::text(std::string_view value) {
  before_value();
  append_json_string(out_, value);
  return *this;
}
JsonWriter& JsonWriter::integer(int64_t value) {
  before_value();
  out_ += std::to_string(value);
  return *this;
}
JsonWriter& JsonWriter::unsigned_integer(uint64_t value) {
  before_value();
  out_ += std::to_string(value);
  return *this;
}
JsonWriter& JsonWriter::number(double value) {
  if (!std::isfinite(value)) return null();
  before_value();
  char text[32];
  const auto r = std::to_chars(text, text + sizeof text, value);
  out_.append(text, r.ptr);
  return *this;
}
JsonWriter& JsonWriter::number(float value) {
  if (!std::isfinite(value)) return null();
  before_value();
  char text[32];
  const auto r = std::to_chars(text, text + sizeof text, value);
  out_.append(text, r.ptr);
  return *this;
}
JsonWriter& JsonWriter::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
  return *this;
}
JsonWriter& JsonWriter::null() {
  before_value();
  out_ += "null";
  return *this;
}
JsonWriter& JsonWriter::raw(std::string_view json) {
  before_value();
  out_ += json;
  return *this;
}

}  // namespace tidegate::control
