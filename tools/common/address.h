// SPDX-License-Identifier: Apache-2.0
// "ADDR:PORT" to a socket address and back, for command lines.
// Thread: setup. Owner: none. Limits: numeric addresses only.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace tidegate::tools {

// 127.0.0.1:80 or [::1]:80; IPv4 comes mapped into IPv6. False: not of this form.
inline bool parse_address(std::string_view text, sockaddr_in6* out) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string host(text.substr(0, colon));
  const std::string port(text.substr(colon + 1));
  char* end = nullptr;
  const unsigned long number = std::strtoul(port.c_str(), &end, 10);
  if (port.empty() || *end != '\0' || number > 65535) return false;
  *out = {};
  out->sin6_family = AF_INET6;
  out->sin6_port = htons(static_cast<uint16_t>(number));
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    return inet_pton(AF_INET6, host.c_str(), &out->sin6_addr) == 1;
  }
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) != 1) return false;
  out->sin6_addr.s6_addr[10] = out->sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(&out->sin6_addr.s6_addr[12], &v4, 4);
  return true;
}

inline std::string format_address(const sockaddr_in6& address) {
  char text[INET6_ADDRSTRLEN] = {};
  const std::string port = std::to_string(ntohs(address.sin6_port));
  if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr)) {
    inet_ntop(AF_INET, &address.sin6_addr.s6_addr[12], text, sizeof text);
    return std::string(text) + ':' + port;
  }
  inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
  return '[' + std::string(text) + "]:" + port;
}

}  // namespace tidegate::tools
