// SPDX-License-Identifier: Apache-2.0
// base64url without padding (RFC 4648 section 5, as RFC 7515 uses it). Decoding is strict: no
// padding, no white space, and the unused bits of the last character must be zero, so that every
// byte string has exactly one text.
// Thread: any. Owner: the caller's buffers. Limits: the caller's buffer.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace tidegate::crypto {

inline constexpr size_t kBase64Invalid = static_cast<size_t>(-1);

// Bytes that `text_size` characters decode to (exact for text that is valid).
constexpr size_t base64url_decoded_size(size_t text_size) { return text_size * 3 / 4; }

// Writes the decoded bytes to `out` and returns how many, or kBase64Invalid: not base64url, or
// `out` is smaller than base64url_decoded_size(text.size()).
size_t decode_base64url(std::string_view text, base::MutableBytes out);

std::string encode_base64url(base::Bytes bytes);

}  // namespace tidegate::crypto
