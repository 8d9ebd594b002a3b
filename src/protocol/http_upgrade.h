// SPDX-License-Identifier: Apache-2.0
// The server's side of the HTTP/1.1 request that opens a WebSocket (RFC 6455 section 4.2, RFC
// 9112): find where the head ends, parse it strictly, choose the subprotocol, write the answer. A
// pure machine without heap: everything it extracts are views into the head. It judges form only;
// tokens, origins, rates and limits are the caller's.
//
// The caller keeps the bytes contiguous and enforces the size of the head: when find_head_end says
// 0 and more than the limit (kHeadBytesMax by default) has arrived, it answers head_too_large().
// Strict means refused with 400: bare LF, folded lines, control characters, space before a colon,
// a repeated Host, Key, Version, Authorization or Origin, any body.
//
// Thread: any. Owner: borrows the head. Limits: kHeadBytesMax, kDecodedBytesMax.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "protocol/accept_key.h"
#include "protocol/ws_extensions.h"

namespace tidegate::protocol {

inline constexpr size_t kHeadBytesMax = 8 * 1024;     // default limit of a request head
inline constexpr size_t kDecodedBytesMax = 4 * 1024;  // token and resume, when they have escapes
inline constexpr uint8_t kNoSubprotocol = 0xff;

// Offset just past the empty line that ends the head, or 0 when it has not arrived. `searched` is
// the size of the input at the last call that returned 0 (0 at first). An input that cannot become
// a head, because it does not begin with a letter (a TLS hello, say) or because it ends its lines
// with bare LF, counts as ended, so that parse_upgrade refuses it at once instead of by time-out.
size_t find_head_end(base::Bytes input, size_t searched);

// Why an upgrade is refused. status 0: it is not.
struct UpgradeError {
  int status = 0;            // HTTP status
  std::string_view code;     // stable name for programs: "malformed_upgrade", …
  std::string_view message;  // what was wrong and what to do; static text
};

// What the server accepts.
struct UpgradeRules {
  std::span<const std::string_view> subprotocols;  // in order of preference, fewer than 255
  std::string_view path = "/ws";                   // empty: any
  const DeflateRules* deflate = nullptr;           // null: permessage-deflate is declined
};

// What the head says. Views live as long as the head and this object; an absent field is empty.
struct UpgradeRequest {
  UpgradeRequest() {}  // leaves decoded_ uninitialised
  UpgradeRequest(const UpgradeRequest&) = delete;
  UpgradeRequest& operator=(const UpgradeRequest&) = delete;

  std::string_view path;    // as sent, without the query
  std::string_view query;   // as sent, without '?'
  std::string_view token;   // query `token`, percent-decoded
  std::string_view resume;  // query `resume`, percent-decoded
  std::string_view host;
  std::string_view key;  // Sec-WebSocket-Key, 24 characters
  std::string_view origin;
  std::string_view bearer;               // of Authorization: Bearer
  std::string_view cookie_token;         // cookie `auth_token`, the first if several
  std::string_view forwarded_for;        // last X-Forwarded-For field, as sent
  std::string_view forwarded;            // last Forwarded field, as sent
  uint8_t subprotocol = kNoSubprotocol;  // index into UpgradeRules::subprotocols
  bool offered_subprotocols = false;     // the client named some, known or not
  ExtensionOffers extensions;            // what of them UpgradeRules accept

  // The token to verify, in protocol.md's order: header, query, cookie. Empty: none.
  std::string_view credential() const {
    return !bearer.empty() ? bearer : !token.empty() ? token : cookie_token;
  }

  // Sets `token` and `resume` from `query`; 400 malformed_upgrade.
  UpgradeError take_query();

 private:
  char decoded_[kDecodedBytesMax];
};

// Parses a whole head (find_head_end bytes). `out` must be fresh; its contents mean something only
// when the returned status is 0. Statuses: 400 malformed_upgrade, 404 not_found,
// 426 unsupported_version.
UpgradeError parse_upgrade(base::Bytes head, const UpgradeRules& rules, UpgradeRequest& out);

// The refusals by size and time, whose moment only the caller knows.
UpgradeError head_too_large();      // 431
UpgradeError handshake_too_slow();  // 408

// Percent-decodes a query value (RFC 3986; '+' stays '+') into `out`. False: a bad escape, or it
// does not fit.
bool percent_decode(std::string_view value, std::span<char> out, std::string_view* decoded);

// --- answers; each returns the bytes written, 0 when `out` is too small ---

inline constexpr size_t kAnswerBytesMax = 1024;  // enough for every answer with a short message

// The 101. `accept_key` comes from compute_accept_key, `extensions` from write_deflate_answer; an
// empty subprotocol or extension sends no such header.
size_t write_switching_protocols(base::MutableBytes out, std::string_view accept_key,
                                 std::string_view subprotocol, std::string_view extensions = {});

// A refusal with the body {"error": code, "message": message} that ends the connection. Headers
// that a status demands are added: Sec-WebSocket-Version (426), Retry-After (429; any status when
// retry_after_s > 0), WWW-Authenticate (401).
size_t write_refusal(base::MutableBytes out, int status, std::string_view code,
                     std::string_view message, uint32_t retry_after_s = 0);

}  // namespace tidegate::protocol
