// SPDX-License-Identifier: Apache-2.0
// HMAC-SHA256 over bytes, for what the server signs itself (resume tokens).
// Thread: any (allocates). Owner: the caller's buffers. Limits: none.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace tidegate::crypto {

using Mac = std::array<uint8_t, 32>;

// False: OpenSSL failed; `out` must not be used.
[[nodiscard]] bool hmac_sha256(base::Bytes key, base::Bytes message, Mac* out);

}  // namespace tidegate::crypto
