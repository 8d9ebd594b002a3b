// SPDX-License-Identifier: Apache-2.0
// Long polling for a Link: a transport over another transport. A link that is opened while
// `use(kPolling)` holds is, seen from above, a byte stream to a server that speaks WebSocket; below
// it are two connections of the other transport that speak HTTP. Other links pass through.
// Thread: one user. Owner: Client; its links must be closed before it goes. Limits: those of
// client::PollTunnel.
#pragma once

#include "sdk/transport_choice.h"
#include "tidegate/client.h"

namespace tidegate::sdk {

class PollTransport {
 public:
  explicit PollTransport(const tidegate_client_transport& below) : below_(below) {}
  PollTransport(const PollTransport&) = delete;
  PollTransport& operator=(const PollTransport&) = delete;

  // Of the links that are opened from now on.
  void use(Transport transport) { transport_ = transport; }
  tidegate_client_transport table();

  struct Poll;

 private:
  friend struct Poll;
  tidegate_client_transport below_;
  Transport transport_ = Transport::kWebSocket;
};

}  // namespace tidegate::sdk
