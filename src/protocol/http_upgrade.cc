// SPDX-License-Identifier: Apache-2.0
#include "protocol/http_upgrade.h"

#include <algorithm>

#include "protocol/http_head.h"
#include "protocol/http_request.h"

namespace tidegate::protocol {

using base::Bytes;
using base::MutableBytes;
using http::LineStatus;

namespace {

UpgradeError malformed(std::string_view message) { return {400, "malformed_upgrade", message}; }
constexpr UpgradeError kFine{};

UpgradeError malformed_line(LineStatus status) {
  switch (status) {
    case LineStatus::kBareLf:
      return malformed("A line does not end with CR LF. End every line of the head with CR LF.");
    case LineStatus::kControlChar:
      return malformed("The head contains a control character. Remove it.");
    case LineStatus::kFolded:
      return malformed("A header field is folded over two lines. Send it in one line.");
    case LineStatus::kTrailing:
      return malformed("Bytes follow the head before the upgrade was answered. Wait for the 101.");
    default:
      return malformed("A header line is not 'Name: value'. Check names and colons.");
  }
}

// The fields that are looked at while reading; checked together when the head is whole, so that
// the order of fields does not change the answer.
struct Fields {
  bool has_host = false;
  bool has_key = false;
  bool has_version = false;
  bool has_authorization = false;
  bool has_origin = false;
  bool upgrades_to_websocket = false;  // Upgrade lists websocket
  bool connection_upgrades = false;    // Connection lists upgrade
  std::string_view version;
};

// Takes the value of a field that may stand in a head once only.
UpgradeError take_single(bool& seen, std::string_view value, std::string_view& out,
                         std::string_view message) {
  if (seen) return malformed(message);
  seen = true;
  out = value;
  return kFine;
}

UpgradeError parse_request_line(std::string_view line, UpgradeRequest& out) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return malformed("The request line is not 'GET <path> HTTP/1.1'.");
  }
  if (line.substr(0, first) != "GET") {
    return malformed("The method must be GET to open a WebSocket.");
  }
  if (line.substr(last + 1) != "HTTP/1.1") {
    return malformed("The HTTP version must be HTTP/1.1 to open a WebSocket.");
  }
  if (!http::split_target(line.substr(first + 1, last - first - 1), &out.path, &out.query)) {
    return malformed("The request target must be a path of printable characters without '#'.");
  }
  return kFine;
}

// False: it is no list of tokens.
bool choose_subprotocol(std::string_view offered, const UpgradeRules& rules, UpgradeRequest& out) {
  for (bool first = true;; first = false) {
    const std::string_view name = http::take_element(offered);
    if (name.empty()) return !first;
    if (!http::is_token(name)) return false;
    out.offered_subprotocols = true;
    const size_t known = std::min<size_t>(rules.subprotocols.size(), out.subprotocol);
    for (size_t i = 0; i < known; ++i) {
      if (rules.subprotocols[i] == name) {
        out.subprotocol = static_cast<uint8_t>(i);
        break;
      }
    }
  }
}

UpgradeError take_field(std::string_view name, std::string_view value, const UpgradeRules& rules,
                        Fields& fields, UpgradeRequest& out) {
  const auto is = [name](std::string_view lower) {
    return http::equals_ignoring_case(name, lower);
  };
  if (is("host")) {
    return take_single(fields.has_host, value, out.host,
                       "The Host header appears more than once. Send it once.");
  }
  if (is("sec-websocket-key")) {
    return take_single(fields.has_key, value, out.key,
                       "The Sec-WebSocket-Key header appears more than once. Send it once.");
  }
  if (is("sec-websocket-version")) {
    return take_single(fields.has_version, value, fields.version,
                       "The Sec-WebSocket-Version header appears more than once. Send it once.");
  }
  if (is("origin")) {
    return take_single(fields.has_origin, value, out.origin,
                       "The Origin header appears more than once. Send it once.");
  }
  if (is("authorization")) {
    std::string_view credentials;
    const UpgradeError error =
        take_single(fields.has_authorization, value, credentials,
                    "The Authorization header appears more than once. Send it once.");
    if (error.status == 0) out.bearer = http::bearer_of(credentials);
    return error;
  }
  if (is("upgrade")) {
    fields.upgrades_to_websocket |= http::list_has(value, "websocket");
  } else if (is("connection")) {
    fields.connection_upgrades |= http::list_has(value, "upgrade");
  } else if (is("sec-websocket-protocol")) {
    if (!choose_subprotocol(value, rules, out)) {
      return malformed("The Sec-WebSocket-Protocol header is not a list of names.");
    }
  } else if (is("sec-websocket-extensions")) {
    if (!out.extensions.take(value, rules.deflate)) {
      return malformed(
          "The Sec-WebSocket-Extensions header is not a list of 'name; parameter=value'.");
    }
  } else if (is("cookie")) {
    if (out.cookie_token.empty()) out.cookie_token = http::find_auth_cookie(value);
  } else if (is("x-forwarded-for")) {
    out.forwarded_for = value;
  } else if (is("forwarded")) {
    out.forwarded = value;
  } else if (is("content-length")) {
    if (value != "0") {
      return malformed("An upgrade request must not have a body. Remove Content-Length.");
    }
  } else if (is("transfer-encoding")) {
    return malformed("An upgrade request must not have a body. Remove Transfer-Encoding.");
  }
  return kFine;
}

