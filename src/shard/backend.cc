// SPDX-License-Identifier: Apache-2.0
// Messages that backend services on the bus serve (src/bus/backend.h): from the client to control,
// and the answer from there to the client.
#include <cstdio>
#include <cstring>

#include "shard/shard.h"
#include "wire/event_messages.h"
#include "wire/messages.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusOp;

bool Shard::service_serves(uint32_t type) const {
  for (const auto& [first, last] : config_.service_types) {
    if (type >= first && type <= last) {
      return config_.handlers == nullptr || config_.handlers->find(type) == HandlerTable::kNone;
    }
  }
  return false;
}

Handled Shard::on_service_call(uint32_t slot, const wire::Envelope& message) {
  if (message.payload.size() > kPeerBytesMax) return Handled::kInvalid;
  const IdentityView who = identities_.view(players_[slot].identity);
  const base::ConnectionRef connection = endpoint_.ref(slot);
  BusMail mail;
  mail.op = BusOp::kServiceCall;
  mail.a = uint64_t{connection.generation} << 32 | connection.slot;
  mail.b = message.sequence;
  mail.c = players_[slot].session;
  mail.d = message.type;
  uint8_t extra[2 + world::kPlayerIdBytesMax + kServicePermissionBytes];
  const size_t permissions = std::min(who.permissions.size(), size_t{kServicePermissionBytes});
  base::store_le(extra, static_cast<uint16_t>(who.player.size()));
  std::memcpy(extra + 2, who.player.data(), who.player.size());
  if (permissions != 0) {
    std::memcpy(extra + 2 + who.player.size(), who.permissions.data(), permissions);
  }
  counters_.add(metrics::Counter::kServiceCalls, 1);
  if (cluster_.post(mail, who.user, {extra, 2 + who.player.size() + permissions},
                    message.payload)) {
    return Handled::kOk;
  }
  refuse_service(slot, message.sequence, wire::kErrorRateLimited,
                 "too much waits for the services");
  return Handled::kAnswered;
}

// REPLY and ERROR, as for a refused topic request; not held against the client.
void Shard::refuse_service(uint32_t slot, uint64_t sequence, uint16_t code,
                           std::string_view details) {
  reply_service(slot, sequence, code, wire::text_of_error(code));
  char id[24];
  const int n = std::snprintf(id, sizeof id, "%llu", static_cast<unsigned long long>(sequence));
  send_error(slot, code, details, false, {id, sequence == 0 ? 0 : static_cast<size_t>(n)});
}

void Shard::reply_service(uint32_t slot, uint64_t sequence, uint32_t code, std::string_view text) {
  uint8_t bytes[640];
  wire::PbWriter out(bytes);
  wire::encode(out, wire::Reply{sequence, code, text});
  if (!out.overflow()) {
    send_payload(slot, static_cast<uint32_t>(wire::MessageType::kReply), out.written());
  }
}

void Shard::on_service_answer(const BusMail& mail, base::Bytes tail) {
  base::ConnectionRef connection;
  connection.slot = static_cast<uint32_t>(mail.a);
  connection.generation = static_cast<uint32_t>(mail.a >> 32);
  const uint32_t slot = endpoint_.find(connection);
  if (slot == net::kNone || players_[slot].session == 0) return;  // it left meanwhile
  const std::string_view text = base::as_text(tail.subspan(mail.name_bytes, mail.extra_bytes));
  const base::Bytes payload = tail.subspan(size_t{mail.name_bytes} + mail.extra_bytes);
  const auto code = static_cast<uint32_t>(mail.c);
  if (mail.flags == 1) {
    refuse_service(slot, mail.b, static_cast<uint16_t>(code), text);
    return;
  }
  if (mail.d != 0 && may_send(mail.d) && payload.size() <= kReplyBytesMax) {
    send_payload(slot, mail.d, payload);
  }
  reply_service(slot, mail.b, code, text);
}

}  // namespace tidegate::shard
