// SPDX-License-Identifier: Apache-2.0
#include "tls/server_context.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <cstring>
#include <unordered_map>

#include "base/assert.h"
#include "tls/engine.h"
#include "tls/records.h"
#include "tls/traffic.h"

namespace tidegate::tls {
namespace {

// Forward secrecy and authenticated encryption only; AES-128 first, it is the quickest here.
constexpr const char* kCiphers12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* kSuites13 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kGroups = "X25519:P-256:P-384";
constexpr uint8_t kAlpn[] = "\x08http/1.1";
constexpr uint8_t kSessionContext[] = "tidegate";

// The other certificates by name. Lives as long as the context of the first certificate, in which
// it lies; so it may not hold that one.
struct NameTable {
  ~NameTable() {
    for (SSL_CTX* one : contexts) SSL_CTX_free(one);
  }
  std::vector<SSL_CTX*> contexts;                   // without the first
  std::unordered_map<std::string, SSL_CTX*> exact;  // null: the first context
  std::unordered_map<std::string, SSL_CTX*> wild;   // "*.example.org" by "example.org"
};

void free_names(void*, void* names, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<NameTable*>(names);
}

int names_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_names);
  return index;
}

int on_server_name(SSL* ssl, int*, void*) {
  const char* asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const auto* names =
      static_cast<const NameTable*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), names_index()));
  if (asked == nullptr || names == nullptr) return SSL_TLSEXT_ERR_OK;
  const std::string name = normal_name(asked);
  auto found = names->exact.find(name);
  if (found == names->exact.end()) {
    const size_t dot = name.find('.');
    if (dot == std::string::npos) return SSL_TLSEXT_ERR_OK;
    found = names->wild.find(name.substr(dot + 1));
    if (found == names->wild.end()) return SSL_TLSEXT_ERR_OK;
  }
  if (found->second != nullptr) SSL_set_SSL_CTX(ssl, found->second);
  return SSL_TLSEXT_ERR_OK;
}

// RFC 7301 section 3.2: a client that offers protocols of which we speak none is told so.
int on_alpn(SSL*, const uint8_t** out, uint8_t* out_size, const uint8_t* in, unsigned int in_size,
            void*) {
  for (unsigned int at = 0; at < in_size; at += 1u + in[at]) {
    if (in[at] == kAlpn[0] && at + sizeof kAlpn - 1 <= in_size &&
        std::memcmp(in + at, kAlpn, sizeof kAlpn - 1) == 0) {
      *out = in + at + 1;
      *out_size = in[at];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// Seals and opens tickets with the keys of the session's engine.
int on_ticket_key(SSL* ssl, uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                  int sealing) {
  const auto* engine = static_cast<const Engine*>(SSL_get_app_data(ssl));
  const TicketKeys* keys = engine != nullptr ? engine->tickets() : nullptr;
  if (keys == nullptr) return 0;  // no ticket
  const TicketKeys::Key* key = sealing != 0 ? &keys->current() : keys->find(name);
  if (key == nullptr) return 0;  // a full handshake
  if (sealing != 0) {
    std::memcpy(name, key->name, sizeof key->name);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
  }
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<uint8_t*>(key->mac),
                                        sizeof key->mac),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end()};
  if (EVP_MAC_CTX_set_params(mac, parameters) != 1 ||
      EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher, iv, sealing) != 1) {
    return -1;
  }
  // 2: good, and a new ticket is due because a newer key is in use.
  return sealing != 0 || key == &keys->current() ? 1 : 2;
}

