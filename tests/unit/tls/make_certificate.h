// SPDX-License-Identifier: Apache-2.0
// Certificates for tests, made on the spot: nothing secret lies in the tree and nothing expires.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <string>
#include <vector>

#include "base/assert.h"
#include "tls/certificates.h"

namespace tidegate::tls {

enum class KeyKind : uint8_t { kEc, kRsa };

struct CertificateWish {
  std::vector<std::string> names = {"game.example"};
  KeyKind kind = KeyKind::kEc;
  int64_t begins_in_seconds = -3600;
  int64_t expires_in_seconds = 90 * 86400;
  int extensions_bytes = 0;  // makes it larger
};

inline std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

inline void add_extension(X509* x, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  TG_ASSERT(extension != nullptr);
  X509_add_ext(x, extension, -1);
  X509_EXTENSION_free(extension);
}

inline CertificatePem make_certificate(const CertificateWish& wish = {}) {
  EVP_PKEY* key = wish.kind == KeyKind::kEc ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
  X509* x = X509_new();
  X509_set_version(x, 2);
  static int64_t serial = 1;
  ASN1_INTEGER_set_int64(X509_get_serialNumber(x), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(x), wish.begins_in_seconds);
  X509_gmtime_adj(X509_getm_notAfter(x), wish.expires_in_seconds);
  X509_set_pubkey(x, key);
  X509_NAME* name = X509_get_subject_name(x);
  const std::string common = wish.names.empty() ? "nobody" : wish.names.front();
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const uint8_t*>(common.c_str()), -1, -1, 0);
  X509_set_issuer_name(x, name);
  std::string names;
  for (const std::string& one : wish.names) {
    const bool address = one.find_first_not_of("0123456789.") == std::string::npos;
    names += (names.empty() ? "" : ",") + std::string(address ? "IP:" : "DNS:") + one;
  }
  if (!names.empty()) add_extension(x, NID_subject_alt_name, names);
  if (wish.extensions_bytes != 0) {
    add_extension(x, NID_netscape_comment,
                  std::string(static_cast<size_t>(wish.extensions_bytes), 'x'));
  }
  TG_ASSERT(X509_sign(x, key, EVP_sha256()) > 0);
  CertificatePem out;
  out.certificate_file = common + ".pem";
  out.key_file = common + ".key";
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, x);
  out.certificate = text_of(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  out.key = text_of(bio);
  X509_free(x);
  EVP_PKEY_free(key);
  return out;
}

}  // namespace tidegate::tls
