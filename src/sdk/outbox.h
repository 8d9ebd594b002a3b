// SPDX-License-Identifier: Apache-2.0
// What waits to be sent, and what was sent and is not acknowledged yet. It outlives connections.
//
// Messages leave by priority, then by age. One with acknowledgement gets its sequence (1, 2, 3, …)
// when it is sent first and is kept until the server names it; after a reconnect it is sent again:
// under its sequence when the session was resumed, under a new one, in the old order, otherwise. A
// message whose time is over is dropped unless it has a sequence, which would leave a gap.
//
// The receiving half of acknowledged delivery (what came, what is owed) stands here as well.
//
// Thread: one. Owner: holds copies of payloads in memory taken at construction. Limits: messages
// and payload bytes as given.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace tidegate::sdk {

// As tidegate_client_mode, without "now", which never waits.
enum class Keep : uint8_t { kQueued, kLatest, kAcknowledged };

struct Waiting {
  uint32_t type = 0;
  uint32_t key = 0;       // of kLatest
  uint64_t sequence = 0;  // 0: none yet
  uint64_t order = 0;     // of arrival
  base::Instant expires = base::Instant::never();
  uint32_t offset = 0, size = 0;  // of the payload
  uint8_t priority = 0;
  Keep keep = Keep::kQueued;
  bool on_wire = false;  // sent in this connection, waits for its acknowledgement
};

class Outbox {
 public:
  Outbox(uint32_t messages_max, uint32_t bytes_max);

  // False: no room.
  bool add(uint32_t type, base::Bytes payload, Keep keep, uint8_t priority, uint32_t key,
           base::Instant expires);
  // The next to be sent, null when there is none. Valid until anything else is called.
  // `acknowledged`: whether messages of that kind may go out yet.
  const Waiting* next(bool acknowledged);
  base::Bytes payload(const Waiting& w) const { return {data_.data() + w.offset, w.size}; }
  // The sequence that next() would be sent with; 0 when it needs none.
  uint64_t sequence_of(const Waiting& w) const;
  // next() went out.
  void sent(const Waiting& w);
  uint64_t last_order() const { return orders_; }  // of what was added last
  // Whether what was added as that is not sent yet.
  bool waits(uint64_t order) const;
  // Takes out one whose time is over; null when there is none. Valid until the next call.
  const Waiting* expire(base::Instant now);
  base::Instant next_expiry() const;

  // The server has all up to here.
  void on_ack(uint64_t sequence);
  // The connection is gone: what was on the wire is so no longer.
  void disconnected();
  // The session lives on and the server has all up to here.
  void resume(uint64_t last_client_sequence);
  // Another session: sequences begin with 1.
  void restart(base::Instant now);
  // Nothing is kept.
  void clear();

  uint32_t count() const { return static_cast<uint32_t>(entries_.size()); }
  uint32_t bytes() const { return live_bytes_; }
  uint32_t unacknowledged() const;
  uint64_t expired() const { return expired_; }

  // --- the other direction ---

  // Whether a message of this sequence is to be handled; one that needs no acknowledgement always.
  bool accept(uint64_t sequence, bool requires_ack);
  uint64_t ack_out() const { return last_in_; }
  bool ack_owed() const { return owed_; }
  void ack_sent() { owed_ = false; }
  uint64_t duplicates() const { return duplicates_; }
  uint64_t gaps() const { return gaps_; }

 private:
  void remove(size_t index);
  void compact();

  std::vector<Waiting> entries_;  // in no order; capacity taken once
  std::vector<uint8_t> data_;     // payloads; capacity taken once
  uint32_t messages_max_;
  uint32_t bytes_max_;
  uint32_t live_bytes_ = 0;
  uint64_t orders_ = 0;
  uint64_t next_out_ = 1;
  uint64_t expired_ = 0;
  Waiting gone_;  // what expire() told
  uint64_t last_in_ = 0;
  bool owed_ = false;
  uint64_t duplicates_ = 0, gaps_ = 0;
};

}  // namespace tidegate::sdk
