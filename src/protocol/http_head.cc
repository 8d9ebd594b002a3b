// SPDX-License-Identifier: Apache-2.0
#include "protocol/http_head.h"

namespace tidegate::protocol::http {

namespace {

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool has_control_char(std::string_view line) {
  for (const char c : line) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return true;
  }
  return false;
}

}  // namespace

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (to_lower(text[i]) != lower[i]) return false;
  }
  return true;
}

bool is_token(std::string_view text) {
  for (const char c : text) {
    if (!is_token_char(c)) return false;
  }
  return !text.empty();
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string_view take_element(std::string_view& list) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view element = trim(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    if (!element.empty()) return element;
  }
  return {};
}

bool list_has(std::string_view list, std::string_view lower) {
  for (;;) {
    const std::string_view element = take_element(list);
    if (element.empty()) return false;
    if (equals_ignoring_case(element, lower)) return true;
  }
}

bool parse_number(std::string_view text, uint32_t max, uint32_t* out) {
  uint64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<uint64_t>(c - '0');
    if (number > max) return false;
  }
  *out = static_cast<uint32_t>(number);
  return !text.empty();
}

LineStatus HeadReader::next_line(std::string_view* line) {
  if (rest_.empty()) return LineStatus::kEnd;
  const size_t lf = rest_.find('\n');
  if (lf == std::string_view::npos || lf == 0 || rest_[lf - 1] != '\r') {
    return LineStatus::kBareLf;
  }
  *line = rest_.substr(0, lf - 1);
  rest_.remove_prefix(lf + 1);
  return has_control_char(*line) ? LineStatus::kControlChar : LineStatus::kLine;
}

LineStatus HeadReader::next_field(std::string_view* name, std::string_view* value) {
  std::string_view line;
  const LineStatus status = next_line(&line);
  // The head must end with an empty line, so running out of lines is an error here.
  if (status == LineStatus::kEnd) return LineStatus::kBareLf;
  if (status != LineStatus::kLine) return status;
  if (line.empty()) return rest_.empty() ? LineStatus::kEnd : LineStatus::kTrailing;
  if (line.front() == ' ' || line.front() == '\t') return LineStatus::kFolded;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return LineStatus::kBadName;
  }
  *name = line.substr(0, colon);
  *value = trim(line.substr(colon + 1));
  return LineStatus::kLine;
}

void TextWriter::put_number(uint32_t number) {
  char digits[10];
  size_t at = sizeof digits;
  do {
    digits[--at] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  put({digits + at, sizeof digits - at});
}

void TextWriter::put_json_string(std::string_view text) {
  put("\"");
  for (const char& c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      const char escaped[2] = {'\\', c};
      put({escaped, 2});
    } else if (byte < 0x20) {
      constexpr char kHex[] = "0123456789abcdef";
      const char escaped[6] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
      put({escaped, 6});
    } else {
      put({&c, 1});
    }
  }
  put("\"");
}

}  // namespace tidegate::protocol::http
