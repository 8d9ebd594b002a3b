// SPDX-License-Identifier: Apache-2.0
// What the bus needs of whatever carries its messages: subjects, bytes, at most once, in order from
// one sender to one receiver. NATS behind it in a cluster; a hub in memory in tests.
//
// Thread: control. Owner: server. Limits: each transport has its own bounds, and counts what it
// drops for them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace tidegate::bus {

struct Delivery {
  std::string subject;
  std::string reply;  // where an answer goes; empty: none is asked for
  std::vector<uint8_t> bytes;
  bool no_responders = false;  // instead of an answer: nobody serves the subject
};

struct Subscription {
  std::string subject;
  std::string group;  // one of the group gets a message; empty: everybody does
};

struct TransportFigures {
  uint64_t sent = 0, received = 0;
  uint64_t sent_bytes = 0, received_bytes = 0;
  uint64_t dropped_out = 0;  // not connected, or the queue was full
  uint64_t dropped_in = 0;   // the queue was full, or the server cut us as slow
  uint64_t connects = 0;     // the first one included
  uint64_t queued_bytes = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Never blocks; false: dropped and counted.
  virtual bool publish(std::string_view subject, base::Bytes head, base::Bytes body,
                       std::string_view reply = {}) = 0;
  // The oldest message that came; false: there is none.
  virtual bool poll(Delivery* out) = 0;
  virtual bool connected() const = 0;
  virtual TransportFigures figures() const = 0;
};

}  // namespace tidegate::bus
