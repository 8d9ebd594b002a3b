// SPDX-License-Identifier: Apache-2.0
#include "protocol/ws_deflate.h"

#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/assert.h"

namespace tidegate::protocol {

using base::Bytes;
using base::MutableBytes;

namespace {

constexpr size_t kAlignment = 16;
constexpr size_t align(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

// What stands at the front of a block: the owner's object, zlib's stream, the bump pointer.
struct Bump {
  uint8_t* next;
  size_t left;
};
template <class Owner>
struct Front {
  alignas(kAlignment) uint8_t owner[align(sizeof(Owner))];
  z_stream stream;
  Bump bump;
};

void* take_from_block(void* opaque, uInt items, uInt size) {
  Bump& bump = *static_cast<Bump*>(opaque);
  const size_t bytes = align(size_t{items} * size);
  if (bytes > bump.left) return nullptr;
  void* const taken = bump.next;
  bump.next += bytes;
  bump.left -= bytes;
  return taken;
}
void keep_in_block(void* /*opaque*/, void* /*address*/) {}

// Setup only: how much zlib asks for.
void* count_and_take(void* opaque, uInt items, uInt size) {
  *static_cast<size_t*>(opaque) += align(size_t{items} * size);
  return std::malloc(size_t{items} * size);
}
void give_back(void* /*opaque*/, void* address) { std::free(address); }

template <class Owner>
Front<Owner>& make_front(MutableBytes block) {
  TG_ASSERT(block.size() >= sizeof(Front<Owner>));
  TG_ASSERT(reinterpret_cast<uintptr_t>(block.data()) % kAlignment == 0);
  auto& front = *new (block.data()) Front<Owner>{};
  front.bump = {block.data() + align(sizeof front), block.size() - align(sizeof front)};
  front.stream.zalloc = take_from_block;
  front.stream.zfree = keep_in_block;
  front.stream.opaque = &front.bump;
  return front;
}

int init_deflate(z_stream* stream, const Deflater::Settings& settings) {
  // zlib has no window of 256 bytes for raw data. With 512 it never points back further than 512
  // less 262 (its MIN_LOOKAHEAD), which a decoder with 256 can follow; a unit test holds it to it.
  const int bits = std::max<int>(settings.window_bits, 9);
  return deflateInit2(stream, settings.level, Z_DEFLATED, -bits, settings.memory_level,
                      Z_DEFAULT_STRATEGY);
}

constexpr uint8_t kTail[4] = {0x00, 0x00, 0xff, 0xff};

void set_input(z_stream* stream, Bytes input) {
  stream->next_in = const_cast<Bytef*>(input.data());
  stream->avail_in = static_cast<uInt>(input.size());
}
void set_output(z_stream* stream, MutableBytes out) {
  stream->next_out = out.data();
  stream->avail_out = static_cast<uInt>(out.size());
}

}  // namespace

size_t Deflater::block_bytes(const Settings& settings) {
  size_t asked = 0;
  z_stream stream{};
  stream.zalloc = count_and_take;
  stream.zfree = give_back;
  stream.opaque = &asked;
  TG_ASSERT(init_deflate(&stream, settings) == Z_OK);
  deflateEnd(&stream);
  return align(sizeof(Front<Deflater>)) + asked;
}

Deflater* Deflater::make(MutableBytes block, const Settings& settings) {
  auto& front = make_front<Deflater>(block);
  TG_ASSERT(init_deflate(&front.stream, settings) == Z_OK);
  return new (front.owner) Deflater(&front.stream);
}

size_t Deflater::compress(const Bytes* parts, size_t count, MutableBytes out, Context context,
                          Tail tail) {
  set_output(stream_, out);
  for (size_t i = 0; i < count; ++i) {
    const bool last = i + 1 == count;
    set_input(stream_, parts[i]);
    // zlib answers Z_BUF_ERROR to an empty part in the middle: nothing to do.
    if (parts[i].empty() && !last) continue;
    const int result = deflate(stream_, last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    TG_ASSERT(result == Z_OK || result == Z_BUF_ERROR);
    if (stream_->avail_in != 0 || stream_->avail_out == 0) {
      deflateReset(stream_);
      return 0;
    }
  }
  const size_t written = out.size() - stream_->avail_out;
  if (context == Context::kFresh) deflateReset(stream_);
  return tail == Tail::kCut ? written - sizeof kTail : written;
}

size_t Inflater::block_bytes(uint8_t window_bits) {
  size_t asked = 0;
  z_stream stream{};
  stream.zalloc = count_and_take;
  stream.zfree = give_back;
  stream.opaque = &asked;
  TG_ASSERT(inflateInit2(&stream, -int{window_bits}) == Z_OK);
  // The window is taken with the first output.
  constexpr uint8_t kStoredByte[] = {0x00, 0x01, 0x00, 0xfe, 0xff, 'x'};
  uint8_t out[2];
  set_input(&stream, kStoredByte);
  set_output(&stream, out);
  TG_ASSERT(inflate(&stream, Z_SYNC_FLUSH) == Z_OK);
  inflateEnd(&stream);
  return align(sizeof(Front<Inflater>)) + asked;
}

Inflater* Inflater::make(MutableBytes block, uint8_t window_bits) {
  auto& front = make_front<Inflater>(block);
  TG_ASSERT(inflateInit2(&front.stream, -int{window_bits}) == Z_OK);
  return new (front.owner) Inflater(&front.stream);
}

InflateStatus Inflater::decompress(Bytes message, MutableBytes out, size_t* size, Context context) {
  set_output(stream_, out);
  for (const bool is_tail : {false, true}) {
    set_input(stream_, is_tail ? Bytes(kTail) : message);
    while (stream_->avail_in != 0) {
      // Z_BLOCK stops behind each block, so that the state at the end can be looked at.
      const int result = inflate(stream_, is_tail ? Z_BLOCK : Z_SYNC_FLUSH);
      if (result == Z_STREAM_END) {
        // A block with BFINAL: the next one begins at the next byte, the window stays.
        inflateResetKeep(stream_);
        continue;
      }
      if (result != Z_OK && result != Z_BUF_ERROR) {
        TG_ASSERT(result == Z_DATA_ERROR);  // the block has all memory that zlib asks for
        inflateReset(stream_);
        return InflateStatus::kInvalid;
      }
      if (stream_->avail_out == 0) {
        inflateReset(stream_);
        return InflateStatus::kTooBig;
      }
    }
  }
  // data_type: 128 just behind a block, the low bits count what is left of the last byte.
  if ((stream_->data_type & 128) == 0 || (stream_->data_type & 7) != 0) {
    inflateReset(stream_);
    return InflateStatus::kInvalid;
  }
  *size = out.size() - stream_->avail_out;
  if (context == Context::kFresh) inflateReset(stream_);
  return InflateStatus::kOk;
}

}  // namespace tidegate::protocol
