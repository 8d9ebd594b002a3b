// SPDX-License-Identifier: Apache-2.0
#include "shard/cluster.h"

#include <cstring>

#include "bus/rendezvous.h"
#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusMember;
using mailbox::BusOp;
using mailbox::read_message;

Cluster::Home Cluster::home_in(const View& view, std::string_view name) {
  if (view.count == 0) return {};
  if (name.starts_with(session::kGroupTopicPrefix)) {
    return {kNone, bus::hash_text(session::kGroupTopicPrefix), true};
  }
  const uint32_t i = bus::home_among(view.members, view.count, bus::hash_text(name));
  const BusMember& m = view.members[i];
  const bool here = m.self != 0;
  // Who may have missed something itself has to ask anew, also where homes stayed.
  return {m.index, here ? m.id : bus::mix(m.id + bus::mix(m.epoch)) ^ view.self_key, here};
}

uint32_t Cluster::index_of(uint64_t id) const {
  for (uint32_t i = 0; i < now_.count; ++i) {
    if (now_.members[i].id == id && now_.members[i].self == 0) return now_.members[i].index;
  }
  return kNone;
}

uint64_t Cluster::id_of(uint32_t index) const {
  for (uint32_t i = 0; i < now_.count; ++i) {
    if (now_.members[i].index == index) return now_.members[i].id;
  }
  return 0;
}

bool Cluster::post(BusMail mail, std::string_view name, base::Bytes extra, base::Bytes data) {
  mail.name_bytes = static_cast<uint16_t>(name.size());
  mail.extra_bytes = static_cast<uint16_t>(extra.size());
  const size_t size = name.size() + extra.size() + data.size();
  return shard_.mailbox_.post_parts(shard_.mailbox_.control(), mail, size,
                                    {base::as_bytes(name), extra, data});
}

void Cluster::echo(uint32_t phase) {
  BusMail mail;
  mail.op = BusOp::kEcho;
  mail.a = view_;
  mail.d = phase;
  shard_.outbox_.post(shard_.mailbox_.control(), mail);
}

void Cluster::on_view(base::Bytes bytes) {
  base::Bytes rows;
  view_ = read_message<mailbox::BusView>(bytes, &rows).view;
  View next;
  members_ = kept_ = 0;
  for (; rows.size() >= sizeof(BusMember) && next.count < mailbox::kGatewaysMax;
       rows = rows.subspan(sizeof(BusMember))) {
    BusMember m;
    std::memcpy(&m, rows.data(), sizeof m);
    next.members[next.count++] = m;
    const uint64_t bit = uint64_t{1} << m.index;
    if (m.self != 0) {
      self_ = m.index;
      next.self_key = bus::mix(m.id ^ m.epoch);
      continue;
    }
    members_ |= bit;
    for (uint32_t i = 0; i < now_.count; ++i) {
      const BusMember& had = now_.members[i];
      if (had.id == m.id && had.epoch == m.epoch) kept_ |= bit;
    }
  }
  now_ = next;
  settled_ = false;
  following_ = true;
  shard_.topics_.on_view();
  shard_.presence_.on_view();
  shard_.realm_.on_view();
}

void Cluster::turn() {
  if (!following_) return;
  const bool topics = shard_.topics_.follow_view();
  if (!topics) return;
  following_ = false;
  if (echo_due_) echo(1);
  echo_due_ = false;
}

void Cluster::on_mail(base::Bytes bytes) {
  base::Bytes tail;
  const auto mail = read_message<BusMail>(bytes, &tail);
  if (tail.size() < size_t{mail.name_bytes} + mail.extra_bytes) return;
  switch (mail.op) {
    case BusOp::kMark:
      if (mail.a != view_) return;
      if (mail.d == 1) {
        echo_due_ = true;
        if (following_) {
          turn();
        } else {
          echo_due_ = false;
          echo(1);
        }
      } else if (mail.d == 2) {
        echo(2);
      } else {
        settled_ = true;
        before_ = now_;
        era_ = mail.b;
        shard_.topics_.on_settled();
      }
      break;
    case BusOp::kTopicJoin:
    case BusOp::kTopicJoined:
    case BusOp::kTopicLeave:
    case BusOp::kTopicPublish:
    case BusOp::kTopicPublished:
    case BusOp::kTopicEvent:
    case BusOp::kTopicPull:
    case BusOp::kTopicPiece:
    case BusOp::kTopicTail:
    case BusOp::kTopicHandover:
      shard_.topics_.on_bus_mail(mail, tail);
      break;
    case BusOp::kPresenceWatch:
    case BusOp::kPresenceState:
    case BusOp::kPresenceAsk:
    case BusOp::kSendUser:
      shard_.presence_.on_bus_mail(mail, tail);
      break;
    case BusOp::kSendPlayer:
    case BusOp::kSendSession:
    case BusOp::kSendEveryone:
    case BusOp::kLoggedIn:
      shard_.on_bus_send(mail, tail);
      break;
    case BusOp::kSendNear:
    case BusOp::kRealmBatch:
    case BusOp::kRealmClaim:
    case BusOp::kRealmGiven:
      shard_.realm_.on_bus_mail(mail, tail);
      break;
    case BusOp::kMissed:
      shard_.topics_.on_missed(mail.gateways);
      shard_.presence_.on_missed(mail.gateways);
      break;
    case BusOp::kServiceAnswer:
      shard_.on_service_answer(mail, tail);
      break;
    default:
      break;  // of a newer gateway
  }
}

}  // namespace tidegate::shard
