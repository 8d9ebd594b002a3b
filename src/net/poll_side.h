// SPDX-License-Identifier: Apache-2.0
// What an endpoint keeps for long polling. A poll session is a row of Hot and Cold like any other
// connection, beyond those that have sockets: handlers and the world see no difference. Its output
// goes into a log instead of a socket; requests of HTTP connections, of this shard or another,
// fetch the log and bring messages. docs/long-polling.md has the reasons.
//
// The log holds what the client has not said it received. Its bytes are numbered from 0 over the
// session's life, so a lost answer is asked for again by number.
//
// Thread: shard. Owner: Endpoint. Limits: PollConfig.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/time.h"
#include "mem/mapped_array.h"
#include "net/connection.h"

namespace tidegate::net {

struct PollConfig {
  uint32_t sessions = 0;  // 0: no long polling
  uint32_t shard = 0;     // stands in the names of sessions
  uint32_t shards = 1;
  base::Duration hold = base::seconds(20);
};

// The most that one answer carries; whole messages, so also the most that one message has. It goes
// through a ring between shards, a quarter of 256 KiB at most.
inline constexpr uint32_t kPollAnswerBytes = 63 * 1024;

// A request on its way to the shard where its session lives, or an answer on its way back; the body
// follows it. Plain bytes.
struct PollLetter {
  enum class Kind : uint8_t {
    kPost,
    kGet,
    kDelete,
    // answers
    kData,      // the body is for the client
    kNothing,   // done, or nothing came
    kUnknown,   // no such session
    kGap,       // number: the one that is expected
    kReplaced,  // a newer GET waits
    kClosed,    // number: the close code; body: the reason
  };
  base::ConnectionRef connection;  // of the HTTP connection
  uint32_t connection_shard = 0;
  uint32_t request = 0;  // of that connection
  uint32_t index = 0;    // of the session
  Kind kind = Kind::kNothing;
  uint8_t text = 0;  // kData: JSON lines
  uint16_t unused = 0;
  uint64_t number = 0;
  uint8_t secret[16] = {};
};
static_assert(sizeof(PollLetter) == 48, "it crosses to other shards as bytes");

struct PollRow {
  uint64_t begin = 0;     // number of the log's first byte
  uint64_t answered = 0;  // all before it were in an answer
  uint64_t end = 0;       // one past its last
  uint64_t posted = 0;    // seq of the last POST taken
  uint8_t secret[16] = {};
  // The request that waits: the opening one, later a GET. Its slot is kNone: none.
  base::ConnectionRef waiter{kNone, 0};
  uint32_t waiter_shard = 0;
  uint32_t waiter_request = 0;
  uint32_t answered_ms = 0;   // when the client last got, or could have got, something
  uint32_t waiting_told = 0;  // of what is not in an answer yet, as Hot::backlog_bytes says it
  uint32_t next_free = kNone;
  uint16_t close_code = 0;
  bool closed = false;  // the close frame stood in the output
  bool ready = false;   // in PollSide::ready
  uint8_t reason_bytes = 0;
  char reason[61] = {};
};
static_assert(sizeof(PollRow) <= 160, "idle memory of a polling player");

struct PollSide {
  PollSide(const PollConfig& config, uint32_t first_row)
      : first(first_row),
        rows(config.sessions),
        ready{mem::MappedArray<uint32_t>(config.sessions),
              mem::MappedArray<uint32_t>(config.sessions)},
        scratch(kPollAnswerBytes) {}
  uint64_t memory_bytes() const { return rows.bytes() + 2 * ready[0].bytes() + scratch.bytes(); }

  uint32_t first;  // row number of session 0
  mem::MappedArray<PollRow> rows;
  // Sessions that may have something for who waits, each once; the other list is being served.
  mem::MappedArray<uint32_t> ready[2];
  uint32_t ready_list = 0;
  uint32_t ready_count = 0;
  uint32_t first_free = kNone;  // of those that were in use
  uint32_t open = 0;
  mem::MappedArray<uint8_t> scratch;  // an answer on its way to another shard
  uint32_t used = 0;                  // one past the highest that was ever in use
};

}  // namespace tidegate::net
