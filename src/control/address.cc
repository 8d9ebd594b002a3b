// SPDX-License-Identifier: Apache-2.0
#include "control/address.h"

#include <arpa/inet.h>

#include <cstring>

namespace tidegate::control {

bool Address::is_loopback() const { return ipv6 ? host == "::1" : host.rfind("127.", 0) == 0; }

bool Address::is_any() const { return ipv6 ? host == "::" : host == "0.0.0.0"; }

std::string Address::text() const {
  if (!is_set()) return {};
  return (ipv6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

sockaddr_in6 Address::to_sockaddr() const {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  if (ipv6) {
    inet_pton(AF_INET6, host.c_str(), &out.sin6_addr);
    return out;
  }
  in_addr v4{};
  inet_pton(AF_INET, host.c_str(), &v4);
  out.sin6_addr.s6_addr[10] = out.sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(&out.sin6_addr.s6_addr[12], &v4, 4);
  return out;
}

const char* parse_address(std::string_view text, Address* out) {
  if (text.find('\0') != std::string_view::npos) return "not an IP address";
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return "a port is missing; write ADDRESS:PORT, as in 127.0.0.1:7400";
  if (colon == 0) {
    return "an address is missing; write 127.0.0.1:PORT for this machine only, 0.0.0.0:PORT for "
           "all";
  }
  Address a;
  uint32_t port = 0;
  const std::string_view digits = text.substr(colon + 1);
  if (digits.empty() || digits.size() > 5) return "the port is not a number from 0 to 65535";
  for (char c : digits) {
    if (c < '0' || c > '9') return "the port is not a number from 0 to 65535";
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  if (port > 65535) return "the port is not a number from 0 to 65535";
  a.port = static_cast<uint16_t>(port);
  a.host = text.substr(0, colon);
  if (a.host.front() == '[') {
    if (a.host.back() != ']') return "an IPv6 address is written in brackets, as in [::1]:7400";
    a.host = a.host.substr(1, a.host.size() - 2);
    a.ipv6 = true;
    in6_addr v6;
    if (inet_pton(AF_INET6, a.host.c_str(), &v6) != 1) return "not an IPv6 address";
  } else {
    in_addr v4;
    if (a.host.find(':') != std::string::npos) {
      return "an IPv6 address is written in brackets, as in [::1]:7400";
    }
    if (inet_pton(AF_INET, a.host.c_str(), &v4) != 1) {
      return "not an IP address; names are not looked up, write the address itself";
    }
  }
  // In its one canonical spelling: 0:0::1 is the loopback address too.
  char canonical[INET6_ADDRSTRLEN];
  if (a.ipv6) {
    in6_addr v6;
    inet_pton(AF_INET6, a.host.c_str(), &v6);
    a.host = inet_ntop(AF_INET6, &v6, canonical, sizeof canonical);
  }
  *out = std::move(a);
  return nullptr;
}

}  // namespace tidegate::control
