// SPDX-License-Identifier: Apache-2.0
#include "wire/json_text.h"

#include <array>
#include <charconv>
#include <cmath>

#include "wire/envelope.h"

namespace tidegate::wire {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> make_digits() {
  std::array<uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  for (uint8_t i = 0; i < 64; ++i) digits[static_cast<uint8_t>(kAlphabet[i])] = i;
  digits['-'] = 62;
  digits['_'] = 63;
  return digits;
}
constexpr std::array<uint8_t, 256> kDigits = make_digits();

// What may stand in a JSON string as it is. DEL and everything above may.
constexpr bool is_plain(uint8_t c) { return c >= 0x20 && c != '"' && c != '\\'; }

// Bytes of the UTF-8 sequence at the front; 0: it is none.
size_t sequence_size(std::string_view text) {
  for (size_t n = 1; n <= 4 && n <= text.size(); ++n) {
    if (is_utf8(text.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

void JsonText::string(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  const bool valid = is_utf8(text);
  put('"');
  size_t done = 0;
  size_t i = 0;
  while (i < text.size()) {
    const uint8_t c = static_cast<uint8_t>(text[i]);
    if (is_plain(c) && (valid || c < 0x80)) {
      ++i;
      continue;
    }
    if (c >= 0x80) {
      if (const size_t n = sequence_size(text.substr(i)); n != 0) {
        i += n;
        continue;
      }
    }
    put(text.substr(done, i - done));
    switch (c) {
      case '"':
        put("\\\"");
        break;
      case '\\':
        put("\\\\");
        break;
      case '\n':
        put("\\n");
        break;
      case '\r':
        put("\\r");
        break;
      case '\t':
        put("\\t");
        break;
      default:
        if (c >= 0x80) {
          put("\xef\xbf\xbd");
        } else {
          const char escape[] = {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
          put({escape, sizeof escape});
        }
    }
    done = ++i;
  }
  put(text.substr(done));
  put('"');
}

void JsonText::base64(base::Bytes bytes) {
  const size_t size = base64_size(bytes.size());
  if (size + 2 > static_cast<size_t>(end_ - at_)) {
    fail();
    return;
  }
  *at_++ = '"';
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t v = uint32_t{bytes[i]} << 16 | uint32_t{bytes[i + 1]} << 8 | bytes[i + 2];
    *at_++ = kAlphabet[v >> 18];
    *at_++ = kAlphabet[v >> 12 & 63];
    *at_++ = kAlphabet[v >> 6 & 63];
    *at_++ = kAlphabet[v & 63];
  }
  if (const size_t rest = bytes.size() - i; rest != 0) {
    const uint32_t v = uint32_t{bytes[i]} << 16 | (rest == 2 ? uint32_t{bytes[i + 1]} << 8 : 0);
    *at_++ = kAlphabet[v >> 18];
    *at_++ = kAlphabet[v >> 12 & 63];
    *at_++ = rest == 2 ? kAlphabet[v >> 6 & 63] : '=';
    *at_++ = '=';
  }
  *at_++ = '"';
}

template <class T>
void JsonText::put_number(T v) {
  const auto [end, error] = std::to_chars(at_, end_, v);
  if (error != std::errc()) {
    fail();
    return;
  }
  at_ = end;
}

void JsonText::number(uint64_t v) { put_number(v); }
void JsonText::number(int64_t v) { put_number(v); }
void JsonText::number(double v) { put_number(v); }
void JsonText::number(float v) {
  if (std::isfinite(v)) {
    put_number(v);
    if (v == 0 && std::signbit(v)) put(".0");  // "-0" is an integer, which has no sign
  } else {
    put(std::isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  }
}

bool decode_base64(std::string_view text, uint8_t* out, size_t* bytes) {
  size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
  }
  const size_t rest = text.size() % 4;
  if (rest == 1 || (padding != 0 && rest + padding != 4)) return false;
  uint8_t* const start = out;
  uint32_t bits = 0;
  uint32_t have = 0;
  for (const char c : text) {
    const uint8_t digit = kDigits[static_cast<uint8_t>(c)];
    if (digit == kNoDigit) return false;
    bits = bits << 6 | digit;
    have += 6;
    if (have >= 8) {
      have -= 8;
      *out++ = static_cast<uint8_t>(bits >> have);
      bits &= (1u << have) - 1;
    }
  }
  if (bits != 0) return false;  // of the last digit, which no encoder leaves behind
  *bytes = static_cast<size_t>(out - start);
  return true;
}

}  // namespace tidegate::wire
