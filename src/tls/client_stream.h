// SPDX-License-Identifier: Apache-2.0
// A client's end of a TLS connection with buffers of its own: bytes of the socket in, plaintext
// out, and the reverse. For drivers that count connections in thousands, not for shards. Thread:
// the engine's. Owner: the driver. Limits: one record of input; output grows with what the driver
// seals and does not send.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "tls/client_context.h"
#include "tls/engine.h"
#include "tls/session.h"

namespace tidegate::tls {

class ClientStream {
 public:
  // False: no memory. `host`: as for Session::connect.
  [[nodiscard]] bool start(const ClientContext& context, Engine& engine, const char* host);
  bool started() const { return static_cast<bool>(session_); }
  bool established() const { return session_.established(); }

  // Bytes of the socket, changed in place. `plain` is valid until the next call. False: it is over,
  // after `plain`; problem() is empty when the peer ended it in order.
  bool receive(Engine& engine, base::MutableBytes bytes, base::MutableBytes* plain);
  // Established only; false: it is over.
  bool seal(Engine& engine, base::Bytes plain);
  void shut_down(Engine& engine);

  // For the socket.
  base::Bytes outgoing() const { return {out_.data() + sent_, out_.size() - sent_}; }
  void sent(size_t bytes);
  const std::string& problem() const { return problem_; }

 private:
  void append(base::Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

  Session session_;
  std::vector<uint8_t> in_;      // an incomplete record
  std::vector<uint8_t> opened_;  // records that were not whole at first
  std::vector<uint8_t> out_;
  size_t sent_ = 0;
  std::string problem_;
};

}  // namespace tidegate::tls
