// SPDX-License-Identifier: Apache-2.0
// What clients send: frames to envelopes to routes, and the built-in routes.
#include "wire/messages.h"

#include <algorithm>
#include <cstring>

#include "shard/shard.h"
#include "wire/envelope.h"
#include "wire/quantise.h"

namespace tidegate::shard {

using metrics::Counter;
using wire::Envelope;

namespace {
constexpr uint32_t kRawBytesOfMessage = 4096;
}  // namespace

// A friend of Shard, so that handlers are plain functions with one signature.
struct ClientMessages {
  static Handled heartbeat(Shard& s, uint32_t slot, const Envelope& m) {
    if (m.payload.size() > wire::kHeartbeatBytesMax) return Handled::kInvalid;
    s.send_pong(slot, m.payload);
    return Handled::kOk;
  }

  static Handled ignore(Shard&, uint32_t, const Envelope&) { return Handled::kOk; }

  static Handled not_available(Shard&, uint32_t, const Envelope&) { return Handled::kNotAvailable; }

  static Handled registered(Shard& s, uint32_t slot, const Envelope& m) {
    return s.run_handler(slot, m);
  }

  static Handled service(Shard& s, uint32_t slot, const Envelope& m) {
    return s.on_service_call(slot, m);
  }

  static Handled disconnect(Shard& s, uint32_t slot, const Envelope& m) {
    wire::Disconnect disconnect;
    if (!wire::decode(m.payload, &disconnect)) return Handled::kInvalid;
    s.players_[slot].flags |= kSessionEnds;
    s.endpoint_.close(slot, 1000, {}, net::CloseCause::kPeerClosed);
    return Handled::kOk;
  }

  static Handled client_hello(Shard& s, uint32_t slot, const Envelope& m) {
    wire::ClientHello hello;
    if (!wire::decode(m.payload, &hello)) return Handled::kInvalid;
    if (hello.state_encoding > 1 || !std::isfinite(hello.view_distance) ||
        hello.view_distance < 0) {
      return Handled::kInvalid;
    }
    Player& player = s.players_[slot];
    // Only the first one, and only before the state began, decides.
    if (player.flags & (kHasHello | kLoginPosted)) {
      s.violation(slot, wire::kErrorNotPermitted,
                  (player.flags & kHasHello) != 0
                      ? "a second CLIENT_HELLO"
                      : "CLIENT_HELLO came after the state began without it");
      return Handled::kAnswered;
    }
    player.flags |= kHasHello;
    if (hello.state_encoding == 1) player.flags |= kPacked;
    player.view_distance = hello.view_distance;
    player.budget = hello.max_bytes_per_second;
    if (hello.compression != 0 && !s.speaks_json(slot)) {
      player.packing = s.packing_.choose(hello.compression, hello.zstd_dictionary);
    }
    s.begin_login(slot);
    return Handled::kOk;
  }

  static Handled token_refresh(Shard& s, uint32_t slot, const Envelope& m) {
    wire::TokenRefresh refresh;
    if (!wire::decode(m.payload, &refresh)) return Handled::kInvalid;
    return s.on_token_refresh(slot, refresh);
  }

  static Handled time_sync(Shard& s, uint32_t slot, const Envelope& m) {
    wire::TimeSync asked;
    if (!wire::decode(m.payload, &asked)) return Handled::kInvalid;
    s.send_time_sync(slot, asked);
    return Handled::kOk;
  }

  static Handled cell_report(Shard& s, uint32_t slot, const Envelope& m) {
    wire::CellReport report;
    if (!wire::decode(m.payload, &report)) return Handled::kInvalid;
    return s.on_cell_report(slot, report);
  }

  static Handled player_move(Shard& s, uint32_t slot, const Envelope& m) {
    wire::PlayerMovement move;
    if (!wire::decode(m.payload, &move)) return Handled::kInvalid;
    return s.on_move(slot, move);
  }

  static Handled player_steer(Shard& s, uint32_t slot, const Envelope& m) {
    wire::PlayerSteer message;
    if (!wire::decode(m.payload, &message)) return Handled::kInvalid;
    return s.on_steer(slot, message);
  }

