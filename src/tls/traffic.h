// SPDX-License-Identifier: Apache-2.0
// What an established TLS connection is to somebody who did not make its handshake: suite, secrets
// and the numbers of its next records. The library does not give that away in one piece; secrets
// come by its key log, and records and key updates are counted by its message callback. With it a
// connection goes to another process (carried.h, docs/decisions/0015-upgrade.md).
//
// Thread: the session's. Owner: TrafficWatch: the library's object of the session. Limits: suites
// of server_context.cc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

struct ssl_ctx_st;
struct ssl_st;
struct evp_md_st;
struct evp_cipher_st;

namespace tidegate::tls {

inline constexpr size_t kSecretBytesMax = 48;

struct Traffic {
  struct Direction {
    // TLS 1.3: the traffic secret. TLS 1.2: the key, and behind it the nonce's implicit part.
    uint8_t secret[kSecretBytesMax] = {};
    uint32_t secret_bytes = 0;
    uint64_t number = 0;  // of the next record
  };
  bool tls13 = false;
  uint16_t suite = 0;  // IANA's number
  Direction in, out;
  uint64_t explicit_nonce = 0;   // TLS 1.2 with GCM: of the next record out
  bool key_update_owed = false;  // TLS 1.3: the peer asked for one
  Traffic() = default;
  Traffic(const Traffic&) = default;
  Traffic& operator=(const Traffic&) = default;
  ~Traffic();  // wipes
};

// A suite that connections may be carried with; null for others.
struct Suite {
  uint16_t number;
  const char* name;  // as the library says it
  bool tls13;
  bool gcm;
  uint8_t key_bytes;
  const evp_md_st* (*hash)();
  const evp_cipher_st* (*cipher)();
  uint32_t fixed_nonce_bytes() const { return tls13 || !gcm ? 12 : 4; }
};
const Suite* find_suite(uint16_t number);

// HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context; at most one block of the hash.
[[nodiscard]] bool expand_label(const evp_md_st* hash, base::Bytes secret, const char* label,
                                base::MutableBytes out);

// Follows one session of the library from its beginning.
class TrafficWatch {
 public:
  static void install(ssl_ctx_st* context);
  // False: no memory. The watch ends with `ssl`.
  [[nodiscard]] static bool attach(ssl_st* ssl);
  // Of a session that is established, and of which nothing is half read or half written. False: it
  // is not to be carried.
  [[nodiscard]] static bool read(ssl_st* ssl, Traffic* out);
  // `record`: as it was sealed last.
  static void note_sealed(ssl_st* ssl, base::Bytes record);

 private:
  struct State;
  static int index();
  static State* of(const ssl_st* ssl);
  static void on_key_line(const ssl_st* ssl, const char* line);
  static void on_message(int writing, int version, int kind, const void* data, size_t bytes,
                         ssl_st* ssl, void* argument);
};

}  // namespace tidegate::tls
