// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <algorithm>
#include <iterator>

namespace tidegate::client {

using wire::MessageType;

Client::Client(ClientConfig config, ClientEvents& events, uint64_t seed)
    : config_(std::move(config)),
      events_(events),
      prng_(seed),
      picture_({}, *this),
      stream_(prng_.next(), kMessageBytesMax) {}

void Client::set_state(ClientState state) {
  if (state_ == state) return;
  state_ = state;
  events_.on_state(state);
}

void Client::fail(std::string problem) {
  if (problem_.empty()) problem_ = std::move(problem);
  set_state(ClientState::kClosed);
}

void Client::start() {
  protocol::UpgradeOffer offer;
  offer.host = config_.host;
  offer.target = config_.path;
  if (!config_.echo) offer.subprotocols = "tidegate.v1.proto";
  offer.bearer = config_.token;
  if (!stream_.start(offer)) {
    fail("host, path or token cannot stand in a request");
    return;
  }
  set_state(ClientState::kUpgrading);
}

void Client::on_disconnected() {
  if (state_ == ClientState::kUpgrading && http_status() != 0) {
    fail("refused with HTTP " + std::to_string(http_status()) + ": its body did not come whole");
  }
  fail(state_ == ClientState::kUpgrading ? "the server ended the connection before the upgrade"
                                         : "the connection was lost");
}

void Client::on_bytes(base::Instant now, base::MutableBytes bytes) {
  now_ = now;
  if (state_ == ClientState::kClosed) return;
  stream_.feed(bytes);
  StreamEvent event;
  while (state_ != ClientState::kClosed && (event = stream_.next()) != StreamEvent::kNone) {
    if (event == StreamEvent::kMessage) {
      on_message(now, stream_.message());
    } else if (event == StreamEvent::kOpen) {
      set_state(ClientState::kOpen);
    } else {
      fail(stream_.problem());
    }
  }
  stream_.settle();
}

void Client::on_message(base::Instant now, base::MutableBytes message) {
  ++messages_received_;
  if (config_.echo) {
    events_.on_message(now, message);
    return;
  }
  wire::FrameReader frames(message);
  base::Bytes payload;
  for (;;) {
    const wire::FrameStatus status = frames.next(&payload);
    if (status == wire::FrameStatus::kEnd) break;
    wire::Envelope envelope;
    if (status != wire::FrameStatus::kFrame || !wire::decode_envelope(payload, &envelope)) {
      fail("the server sent something that is no tidegate message");
      return;
    }
    events_.on_envelope(now, envelope);
    on_envelope(now, envelope);
  }
  if (config_.keeps_picture) picture_.end_message(message.size());
}

void Client::on_envelope(base::Instant now, const wire::Envelope& message) {
  switch (static_cast<MessageType>(message.type)) {
    case MessageType::kConnectionEstablished: {
      wire::ConnectionEstablished m;
      if (wire::decode(message.payload, &m)) tick_rate_ = m.tick_rate;
      break;
    }
    case MessageType::kAuthenticationResult: {
      wire::AuthenticationResult m;
      if (!wire::decode(message.payload, &m) || !m.success) {
        fail("the login was refused");
        break;
      }
      player_id_ = m.character_id.empty() ? m.user_id : m.character_id;
      picture_.set_own_name(player_id_);
      set_state(ClientState::kAuthenticated);
      wire::ClientHello hello;
      hello.client_version = "tidegate-client/1";
      hello.state_encoding = static_cast<uint32_t>(config_.encoding);
      hello.view_distance = config_.view_distance;
      hello.max_bytes_per_second = config_.max_bytes_per_second;
      send(MessageType::kClientHello, hello);
      break;
    }
    case MessageType::kWorldState:
      events_.on_world_payload(now, message.type, message.payload);
      if (config_.keeps_picture) picture_.apply_world_state(message.payload);
      set_state(ClientState::kInWorld);
      break;
    case MessageType::kZoneUpdate:
      events_.on_world_payload(now, message.type, message.payload);
      if (config_.keeps_picture) picture_.apply_zone_update(message.payload);
      break;
    case MessageType::kInterestUpdate:
      if (config_.keeps_picture) picture_.apply_interest_update(message.payload);
      break;
    case MessageType::kCellFrame:
      if (config_.keeps_picture) picture_.apply_cell_frames(message.payload);
      if (state_ == ClientState::kAuthenticated) set_state(ClientState::kInWorld);
      break;
    case MessageType::kMoveAck: {
      wire::MoveAck m;
      if (!wire::decode(message.payload, &m)) break;
      own_position_ = m.position;
      has_own_position_ = true;
      events_.on_move_ack(now, m);
      break;
    }
    case MessageType::kError: {
      wire::ErrorNotification m;
      if (wire::decode(message.payload, &m)) events_.on_error(m);
      break;
    }
    case MessageType::kHeartbeat: {
      uint8_t buffer[256];
      wire::EnvelopeHead head;
      head.type = MessageType::kPong;
      wire::MessageWriter writer(buffer, head);
      writer.payload().raw(message.payload.data(), message.payload.size());
      if (const uint32_t size = writer.finish(); size != 0) send_binary({buffer, size});
      break;
    }
    case MessageType::kDisconnect: {
      wire::Disconnect m;
      if (wire::decode(message.payload, &m)) problem_ = "disconnected: " + std::string(m.reason);
      break;
    }
    case MessageType::kEvent:
    case MessageType::kReply:
    case MessageType::kPlayerStatusChange:
    case MessageType::kPresenceUpdate:
    case MessageType::kFriendStatus:
    case MessageType::kStateUpdate:
    case MessageType::kStateResult:
    case MessageType::kSocialList:
    case MessageType::kGroupEvent:
    case MessageType::kGroupState:
      events_.on_custom(now, message.type, message.payload);
      break;
    default:
      if (message.type >= 400) events_.on_custom(now, message.type, message.payload);
      break;
  }
}

void Client::on_cell_differs(const wire::CellImage& image) { report(image, Rows::kYes); }

void Client::on_cell_healed(base::Instant flipped) { events_.on_cell_healed(now_, flipped); }

void Client::audit(base::Instant now) {
  if (config_.report_interval.ns == 0 || state_ != ClientState::kInWorld || now < next_audit_ ||
      picture_.cells().empty() || !picture_.at_rest()) {
    return;
  }
  // The first one at a time of its own, so that thousands of clients do not report together.
  if (next_audit_.ns == 0) {
    next_audit_ = now + base::nanoseconds(static_cast<int64_t>(
                            prng_.below(static_cast<uint64_t>(config_.report_interval.ns))));
    return;
  }
  next_audit_ = now + config_.report_interval;
  const auto& cells = picture_.cells();
  const auto at = std::next(cells.begin(), static_cast<std::ptrdiff_t>(audited_++ % cells.size()));
  if (at->second.has_frame()) report(at->second, Rows::kNo);
}

void Client::report(const wire::CellImage& image, Rows rows) {
  std::vector<uint8_t> buffer;
  if (const uint32_t size = write_cell_report(buffer, image, rows); size != 0) {
    send_binary({buffer.data(), size});
  }
}

void Client::on_entity_changed(std::string_view name, uint32_t flags) {
  events_.on_entity_changed(now_, name, flags);
}

template <class Payload>
void Client::send(wire::MessageType type, const Payload& payload) {
  uint8_t buffer[512];
  wire::EnvelopeHead head;
  head.type = type;
  wire::MessageWriter writer(buffer, head);
  wire::encode(writer.payload(), payload);
  if (const uint32_t size = writer.finish(); size != 0) send_binary({buffer, size});
}

bool Client::send_move(const wire::PlayerMovement& move) {
  if (state_ != ClientState::kInWorld) return false;
  send(MessageType::kPlayerMove, move);
  return true;
}

void Client::send_heartbeat(base::Bytes payload) {
  uint8_t buffer[256];
  wire::EnvelopeHead head;
  head.type = MessageType::kHeartbeat;
  wire::MessageWriter writer(buffer, head);
  writer.payload().raw(payload.data(), payload.size());
  if (const uint32_t size = writer.finish(); size != 0) send_binary({buffer, size});
}

bool Client::send_payload(uint32_t type, base::Bytes payload, uint64_t sequence) {
  if (payload.size() > wire::kMessageBytesIn) return false;
  std::vector<uint8_t> buffer(payload.size() + 64);
  wire::EnvelopeHead head;
  head.type = static_cast<MessageType>(type);
  head.sequence = sequence;
  head.requires_ack = sequence != 0;
  wire::MessageWriter writer(buffer, head);
  writer.payload().raw(payload.data(), payload.size());
  const uint32_t size = writer.finish();
  if (size == 0) return false;
  send_binary({buffer.data(), size});
  return true;
}

}  // namespace tidegate::client
