// SPDX-License-Identifier: Apache-2.0
#include "crypto/jwt.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>

#include "crypto/base64url.h"
#include "crypto/constant_time.h"
#include "crypto/key.h"

namespace tidegate::crypto {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr JwtResult kOk{JwtStatus::kOk, "ok"};
JwtResult invalid(const char* message) { return {JwtStatus::kInvalidToken, message}; }

struct FreeDigest {
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
};

// Signatures of ES256 are r and s, 32 bytes each; OpenSSL wants DER.
bool ecdsa_to_der(base::Bytes raw, std::vector<uint8_t>* der) {
  if (raw.size() != 64) return false;
  ECDSA_SIG* sig = ECDSA_SIG_new();
  BIGNUM* r = BN_bin2bn(raw.data(), 32, nullptr);
  BIGNUM* s = BN_bin2bn(raw.data() + 32, 32, nullptr);
  bool good = sig != nullptr && r != nullptr && s != nullptr && ECDSA_SIG_set0(sig, r, s) == 1;
  if (!good) {
    BN_free(r);
    BN_free(s);
  } else {
    uint8_t* out = nullptr;
    const int n = i2d_ECDSA_SIG(sig, &out);
    good = n > 0;
    if (good) der->assign(out, out + n);
    OPENSSL_free(out);
  }
  ECDSA_SIG_free(sig);
  return good;
}

bool check_signature(const Key& key, EVP_MD_CTX* digest, std::string_view signed_text,
                     base::Bytes signature) {
  const uint8_t* text = reinterpret_cast<const uint8_t*>(signed_text.data());
  if (key.algorithm == Algorithm::kHs256) {
    uint8_t mac[32];
    size_t size = 0;
    // Init without a key starts anew with the one it has.
    return EVP_MAC_init(key.mac.get(), nullptr, 0, nullptr) == 1 &&
           EVP_MAC_update(key.mac.get(), text, signed_text.size()) == 1 &&
           EVP_MAC_final(key.mac.get(), mac, &size, sizeof mac) == 1 &&
           equal_constant_time(base::as_text(signature), {reinterpret_cast<char*>(mac), size});
  }
  std::vector<uint8_t> der;
  if (key.algorithm == Algorithm::kEs256) {
    if (!ecdsa_to_der(signature, &der)) return false;
    signature = der;
  }
  EVP_MD_CTX_reset(digest);
  const EVP_MD* hash = key.algorithm == Algorithm::kEdDsa ? nullptr : EVP_sha256();
  const bool good =
      EVP_DigestVerifyInit(digest, nullptr, hash, nullptr, key.pkey.get()) == 1 &&
      EVP_DigestVerify(digest, signature.data(), signature.size(), text, signed_text.size()) == 1;
  if (!good) ERR_clear_error();
  return good;
}

// No name twice, and not too many.
bool members_are_unique(object o) {
  std::string_view seen[kMembersMax];
  size_t count = 0;
  for (const auto& field : o) {
    if (count == kMembersMax) return false;
    for (size_t i = 0; i < count; ++i) {
      if (seen[i] == field.key) return false;
    }
    seen[count++] = field.key;
  }
  return true;
}

// No control characters of ASCII or Latin-1 (U+0080 to U+009F, in UTF-8 C2 80 to C2 9F). simdjson
// has checked that it is UTF-8, escapes of single surrogates included.
bool is_clean(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) return false;
    if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return false;
    }
  }
  return true;
}

// A NumericDate: seconds, perhaps with a fraction. False: there and not one.
bool read_time(object o, const char* name, bool* there, int64_t* out) {
  element e;
  *there = o[name].get(e) == simdjson::SUCCESS;
  if (!*there) return true;
  int64_t whole = 0;
  if (e.get(whole) == simdjson::SUCCESS) {
    *out = whole;
    return whole >= 0 && whole < (int64_t{1} << 53);
  }
  double real = 0;
  if (e.get(real) != simdjson::SUCCESS || !(real >= 0 && real < 9e15)) return false;
  *out = static_cast<int64_t>(real);
  return true;
}

bool add_permission(std::string_view text, Claims* claims) {
  if (text.empty() || text.size() > kPermissionBytesMax || !is_clean(text) ||
      text.find(' ') != std::string_view::npos || claims->permissions.size() == kPermissionsMax) {
    return false;
  }
  claims->permissions.emplace_back(text);
  return true;
}

// By its whole name, or step by step along its dots.
bool find_claim(object claims, std::string_view path, element* out) {
  if (claims[path].get(*out) == simdjson::SUCCESS) return true;
  const size_t dot = path.find('.');
  if (dot == std::string_view::npos) return false;
  object inner;
  return claims[path.substr(0, dot)].get(inner) == simdjson::SUCCESS &&
         find_claim(inner, path.substr(dot + 1), out);
}

