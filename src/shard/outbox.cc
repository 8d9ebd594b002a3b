// SPDX-License-Identifier: Apache-2.0
#include "shard/outbox.h"

#include <cstring>

namespace tidegate::shard {

Outbox::Outbox(mailbox::Mailbox& mailbox, uint32_t bytes_per_receiver)
    : mailbox_(mailbox), capacity_(bytes_per_receiver), queues_(mailbox.shards() + 1) {
  // Not initialised on purpose: pages that are never used are never touched.
  for (Queue& queue : queues_) queue.data.reset(new uint8_t[capacity_]);
}

void Outbox::keep(mailbox::AgentId to, uint16_t type, base::Bytes message, base::Bytes tail) {
  Queue& queue = queues_[to];
  const uint32_t bytes = static_cast<uint32_t>(message.size() + tail.size());
  if (queue.sent != 0 && queue.used + sizeof(Header) + bytes > capacity_) {
    std::memmove(queue.data.get(), queue.data.get() + queue.sent, queue.used - queue.sent);
    queue.used -= queue.sent;
    queue.sent = 0;
  }
  TG_ASSERT(queue.used + sizeof(Header) + bytes <= capacity_);
  const Header header{bytes, type, 0};
  uint8_t* p = queue.data.get() + queue.used;
  std::memcpy(p, &header, sizeof header);
  std::memcpy(p + sizeof header, message.data(), message.size());
  if (!tail.empty()) std::memcpy(p + sizeof header + message.size(), tail.data(), tail.size());
  queue.used += static_cast<uint32_t>(sizeof header) + bytes;
  waiting_ = true;
  if (queue.used - queue.sent > capacity_ / 2) strained_ = true;
}

void Outbox::retry() {
  if (!waiting_) return;
  waiting_ = false;
  strained_ = false;
  for (mailbox::AgentId to = 0; to < queues_.size(); ++to) {
    Queue& queue = queues_[to];
    while (queue.sent != queue.used) {
      Header header;
      std::memcpy(&header, queue.data.get() + queue.sent, sizeof header);
      const base::Bytes bytes{queue.data.get() + queue.sent + sizeof header, header.bytes};
      if (!mailbox_.post_raw(to, header.type, bytes)) break;
      queue.sent += static_cast<uint32_t>(sizeof header) + header.bytes;
    }
    if (queue.sent == queue.used) {
      queue.sent = queue.used = 0;
    } else {
      waiting_ = true;
      if (queue.used - queue.sent > capacity_ / 2) strained_ = true;
    }
  }
}

size_t Outbox::waiting_bytes() const {
  size_t sum = 0;
  for (const Queue& queue : queues_) sum += queue.used - queue.sent;
  return sum;
}

}  // namespace tidegate::shard
