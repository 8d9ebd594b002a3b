// SPDX-License-Identifier: Apache-2.0
#include "protocol/accept_key.h"

#include <bit>
#include <cstring>

#include "base/assert.h"
#include "base/bytes.h"

namespace tidegate::protocol {

namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 section 1.3
constexpr size_t kInputBytes = kKeyChars + kGuid.size();
constexpr size_t kBlockBytes = 64;
// 60 bytes leave no room for the end mark and the length, so the padded input is two blocks.
static_assert(kInputBytes == 60);

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// One block of SHA-1 (FIPS 180-4 section 6.1.2).
void sha1_block(const uint8_t* block, uint32_t (&state)[5]) {
  uint32_t schedule[80];
  for (int t = 0; t < 16; ++t) schedule[t] = base::load_be32(block + 4 * t);
  for (int t = 16; t < 80; ++t) {
    schedule[t] =
        std::rotl(schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^ schedule[t - 16], 1);
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (int t = 0; t < 80; ++t) {
    uint32_t f, k;
    if (t < 20) {
      f = (b & c) | (~b & d);
      k = 0x5a827999;
    } else if (t < 40) {
      f = b ^ c ^ d;
      k = 0x6ed9eba1;
    } else if (t < 60) {
      f = (b & c) | (b & d) | (c & d);
      k = 0x8f1bbcdc;
    } else {
      f = b ^ c ^ d;
      k = 0xca62c1d6;
    }
    const uint32_t next = std::rotl(a, 5) + f + e + k + schedule[t];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

// Base64 with padding; writes (size + 2) / 3 * 4 characters.
void encode_base64(const uint8_t* data, size_t size, char* out) {
  for (size_t i = 0; i < size; i += 3, out += 4) {
    const size_t left = size - i;
    const uint32_t group = static_cast<uint32_t>(data[i] << 16) |
                           (left > 1 ? static_cast<uint32_t>(data[i + 1] << 8) : 0u) |
                           (left > 2 ? static_cast<uint32_t>(data[i + 2]) : 0u);
    out[0] = kBase64[group >> 18];
    out[1] = kBase64[group >> 12 & 63];
    out[2] = left > 1 ? kBase64[group >> 6 & 63] : '=';
    out[3] = left > 2 ? kBase64[group & 63] : '=';
  }
}

bool is_base64_char(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

}  // namespace

bool is_websocket_key(std::string_view key) {
  if (key.size() != kKeyChars || key[22] != '=' || key[23] != '=') return false;
  for (const char c : key.substr(0, 22)) {
    if (!is_base64_char(c)) return false;
  }
  return true;
}

void compute_accept_key(std::string_view key, char (&out)[kAcceptKeyChars]) {
  TG_ASSERT(key.size() == kKeyChars);
  uint8_t input[2 * kBlockBytes] = {};
  std::memcpy(input, key.data(), kKeyChars);
  std::memcpy(input + kKeyChars, kGuid.data(), kGuid.size());
  input[kInputBytes] = 0x80;
  base::store_be64(input + sizeof input - 8, kInputBytes * 8);
  uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  sha1_block(input, state);
  sha1_block(input + kBlockBytes, state);
  uint8_t digest[20];
  for (int i = 0; i < 5; ++i) base::store_be32(digest + 4 * i, state[i]);
  encode_base64(digest, sizeof digest, out);
}

void encode_websocket_key(const uint8_t (&nonce)[16], char (&out)[kKeyChars]) {
  encode_base64(nonce, sizeof nonce, out);
}

}  // namespace tidegate::protocol
