// SPDX-License-Identifier: Apache-2.0
// The client's world: what messages of the server change in it and whom that is told, and where
// everybody is shown.
#include <cmath>

#include "client/cell_report.h"
#include "sdk/c_values.h"
#include "sdk/client.h"

namespace tidegate::sdk {

using wire::MessageType;

// ---- as it is shown

Vec Client::own_shown() const {
  const Vec at = prediction_.shown(to_ms(now()));
  const Vec ahead = steering_.ahead();
  return {at.x - ahead.x, at.y - ahead.y, at.z - ahead.z};
}

tidegate_client_entity Client::view(uint32_t row) const {
  const Entity& e = world_.entity(row);
  tidegate_client_entity out{};
  out.struct_size = sizeof out;
  out.id = text_of(e.name);
  out.kind = e.kind;
  out.flags = e.flags;
  out.tick = e.tick;
  out.is_self = row == own_row_;
  out.position = vector_of(e.x, e.y, e.z);
  out.velocity = {e.vx, e.vy, e.vz};
  out.yaw = static_cast<float>(e.yaw);
  out.shown = vector_of(e.shown.x, e.shown.y, e.shown.z);
  out.shown_yaw = static_cast<float>(e.shown.yaw);
  out.custom = bytes_of(e.custom);
  return out;
}

bool Client::next_entity(uint32_t* cursor, tidegate_client_entity* out) {
  if (*cursor == 0) {
    shown_tick_ = playout_.shown_tick(to_ms(now()));
    horizon_ = playout_.horizon();
  }
  while (*cursor < world_.rows()) {
    const uint32_t row = (*cursor)++;
    Entity& e = world_.entity(row);
    if (!e.live) continue;
    Track* const track = world_.track(row);
    if (row == own_row_ && prediction_.placed()) {
      const Vec shown = own_shown();
      e.shown = {shown.x, shown.y, shown.z, e.yaw};
    } else if (track != nullptr && !std::isnan(shown_tick_)) {
      e.shown = track->sample(shown_tick_, horizon_);
    } else {
      e.shown = {e.x, e.y, e.z, e.yaw};
    }
    *out = view(row);
    return true;
  }
  return false;
}

bool Client::find_entity(std::string_view id, tidegate_client_entity* out) {
  const uint32_t row = world_.find(id);
  if (row == NameMap::kNone) return false;
  *out = view(row);
  return true;
}

bool Client::self(tidegate_vector* out) const {
  if (!prediction_.placed()) return false;
  const Vec shown = own_shown();
  *out = vector_of(shown.x, shown.y, shown.z);
  return true;
}

// ---- what the server says of it

void Client::emit_entity(int32_t kind, uint32_t row) {
  tidegate_client_event event = event_of(kind);
  const tidegate_client_entity entity = view(row);
  event.entity = &entity;
  emit(event);
}

// The picture of the session before stays until the first state of the new one.
void Client::begin_state() {
  state_came_ = true;
  if (!first_state_) return;
  first_state_ = false;
  world_.clear();
  for (size_t i = 0; i < world_.removed().size() && !dead_; ++i) {
    emit_entity(TIDEGATE_EVENT_ENTITY_REMOVED, world_.removed()[i]);
  }
  world_.release();
  own_row_ = NameMap::kNone;
  placed_ = false;
  prediction_.forget();
  steering_.reset();
}

void Client::apply_cell_frames(base::Bytes payload) {
  wire::CellFrames frames(payload);
  base::Bytes frame;
  while (!dead_ && frames.next(&frame)) apply_cell_frame(frame, frames.tick());
  if (frames.malformed()) world_.note_malformed();
}

void Client::apply_cell_frame(base::Bytes frame, uint32_t tick) {
  const World::Applied applied = world_.apply_cell_frame(frame, tick);
  uint32_t code = 0;
  switch (applied.status) {
    case wire::CellStatus::kOk:
      return;
    case wire::CellStatus::kChecksumMismatch: {
      code = 1;
      const uint32_t size = client::write_cell_report(report_, *applied.image, client::Rows::kYes);
      connection_.send_frame(now(), static_cast<uint32_t>(MessageType::kCellReport),
                             {report_.data(), size});
      break;
    }
    case wire::CellStatus::kMissingReference:
      code = 2;
      break;
    case wire::CellStatus::kMalformed:
      code = 3;
      break;
  }
  tidegate_client_event event = event_of(TIDEGATE_EVENT_DESYNC);
  event.code = code;
  emit(event);
}

void Client::on_move_ack(base::Bytes payload) {
  wire::MoveAck m;
  if (!wire::decode(payload, &m)) return;
  last_ack_tick_ = m.server_tick;
  Ack ack;
  ack.client_tick = m.client_tick;
  ack.position = vec_of(m.position);
  ack.has_position = true;
  ack.corrected = m.corrected;
  ack.reason = m.reason;
  const double at = to_ms(now());
  prediction_.on_ack(ack, at);
  lead_.on_buffered(m.buffered, at);
  tidegate_client_event event = event_of(TIDEGATE_EVENT_MOVE_ACK);
  event.position = {m.position.x, m.position.y, m.position.z};
  event.code = m.corrected ? m.reason : 0;
  event.tick = m.server_tick;
  event.type = m.client_tick;
  emit(event);
}

void Client::on_message_end() {
  if (!state_came_) return;
  state_came_ = false;
  const double at = to_ms(now());
  if (playout_.on_tick(world_.tick(), at) && clock_.synced()) {
    // The shortest round trip: what stalls add to the mean would hide them.
    lead_.on_network(playout_.states(), playout_.late_ms(), playout_.late_most_ms(),
                     2 * clock_.error_ms(), at);
  }
  tell_world();
  // In the world is who has a place there: the own cell may come later than others.
  if (!dead_ && placed_ && connection_.state() == TIDEGATE_CLIENT_AUTHENTICATED) {
    connection_.enter_world(now());
    if (dead_) return;
    tidegate_client_event event = event_of(TIDEGATE_EVENT_WORLD_ENTERED);
    emit(event);
  }
}

void Client::tell_world() {
  world_.end_message();
  const base::Bytes environment = world_.environment();
  world_.environment_told();
  if (environment.data() != nullptr) {
    tidegate_client_event event = event_of(TIDEGATE_EVENT_ENVIRONMENT);
    event.payload = bytes_of(environment);
    emit(event);
  }
  for (size_t i = 0; i < world_.removed().size() && !dead_; ++i) {
    const uint32_t row = world_.removed()[i];
    emit_entity(TIDEGATE_EVENT_ENTITY_REMOVED, row);
    if (row == own_row_) own_row_ = NameMap::kNone;
  }
  for (size_t i = 0; i < world_.added().size() && !dead_; ++i) {
    const uint32_t row = world_.added()[i];
    if (world_.entity(row).name == player_id_) own_row_ = row;
    on_entity_state(row);
    emit_entity(TIDEGATE_EVENT_ENTITY_ADDED, row);
  }
  for (size_t i = 0; i < world_.changed().size() && !dead_; ++i) {
    const uint32_t row = world_.changed()[i];
    on_entity_state(row);
    emit_entity(TIDEGATE_EVENT_ENTITY_CHANGED, row);
  }
  world_.release();
}

void Client::on_entity_state(uint32_t row) {
  Entity& e = world_.entity(row);
  if (row == own_row_) {
    const Vec place{e.x, e.y, e.z};
    if (!placed_) {
      placed_ = true;
      last_ack_tick_ = e.tick;
      prediction_.reset(place);
    } else if (e.tick > last_ack_tick_) {
      prediction_.on_server_place(place, to_ms(now()));
    }
    return;
  }
  if (Track* const track = world_.track(row)) track->push(e.tick, {e.x, e.y, e.z, e.yaw});
}

}  // namespace tidegate::sdk
