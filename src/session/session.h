// SPDX-License-Identifier: Apache-2.0
// What a session knows apart from sockets: its state, the acknowledged messages that came in, the
// limits on what a client may send. Sans-IO: messages and time in, decisions out.
// The sending side, which keeps messages for a resume, is session/replay_log.h.
// Thread: shard. Owner: shard::Player holds one of each. Limits: named at each class.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace tidegate::session {

// States of systems.md G3. Each change is an event with a metric.
enum class State : uint8_t {
  kConnecting,      // socket accepted, head not whole
  kAuthenticating,  // token is being checked
  kAuthenticated,   // token accepted, messages flow, entity not there yet
  kConnected,       // entity in the world, state flows
  kReconnecting,    // connection lost, entity lingers
  kDisconnected,
  kCount,
};
const char* name_of(State state);

// Whether a session may go from one state to the other.
bool may_change(State from, State to);

// Receiving side of acknowledged delivery: sequences start at 1 and rise by one.
class InboundSequence {
 public:
  enum class Verdict : uint8_t {
    kDeliver,    // next in order, hand it to the handler
    kDuplicate,  // seen before; acknowledge again, do not deliver
    kGap,        // one before it is missing: a protocol violation on an ordered transport
  };

  Verdict accept(uint64_t sequence, base::Instant now);
  // From now on what was received is acknowledged only after confirm(), because it has to be
  // stored first.
  void hold() { hold_ = true; }
  // It is time to have it stored; asked() notes that this was asked for up to received().
  bool save_due(base::Instant now) const { return asked_ < received_ && now >= save_at_; }
  bool save_owed() const { return asked_ < received_; }
  void asked() { asked_ = received_; }
  void confirm(uint64_t sequence);
  uint64_t received() const { return received_; }
  // A resumed session goes on behind what it has received.
  void begin_after(uint64_t received, uint64_t safe) {
    received_ = asked_ = received;
    safe_ = safe;
  }
  // What may be acknowledged.
  uint64_t safe() const { return safe_; }
  // True when an acknowledgement is owed and no later than `now`.
  bool ack_due(base::Instant now) const { return owed_ && now >= due_; }
  bool ack_owed() const { return owed_; }
  // Call when `safe()` was sent in any message.
  void acknowledged() { owed_ = false; }

  // The peer may wait this long for an acknowledgement (protocol.md says 100 ms; half leaves time
  // for the tick and the way back).
  static constexpr base::Duration kAckDelay = base::milliseconds(50);

 private:
  static constexpr base::Duration kSaveDelay = base::milliseconds(25);

  uint64_t received_ = 0;
  uint64_t safe_ = 0;   // of them, up to here acknowledged or about to be
  uint64_t asked_ = 0;  // of them, up to here on their way to the store; with hold_
  base::Instant due_{};
  base::Instant save_at_{};
  bool owed_ = false;
  bool hold_ = false;
};

// Token bucket in 1/1000 of a message. 8 bytes, one for each connection.
// Limits: rate up to 4 million a second.
class RateLimit {
 public:
  // Takes one message; false when the bucket is empty. `now_ms` may wrap.
  bool take(uint32_t now_ms, uint32_t per_second, uint32_t burst);

 private:
  uint32_t level_ = UINT32_MAX;  // thousandths; UINT32_MAX: not begun
  uint32_t at_ms_ = 0;
};

// Counts violations in a window of one minute; the connection ends when the limit is passed.
class ViolationCounter {
 public:
  // Returns true when the count passed `per_minute`.
  bool add(uint32_t now_ms, uint32_t per_minute);
  uint32_t count() const { return count_; }

 private:
  uint32_t window_ms_ = 0;
  uint32_t count_ = 0;
};

}  // namespace tidegate::session
