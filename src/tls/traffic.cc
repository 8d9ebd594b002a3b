// SPDX-License-Identifier: Apache-2.0
#include "tls/traffic.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>

namespace tidegate::tls {
namespace {

constexpr Suite kSuites[] = {
    {0x1301, "TLS_AES_128_GCM_SHA256", true, true, 16, EVP_sha256, EVP_aes_128_gcm},
    {0x1302, "TLS_AES_256_GCM_SHA384", true, true, 32, EVP_sha384, EVP_aes_256_gcm},
    {0x1303, "TLS_CHACHA20_POLY1305_SHA256", true, false, 32, EVP_sha256, EVP_chacha20_poly1305},
    {0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", false, true, 16, EVP_sha256, EVP_aes_128_gcm},
    {0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", false, true, 16, EVP_sha256, EVP_aes_128_gcm},
    {0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", false, true, 32, EVP_sha384, EVP_aes_256_gcm},
    {0xc030, "ECDHE-RSA-AES256-GCM-SHA384", false, true, 32, EVP_sha384, EVP_aes_256_gcm},
    {0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305", false, false, 32, EVP_sha256, EVP_chacha20_poly1305},
    {0xcca8, "ECDHE-RSA-CHACHA20-POLY1305", false, false, 32, EVP_sha256, EVP_chacha20_poly1305},
};

constexpr size_t kRandomBytes = 32;
constexpr size_t kMasterBytes = 48;
constexpr uint8_t kFinished = 20;
constexpr uint8_t kKeyUpdate = 24;
constexpr size_t kExplicitNonceBytes = 8;
constexpr size_t kRecordHead = 5;

// Bytes of hexadecimal text; 0: it is none, or does not fit.
size_t from_hex(std::string_view text, uint8_t* out, size_t room) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  if (text.size() % 2 != 0 || text.size() / 2 > room) return 0;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return 0;
    out[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
  return text.size() / 2;
}

bool hmac(const EVP_MD* hash, base::Bytes key, base::Bytes data, uint8_t* out) {
  unsigned int size = 0;
  return HMAC(hash, key.data(), static_cast<int>(key.size()), data.data(), data.size(), out,
              &size) != nullptr;
}

// PRF of RFC 5246 section 5.
bool expand_master(const EVP_MD* hash, base::Bytes master, base::Bytes seed,
                   base::MutableBytes out) {
  const auto hash_bytes = static_cast<size_t>(EVP_MD_get_size(hash));
  uint8_t a[EVP_MAX_MD_SIZE + 256];
  uint8_t block[EVP_MAX_MD_SIZE];
  if (seed.size() > 256 || !hmac(hash, master, seed, a)) return false;
  for (size_t at = 0; at < out.size();) {
    std::memcpy(a + hash_bytes, seed.data(), seed.size());
    if (!hmac(hash, master, {a, hash_bytes + seed.size()}, block)) return false;
    const size_t part = std::min(hash_bytes, out.size() - at);
    std::memcpy(out.data() + at, block, part);
    at += part;
    uint8_t next[EVP_MAX_MD_SIZE];
    if (!hmac(hash, master, {a, hash_bytes}, next)) return false;
    std::memcpy(a, next, hash_bytes);
  }
  OPENSSL_cleanse(block, sizeof block);
  return true;
}

}  // namespace

Traffic::~Traffic() {
  OPENSSL_cleanse(in.secret, sizeof in.secret);
  OPENSSL_cleanse(out.secret, sizeof out.secret);
}

const Suite* find_suite(uint16_t number) {
  for (const Suite& suite : kSuites) {
    if (suite.number == number) return &suite;
  }
  return nullptr;
}

bool expand_label(const EVP_MD* hash, base::Bytes secret, const char* label,
                  base::MutableBytes out) {
  uint8_t info[64];
  const size_t name = std::strlen(label);
  if (out.size() > static_cast<size_t>(EVP_MD_get_size(hash)) || name + 11 > sizeof info) {
    return false;
  }
  size_t size = 0;
  info[size++] = 0;
  info[size++] = static_cast<uint8_t>(out.size());
  info[size++] = static_cast<uint8_t>(6 + name);
  std::memcpy(info + size, "tls13 ", 6);
  std::memcpy(info + size + 6, label, name);
  size += 6 + name;
  info[size++] = 0;  // context
  info[size++] = 1;  // the first block of HKDF-Expand
  uint8_t block[EVP_MAX_MD_SIZE];
  const bool good = hmac(hash, secret, {info, size}, block);
  if (good) std::memcpy(out.data(), block, out.size());
  OPENSSL_cleanse(block, sizeof block);
  return good;
}

struct TrafficWatch::State {
  Traffic::Direction in, out;
  uint64_t explicit_nonce = 0;  // of the last record out
  bool sealed = false;
  bool lost = false;  // something that is not followed
};

int TrafficWatch::index() {
  static const int index = SSL_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* state, CRYPTO_EX_DATA*, int, long, void*) {
        OPENSSL_clear_free(state, sizeof(State));
      });
  return index;
}

TrafficWatch::State* TrafficWatch::of(const ssl_st* ssl) {
  return static_cast<State*>(SSL_get_ex_data(ssl, index()));
}

void TrafficWatch::install(ssl_ctx_st* context) {
  SSL_CTX_set_keylog_callback(context, on_key_line);
  SSL_CTX_set_msg_callback(context, on_message);
}

bool TrafficWatch::attach(ssl_st* ssl) {
  void* memory = OPENSSL_malloc(sizeof(State));
  if (memory == nullptr) return false;
  if (SSL_set_ex_data(ssl, index(), new (memory) State) == 1) return true;
  OPENSSL_free(memory);
  return false;
}

// "CLIENT_TRAFFIC_SECRET_0 <random> <secret>"
void TrafficWatch::on_key_line(const ssl_st* ssl, const char* line) {
  State* state = of(ssl);
  if (state == nullptr) return;
  const std::string_view text(line);
  Traffic::Direction* to = nullptr;
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) to = &state->in;
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) to = &state->out;
  if (to == nullptr) return;
  const std::string_view secret = text.substr(text.rfind(' ') + 1);
  to->secret_bytes = static_cast<uint32_t>(from_hex(secret, to->secret, sizeof to->secret));
}

// A record's header comes before what is in it, so the numbers begin behind "finished": with TLS
// 1.3 its keys begin there, with 1.2 it is the first record that they protect.
void TrafficWatch::on_message(int writing, int, int kind, const void* data, size_t bytes,
                              ssl_st* ssl, void*) {
  State* state = of(ssl);
  if (state == nullptr) return;
  Traffic::Direction& way = writing != 0 ? state->out : state->in;
  if (kind == SSL3_RT_HEADER) {
    ++way.number;
    return;
  }
  if (kind != SSL3_RT_HANDSHAKE || bytes == 0) return;
  const bool tls13 = SSL_version(ssl) == TLS1_3_VERSION;
  const uint8_t message = *static_cast<const uint8_t*>(data);
  if (message == kFinished) {
    way.number = tls13 ? 0 : 1;
  } else if (message == kKeyUpdate && tls13) {
    const Suite* suite = find_suite(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)));
    uint8_t next[kSecretBytesMax];
    const base::Bytes secret{way.secret, way.secret_bytes};
    if (suite == nullptr ||
        !expand_label(suite->hash(), secret, "traffic upd", {next, way.secret_bytes})) {
      state->lost = true;
      return;
    }
    std::memcpy(way.secret, next, way.secret_bytes);
    OPENSSL_cleanse(next, sizeof next);
    way.number = 0;
  }
}

