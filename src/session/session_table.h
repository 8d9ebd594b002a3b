// SPDX-License-Identifier: Apache-2.0
// Sessions of the players whose home is this shard: one for each player, whether a connection holds
// it (attached) or none does (parked). A session keeps what outlives a socket: its numbers in both
// directions, the messages that were not acknowledged, and which resume token is good for it.
//
// Parked sessions stand in the order in which they were left: the first has expired first, and is
// the one that goes when there is no room for another.
// Thread: shard. Owner: shard::Sessions. Limits: `limit` sessions; all memory at construction.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"
#include "mem/block_pool.h"
#include "mem/mapped_array.h"
#include "session/replay_log.h"

namespace tidegate::session {

inline constexpr uint32_t kPlayerBytesMax = 64;

struct Session {
  uint64_t id = 0;                 // random; 0: no session in this row
  base::ConnectionRef connection;  // invalid: parked
  base::ShardId connection_shard;  // valid while attached
  uint8_t restored : 1 = 0;        // came from the store and nobody has resumed it since
  uint8_t from_store : 1 = 0;      // came from the store at this server's start
  uint8_t fresh : 1 = 0;           // began while a shared store could not be asked
  uint8_t stalled : 1 = 0;         // in the list of those that wait for room on the way out
  uint8_t opening : 1 = 0;         // the answer to the login waits until the store knows of it
  uint32_t since_ms = 0;           // when the client of the last connection asked; 0: not here
  uint32_t nonce = 0;              // of the resume token given last
  uint32_t nonce_before = 0;       // of the one before, good until the new one has surely arrived
  uint32_t created_s = 0;          // Unix seconds
  uint32_t seen_s = 0;             // Unix seconds of the last attach or leave
  uint32_t resumed = 0;            // how often
  uint32_t coming = 0;             // of the row, with a shared store: which one in this process
  uint64_t received = 0;           // highest sequence from the client, as last heard
  uint64_t received_safe = 0;      // of them, up to here the store has it
  uint64_t safe = 0;               // messages up to here may go out
  ReplayLog log;

  bool attached() const { return connection.valid(); }
};
static_assert(sizeof(Session) <= 120, "idle memory is measured against 1 KiB a connection");

class SessionTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit SessionTable(uint32_t limit);

  // `hash`: of the player's name, the same at every call.
  uint32_t find(std::string_view player, uint64_t hash) const;
  // A new row with the fields' defaults, parked. kNone: the name's length is not
  // 1..kPlayerBytesMax, or all rows are taken: end oldest_parked() and try again.
  // The player must not have one.
  uint32_t insert(std::string_view player, uint64_t hash);
  // The log must be empty.
  void erase(uint32_t row);

  Session& at(uint32_t row) { return rows_[row]; }
  const Session& at(uint32_t row) const { return rows_[row]; }
  // Valid while the session is there.
  std::string_view player(uint32_t row) const;

  // To be called when a session becomes parked (now the youngest of them) or attached.
  void parked(uint32_t row);
  void attached(uint32_t row);
  uint32_t oldest_parked() const { return oldest_; }

  uint32_t count() const { return count_; }
  uint32_t parked_count() const { return parked_; }
  uint32_t limit() const { return limit_; }
  // For a walk: rows below it with an id other than 0.
  uint32_t high_water() const { return used_; }
  uint64_t memory_bytes() const;

 private:
  struct Link {
    uint32_t hash;
    uint32_t older, newer;  // of parked sessions; `older` is the next free row in a free one
    uint32_t name;          // block
    uint8_t listed;
    uint8_t name_bytes;
  };
  void unlist(uint32_t row);
  static bool is_short(size_t name_bytes) { return name_bytes <= kShortBytes; }

  static constexpr uint32_t kShortBytes = 24;

  uint32_t limit_;
  uint32_t mask_;
  uint32_t count_ = 0;
  uint32_t parked_ = 0;
  uint32_t oldest_ = kNone, newest_ = kNone;
  uint32_t free_ = kNone;
  uint32_t used_ = 0;
  mem::MappedArray<uint32_t> buckets_;  // row + 1; 0: empty
  mem::MappedArray<Session> rows_;
  mem::MappedArray<Link> links_;
  // Names in blocks of 24 bytes or, for the long ones, kPlayerBytesMax.
  mem::BlockPool short_names_;
  mem::BlockPool long_names_;
};

}  // namespace tidegate::session
