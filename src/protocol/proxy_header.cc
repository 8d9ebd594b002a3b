// SPDX-License-Identifier: Apache-2.0
#include "protocol/proxy_header.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tidegate::protocol {
namespace {

constexpr uint8_t kSignature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                    0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr size_t kFixedBytes = 16;  // signature, version and command, family, length
constexpr uint8_t kTlvCrc32c = 0x03;

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

// Walks the additional fields behind the addresses.
ProxyStatus check_fields(base::Bytes header, size_t at) {
  while (at < header.size()) {
    if (header.size() - at < 3) return ProxyStatus::kMalformed;
    const size_t size = base::load_be16(header.data() + at + 1);
    const size_t value = at + 3;
    if (header.size() - value < size) return ProxyStatus::kMalformed;
    if (header[at] == kTlvCrc32c) {
      if (size != 4) return ProxyStatus::kMalformed;
      // Over the whole header with these four bytes as zero.
      static constexpr uint8_t kZero[4] = {};
      uint32_t crc = crc32c(header.first(value));
      crc = crc32c(kZero, crc);
      crc = crc32c(header.subspan(value + 4), crc);
      if (crc != base::load_be32(header.data() + value)) return ProxyStatus::kBadChecksum;
    }
    at = value + size;
  }
  return ProxyStatus::kOk;
}

}  // namespace

const char* describe(ProxyStatus status) {
  switch (status) {
    case ProxyStatus::kOk:
      return "ok";
    case ProxyStatus::kNeedMore:
      return "the PROXY header is not whole";
    case ProxyStatus::kNoHeader:
      return "the connection does not begin with a PROXY protocol version 2 header";
    case ProxyStatus::kUnsupported:
      return "the PROXY header has a version, command or transport that is not served";
    case ProxyStatus::kMalformed:
      return "the lengths in the PROXY header do not add up";
    case ProxyStatus::kTooLarge:
      return "the PROXY header is larger than 4096 bytes";
    case ProxyStatus::kBadChecksum:
      return "the checksum of the PROXY header is wrong";
  }
  return "?";
}

uint32_t crc32c(base::Bytes bytes, uint32_t crc) {
  crc = ~crc;
  for (const uint8_t byte : bytes) crc = kTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  return ~crc;
}

ProxyStatus parse_proxy_header(base::Bytes input, ProxyHeader* out) {
  const size_t signed_bytes = std::min(input.size(), sizeof kSignature);
  if (std::memcmp(input.data(), kSignature, signed_bytes) != 0) return ProxyStatus::kNoHeader;
  if (input.size() < kFixedBytes) return ProxyStatus::kNeedMore;
  const uint8_t version = input[12] >> 4;
  const uint8_t command = input[12] & 0x0f;
  const uint8_t family = input[13] >> 4;
  const uint8_t transport = input[13] & 0x0f;
  // A command or family that is assigned later must not be taken for one of today's.
  if (version != 2 || command > 1 || family > 3 || transport > 2) return ProxyStatus::kUnsupported;
  const size_t whole = kFixedBytes + base::load_be16(input.data() + 14);
  if (whole > kProxyHeaderMax) return ProxyStatus::kTooLarge;
  if (input.size() < whole) return ProxyStatus::kNeedMore;
  const base::Bytes header = input.first(whole);
  ProxyHeader result;
  result.bytes = whole;
  size_t addresses = 0;
  if (family == 1 || family == 2) {
    const size_t width = family == 1 ? 4 : 16;
    addresses = 2 * width + 4;
    if (whole - kFixedBytes < addresses) return ProxyStatus::kMalformed;
    // LOCAL is the proxy's own connection, whatever stands in the addresses; datagrams are none of
    // ours.
    if (command == 1) {
      if (transport != 1) return ProxyStatus::kUnsupported;
      result.has_address = true;
      uint8_t* to = result.source.bytes;
      if (family == 1) {
        to[10] = to[11] = 0xff;
        to += 12;
      }
      std::memcpy(to, header.data() + kFixedBytes, width);
      result.source_port = base::load_be16(header.data() + kFixedBytes + 2 * width);
    }
  } else if (family == 3) {  // UNIX paths: nothing that limits could count by
    addresses = 216;
    if (whole - kFixedBytes < addresses) return ProxyStatus::kMalformed;
  } else if (command == 1 && transport != 0) {
    return ProxyStatus::kUnsupported;
  } else {
    // Unspecified: the receiver skips what follows, which need not be fields at all.
    *out = result;
    return ProxyStatus::kOk;
  }
  const ProxyStatus status = check_fields(header, kFixedBytes + addresses);
  if (status == ProxyStatus::kOk) *out = result;
  return status;
}

}  // namespace tidegate::protocol
