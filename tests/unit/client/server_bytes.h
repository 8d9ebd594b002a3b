// SPDX-License-Identifier: Apache-2.0
// What a server would send, made by hand for the client's tests.
// Thread: the test. Owner: values. Limits: messages of 64 KiB.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/http_upgrade.h"
#include "protocol/ws.h"
#include "wire/cell_codec.h"
#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::client {

using ByteString = std::vector<uint8_t>;

inline void append(ByteString& to, base::Bytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
inline ByteString bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

inline ByteString operator+(ByteString a, const ByteString& b) {
  append(a, b);
  return a;
}

// The answer to an upgrade request.
inline ByteString switching_protocols(std::string_view request) {
  const size_t at = request.find("Sec-WebSocket-Key: ") + 19;
  char accept[protocol::kAcceptKeyChars];
  protocol::compute_accept_key(request.substr(at, protocol::kKeyChars), accept);
  ByteString out(protocol::kAnswerBytesMax);
  out.resize(protocol::write_switching_protocols(out, {accept, sizeof accept}, ""));
  return out;
}

inline ByteString ws_frame(protocol::Opcode opcode, base::Bytes payload, bool fin = true) {
  ByteString out(protocol::kHeaderMax);
  out.resize(protocol::write_header(out.data(), opcode, fin, payload.size()));
  append(out, payload);
  return out;
}
inline ByteString ws_binary(base::Bytes payload) {
  return ws_frame(protocol::Opcode::kBinary, payload);
}

// One protocol frame with payload bytes, without WebSocket.
inline ByteString frame_of(wire::MessageType type, base::Bytes payload) {
  ByteString out(64 * 1024);
  wire::EnvelopeHead head;
  head.type = type;
  wire::MessageWriter writer(out, head);
  writer.payload().raw(payload.data(), payload.size());
  out.resize(writer.finish());
  return out;
}

template <class Payload>
ByteString encoded(const Payload& payload) {
  ByteString out(4096);
  wire::PbWriter writer(out);
  wire::encode(writer, payload);
  out.resize(writer.size());
  return out;
}
template <class Payload>
ByteString frame_of(wire::MessageType type, const Payload& payload)
  requires(!std::is_convertible_v<const Payload&, base::Bytes>)
{
  return frame_of(type, base::Bytes(encoded(payload)));
}

inline wire::CellMember member(uint16_t slot, uint32_t id, std::string_view name, int32_t x = 0) {
  wire::CellMember m;
  m.slot = slot;
  m.id = id;
  m.name = name;
  m.x = x;
  return m;
}

// One cell frame as the payload of a CELL_FRAME.
inline ByteString cell_message(base::Bytes frame) {
  ByteString out(wire::kCellHeadBytesMax + wire::kCellLengthRoom + frame.size());
  const size_t head = wire::write_cell_head(out, 0);
  const base::MutableBytes rest = base::MutableBytes(out).subspan(head);
  std::copy(frame.begin(), frame.end(), rest.begin() + wire::kCellLengthRoom);
  out.resize(head + wire::close_cell_frame(rest, frame.size()));
  return out;
}

// Payloads of CELL_FRAME for cell (x, 0).
inline ByteString keyframe(int16_t x, uint32_t frame, const std::vector<wire::CellMember>& members,
                           uint64_t checksum_error = 0) {
  wire::CellFrameHeader h;
  h.keyframe = h.has_checksum = true;
  h.cell_x = x;
  h.frame = frame;
  wire::CellChecksum sum;
  for (const wire::CellMember& m : members) {
    sum.add(m.slot, m.kind, m.yaw, m.id, m.x, m.y, m.z, m.flags);
  }
  h.checksum = sum.value() ^ checksum_error;
  ByteString out(16 * 1024);
  out.resize(wire::write_cell_keyframe(out, h, members));
  return cell_message(out);
}
inline ByteString delta(int16_t x, uint32_t frame, const std::vector<wire::CellLeave>& leaves,
                        const std::vector<wire::CellMember>& enters,
                        const std::vector<wire::CellChange>& changes) {
  wire::CellFrameHeader h;
  h.cell_x = x;
  h.frame = frame;
  h.reference = frame - 1;
  ByteString out(16 * 1024);
  out.resize(wire::write_cell_delta(out, h, leaves, enters, changes));
  return cell_message(out);
}
inline ByteString drop(int16_t x, uint32_t frame) {
  wire::CellFrameHeader h;
  h.drop = true;
  h.cell_x = x;
  h.frame = frame;
  ByteString out(64);
  out.resize(wire::write_cell_drop(out, h));
  return cell_message(out);
}

// Payloads of the protobuf state.
inline wire::PlayerStateUpdate state_of(std::string_view name, float x = 0, uint32_t flags = 0) {
  wire::PlayerStateUpdate s;
  s.player_id = name;
  s.position = {x, 0, 0};
  s.has_position = true;
  s.state_flags = flags;
  return s;
}
inline ByteString world_state(const std::vector<wire::PlayerStateUpdate>& players) {
  ByteString out(16 * 1024);
  wire::PbWriter w(out);
  for (const auto& p : players) {
    const size_t mark = w.begin(wire::kSnapshotPlayers);
    wire::encode(w, p);
    w.end(mark);
  }
  out.resize(w.size());
  return out;
}
inline ByteString zone_update(const std::vector<wire::PlayerStateUpdate>& spawns,
                              const std::vector<std::string>& despawns,
                              const std::vector<wire::PlayerStateDelta>& updates) {
  ByteString out(16 * 1024);
  wire::PbWriter w(out);
  for (const auto& s : spawns) {
    const size_t spawn = w.begin(wire::kZoneSpawns);
    const size_t state = w.begin(1);
    wire::encode(w, s);
    w.end(state);
    w.end(spawn);
  }
  for (const auto& name : despawns) w.put_text(wire::kZoneDespawns, name);
  for (const auto& u : updates) {
    const size_t update = w.begin(wire::kZoneUpdates);
    const size_t mark = w.begin(1);
    wire::encode(w, u);
    w.end(mark);
    w.end(update);
  }
  out.resize(w.size());
  return out;
}
inline ByteString interest_update(const std::vector<std::string>& entered,
                                  const std::vector<std::string>& exited) {
  ByteString out(16 * 1024);
  wire::PbWriter w(out);
  for (const auto& name : entered) w.put_text(1, name);
  for (const auto& name : exited) w.put_text(2, name);
  out.resize(w.size());
  return out;
}

}  // namespace tidegate::client
