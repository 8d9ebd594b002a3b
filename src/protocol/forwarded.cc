// SPDX-License-Identifier: Apache-2.0
#include "protocol/forwarded.h"

#include "protocol/http_head.h"

namespace tidegate::protocol {
namespace {

// An address, perhaps with a port: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1]:80.
bool parse_node(std::string_view text, base::IpAddress* out) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return false;
    return base::parse_ip(text.substr(1, end - 1), out);
  }
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos) {
    text = text.substr(0, colon);
  }
  return base::parse_ip(text, out);
}

// The value of `for` in one element of Forwarded: for=192.0.2.1;proto=https;by=...
std::string_view for_value(std::string_view element) {
  while (!element.empty()) {
    const size_t end = element.find(';');
    const std::string_view pair = http::trim(element.substr(0, end));
    element.remove_prefix(end == std::string_view::npos ? element.size() : end + 1);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    if (!http::equals_ignoring_case(pair.substr(0, equals), "for")) continue;
    std::string_view value = pair.substr(equals + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    return value;
  }
  return {};
}

}  // namespace

bool take_last_forwarded(ForwardedField field, std::string_view* list, base::IpAddress* out) {
  if (field == ForwardedField::kNone) return false;
  const size_t comma = list->rfind(',');
  std::string_view element =
      http::trim(comma == std::string_view::npos ? *list : list->substr(comma + 1));
  *list = comma == std::string_view::npos ? std::string_view{} : list->substr(0, comma);
  if (field == ForwardedField::kForwarded) element = for_value(element);
  return parse_node(element, out);
}

}  // namespace tidegate::protocol
