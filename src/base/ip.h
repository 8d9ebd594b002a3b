// SPDX-License-Identifier: Apache-2.0
// IP addresses and networks as bytes: what limits count by and what trust is given to. IPv4 is kept
// mapped into IPv6 (::ffff:a.b.c.d), so that there is one form for everything.
// Thread: any. Owner: values. Limits: no names, no zone ids.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace tidegate::base {

struct IpAddress {
  uint8_t bytes[16] = {};  // all zero: not known

  bool known() const {
    static constexpr uint8_t kZero[16] = {};
    return std::memcmp(bytes, kZero, sizeof bytes) != 0;
  }
  bool is_ipv4() const {
    static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(bytes, kMapped, sizeof kMapped) == 0;
  }
  bool operator==(const IpAddress&) const = default;
};

// The address and how many of its 128 bits count; an IPv4 network of n bits has 96 + n.
struct IpNetwork {
  IpAddress address;
  uint8_t bits = 0;

  bool contains(const IpAddress& other) const {
    const size_t whole = bits / 8;
    if (std::memcmp(address.bytes, other.bytes, whole) != 0) return false;
    if (bits % 8 == 0) return true;
    const int mask = 0xff << (8 - bits % 8) & 0xff;
    return (address.bytes[whole] & mask) == (other.bytes[whole] & mask);
  }
};

// "192.0.2.1" or "2001:db8::1", without brackets. False: it is neither.
[[nodiscard]] bool parse_ip(std::string_view text, IpAddress* out);
// "10.0.0.0/8", "fd00::/8", or an address for itself alone. False also when bits beyond the network
// are set: such a line is more often a slip than meant.
[[nodiscard]] bool parse_network(std::string_view text, IpNetwork* out);

}  // namespace tidegate::base
