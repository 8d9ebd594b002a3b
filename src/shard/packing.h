// SPDX-License-Identifier: Apache-2.0
// Compression of payloads on a shard (codec/payload_codec.h): what is worth it, what each client
// understands, and packed forms of a message that many connections share. Not for cell frames and
// other state, which is packed bits already; permessage-deflate is the choice for those.
//
// A client that listed methods in CLIENT_HELLO gets the first of packing.methods that it listed.
//
// Thread: shard. Owner: Shard. Limits: PackingConfig; memory at construction.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "codec/gain_table.h"
#include "codec/payload_codec.h"
#include "metrics/metrics.h"
#include "shard/handler_table.h"

namespace tidegate::shard {

struct PackingConfig {
  codec::Method methods[3] = {};  // in order of preference; kNone: no further one
  uint32_t min_bytes = 1024;      // smaller payloads are sent as they are
  codec::CodecConfig codec;
};

class Packing {
 public:
  static constexpr uint8_t kDictionary = 4;  // beside a method: the client has the dictionary
  static constexpr uint32_t kForms = 8;      // of one payload, by method and kDictionary

  // `handlers`: whose flags say which types of the game to compress; null: none.
  Packing(const PackingConfig& config, const HandlerTable* handlers, metrics::Counters& counters);

  // What a client gets that listed these methods (bit for each) and has that dictionary; 0:
  // nothing.
  uint8_t choose(uint32_t listed, uint32_t dictionary) const;
  // Whether a payload of this size may be packed at all (and, of the game's registered types, only
  // those with their compress flag are).
  bool large(size_t payload) const { return payload >= min_bytes_; }
  // Whether a client may promise a payload of this size.
  bool fits(uint32_t raw_size) const { return raw_size <= config_.codec.raw_bytes_max; }
  // The packed payload, valid until the next call; empty: send it as it is.
  base::Bytes pack(uint8_t form, uint32_t type, base::Bytes payload);
  // What a client sent; empty: it is not what it promised. Valid until the next call.
  base::Bytes unpack(uint32_t method, base::Bytes payload, uint32_t raw_size);
  static uint32_t method_of(uint8_t form) { return form & 3u; }

  // Values of CONNECTION_ESTABLISHED's features: methods that clients may use, and the dictionary.
  std::string_view names() const { return {names_, names_bytes_}; }
  uint32_t dictionary_id() const { return codec_ ? codec_->dictionary_id() : 0; }
  uint64_t memory_bytes() const { return codec_ ? codec_->memory_bytes() : 0; }

 private:
  bool takes(uint32_t method) const;

  PackingConfig config_;
  metrics::Counters& counters_;
  const HandlerTable* handlers_;
  uint32_t min_bytes_;
  std::unique_ptr<codec::PayloadCodec> codec_;  // null: off
  codec::GainTable gains_;
  char names_[24];
  uint32_t names_bytes_ = 0;
};

// Packed forms of one message for many, made when the first connection asks for them.
struct PackedForms {
  struct Form {
    const uint8_t* data = nullptr;  // null: none
    uint32_t size = 0;
    bool tried = false;
  };
  Form forms[Packing::kForms];
};

}  // namespace tidegate::shard
