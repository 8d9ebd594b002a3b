// SPDX-License-Identifier: Apache-2.0
// Which resume tokens of a session are good. Their nonces count up: who shows one is given the
// next. So all tokens that were given for the same one, to tries whose answers were lost, are the
// same, and a signed one that is ahead of what is known was given by somebody who could not say so
// any more. Thread: any. Owner: none. Limits: kNoncesAheadMax.
#pragma once

#include <cstdint>

namespace tidegate::mailbox {

inline constexpr uint32_t kNoncesAheadMax = 1024;

// 0 is no nonce.
inline constexpr uint32_t nonce_after(uint32_t shown) { return shown + 1 == 0 ? 1 : shown + 1; }

// `last`: of the token given last; `before`: of the one that was shown for it, good until the
// client has shown that it has the last one, then 0.
inline constexpr bool nonce_is_good(uint32_t shown, uint32_t last, uint32_t before) {
  return shown - last <= kNoncesAheadMax || (before != 0 && shown == before);
}

}  // namespace tidegate::mailbox
