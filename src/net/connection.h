// SPDX-License-Identifier: Apache-2.0
// The two rows of one connection: what every message touches (Hot, one cache line) and what only
// statistics, timers and the admin API touch (Cold). The row number is the socket's slot.
// Thread: shard. Owner: Endpoint. Limits: one row for each slot of IoLimits::sockets.
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "protocol/accept_key.h"
#include "protocol/ws.h"
#include "protocol/ws_extensions.h"

namespace tidegate::net {

// Where a connection is in its life (systems.md G3 without the session's states).
enum class Phase : uint8_t {
  kFree,      // no socket in this slot
  kHead,      // reading the upgrade request
  kDeciding,  // head is whole; the handler has been asked and will answer later
  kOpen,      // WebSocket messages both ways
  kClosing,   // close frame or refusal sent, waiting for the peer's end of stream
  kClosed,    // Io::close was called, waiting for kClosed
};

// Why a connection ended; label of tidegate_connections_closed_total.
enum class CloseCause : uint8_t {
  kPeerClosed,        // close handshake begun by the peer
  kPeerLost,          // end of stream or reset without a close frame
  kServerClosed,      // our close frame, see the code
  kRefused,           // upgrade refused with an HTTP status
  kHandshakeTimeout,  // no whole head in time
  kHeartbeatTimeout,  // silent for longer than heartbeat.timeout
  kProtocolError,     // RFC 6455 violation
  kTooBig,            // message above limits.message_bytes
  kSlowConsumer,      // backlog above limits.backlog_bytes
  kOverloaded,        // a buffer pool or the connection limit was exhausted
  kMessageTimeout,    // a message was begun and not ended within limits.message_timeout
  kFlood,             // more pings, pongs and fragments than limits.extra_frames_per_second
  kKicked,            // an operator's kick or revocation
  kTokenExpired,      // the token's exp has passed
  kTlsFailed,         // the TLS handshake or a record, see tidegate_tls_failures_total
  kHttpEnded,         // an HTTP connection of long polling; sessions outlive it
  kCount,
};
const char* name_of(CloseCause cause);

inline constexpr uint32_t kNone = UINT32_MAX;

// A receive-side buffer borrowed from the endpoint's pools: kNone or (class << 28 | block).
using BufferId = uint32_t;

struct alignas(64) Hot {
  uint32_t generation = 0;  // 24 bits, as Io carries it
  Phase phase = Phase::kFree;
  uint8_t subprotocol = 0;  // index in the server's list, 0xff: none named
  uint8_t flags = 0;        // Flag bits
  CloseCause cause = CloseCause::kPeerLost;
  BufferId input = kNone;  // bytes of an incomplete head or frame
  uint32_t input_bytes = 0;
  BufferId message = kNone;  // payload of a fragmented message so far
  uint32_t message_bytes = 0;
  uint32_t first_segment = kNone;  // this turn's output, see send_queue.h
  uint32_t last_segment = kNone;
  uint32_t output_bytes = 0;
  uint32_t backlog = kNone;  // first block of what the socket did not take
  uint32_t backlog_bytes = 0;
  uint32_t received_ms = 0;  // coarse time of the last byte, wraps after 49 days
  uint16_t close_code = 0;
  protocol::WsReceiver receiver;
};
static_assert(sizeof(Hot) == 64, "one cache line: 10,000 rows are walked every tick");

enum Flag : uint8_t {
  kFlagReceiving = 1,     // Io reports kReceived until kEnded
  kFlagWatching = 2,      // a kWritable is due
  kFlagPinged = 4,        // a heartbeat ping waits for its pong
  kFlagCloseAfter = 8,    // half-close when the output has left
  kFlagDispatching = 16,  // the handler runs for this slot; defer freeing of its buffers
  kFlagGone = 32,         // the end was counted and, if the handler knew it, delivered
  kFlagAsked = 64,        // the handler was asked about the upgrade
  kFlagTls = 128,         // came in by a listener that speaks TLS
};

struct Cold {
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint32_t messages_in = 0;
  uint32_t messages_out = 0;
  uint32_t accepted_ms = 0;
  uint32_t rtt_us = 0;    // last heartbeat round trip, 0 before the first
  uint8_t peer[16] = {};  // the client, IPv4 mapped into IPv6; zero before it is known
  uint16_t peer_port = 0;
  uint16_t backlog_tail_used = 0;  // bytes used in the last backlog block
  uint32_t backlog_tail = kNone;
  uint16_t backlog_head_used = 0;  // bytes of the first backlog block already sent
  uint16_t burst_kib = 0;          // that the backlog may be larger, see Endpoint::expect_output
  // Times are whole seconds of the endpoint's clock, modulo 65536.
  uint16_t input_since_s = 0;    // the incomplete frame began; valid while Hot::input is held
  uint16_t backlog_since_s = 0;  // the socket last took a byte; valid while there is a backlog
  protocol::DeflateParameters deflate;  // agreed; valid when deflate_offered
  bool deflate_offered = false;         // the request has an offer that can be accepted
  uint8_t edge = 0;                     // EdgeFlag bits
  struct Opened {
    uint32_t deflate_context = kNone;  // in Compression's pool; kNone: it needs none
    uint32_t extra_frames = 0;         // pings, pongs and unfinished fragments
    uint16_t extra_second = 0;         // the second that extra_frames counts
    uint16_t message_since_s = 0;      // the fragmented message began; while Hot::message is held
    uint32_t rtt_jitter_us = 0;        // smoothed difference between a round trip and the next
  };
  struct Http {
    uint32_t request = 0;  // counts; an answer names the one it is for
    uint8_t flags = 0;     // HttpFlag bits, of the request under way
  };
  union {
    char accept_key[protocol::kAcceptKeyChars] = {};  // from the request to the 101
    Opened opened;                                    // from the 101 to the end
    Http http;                                        // kEdgeHttp: of its requests, poll.cc
  };
};
static_assert(sizeof(Cold) <= 96, "idle memory of tidegate-echo is measured against 256 bytes");

}  // namespace tidegate::net
