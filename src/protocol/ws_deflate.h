// SPDX-License-Identifier: Apache-2.0
// The data side of permessage-deflate (RFC 7692 section 7.2) on zlib: one message in, one message
// out. Deflater and Inflater live with all their memory in one block that the caller hands in;
// zlib's allocator is a bump pointer in that block, so nothing is allocated after the first
// message.
//
// A decompressed message is bounded while it is made: the work of one call is bounded by the input
// plus the room in `out`. DEFLATE blocks with BFINAL are allowed anywhere (section 7.2.1); a
// message must end where a block ends once 00 00 ff ff is put behind it, anything else is invalid.
//
// Thread: any, one user at a time. Owner: the block's. Limits: block_bytes, size of `out`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

struct z_stream_s;

namespace tidegate::protocol {

// What happens to the window between messages.
enum class Context : uint8_t {
  kTakeover,  // it stays
  kFresh,     // each message begins with an empty one
};

class Deflater {
 public:
  struct Settings {
    uint8_t window_bits = 15;  // 8 to 15
    uint8_t memory_level = 8;  // 1 to 9
    uint8_t level = 1;         // 1 to 9
  };
  // Bytes of a block for these settings. Allocates and frees: for setup.
  static size_t block_bytes(const Settings& settings);
  // Makes one in `block`, which must be at least block_bytes long and aligned to 16. It goes away
  // with the block.
  static Deflater* make(base::MutableBytes block, const Settings& settings);

  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  enum class Tail : uint8_t {
    kCut,   // a whole message: the last 00 00 ff ff is cut off
    kKeep,  // a piece, to be followed by others in the same message
  };
  // Compresses `parts` as one message (together at least one byte). Returns the bytes written, or
  // 0 when they do not fit into `out`; the window is then empty, as if no message had been sent.
  size_t compress(const base::Bytes* parts, size_t count, base::MutableBytes out, Context context,
                  Tail tail = Tail::kCut);

 private:
  explicit Deflater(z_stream_s* stream) : stream_(stream) {}
  z_stream_s* stream_;
};

enum class InflateStatus : uint8_t {
  kOk,
  kTooBig,   // more output than `out` has room for
  kInvalid,  // not DEFLATE data, or it does not end with a block
};

class Inflater {
 public:
  static size_t block_bytes(uint8_t window_bits);
  static Inflater* make(base::MutableBytes block, uint8_t window_bits);

  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Decompresses one message. `out` has room for one byte more than the largest message: kTooBig
  // when that byte is written. An error empties the window.
  InflateStatus decompress(base::Bytes message, base::MutableBytes out, size_t* size,
                           Context context);

 private:
  explicit Inflater(z_stream_s* stream) : stream_(stream) {}
  z_stream_s* stream_;
};

// What a payload of `message_bytes` may take when it is compressed badly: an encoder that never
// stores a block and pays nine bits for each byte, and its block headers.
constexpr uint64_t compressed_bytes_max(uint64_t message_bytes) {
  return message_bytes + message_bytes / 8 + 256;
}

}  // namespace tidegate::protocol
