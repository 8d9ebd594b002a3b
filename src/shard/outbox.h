// SPDX-License-Identifier: Apache-2.0
// Messages that must arrive, on their way into rings that may be full for a while: posts go to the
// ring, or, when it has no room, into a queue in front of it that keeps their order. Nobody waits.
//
// What bounds the queue: every must-arrive message belongs to a connection or an entity, which are
// limited; new logins are refused while a queue is more than half full (login.cc), so what those
// that are already in can cause still fits.
// Thread: shard. Owner: Shard. Limits: bytes for each receiver by constructor.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mailbox/mailboxes.h"

namespace tidegate::shard {

class Outbox {
 public:
  Outbox(mailbox::Mailbox& mailbox, uint32_t bytes_per_receiver);

  template <mailbox::Message M>
  void post(mailbox::AgentId to, const M& message, base::Bytes tail = {}) {
    if (queues_[to].used == queues_[to].sent && mailbox_.post(to, message, tail)) return;
    keep(to, static_cast<uint16_t>(M::kType),
         {reinterpret_cast<const uint8_t*>(&message), sizeof(M)}, tail);
  }
  // Moves what waits into the rings; call once a turn, before publish_all().
  void retry();
  // True while a queue is more than half full: begin nothing new.
  bool strained() const { return strained_; }
  bool waiting() const { return waiting_; }
  size_t waiting_bytes() const;
  size_t memory_bytes() const { return queues_.size() * size_t{capacity_}; }

 private:
  struct Header {
    uint32_t bytes;
    uint16_t type;
    uint16_t unused;
  };
  struct Queue {
    std::unique_ptr<uint8_t[]> data;
    uint32_t used = 0;  // bytes written
    uint32_t sent = 0;  // bytes moved into the ring; equal to used: empty
  };
  void keep(mailbox::AgentId to, uint16_t type, base::Bytes message, base::Bytes tail);

  mailbox::Mailbox& mailbox_;
  uint32_t capacity_;
  std::vector<Queue> queues_;
  bool waiting_ = false;
  bool strained_ = false;
};

}  // namespace tidegate::shard
