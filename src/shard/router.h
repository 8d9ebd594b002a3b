// SPDX-License-Identifier: Apache-2.0
// From message type to handler. Built-in types and those an embedder registers go the same way.
// A handler says how it went; the router's caller turns that into the errors of protocol.md and
// counts messages and failures by type.
// Thread: routes are added at setup, found on the shard. Owner: Shard.
// Limits: kRoutesMax types; numbers below 1000 are the protocol's own.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/envelope.h"

namespace tidegate::shard {

class Shard;

enum class Handled : uint8_t {
  kOk,
  kInvalid,       // payload does not decode or is invalid for its type: ERROR 4003
  kNotPermitted,  // ERROR 4005
  kNotAvailable,  // nobody serves this type here: ERROR 4004
  kFailed,        // the handler failed: ERROR 4009, not held against the client
  kAnswered,      // refused, and the ERROR is out
  kTimedOut,      // the handler took longer than its limit: ERROR 4008, likewise
};

using Handler = Handled (*)(Shard& shard, uint32_t slot, const wire::Envelope& message);

class Router {
 public:
  static constexpr uint32_t kRoutesMax = 1024;
  static constexpr uint32_t kBuiltInMax = 512;

  // False when the type is taken or the table is full.
  bool add(uint32_t type, Handler handler);
  // nullptr: unknown type. O(1) for built-in types, a binary search for the others.
  Handler find(uint32_t type) const;

 private:
  struct Route {
    uint32_t type;
    Handler handler;
  };
  Handler built_in_[kBuiltInMax] = {};
  Route custom_[kRoutesMax - kBuiltInMax] = {};
  uint32_t custom_count_ = 0;
};

}  // namespace tidegate::shard
