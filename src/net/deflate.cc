// SPDX-License-Identifier: Apache-2.0
// The part of Endpoint that only connections with permessage-deflate run: negotiation, inflating
// what came, compressing what goes out, and leaving work for the next turn.
//
// Every send tries to make the message smaller and falls back to the plain frame, which the
// extension allows for each message; so the compressed form never needs more room than the plain.
#include <algorithm>
#include <cstring>

#include "net/endpoint.h"

namespace tidegate::net {

using base::Bytes;
using base::MutableBytes;
using metrics::Counter;
using protocol::Opcode;

namespace {

constexpr uint8_t kRsv1 = 0x40;
constexpr uint32_t kStoredHeader = 5;      // an uncompressed block: flags, length, its complement
constexpr uint32_t kStoredMax = 0xffff;    // bytes of one such block
constexpr uint32_t kSharedPartsMax = 256;  // of one message; more are compressed as a whole
constexpr uint32_t kTail = 4;              // what a piece ends with and a message does not

// Frame header of a compressed message.
uint32_t write_compressed_header(uint8_t* at, Opcode opcode, uint64_t size) {
  const size_t header = protocol::write_header(at, opcode, true, size);
  at[0] |= kRsv1;
  return static_cast<uint32_t>(header);
}

}  // namespace

// Called when the upgrade is accepted; returns the header's value, empty when declined.
std::string_view Endpoint::open_deflate(uint32_t slot,
                                        char (&text)[protocol::kExtensionAnswerChars]) {
  Cold& cold = cold_[slot];
  if (compression_ == nullptr || !cold.deflate_offered) return {};
  if (!compression_->open(cold.deflate, &cold.opened.deflate_context)) {
    counters_.add(Counter::kDeflateDeclined, 1);
    return {};
  }
  rows_[slot].receiver.speak_deflate();
  counters_.add(Counter::kDeflateConnections, 1);
  return protocol::write_deflate_answer(cold.deflate, text);
}

void Endpoint::close_deflate(uint32_t slot) {
  if (!speaks_deflate(slot)) return;  // there may never have been a 101
  uint32_t& context = cold_[slot].opened.deflate_context;
  compression_->close(context);
  context = kNone;
}

void Endpoint::deliver_compressed(uint32_t slot, Bytes message) {
  Cold& cold = cold_[slot];
  MutableBytes payload;
  switch (compression_->inflate(cold.deflate, cold.opened.deflate_context, message, &payload)) {
    case protocol::InflateStatus::kTooBig:
      fail_frame(slot, protocol::ParseStatus::kTooBig);
      return;
    case protocol::InflateStatus::kInvalid:
      fail_frame(slot, protocol::ParseStatus::kBadDeflate);
      return;
    case protocol::InflateStatus::kOk:
      break;
  }
  const Opcode opcode = rows_[slot].receiver.message_opcode();
  if (opcode == Opcode::kText && !protocol::is_valid_utf8(payload)) {
    fail_frame(slot, protocol::ParseStatus::kBadUtf8);
    return;
  }
  ++cold.messages_in;
  handler_.on_message(slot, opcode, payload);
}

// --- leaving work for the next turn ---

// Once the turn's share is spent, what connections with the extension send waits in its receive
// buffers; when those are all out, in the kernel, whose window then stops the peers. True: parked.
bool Endpoint::park(const io::Completion& c) {
  if (!matches(c) || !rows_[c.slot].receiver.speaks_deflate()) return false;
  if (parked_count_ == 0 && !compression_->spent()) return false;
  if (parked_count_ == parked_.size()) return false;  // cannot be: a row and a buffer each
  parked_[(parked_first_ + parked_count_++) % parked_.size()] = c;
  counters_.add(Counter::kInflateParked, 1);
  return true;
}

void Endpoint::unpark() {
  while (parked_count_ != 0 && !compression_->spent()) {
    const io::Completion c = parked_[parked_first_];
    parked_first_ = (parked_first_ + 1) % static_cast<uint32_t>(parked_.size());
    --parked_count_;
    if (c.event == io::Event::kEnded) {
      on_ended(c);
    } else if (c.event == io::Event::kReceived) {
      take_any(c);
    } else if (matches(c) && rows_[c.slot].phase == Phase::kOpen) {
      consume(c.slot, {});
    }
  }
}

// A connection's own bytes were left in the middle of a buffer: they come before all that is
// parked, which may be more of the same.
void Endpoint::park_rest(uint32_t slot) {
  io::Completion rest{io::Event::kWoken};
  rest.slot = slot;
  rest.generation = rows_[slot].generation;
  parked_first_ = (parked_first_ == 0 ? static_cast<uint32_t>(parked_.size()) : parked_first_) - 1;
  parked_[parked_first_] = rest;
  ++parked_count_;
  counters_.add(Counter::kInflateParked, 1);
}

// --- sending ---

bool Endpoint::send_deflated(uint32_t slot, Opcode opcode, Bytes payload) {
  if (translated(slot, opcode, payload)) return true;
  if (!speaks_deflate(slot)) return false;
  const uint32_t size = static_cast<uint32_t>(payload.size());
  if (is_control(opcode) || size < compression_->config().min_bytes) return false;
  uint8_t* const at = reserve(size + protocol::kHeaderMax);
  const Cold& cold = cold_[slot];
  const uint32_t room_header = static_cast<uint32_t>(protocol::header_size(size));
  const size_t bytes = compression_->deflate(cold.deflate, cold.opened.deflate_context, &payload, 1,
                                             {at + room_header, size - 1});
  if (bytes == 0) return false;
  const uint32_t header = static_cast<uint32_t>(protocol::header_size(bytes));
  if (header != room_header) std::memmove(at + header, at + room_header, bytes);
  write_compressed_header(at, opcode, bytes);
  commit_deflated(slot, header + static_cast<uint32_t>(bytes), size - bytes);
  return true;
}

void Endpoint::commit_deflated(uint32_t slot, uint32_t size, uint64_t saved) {
  commit(slot, size);
  ++cold_[slot].messages_out;
  counters_.add(Counter::kDeflateSavedBytes, saved);
}

// The payload lies in the arena at `at` + `header`; the compressed form takes its place.
bool Endpoint::commit_message_deflated(uint32_t slot, Opcode opcode, uint8_t* at, uint32_t header,
                                       uint32_t size) {
  if (translated(slot, opcode, {at + header, size})) return true;
  if (!speaks_deflate(slot)) return false;
  const MutableBytes scratch = compression_->scratch();
  if (is_control(opcode) || size < compression_->config().min_bytes || size > scratch.size()) {
    return false;
  }
  const Cold& cold = cold_[slot];
  const Bytes payload{at + header, size};
  const size_t bytes = compression_->deflate(cold.deflate, cold.opened.deflate_context, &payload, 1,
                                             scratch.first(size - 1));
  if (bytes == 0) return false;
  const uint32_t written = write_compressed_header(at, opcode, bytes);
  std::memcpy(at + written, scratch.data(), bytes);
  commit_deflated(slot, written + static_cast<uint32_t>(bytes), size - bytes);
  return true;
}

bool Endpoint::send_gathered_deflated(uint32_t slot, Opcode opcode, Bytes own, const iovec* parts,
                                      uint32_t count, uint32_t total) {
  if (translated(slot, opcode, own, parts, count)) return true;
  if (!speaks_deflate(slot)) return false;
  if (is_control(opcode) || total < compression_->config().min_bytes) return false;
  if (count == 0) return send_deflated(slot, opcode, own);
  if (cold_[slot].deflate.server_no_context_takeover && count < kSharedPartsMax) {
    return send_pieces(slot, opcode, own, parts, count, total);
  }
  Bytes all[kSharedPartsMax + 1];
  if (count > kSharedPartsMax || total + protocol::kHeaderMax > config_.turn_bytes) return false;
  size_t used = 0;
  if (!own.empty()) all[used++] = own;
  for (uint32_t i = 0; i < count; ++i) {
    all[used++] = {static_cast<const uint8_t*>(parts[i].iov_base), parts[i].iov_len};
  }
  uint8_t* const at = reserve(total + protocol::kHeaderMax);
  const Cold& cold = cold_[slot];
  const uint32_t room_header = static_cast<uint32_t>(protocol::header_size(total));
  const size_t bytes = compression_->deflate(cold.deflate, cold.opened.deflate_context, all, used,
                                             {at + room_header, total - 1});
  if (bytes == 0) return false;
  const uint32_t header = static_cast<uint32_t>(protocol::header_size(bytes));
  if (header != room_header) std::memmove(at + header, at + room_header, bytes);
  write_compressed_header(at, opcode, bytes);
  commit_deflated(slot, header + static_cast<uint32_t>(bytes), total - bytes);
  return true;
}

// A message of pieces, each DEFLATE data of its own: shared parts as everybody's compressed bytes,
// or, where those would be larger, as an uncompressed block around the shared bytes themselves. Own
// bytes are few and always stand in an uncompressed block.
bool Endpoint::send_pieces(uint32_t slot, Opcode opcode, Bytes own, const iovec* parts,
                           uint32_t count, uint32_t total) {
  struct Out {
    Bytes bytes;
    bool stored;
  };
  Out out[kSharedPartsMax + 1];
  uint32_t used = 0;
  uint64_t size = 0;
  const auto add_stored = [&](Bytes bytes) {
    out[used++] = {bytes, true};
    size += kStoredHeader + bytes.size();
    return bytes.size() <= kStoredMax;
  };
  // An early flush would forget the pieces, so whatever might cause it comes first.
  const uint32_t own_bytes = static_cast<uint32_t>(own.size());
  const uint32_t head_bytes =
      static_cast<uint32_t>(protocol::kHeaderMax) + (count + 1) * (kStoredHeader + 1) + own_bytes;
  if (segment_count_ + 2 * count + 4 >= segments_.size()) flush();
  uint8_t* at = reserve(head_bytes);
  const uint8_t bits = cold_[slot].deflate.server_window_bits;
  bool good = own_bytes == 0 || add_stored(own);
  uint32_t reuses = 0;
  for (uint32_t i = 0; i < count && good; ++i) {
    const Bytes part{static_cast<const uint8_t*>(parts[i].iov_base), parts[i].iov_len};
    if (part.empty()) continue;
    bool reused = false;
    Bytes piece;
    if (compression_->piece(bits, part, &piece, &reused)) {
      out[used++] = {piece, false};
      size += piece.size();
    } else {
      good = add_stored(part);
    }
    reuses += reused;
  }
  counters_.add(Counter::kDeflateShared, reuses);
  if (!good || used == 0) return false;
  // The end of a message: an uncompressed block that ends the last piece, or one of its own, less
  // its last four bytes.
  const bool ends_stored = out[used - 1].stored;
  size = ends_stored ? size + 1 : size - kTail;
  if (size >= total) return false;

  uint32_t written = write_compressed_header(at, opcode, size);
  for (uint32_t i = 0; i < used; ++i) {
    const Bytes bytes = out[i].bytes;
    const uint32_t n = static_cast<uint32_t>(bytes.size());
    if (out[i].stored) {
      at[written] = 0;
      base::store_le(at + written + 1, static_cast<uint16_t>(n));
      base::store_le(at + written + 3, static_cast<uint16_t>(~n));
      written += kStoredHeader;
    }
    if (i == 0 && own_bytes != 0) {  // not shared: gone after this call
      std::memcpy(at + written, own.data(), own_bytes);
      written += own_bytes;
      continue;
    }
    if (written != 0) commit(slot, written);
    written = 0;
    const bool last = i + 1 == used;
    append_segment(slot, bytes.data(), last && !ends_stored ? n - kTail : n);
    at = static_cast<uint8_t*>(turn_arena_.peek(0));
  }
  if (ends_stored) at[written++] = 0;
  if (written != 0) commit(slot, written);
  ++cold_[slot].messages_out;
  counters_.add(Counter::kDeflateSavedBytes, total - size);
  return true;
}

// One whole frame that others get as it is: its payload is a shared part.
bool Endpoint::send_framed_deflated(uint32_t slot, const uint8_t* data, uint32_t size,
                                    uint32_t messages) {
  if (translated_frames(slot, data, size)) return true;
  if (!speaks_deflate(slot) || messages != 1) return false;
  const uint32_t header = (data[1] & 0x7f) < 126 ? 2 : (data[1] & 0x7f) == 126 ? 4 : 10;
  if (header > size) return false;
  const iovec payload{const_cast<uint8_t*>(data + header), size - header};
  return send_gathered_deflated(slot, static_cast<Opcode>(data[0] & 0x0f), {}, &payload, 1,
                                size - header);
}

}  // namespace tidegate::net
