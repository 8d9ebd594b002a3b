// SPDX-License-Identifier: Apache-2.0
// The receiving half of Endpoint: bytes to upgrade requests, frames and messages.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "net/endpoint.h"

namespace tidegate::net {

using base::MutableBytes;
using protocol::FrameView;
using protocol::Opcode;

void Endpoint::on_received(const io::Completion& c) {
  if (extras_) [[unlikely]]
    return on_received_extras(c);
  take_received(c);
}

// With permessage-deflate or TLS somewhere at this endpoint.
void Endpoint::on_received_extras(const io::Completion& c) {
  if (compression_ == nullptr || !park(c)) take_any(c);
}

void Endpoint::take_any(const io::Completion& c) {
  if (tls_ != nullptr && matches(c) && (rows_[c.slot].flags & kFlagTls) != 0 &&
      !(cold_[c.slot].edge & kEdgeAwaitsProxy)) {
    take_received_tls(c);
  } else {
    take_received(c);
  }
}

void Endpoint::take_received(const io::Completion& c) {
  held_buffers_[held_count_++] = c.buffer;
  if (!matches(c)) return;
  Hot& row = rows_[c.slot];
  if (row.phase == Phase::kClosed) return;
  row.received_ms = now_ms_;
  row.flags &= static_cast<uint8_t>(~kFlagPinged);
  const uint32_t size = static_cast<uint32_t>(c.result);
  cold_[c.slot].bytes_in += size;
  counters_.add(metrics::Counter::kBytesReceived, size);
  parsing_ = true;
  if (cold_[c.slot].edge & kEdgeAwaitsProxy) [[unlikely]] {
    read_proxy_header(c.slot, {c.data, size});
  } else {
    consume(c.slot, {c.data, size});
  }
  parsing_ = false;
  if (held_count_ == held_buffers_.size()) flush();
}

void Endpoint::consume(uint32_t slot, MutableBytes bytes) {
  Hot& row = rows_[slot];
  if (row.input != kNone) {
    // Something incomplete waits: append, then read from there.
    const uint32_t have = row.input_bytes;
    const uint32_t whole = have + static_cast<uint32_t>(bytes.size());
    row.input = inputs_.grow(row.input, have, whole);
    if (row.input == kNone) {
      row.input_bytes = 0;
      fail(slot, 1013, "no buffer free for an incomplete message", CloseCause::kOverloaded);
      return;
    }
    if (!bytes.empty()) std::memcpy(inputs_.data(row.input) + have, bytes.data(), bytes.size());
    row.input_bytes = whole;
    bytes = {inputs_.data(row.input), whole};
  }
  size_t used = 0;
  size_t need = 0;
  row.flags |= kFlagDispatching;
  while (used < bytes.size()) {
    need = 0;
    const MutableBytes rest = bytes.subspan(used);
    size_t step = 0;
    if (row.phase == Phase::kHead) {
      step = consume_head(slot, rest, &need);
    } else if (row.phase == Phase::kOpen) {
      step = consume_frames(slot, rest, &need);
    }
    if (step == 0) break;
    used += step;
  }
  row.flags &= static_cast<uint8_t>(~kFlagDispatching);
  if (row.phase != Phase::kHead && row.phase != Phase::kDeciding && row.phase != Phase::kOpen) {
    free_inputs(slot);  // what a closing peer still says means nothing
    return;
  }
  const MutableBytes rest = bytes.subspan(used);
  // The clock of what is incomplete begins with its first byte.
  if (used != 0 || row.input == kNone) cold_[slot].input_since_s = now_s_;
  if (rest.empty()) {
    inputs_.free(row.input);
    row.input = kNone;
    row.input_bytes = 0;
    return;
  }
  if (row.input != kNone) {
    if (used != 0) std::memmove(inputs_.data(row.input), rest.data(), rest.size());
    row.input_bytes = static_cast<uint32_t>(rest.size());
    if (need > inputs_.capacity(row.input)) {
      row.input = inputs_.grow(row.input, row.input_bytes, static_cast<uint32_t>(need));
    }
  } else {
    row.input = inputs_.grow(kNone, 0, static_cast<uint32_t>(std::max(need, rest.size())));
    if (row.input != kNone) {
      std::memcpy(inputs_.data(row.input), rest.data(), rest.size());
      row.input_bytes = static_cast<uint32_t>(rest.size());
    }
  }
  if (row.input == kNone) {
    row.input_bytes = 0;
    fail(slot, 1013, "no buffer free for an incomplete message", CloseCause::kOverloaded);
    return;
  }
  // Frames are left although they may be whole: the turn has inflated its share.
  if (row.phase == Phase::kOpen && need == 0) [[unlikely]]
    park_rest(slot);
}

// Returns how many bytes the head took, 0 when it is not whole yet. Nothing of it is needed once
// the handler has seen it.
size_t Endpoint::consume_head(uint32_t slot, MutableBytes bytes, size_t* need) {
  Hot& row = rows_[slot];
  const size_t end = protocol::find_head_end(bytes, 0);
  if ((end == 0 ? bytes.size() : end) > config_.head_bytes) {
    const protocol::UpgradeError error = protocol::head_too_large();
    refuse_upgrade(slot, error.status, error.code, error.message);
    return 0;
  }
  // Who asks decides; the answer to query_peer is on its way and goes on from here.
  if (end == 0 || !(cold_[slot].edge & kEdgePeerKnown)) return 0;
  if (poll_ != nullptr && ((cold_[slot].edge & kEdgeHttp) != 0 ||
                           protocol::is_poll_request(bytes.first(end), config_.rules.path))) {
    return consume_poll(slot, bytes, end, need);
  }
  protocol::UpgradeRequest request;
  const protocol::UpgradeError error =
      protocol::parse_upgrade(bytes.first(end), config_.rules, request);
  if (error.status != 0) {
    refuse_upgrade(slot, error.status, error.code, error.message);
    return 0;
  }
  if (request.offered_subprotocols && request.subprotocol == protocol::kNoSubprotocol &&
      !config_.rules.subprotocols.empty()) {
    refuse_upgrade(slot, 400, "malformed_upgrade",
                   "none of the offered subprotocols is spoken here; see docs/protocol.md");
    return 0;
  }
  if (!check_edge(slot, request)) return 0;
  protocol::compute_accept_key(request.key, cold_[slot].accept_key);
  row.phase = Phase::kDeciding;
  row.subprotocol = request.subprotocol;
  if (request.extensions.accepted()) {
    cold_[slot].deflate_offered = true;
    cold_[slot].deflate = request.extensions.parameters();
  }
  row.flags |= kFlagAsked;
  if (handler_.on_upgrade(slot, request) == UpgradeDecision::kAccept) accept_upgrade(slot);
  return end;
}

size_t Endpoint::consume_frames(uint32_t slot, MutableBytes bytes, size_t* need) {
  Hot& row = rows_[slot];
  size_t used = 0;
  while (used < bytes.size()) {
    FrameView frame;
    uint64_t room = config_.message_bytes - row.message_bytes;
    uint64_t room_compressed = 0;
    if (row.receiver.speaks_deflate()) [[unlikely]] {
      if (compression_->spent()) return used;
      room_compressed = compressed_limit_;
      if (row.receiver.in_message() && row.receiver.message_compressed()) {
        room = compressed_limit_ - row.message_bytes;
      }
    }
    const protocol::ParseStatus status = protocol::parse_frame(
        bytes.subspan(used), protocol::Role::kServer, room, frame, room_compressed);
    if (status == protocol::ParseStatus::kNeedMore) {
      *need = frame.consumed;
      const protocol::ParseStatus text =
          row.receiver.check_incomplete(bytes.subspan(used), protocol::Role::kServer);
      if (text == protocol::ParseStatus::kFrame) [[likely]]
        return used;
      fail_frame(slot, text);
      return bytes.size();
    }
    if (status != protocol::ParseStatus::kFrame) {
      fail_frame(slot, status);
      return bytes.size();
    }
    used += frame.consumed;
    const protocol::Received received = row.receiver.on_frame(frame);
    if (received.event == protocol::ReceiveEvent::kMessage) [[likely]] {
      ++cold_[slot].messages_in;
      handler_.on_message(slot, frame.opcode, frame.payload);
    } else {
      on_other_frame(slot, frame, received);
    }
    if (row.phase != Phase::kOpen) return bytes.size();
  }
  return used;
}

void Endpoint::fail_frame(uint32_t slot, protocol::ParseStatus status) {
  const bool big = status == protocol::ParseStatus::kTooBig;
  fail(slot, protocol::close_code_of(status), protocol::text_of(status),
       big ? CloseCause::kTooBig : CloseCause::kProtocolError);
}

// Frames that make no message have a price of their own that no limit of messages counts. False: it
// is not to be paid any more, the connection ends.
bool Endpoint::count_extra_frame(uint32_t slot) {
  Cold::Opened& opened = cold_[slot].opened;
  if (opened.extra_second != now_s_) {
    opened.extra_second = now_s_;
    opened.extra_frames = 0;
  }
  if (++opened.extra_frames <= config_.extra_frames_per_second) return true;
  counters_.add(metrics::Counter::kFrameFloods, 1);
  close(slot, 1008, "too many pings, pongs or fragments in a second", CloseCause::kFlood);
  return false;
}

void Endpoint::on_other_frame(uint32_t slot, const FrameView& frame,
                              const protocol::Received& received) {
  Hot& row = rows_[slot];
  switch (received.event) {
    case protocol::ReceiveEvent::kFirstFragment:
      cold_[slot].opened.message_since_s = now_s_;
      [[fallthrough]];
    case protocol::ReceiveEvent::kNextFragment:
    case protocol::ReceiveEvent::kPing:
    case protocol::ReceiveEvent::kPong:
      if (!count_extra_frame(slot)) return;
      break;
    default:
      break;
  }
  switch (received.event) {
    case protocol::ReceiveEvent::kMessage:
      break;  // handled by the caller
    case protocol::ReceiveEvent::kCompressedMessage:
      deliver_compressed(slot, frame.payload);
      return;
    case protocol::ReceiveEvent::kFirstFragment:
    case protocol::ReceiveEvent::kNextFragment:
    case protocol::ReceiveEvent::kLastFragment: {
      const uint32_t size = static_cast<uint32_t>(frame.payload.size());
      if (size != 0 || row.message == kNone) {
        row.message = inputs_.grow(row.message, row.message_bytes, row.message_bytes + size + 1);
        if (row.message == kNone) {
          row.message_bytes = 0;
          fail(slot, 1013, "no buffer free for a fragmented message", CloseCause::kOverloaded);
          return;
        }
        if (size != 0) {
          std::memcpy(inputs_.data(row.message) + row.message_bytes, frame.payload.data(), size);
        }
        row.message_bytes += size;
      }
      if (received.event != protocol::ReceiveEvent::kLastFragment) return;
      const MutableBytes message{inputs_.data(row.message), row.message_bytes};
      if (row.receiver.message_compressed()) {
        deliver_compressed(slot, message);
      } else {
        ++cold_[slot].messages_in;
        handler_.on_message(slot, row.receiver.message_opcode(), message);
      }
      inputs_.free(row.message);
      row.message = kNone;
      row.message_bytes = 0;
      return;
    }
    case protocol::ReceiveEvent::kPing:
      send_message(slot, Opcode::kPong, frame.payload);
      return;
    case protocol::ReceiveEvent::kPong:
      // Ours carry the time they left, so the answer gives the round trip.
      if (frame.payload.size() == 8) {
        const int64_t left = base::load_le<int64_t>(frame.payload.data());
        const int64_t round_trip_us = (now_.ns - left) / 1000;
        if (round_trip_us >= 0 && round_trip_us < 60'000'000) {
          Cold& cold = cold_[slot];
          const auto rtt_us = static_cast<uint32_t>(std::max<int64_t>(1, round_trip_us));
          if (cold.rtt_us != 0) {  // as RFC 3550, section 6.4.1, but heartbeats are few: a quarter
            const int64_t difference = std::abs(int64_t{rtt_us} - cold.rtt_us);
            const int64_t jitter = cold.opened.rtt_jitter_us;
            cold.opened.rtt_jitter_us = static_cast<uint32_t>(jitter + (difference - jitter) / 4);
          }
          cold.rtt_us = rtt_us;
        }
      }
      return;
    case protocol::ReceiveEvent::kClose:
      close(slot, received.close_code, {}, CloseCause::kPeerClosed);
      return;
    case protocol::ReceiveEvent::kError:
      fail_frame(slot, received.status);
      return;
  }
}

}  // namespace tidegate::net
