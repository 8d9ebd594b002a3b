// SPDX-License-Identifier: Apache-2.0
// The keys that tokens are checked with. Each key is bound to exactly one algorithm when it is
// added, from the kind of key and never from a token: an RSA key cannot be used as an HMAC secret
// whatever a token's header says. Weak keys are refused: HMAC secrets below 32 bytes, RSA below
// 2048 bits, EC curves other than P-256.
//
// Thread: control. Owner: JwtVerifier, or whoever holds it; movable. Limits: kKeysMax keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tidegate::crypto {

enum class Algorithm : uint8_t {
  kHs256,  // HMAC with SHA-256, RFC 7518 section 3.2
  kRs256,  // RSASSA-PKCS1-v1_5 with SHA-256, section 3.3
  kEs256,  // ECDSA with P-256 and SHA-256, section 3.4
  kEdDsa,  // Ed25519, RFC 8037 section 3.1
};
const char* name_of(Algorithm algorithm);  // as in a token's `alg`

inline constexpr size_t kKeysMax = 32;
inline constexpr size_t kSecretBytesMin = 32;
inline constexpr int kRsaBitsMin = 2048;
inline constexpr int kRsaBitsMax = 8192;  // above, one check costs milliseconds

struct Key;  // key.h, for this module only

class KeySet {
 public:
  KeySet();
  ~KeySet();
  KeySet(KeySet&&) noexcept;
  KeySet& operator=(KeySet&&) noexcept;

  // Each adds keys, or returns false with what is wrong in `error` and adds nothing.
  // One HS256 secret.
  [[nodiscard]] bool add_secret(std::string_view secret, std::string* error);
  // One or more PEM public keys ("PUBLIC KEY", "RSA PUBLIC KEY"): RS256, ES256 or EdDSA by kind.
  [[nodiscard]] bool add_public_keys_pem(std::string_view pem, std::string* error);
  // A JWK set (RFC 7517). Keys that are not for signatures or of other algorithms are passed over;
  // an error when none is left, or when one holds a private part.
  [[nodiscard]] bool add_jwks(std::string_view json, std::string* error);

  size_t size() const;
  // For the admin API: "HS256", "RS256 kid=2024-a", ...; never key material.
  std::vector<std::string> describe() const;

  const std::vector<Key>& keys() const { return keys_; }

 private:
  [[nodiscard]] bool append(std::vector<Key> added, std::string* error);

  std::vector<Key> keys_;
};

}  // namespace tidegate::crypto
