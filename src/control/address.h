// SPDX-License-Identifier: Apache-2.0
// An IP address with a port, as written in the configuration: "127.0.0.1:7400", "[::1]:7400". Names
// are not looked up: what a listener binds to must not depend on a resolver.
// Thread: any. Owner: value type. Limits: no zone ids.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace tidegate::control {

struct Address {
  std::string host;   // the literal without brackets; empty: no address ("" in the file)
  uint16_t port = 0;  // 0: the kernel chooses
  bool ipv6 = false;

  bool is_set() const { return !host.empty(); }
  bool is_loopback() const;
  bool is_any() const;  // 0.0.0.0 or ::
  std::string text() const;
  // An IPv4 address comes mapped (::ffff:a.b.c.d), as the listeners want it.
  sockaddr_in6 to_sockaddr() const;
  bool operator==(const Address&) const = default;
};

// Null on success, else static text of what is wrong and how to write it.
const char* parse_address(std::string_view text, Address* out);

}  // namespace tidegate::control
