// SPDX-License-Identifier: Apache-2.0
// The parts of HTTP/1.1 heads (RFC 9112) that the server's and the client's half share: strict
// lines, fields, comma lists, and a bounded text writer. Used by http_upgrade.cc and
// http_connect.cc only.
// Thread: any. Owner: borrows. Limits: none of its own, the head's size is bounded by the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"

namespace tidegate::protocol::http {

// ASCII case-insensitive equality; `lower` is lower-case already.
bool equals_ignoring_case(std::string_view text, std::string_view lower);

// True when `text` is a non-empty token (RFC 9110 section 5.6.2).
bool is_token(std::string_view text);

// Strips spaces and tabs at both ends.
std::string_view trim(std::string_view text);

// Takes the next element off a comma list, skipping empty ones; empty when the list is done.
std::string_view take_element(std::string_view& list);

// True when the comma list has the element, ignoring case.
bool list_has(std::string_view list, std::string_view lower);

// Decimal digits only, at most `max`. False otherwise.
bool parse_number(std::string_view text, uint32_t max, uint32_t* out);

enum class LineStatus : uint8_t {
  kLine,
  kEnd,          // nothing left
  kBareLf,       // LF without CR, or no line end at all
  kControlChar,  // NUL, a lone CR or another control character in a line
  kFolded,       // obs-fold: the line begins with a space or tab
  kBadName,      // field name empty, not a token, or space before the colon
  kTrailing,     // bytes behind the empty line
};

// Reads a head line by line; after an error it must not be used further.
class HeadReader {
 public:
  explicit HeadReader(std::string_view head) : rest_(head) {}

  // The request or status line.
  LineStatus next_line(std::string_view* line);
  // The next field; kEnd at the empty line that ends the head.
  LineStatus next_field(std::string_view* name, std::string_view* value);

 private:
  std::string_view rest_;
};

// Appends text to a fixed span; counts what it would have needed.
class TextWriter {
 public:
  explicit TextWriter(base::MutableBytes out) : out_(out) {}

  void put(std::string_view text) {
    if (text.size() <= out_.size() && used_ <= out_.size() - text.size() && !text.empty()) {
      std::memcpy(out_.data() + used_, text.data(), text.size());
    }
    used_ += text.size();
  }
  void put_number(uint32_t number);
  // With quotes and escapes.
  void put_json_string(std::string_view text);

  size_t needed() const { return used_; }
  // Bytes written, 0 when they did not fit.
  size_t finish() const { return used_ <= out_.size() ? used_ : 0; }

 private:
  base::MutableBytes out_;
  size_t used_ = 0;
};

}  // namespace tidegate::protocol::http
