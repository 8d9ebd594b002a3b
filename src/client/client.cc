// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <algorithm>
#include <iterator>

#include "protocol/http_upgrade.h"

namespace tidegate::client {

using protocol::Opcode;
using wire::MessageType;

Client::Client(ClientConfig config, ClientEvents& events, uint64_t seed)
    : config_(std::move(config)), events_(events), prng_(seed), picture_({}, *this) {}

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
  uint8_t nonce[16];
  for (uint8_t& b : nonce) b = static_cast<uint8_t>(prng_.next());
  protocol::encode_websocket_key(nonce, key_);
  offer_.host = config_.host;
  offer_.target = config_.path;
  offer_.key = {key_, sizeof key_};
  if (!config_.echo) offer_.subprotocols = "tidegate.v1.proto";
  offer_.bearer = config_.token;
  out_.resize(config_.token.size() + config_.path.size() + config_.host.size() + 512);
  out_.resize(protocol::write_upgrade_request(out_, offer_));
  set_state(ClientState::kUpgrading);
}

void Client::sent(size_t bytes) {
  out_sent_ += bytes;
  if (out_sent_ == out_.size()) {
    out_.clear();
    out_sent_ = 0;
  }
}

void Client::fail_refused(std::string_view body) {
  fail("refused with HTTP " + std::to_string(http_status_) + ": " + std::string(body));
}

void Client::on_disconnected() {
  if (state_ == ClientState::kUpgrading && http_status_ != 0) {
    fail_refused("its body did not come whole");
  }
  fail(state_ == ClientState::kUpgrading ? "the server ended the connection before the upgrade"
                                         : "the connection was lost");
}

void Client::on_bytes(base::Instant now, base::MutableBytes bytes) {
  now_ = now;
  if (state_ == ClientState::kClosed) return;
  const bool stored = !in_.empty();
  if (stored) {
    in_.insert(in_.end(), bytes.begin(), bytes.end());
    bytes = in_;
  }
  size_t used = 0;
  while (used < bytes.size() && state_ != ClientState::kClosed) {
    const size_t step = state_ == ClientState::kUpgrading
                            ? consume_answer(bytes.subspan(used))
                            : consume_frames(now, bytes.subspan(used));
    if (step == 0) break;
    used += step;
  }
  if (stored) {
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(used));
  } else {
    in_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(used), bytes.end());
  }
  if (in_.size() > kMessageBytesMax) fail("the server sent a message that is too large");
}

size_t Client::consume_answer(base::MutableBytes bytes) {
  const size_t head = protocol::find_head_end(bytes, 0);
  if (head == 0) return 0;
  protocol::UpgradeAnswer answer;
  const protocol::ConnectStatus status =
      protocol::parse_upgrade_answer(bytes.first(head), offer_, answer);
  http_status_ = answer.status;
  if (status == protocol::ConnectStatus::kRefused) {
    // The reason is in the body, which may come behind the head.
    if (answer.content_length > bytes.size() - head) return 0;
    fail_refused(base::as_text(bytes.subspan(head, answer.content_length)));
    return bytes.size();
  }
  if (status != protocol::ConnectStatus::kOk) {
    fail("the answer to the upgrade is not a valid one");
    return bytes.size();
  }
  set_state(ClientState::kOpen);
  return head;
}

size_t Client::consume_frames(base::Instant now, base::MutableBytes bytes) {
  protocol::FrameView frame;
  const protocol::ParseStatus status = protocol::parse_frame(
      bytes, protocol::Role::kClient, kMessageBytesMax - fragments_.size(), frame);
  if (status == protocol::ParseStatus::kNeedMore) return 0;
  if (status != protocol::ParseStatus::kFrame) {
    fail("WebSocket error: " + std::string(protocol::text_of(status)));
    return bytes.size();
  }
  const protocol::Received received = receiver_.on_frame(frame);
  switch (received.event) {
    case protocol::ReceiveEvent::kMessage:
      on_message(now, frame.payload);
      break;
    case protocol::ReceiveEvent::kCompressedMessage:  // not negotiated, so refused as a frame
      break;
    case protocol::ReceiveEvent::kFirstFragment:
    case protocol::ReceiveEvent::kNextFragment:
    case protocol::ReceiveEvent::kLastFragment:
      fragments_.insert(fragments_.end(), frame.payload.begin(), frame.payload.end());
      if (received.event == protocol::ReceiveEvent::kLastFragment) {
        on_message(now, fragments_);
        fragments_.clear();
      }
      break;
    case protocol::ReceiveEvent::kPing:
      send_frame(Opcode::kPong, frame.payload);
      break;
    case protocol::ReceiveEvent::kPong:
      break;
    case protocol::ReceiveEvent::kClose:
      close_code_ = received.close_code;
      close(received.close_code);
      fail("closed by the server with " + std::to_string(received.close_code) + " " +
           std::string(protocol::close_reason_of(frame.payload)));
      break;
    case protocol::ReceiveEvent::kError:
      fail("WebSocket error: " + std::string(protocol::text_of(received.status)));
      break;
  }
  return frame.consumed;
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
      if (config_.keeps_picture) picture_.apply_cell_frame(message.payload);
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
    default:
      if (message.type >= 400 || message.type == static_cast<uint32_t>(MessageType::kReply)) {
        events_.on_custom(now, message.type, message.payload);
      }
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
  const wire::CellFrameHeader& header = image.header();
  wire::CellReport report;
  report.cell_x = header.cell_x;
  report.cell_z = header.cell_z;
  report.epoch = header.epoch;
  report.frame = header.frame;
  report.tick = header.tick;
  report.checksum = image.checksum();
  report.expected = header.has_checksum ? header.checksum : 0;
  std::vector<uint8_t> members;
  if (rows == Rows::kYes) {
    std::vector<wire::CellRow> list(std::min(image.count(), wire::kReportMembersMax));
    list.resize(image.rows(list));
    members.resize(list.size() * wire::kCellRowBytes);
    for (size_t i = 0; i < list.size(); ++i) {
      wire::write_cell_row(members.data() + i * wire::kCellRowBytes, list[i]);
    }
    report.members = members;
  }
  std::vector<uint8_t> buffer(512 + members.size());
  wire::MessageWriter writer(buffer, {.type = MessageType::kCellReport});
  wire::encode(writer.payload(), report);
  if (const uint32_t size = writer.finish(); size != 0) send_binary({buffer.data(), size});
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

void Client::send_binary(base::Bytes payload) { send_frame(Opcode::kBinary, payload); }

void Client::close(uint16_t code) {
  const size_t at = out_.size();
  out_.resize(at + protocol::kControlFrameMax);
  out_.resize(at + protocol::write_masked_close(out_.data() + at, code, {},
                                                static_cast<uint32_t>(prng_.next())));
}

void Client::send_frame(Opcode opcode, base::Bytes payload) {
  const size_t at = out_.size();
  out_.resize(at + protocol::kHeaderMax + payload.size());
  out_.resize(at + protocol::write_masked_frame(out_.data() + at, opcode, true, payload,
                                                static_cast<uint32_t>(prng_.next())));
}

}  // namespace tidegate::client
