// SPDX-License-Identifier: Apache-2.0
// permessage-deflate for the connections of one endpoint: the zlib states, and compressed bytes
// that many connections share. A connection without context takeover owns nothing: one inflater,
// and one deflater for each window size, serve all of them. With takeover it has a context, a block
// of zlib states from a bounded pool.
//
// Shared parts of messages (chunks of the world) are compressed once for each window size and turn:
// each piece is DEFLATE data of its own that ends at a byte, so any pieces behind each other are a
// message. That only works for connections without server context takeover.
//
// It also counts what a turn has inflated, so that the endpoint can leave the rest for the next.
//
// Thread: shard. Owner: Endpoint. Limits: CompressionConfig; memory at construction.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "mem/arena.h"
#include "mem/block_pool.h"
#include "mem/mapped_array.h"
#include "net/connection.h"
#include "protocol/ws_deflate.h"
#include "protocol/ws_extensions.h"

namespace tidegate::net {

struct CompressionConfig {
  bool enabled = false;
  protocol::DeflateRules rules;   // window sizes and takeover
  uint8_t memory_level = 8;       // of zlib, 1 to 9
  uint8_t level = 1;              // of zlib, 1 to 9
  uint32_t min_bytes = 64;        // smaller messages are sent as they are; at least 1
  uint32_t contexts = 256;        // connections with context takeover; more are declined
  uint32_t turn_bytes = 4 << 20;  // inflated in one turn before the rest waits
};

class Compression {
 public:
  // `shared_bytes`: room for the compressed pieces of one turn.
  Compression(const CompressionConfig& config, uint32_t message_bytes, uint32_t shared_bytes);

  const CompressionConfig& config() const { return config_; }
  void charge_to(mem::Account* account) { contexts_.charge_to(account, mem::Rank::kInput); }
  uint64_t memory_bytes() const;
  uint32_t contexts_in_use() const { return contexts_.in_use(); }

  // Takes what the parameters need; kNone in `context` when that is nothing. False: none is free.
  bool open(const protocol::DeflateParameters& agreed, uint32_t* context);
  void close(uint32_t context);

  // --- receiving ---
  void begin_turn() { inflated_ = 0; }
  // The turn has inflated its share; what still comes waits.
  bool spent() const { return inflated_ >= config_.turn_bytes; }
  // One message of a connection. `out`: valid until the next call.
  protocol::InflateStatus inflate(const protocol::DeflateParameters& agreed, uint32_t context,
                                  base::Bytes message, base::MutableBytes* out);

  // --- sending ---
  // One message made of `parts` into `out`. 0: it does not fit, send it as it is.
  size_t deflate(const protocol::DeflateParameters& agreed, uint32_t context,
                 const base::Bytes* parts, size_t count, base::MutableBytes out);
  // A buffer of message_bytes for the caller's use during one send.
  base::MutableBytes scratch() { return {scratch_.data(), scratch_.size()}; }

  // Compressed form of bytes that stay where they are, and the same, until forget_pieces(). False:
  // it would be larger, or there is no room.
  bool piece(uint8_t window_bits, base::Bytes part, base::Bytes* out, bool* reused);
  void forget_pieces();

 private:
  static constexpr uint32_t kPieces = 4096;  // entries of the table, a power of two

  struct Piece {
    const uint8_t* part;  // null: free
    const uint8_t* data;  // null: not worth it
    uint32_t part_bytes;
    uint32_t bytes;
    uint32_t epoch;  // of the turn that made it; an entry of another is free
    uint8_t window_bits;
  };

  struct Context {
    protocol::Inflater* inflater;
    protocol::Deflater* deflater;
  };
  protocol::Deflater& shared_deflater(uint8_t window_bits);

  CompressionConfig config_;
  uint32_t context_inflater_bytes_;
  uint32_t context_deflater_bytes_;
  mem::BlockPool contexts_;
  mem::MappedArray<Context> states_;  // by context
  mem::Arena shared_states_;
  protocol::Inflater* shared_inflater_ = nullptr;
  std::array<protocol::Deflater*, protocol::kWindowBitsMax + 1> shared_deflaters_{};
  mem::MappedArray<uint8_t> inflate_out_;
  mem::MappedArray<uint8_t> scratch_;
  mem::MappedArray<Piece> pieces_;
  mem::Arena piece_arena_;
  uint32_t piece_count_ = 0;
  uint32_t epoch_ = 1;
  uint64_t inflated_ = 0;
};

}  // namespace tidegate::net
