// SPDX-License-Identifier: Apache-2.0
#include "crypto/key_set.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <simdjson.h>

#include "crypto/base64url.h"
#include "crypto/key.h"

namespace tidegate::crypto {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ";

bool make_hmac(std::string_view secret, Key* key, std::string* error) {
  if (secret.size() < kSecretBytesMin) {
    *error = "an HS256 secret of " + std::to_string(secret.size()) +
             " bytes is too short: at least " + std::to_string(kSecretBytesMin);
    return false;
  }
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  key->mac.reset(mac != nullptr ? EVP_MAC_CTX_new(mac) : nullptr);
  EVP_MAC_free(mac);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
  if (key->mac == nullptr ||
      EVP_MAC_init(key->mac.get(), reinterpret_cast<const uint8_t*>(secret.data()), secret.size(),
                   parameters) != 1) {
    *error = "OpenSSL cannot make an HMAC-SHA256 context";
    return false;
  }
  key->algorithm = Algorithm::kHs256;
  return true;
}

// With the exponent 1 (or an even one) anybody can make a signature.
bool exponent_is_sound(const EVP_PKEY* pkey) {
  BIGNUM* e = nullptr;
  const bool sound =
      EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_odd(e) && !BN_is_one(e);
  BN_free(e);
  return sound;
}

// Binds a public key to the one algorithm of its kind.
bool classify(std::unique_ptr<EVP_PKEY, FreePkey> pkey, Key* key, std::string* error) {
  switch (EVP_PKEY_get_base_id(pkey.get())) {
    case EVP_PKEY_RSA: {
      const int bits = EVP_PKEY_get_bits(pkey.get());
      if (bits < kRsaBitsMin || bits > kRsaBitsMax) {
        *error = "an RSA key of " + std::to_string(bits) +
                 " bits is not accepted: " + std::to_string(kRsaBitsMin) + " to " +
                 std::to_string(kRsaBitsMax);
        return false;
      }
      if (!exponent_is_sound(pkey.get())) {
        *error = "an RSA key with a public exponent that is 1 or even is not accepted";
        return false;
      }
      key->algorithm = Algorithm::kRs256;
      break;
    }
    case EVP_PKEY_EC: {
      char group[64] = {};
      size_t size = 0;
      EVP_PKEY_get_group_name(pkey.get(), group, sizeof group, &size);
      if (std::string_view(group, size) != "prime256v1") {
        *error = "an EC key on another curve than P-256 is not accepted";
        return false;
      }
      key->algorithm = Algorithm::kEs256;
      break;
    }
    case EVP_PKEY_ED25519:
      key->algorithm = Algorithm::kEdDsa;
      break;
    default:
      *error = "a public key is neither RSA, EC P-256 nor Ed25519";
      return false;
  }
  key->pkey = std::move(pkey);
  return true;
}

struct BigNumber {
  explicit BigNumber(base::Bytes b)
      : bn(BN_bin2bn(b.data(), static_cast<int>(b.size()), nullptr)) {}
  ~BigNumber() { BN_free(bn); }
  BIGNUM* bn;
};

std::unique_ptr<EVP_PKEY, FreePkey> from_params(const char* type, OSSL_PARAM_BLD* build) {
  EVP_PKEY* pkey = nullptr;
  OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(build);
  EVP_PKEY_CTX* ctx = EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr);
  if (params != nullptr && ctx != nullptr && EVP_PKEY_fromdata_init(ctx) == 1) {
    if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) pkey = nullptr;
  }
  EVP_PKEY_CTX_free(ctx);
  OSSL_PARAM_free(params);
  return std::unique_ptr<EVP_PKEY, FreePkey>(pkey);
}

using simdjson::dom::element;

std::string_view text_of(element e, const char* name) {
  std::string_view out;
  return e[name].get(out) == simdjson::SUCCESS ? out : std::string_view{};
}

// Whether `key_ops` (RFC 7517 section 4.3), when it is there, allows to check signatures.
bool may_verify(element e) {
  simdjson::dom::array list;
  if (e["key_ops"].get(list) != simdjson::SUCCESS) return true;
  for (element item : list) {
    std::string_view operation;
    if (item.get(operation) == simdjson::SUCCESS && operation == "verify") return true;
  }
  return false;
}

bool decode_member(element e, const char* name, std::vector<uint8_t>* out) {
  const std::string_view text = text_of(e, name);
  out->resize(base64url_decoded_size(text.size()));
  const size_t n = decode_base64url(text, *out);
  if (n == kBase64Invalid || n == 0) return false;
  out->resize(n);
  return true;
}

