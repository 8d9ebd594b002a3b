// SPDX-License-Identifier: Apache-2.0
// One TLS connection as a pure machine, of either side: records in, plaintext and records out. It
// owns the library's object, or the records of one that was carried here, and nothing else; one
// that was never opened is a null pointer.
//
// Bytes go in as whole records (records.h) and are decrypted in place. What the session itself has
// to say (handshake, tickets, alerts, close_notify) stands in the engine's output() after the call
// and goes out before anything that is sealed later.
//
// Thread: the engine's. Owner: the connection. Limits: the library takes about 14 KB for an idle
// session (docs/tls.md), more while a call runs.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "tls/carried.h"
#include "tls/engine.h"
#include "tls/failure.h"

struct ssl_st;
struct ssl_session_st;

namespace tidegate::tls {

class ServerContext;
class ClientContext;

enum class Status : uint8_t {
  kOk,      // all was taken
  kClosed,  // close_notify came; plaintext before it counts
  kFailed,  // it is over; an alert for the peer may stand in the output
};

struct Received {
  Status status = Status::kOk;
  Failure failure = Failure::kOther;  // valid with kFailed
  const char* reason = "";            // the library's words for it; static
  size_t plain_bytes = 0;             // at the beginning of what was given
  bool just_established = false;      // the handshake ended in this call
};

class Session {
 public:
  Session() = default;
  ~Session() { reset(); }
  Session(Session&& other) noexcept : ssl_(other.ssl_), carried_(std::move(other.carried_)) {
    other.ssl_ = nullptr;
  }
  Session& operator=(Session&& other) noexcept {
    std::swap(ssl_, other.ssl_);
    std::swap(carried_, other.carried_);
    return *this;
  }

  // False: no memory.
  [[nodiscard]] bool accept(const ServerContext& context, Engine& engine);
  // `host`: for SNI and, unless the context is insecure, the name the certificate must have. The
  // first bytes stand in the output. `resume`: a session of an earlier connection, or null.
  [[nodiscard]] bool connect(const ClientContext& context, Engine& engine, const char* host,
                             ssl_session_st* resume = nullptr);
  // Established in another process. False: it does not fit, or no memory.
  [[nodiscard]] bool carry(const Traffic& traffic);
  // For that; server's side only. False: it is not established, is over, or cannot be carried.
  [[nodiscard]] bool traffic(Traffic* out) const;
  void reset();
  explicit operator bool() const { return ssl_ != nullptr || carried_ != nullptr; }

  // Whole records. They are overwritten with their plaintext. The output is output_bytes_max() at
  // most.
  Received receive(Engine& engine, base::MutableBytes records);
  // At most kRecordPlainMax bytes as one record into `out`, which has room for kSealRoom bytes
  // more; bytes written, 0 when it cannot be. Established only.
  size_t seal(Engine& engine, base::Bytes plain, base::MutableBytes out);
  // close_notify into `out`, once; bytes written, 0 when nothing can be said any more.
  size_t shut_down(Engine& engine, base::MutableBytes out);

  bool established() const;
  size_t output_bytes_max() const {
    return established() ? kEstablishedOutputBytes : kEngineOutputBytes;
  }
  bool resumed() const;
  const char* version() const;      // "TLSv1.3"
  const char* cipher() const;       // name of the suite
  const char* server_name() const;  // SNI, null when there is none
  // Client: the name in the server's certificate, for tests. Empty when there is none.
  bool peer_certificate_has_name(const char* name) const;
  // For tests: the library's object; null when it was carried.
  ssl_st* native() const { return ssl_; }

 private:
  bool open(ssl_st* ssl, Engine& engine);

  ssl_st* ssl_ = nullptr;
  std::unique_ptr<Carried> carried_;  // instead
};

}  // namespace tidegate::tls