  static Handled subscribe(Shard& s, uint32_t slot, const Envelope& m) {
    return s.topics_.on_subscribe(slot, m);
  }
  static Handled unsubscribe(Shard& s, uint32_t slot, const Envelope& m) {
    return s.topics_.on_unsubscribe(slot, m);
  }
  static Handled publish(Shard& s, uint32_t slot, const Envelope& m) {
    return s.topics_.on_publish(slot, m);
  }

  static Handled status_change(Shard& s, uint32_t slot, const Envelope& m) {
    return s.presence_.on_status_change(slot, m);
  }
  static Handled presence_update(Shard& s, uint32_t slot, const Envelope& m) {
    return s.presence_.on_update(slot, m);
  }
  static Handled presence_subscribe(Shard& s, uint32_t slot, const Envelope& m) {
    return s.presence_.on_subscribe(slot, m);
  }

  static Handled state_change(Shard& s, uint32_t slot, const Envelope& m) {
    return s.states_.on_change(slot, m);
  }
  static Handled group_request(Shard& s, uint32_t slot, const Envelope& m) {
    return s.social_.on_group_request(slot, m);
  }
  static Handled social_update(Shard& s, uint32_t slot, const Envelope& m) {
    return s.social_.on_social_update(slot, m);
  }

  static Handled player_state(Shard& s, uint32_t slot, const Envelope& m) {
    wire::PlayerStateUpdate state;
    if (!wire::decode(m.payload, &state)) return Handled::kInvalid;
    wire::PlayerMovement move;
    move.position = state.position;
    move.rotation = state.rotation;
    move.velocity = state.velocity;
    move.has_position = state.has_position;
    move.has_rotation = state.has_rotation;
    move.has_velocity = state.has_velocity;
    move.movement_flags = state.state_flags;
    move.client_tick = state.tick;
    return s.on_move(slot, move);
  }
};

void Shard::add_routes() {
  using wire::MessageType;
  const auto add = [this](MessageType type, Handler handler) {
    const bool added = router_.add(static_cast<uint32_t>(type), handler);
    TG_ASSERT(added);
  };
  add(MessageType::kHeartbeat, ClientMessages::heartbeat);
  add(MessageType::kPong, ClientMessages::ignore);
  add(MessageType::kAck, ClientMessages::ignore);  // the envelope's ack was read before
  add(MessageType::kDisconnect, ClientMessages::disconnect);
  add(MessageType::kClientHello, ClientMessages::client_hello);
  add(MessageType::kTokenRefresh, ClientMessages::token_refresh);
  add(MessageType::kTimeSync, ClientMessages::time_sync);
  add(MessageType::kCellReport, ClientMessages::cell_report);
  add(MessageType::kSubscribe, ClientMessages::subscribe);
  add(MessageType::kUnsubscribe, ClientMessages::unsubscribe);
  add(MessageType::kPublish, ClientMessages::publish);
  add(MessageType::kPlayerMove, ClientMessages::player_move);
  add(MessageType::kPlayerSteer, ClientMessages::player_steer);
  add(MessageType::kPlayerState, ClientMessages::player_state);
  add(MessageType::kPlayerStatusChange, ClientMessages::status_change);
  add(MessageType::kStateChange, ClientMessages::state_change);
  add(MessageType::kPresenceUpdate, ClientMessages::presence_update);
  add(MessageType::kPresenceSubscribe, ClientMessages::presence_subscribe);
  add(MessageType::kSocialUpdate, ClientMessages::social_update);
  add(MessageType::kGroupRequest, ClientMessages::group_request);
  // A known number that only an embedder serves.
  if (config_.handlers == nullptr || config_.handlers->find(static_cast<uint32_t>(
                                         MessageType::kPlayerAction)) == HandlerTable::kNone) {
    add(MessageType::kPlayerAction, ClientMessages::not_available);
  }
  // An embedder's types are routes like all others: without any, nothing is looked up twice.
  for (uint32_t i = 0; config_.handlers != nullptr && i < config_.handlers->count(); ++i) {
    const bool added = router_.add(config_.handlers->entry(i).type, ClientMessages::registered);
    TG_ASSERT(added);
  }
  for (const auto& [first, last] : config_.service_types) {
    // What the embedder serves itself stays its own; a full table is a matter of configuration.
    for (uint32_t type = first; type <= last; ++type) {
      (void)router_.add(type, ClientMessages::service);
    }
  }
}

void Shard::on_message(uint32_t slot, protocol::Opcode opcode, base::MutableBytes payload) {
  if (opcode != protocol::Opcode::kBinary) {
    on_text_message(slot, payload);
    return;
  }
  if (speaks_json(slot)) {
    endpoint_.close(slot, 1003, "this subprotocol takes text messages only",
                    net::CloseCause::kProtocolError);
    return;
  }
  wire::FrameReader frames(payload);
  base::Bytes frame;
  for (bool first = true;; first = false) {
    wire::FrameStatus status = frames.next(&frame);
    if (status == wire::FrameStatus::kEnd) {
      if (!first) return;
      status = wire::FrameStatus::kMalformed;  // a message holds at least one frame
    }
    if (status != wire::FrameStatus::kFrame) {
      const bool version = status == wire::FrameStatus::kVersion;
      send_error(slot, version ? wire::kErrorUnsupportedVersion : wire::kErrorMalformedFrame,
                 version ? "only frame version 1 is spoken here"
                         : "a frame is magic 4d4d, version 0001, payload length, payload",
                 true);
      endpoint_.close(slot, 1002, "malformed frame", net::CloseCause::kProtocolError);
      return;
    }
    on_client_frame(slot, frame);
    if (!endpoint_.is_open(slot)) return;
  }
}

void Shard::on_client_frame(uint32_t slot, base::Bytes frame) {
  Player& player = players_[slot];
  if (!player.rate.take(endpoint_.now_ms(), config_.messages_per_second, config_.messages_burst)) {
    violation(slot, wire::kErrorRateLimited, "send fewer messages a second");
    return;
  }
  Envelope message;
  if (!wire::decode_envelope(frame, &message)) {
    violation(slot, wire::kErrorMalformedMessage, "the frame's payload is not a NetworkMessage");
    return;
  }
  counters_.add(metrics::Family::kMessages, wire::index_of_type(message.type));
  if (message.ack > player.acked && !take_client_ack(slot, message.ack)) return;
  if ((player.flags & kConfirmed) == 0 &&
      message.type != static_cast<uint32_t>(wire::MessageType::kClientHello)) {
    // Whatever follows CLIENT_HELLO was sent with CONNECTION_ESTABLISHED in hand.
    player.flags |= kConfirmed;
    post_progress(slot);
  }
  if (message.requires_ack) {
    switch (player.inbound.accept(message.sequence, now_)) {
      case session::InboundSequence::Verdict::kDeliver:
        note_ack(slot);
        break;
      case session::InboundSequence::Verdict::kDuplicate:
        note_ack(slot);
        return;
      case session::InboundSequence::Verdict::kGap:
        if (player.flags & kRestored) {
          // The store was behind when the server before this one ended.
          end_session(slot, session::End::kDiverged, "the server has lost messages of the client");
          return;
        }
        violation(slot, wire::kErrorMalformedMessage,
                  "sequence of an acknowledged message is not the next one");
        return;
    }
  }
  if (message.compression != 0) {
    // What a payload becomes counts against the rate like messages of 4 KiB.
    uint32_t left = packing_.fits(message.raw_size) ? message.raw_size : 0;
    for (; left > kRawBytesOfMessage; left -= kRawBytesOfMessage) {
      if (player.rate.take(endpoint_.now_ms(), config_.messages_per_second,
                           config_.messages_burst)) {
        continue;
      }
      violation(slot, wire::kErrorRateLimited, "send less in compressed payloads");
      return;
    }
    message.payload = packing_.unpack(message.compression, message.payload, message.raw_size);
    if (message.payload.empty()) {
      violation(slot, wire::kErrorDecompression,
                "the payload is not raw_size bytes in a method that features name");
      return;
    }
  }
  const Handler handler = router_.find(message.type);
  if (handler == nullptr) {
    violation(slot, wire::kErrorUnknownType, "no message type of this number from a client");
    return;
  }
  cause_ = message.requires_ack ? &message : nullptr;
  cause_session_ = player.session;
  effects_ = 0;
  const Handled handled = handler(*this, slot, message);
  cause_ = nullptr;
  switch (handled) {
    case Handled::kOk:
    case Handled::kAnswered:
      break;
    case Handled::kInvalid:
      violation(slot, wire::kErrorInvalidPayload, {});
      break;
    case Handled::kNotPermitted:
      violation(slot, wire::kErrorNotPermitted, {});
      break;
    case Handled::kNotAvailable:
      violation(slot, wire::kErrorUnknownType, "nobody serves this message type here");
      break;
    case Handled::kFailed:
      send_error(slot, wire::kErrorHandlerFailed, {}, false);
      break;
    case Handled::kTimedOut:
      send_error(slot, wire::kErrorHandlerTimeout, {}, false);
      break;
  }
}

void Shard::violation(uint32_t slot, uint16_t code, std::string_view details,
                      std::string_view request) {
  counters_.add(Counter::kViolations, 1);
  Player& player = players_[slot];
  const bool last = player.violations.add(endpoint_.now_ms(), config_.violations_per_minute);
  send_error(slot, code, details, last, request);
  if (last) {
    endpoint_.close(slot, 1008, "too many rejected messages", net::CloseCause::kServerClosed);
  }
}

// An acknowledgement is owed; it goes with the next message or, at the latest, by run_timers().
void Shard::note_ack(uint32_t slot) {
  if (players_[slot].flags & kAckQueued) return;
  if (ack_count_ == ack_queue_.size()) send_due_acks();  // drops entries of closed connections
  players_[slot].flags |= kAckQueued;
  ack_queue_[ack_count_++] = endpoint_.ref(slot);
}

void Shard::send_due_acks() {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < ack_count_; ++i) {
    const uint32_t slot = endpoint_.find(ack_queue_[i]);
    if (slot == net::kNone) continue;
    Player& player = players_[slot];
    if (player.inbound.save_due(now_)) {
      // Stored 25 ms after it was handled, when what it caused is stored already.
      player.inbound.asked();
      post_progress(slot);
    }
    if (player.inbound.ack_due(now_)) send_ack(slot);
    if (player.inbound.ack_owed() || player.inbound.save_owed()) {
      ack_queue_[kept++] = ack_queue_[i];
      continue;
    }
    player.flags &= static_cast<uint16_t>(~kAckQueued);
  }
  ack_count_ = kept;
}

