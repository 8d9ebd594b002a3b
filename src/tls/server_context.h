// SPDX-License-Identifier: Apache-2.0
// What a listener needs to speak TLS: certificates by server name and the policy. Made once,
// immutable afterwards and shared by all shards; a reload makes a new one. Sessions hold what they
// use, so a context may go while connections made with it live on.
//
// Policy: TLS 1.2 and 1.3; ECDHE with AEAD only; no compression, no renegotiation, no early data,
// no server-side session cache (tickets instead); ALPN http/1.1.
//
// Thread: make on setup or control; any afterwards. Owner: ContextHolder. Limits: kCertificatesMax.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "tls/certificates.h"

struct ssl_ctx_st;

namespace tidegate::tls {

inline constexpr size_t kCertificatesMax = 64;

enum class Version : uint8_t { kTls12, kTls13 };

struct ServerOptions {
  std::vector<CertificatePem>
      certificates;  // the first is for clients that name none of the others
  Version min_version = Version::kTls12;
  base::Duration ticket_lifetime = base::seconds(8 * 3600);  // 0: no tickets
  int64_t unix_seconds = 0;                                  // wall clock, for expired certificates
};

class ServerContext {
 public:
  // Null with `error`. Warnings are for people; they do not keep it from working.
  static std::shared_ptr<const ServerContext> make(const ServerOptions& options, std::string* error,
                                                   std::vector<std::string>* warnings);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  ssl_ctx_st* native() const { return first_; }
  int64_t expires_unix() const { return expires_unix_; }  // the certificate that expires first
  size_t certificates() const { return certificates_; }
  // SHA-256 of all texts and options: a context with the same one would be the same.
  using Digest = std::array<uint8_t, 32>;
  const Digest& digest() const { return digest_; }

 private:
  ServerContext() = default;

  ssl_ctx_st* first_ = nullptr;  // holds the table of names with all others
  int64_t expires_unix_ = 0;
  size_t certificates_ = 0;
  Digest digest_{};
};

// The context of now. Shards read it when a connection comes; a set never disturbs them. Earlier
// contexts stay until the end, so that nobody needs a lock to use one: a set costs their memory,
// about 20 KB for each certificate, and is meant for certificates that have changed.
class ContextHolder {
 public:
  // One thread at a time.
  void set(std::shared_ptr<const ServerContext> context) {
    kept_.push_back(std::move(context));
    current_.store(kept_.back().get(), std::memory_order_release);  // partner: get()
  }
  // Null before the first set. Lives as long as the holder.
  const ServerContext* get() const {
    return current_.load(std::memory_order_acquire);  // partner: set()
  }

 private:
  std::vector<std::shared_ptr<const ServerContext>> kept_;
  std::atomic<const ServerContext*> current_{nullptr};
};

}  // namespace tidegate::tls
