// SPDX-License-Identifier: Apache-2.0
// All rings between the agents of a process: one single-producer single-consumer byte ring for each
// ordered pair, so a message is first in, first out for its pair, and a full ring between two
// agents touches no third. Agents are the shards 0..n-1 and control, n.
//
// A producer posts during its turn and calls publish_all() once at the end of it; a consumer that
// is asleep is woken then, at most once a turn.
//
// Thread: each Mailbox belongs to one agent's thread; Fabric is built before threads start.
// Owner: the server owns the Fabric. Limits: ring bytes for each pair by constructor.
#pragma once

#include <atomic>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>
#include <vector>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "mailbox/messages.h"
#include "queue/byte_ring.h"

namespace tidegate::mailbox {

// Number of an agent: a shard's index, or the control agent's.
using AgentId = uint32_t;

struct FabricLimits {
  uint32_t shards = 1;
  uint32_t shard_ring_bytes = 1 << 20;    // shard to shard
  uint32_t control_ring_bytes = 1 << 20;  // either way between a shard and control
};

// True while the agent may be waiting and needs a wake to look at its rings.
struct alignas(64) SleepFlag {
  std::atomic<bool> asleep{false};
};

class Fabric {
 public:
  explicit Fabric(const FabricLimits& limits);

  AgentId agents() const { return agents_; }
  AgentId control() const { return agents_ - 1; }
  queue::ByteRing& ring(AgentId from, AgentId to) { return *rings_[from * agents_ + to]; }
  SleepFlag& sleep_flag(AgentId agent) { return sleep_flags_[agent]; }
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  AgentId agents_;
  std::vector<std::unique_ptr<queue::ByteRing>> rings_;
  std::unique_ptr<SleepFlag[]> sleep_flags_;
  size_t memory_bytes_ = 0;
};

// How an agent is woken; implemented over io wakers by the server.
class WakeSink {
 public:
  virtual ~WakeSink() = default;
  virtual void wake_agent(AgentId agent) = 0;
};

// One agent's view: its outgoing and incoming rings.
class Mailbox {
 public:
  Mailbox(Fabric& fabric, AgentId self);

  AgentId self() const { return self_; }
  AgentId shards() const { return fabric_.control(); }
  AgentId control() const { return fabric_.control(); }

  // Appends a message; false (and a counter of refusals) when the ring has no room. Not visible to
  // the receiver before publish_all().
  template <Message M>
  [[nodiscard]] bool post(AgentId to, const M& message, base::Bytes tail = {}) {
    queue::ByteRing& ring = fabric_.ring(self_, to);
    uint8_t* p =
        ring.claim(static_cast<uint16_t>(M::kType), static_cast<uint32_t>(sizeof(M) + tail.size()));
    if (p == nullptr) {
      ++refused_[static_cast<size_t>(M::kType)];
      return false;
    }
    std::memcpy(p, &message, sizeof(M));
    if (!tail.empty()) std::memcpy(p + sizeof(M), tail.data(), tail.size());
    ring.commit();
    dirty_ |= uint64_t{1} << to;
    return true;
  }
  // The same with a tail of several parts, `tail_bytes` together.
  template <Message M>
  [[nodiscard]] bool post_parts(AgentId to, const M& message, size_t tail_bytes,
                                std::initializer_list<base::Bytes> parts) {
    uint8_t* p = fabric_.ring(self_, to).claim(static_cast<uint16_t>(M::kType),
                                               static_cast<uint32_t>(sizeof(M) + tail_bytes));
    if (p == nullptr) {
      ++refused_[static_cast<size_t>(M::kType)];
      return false;
    }
    std::memcpy(p, &message, sizeof(M));
    p += sizeof(M);
    for (const base::Bytes part : parts) {
      if (!part.empty()) std::memcpy(p, part.data(), part.size());
      p += part.size();
    }
    fabric_.ring(self_, to).commit();
    dirty_ |= uint64_t{1} << to;
    return true;
  }
  // A message already in bytes, for a queue in front of the ring.
  [[nodiscard]] bool post_raw(AgentId to, uint16_t type, base::Bytes bytes) {
    queue::ByteRing& ring = fabric_.ring(self_, to);
    uint8_t* p = ring.claim(type, static_cast<uint32_t>(bytes.size()));
    if (p == nullptr) {
      ++refused_[type];
      return false;
    }
    std::memcpy(p, bytes.data(), bytes.size());
    ring.commit();
    dirty_ |= uint64_t{1} << to;
    return true;
  }

  // Makes everything posted visible and wakes receivers that sleep.
  void publish_all(WakeSink& wakes);

  // Hands each waiting message to sink(AgentId from, MessageType, Bytes) in ring order, at most
  // `max` of each sender, `of_control` of control. Returns how many there were. The bytes are valid
  // during the call.
  template <class Sink>
  uint32_t drain(uint32_t max, uint32_t of_control, Sink&& sink) {
    uint32_t taken = 0;
    for (AgentId from = 0; from < fabric_.agents(); ++from) {
      queue::ByteRing& ring = fabric_.ring(from, self_);
      const uint32_t most = from == control() ? of_control : max;
      uint32_t n = 0;
      queue::Record record;
      while (n < most && ring.peek(&record)) {
        sink(from, static_cast<MessageType>(record.type), record.bytes);
        ring.pop();
        ++n;
      }
      if (n != 0) ring.release();
      taken += n;
    }
    return taken;
  }
  template <class Sink>
  uint32_t drain(uint32_t max, Sink&& sink) {
    return drain(max, max, sink);
  }
  bool anything_waiting();

  // Around a wait: announce it, look once more (true: do not wait), take the announcement back.
  bool prepare_to_sleep();
  void awake();

  uint64_t refused(MessageType type) const { return refused_[static_cast<size_t>(type)]; }

 private:
  Fabric& fabric_;
  AgentId self_;
  uint64_t dirty_ = 0;  // bit for each receiver with unpublished messages
  uint64_t refused_[static_cast<size_t>(MessageType::kCount)] = {};
};
static_assert(sizeof(uint64_t) * 8 >= 64, "one bit for each agent");

// Reads the struct at the front of a record; the rest is the tail.
template <Message M>
inline M read_message(base::Bytes bytes, base::Bytes* tail = nullptr) {
  TG_ASSERT(bytes.size() >= sizeof(M));
  M message;
  std::memcpy(&message, bytes.data(), sizeof(M));
  if (tail != nullptr) *tail = bytes.subspan(sizeof(M));
  return message;
}

}  // namespace tidegate::mailbox
