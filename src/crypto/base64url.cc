// SPDX-License-Identifier: Apache-2.0
#include "crypto/base64url.h"

#include <array>

namespace tidegate::crypto {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<uint8_t, 256> make_values() {
  std::array<uint8_t, 256> values{};
  for (uint8_t& v : values) v = 0xff;
  for (uint8_t i = 0; i < 64; ++i) values[static_cast<uint8_t>(kAlphabet[i])] = i;
  return values;
}
constexpr std::array<uint8_t, 256> kValues = make_values();

}  // namespace

size_t decode_base64url(std::string_view text, base::MutableBytes out) {
  const size_t size = base64url_decoded_size(text.size());
  if (text.size() % 4 == 1 || out.size() < size) return kBase64Invalid;
  size_t written = 0;
  uint32_t bits = 0;
  uint32_t count = 0;
  uint8_t bad = 0;
  for (char c : text) {
    const uint8_t v = kValues[static_cast<uint8_t>(c)];
    bad |= v & 0xc0;
    bits = bits << 6 | (v & 0x3f);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out[written++] = static_cast<uint8_t>(bits >> count);
    }
  }
  if (bad != 0 || (bits & ((1u << count) - 1)) != 0) return kBase64Invalid;
  return written;
}

std::string encode_base64url(base::Bytes bytes) {
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  uint32_t count = 0;
  for (uint8_t b : bytes) {
    bits = bits << 8 | b;
    count += 8;
    while (count >= 6) {
      count -= 6;
      out += kAlphabet[bits >> count & 0x3f];
    }
  }
  if (count != 0) out += kAlphabet[bits << (6 - count) & 0x3f];
  return out;
}

}  // namespace tidegate::crypto