// 1: a key, 0: passed over, -1: error.
int read_jwk(element e, Key* key, std::string* error) {
  const std::string_view kty = text_of(e, "kty");
  const std::string_view use = text_of(e, "use");
  const std::string_view alg = text_of(e, "alg");
  key->id = std::string(text_of(e, "kid"));
  const std::string name = key->id.empty() ? "a key" : "key " + key->id;
  if ((!use.empty() && use != "sig") || !may_verify(e)) return 0;
  std::vector<uint8_t> a;
  std::vector<uint8_t> b;
  if (kty == "oct") {
    if (!alg.empty() && alg != "HS256") return 0;
    if (!decode_member(e, "k", &a)) {
      *error = name + ": k is not base64url";
      return -1;
    }
    if (make_hmac(base::as_text(a), key, error)) return 1;
    *error = name + ": " + *error;
    return -1;
  }
  element ignored;
  if (e["d"].get(ignored) == simdjson::SUCCESS) {
    *error = name + ": holds a private part (d); give the server public keys only";
    return -1;
  }
  std::unique_ptr<EVP_PKEY, FreePkey> pkey;
  if (kty == "RSA") {
    if (!alg.empty() && alg != "RS256") return 0;
    if (!decode_member(e, "n", &a) || !decode_member(e, "e", &b)) {
      *error = name + ": n or e is not base64url";
      return -1;
    }
    BigNumber n(a);
    BigNumber x(b);
    OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n.bn);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, x.bn);
    pkey = from_params("RSA", build);
    OSSL_PARAM_BLD_free(build);
  } else if (kty == "EC") {
    if ((!alg.empty() && alg != "ES256") || text_of(e, "crv") != "P-256") return 0;
    if (!decode_member(e, "x", &a) || !decode_member(e, "y", &b) || a.size() != 32 ||
        b.size() != 32) {
      *error = name + ": x or y is not 32 bytes of base64url";
      return -1;
    }
    std::vector<uint8_t> point = {4};
    point.insert(point.end(), a.begin(), a.end());
    point.insert(point.end(), b.begin(), b.end());
    OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    pkey = from_params("EC", build);
    OSSL_PARAM_BLD_free(build);
  } else if (kty == "OKP") {
    if ((!alg.empty() && alg != "EdDSA") || text_of(e, "crv") != "Ed25519") return 0;
    if (!decode_member(e, "x", &a) || a.size() != 32) {
      *error = name + ": x is not 32 bytes of base64url";
      return -1;
    }
    pkey.reset(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, a.data(), a.size()));
  } else {
    return 0;
  }
  if (pkey == nullptr) {
    *error = name + ": is not a valid " + std::string(kty) + " key";
    return -1;
  }
  if (classify(std::move(pkey), key, error)) return 1;
  *error = name + ": " + *error;
  return -1;
}

}  // namespace

const char* name_of(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kHs256:
      return "HS256";
    case Algorithm::kRs256:
      return "RS256";
    case Algorithm::kEs256:
      return "ES256";
    case Algorithm::kEdDsa:
      return "EdDSA";
  }
  return "?";
}

KeySet::KeySet() = default;
KeySet::~KeySet() = default;
KeySet::KeySet(KeySet&&) noexcept = default;
KeySet& KeySet::operator=(KeySet&&) noexcept = default;

bool KeySet::append(std::vector<Key> added, std::string* error) {
  if (keys_.size() + added.size() > kKeysMax) {
    *error = "more than " + std::to_string(kKeysMax) + " keys";
    return false;
  }
  for (Key& key : added) keys_.push_back(std::move(key));
  return true;
}

bool KeySet::add_secret(std::string_view secret, std::string* error) {
  std::vector<Key> added(1);
  return make_hmac(secret, &added[0], error) && append(std::move(added), error);
}

bool KeySet::add_public_keys_pem(std::string_view pem, std::string* error) {
  if (pem.find("PRIVATE KEY") != std::string_view::npos) {
    *error = "the file holds a private key; give the server the public key only";
    return false;
  }
  // A block that cannot be read must not leave the others behind it out without a word.
  size_t blocks = 0;
  for (size_t at = pem.find(kBegin); at != std::string_view::npos; at = pem.find(kBegin, at + 1)) {
    ++blocks;
  }
  std::vector<Key> added;
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  bool good = true;
  for (;;) {
    std::unique_ptr<EVP_PKEY, FreePkey> pkey(PEM_read_bio_PUBKEY(bio, nullptr, nullptr, nullptr));
    if (pkey == nullptr) break;
    added.emplace_back();
    good = classify(std::move(pkey), &added.back(), error);
    if (!good) break;
  }
  ERR_clear_error();
  BIO_free(bio);
  if (!good) return false;
  if (added.empty()) {
    *error = "no PEM public key (BEGIN PUBLIC KEY) in it";
    return false;
  }
  if (added.size() != blocks) {
    *error = "only " + std::to_string(added.size()) + " of " + std::to_string(blocks) +
             " PEM blocks are public keys that can be read";
    return false;
  }
  return append(std::move(added), error);
}

bool KeySet::add_jwks(std::string_view json, std::string* error) {
  simdjson::dom::parser parser;
  element root;
  simdjson::dom::array list;
  if (parser.parse(simdjson::padded_string(json)).get(root) != simdjson::SUCCESS ||
      root["keys"].get(list) != simdjson::SUCCESS) {
    *error = "not a JWK set: expected {\"keys\": [...]}";
    return false;
  }
  std::vector<Key> added;
  for (element e : list) {
    Key key;
    const int result = read_jwk(e, &key, error);
    ERR_clear_error();
    if (result < 0) return false;
    if (result > 0) added.push_back(std::move(key));
  }
  if (added.empty()) {
    *error = "the JWK set has no signature key of HS256, RS256, ES256 or EdDSA";
    return false;
  }
  return append(std::move(added), error);
}

size_t KeySet::size() const { return keys_.size(); }

std::vector<std::string> KeySet::describe() const {
  std::vector<std::string> out;
  for (const Key& key : keys_) {
    out.push_back(std::string(name_of(key.algorithm)) + (key.id.empty() ? "" : " kid=" + key.id));
  }
  return out;
}

}  // namespace tidegate::crypto
