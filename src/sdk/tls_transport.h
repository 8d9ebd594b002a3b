// SPDX-License-Identifier: Apache-2.0
// wss:// for the built-in transport: TLS between the WebSocket and TCP, for the links that ask for
// it; the others pass through. The certificates to trust are read when the first one is asked for.
// Thread: one user. Owner: Client; its links must be closed before it goes. Limits: kPlainMost
// bytes that were decrypted and not taken.
#pragma once

#include <memory>
#include <string>

#include "tidegate/client.h"

namespace tidegate::sdk {

#ifdef TIDEGATE_CLIENT_TLS
class TlsTransport {
 public:
  // `authorities`: PEM text, empty: the system's.
  TlsTransport(std::string authorities, bool insecure);
  ~TlsTransport();
  TlsTransport(const TlsTransport&) = delete;
  TlsTransport& operator=(const TlsTransport&) = delete;

  tidegate_client_transport table();
  // As tcp_descriptor(), of one of its links.
  static int descriptor(void* user, void* link, bool* wants_write);

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};
#else
class TlsTransport {};  // built without
#endif

}  // namespace tidegate::sdk
