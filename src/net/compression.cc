// SPDX-License-Identifier: Apache-2.0
#include "net/compression.h"

#include <algorithm>

namespace tidegate::net {

using base::Bytes;
using base::MutableBytes;
using protocol::DeflateParameters;
using protocol::Deflater;
using protocol::Inflater;

namespace {

uint32_t align(size_t bytes) { return static_cast<uint32_t>((bytes + 63) & ~size_t{63}); }

Deflater::Settings settings_of(const CompressionConfig& config, uint8_t window_bits) {
  return {window_bits, config.memory_level, config.level};
}

size_t shared_state_bytes(const CompressionConfig& config) {
  size_t sum = align(Inflater::block_bytes(config.rules.client_window_bits));
  for (uint8_t bits = protocol::kWindowBitsMin; bits <= config.rules.server_window_bits; ++bits) {
    sum += align(Deflater::block_bytes(settings_of(config, bits)));
  }
  return sum;
}

}  // namespace

Compression::Compression(const CompressionConfig& config, uint32_t message_bytes,
                         uint32_t shared_bytes)
    : config_(config),
      context_inflater_bytes_(config.rules.client_context_takeover
                                  ? align(Inflater::block_bytes(config.rules.client_window_bits))
                                  : 0),
      context_deflater_bytes_(
          config.rules.server_context_takeover
              ? align(Deflater::block_bytes(settings_of(config, config.rules.server_window_bits)))
              : 0),
      contexts_(config.contexts, context_inflater_bytes_ + context_deflater_bytes_),
      states_(config.contexts),
      shared_states_(shared_state_bytes(config)),
      inflate_out_(size_t{message_bytes} + 1),
      scratch_(message_bytes),
      pieces_(kPieces),
      piece_arena_(shared_bytes) {
  const uint8_t bits = config.rules.client_window_bits;
  const size_t bytes = align(Inflater::block_bytes(bits));
  shared_inflater_ = Inflater::make({shared_states_.take(bytes), bytes}, bits);
}

uint64_t Compression::memory_bytes() const {
  return contexts_.memory_bytes() + states_.bytes() + shared_states_.used() +
         shared_states_.available() + inflate_out_.bytes() + scratch_.bytes() + pieces_.bytes() +
         piece_arena_.used() + piece_arena_.available();
}

bool Compression::open(const DeflateParameters& agreed, uint32_t* context) {
  *context = kNone;
  if (agreed.server_no_context_takeover && agreed.client_no_context_takeover) return true;
  const uint32_t taken = contexts_.allocate();
  if (taken == mem::BlockPool::kNone) return false;
  uint8_t* const block = contexts_.data(taken);
  Context& state = states_[taken];
  state = {};
  if (!agreed.client_no_context_takeover) {
    state.inflater = Inflater::make({block, context_inflater_bytes_}, agreed.client_window_bits);
  }
  if (!agreed.server_no_context_takeover) {
    state.deflater = Deflater::make({block + context_inflater_bytes_, context_deflater_bytes_},
                                    settings_of(config_, agreed.server_window_bits));
  }
  *context = taken;
  return true;
}

void Compression::close(uint32_t context) {
  if (context != kNone) contexts_.free(context);
}

protocol::InflateStatus Compression::inflate(const DeflateParameters& agreed, uint32_t context,
                                             Bytes message, MutableBytes* out) {
  const bool fresh = agreed.client_no_context_takeover;
  Inflater& inflater = fresh ? *shared_inflater_ : *states_[context].inflater;
  size_t size = 0;
  const protocol::InflateStatus status =
      inflater.decompress(message, {inflate_out_.data(), inflate_out_.size()}, &size,
                          fresh ? protocol::Context::kFresh : protocol::Context::kTakeover);
  // Input counts too: blocks without output are work as well.
  inflated_ += message.size() + size;
  *out = {inflate_out_.data(), size};
  return status;
}

Deflater& Compression::shared_deflater(uint8_t window_bits) {
  Deflater*& deflater = shared_deflaters_[window_bits];
  if (deflater == nullptr) {  // the first connection with this window; its room is set aside
    const Deflater::Settings settings = settings_of(config_, window_bits);
    const size_t bytes = align(Deflater::block_bytes(settings));
    deflater = Deflater::make({shared_states_.take(bytes), bytes}, settings);
  }
  return *deflater;
}

size_t Compression::deflate(const DeflateParameters& agreed, uint32_t context, const Bytes* parts,
                            size_t count, MutableBytes out) {
  if (agreed.server_no_context_takeover) {
    return shared_deflater(agreed.server_window_bits)
        .compress(parts, count, out, protocol::Context::kFresh);
  }
  return states_[context].deflater->compress(parts, count, out, protocol::Context::kTakeover);
}

bool Compression::piece(uint8_t window_bits, Bytes part, Bytes* out, bool* reused) {
  *reused = false;
  const uint64_t key = reinterpret_cast<uintptr_t>(part.data()) + window_bits;
  uint32_t at = static_cast<uint32_t>((key * 0x9e3779b97f4a7c15u) >> 52) & (kPieces - 1);
  while (pieces_[at].epoch == epoch_) {
    const Piece& known = pieces_[at];
    if (known.part == part.data() && known.part_bytes == part.size() &&
        known.window_bits == window_bits) {
      *reused = true;
      *out = {known.data, known.bytes};
      return known.data != nullptr;
    }
    at = (at + 1) & (kPieces - 1);
  }
  if (piece_count_ >= kPieces / 2 || part.empty()) return false;
  const size_t room = std::min(piece_arena_.available(), part.size());
  uint8_t* const data = piece_arena_.peek(room);
  const size_t bytes = room == 0 ? 0
                                 : shared_deflater(window_bits)
                                       .compress(&part, 1, {data, room}, protocol::Context::kFresh,
                                                 Deflater::Tail::kKeep);
  piece_arena_.take(bytes);
  ++piece_count_;
  pieces_[at] = {part.data(),
                 bytes == 0 ? nullptr : data,
                 static_cast<uint32_t>(part.size()),
                 static_cast<uint32_t>(bytes),
                 epoch_,
                 window_bits};
  *out = {data, bytes};
  return bytes != 0;
}

void Compression::forget_pieces() {
  if (piece_count_ == 0) return;
  piece_count_ = 0;
  piece_arena_.reset();
  // After four billion turns with pieces an old entry might look new.
  if (++epoch_ == 0) {
    for (uint32_t i = 0; i < kPieces; ++i) pieces_[i].epoch = 0;
    epoch_ = 1;
  }
}

}  // namespace tidegate::net
