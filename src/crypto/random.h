// SPDX-License-Identifier: Apache-2.0
// Random bytes for secrets: session ids, resume tokens, keys. Everything that a simulation must
// repeat takes base::Prng instead.
// Thread: any. Owner: the caller's buffer. Limits: none.
#pragma once

#include <string>

#include "base/bytes.h"

namespace tidegate::crypto {

// Fills `out` from the kernel (getrandom). False: the kernel refused; `out` must not be used.
[[nodiscard]] bool fill_random(base::MutableBytes out);

// `byte_count` random bytes as base64url text; empty when the kernel refused.
std::string random_text(size_t byte_count);

}  // namespace tidegate::crypto
