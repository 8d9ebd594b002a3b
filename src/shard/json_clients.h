// SPDX-License-Identifier: Apache-2.0
// What a shard keeps for clients of the JSON-RPC subprotocol: the reader, the call that is being
// handled, requests that wait for a REPLY from elsewhere, and batches that wait for those. The
// functions that use it are Shard's, in json.cc.
//
// Requests wait in a ring in the order in which they came; all wait equally long, so the oldest is
// the next to be given up.
// Thread: shard. Owner: Shard. Limits: kWaitingMax requests and kBatchesMax batches wait at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/ids.h"
#include "base/time.h"
#include "mem/mapped_array.h"
#include "protocol/json_rpc.h"

namespace tidegate::shard {

class JsonClients {
 public:
  static constexpr uint32_t kWaitingMax = 1024;
  static constexpr uint32_t kBatchesMax = 64;
  static constexpr uint32_t kBatchBytes = 56 * 1024;
  // Kept for short errors in place of answers that found no room.
  static constexpr uint32_t kBatchReserve = protocol::kRpcBatchMax * 256;
  static constexpr uint32_t kNoBatch = UINT32_MAX;
  static constexpr uint32_t kFrameBytes = (2 << 20) + 1024;  // the longest a MessageWriter makes
  static constexpr uint32_t kScratchBytes = 128 * 1024;
  static constexpr uint32_t kTextBytes = 192 * 1024;
  static constexpr base::Duration kPatience = base::seconds(10);
  // Sequences from here on are ours, given to requests that have none.
  static constexpr uint64_t kSequenceFirst = uint64_t{1} << 48;

  explicit JsonClients(uint32_t message_bytes)
      : reader(message_bytes),
        frame(kFrameBytes),
        text(kTextBytes),
        pieces(kScratchBytes),
        waiting_(kWaitingMax),
        batches_(kBatchesMax) {}

  // A request whose answer comes later.
  struct Waiting {
    base::ConnectionRef connection;
    uint64_t sequence;
    base::Instant due;
    uint32_t batch;
    protocol::Naming naming;
    bool answered;
    uint8_t id_bytes;
    uint16_t refused;  // code of a REPLY whose ERROR, with the details, is still to come; 0: none
    char id[protocol::kRpcIdBytesMax];
    std::string_view id_text() const { return {id, id_bytes}; }
  };
  struct Batch {
    base::ConnectionRef connection;
    uint32_t used;     // bytes of `text`; 0: no answer yet
    uint32_t waiting;  // calls whose answers are still out, and one while calls are made
    bool taken;
    char text[kBatchBytes];
  };

  // False: too many wait already.
  bool wait(base::ConnectionRef connection, const protocol::RpcCall& request, uint32_t in_batch,
            base::Instant now) {
    if (waiting_count_ == kWaitingMax) return false;
    Waiting& w = waiting_[(waiting_first_ + waiting_count_++) % kWaitingMax];
    w = {connection,
         request.sequence,
         now + kPatience,
         in_batch,
         request.naming,
         false,
         static_cast<uint8_t>(request.id.size()),
         0,
         {}};
    std::memcpy(w.id, request.id.data(), request.id.size());
    if (in_batch != kNoBatch) ++batches_[in_batch].waiting;
    return true;
  }
  // The request that a REPLY answers, nullptr when there is none.
  Waiting* find(base::ConnectionRef connection, uint64_t sequence) {
    for (uint32_t i = 0; i < waiting_count_; ++i) {
      Waiting& w = waiting_[(waiting_first_ + i) % kWaitingMax];
      if (w.sequence == sequence && w.connection == connection && !w.answered) return &w;
    }
    return nullptr;
  }
  // Calls visit(Waiting&) for each that is refused and not answered.
  template <class Visit>
  void for_refused(Visit&& visit) {
    for (uint32_t i = 0; i < waiting_count_ && refused_count != 0; ++i) {
      Waiting& w = waiting_[(waiting_first_ + i) % kWaitingMax];
      if (w.refused != 0 && !w.answered) visit(w);
    }
    refused_count = 0;
  }
  // The oldest request while it is answered or its time is over, else nullptr; pop() drops it.
  Waiting* oldest_done(base::Instant now) {
    if (waiting_count_ == 0) return nullptr;
    Waiting& w = waiting_[waiting_first_];
    return w.answered || w.due <= now ? &w : nullptr;
  }
  void pop() {
    waiting_first_ = (waiting_first_ + 1) % kWaitingMax;
    --waiting_count_;
  }

  // kNoBatch: all are taken.
  uint32_t take_batch(base::ConnectionRef connection) {
    for (uint32_t i = 0; i < kBatchesMax; ++i) {
      Batch& b = batches_[i];
      if (b.taken) continue;
      b.connection = connection;
      b.used = 0;
      b.waiting = 1;
      b.taken = true;
      return i;
    }
    return kNoBatch;
  }
  Batch& batch(uint32_t index) { return batches_[index]; }

  uint64_t memory_bytes() const {
    return reader.memory_bytes() + frame.bytes() + text.bytes() + pieces.bytes() +
           waiting_.bytes() + batches_.bytes();
  }

  protocol::JsonRpcReader reader;
  mem::MappedArray<uint8_t> frame;   // a binary message that is to become text
  mem::MappedArray<uint8_t> text;    // what it became
  mem::MappedArray<uint8_t> pieces;  // of a state that is too long
  uint64_t next_sequence = kSequenceFirst;

  // The call in the hands of a handler; nullptr: none.
  const protocol::RpcCall* call = nullptr;
  uint32_t call_slot = 0;
  uint32_t call_batch = kNoBatch;
  bool call_answered = false;
  uint16_t call_refused = 0;   // as Waiting::refused
  uint32_t refused_count = 0;  // of the waiting ones, at most

 private:
  mem::MappedArray<Waiting> waiting_;
  uint32_t waiting_first_ = 0;
  uint32_t waiting_count_ = 0;
  mem::MappedArray<Batch> batches_;
};

}  // namespace tidegate::shard
