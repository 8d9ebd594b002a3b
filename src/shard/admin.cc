// SPDX-License-Identifier: Apache-2.0
// What control asks of a shard: rows of its connection table, closing one connection.
#include <algorithm>
#include <cstring>

#include "shard/shard.h"
#include "wire/message_types.h"

namespace tidegate::shard {

using mailbox::read_message;

void Shard::on_list(base::Bytes bytes) {
  const auto list = read_message<mailbox::ListConnections>(bytes);
  uint32_t seen = 0;
  for (uint32_t slot = 0; slot < players_end_ && seen < list.offset + list.limit; ++slot) {
    const Player& player = players_[slot];
    if (player.session == 0 || seen++ < list.offset) continue;
    const net::Cold& cold = endpoint_.cold(slot);
    const IdentityView identity = identities_.view(player.identity);
    mailbox::ConnectionRow row{};
    row.request = list.request;
    row.connection = endpoint_.ref(slot);
    row.entity = player.entity;
    row.session = player.session;
    row.bytes_in = cold.bytes_in;
    row.bytes_out = cold.bytes_out;
    row.messages_in = cold.messages_in;
    row.messages_out = cold.messages_out;
    row.rtt_us = cold.rtt_us;
    row.rtt_jitter_us = cold.opened.rtt_jitter_us;
    row.age_ms = endpoint_.now_ms() - cold.accepted_ms;
    const net::Hot& hot = endpoint_.hot(slot);
    row.backlog_bytes = hot.backlog_bytes;
    row.backlog_age_s = endpoint_.backlog_age_s(slot);
    row.transport = static_cast<uint8_t>(
        (endpoint_.is_poll(slot) ? 1 : 0) | ((hot.flags & net::kFlagTls) != 0 ? 2 : 0) |
        (hot.receiver.speaks_deflate() ? 4 : 0) | (speaks_json(slot) ? 8 : 0));
    std::memcpy(row.peer, cold.peer, sizeof row.peer);
    row.peer_port = cold.peer_port;
    row.state = static_cast<uint8_t>(player.state);
    row.encoding = player.flags & kPacked ? 1 : 0;
    row.user_bytes = static_cast<uint16_t>(identity.user.size());
    row.player_bytes = static_cast<uint16_t>(identity.player.size());
    uint8_t names[2 * world::kPlayerIdBytesMax];
    TG_ASSERT(identity.user.size() + identity.player.size() <= sizeof names);
    std::memcpy(names, identity.user.data(), identity.user.size());
    std::memcpy(names + identity.user.size(), identity.player.data(), identity.player.size());
    outbox_.post(mailbox_.control(), row, {names, identity.user.size() + identity.player.size()});
  }
  outbox_.post(mailbox_.control(), mailbox::ListEnd{list.request, live_players_});
}

void Shard::on_close_request(base::Bytes bytes) {
  const auto request = read_message<mailbox::CloseConnection>(bytes);
  const uint32_t slot = endpoint_.find(request.connection);
  if (slot == net::kNone || !endpoint_.is_open(slot)) return;
  if (request.error == 0) {
    players_[slot].flags |= kSessionEnds;
    players_[slot].end = static_cast<uint8_t>(session::End::kClosed);
  }
  if (request.error != 0) send_error(slot, request.error, {}, true);
  endpoint_.close(slot, request.code,
                  request.error != 0 ? "too many refused moves" : "closed by an administrator",
                  net::CloseCause::kServerClosed);
}

void Shard::on_list_history(base::Bytes bytes) {
  base::Bytes tail;
  const auto request = read_message<mailbox::ListHistory>(bytes, &tail);
  const world::EntityTable& entities = slice_.entities();
  world::EntitySlot s = world::kNoEntity;
  if (tail.empty()) {
    s = entities.find(request.entity);
  } else {
    // No index of names: an administrator may ask, and the walk is bounded.
    for (world::EntitySlot i = 0; i < entities.high_water() && s == world::kNoEntity; ++i) {
      if (entities.live(i) && entities.player_id(i) == base::as_text(tail)) s = i;
    }
  }
  mailbox::HistoryAnswer answer{};
  answer.request = request.request;
  answer.entity = base::EntityId::none();
  uint8_t out[world::History::kTravelMax * sizeof(world::HistorySample) + world::kPlayerIdBytesMax];
  size_t used = 0;
  if (s != world::kNoEntity) {
    const world::History& history = slice_.history();
    world::HistorySample samples[world::History::kTravelMax];
    const uint32_t n = history.samples(s, history.newest(), samples);
    const std::string_view name = entities.player_id(s);
    answer.entity = entities.id(s);
    answer.newest_tick = history.newest();
    answer.samples = static_cast<uint16_t>(n);
    answer.name_bytes = static_cast<uint16_t>(name.size());
    std::memcpy(out, samples, n * sizeof(world::HistorySample));
    used = n * sizeof(world::HistorySample);
    std::memcpy(out + used, name.data(), name.size());
    used += name.size();
  }
  outbox_.post(mailbox_.control(), answer, {out, used});
}

}  // namespace tidegate::shard
