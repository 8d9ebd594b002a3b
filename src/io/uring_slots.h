// SPDX-License-Identifier: Apache-2.0
// What UringIo keeps for each socket, how a submission names itself to its completion, and the
// inline part of the hot path. Private to the sources of UringIo. Thread: shard. Owner: UringIo.
// Limits: 24 bits of generation.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstring>

#include "base/assert.h"
#include "io/uring_io.h"

namespace tidegate::io {

enum class UringIo::Op : uint8_t {
  kIgnored = 0,  // completion of no interest (failed wake), or a send that was reaped
  kAccept,
  kReceive,
  kSend,
  kWritable,
  kPeer,
  kShutdown,         // of the send side, by request
  kShutdownToClose,  // of both, when a cancel did not catch the receive
  kCancel,           // only failures complete
  kClose,
  kWake,
  kInstall,  // of a number for the socket in the process' table
};

// state: bits of what is in flight and what the owner asked for.
inline constexpr uint32_t kOpen = 1u << 0;       // between kAccepted and kClosed
inline constexpr uint32_t kNamed = 1u << 1;      // generation is set
inline constexpr uint32_t kReceiving = 1u << 2;  // multishot receive in flight
inline constexpr uint32_t kPolling = 1u << 3;    // watch_writable in flight
inline constexpr uint32_t kPeering = 1u << 4;    // query_peer in flight
inline constexpr uint32_t kShutting = 1u << 5;   // shutdown in flight
inline constexpr uint32_t kStarved = 1u << 6;    // receive waits for a buffer, in the starved list
inline constexpr uint32_t kClosing = 1u << 7;    // close() was called
inline constexpr uint32_t kCloseSent = 1u << 8;  // IORING_OP_CLOSE queued; nothing else in flight
inline constexpr uint32_t kForced = 1u << 9;     // kShutdownToClose was tried
inline constexpr uint32_t kHeldBack = 1u << 10;  // resume() is to begin receiving
inline constexpr uint32_t kInFlight = kReceiving | kPolling | kPeering | kShutting;

inline constexpr uint32_t kNoSlot = UINT32_MAX;
inline constexpr uint32_t kGenerationMask = 0xffffff;
inline constexpr uint32_t kEventsPerPoll = 512;  // 20 KB of completions: stays in the L1/L2 cache
inline constexpr uint16_t kBufferGroup = 0;

inline uint64_t pack_user_data(uint8_t op, uint32_t generation, uint32_t slot) {
  return static_cast<uint64_t>(op) << 56 |
         static_cast<uint64_t>(generation & kGenerationMask) << 32 | slot;
}
inline uint8_t op_of(uint64_t user_data) { return static_cast<uint8_t>(user_data >> 56); }
inline uint32_t generation_of(uint64_t user_data) {
  return static_cast<uint32_t>(user_data >> 32) & kGenerationMask;
}
inline uint32_t slot_of(uint64_t user_data) { return static_cast<uint32_t>(user_data); }

// ---- what the hot path does for every message, inline ----------------------------------------

inline io_uring_sqe* UringIo::next_sqe() {
  if (sq_tail_ - sq_head_seen_ == limits_.queue_entries) [[unlikely]] {
    submit_all();
  }
  return &ring_.sq.sqes[sq_tail_++ & (limits_.queue_entries - 1)];
}

inline io_uring_sqe* UringIo::prepare(uint8_t opcode, Op op, uint32_t slot, uint32_t generation) {
  io_uring_sqe* sqe = next_sqe();
  std::memset(static_cast<void*>(sqe), 0, sizeof *sqe);
  sqe->opcode = opcode;
  sqe->user_data = pack_user_data(static_cast<uint8_t>(op), generation, slot);
  return sqe;
}

inline UringIo::Slot& UringIo::claim(uint32_t slot, uint32_t generation) {
  TG_ASSERT(slot < limits_.sockets);
  Slot& s = slots_[slot];
  if ((s.state & (kOpen | kNamed | kClosing)) != (kOpen | kNamed)) [[unlikely]] {
    TG_ASSERT((s.state & (kOpen | kClosing)) == kOpen);
    s.generation = generation & kGenerationMask;
    s.state |= kNamed;
  }
  TG_ASSERT(s.generation == (generation & kGenerationMask));
  return s;
}

// Writes a whole send in eight stores; what is not named is zero. Word by word: through an array
// the compiler builds it on the stack and stalls on reading it.
inline void write_send(io_uring_sqe* sqe, uint8_t opcode, uint32_t slot, const void* address,
                       uint32_t length, uint64_t user_data, uint32_t record_flag) {
  static_assert(sizeof(io_uring_sqe) == 64 && offsetof(io_uring_sqe, addr) == 16 &&
                offsetof(io_uring_sqe, len) == 24 && offsetof(io_uring_sqe, msg_flags) == 28 &&
                offsetof(io_uring_sqe, user_data) == 32);
  // DONTWAIT: the request never leaves the submit. WAITALL: a part taken counts as a failure that
  // completes with the number of bytes. Together with SKIP_SUCCESS: silence means taken whole.
  constexpr uint64_t kFlags = IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
  // `record_flag`: MSG_EOR or 0, see UringIo::record_flag_.
  constexpr uint64_t kMessageFlags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
  const auto put = [sqe](size_t word, uint64_t value) {
    std::memcpy(reinterpret_cast<char*>(sqe) + word * sizeof value, &value, sizeof value);
  };
  put(0, opcode | kFlags << 8 | uint64_t{slot} << 32);
  put(1, 0);
  put(2, reinterpret_cast<uint64_t>(address));
  put(3, length | (kMessageFlags | record_flag) << 32);
  put(4, user_data);
  put(5, 0);
  put(6, 0);
  put(7, 0);
}

// The entry for a send, when nothing stands in its way; null sends the caller to the slow path
// (first send of a batch, full queue, first use of the slot, or misuse).
inline io_uring_sqe* UringIo::fast_sqe(uint32_t slot, uint32_t generation) {
  if (!sends_queued_ || sq_tail_ - sq_head_seen_ == limits_.queue_entries ||
      slot >= limits_.sockets) [[unlikely]] {
    return nullptr;
  }
  const Slot& s = slots_[slot];
  if ((s.state & (kOpen | kNamed | kClosing)) != (kOpen | kNamed) || s.generation != generation)
      [[unlikely]] {
    return nullptr;
  }
  return &ring_.sq.sqes[sq_tail_++ & (limits_.queue_entries - 1)];
}

inline void UringIo::return_buffer(uint16_t buffer) {
  io_uring_buf* entry = &buffer_ring_->bufs[buffer_tail_ & (limits_.buffers - 1)];
  entry->addr =
      reinterpret_cast<uint64_t>(buffer_memory_) + uint64_t{buffer} * limits_.buffer_bytes;
  entry->len = limits_.buffer_bytes;
  entry->bid = buffer;
  ++buffer_tail_;
  buffer_tail_dirty_ = true;
}

inline Completion& UringIo::push(Event event, uint32_t slot, uint32_t generation, int32_t result) {
  Completion& c = events_[event_count_++];
  c.event = event;
  c.slot = slot;
  c.generation = generation;
  c.result = result;
  return c;
}

}  // namespace tidegate::io
