// SPDX-License-Identifier: Apache-2.0
#include "sdk/transport_choice.h"

namespace tidegate::sdk {

Transport TransportChoice::next(int64_t now_ms) {
  if (policy_ != TransportPolicy::kFallBack) {
    return policy_ == TransportPolicy::kPollingOnly ? Transport::kPolling : Transport::kWebSocket;
  }
  const bool by_polling = polling_ ? now_ms - websocket_ms_ < kAgainMs : failures_ >= kFailuresMost;
  if (by_polling) return Transport::kPolling;
  websocket_ms_ = now_ms;
  return Transport::kWebSocket;
}

void TransportChoice::began(Transport by, Opening how) {
  if (by == Transport::kWebSocket) {
    if (how == Opening::kUnreachable) return;
    failures_ = how == Opening::kFailed ? failures_ + 1 : 0;
    if (how == Opening::kOpened) polling_ = false;
    return;
  }
  // Neither works: it is not the transport, so the better one is tried again.
  if (how == Opening::kFailed || how == Opening::kUnreachable) forget();
  if (how == Opening::kOpened) polling_ = true;
  // It reaches the server; whether the other would was not seen, so they take turns.
  if (how == Opening::kRefused && !polling_) failures_ = kFailuresMost - 1;
}

void TransportChoice::forget() {
  polling_ = false;
  failures_ = 0;
}

}  // namespace tidegate::sdk