bool is_value(element e, std::string_view value) {
  std::string_view text;
  if (e.get(text) == simdjson::SUCCESS) return text == value;
  bool flag = false;
  if (e.get(flag) == simdjson::SUCCESS) return value == (flag ? "true" : "false");
  int64_t number = 0;
  return e.get(number) == simdjson::SUCCESS && value == std::to_string(number);
}

bool holds(element e, std::string_view value) {
  simdjson::dom::array list;
  if (e.get(list) != simdjson::SUCCESS) return is_value(e, value);
  for (element item : list) {
    if (is_value(item, value)) return true;
  }
  return false;
}

}  // namespace

bool parse_claim_grant(std::string_view text, ClaimGrant* out, std::string* error) {
  const size_t equals = text.find('=');
  const size_t colon = equals == std::string_view::npos ? equals : text.find(": ", equals);
  if (equals == 0 || colon == std::string_view::npos || colon == equals + 1) {
    *error = "expected CLAIM=VALUE: PERMISSION ...";
    return false;
  }
  out->claim = text.substr(0, equals);
  out->value = text.substr(equals + 1, colon - equals - 1);
  out->permissions.clear();
  Claims words;
  for (std::string_view rest = text.substr(colon + 2); !rest.empty();) {
    const size_t space = rest.find(' ');
    const std::string_view word = rest.substr(0, space);
    if (!word.empty() && !add_permission(word, &words)) {
      *error = "at most 64 permissions of 1 to 128 bytes";
      return false;
    }
    if (space == std::string_view::npos) break;
    rest.remove_prefix(space + 1);
  }
  out->permissions = std::move(words.permissions);
  if (!out->permissions.empty()) return true;
  *error = "no permission behind the colon";
  return false;
}

const char* code_of(JwtStatus status) {
  switch (status) {
    case JwtStatus::kOk:
      return "ok";
    case JwtStatus::kNoToken:
      return "no_token";
    case JwtStatus::kInvalidToken:
      return "invalid_token";
    case JwtStatus::kTokenExpired:
      return "token_expired";
    case JwtStatus::kBadSignature:
      return "bad_signature";
    case JwtStatus::kBadAudience:
      return "bad_audience";
    case JwtStatus::kBadIssuer:
      return "bad_issuer";
  }
  return "?";
}

struct JwtVerifier::State {
  KeySet keys;
  JwtRules rules;
  simdjson::dom::parser parser;
  std::vector<uint8_t> json;  // decoded part, with simdjson's padding behind it
  std::vector<uint8_t> signature;
  std::unique_ptr<EVP_MD_CTX, FreeDigest> digest{EVP_MD_CTX_new()};

  // Decodes a part and parses it as an object with unique members.
  bool parse(std::string_view part, object* out) {
    const size_t n =
        decode_base64url(part, {json.data(), json.size() - simdjson::SIMDJSON_PADDING});
    if (n == kBase64Invalid) return false;
    element root;
    return parser.parse(json.data(), n, false).get(root) == simdjson::SUCCESS &&
           root.get(*out) == simdjson::SUCCESS && members_are_unique(*out);
  }
  JwtResult read_claims(object claims, int64_t now, Claims* out);
};

JwtVerifier::JwtVerifier(KeySet keys, JwtRules rules) : state_(std::make_unique<State>()) {
  state_->keys = std::move(keys);
  state_->rules = std::move(rules);
  state_->json.resize(kTokenBytesMax + simdjson::SIMDJSON_PADDING);
  state_->signature.resize(kTokenBytesMax);
}
JwtVerifier::~JwtVerifier() = default;
JwtVerifier::JwtVerifier(JwtVerifier&&) noexcept = default;
JwtVerifier& JwtVerifier::operator=(JwtVerifier&&) noexcept = default;

const KeySet& JwtVerifier::keys() const { return state_->keys; }

