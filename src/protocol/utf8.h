// SPDX-License-Identifier: Apache-2.0
// Incremental UTF-8 validation (RFC 3629) for text messages that arrive in fragments. A code point
// may be cut anywhere between two calls; overlong forms, surrogates and values above U+10FFFF are
// refused at the byte that makes them wrong. Runs of ASCII are skipped a vector at a time.
// It does not decode.
// Thread: any. Owner: none, the state is one byte of the caller's. Limits: none.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace tidegate::protocol {

// What the next byte must be. kBoundary: a lead byte, or the text ends here.
enum class Utf8State : uint8_t {
  kBoundary = 0,
  kTail1,    // one more byte 80..BF
  kTail2,    // two more bytes 80..BF
  kTail3,    // three more bytes 80..BF
  kAfterE0,  // A0..BF, then one tail byte (80..9F would be overlong)
  kAfterEd,  // 80..9F, then one tail byte (A0..BF would be a surrogate)
  kAfterF0,  // 90..BF, then two tail bytes (80..8F would be overlong)
  kAfterF4,  // 80..8F, then two tail bytes (90..BF would be above U+10FFFF)
  kInvalid,  // sticky
};

// The state after `text`, which continues what led to `state`. kInvalid as soon as no following
// bytes could make the whole valid. Runs of ASCII cost a few instructions for each 32 bytes at
// x86-64-v3 (16 at the baseline), other code points one table look-up for each byte.
Utf8State advance_utf8(Utf8State state, base::Bytes text);

// True when `text` alone is whole and valid.
inline bool is_valid_utf8(base::Bytes text) {
  return advance_utf8(Utf8State::kBoundary, text) == Utf8State::kBoundary;
}

}  // namespace tidegate::protocol
