// SPDX-License-Identifier: Apache-2.0
// The client's side of TLS for the load tool, tests and other own clients: whom to trust.
// Thread: setup; any afterwards. Owner: the program. Limits: none.
#pragma once

#include <memory>
#include <string>

struct ssl_ctx_st;
struct ssl_st;

namespace tidegate::tls {

struct ClientOptions {
  bool insecure = false;         // trust any certificate
  std::string authorities;       // PEM text; empty: the system's
  std::string authorities_file;  // for messages
  bool offer_alpn = true;        // http/1.1
  bool tls12_only = false;       // for tests and measurements
};

class ClientContext {
 public:
  // Null with `error`.
  static std::unique_ptr<ClientContext> make(const ClientOptions& options, std::string* error);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  ssl_ctx_st* native() const { return context_; }
  // Name and trust of one session. `host`: a name or an address without its port.
  bool prepare(ssl_st* ssl, const char* host) const;

 private:
  ClientContext() = default;
  ssl_ctx_st* context_ = nullptr;
  bool insecure_ = false;
};

}  // namespace tidegate::tls
