// SPDX-License-Identifier: Apache-2.0
// The two base64 strings of the WebSocket handshake (RFC 6455 section 4): the client's key from 16
// random bytes, and the server's answer, base64(SHA-1(key + GUID)). SHA-1 proves here only that
// the server speaks WebSocket, it secures nothing; the input has one fixed size of 60 bytes, so
// this module needs no general hash and no dependency on crypto.
// Thread: any. Owner: none. Limits: keys of 24 characters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tidegate::protocol {

inline constexpr size_t kKeyChars = 24;
inline constexpr size_t kAcceptKeyChars = 28;

// 22 base64 characters and "==": 16 bytes. Unused bits of the last character are not looked at.
bool is_websocket_key(std::string_view key);

// `key` must satisfy is_websocket_key. `out` is not terminated.
void compute_accept_key(std::string_view key, char (&out)[kAcceptKeyChars]);

// The client's Sec-WebSocket-Key for 16 random bytes. `out` is not terminated.
void encode_websocket_key(const uint8_t (&nonce)[16], char (&out)[kKeyChars]);

}  // namespace tidegate::protocol
