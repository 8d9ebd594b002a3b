// SPDX-License-Identifier: Apache-2.0
// Writes JSON into a string, commas and escapes included. It does not check that the calls nest as
// JSON must, beyond asserts on the depth.
// Thread: any. Owner: the caller. Limits: kDepthMax levels; text must be UTF-8 (bytes that are not
// are replaced by U+FFFD, so the output always is).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tidegate::control {

class JsonWriter {
 public:
  static constexpr uint32_t kDepthMax = 32;

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);

  JsonWriter& text(std::string_view value);
  JsonWriter& integer(int64_t value);
  JsonWriter& unsigned_integer(uint64_t value);
  // Shortest text that reads back the same; null when not finite.
  JsonWriter& number(double value);
  JsonWriter& number(float value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  // `json` is a whole value already.
  JsonWriter& raw(std::string_view json);

  std::string take() { return std::move(out_); }
  const std::string& view() const { return out_; }

 private:
  void before_value();

  std::string out_;
  uint64_t has_members_ = 0;  // bit for each level: a comma is due
  uint32_t depth_ = 0;
  bool after_key_ = false;
};

// Appends `text` as a JSON string with quotes.
void append_json_string(std::string& out, std::string_view text);

// UTF-8 without control characters.
bool is_plain_text(std::string_view text);

}  // namespace tidegate::control
