// SPDX-License-Identifier: Apache-2.0
// Makes tokens: for development (`tidegate token`), the load tool's bots, the live page's players
// (control/live_page.h, off by default), and tests. The server signs nothing else.
// Thread: any. Owner: the caller. Limits: none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/key_set.h"

namespace tidegate::crypto {

struct MintClaims {
  std::string subject;
  std::string character_id;  // left out when empty
  std::string issuer;        // left out when empty
  std::string audience;      // left out when empty
  std::vector<std::string> permissions;
  int64_t issued_at = 0;   // Unix seconds
  int64_t expires_at = 0;  // Unix seconds; 0: leaves exp out
};

std::string claims_json(const MintClaims& claims);

// An HS256 token; empty when `secret` is too short to be accepted by any verifier of ours.
std::string mint(std::string_view secret, const MintClaims& claims);

// Signs any header and payload, so that tests can make tokens that are wrong in one place.
class Signer {
 public:
  ~Signer();
  Signer(Signer&&) noexcept;
  Signer& operator=(Signer&&) noexcept;

  static Signer from_secret(std::string_view secret);
  // A fresh private key of this kind (RSA: `rsa_bits`); not for kHs256.
  static Signer generate(Algorithm algorithm, unsigned rsa_bits = 2048);

  Algorithm algorithm() const;
  // SubjectPublicKeyInfo in PEM; empty for a secret.
  std::string public_key_pem() const;
  // The JWK (public part, or the secret for HS256) with `kid` when it is not empty.
  std::string jwk(std::string_view kid) const;
  // header.payload.signature; empty when OpenSSL failed.
  std::string sign(std::string_view header_json, std::string_view payload_json) const;
  // With the header {"alg":...,"typ":"JWT"} and `kid` when it is not empty.
  std::string sign_claims(std::string_view payload_json, std::string_view kid = {}) const;

 private:
  Signer();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidegate::crypto
