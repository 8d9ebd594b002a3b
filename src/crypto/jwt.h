// SPDX-License-Identifier: Apache-2.0
// Checks JSON Web Tokens (RFC 7519, signed as RFC 7515 compact form) and reads the claims tidegate
// knows. Strict where a lenient reader can be fooled: canonical base64url, one algorithm for each
// key, no `none`, no `crit`, no member twice, the signature is checked before any claim is read.
// Members `jwk`, `jku`, `x5u` and `x5c` of a token's header are never looked at.
//
// Not here: encrypted tokens, nested tokens, fetching keys.
//
// Thread: control; one verifier for each thread (it keeps scratch memory).
// Owner: AuthService. Limits: kTokenBytesMax, kClaimBytesMax, kMembersMax, kPermissionsMax.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/key_set.h"

namespace tidegate::crypto {

inline constexpr size_t kTokenBytesMax = 8 * 1024;
inline constexpr size_t kClaimBytesMax = 64;  // sub, character_id
inline constexpr size_t kMembersMax = 64;     // of the header, of the claims
inline constexpr size_t kPermissionsMax = 64;
inline constexpr size_t kPermissionBytesMax = 128;

enum class JwtStatus : uint8_t {
  kOk,
  kNoToken,       // nothing given
  kInvalidToken,  // not a token, not one we accept, or a claim is not as it must be
  kTokenExpired,  // exp has passed
  kBadSignature,  // no key of ours made it
  kBadAudience,   // aud does not contain ours
  kBadIssuer,     // iss is not ours
};
// The code of protocol.md ("invalid_token", ...), "ok" for kOk.
const char* code_of(JwtStatus status);

// What a claim of another name is worth here: when `claim` (a member of the claims, or a path of
// members with dots between) is `value`, or a list that has it, the token has these permissions.
// Numbers and booleans count by how JSON writes them.
struct ClaimGrant {
  std::string claim;
  std::string value;
  std::vector<std::string> permissions;
};
// "realm_access.roles=moderator: publish:chat.* subscribe:chat.*". False with text.
[[nodiscard]] bool parse_claim_grant(std::string_view text, ClaimGrant* out, std::string* error);

struct JwtRules {
  std::string issuer;           // empty: any or none
  std::string audience;         // empty: any or none
  int64_t leeway_s = 5;         // clocks may differ by so much; for exp and nbf
  bool expiry_required = true;  // refuse tokens without exp
  std::vector<ClaimGrant> grants;
};

struct Claims {
  std::string subject;       // sub, 1..kClaimBytesMax bytes of UTF-8 without control characters
  std::string character_id;  // empty when there is none
  // Of `permissions`, `scope` and what the rules grant; no spaces inside one.
  std::vector<std::string> permissions;
  int64_t expires_at = 0;  // exp, Unix seconds; 0: the token does not expire
  int64_t issued_at = 0;   // iat, Unix seconds; 0: the token does not say
};

struct [[nodiscard]] JwtResult {
  JwtStatus status;
  const char* message;       // static text for people; never holds a part of the token
  bool unknown_key = false;  // kBadSignature because no key has its algorithm and kid
  bool ok() const { return status == JwtStatus::kOk; }
};

class JwtVerifier {
 public:
  JwtVerifier(KeySet keys, JwtRules rules);
  ~JwtVerifier();
  JwtVerifier(JwtVerifier&&) noexcept;
  JwtVerifier& operator=(JwtVerifier&&) noexcept;

  // `unix_now` in seconds. `claims` is written when the result is ok, and unspecified otherwise.
  JwtResult verify(std::string_view token, int64_t unix_now, Claims* claims);

  const KeySet& keys() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidegate::crypto
