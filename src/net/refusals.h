// SPDX-License-Identifier: Apache-2.0
// Every code of an upgrade refused with an HTTP status (protocol.md), for metrics.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidegate::net {

inline constexpr const char* kRefusalCodes[] = {
    "other",
    "malformed_upgrade",
    "not_found",
    "unsupported_version",
    "head_too_large",
    "handshake_timeout",
    "no_token",
    "invalid_token",
    "token_expired",
    "bad_signature",
    "bad_audience",
    "bad_issuer",
    "origin_denied",
    "rate_limited",
    "too_many_connections",
    "draining",
    "overloaded",
    "already_connected",
    "malformed_request",
    "method_not_allowed",
    "length_required",
    "body_too_large",
    "unknown_session",
    "sequence_gap",
    "poll_replaced",
    "session_closed",
};
inline constexpr uint32_t kRefusalCodeCount = sizeof kRefusalCodes / sizeof *kRefusalCodes;

// Index in the table, 0 ("other") when it is not there.
inline uint32_t refusal_index(std::string_view code) {
  for (uint32_t i = 1; i < kRefusalCodeCount; ++i) {
    if (code == kRefusalCodes[i]) return i;
  }
  return 0;
}

}  // namespace tidegate::net
