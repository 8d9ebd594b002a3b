// SPDX-License-Identifier: Apache-2.0
#include "codec/payload_codec.h"

#define ZSTD_STATIC_LINKING_ONLY  // contexts in memory of ours
#include <lz4.h>
#include <zlib.h>
#include <zstd.h>

#include "base/assert.h"

namespace tidegate::codec {

struct PayloadCodec::State {
  z_stream deflate{};
  z_stream inflate{};
  std::vector<uint8_t> lz4;
  std::vector<uint64_t> zstd_memory;  // of `compress`: it never grows
  ZSTD_CCtx* compress = nullptr;
  ZSTD_DCtx* decompress = nullptr;
  ZSTD_CDict* compress_dictionary = nullptr;
  ZSTD_DDict* decompress_dictionary = nullptr;

  ~State() {
    deflateEnd(&deflate);
    inflateEnd(&inflate);
    ZSTD_freeDCtx(decompress);
    ZSTD_freeCDict(compress_dictionary);
    ZSTD_freeDDict(decompress_dictionary);
  }
};

PayloadCodec::PayloadCodec(const CodecConfig& config)
    : raw_bytes_max_(config.raw_bytes_max),
      level_(config.level),
      packed_(config.raw_bytes_max),
      raw_(config.raw_bytes_max),
      state_(std::make_unique<State>()) {
  State& s = *state_;
  // A window of 32 KiB is the most a zlib reader must offer; what is packed is seldom larger.
  TG_ASSERT(deflateInit(&s.deflate, level_) == Z_OK);
  TG_ASSERT(inflateInit(&s.inflate) == Z_OK);
  s.lz4.resize(static_cast<size_t>(LZ4_sizeofState()));
  s.zstd_memory.resize(ZSTD_estimateCCtxSize(level_) / sizeof(uint64_t) + 1);
  s.compress = ZSTD_initStaticCCtx(s.zstd_memory.data(), s.zstd_memory.size() * sizeof(uint64_t));
  s.decompress = ZSTD_createDCtx();
  TG_ASSERT(s.compress != nullptr && s.decompress != nullptr);
  if (config.dictionary.empty()) return;
  dictionary_id_ = ZSTD_getDictID_fromDict(config.dictionary.data(), config.dictionary.size());
  if (dictionary_id_ == 0) return;
  s.compress_dictionary =
      ZSTD_createCDict(config.dictionary.data(), config.dictionary.size(), level_);
  s.decompress_dictionary = ZSTD_createDDict(config.dictionary.data(), config.dictionary.size());
  if (s.compress_dictionary == nullptr || s.decompress_dictionary == nullptr) dictionary_id_ = 0;
}

PayloadCodec::~PayloadCodec() = default;

uint64_t PayloadCodec::memory_bytes() const {
  // zlib's own: 268 KB to pack, 40 KB to unpack (measured, see protocol.md).
  return packed_.size() + raw_.size() + state_->lz4.size() +
         state_->zstd_memory.size() * sizeof(uint64_t) + 308'000 +
         ZSTD_sizeof_DCtx(state_->decompress) + ZSTD_sizeof_CDict(state_->compress_dictionary) +
         ZSTD_sizeof_DDict(state_->decompress_dictionary);
}

base::Bytes PayloadCodec::pack(Method method, base::Bytes raw, bool dictionary) {
  if (raw.size() < 2 || raw.size() > raw_bytes_max_) return {};
  State& s = *state_;
  const size_t room = raw.size() - 1;  // as large is as good as not packed
  size_t size = 0;
  switch (method) {
    case Method::kNone:
      return {};
    case Method::kZlib:
      deflateReset(&s.deflate);
      s.deflate.next_in = const_cast<uint8_t*>(raw.data());
      s.deflate.avail_in = static_cast<uInt>(raw.size());
      s.deflate.next_out = packed_.data();
      s.deflate.avail_out = static_cast<uInt>(room);
      if (deflate(&s.deflate, Z_FINISH) != Z_STREAM_END) return {};
      size = room - s.deflate.avail_out;
      break;
    case Method::kLz4: {
      const int n =
          LZ4_compress_fast_extState(s.lz4.data(), reinterpret_cast<const char*>(raw.data()),
                                     reinterpret_cast<char*>(packed_.data()),
                                     static_cast<int>(raw.size()), static_cast<int>(room), 1);
      if (n <= 0) return {};
      size = static_cast<size_t>(n);
      break;
    }
    case Method::kZstd:
      size =
          dictionary && s.compress_dictionary != nullptr
              ? ZSTD_compress_usingCDict(s.compress, packed_.data(), room, raw.data(), raw.size(),
                                         s.compress_dictionary)
              : ZSTD_compressCCtx(s.compress, packed_.data(), room, raw.data(), raw.size(), level_);
      if (ZSTD_isError(size)) return {};
      break;
  }
  return {packed_.data(), size};
}

base::Bytes PayloadCodec::unpack(Method method, base::Bytes packed, uint32_t raw_size) {
  if (raw_size == 0 || raw_size > raw_bytes_max_ || packed.empty()) return {};
  State& s = *state_;
  const base::Bytes whole{raw_.data(), raw_size};
  switch (method) {
    case Method::kNone:
      return {};
    case Method::kZlib: {
      inflateReset(&s.inflate);
      s.inflate.next_in = const_cast<uint8_t*>(packed.data());
      s.inflate.avail_in = static_cast<uInt>(packed.size());
      s.inflate.next_out = raw_.data();
      s.inflate.avail_out = raw_size;
      const bool ended = inflate(&s.inflate, Z_FINISH) == Z_STREAM_END;
      return ended && s.inflate.avail_out == 0 && s.inflate.avail_in == 0 ? whole : base::Bytes{};
    }
    case Method::kLz4: {
      const int n = LZ4_decompress_safe(
          reinterpret_cast<const char*>(packed.data()), reinterpret_cast<char*>(raw_.data()),
          static_cast<int>(packed.size()), static_cast<int>(raw_size));
      return n == static_cast<int>(raw_size) ? whole : base::Bytes{};
    }
    case Method::kZstd: {
      const uint32_t wanted = ZSTD_getDictID_fromFrame(packed.data(), packed.size());
      if (wanted != 0 && wanted != dictionary_id_) return {};
      const size_t n = wanted != 0 ? ZSTD_decompress_usingDDict(s.decompress, raw_.data(), raw_size,
                                                                packed.data(), packed.size(),
                                                                s.decompress_dictionary)
                                   : ZSTD_decompressDCtx(s.decompress, raw_.data(), raw_size,
                                                         packed.data(), packed.size());
      return n == raw_size ? whole : base::Bytes{};
    }
  }
  return {};
}

}  // namespace tidegate::codec
