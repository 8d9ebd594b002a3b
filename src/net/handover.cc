// SPDX-License-Identifier: Apache-2.0
// Connections that go to another process with their sockets, and come from one.
#include <algorithm>
#include <cstring>

#include "net/endpoint.h"

namespace tidegate::net {

using handover::CannotMove;

namespace {
// What of Cold::edge means the same on the other side; who is counted is counted there anew.
constexpr uint8_t kCarriedEdge = kEdgePeerKnown | kEdgeAwaitsProxy | kEdgeAdmitted | kEdgeCounted;
}  // namespace

bool Endpoint::movable(uint32_t slot, CannotMove* why) const {
  const Hot& row = rows_[slot];
  if (is_poll(slot) || (cold_[slot].edge & kEdgeHttp) != 0) {
    *why = CannotMove::kPolling;
    return false;
  }
  if (row.phase == Phase::kDeciding) {
    *why = CannotMove::kLogin;
    return false;
  }
  if (row.phase != Phase::kOpen && row.phase != Phase::kHead) {
    *why = CannotMove::kClosing;
    return false;
  }
  if ((row.flags & kFlagTls) != 0 && !tls_movable(slot)) {
    *why = CannotMove::kTls;
    return false;
  }
  // A window of earlier messages is in zlib's own form.
  if (row.phase == Phase::kOpen && row.receiver.speaks_deflate() &&
      cold_[slot].opened.deflate_context != kNone) {
    *why = CannotMove::kCompression;
    return false;
  }
  return true;
}

handover::Connection Endpoint::save(uint32_t slot, std::vector<uint8_t>* scratch) {
  const Hot& row = rows_[slot];
  const Cold& cold = cold_[slot];
  TG_ASSERT(row.first_segment == kNone);
  handover::Connection out;
  out.slot = slot;
  out.generation = row.generation;
  out.open = row.phase == Phase::kOpen ? 1 : 0;
  out.subprotocol = row.subprotocol;
  out.pinged = (row.flags & kFlagPinged) != 0 ? 1 : 0;
  out.edge = cold.edge & kCarriedEdge;
  const protocol::WsReceiver::Saved receiver = row.receiver.save();
  std::memcpy(out.receiver, receiver.bytes, sizeof out.receiver);
  out.receiver_bytes = receiver.incomplete_bytes;
  out.received_ms = row.received_ms;
  out.accepted_ms = cold.accepted_ms;
  out.rtt_us = cold.rtt_us;
  out.bytes_in = cold.bytes_in;
  out.bytes_out = cold.bytes_out;
  out.messages_in = cold.messages_in;
  out.messages_out = cold.messages_out;
  std::memcpy(out.peer, cold.peer, sizeof out.peer);
  out.peer_port = cold.peer_port;
  out.burst_kib = cold.burst_kib;
  out.input_since_s = cold.input_since_s;
  out.backlog_since_s = cold.backlog_since_s;
  if (out.open != 0) {
    out.message_since_s = cold.opened.message_since_s;
    if (row.receiver.speaks_deflate()) {
      out.deflate = 1;
      out.deflate_server_bits = cold.deflate.server_window_bits;
      out.deflate_client_bits = cold.deflate.client_window_bits;
    }
  }
  if (row.input != kNone) out.input = {inputs_.data(row.input), row.input_bytes};
  if (row.message != kNone) out.message = {inputs_.data(row.message), row.message_bytes};
  scratch->clear();
  for (uint32_t b = row.backlog_bytes != 0 ? row.backlog : kNone; b != kNone;) {
    const uint32_t from = b == row.backlog ? cold.backlog_head_used : 0;
    const bool last = b == cold.backlog_tail;
    const uint32_t to = last ? cold.backlog_tail_used : backlog_blocks_.block_bytes();
    const uint8_t* const data = backlog_blocks_.data(b);
    scratch->insert(scratch->end(), data + from, data + to);
    b = last ? kNone : backlog_next_[b];
  }
  out.backlog = *scratch;
  return out;
}

bool Endpoint::restore(const handover::Connection& from) {
  if (from.slot >= rows_.size() || is_poll(from.slot) || from.generation == 0 ||
      from.generation > 0xffffff)
    return false;
  if (rows_[from.slot].phase != Phase::kFree) return false;
  if (from.deflate != 0 && compression_ == nullptr) return false;
  const protocol::WsReceiver::Saved receiver{
      {from.receiver[0], from.receiver[1], from.receiver[2], from.receiver[3]},
      from.receiver_bytes};
  Hot row;
  row.generation = from.generation;
  row.phase = from.open != 0 ? Phase::kOpen : Phase::kHead;
  row.subprotocol = from.subprotocol;
  row.flags = kFlagReceiving;
  if (from.open != 0) row.flags |= kFlagAsked;
  if (from.pinged != 0) row.flags |= kFlagPinged;
  row.received_ms = from.received_ms;
  if (!row.receiver.restore(receiver)) return false;
  if (row.receiver.speaks_deflate() != (from.deflate != 0)) return false;
  if (from.subprotocol != protocol::kNoSubprotocol &&
      from.subprotocol >= config_.rules.subprotocols.size()) {
    return false;
  }
  if (!from.input.empty()) {
    const auto bytes = static_cast<uint32_t>(from.input.size());
    row.input = inputs_.grow(kNone, 0, bytes);
    if (row.input == kNone) return false;
    std::memcpy(inputs_.data(row.input), from.input.data(), bytes);
    row.input_bytes = bytes;
  }
  if (!from.message.empty()) {
    const auto bytes = static_cast<uint32_t>(from.message.size());
    row.message = inputs_.grow(kNone, 0, bytes);
    if (row.message == kNone) return false;
    std::memcpy(inputs_.data(row.message), from.message.data(), bytes);
    row.message_bytes = bytes;
  }
  Cold cold{};
  cold.edge = from.edge & kCarriedEdge;
  cold.accepted_ms = from.accepted_ms;
  cold.rtt_us = from.rtt_us;
  cold.bytes_in = from.bytes_in;
  cold.bytes_out = from.bytes_out;
  cold.messages_in = from.messages_in;
  cold.messages_out = from.messages_out;
  std::memcpy(cold.peer, from.peer, sizeof cold.peer);
  cold.peer_port = from.peer_port;
  cold.burst_kib = from.burst_kib;
  cold.input_since_s = from.input_since_s;
  cold.backlog_since_s = from.backlog_since_s;
  if (from.open != 0) {
    cold.opened = {};
    cold.opened.message_since_s = from.message_since_s;
  }
  if (from.deflate != 0) {
    constexpr uint8_t kLeast = 8;
    if (from.deflate_server_bits < kLeast || from.deflate_server_bits > protocol::kWindowBitsMax ||
        from.deflate_client_bits < kLeast || from.deflate_client_bits > protocol::kWindowBitsMax) {
      return false;
    }
    cold.deflate_offered = true;
    cold.deflate.server_window_bits = from.deflate_server_bits & 15;
    cold.deflate.client_window_bits = from.deflate_client_bits & 15;
    cold.deflate.server_no_context_takeover = true;
    cold.deflate.client_no_context_takeover = true;
    if (!compression_->open(cold.deflate, &cold.opened.deflate_context)) return false;
  }
  rows_[from.slot] = row;
  cold_[from.slot] = cold;
  ++open_count_;
  slots_used_ = std::max(slots_used_, from.slot + 1);
  for (base::Bytes rest = from.backlog; !rest.empty();) {
    const size_t part = std::min<size_t>(rest.size(), 1 << 20);
    if (!push_backlog(from.slot, rest.data(), static_cast<uint32_t>(part))) return false;
    rest = rest.subspan(part);
  }
  if ((cold.edge & kEdgeCounted) != 0) {
    // It was let in once: counted, not judged again.
    cold_[from.slot].edge &= static_cast<uint8_t>(~kEdgeCounted);
    base::IpAddress client;
    std::memcpy(client.bytes, cold.peer, sizeof client.bytes);
    if (config_.admission != nullptr &&
        config_.admission->enter({}, client, now_).verdict == Admission::kAdmitted) {
      cold_[from.slot].edge |= kEdgeCounted;
    }
  }
  return true;
}

void Endpoint::begin_restored(uint32_t slot) {
  Hot& row = rows_[slot];
  if (row.phase == Phase::kFree) return;
  if ((row.flags & kFlagTls) != 0) begin_restored_tls(slot);
  io_.start_receive(slot, row.generation);
  if (row.phase == Phase::kHead && (cold_[slot].edge & kEdgePeerKnown) == 0) {
    io_.query_peer(slot, row.generation);
  }
  schedule(slot,
           row.phase == Phase::kHead ? config_.handshake_timeout : config_.heartbeat_interval);
  if (row.backlog_bytes != 0) {
    row.flags |= kFlagWatching;
    io_.watch_writable(slot, row.generation);
  }
}

}  // namespace tidegate::net