// Everything but certificates.
SSL_CTX* make_context(const ServerOptions& options) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  TG_ASSERT(context != nullptr);
  SSL_CTX_set_min_proto_version(
      context, options.min_version == Version::kTls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  bool good = SSL_CTX_set_cipher_list(context, kCiphers12) == 1 &&
              SSL_CTX_set_ciphersuites(context, kSuites13) == 1 &&
              SSL_CTX_set1_groups_list(context, kGroups) == 1;
  // Without AES in hardware clients put ChaCha20 first, and then get it.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 0);
  SSL_CTX_set_quiet_shutdown(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  good = good &&
         SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext - 1) == 1;
  SSL_CTX_set_max_early_data(context, 0);
  if (options.ticket_lifetime.ns > 0) {
    SSL_CTX_set_timeout(context, static_cast<long>(options.ticket_lifetime.ns / 1'000'000'000));
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket_key);
  } else {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
  }
  TrafficWatch::install(context);
  SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
  SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
  TG_ASSERT(good);  // the lists are ours
  return context;
}

// False with `error`: the library's own rules, such as a key that is too short.
bool use(SSL_CTX* context, const Certificate& certificate, const CertificatePem& pem,
         std::string* error) {
  ERR_clear_error();
  bool good = SSL_CTX_use_certificate(context, certificate.leaf()) == 1 &&
              SSL_CTX_use_PrivateKey(context, certificate.key()) == 1;
  for (size_t i = 0; i < certificate.chain().size() && good; ++i) {
    good = SSL_CTX_add1_chain_cert(context, certificate.chain()[i]) == 1;
  }
  if (good) return true;
  const char* text = ERR_reason_error_string(ERR_peek_error());
  *error = pem.certificate_file +
           ": the TLS library refuses it: " + (text != nullptr ? text : "no reason given");
  ERR_clear_error();
  return false;
}

ServerContext::Digest digest_of(const ServerOptions& options) {
  ServerContext::Digest out{};
  EVP_MD_CTX* hash = EVP_MD_CTX_new();
  EVP_DigestInit_ex(hash, EVP_sha256(), nullptr);
  const auto add = [hash](const std::string& text) {
    const uint64_t size = text.size();
    EVP_DigestUpdate(hash, &size, sizeof size);
    EVP_DigestUpdate(hash, text.data(), text.size());
  };
  for (const CertificatePem& pem : options.certificates) {
    add(pem.certificate);
    add(pem.key);
  }
  add(std::to_string(static_cast<int>(options.min_version)));
  add(std::to_string(options.ticket_lifetime.ns));
  EVP_DigestFinal_ex(hash, out.data(), nullptr);
  EVP_MD_CTX_free(hash);
  return out;
}

}  // namespace

std::shared_ptr<const ServerContext> ServerContext::make(const ServerOptions& options,
                                                         std::string* error,
                                                         std::vector<std::string>* warnings) {
  if (options.certificates.empty() || options.certificates.size() > kCertificatesMax) {
    *error = "name 1 to " + std::to_string(kCertificatesMax) + " pairs of files";
    return nullptr;
  }
  std::shared_ptr<ServerContext> out(new ServerContext);
  out->first_ = make_context(options);
  auto* names = new NameTable;
  SSL_CTX_set_ex_data(out->first_, names_index(), names);
  struct Made {
    std::vector<std::string> names;
    std::vector<int> kinds;
    SSL_CTX* context;
  };
  std::vector<Made> made;
  for (const CertificatePem& pem : options.certificates) {
    Certificate certificate;
    if (!certificate.parse(pem, options.unix_seconds, error, warnings)) return nullptr;
    if (out->expires_unix_ == 0 || certificate.expires_unix() < out->expires_unix_) {
      out->expires_unix_ = certificate.expires_unix();
    }
    // The same names with another kind of key: both in one context, clients get what they can read.
    SSL_CTX* context = nullptr;
    for (Made& one : made) {
      bool has_kind = false;
      for (int kind : one.kinds) has_kind |= kind == certificate.key_kind();
      if (one.names != certificate.names() || has_kind) continue;
      context = one.context;
      one.kinds.push_back(certificate.key_kind());
      break;
    }
    if (context == nullptr) {
      context = made.empty() ? out->first_ : make_context(options);
      if (context != out->first_) names->contexts.push_back(context);
      made.push_back({certificate.names(), {certificate.key_kind()}, context});
    }
    if (!use(context, certificate, pem, error)) return nullptr;
    SSL_CTX* const entry = context == out->first_ ? nullptr : context;
    for (const std::string& name : certificate.names()) {
      // The first certificate with a name has it.
      if (name.rfind("*.", 0) == 0) {
        names->wild.emplace(name.substr(2), entry);
      } else {
        names->exact.emplace(name, entry);
      }
    }
  }
  out->certificates_ = options.certificates.size();
  out->digest_ = digest_of(options);
  return out;
}

ServerContext::~ServerContext() { SSL_CTX_free(first_); }

}  // namespace tidegate::tls
