// SPDX-License-Identifier: Apache-2.0
// Tokens from anywhere. The first byte says what the rest is:
//   even          a token; the verifier's secret is not in the seeds, so none may be accepted
//   1 (mod 4)     header '|' claims, signed by us: whatever is accepted must keep its promises
//   3 (mod 4)     a raw signature of a well-formed ES256 and EdDSA token: never accepted
#include <cstdlib>
#include <string>

#include "crypto/base64url.h"
#include "crypto/jwt.h"
#include "crypto/jwt_sign.h"

using namespace tidegate;

namespace {

constexpr std::string_view kSecret = "a secret that stands in no seed.";
// Public halves of keys that were thrown away.
constexpr std::string_view kPem =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3P9vFEu3OZQbXnOkM7TkiSgKDuH+\n"
    "fx/mIvGd83Mv3palD26sMIqfi7I6WWxbZYhb6r6dgkF4vK0ue4BidG2W4w==\n"
    "-----END PUBLIC KEY-----\n"
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEABVHaU5aLzZ2rn8fXBBT9JKtadV9JpyufXsqWfB9kaDg=\n"
    "-----END PUBLIC KEY-----\n";
constexpr int64_t kNow = 1'800'000'000;

crypto::JwtVerifier make_verifier() {
  crypto::KeySet keys;
  std::string error;
  if (!keys.add_secret(kSecret, &error) || !keys.add_public_keys_pem(kPem, &error)) std::abort();
  return crypto::JwtVerifier(std::move(keys), {});
}

bool keeps_promises(const crypto::Claims& c) {
  const auto clean = [](const std::string& text) {
    for (char b : text) {
      if (static_cast<unsigned char>(b) < 0x20 || b == 0x7f) return false;
    }
    return true;
  };
  if (c.subject.empty() || c.subject.size() > crypto::kClaimBytesMax || !clean(c.subject)) {
    return false;
  }
  if (c.character_id.size() > crypto::kClaimBytesMax || !clean(c.character_id)) return false;
  if (c.permissions.size() > crypto::kPermissionsMax) return false;
  for (const std::string& p : c.permissions) {
    if (p.empty() || p.size() > crypto::kPermissionBytesMax || !clean(p) ||
        p.find(' ') != std::string::npos) {
      return false;
    }
  }
  return c.expires_at > kNow - 10;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static crypto::JwtVerifier verifier = make_verifier();
  static const crypto::Signer signer = crypto::Signer::from_secret(kSecret);
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  crypto::Claims claims;
  if (data[0] % 2 == 0) {
    if (verifier.verify(rest, kNow, &claims).ok()) std::abort();
  } else if (data[0] % 4 == 1) {
    const size_t bar = rest.find('|');
    const std::string_view header = rest.substr(0, bar);
    const std::string_view body =
        bar == std::string_view::npos ? std::string_view("{}") : rest.substr(bar + 1);
    const crypto::JwtResult result = verifier.verify(signer.sign(header, body), kNow, &claims);
    if (result.ok() && !keeps_promises(claims)) std::abort();
    if (result.status == crypto::JwtStatus::kNoToken || result.message == nullptr) std::abort();
  } else {
    for (const char* header : {R"({"alg":"ES256"})", R"({"alg":"EdDSA"})"}) {
      const std::string token =
          crypto::encode_base64url(base::as_bytes(header)) + '.' +
          crypto::encode_base64url(base::as_bytes(R"({"sub":"a","exp":1900000000})")) + '.' +
          crypto::encode_base64url(base::as_bytes(rest));
      if (verifier.verify(token, kNow, &claims).ok()) std::abort();
    }
  }
  return 0;
}