void TrafficWatch::note_sealed(ssl_st* ssl, base::Bytes record) {
  if (SSL_version(ssl) == TLS1_3_VERSION) return;
  State* state = of(ssl);
  if (state == nullptr || record.size() < kRecordHead + kExplicitNonceBytes) return;
  uint64_t nonce = 0;
  for (size_t i = 0; i < kExplicitNonceBytes; ++i) nonce = nonce << 8 | record[kRecordHead + i];
  state->explicit_nonce = nonce;
  state->sealed = true;
}

bool TrafficWatch::read(ssl_st* ssl, Traffic* out) {
  const State* state = of(ssl);
  if (state == nullptr || state->lost || SSL_is_init_finished(ssl) != 1 ||
      SSL_get_shutdown(ssl) != 0 || SSL_has_pending(ssl) != 0) {
    return false;
  }
  const Suite* suite = find_suite(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)));
  if (suite == nullptr || suite->tls13 != (SSL_version(ssl) == TLS1_3_VERSION)) return false;
  out->tls13 = suite->tls13;
  out->suite = suite->number;
  out->in = state->in;
  out->out = state->out;
  const auto hash_bytes = static_cast<uint32_t>(EVP_MD_get_size(suite->hash()));
  if (suite->tls13) {
    out->key_update_owed = SSL_get_key_update_type(ssl) != SSL_KEY_UPDATE_NONE;
    return state->in.secret_bytes == hash_bytes && state->out.secret_bytes == hash_bytes;
  }
  // The explicit nonce of GCM is known from what was sealed; everybody was sent something.
  if (suite->gcm && !state->sealed) return false;
  out->explicit_nonce = state->explicit_nonce + 1;
  uint8_t master[kMasterBytes];
  const SSL_SESSION* session = SSL_get_session(ssl);
  if (session == nullptr ||
      SSL_SESSION_get_master_key(session, master, sizeof master) != kMasterBytes) {
    return false;
  }
  // RFC 5246 section 6.3.
  constexpr std::string_view kLabel = "key expansion";
  uint8_t seed[kLabel.size() + 2 * kRandomBytes];
  std::memcpy(seed, kLabel.data(), kLabel.size());
  SSL_get_server_random(ssl, seed + kLabel.size(), kRandomBytes);
  SSL_get_client_random(ssl, seed + kLabel.size() + kRandomBytes, kRandomBytes);
  uint8_t block[2 * kSecretBytesMax];
  const size_t key = suite->key_bytes;
  const size_t fixed = suite->fixed_nonce_bytes();
  const size_t all = 2 * (key + fixed);
  const bool good = expand_master(suite->hash(), master, seed, {block, all});
  std::memcpy(out->in.secret, block, key);
  std::memcpy(out->out.secret, block + key, key);
  std::memcpy(out->in.secret + key, block + 2 * key, fixed);
  std::memcpy(out->out.secret + key, block + 2 * key + fixed, fixed);
  out->in.secret_bytes = out->out.secret_bytes = static_cast<uint32_t>(key + fixed);
  OPENSSL_cleanse(master, sizeof master);
  OPENSSL_cleanse(block, sizeof block);
  return good;
}

}  // namespace tidegate::tls
