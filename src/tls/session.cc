// SPDX-License-Identifier: Apache-2.0
#include "tls/session.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/assert.h"
#include "tls/client_context.h"
#include "tls/records.h"
#include "tls/server_context.h"
#include "tls/traffic.h"

namespace tidegate::tls {

bool Session::open(ssl_st* ssl, Engine& engine) {
  TG_ASSERT(ssl_ == nullptr);
  if (ssl == nullptr) return false;
  BIO* bio = engine.make_bio();
  if (bio == nullptr) {
    SSL_free(ssl);
    return false;
  }
  SSL_set_bio(ssl, bio, bio);
  SSL_set_app_data(ssl, reinterpret_cast<char*>(&engine));  // for the ticket callback
  ssl_ = ssl;
  return true;
}

bool Session::accept(const ServerContext& context, Engine& engine) {
  ERR_clear_error();
  if (!open(SSL_new(context.native()), engine)) return false;
  if (!TrafficWatch::attach(ssl_)) {
    reset();
    return false;
  }
  SSL_set_accept_state(ssl_);
  return true;
}

bool Session::connect(const ClientContext& context, Engine& engine, const char* host,
                      ssl_session_st* resume) {
  ERR_clear_error();
  if (!open(SSL_new(context.native()), engine)) return false;
  if (!context.prepare(ssl_, host)) {
    reset();
    return false;
  }
  if (resume != nullptr) SSL_set_session(ssl_, resume);
  SSL_set_connect_state(ssl_);
  engine.begin({}, kEngineOutputBytes);
  SSL_do_handshake(ssl_);
  return true;
}

bool Session::carry(const Traffic& traffic) {
  TG_ASSERT(ssl_ == nullptr && carried_ == nullptr);
  carried_ = Carried::make(traffic);
  return carried_ != nullptr;
}

bool Session::traffic(Traffic* out) const {
  if (carried_ != nullptr) return carried_->read(out);
  return ssl_ != nullptr && TrafficWatch::read(ssl_, out);
}

void Session::reset() {
  if (ssl_ != nullptr) SSL_free(ssl_);
  ssl_ = nullptr;
  carried_.reset();
}

Received Session::receive(Engine& engine, base::MutableBytes records) {
  if (carried_ != nullptr) {
    engine.begin({}, kEstablishedOutputBytes);
    return carried_->receive(records, engine.output_, &engine.written_);
  }
  Received out;
  // TLS_ST_EARLY_DATA: also where the second hello after a HelloRetryRequest comes.
  if (!established() && SSL_is_server(ssl_) == 1 &&
      (SSL_in_before(ssl_) == 1 || SSL_get_state(ssl_) == TLS_ST_EARLY_DATA) &&
      !hello_length_good(records)) {
    engine.begin({}, size_t{0});
    out.status = Status::kFailed;
    out.failure = Failure::kBadMessage;
    out.reason = "a ClientHello of more than 16 KB";
    return out;
  }
  engine.begin(records, output_bytes_max());
  ERR_clear_error();
  const bool was_established = established();
  // The plaintext of a record is shorter than the record, which the library has taken before it
  // writes any of it: what is written here never reaches what is still to be read.
  while (engine.taken_ < records.size()) {
    size_t n = 0;
    const int result =
        SSL_read_ex(ssl_, records.data() + out.plain_bytes, records.size() - out.plain_bytes, &n);
    if (result == 1) {
      out.plain_bytes += n;
      TG_ASSERT(out.plain_bytes <= engine.taken_ && SSL_pending(ssl_) == 0);
      continue;
    }
    const int error = SSL_get_error(ssl_, result);
    if (error == SSL_ERROR_WANT_READ) {
      // Only whole records are given; a rest that it keeps would wait for bytes that never come.
      TG_ASSERT(engine.taken_ == records.size());
      break;
    }
    if (error == SSL_ERROR_ZERO_RETURN) {
      out.status = Status::kClosed;
      break;
    }
    out.status = Status::kFailed;
    out.failure = take_failure(&out.reason);
    break;
  }
  out.just_established = !was_established && established() && out.status != Status::kFailed;
  return out;
}

size_t Session::seal(Engine& engine, base::Bytes plain, base::MutableBytes out) {
  TG_ASSERT(plain.size() <= kRecordPlainMax && !plain.empty());
  if (carried_ != nullptr) return carried_->seal(plain, out);
  engine.begin({}, out);
  ERR_clear_error();
  size_t n = 0;
  const bool good = SSL_write_ex(ssl_, plain.data(), plain.size(), &n) == 1 && n == plain.size();
  engine.output_ = {};
  if (!good) return 0;
  TrafficWatch::note_sealed(ssl_, out.first(engine.written_));
  return engine.written_;
}

size_t Session::shut_down(Engine& engine, base::MutableBytes out) {
  if (carried_ != nullptr) return carried_->shut_down(out);
  if (!established() || (SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) return 0;
  engine.begin({}, out);
  ERR_clear_error();
  const bool good = SSL_shutdown(ssl_) >= 0;
  engine.output_ = {};
  return good ? engine.written_ : 0;
}

bool Session::established() const {
  if (carried_ != nullptr) return !carried_->over();
  return ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1;
}
bool Session::resumed() const { return ssl_ != nullptr && SSL_session_reused(ssl_) == 1; }
const char* Session::version() const {
  if (carried_ != nullptr) return carried_->suite().tls13 ? "TLSv1.3" : "TLSv1.2";
  return SSL_get_version(ssl_);
}
const char* Session::cipher() const {
  return carried_ != nullptr ? carried_->suite().name : SSL_get_cipher_name(ssl_);
}
const char* Session::server_name() const {
  return ssl_ != nullptr ? SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name) : nullptr;
}

bool Session::peer_certificate_has_name(const char* name) const {
  X509* certificate = ssl_ != nullptr ? SSL_get0_peer_certificate(ssl_) : nullptr;
  return certificate != nullptr && X509_check_host(certificate, name, 0, 0, nullptr) == 1;
}

}  // namespace tidegate::tls
