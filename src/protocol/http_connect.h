// SPDX-License-Identifier: Apache-2.0
// The client's side of the WebSocket handshake (RFC 6455 section 4.1): write the upgrade request,
// judge the answer. Pure functions for the SDK and the load tool; find_head_end of http_upgrade.h
// says when the answer's head is whole.
// Thread: any. Owner: borrows. Limits: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "protocol/accept_key.h"
#include "protocol/ws_extensions.h"

namespace tidegate::protocol {

struct UpgradeOffer {
  std::string_view host;                  // host[:port]
  std::string_view target = "/ws";        // path and query, already percent-encoded
  std::string_view key;                   // encode_websocket_key
  std::string_view subprotocols;          // comma-separated, empty: none
  std::string_view bearer;                // empty: no Authorization
  std::string_view origin;                // empty: no Origin
  const DeflateOffer* deflate = nullptr;  // null: no extension is offered
};

// Returns the bytes written, 0 when `out` is too small or a field holds a control character.
size_t write_upgrade_request(base::MutableBytes out, const UpgradeOffer& offer);

enum class ConnectStatus : uint8_t {
  kOk = 0,          // 101 and every field is right
  kRefused,         // a well-formed answer with another status; see UpgradeAnswer
  kMalformed,       // not an HTTP/1.1 response head
  kNotWebSocket,    // 101 without Upgrade: websocket or Connection: Upgrade
  kBadAcceptKey,    // Sec-WebSocket-Accept missing or wrong: not a WebSocket server, or a cache
  kBadSubprotocol,  // a subprotocol that was not offered
  kExtension,       // an extension that was not offered, or not as it may be answered
};

// Views live as long as the head.
struct UpgradeAnswer {
  int status = 0;
  std::string_view subprotocol;  // the server's choice, empty: none
  ExtensionAnswer extensions;    // kOk: whether permessage-deflate is spoken, and how
  uint32_t content_length = 0;   // kRefused: body bytes behind the head (JSON error), 0 unknown
  uint32_t retry_after_s = 0;    // kRefused: 0 when absent
};

// Parses a whole answer head (find_head_end bytes) to the request made of `offer`.
ConnectStatus parse_upgrade_answer(base::Bytes head, const UpgradeOffer& offer, UpgradeAnswer& out);

}  // namespace tidegate::protocol
