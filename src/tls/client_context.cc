// SPDX-License-Identifier: Apache-2.0
#include "tls/client_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace tidegate::tls {
namespace {

bool is_address(const char* host) {
  ASN1_OCTET_STRING* address = a2i_IPADDRESS(host);
  if (address == nullptr) return false;
  ASN1_OCTET_STRING_free(address);
  return true;
}

// Certificates of `pem` into the store; how many.
int add_authorities(X509_STORE* store, const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  int added = 0;
  while (X509* one = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)) {
    added += X509_STORE_add_cert(store, one);
    X509_free(one);
  }
  BIO_free(bio);
  ERR_clear_error();
  return added;
}

}  // namespace

std::unique_ptr<ClientContext> ClientContext::make(const ClientOptions& options,
                                                   std::string* error) {
  std::unique_ptr<ClientContext> out(new ClientContext);
  out->context_ = SSL_CTX_new(TLS_client_method());
  out->insecure_ = options.insecure;
  SSL_CTX* const context = out->context_;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (options.tls12_only) SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  constexpr uint8_t kAlpn[] = "\x08http/1.1";
  if (options.offer_alpn) SSL_CTX_set_alpn_protos(context, kAlpn, sizeof kAlpn - 1);
  if (!options.insecure) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    const bool good = options.authorities.empty() ? SSL_CTX_set_default_verify_paths(context) == 1
                                                  : add_authorities(SSL_CTX_get_cert_store(context),
                                                                    options.authorities) > 0;
    if (!good) {
      *error = options.authorities_file + ": holds no certificate to trust";
      return nullptr;
    }
  }
  return out;
}

ClientContext::~ClientContext() { SSL_CTX_free(context_); }

bool ClientContext::prepare(ssl_st* ssl, const char* host) const {
  const bool address = is_address(host);
  if (!address && SSL_set_tlsext_host_name(ssl, host) != 1) return false;
  if (insecure_) return true;
  X509_VERIFY_PARAM* rules = SSL_get0_param(ssl);
  return address ? X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1
                 : X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1;
}

}  // namespace tidegate::tls