Handled Shard::on_move(uint32_t slot, const wire::PlayerMovement& move) {
  if ((move.has_position && !move.position.finite()) ||
      (move.has_rotation && !move.rotation.finite()) ||
      (move.has_velocity && !move.velocity.finite())) {
    return Handled::kInvalid;
  }
  Player& player = players_[slot];
  // The state has not begun, or players move by input only.
  if (!player.entity.valid() || !config_.claims) return Handled::kNotPermitted;
  world::Input input{};
  const float step = config_.world.position_step;
  if (move.has_position) {
    input.has |= world::Input::kPosition;
    input.position = {wire::to_steps(move.position.x, step), wire::to_steps(move.position.y, step),
                      wire::to_steps(move.position.z, step)};
  }
  if (move.has_rotation) {
    input.has |= world::Input::kYaw;
    input.yaw = wire::to_yaw(move.rotation);
  }
  if (move.has_velocity) {
    input.has |= world::Input::kVelocity;
    input.velocity[0] = wire::to_velocity(move.velocity.x);
    input.velocity[1] = wire::to_velocity(move.velocity.y);
    input.velocity[2] = wire::to_velocity(move.velocity.z);
  }
  input.flags = move.movement_flags;
  input.client_tick = move.client_tick;
  post_input(player, input);
  return Handled::kOk;
}

}  // namespace tidegate::shard