UpgradeError check_fields(const Fields& fields, const UpgradeRequest& request) {
  if (request.host.empty()) {
    return malformed("The Host header is missing or empty. Send 'Host: <name>'.");
  }
  if (!http::is_host(request.host)) {
    return malformed("The Host header is not a name or address with a port.");
  }
  if (!fields.upgrades_to_websocket) {
    return malformed("The Upgrade header does not ask for websocket. Send 'Upgrade: websocket'.");
  }
  if (!fields.connection_upgrades) {
    return malformed(
        "The Connection header does not list Upgrade. Send 'Connection: Upgrade'; a proxy on the "
        "way must pass it on.");
  }
  if (!fields.has_version) {
    return malformed("The Sec-WebSocket-Version header is missing. Send version 13.");
  }
  if (fields.version != "13") {
    return {426, "unsupported_version",
            "This WebSocket version is not spoken. Send 'Sec-WebSocket-Version: 13'."};
  }
  if (!is_websocket_key(request.key)) {
    return malformed(
        "The Sec-WebSocket-Key header is missing or not 16 bytes in base64. Send 24 characters "
        "that end with '=='.");
  }
  return kFine;
}

}  // namespace

size_t find_head_end(Bytes input, size_t searched) {
  if (input.empty()) return 0;
  const uint8_t first = input[0] | 0x20;
  if (first < 'a' || first > 'z') return input.size();
  // An end may be split over the old border by at most "LF CR" before it.
  size_t at = searched > 2 ? searched - 2 : 0;
  while (at < input.size()) {
    const void* const found = std::memchr(input.data() + at, '\n', input.size() - at);
    if (found == nullptr) return 0;
    at = static_cast<size_t>(static_cast<const uint8_t*>(found) - input.data()) + 1;
    size_t next = at;
    if (next < input.size() && input[next] == '\r') ++next;
    if (next < input.size() && input[next] == '\n') return next + 1;
  }
  return 0;
}

UpgradeError parse_upgrade(Bytes head, const UpgradeRules& rules, UpgradeRequest& out) {
  http::HeadReader reader(base::as_text(head));
  std::string_view line;
  LineStatus status = reader.next_line(&line);
  if (status != LineStatus::kLine) return malformed_line(status);
  UpgradeError error = parse_request_line(line, out);
  if (error.status != 0) return error;

  Fields fields;
  std::string_view name, value;
  while ((status = reader.next_field(&name, &value)) == LineStatus::kLine) {
    error = take_field(name, value, rules, fields, out);
    if (error.status != 0) return error;
  }
  if (status != LineStatus::kEnd) return malformed_line(status);
  if (!rules.path.empty() && out.path != rules.path) {
    return {404, "not_found",
            "Nothing is served at this path. The WebSocket is at /ws by default."};
  }
  error = check_fields(fields, out);
  if (error.status != 0) return error;

  return out.take_query();
}

UpgradeError head_too_large() {
  return {431, "head_too_large",
          "The request head is larger than the limit. Send fewer headers "
          "or smaller cookies."};
}

UpgradeError handshake_too_slow() {
  return {408, "handshake_too_slow",
          "The request head did not arrive in time. Send it at once "
          "after connecting."};
}

namespace {

void put_error_body(http::TextWriter& writer, std::string_view code, std::string_view message) {
  writer.put("{\"error\": ");
  writer.put_json_string(code);
  writer.put(", \"message\": ");
  writer.put_json_string(message);
  writer.put("}");
}

}  // namespace

size_t write_switching_protocols(MutableBytes out, std::string_view accept_key,
                                 std::string_view subprotocol, std::string_view extensions) {
  http::TextWriter writer(out);
  writer.put(
      "HTTP/1.1 101 Switching Protocols\r\n"
      "Upgrade: websocket\r\n"
      "Connection: Upgrade\r\n"
      "Sec-WebSocket-Accept: ");
  writer.put(accept_key);
  if (!subprotocol.empty()) {
    writer.put("\r\nSec-WebSocket-Protocol: ");
    writer.put(subprotocol);
  }
  if (!extensions.empty()) {
    writer.put("\r\nSec-WebSocket-Extensions: ");
    writer.put(extensions);
  }
  writer.put("\r\n\r\n");
  return writer.finish();
}

size_t write_refusal(MutableBytes out, int status, std::string_view code, std::string_view message,
                     uint32_t retry_after_s) {
  http::TextWriter body({});
  put_error_body(body, code, message);

  http::TextWriter writer(out);
  writer.put("HTTP/1.1 ");
  writer.put_number(static_cast<uint32_t>(status));
  writer.put(" ");
  writer.put(http::phrase_of(status));
  writer.put("\r\nContent-Type: application/json\r\nContent-Length: ");
  writer.put_number(static_cast<uint32_t>(body.needed()));
  writer.put("\r\nConnection: close");
  if (status == 426) {
    // RFC 9110 section 15.5.22: the answer names the protocol, and Connection lists Upgrade.
    writer.put(", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13");
  }
  if (status == 401) writer.put("\r\nWWW-Authenticate: Bearer");
  if (status == 429 || retry_after_s > 0) {
    writer.put("\r\nRetry-After: ");
    writer.put_number(std::max(retry_after_s, 1u));
  }
  writer.put("\r\n\r\n");
  put_error_body(writer, code, message);
  return writer.finish();
}

}  // namespace tidegate::protocol
