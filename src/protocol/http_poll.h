// SPDX-License-Identifier: Apache-2.0
// The HTTP/1.1 requests of long polling, as strictly read as upgrades (http_upgrade.h), and the
// heads of their answers. docs/protocol.md says what they mean; here they are form only.
//
//   POST <path>/poll                  open             ?token= ?resume= ?protocol=
//   POST <path>/poll/<name>?seq=n     messages to the server
//   GET <path>/poll/<name>?from=n     messages to the client   &wait=ms
//   DELETE <path>/poll/<name>         leave
//   OPTIONS <path>/poll...            a browser asks whether it may
//
// Thread: any. Owner: borrows the head. Limits: a body has a Content-Length; chunked ones are
// refused.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "protocol/http_upgrade.h"

namespace tidegate::protocol {

enum class PollKind : uint8_t { kOpen, kPost, kGet, kDelete, kPreflight };

// Where a poll session lives, and what only its client knows.
struct PollName {
  uint32_t shard = 0;
  uint32_t index = 0;
  uint8_t secret[16] = {};
};
inline constexpr size_t kPollNameChars = 40;
void write_poll_name(const PollName& name, char (&out)[kPollNameChars]);
bool parse_poll_name(std::string_view text, PollName* out);

inline constexpr uint32_t kPollWaitUnset = UINT32_MAX;

struct PollRequest {
  PollKind kind = PollKind::kGet;
  PollName name;                      // valid for kPost, kGet and kDelete
  uint64_t number = 0;                // kPost: seq; kGet: from
  uint32_t wait_ms = kPollWaitUnset;  // kGet
  uint32_t body_bytes = 0;            // behind the head
  bool close = false;                 // the client ends the connection after the answer
  // What an upgrade has too: origin, forwarded addresses and, valid for kOpen, credentials, resume,
  // subprotocol.
  UpgradeRequest upgrade;
};

// True when a head that begins so is one of long polling: the path is <path>/poll or below it.
bool is_poll_request(base::Bytes head, std::string_view path);

// Parses a whole head (find_head_end bytes). `out` must be fresh. Statuses: 400
// malformed_request, 404 not_found, 405 method_not_allowed, 411 length_required.
UpgradeError parse_poll_request(base::Bytes head, const UpgradeRules& rules, PollRequest& out);

// --- answers; each returns the bytes written, 0 when `out` is too small (kAnswerBytesMax) ---

struct PollAnswerHead {
  int status = 204;
  std::string_view content_type;  // empty: no body
  uint32_t body_bytes = 0;
  bool close = false;          // the server ends the connection after it
  bool shared = false;         // the request had an Origin: its page may read the answer
  bool preflight = false;      // answers OPTIONS
  uint32_t retry_after_s = 0;  // 0: no such field
};
size_t write_poll_head(base::MutableBytes out, const PollAnswerHead& head);

// Head and body {"error": code, "message": message}, with one more number when `extra_name` is not
// empty. content_type and body_bytes of `head` are set here.
size_t write_poll_error(base::MutableBytes out, PollAnswerHead head, std::string_view code,
                        std::string_view message, std::string_view extra_name = {},
                        uint64_t extra = 0);

// The answer to kOpen, head and body.
size_t write_poll_opened(base::MutableBytes out, const PollName& name, std::string_view subprotocol,
                         uint32_t hold_ms, uint32_t body_bytes, bool shared, bool close);

}  // namespace tidegate::protocol
