// SPDX-License-Identifier: Apache-2.0
// Messages of the game to players at other gateways. Where a player is connected only its own
// gateway knows, so what finds nobody here is said to all others; each looks once, in its own
// tables, and sends nothing on.
#include <bit>
#include <cstring>

#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusOp;
using metrics::Counter;

// To all other gateways, when there are any.
void Shard::send_far(BusOp op, uint32_t type, std::string_view name, base::Bytes payload,
                     uint64_t a, uint64_t b) {
  if (cluster_.alone()) return;
  BusMail mail;
  mail.op = op;
  mail.gateways = mailbox::kAllGateways;
  mail.a = a;
  mail.b = b;
  mail.d = type;
  if (!cluster_.post(mail, name, {}, payload)) counters_.add(Counter::kHandlerSendsDropped, 1);
}

void Shard::on_bus_send(const BusMail& mail, base::Bytes tail) {
  const std::string_view name = base::as_text(tail.first(mail.name_bytes));
  const base::Bytes payload = tail.subspan(size_t{mail.name_bytes} + mail.extra_bytes);
  if (payload.size() > kPeerBytesMax || name.size() > world::kPlayerIdBytesMax) return;
  switch (mail.op) {
    case BusOp::kSendEveryone: {
      if (!may_send(mail.d)) return;
      mailbox::DeliverNear near{};
      near.message_type = mail.d;
      near.except_shard = UINT32_MAX;
      near.shape = mailbox::NearShape::kEveryone;
      near.source = mail.b;
      deliver_near(near, payload);
      break;
    }
    case BusOp::kSendPlayer:
      if (may_send(mail.d)) deliver_to_player(name, mail.d, payload, mail.b);
      break;
    case BusOp::kSendSession: {
      if (!may_send(mail.d) || !has_session(name)) return;
      uint8_t bytes[sizeof(mailbox::SessionSend) + kPeerBytesMax + world::kPlayerIdBytesMax];
      const mailbox::SessionSend send{mail.a, mail.b, mail.d, static_cast<uint32_t>(name.size())};
      std::memcpy(bytes, &send, sizeof send);
      std::memcpy(bytes + sizeof send, name.data(), name.size());
      if (!payload.empty()) {
        std::memcpy(bytes + sizeof send + name.size(), payload.data(), payload.size());
      }
      sessions_.on_send({bytes, sizeof send + name.size() + payload.size()}, now_);
      break;
    }
    case BusOp::kLoggedIn: {
      // The newer connection has the player; this one is of before.
      const world::DirectoryEntry* entry = directory_.find(name);
      if (entry == nullptr || !entry->connection.valid() || mail.a == 0) return;
      outbox_.post(entry->connection_shard.value,
                   mailbox::Replaced{
                       entry->connection, static_cast<int64_t>(mail.a),
                       cluster_.id_of(static_cast<uint32_t>(std::countr_zero(mail.gateways)))});
      break;
    }
    default:
      break;
  }
}

bool Shard::has_session(std::string_view player) {
  return sessions_.table().find(player, world::hash_player_id(player)) !=
         session::SessionTable::kNone;
}

// A player without a session here may have one at another gateway.
void Shard::on_session_send(base::Bytes bytes) {
  base::Bytes tail;
  const auto send = mailbox::read_message<mailbox::SessionSend>(bytes, &tail);
  const std::string_view player = base::as_text(tail.first(send.player_bytes));
  // A store that gateways share carries it by itself.
  if (!cluster_.alone() && !config_.session.shared && !has_session(player)) {
    send_far(BusOp::kSendSession, send.message_type, player, tail.subspan(send.player_bytes),
             send.session, send.origin);
    return;
  }
  sessions_.on_send(bytes, now_);
}

// To the player when it is connected here.
bool Shard::deliver_to_player(std::string_view player, uint32_t type, base::Bytes payload,
                              uint64_t source) {
  const world::DirectoryEntry* entry = directory_.find(player);
  if (entry == nullptr || !entry->connection.valid()) return false;
  const mailbox::Deliver deliver{entry->connection, type, 0, source};
  if (!mailbox_.post(entry->connection_shard.value, deliver, payload)) {
    counters_.add(Counter::kHandlerSendsDropped, 1);
  }
  return true;
}

}  // namespace tidegate::shard
