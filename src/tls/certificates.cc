// SPDX-License-Identifier: Apache-2.0
#include "tls/certificates.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <utility>

namespace tidegate::tls {
namespace {

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPointer = std::unique_ptr<BIO, BioFree>;

BioPointer text_bio(const std::string& text) {
  return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Of an encrypted key: never asked for, a server has nobody to ask.
int no_password(char*, int, int, void*) { return 0; }

const char* library_text() {
  const char* text = ERR_reason_error_string(ERR_peek_last_error());
  return text != nullptr ? text : "not understood";
}

int64_t unix_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return timegm(&parts);
}

std::string date_text(int64_t unix_seconds) {
  const std::time_t t = unix_seconds;
  std::tm parts{};
  char text[32] = {};
  if (gmtime_r(&t, &parts) != nullptr)
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

}  // namespace

std::string normal_name(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  std::string out(name);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

Certificate::~Certificate() {
  X509_free(leaf_);
  for (X509* one : chain_) X509_free(one);
  EVP_PKEY_free(key_);
}

Certificate::Certificate(Certificate&& other) noexcept { *this = std::move(other); }

Certificate& Certificate::operator=(Certificate&& other) noexcept {
  std::swap(leaf_, other.leaf_);
  std::swap(chain_, other.chain_);
  std::swap(key_, other.key_);
  std::swap(names_, other.names_);
  std::swap(expires_unix_, other.expires_unix_);
  return *this;
}

bool Certificate::read_certificates(const CertificatePem& pem, std::string* error) {
  const BioPointer bio = text_bio(pem.certificate);
  leaf_ = PEM_read_bio_X509_AUX(bio.get(), nullptr, no_password, nullptr);
  if (leaf_ == nullptr) {
    *error = pem.certificate_file + ": holds no certificate (a PEM block CERTIFICATE)";
    return false;
  }
  int bytes = i2d_X509(leaf_, nullptr);
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)) {
    chain_.push_back(next);
    bytes += i2d_X509(next, nullptr);
    if (chain_.size() >= kChainMax || static_cast<size_t>(bytes) > kChainBytesMax) {
      *error = pem.certificate_file + ": the chain is longer than " + std::to_string(kChainMax) +
               " certificates or " + std::to_string(kChainBytesMax) +
               " bytes; name the server's own chain, not a bundle of authorities";
      return false;
    }
  }
  const unsigned long end = ERR_peek_last_error();
  if (ERR_GET_LIB(end) != ERR_LIB_PEM || ERR_GET_REASON(end) != PEM_R_NO_START_LINE) {
    *error = pem.certificate_file + ": a certificate of the chain is damaged: " + library_text();
    return false;
  }
  return true;
}

bool Certificate::read_key(const CertificatePem& pem, std::string* error) {
  const BioPointer bio = text_bio(pem.key);
  key_ = PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr);
  if (key_ == nullptr) {
    const bool encrypted = pem.key.find("ENCRYPTED") != std::string::npos;
    *error =
        pem.key_file + (encrypted ? ": the key is encrypted; decrypt it with `openssl pkey`, a "
                                    "server has nobody to ask for the password"
                                  : ": holds no private key (a PEM block PRIVATE KEY)");
    return false;
  }
  if (X509_check_private_key(leaf_, key_) != 1) {
    *error =
        pem.key_file + ": the key does not belong to the certificate in " + pem.certificate_file;
    return false;
  }
  return true;
}

void Certificate::read_names() {
  auto* all =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf_, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* one = sk_GENERAL_NAME_value(all, i);
    if (one->type != GEN_DNS) continue;
    const ASN1_STRING* text = one->d.dNSName;
    names_.push_back(normal_name({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                  static_cast<size_t>(ASN1_STRING_length(text))}));
  }
  GENERAL_NAMES_free(all);
  char common[256];
  if (all == nullptr && X509_NAME_get_text_by_NID(X509_get_subject_name(leaf_), NID_commonName,
                                                  common, sizeof common) > 0) {
    names_.push_back(normal_name(common));
  }
  std::sort(names_.begin(), names_.end());
  names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
}

bool Certificate::parse(const CertificatePem& pem, int64_t unix_seconds, std::string* error,
                        std::vector<std::string>* warnings) {
  ERR_clear_error();
  const bool good = read_certificates(pem, error) && read_key(pem, error);
  if (good) {
    read_names();
    expires_unix_ = unix_of(X509_get0_notAfter(leaf_));
    const int64_t begins = unix_of(X509_get0_notBefore(leaf_));
    const std::string what = pem.certificate_file + ": the certificate ";
    if (expires_unix_ < unix_seconds) {
      warnings->push_back(what + "expired on " + date_text(expires_unix_) +
                          "; clients will refuse it");
    } else if (expires_unix_ - unix_seconds < kExpirySoonSeconds) {
      warnings->push_back(what + "expires on " + date_text(expires_unix_) +
                          "; renew it and reload");
    }
    if (begins > unix_seconds) {
      warnings->push_back(what + "is not valid before " + date_text(begins));
    }
    if (names_.empty())
      warnings->push_back(what + "has no names; only clients that ask for none accept it");
  }
  ERR_clear_error();
  return good;
}

int Certificate::key_kind() const { return EVP_PKEY_get_base_id(key_); }

}  // namespace tidegate::tls
