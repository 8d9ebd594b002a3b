// SPDX-License-Identifier: Apache-2.0
// Sending side of acknowledged delivery: messages of a session that the client has not acknowledged
// yet, in order, with the numbers under which they go out. A log is a byte queue over blocks of a
// pool that all sessions of a shard share, so a session without such messages holds no memory.
//
// What is kept is both the queue and the memory for retransmission: `sent` says how many of the
// messages went out on the present connection; rewind() makes all of them unsent again. Who holds
// the log decides what a refusal means (shard/sessions.cc ends the session: nothing is left out).
// Thread: as its owner. Owner: session::SessionTable. Limits: messages and bytes of one log, blocks
// of all.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "mem/block_pool.h"
#include "mem/mapped_array.h"

namespace tidegate::session {

struct ReplayLimits {
  uint32_t messages = 1024;       // of one log
  uint32_t bytes = 256 * 1024;    // payload of one log
  uint32_t pool_bytes = 8 << 20;  // of all logs together, with what blocks waste
};

struct LoggedMessage {
  uint64_t sequence;

  uint32_t type;
  base::Bytes payload;
};

// One session's part. Only ReplayLogs looks inside; the numbers may be read.
struct ReplayLog {
  uint64_t acked = 0;       // everything up to here has arrived
  uint32_t count = 0;       // messages kept: acked + 1 … acked + count
  uint32_t sent = 0;        // of them, from the front, sent on this connection
  uint32_t bytes = 0;       // payload of all that are kept
  uint32_t sent_bytes = 0;  // payload of those that were sent

  uint64_t last() const { return acked + count; }      // highest number given out
  uint64_t last_sent() const { return acked + sent; }  // highest number sent on this connection
  bool all_sent() const { return sent == count; }

 private:
  friend class ReplayLogs;
  struct Place {
    uint32_t block = mem::BlockPool::kNone;
    uint32_t at = 0;  // 0..block bytes; at the end the next byte is in the next block
  };
  Place head_, cursor_, tail_;  // first kept, first unsent, end; no block while count is 0
};
static_assert(sizeof(ReplayLog) <= 48, "a part of every session");

class ReplayLogs {
 public:
  explicit ReplayLogs(const ReplayLimits& limits);

  enum class Append : uint8_t {
    kOk,
    kMessages,  // the log holds as many messages as it may
    kBytes,     // or bytes
    kPool,      // no block is free
  };
  // The message gets the number log.last() after it. Nothing changes unless kOk.
  Append append(ReplayLog& log, uint32_t type, base::Bytes payload);

  // Everything up to `ack` has arrived. Returns how many messages were let go; 0 for what is old.
  // `ack` above last_sent() must have been refused before.
  uint32_t acknowledge(ReplayLog& log, uint64_t ack);

  // The first message that was not sent; false when there is none. The payload lies in memory of
  // this object and is valid until the next call. advance() then counts it as sent.
  bool next_unsent(const ReplayLog& log, LoggedMessage* out);
  void advance(ReplayLog& log);
  // All that is kept is to be sent again, on another connection.
  void rewind(ReplayLog& log);
  // Lets go of everything; the numbers go on.
  void clear(ReplayLog& log);
  // Begins after a restart: what follows gets the numbers from `acked` + 1.
  static void begin_after(ReplayLog& log, uint64_t acked) { log.acked = acked; }

  // Calls visit(LoggedMessage) for all that are kept, in order.
  template <class Visit>
  void for_each(const ReplayLog& log, Visit&& visit) {
    ReplayLog::Place place = log.head_;
    for (uint32_t i = 0; i < log.count; ++i) {
      LoggedMessage message{};
      place = read(place, log.acked + 1 + i, &message);
      visit(message);
    }
  }

  uint64_t bytes_in_use() const { return uint64_t{blocks_.in_use()} * kBlockBytes; }
  void charge_to(mem::Account* account) { blocks_.charge_to(account, mem::Rank::kKept); }
  uint64_t memory_bytes() const {
    return blocks_.memory_bytes() + next_.bytes() + scratch_.bytes();
  }

  static constexpr uint32_t kBlockBytes = 256;
  // What the way between two shards takes as one record, with room for its head.
  static constexpr uint32_t kPayloadBytesMax = 12 * 1024;

 private:
  using Place = ReplayLog::Place;
  struct Header {
    uint32_t type;
    uint32_t bytes;
  };
  Place read(Place place, uint64_t sequence, LoggedMessage* out);
  Place copy_out(Place place, base::MutableBytes out);
  Place copy_in(Place place, base::Bytes in);
  Place skip(Place place, uint32_t bytes, bool free_behind);
  uint32_t take_block();

  ReplayLimits limits_;
  mem::BlockPool blocks_;
  mem::MappedArray<uint32_t> next_;
  mem::MappedArray<uint8_t> scratch_;
};

}  // namespace tidegate::session
