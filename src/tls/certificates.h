// SPDX-License-Identifier: Apache-2.0
// A certificate with its chain and key, read from PEM text, and what is wrong with it in words that
// name the file.
// Thread: setup, control. Owner: holds the library's objects. Limits: kPemBytesMax, kChainMax.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

struct x509_st;
struct evp_pkey_st;

namespace tidegate::tls {

inline constexpr size_t kPemBytesMax = 256 * 1024;
inline constexpr size_t kChainMax = 10;              // certificates of one chain
inline constexpr size_t kChainBytesMax = 48 * 1024;  // encoded; must fit into an engine's output
inline constexpr int64_t kExpirySoonSeconds = 7 * 86400;

// The texts of one pair of files; both texts may be the same file's.
struct CertificatePem {
  std::string certificate_file;  // for messages
  std::string certificate;       // leaf first, then the chain
  std::string key_file;
  std::string key;
};

class Certificate {
 public:
  Certificate() = default;
  ~Certificate();
  Certificate(Certificate&& other) noexcept;
  Certificate& operator=(Certificate&& other) noexcept;

  // False with `error`. An expired certificate is a warning: old clients may still be content, and
  // an edge that does not start serves nobody.
  [[nodiscard]] bool parse(const CertificatePem& pem, int64_t unix_seconds, std::string* error,
                           std::vector<std::string>* warnings);

  x509_st* leaf() const { return leaf_; }
  const std::vector<x509_st*>& chain() const { return chain_; }
  evp_pkey_st* key() const { return key_; }
  // Lower case: DNS names of subjectAltName, or without any the common name. May be wildcards.
  const std::vector<std::string>& names() const { return names_; }
  int64_t expires_unix() const { return expires_unix_; }
  int key_kind() const;  // EVP_PKEY_RSA, EVP_PKEY_EC, ...

 private:
  bool read_certificates(const CertificatePem& pem, std::string* error);
  bool read_key(const CertificatePem& pem, std::string* error);
  void read_names();

  x509_st* leaf_ = nullptr;
  std::vector<x509_st*> chain_;
  evp_pkey_st* key_ = nullptr;
  std::vector<std::string> names_;
  int64_t expires_unix_ = 0;
};

// Lower case without a dot at the end, as names are compared.
std::string normal_name(std::string_view name);

}  // namespace tidegate::tls
