// SPDX-License-Identifier: Apache-2.0
// What a shard says to one client: each function writes whole protocol frames.
#include <cstdio>
#include <cstring>

#include "shard/shard.h"
#include "wire/cell_codec.h"
#include "wire/envelope.h"
#include "wire/messages.h"
#include "wire/quantise.h"

namespace tidegate::shard {

namespace {

constexpr uint32_t kReplyRoom = 2560;  // permissions and texts are bounded well below

wire::Vector3 metres(const world::Steps3& p, float step) {
  return {wire::to_metres(p[0], step), wire::to_metres(p[1], step), wire::to_metres(p[2], step)};
}

wire::Vector3 velocity(const int16_t (&v)[3]) {
  return {wire::from_velocity(v[0]), wire::from_velocity(v[1]), wire::from_velocity(v[2])};
}

}  // namespace

template <class Payload>
void Shard::send_reply(uint32_t slot, wire::MessageType type, const Payload& payload) {
  uint8_t* out = endpoint_.reserve_message(slot, kReplyRoom);
  if (out == nullptr) return;
  Player& player = players_[slot];
  wire::EnvelopeHead head{type, io_.unix_ms()};
  if (player.inbound.ack_owed()) {
    head.ack = player.inbound.safe();
    player.inbound.acknowledged();
  }
  wire::MessageWriter writer({out, kReplyRoom}, head);
  wire::encode(writer.payload(), payload);
  const uint32_t size = writer.finish();
  TG_ASSERT(size != 0);
  endpoint_.commit_message(slot, protocol::Opcode::kBinary, size);
}

// CONNECTION_ESTABLISHED, AUTHENTICATION_RESULT and, when it was asked for, RESUME_RESULT.
void Shard::write_welcome(uint32_t slot, const mailbox::SessionOpened& opened,
                          std::string_view token) {
  const Player& player = players_[slot];
  const IdentityView identity = identities_.view(player.identity);
  char session[17];
  std::snprintf(session, sizeof session, "%016llx",
                static_cast<unsigned long long>(player.session));
  wire::ConnectionEstablished established;
  established.session_id = session;
  established.server_version = config_.server_version;
  established.server_time = io_.unix_ms();
  established.heartbeat_interval =
      static_cast<uint32_t>(config_.endpoint.heartbeat_interval.ns / 1'000'000);
  char cell_size[16];
  std::snprintf(cell_size, sizeof cell_size, "%g", static_cast<double>(config_.world.cell_size));
  established.cell_size = cell_size;
  char dictionary[16];
  if (!speaks_json(slot)) established.compression = packing_.names();
  if (packing_.dictionary_id() != 0 && !speaks_json(slot)) {
    std::snprintf(dictionary, sizeof dictionary, "%u", packing_.dictionary_id());
    established.zstd_dictionary = dictionary;
  }
  char steer_speed[16];
  std::snprintf(steer_speed, sizeof steer_speed, "%u", slice_.scale().steer_speed);
  established.steer_speed = steer_speed;
  char steer_delay[16];
  std::snprintf(steer_delay, sizeof steer_delay, "%u", slice_.scale().steer_delay_ticks);
  established.steer_delay = steer_delay;
  established.resume_token = token;
  established.tick_rate = config_.world.tick_rate;
  established.server_tick = current_tick();
  send_reply(slot, wire::MessageType::kConnectionEstablished, established);
  wire::AuthenticationResult result;
  result.success = true;
  result.user_id = identity.user;
  if (identity.player != identity.user) result.character_id = identity.player;
  result.permissions = identity.permissions;
  send_reply(slot, wire::MessageType::kAuthenticationResult, result);
  if (player.flags & kResumeAsked) {
    wire::ResumeResult resume;
    const auto verdict = static_cast<session::Resume>(opened.resume);
    resume.resumed = verdict == session::Resume::kResumed;
    resume.reason = session::reason_of(verdict);
    resume.replayed = opened.replayed;
    resume.last_client_sequence = opened.safe;
    send_reply(slot, wire::MessageType::kResumeResult, resume);
    const uint16_t error = session::error_of(verdict);
    if (error != 0) send_error(slot, error, resume.reason, false);
  }
}

void Shard::send_error(uint32_t slot, uint16_t code, std::string_view details, bool fatal,
                       std::string_view request) {
  counters_.add(metrics::Family::kErrors, code - wire::kErrorCodeFirst);
  wire::ErrorNotification error;
  error.code = code;
  error.message = wire::text_of_error(code);
  error.details = details;
  error.fatal = fatal;
  error.request_id = request;
  send_reply(slot, wire::MessageType::kError, error);
}

void Shard::send_disconnect(uint32_t slot, const wire::Disconnect& disconnect) {
  send_reply(slot, wire::MessageType::kDisconnect, disconnect);
}

void Shard::send_pong(uint32_t slot, base::Bytes payload) {
  uint8_t* out = endpoint_.reserve_message(slot, kReplyRoom);
  if (out == nullptr) return;
  wire::MessageWriter writer({out, kReplyRoom}, {wire::MessageType::kPong, io_.unix_ms()});
  writer.payload().raw(payload.data(), payload.size());
  endpoint_.commit_message(slot, protocol::Opcode::kBinary, writer.finish());
}

void Shard::send_time_sync(uint32_t slot, const wire::TimeSync& asked) {
  wire::TimeSync answer;
  answer.server_time = io_.unix_ms();
  answer.server_tick = current_tick();
  answer.client_time = asked.client_time;
  answer.latency_ms = endpoint_.cold(slot).rtt_us / 2000;
  send_reply(slot, wire::MessageType::kTimeSync, answer);
}

void Shard::send_ack(uint32_t slot) {
  Player& player = players_[slot];
  uint8_t* out = endpoint_.reserve_message(slot, 64);
  if (out == nullptr) return;
  const uint32_t size = write_ack({out, 64}, player, io_.unix_ms());
  endpoint_.commit_message(slot, protocol::Opcode::kBinary, size);
}

uint32_t Shard::write_ack(base::MutableBytes out, Player& player, base::UnixMs unix_ms) {
  wire::EnvelopeHead head{wire::MessageType::kAck, unix_ms};
  head.ack = player.inbound.safe();
  player.inbound.acknowledged();
  wire::MessageWriter writer(out, head);
  return writer.finish();
}

uint32_t Shard::write_move_ack(base::MutableBytes out, uint32_t slot, base::UnixMs unix_ms) {
  const world::MoveResult& answer = players_[slot].answer;
  wire::MoveAck ack;
  ack.client_tick = answer.client_tick;
  ack.server_tick = answer.server_tick;
  ack.position = metres(answer.position, config_.world.position_step);
  ack.velocity = velocity(answer.velocity);
  ack.corrected = answer.corrected != 0;
  ack.reason = answer.reason;
  ack.buffered = steer_[slot].waiting();
  wire::MessageWriter writer(out, {wire::MessageType::kMoveAck, unix_ms});
  wire::encode(writer.payload(), ack);
  return writer.finish();
}

// The front of a WORLD_STATE whose entities (`shared` bytes of snapshot fields) follow from the
// cells' shared bytes.
uint32_t Shard::write_world_head(base::MutableBytes out, uint32_t shared, uint32_t tick,
                                 base::UnixMs unix_ms) {
  wire::MessageWriter writer(out, {wire::MessageType::kWorldState, unix_ms});
  writer.payload().varint(1, tick);
  writer.payload().int64(2, unix_ms);
  writer.payload().text(3, config_.world.zone_id);
  writer.payload().bytes(7, {environment_.data(), environment_bytes_});
  writer.add_shared(shared);
  return writer.finish();
}

// INTEREST_UPDATE that says how far the client sees now.
uint32_t Shard::write_view_distance(base::MutableBytes out, float metres, base::UnixMs unix_ms) {
  wire::MessageWriter writer(out, {wire::MessageType::kInterestUpdate, unix_ms});
  writer.payload().number(3, metres);
  return writer.finish();
}

// Head of a CELL_FRAME whose frames are `shared` bytes. Its tick is time enough: no timestamp.
uint32_t Shard::write_cells_head(base::MutableBytes out, uint32_t shared, uint32_t tick) {
  wire::MessageWriter writer(out, {.type = wire::MessageType::kCellFrame});
  uint8_t head[wire::kCellHeadBytesMax];
  writer.payload().raw(head, wire::write_cell_head(head, tick));
  writer.add_shared(shared);
  return writer.finish();
}

}  // namespace tidegate::shard
