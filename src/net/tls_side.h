// SPDX-License-Identifier: Apache-2.0
// What an endpoint has besides when a listener speaks TLS: a row for each slot, the handshakes that
// wait for their turn, buffers for incomplete records, and the memory in which a turn's output is
// sealed. An endpoint without TLS has none of it, and a slot that is not TLS uses nothing of it.
//
// A session of the library is made with the first handshake message, not with the socket.
//
// Thread: shard. Owner: Endpoint. Limits: TlsConfig; memory of sessions is the library's, one for
// each TLS connection, everything else is taken at construction.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"
#include "mem/arena.h"
#include "mem/mapped_array.h"
#include "net/buffers.h"
#include "net/connection.h"
#include "tls/engine.h"
#include "tls/records.h"
#include "tls/server_context.h"
#include "tls/session.h"

namespace tidegate::net {

struct TlsConfig {
  tls::ContextHolder* contexts = nullptr;  // null: no TLS. Outlives the endpoint
  uint32_t listeners = 0;                  // bits: numbers of the Io's listeners that speak it
  tls::TicketConfig tickets;
  // Busy time of a turn for handshakes, and their number; at least one is done, the rest waits.
  base::Duration handshake_budget = base::milliseconds(1);
  uint32_t handshakes_per_turn = 256;
};

// What a session takes of the library's memory, as measured (docs/tls.md); charged to the budget.
inline constexpr uint32_t kTlsSessionBytes = 20 * 1024;

struct TlsRow {
  tls::Session session;    // null: not TLS, or no handshake message was looked at
  BufferId input = kNone;  // records that are incomplete, or that wait in the queue
  uint32_t input_bytes = 0;
  uint32_t first_sealed = kNone;  // segments that go out before this turn's output is sealed
  uint32_t last_sealed = kNone;
  uint32_t sealed_bytes = 0;  // of them
  uint32_t next = kNone;      // in the queue, by slot; valid while queued
  uint32_t previous = kNone;
  uint16_t input_since_s = 0;  // as Cold::input_since_s
  bool queued = false;
  bool begun = false;    // the first handshake message was answered
  bool charged = false;  // kTlsSessionBytes, while it has a session
  bool counted = false;  // in TlsSide::open
  bool over = false;     // failed, or the peer said close_notify: what it says is not looked at
};

struct TlsSide {
  // Sealed in one go before it is sent, so that it stays in the cache.
  static constexpr uint32_t kSealedBytes = 256 * 1024;
  // What a session may have to say by itself in a turn: answers to a flood of nonsense are not
  // made.
  static constexpr uint32_t kOwnBytesMax = 128 * 1024;
  static constexpr uint32_t kHelloBytes = 2304;  // most ClientHellos

  TlsSide(const TlsConfig& tls, uint32_t rows_count, uint32_t big_inputs, uint32_t slack)
      : config(tls),
        engine(tls.tickets),
        rows(rows_count),
        inputs({rows_count, rows_count, kHelloBytes, std::max(big_inputs, rows_count / 8),
                static_cast<uint32_t>(tls::kRecordBytesMax) + slack}),
        sealed(kSealedBytes),
        gather(tls::kRecordPlainMax) {}

  uint64_t memory_bytes() const {
    return rows.size() * sizeof(TlsRow) + inputs.memory_bytes() + kSealedBytes + gather.bytes() +
           tls::kEngineOutputBytes;
  }
  bool may_step() const {
    return steps < config.handshakes_per_turn && spent < config.handshake_budget;
  }

  TlsConfig config;
  tls::Engine engine;
  std::vector<TlsRow> rows;  // its sessions end before the engine
  InputBuffers inputs;
  mem::Arena sealed;
  mem::MappedArray<uint8_t> gather;  // pieces on their way into one record

  // Handshake messages that wait, oldest first.
  uint32_t queue_first = kNone, queue_last = kNone;
  uint32_t queue_count = 0;
  // Of this turn.
  uint32_t steps = 0;
  base::Duration spent{};
  // A step's time lately, to know whether another one fits.
  base::Duration step_time{};
  uint32_t open = 0;  // established
  bool moves = true;  // in an upgrade: the new process takes such connections
};

}  // namespace tidegate::net