JwtResult JwtVerifier::verify(std::string_view token, int64_t unix_now, Claims* claims) {
  State& s = *state_;
  if (token.empty()) return {JwtStatus::kNoToken, "no token was given"};
  if (token.size() > kTokenBytesMax) return invalid("the token is larger than 8 KiB");
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return invalid("not a JWT: expected three parts separated by dots");
  }
  object header;
  if (!s.parse(token.substr(0, first), &header)) {
    return invalid("the token's header is not a JSON object in base64url");
  }
  std::string_view algorithm;
  if (header["alg"].get(algorithm) != simdjson::SUCCESS) {
    return invalid("the token's header names no algorithm (alg)");
  }
  element ignored;
  if (header["crit"].get(ignored) == simdjson::SUCCESS) {
    return invalid("the token demands extensions (crit) that are not spoken");
  }
  element type;
  if (header["typ"].get(type) == simdjson::SUCCESS && !type.is_string()) {
    return invalid("the token's header has a typ that is no text");
  }
  std::string_view kid;
  if (header["kid"].get(ignored) == simdjson::SUCCESS && ignored.get(kid) != simdjson::SUCCESS) {
    return invalid("the token's header has a kid that is no text");
  }
  bool known = false;
  for (const Algorithm a :
       {Algorithm::kHs256, Algorithm::kRs256, Algorithm::kEs256, Algorithm::kEdDsa}) {
    known = known || algorithm == name_of(a);
  }
  if (!known) return invalid("the token's algorithm is not HS256, RS256, ES256 or EdDSA");

  const std::string_view signature_text = token.substr(second + 1);
  const size_t signature_size = decode_base64url(signature_text, s.signature);
  if (signature_size == kBase64Invalid || signature_size == 0) {
    return {JwtStatus::kBadSignature, "the token's signature is missing or not base64url"};
  }
  const base::Bytes signature{s.signature.data(), signature_size};
  bool made_by_us = false;
  bool tried = false;
  for (const Key& key : s.keys.keys()) {
    if (algorithm != name_of(key.algorithm)) continue;
    if (!kid.empty() && !key.id.empty() && kid != key.id) continue;
    tried = true;
    if (check_signature(key, s.digest.get(), token.substr(0, second), signature)) {
      made_by_us = true;
      break;
    }
  }
  if (!made_by_us) {
    return {JwtStatus::kBadSignature, "no key of this server made the token's signature", !tried};
  }
  object body;
  if (!s.parse(token.substr(first + 1, second - first - 1), &body)) {
    return invalid("the token's claims are not a JSON object in base64url");
  }
  return s.read_claims(body, unix_now, claims);
}

JwtResult JwtVerifier::State::read_claims(object body, int64_t now, Claims* out) {
  out->subject.clear();
  out->character_id.clear();
  out->permissions.clear();
  out->expires_at = 0;
  out->issued_at = 0;
  element e;
  std::string_view text;
  bool there = false;
  int64_t time = 0;
  if (!read_time(body, "exp", &there, &time)) return invalid("exp is not a time in seconds");
  if (!there && rules.expiry_required) return invalid("the token has no expiry (exp)");
  if (there) {
    if (now >= time + rules.leeway_s) return {JwtStatus::kTokenExpired, "the token has expired"};
    out->expires_at = time;
  }
  if (!read_time(body, "nbf", &there, &time)) return invalid("nbf is not a time in seconds");
  if (there && now + rules.leeway_s < time) return invalid("the token is not valid yet (nbf)");
  if (!read_time(body, "iat", &there, &time)) return invalid("iat is not a time in seconds");
  if (there) out->issued_at = time;
  if (!rules.issuer.empty() &&
      (body["iss"].get(text) != simdjson::SUCCESS || text != rules.issuer)) {
    return {JwtStatus::kBadIssuer, "the token's issuer (iss) is not the one this server trusts"};
  }
  if (!rules.audience.empty()) {
    bool ours = false;
    simdjson::dom::array list;
    if (body["aud"].get(text) == simdjson::SUCCESS) {
      ours = text == rules.audience;
    } else if (body["aud"].get(list) == simdjson::SUCCESS) {
      for (element item : list) {
        ours = ours || (item.get(text) == simdjson::SUCCESS && text == rules.audience);
      }
    }
    if (!ours) return {JwtStatus::kBadAudience, "the token is for another audience (aud)"};
  }
  if (body["sub"].get(text) != simdjson::SUCCESS || text.empty() || text.size() > kClaimBytesMax ||
      !is_clean(text)) {
    return invalid("sub must be text of 1 to 64 bytes without control characters");
  }
  out->subject = text;
  if (body["character_id"].get(e) == simdjson::SUCCESS) {
    if (e.get(text) != simdjson::SUCCESS || text.size() > kClaimBytesMax || !is_clean(text)) {
      return invalid("character_id must be text of at most 64 bytes without control characters");
    }
    out->character_id = text;
  }
  simdjson::dom::array list;
  if (body["permissions"].get(e) == simdjson::SUCCESS) {
    if (e.get(list) != simdjson::SUCCESS) return invalid("permissions must be a list of texts");
    for (element item : list) {
      if (item.get(text) != simdjson::SUCCESS || !add_permission(text, out)) {
        return invalid("permissions must be at most 64 texts of 1 to 128 bytes without spaces");
      }
    }
  }
  if (body["scope"].get(e) == simdjson::SUCCESS) {
    if (e.get(text) != simdjson::SUCCESS) return invalid("scope must be text");
    while (!text.empty()) {
      const size_t space = text.find(' ');
      const std::string_view word = text.substr(0, space);
      if (!word.empty() && !add_permission(word, out))
        return invalid("scope has too many or too long parts");
      if (space == std::string_view::npos) break;
      text.remove_prefix(space + 1);
    }
  }
  for (const ClaimGrant& grant : rules.grants) {
    if (!find_claim(body, grant.claim, &e) || !holds(e, grant.value)) continue;
    for (const std::string& permission : grant.permissions) {
      const auto& had = out->permissions;
      if (std::find(had.begin(), had.end(), permission) != had.end()) continue;
      if (!add_permission(permission, out)) return invalid("the claims grant too many permissions");
    }
  }
  return kOk;
}

}  // namespace tidegate::crypto
