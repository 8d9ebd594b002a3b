// SPDX-License-Identifier: Apache-2.0
#include "protocol/http_connect.h"

#include "protocol/http_head.h"

namespace tidegate::protocol {

using base::Bytes;
using base::MutableBytes;
using http::LineStatus;

namespace {

// What may stand in a field value without ending it: anything but control characters.
bool is_field_text(std::string_view text) {
  for (const char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7f) return false;
  }
  return true;
}

// "HTTP/1.1 101 Any words"; the words may be missing.
bool parse_status_line(std::string_view line, int* status) {
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  uint32_t number = 0;
  if (!line.starts_with(kVersion) || line.size() < kVersion.size() + 3) return false;
  if (!http::parse_number(line.substr(kVersion.size(), 3), 999, &number) || number < 100) {
    return false;
  }
  if (line.size() > kVersion.size() + 3 && line[kVersion.size() + 3] != ' ') return false;
  *status = static_cast<int>(number);
  return true;
}

// Subprotocol names are compared exactly, unlike Upgrade and Connection.
bool was_offered(std::string_view offered, std::string_view name) {
  for (;;) {
    const std::string_view element = http::take_element(offered);
    if (element.empty()) return false;
    if (element == name) return true;
  }
}

}  // namespace

size_t write_upgrade_request(MutableBytes out, const UpgradeOffer& offer) {
  for (const std::string_view text :
       {offer.host, offer.target, offer.key, offer.subprotocols, offer.bearer, offer.origin}) {
    if (!is_field_text(text)) return 0;
  }
  if (offer.target.find(' ') != std::string_view::npos) return 0;
  http::TextWriter writer(out);
  const auto put_field = [&writer](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    writer.put("\r\n");
    writer.put(name);
    writer.put(value);
  };
  writer.put("GET ");
  writer.put(offer.target);
  writer.put(" HTTP/1.1");
  put_field("Host: ", offer.host);
  put_field("Upgrade: ", "websocket");
  put_field("Connection: ", "Upgrade");
  put_field("Sec-WebSocket-Key: ", offer.key);
  put_field("Sec-WebSocket-Version: ", "13");
  put_field("Sec-WebSocket-Protocol: ", offer.subprotocols);
  if (offer.deflate != nullptr) {
    char text[kExtensionAnswerChars];
    put_field("Sec-WebSocket-Extensions: ", write_deflate_offer(*offer.deflate, text));
  }
  put_field("Authorization: Bearer ", offer.bearer);
  put_field("Origin: ", offer.origin);
  writer.put("\r\n\r\n");
  return writer.finish();
}

ConnectStatus parse_upgrade_answer(Bytes head, const UpgradeOffer& offer, UpgradeAnswer& out) {
  out = {};
  http::HeadReader reader(base::as_text(head));
  std::string_view line;
  if (reader.next_line(&line) != LineStatus::kLine || !parse_status_line(line, &out.status)) {
    return ConnectStatus::kMalformed;
  }
  bool upgrades_to_websocket = false;
  bool connection_upgrades = false;
  bool bad_extension = false;
  bool bad_subprotocol = false;
  bool has_accept = false;
  bool bad_accept = false;
  char expected[kAcceptKeyChars];
  if (!is_websocket_key(offer.key)) return ConnectStatus::kBadAcceptKey;
  compute_accept_key(offer.key, expected);

  std::string_view name, value;
  LineStatus status;
  while ((status = reader.next_field(&name, &value)) == LineStatus::kLine) {
    const auto is = [name](std::string_view lower) {
      return http::equals_ignoring_case(name, lower);
    };
    if (is("upgrade")) {
      upgrades_to_websocket |= http::list_has(value, "websocket");
    } else if (is("connection")) {
      connection_upgrades |= http::list_has(value, "upgrade");
    } else if (is("sec-websocket-accept")) {
      bad_accept |= has_accept || value != std::string_view(expected, sizeof expected);
      has_accept = true;
    } else if (is("sec-websocket-protocol")) {
      bad_subprotocol |= !out.subprotocol.empty() || !was_offered(offer.subprotocols, value);
      out.subprotocol = value;
    } else if (is("sec-websocket-extensions")) {
      bad_extension |= !out.extensions.take(value, offer.deflate);
    } else if (is("content-length")) {
      if (!http::parse_number(value, UINT32_MAX, &out.content_length)) {
        return ConnectStatus::kMalformed;
      }
    } else if (is("retry-after")) {
      // The other form, an HTTP date, is left as absent: the caller has a back-off of its own.
      http::parse_number(value, UINT32_MAX, &out.retry_after_s);
    }
  }
  if (status != LineStatus::kEnd) return ConnectStatus::kMalformed;
  if (out.status != 101) return ConnectStatus::kRefused;
  if (!upgrades_to_websocket || !connection_upgrades) return ConnectStatus::kNotWebSocket;
  if (!has_accept || bad_accept) return ConnectStatus::kBadAcceptKey;
  if (bad_subprotocol) return ConnectStatus::kBadSubprotocol;
  if (bad_extension || !out.extensions.finish(offer.deflate)) return ConnectStatus::kExtension;
  return ConnectStatus::kOk;
}

}  // namespace tidegate::protocol
