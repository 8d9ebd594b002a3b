// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include <arpa/inet.h>

namespace tidegate::base {

bool parse_ip(std::string_view text, IpAddress* out) {
  char copy[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof copy) return false;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  if (std::strlen(copy) != text.size()) return false;  // a NUL inside
  IpAddress address;
  if (inet_pton(AF_INET6, copy, address.bytes) != 1) {
    if (inet_pton(AF_INET, copy, address.bytes + 12) != 1) return false;
    std::memset(address.bytes, 0, 10);
    address.bytes[10] = address.bytes[11] = 0xff;
  }
  *out = address;
  return true;
}

bool parse_network(std::string_view text, IpNetwork* out) {
  const size_t slash = text.find('/');
  IpNetwork network;
  if (!parse_ip(text.substr(0, slash), &network.address)) return false;
  const bool ipv4 = text.substr(0, slash).find(':') == std::string_view::npos;
  network.bits = 128;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    if (digits.empty() || digits.size() > 3) return false;
    unsigned bits = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9') return false;
      bits = bits * 10 + static_cast<unsigned>(c - '0');
    }
    if (bits > (ipv4 ? 32u : 128u)) return false;
    network.bits = static_cast<uint8_t>(ipv4 ? 96 + bits : bits);
  }
  for (size_t bit = network.bits; bit < 128; ++bit) {
    if (network.address.bytes[bit / 8] >> (7 - bit % 8) & 1) return false;
  }
  *out = network;
  return true;
}

}  // namespace tidegate::base
