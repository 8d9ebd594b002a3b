// SPDX-License-Identifier: Apache-2.0
// Whether the next try goes by WebSocket or by HTTP long polling (docs/sdk-spec.md, "Transport").
// Some networks and proxies let HTTP pass and nothing else; who is behind one must not try in vain
// each time, and must come back to the WebSocket when it is elsewhere.
// Thread: one. Owner: values. Limits: none.
#pragma once

#include <cstdint>

namespace tidegate::sdk {

enum class Transport : uint8_t { kWebSocket, kPolling };
// By the numbers of tidegate_client_config::polling.
enum class TransportPolicy : uint8_t { kFallBack = 0, kPollingOnly = 1, kWebSocketOnly = 2 };
// How a try began.
enum class Opening : uint8_t {
  kOpened,       // the 101, or its like
  kRefused,      // by the server itself: 401, 403, 408, 409, 429 or 503
  kUnreachable,  // no connection stood: nothing else would do better
  kFailed,       // anything else before that
};

class TransportChoice {
 public:
  static constexpr uint32_t kFailuresMost = 2;        // in a row, then polling is tried
  static constexpr int64_t kAgainMs = 5 * 60 * 1000;  // polling works: then WebSocket is tried

  explicit TransportChoice(TransportPolicy policy) : policy_(policy) {}

  // For a try that begins now; any clock.
  Transport next(int64_t now_ms);
  // Once for each try, of how it began.
  void began(Transport by, Opening how);
  // Another network: nothing is known of it.
  void forget();

 private:
  TransportPolicy policy_;
  bool polling_ = false;  // it worked last
  uint32_t failures_ = 0;
  int64_t websocket_ms_ = 0;  // last tried
};

}  // namespace tidegate::sdk
