// SPDX-License-Identifier: Apache-2.0
#include "crypto/jwt_sign.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "crypto/base64url.h"
#include "crypto/key.h"

namespace tidegate::crypto {
namespace {

void append_json_text(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\u00";
      out += kHex[c >> 4 & 15];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_member(std::string& out, const char* name, std::string_view value) {
  out += out.size() > 1 ? ",\"" : "\"";
  out += name;
  out += "\":";
  append_json_text(out, value);
}

std::string bn_text(EVP_PKEY* pkey, const char* name, int bytes) {
  BIGNUM* bn = nullptr;
  if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1) return {};
  std::vector<uint8_t> out(static_cast<size_t>(bytes != 0 ? bytes : BN_num_bytes(bn)));
  BN_bn2binpad(bn, out.data(), static_cast<int>(out.size()));
  BN_free(bn);
  return encode_base64url(out);
}

}  // namespace

std::string claims_json(const MintClaims& c) {
  std::string out = "{";
  append_member(out, "sub", c.subject);
  if (!c.character_id.empty()) append_member(out, "character_id", c.character_id);
  if (!c.issuer.empty()) append_member(out, "iss", c.issuer);
  if (!c.audience.empty()) append_member(out, "aud", c.audience);
  if (!c.permissions.empty()) {
    out += ",\"permissions\":[";
    for (size_t i = 0; i < c.permissions.size(); ++i) {
      if (i != 0) out += ',';
      append_json_text(out, c.permissions[i]);
    }
    out += ']';
  }
  if (c.issued_at != 0) out += ",\"iat\":" + std::to_string(c.issued_at);
  if (c.expires_at != 0) out += ",\"exp\":" + std::to_string(c.expires_at);
  return out + '}';
}

std::string mint(std::string_view secret, const MintClaims& claims) {
  if (secret.size() < kSecretBytesMin) return {};
  return Signer::from_secret(secret).sign_claims(claims_json(claims));
}

struct Signer::State {
  Algorithm algorithm = Algorithm::kHs256;
  std::string secret;
  std::unique_ptr<EVP_PKEY, FreePkey> pkey;
};

Signer::Signer() : state_(std::make_unique<State>()) {}
Signer::~Signer() = default;
Signer::Signer(Signer&&) noexcept = default;
Signer& Signer::operator=(Signer&&) noexcept = default;

Signer Signer::from_secret(std::string_view secret) {
  Signer s;
  s.state_->secret = secret;
  return s;
}

Signer Signer::generate(Algorithm algorithm, unsigned rsa_bits) {
  Signer s;
  s.state_->algorithm = algorithm;
  EVP_PKEY* pkey = nullptr;
  switch (algorithm) {
    case Algorithm::kRs256:
      pkey = EVP_RSA_gen(rsa_bits);
      break;
    case Algorithm::kEs256:
      pkey = EVP_EC_gen("P-256");
      break;
    case Algorithm::kEdDsa:
      pkey = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
      break;
    case Algorithm::kHs256:
      break;
  }
  s.state_->pkey.reset(pkey);
  return s;
}

Algorithm Signer::algorithm() const { return state_->algorithm; }

std::string Signer::public_key_pem() const {
  if (state_->pkey == nullptr) return {};
  BIO* bio = BIO_new(BIO_s_mem());
  std::string out;
  if (PEM_write_bio_PUBKEY(bio, state_->pkey.get()) == 1) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    out.assign(data, static_cast<size_t>(size));
  }
  BIO_free(bio);
  return out;
}

std::string Signer::jwk(std::string_view kid) const {
  std::string out = "{";
  EVP_PKEY* pkey = state_->pkey.get();
  switch (state_->algorithm) {
    case Algorithm::kHs256:
      append_member(out, "kty", "oct");
      append_member(out, "k", encode_base64url(base::as_bytes(state_->secret)));
      break;
    case Algorithm::kRs256:
      append_member(out, "kty", "RSA");
      append_member(out, "n", bn_text(pkey, OSSL_PKEY_PARAM_RSA_N, 0));
      append_member(out, "e", bn_text(pkey, OSSL_PKEY_PARAM_RSA_E, 0));
      break;
    case Algorithm::kEs256:
      append_member(out, "kty", "EC");
      append_member(out, "crv", "P-256");
      append_member(out, "x", bn_text(pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32));
      append_member(out, "y", bn_text(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32));
      break;
    case Algorithm::kEdDsa: {
      uint8_t raw[32];
      size_t size = sizeof raw;
      EVP_PKEY_get_raw_public_key(pkey, raw, &size);
      append_member(out, "kty", "OKP");
      append_member(out, "crv", "Ed25519");
      append_member(out, "x", encode_base64url({raw, size}));
      break;
    }
  }
  append_member(out, "alg", name_of(state_->algorithm));
  append_member(out, "use", "sig");
  if (!kid.empty()) append_member(out, "kid", kid);
  return out + '}';
}

std::string Signer::sign(std::string_view header_json, std::string_view payload_json) const {
  std::string text = encode_base64url(base::as_bytes(header_json)) + '.' +
                     encode_base64url(base::as_bytes(payload_json));
  const uint8_t* data = reinterpret_cast<const uint8_t*>(text.data());
  std::vector<uint8_t> signature(1024);
  if (state_->algorithm == Algorithm::kHs256) {
    unsigned size = 0;
    if (HMAC(EVP_sha256(), state_->secret.data(), static_cast<int>(state_->secret.size()), data,
             text.size(), signature.data(), &size) == nullptr) {
      return {};
    }
    signature.resize(size);
  } else {
    EVP_MD_CTX* ctx = EVP_MD_CTX_new();
    const EVP_MD* hash = state_->algorithm == Algorithm::kEdDsa ? nullptr : EVP_sha256();
    size_t size = signature.size();
    const bool good = EVP_DigestSignInit(ctx, nullptr, hash, nullptr, state_->pkey.get()) == 1 &&
                      EVP_DigestSign(ctx, signature.data(), &size, data, text.size()) == 1;
    EVP_MD_CTX_free(ctx);
    if (!good) return {};
    signature.resize(size);
    if (state_->algorithm == Algorithm::kEs256) {
      const uint8_t* der = signature.data();
      ECDSA_SIG* sig = d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(size));
      if (sig == nullptr) return {};
      signature.assign(64, 0);
      BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature.data(), 32);
      BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature.data() + 32, 32);
      ECDSA_SIG_free(sig);
    }
  }
  return text + '.' + encode_base64url(signature);
}

std::string Signer::sign_claims(std::string_view payload_json, std::string_view kid) const {
  std::string header = "{";
  append_member(header, "alg", name_of(state_->algorithm));
  append_member(header, "typ", "JWT");
  if (!kid.empty()) append_member(header, "kid", kid);
  return sign(header + '}', payload_json);
}

}  // namespace tidegate::crypto
