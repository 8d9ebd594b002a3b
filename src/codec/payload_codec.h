// SPDX-License-Identifier: Apache-2.0
// Payloads of single messages, packed and unpacked: zlib, LZ4 blocks, zstd with or without a
// dictionary, the methods of protocol.md's `compression`. Each payload is packed alone, so packed
// bytes can go to many connections, and none depends on what came before.
//
// Unpacking is given the size that the message promises and writes that many bytes or fails: a
// small message that would become a large one costs nothing but what its promise allows.
//
// Thread: as its owner. Owner: holds the memory. Limits: raw_bytes_max; all memory at construction.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace tidegate::codec {

// Values of Compression on the wire.
enum class Method : uint8_t { kNone = 0, kZlib = 1, kLz4 = 2, kZstd = 3 };
inline constexpr uint32_t kMethodsEnd = 4;

struct CodecConfig {
  uint32_t raw_bytes_max = 64 * 1024;  // of one payload
  int level = 1;                       // of zlib and zstd, 1 to 9
  base::Bytes dictionary;              // of zstd, as `zstd --train` makes it; copied; may be empty
};

class PayloadCodec {
 public:
  explicit PayloadCodec(const CodecConfig& config);
  ~PayloadCodec();
  PayloadCodec(const PayloadCodec&) = delete;
  PayloadCodec& operator=(const PayloadCodec&) = delete;

  // Of the dictionary; 0: there is none, or it is not one that zstd understands.
  uint32_t dictionary_id() const { return dictionary_id_; }
  // The packed bytes, valid until the next call; empty: they would not be fewer than `raw`.
  // `dictionary`: the receiver has the same one.
  base::Bytes pack(Method method, base::Bytes raw, bool dictionary);
  // Exactly raw_size bytes, valid until the next call; empty: the bytes are none, hold more or
  // fewer, or raw_size is 0 or above raw_bytes_max.
  base::Bytes unpack(Method method, base::Bytes packed, uint32_t raw_size);
  uint64_t memory_bytes() const;

 private:
  struct State;  // what the libraries need

  uint32_t raw_bytes_max_;
  int level_;
  uint32_t dictionary_id_ = 0;
  std::vector<uint8_t> packed_, raw_;
  std::unique_ptr<State> state_;
};

}  // namespace tidegate::codec
