// SPDX-License-Identifier: Apache-2.0
// Messages of the server to many: which mailbox messages a target becomes, and on each shard one
// frame, encoded once, for all players that it means.
#include "shard/targets.h"

#include <cmath>
#include <cstring>

#include "protocol/ws.h"
#include "shard/shard.h"
#include "wire/envelope.h"
#include "wire/quantise.h"

namespace tidegate::shard {

using mailbox::NearShape;
using mailbox::read_message;

SendResult plan_target(const Target& target, const TargetWorld& world, uint32_t type, Bytes payload,
                       TargetMail* out) {
  *out = {};
  if (payload.size > kPeerBytesMax) return SendResult::kTooLarge;
  switch (target.kind) {
    case Target::Kind::kUser:
    case Target::Kind::kPlayer:
      if (target.id.empty() || target.id.size() > world::kPlayerIdBytesMax) {
        return SendResult::kRange;
      }
      out->to_user = target.kind == Target::Kind::kUser;
      out->to_one = true;
      out->receiver = out->to_user ? session::home_shard(target.id, world.shards)
                                   : world::home_of(target.id, world.shards).value;
      return SendResult::kOk;
    case Target::Kind::kGroup:
      if (target.id.empty() || target.id.size() > session::kTopicNameBytesMax) {
        return SendResult::kRange;
      }
      out->to_group = true;
      return SendResult::kOk;
    case Target::Kind::kZone:
      if (target.id != world.zone) return SendResult::kRange;
      out->near.shape = NearShape::kInWorld;
      break;
    case Target::Kind::kEveryone:
      out->near.shape = NearShape::kEveryone;
      break;
    case Target::Kind::kRadius:
    case Target::Kind::kCell: {
      const Position& p = target.position;
      constexpr float kFar = 100'000;
      if (!(std::fabs(p.x) <= kFar) || !(std::fabs(p.z) <= kFar) ||
          !(target.radius >= 0 && target.radius <= kFar)) {
        return SendResult::kRange;
      }
      out->near.shape = target.kind == Target::Kind::kCell ? NearShape::kCell : NearShape::kCircle;
      out->near.x = world::to_steps(p.x, world.position_step);
      out->near.z = world::to_steps(p.z, world.position_step);
      out->near.radius = static_cast<uint32_t>(target.radius / world.position_step);
      break;
    }
  }
  out->near.message_type = type;
  out->near.except_shard = UINT32_MAX;
  return SendResult::kOk;
}

SendResult Shard::send_to(const Target& target, uint32_t type, Bytes payload, uint64_t source) {
  TargetMail mail;
  const TargetWorld world{config_.count, config_.world.position_step, config_.world.zone_id};
  const SendResult planned = plan_target(target, world, type, payload, &mail);
  if (planned != SendResult::kOk) return planned;
  const base::Bytes bytes{static_cast<const uint8_t*>(payload.data), payload.size};
  bool posted = true;
  mail.near.source = source;
  if (mail.to_one || mail.to_group) {
    uint8_t tail[kPeerBytesMax + session::kTopicNameBytesMax];
    static_assert(session::kTopicNameBytesMax >= world::kPlayerIdBytesMax);
    std::memcpy(tail, target.id.data(), target.id.size());
    if (!bytes.empty()) std::memcpy(tail + target.id.size(), bytes.data(), bytes.size());
    const base::Bytes all{tail, target.id.size() + bytes.size()};
    const auto name_bytes = static_cast<uint32_t>(target.id.size());
    if (mail.to_group) {
      for (uint32_t to = 0; to < config_.count; ++to) {
        posted &= mailbox_.post(to, mailbox::DeliverGroup{source, type, name_bytes}, all);
      }
    } else if (mail.to_user) {
      posted = mailbox_.post(mail.receiver, mailbox::SendToUser{type, name_bytes, source}, all);
    } else {
      posted = mailbox_.post(mail.receiver, mailbox::SendToPlayer{type, name_bytes, source}, all);
    }
  } else {
    for (uint32_t to = 0; to < config_.count; ++to) {
      posted &= mailbox_.post(to, mail.near, bytes);
    }
    if (mail.near.shape == NearShape::kEveryone) {
      send_far(mailbox::BusOp::kSendEveryone, type, {}, bytes, 0, source);
    } else {
      realm_.send_near(mail.near, bytes);
    }
  }
  if (posted) return SendResult::kOk;
  counters_.add(metrics::Counter::kHandlerSendsDropped, 1);
  return SendResult::kBusy;
}

void Shard::tell_event(ServerEvent& event) {
  event.shard = config_.index;
  config_.events->dispatch(
      event, counters_, config_.handler_budget,
      [](void* io) { return static_cast<io::Io*>(io)->now(); }, &io_);
}

// Whom the message means is a walk over this shard's players; the frame is made once.
void Shard::on_deliver_near(base::Bytes bytes) {
  base::Bytes payload;
  const auto near = read_message<mailbox::DeliverNear>(bytes, &payload);
  deliver_near(near, payload);
}

void Shard::deliver_near(const mailbox::DeliverNear& near, base::Bytes payload) {
  const uint32_t except = near.except_shard == config_.index ? near.except.slot : net::kNone;
  const int64_t radius = near.radius;
  const world::WorldScale& scale = slice_.scale();
  const world::Steps3 place{near.x, scale.bounds_min[1], near.z};
  const world::CellKey cell = scale.cell_of(place);
  const bool in_bounds = scale.in_bounds(place);  // else the cell's number may be another's
  const auto means = [&](const Player& player) {
    if (near.shape == NearShape::kEveryone) return player.session != 0;
    if (!player.entity.valid()) return false;
    if (near.shape == NearShape::kInWorld) return true;
    if (near.shape == NearShape::kCell) {
      return in_bounds && scale.cell_of(player.position) == cell;
    }
    const int64_t dx = int64_t{player.position[0]} - near.x;
    const int64_t dz = int64_t{player.position[2]} - near.z;
    return dx * dx + dz * dz <= radius * radius;
  };
  const uint8_t* shared = nullptr;
  uint32_t size = 0;
  const uint32_t priority = priority_of(near.message_type);
  PackedForms forms;
  for (uint32_t slot = 0; slot < players_end_; ++slot) {
    if (slot == except || !means(players_[slot]) || !endpoint_.is_open(slot)) {
      slot = endpoint_.skip_unused(slot);
      continue;
    }
    if (social_.hides(slot, near.source)) {
      counters_.add(metrics::Counter::kMessagesBlocked, 1);
      continue;
    }
    if (holds_back(slot, priority)) {
      counters_.add(metrics::Counter::kMessagesHeldBack, 1);
      continue;
    }
    if (shared == nullptr) {
      constexpr uint32_t kHead = 10;  // of a WebSocket frame without mask
      uint8_t frame[kHead + 64 + kPeerBytesMax];
      wire::MessageWriter writer(
          {frame + kHead, sizeof frame - kHead},
          {static_cast<wire::MessageType>(near.message_type), io_.unix_ms()});
      writer.payload().raw(payload.data(), payload.size());
      const uint32_t message = writer.finish();
      TG_ASSERT(message != 0);
      const size_t head = protocol::header_size(message);
      uint8_t* const begin = frame + kHead - head;
      protocol::write_header(begin, protocol::Opcode::kBinary, true, message);
      size = static_cast<uint32_t>(head) + message;
      shared = topics_.keep({begin, size});
    }
    const uint8_t* frame = shared;
    uint32_t bytes_of = size;
    if (packing_.large(payload.size()) && players_[slot].packing != 0) {
      (void)find_form(slot, near.message_type, payload, forms, &frame, &bytes_of);
    }
    endpoint_.send_framed(slot, frame, bytes_of, 1);
  }
}

}  // namespace tidegate::shard
