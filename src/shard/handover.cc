// SPDX-License-Identifier: Apache-2.0
// The old process' side: to a standstill, and into records. handover_restore.cc is the other side.
#include "shard/handover.h"

#include <algorithm>

#include "shard/shard.h"
#include "wire/message_types.h"

namespace tidegate::shard {

using handover::CannotMove;
using session::SubscriptionState;
using session::TopicMembers;

namespace {
constexpr uint32_t kNone = TopicMembers::kNone;
constexpr uint32_t kComeAgainMs = 500;  // who is closed comes back spread over so long
}  // namespace

void Handover::pause() {
  if (!told_) {
    told_ = true;
    s_.endpoint_.let_tls_move((heir_takes_ & handover::kTakesTls) != 0);
    for (uint32_t slot = 0; slot < s_.endpoint_.slots(); ++slot) {
      CannotMove why{};
      if (!s_.endpoint_.is_open(slot) || s_.endpoint_.movable(slot, &why)) continue;
      wire::Disconnect disconnect;
      disconnect.code = wire::kErrorDraining;
      disconnect.reason = "the server is being upgraded; come back with your resume token";
      disconnect.retry_after_ms = 1 + static_cast<uint32_t>(s_.prng_.next() % kComeAgainMs);
      if (s_.players_[slot].session != 0) s_.send_disconnect(slot, disconnect);
      s_.endpoint_.close(slot, 1012, "the server is being upgraded",
                         net::CloseCause::kServerClosed);
    }
    s_.endpoint_.flush();
  }
  if (!s_.io_.paused()) s_.io_.pause();
}

bool Handover::quiet() const {
  return s_.io_.paused() && !s_.outbox_.waiting() && !s_.sessions_.stalled() &&
         !s_.sessions_.waiting() && !s_.endpoint_.has_parked() && s_.topics_.pulls_out_ == 0;
}

void Handover::resume() {
  told_ = false;
  s_.io_.resume();
}

bool Handover::save(State* out) {
  net::Endpoint& endpoint = s_.endpoint_;
  endpoint.begin_turn(s_.io_.now());
  std::vector<uint32_t> slots;
  for (uint32_t slot = 0; slot < endpoint.slots(); ++slot) {
    if (endpoint.hot(slot).phase == net::Phase::kDeciding) {
      endpoint.refuse_upgrade(slot, 503, "overloaded",
                              "the server is being upgraded; try again in a moment", 1);
      ++out->closed[static_cast<size_t>(CannotMove::kLogin)];
    }
    if (s_.players_[slot].session != 0 && endpoint.is_open(slot) &&
        s_.players_[slot].inbound.ack_owed()) {
      s_.send_ack(slot);
    }
  }
  endpoint.flush();
  for (uint32_t slot = 0; slot < endpoint.slots(); ++slot) {
    if (endpoint.hot(slot).phase == net::Phase::kFree) continue;
    CannotMove why{};
    if (endpoint.movable(slot, &why)) {
      slots.push_back(slot);
    } else if (why == CannotMove::kPolling) {
      if (endpoint.is_poll(slot)) ++out->closed[static_cast<size_t>(why)];
    } else if (endpoint.hot(slot).close_code == 1012) {
      const bool tls = (endpoint.hot(slot).flags & net::kFlagTls) != 0;
      ++out->closed[static_cast<size_t>(tls ? CannotMove::kTls : CannotMove::kCompression)];
    } else if (why == CannotMove::kTls || why == CannotMove::kCompression) {
      ++out->closed[static_cast<size_t>(why)];
    } else if (why == CannotMove::kClosing && endpoint.hot(slot).close_code != 503) {
      ++out->closed[static_cast<size_t>(why)];
    }
  }
  out->descriptors.assign(slots.size(), -1);
  if (!s_.io_.descriptors_of(slots, out->descriptors)) {
    out->descriptors.clear();
    return false;
  }
  handover::Writer writer(out->records);
  handover::Shard head;
  head.index = s_.config_.index;
  head.tick = s_.barrier_.tick();
  head.due_ns = s_.barrier_.due().ns;
  head.entity_counter = s_.entity_counter_;
  head.environment = {s_.environment_.data(), s_.environment_bytes_};
  writer.add(head);
  for (const uint32_t slot : slots) {
    writer.add(endpoint.save(slot, &scratch_));
    if ((endpoint.hot(slot).flags & net::kFlagTls) != 0) endpoint.save_tls(slot, writer);
    if (s_.players_[slot].session == 0) continue;
    save_player(slot, writer);
    ++out->players;
  }
  out->connections = static_cast<uint32_t>(slots.size());
  save_world(out, writer);
  save_sessions(out, writer);
  save_topics(writer);
  save_social(writer);
  return true;
}

void Handover::save_player(uint32_t slot, handover::Writer& out) {
  const Player& p = s_.players_[slot];
  const IdentityView who = s_.identities_.view(p.identity);
  handover::Player to;
  to.slot = slot;
  to.session = p.session;
  to.expires_at = p.expires_at;
  to.user = who.user;
  to.player = who.player;
  to.permissions = who.permissions;
  to.entity = p.entity.value;
  to.owner = p.owner;
  to.state = static_cast<uint8_t>(p.state);
  to.flags = p.flags & kCarriedFlags;
  to.view_distance = p.view_distance;
  to.budget = p.budget;
  for (int i = 0; i < 3; ++i) to.position[i] = p.position[i];
  to.client_tick = p.client_tick;
  to.received = p.inbound.received();
  to.safe = p.inbound.safe();
  to.sent = p.sent;
  to.acked = p.acked;
  to.replay_left = p.replay_left;
  for (uint32_t i = 0; i < s_.hello_count_; ++i) {
    const Shard::HelloWait& wait = s_.hello_waits_[(s_.hello_head_ + i) % s_.hello_waits_.size()];
    if (wait.connection == s_.endpoint_.ref(slot)) to.hello_due_ns = wait.due.ns;
  }
  if ((p.flags & kJoinWaits) != 0) to.hello_due_ns = s_.now_.ns;
  if (s_.interest_.watching(slot)) {
    to.watching = 1;
    world::CellKey cells[world::kActiveCellsMax];
    const uint32_t count = s_.interest_.held_cells(slot, cells);
    for (uint32_t i = 0; i < count; ++i) {
      to.cells.push_back(cells[i].x);
      to.cells.push_back(cells[i].z);
    }
  }
  to.presence = s_.presence_.slots_[slot].opened;
  to.packing = p.packing;
  if ((p.packing & Packing::kDictionary) != 0) to.dictionary = s_.packing_.dictionary_id();
  out.add(to);
  const TopicMembers& members = s_.topics_.members_;
  for (uint32_t i = members.first_of_slot(slot); i != kNone;) {
    const session::Subscription& s = s_.topics_.members_.at(i);
    handover::Subscription subscription;
    subscription.slot = slot;
    subscription.topic = members.name(s.topic);
    subscription.next = s.next;
    subscription.topic_next = members.next_offset(s.topic);
    subscription.acknowledged = members.acknowledged(s.topic) ? 1 : 0;
    subscription.live = s.state == SubscriptionState::kLive ? 1 : 0;
    out.add(subscription);
    i = s.next_of_slot;
  }
  SteerBuffer steer = s_.steer_[slot];  // a copy: what waits stays
  if (const SteerBuffer::Saved saved = steer.save(); saved.known) {
    handover::Steer record;
    record.slot = slot;
    record.known = 1;
    record.streaming = saved.streaming ? 1 : 0;
    record.last_tick = saved.last_tick;
    record.credit = saved.credit;
    record.delay = saved.delay;
    record.hold = saved.hold;
    record.wanted = saved.wanted;
    while (steer.waiting() != 0) {
      const SteerInput input = steer.pop();
      record.client_ticks.push_back(input.client_tick);
      for (const int8_t axis : input.sample.direction) record.directions.push_back(axis);
      record.yaws.push_back(input.sample.yaw);
      record.flags.push_back(input.sample.flags);
    }
    out.add(record);
  }
  Presence& presence = s_.presence_;
  for (uint32_t i = presence.watches_.first_of_slot(slot); i != kNone;) {
    const session::Subscription& s = presence.watches_.at(i);
    const Presence::Shown& shown = presence.shown_[s.topic];
    handover::Watch watch;
    watch.slot = slot;
    watch.user = presence.watches_.name(s.topic);
    watch.status = shown.status;
    watch.text = {shown.text, shown.text_bytes};
    watch.last_seen_ms = shown.last_seen;
    watch.due = s.pulling;
    watch.restricted = shown.restricted;
    watch.hidden = s.request != 0 ? 1 : 0;
    out.add(watch);
    i = s.next_of_slot;
  }
}

void Handover::save_world(State* state, handover::Writer& out) {
  const world::EntityTable& entities = s_.slice_.entities();
  for (world::EntitySlot e = 0; e < entities.high_water(); ++e) {
    // Out of its cell: its home finds it gone.
    // Nor what is another gateway's: the new process hears of it from there.
    constexpr uint8_t kNot = world::kOutOfCell | world::kRemote;
    if (!entities.live(e) || (entities.membership(e).state & kNot) != 0) continue;
    const world::Image& image = entities.image(e);
    const world::Control& control = entities.control(e);
    handover::Entity to;
    to.id = entities.id(e).value;
    to.kind = static_cast<uint8_t>(image.kind);
    to.name = entities.player_id(e);
    for (int i = 0; i < 3; ++i) {
      to.position[i] = image.position[i];
      to.velocity[i] = image.velocity[i];
    }
    // One that waits to be handed over stands at the edge of its cell, as its watchers see it.
    const world::CellKey cell = s_.slice_.cells().cell(entities.membership(e).cell).key;
    const int32_t edge = s_.slice_.scale().cell_steps;
    to.position[0] = std::clamp(to.position[0], cell.x * edge, cell.x * edge + edge - 1);
    to.position[2] = std::clamp(to.position[2], cell.z * edge, cell.z * edge + edge - 1);
    to.yaw = image.yaw;
    to.flags = image.flags;
    to.tag = control.tag;
    to.connection_slot = control.connection.slot;
    to.connection_generation = control.connection.generation;
    to.connection_shard = control.connection_shard.value;
    to.client_tick = control.client_tick;
    to.budget = control.budget;
    to.budget_tick = control.budget_tick;
    to.linger_deadline = control.linger_deadline;
    to.violations = control.violations;
    // On its way out: it goes in the next tick there.
    if ((entities.membership(e).state & world::kLeaving) != 0) {
      to.linger_deadline = s_.barrier_.tick();
      to.connection_slot = UINT32_MAX;
    }
    out.add(to);
    ++state->entities;
  }
  s_.slice_.for_each_input([&](base::EntityId id, const world::Input& input) {
    handover::Input to;
    to.entity = id.value;
    for (int i = 0; i < 3; ++i) {
      to.position[i] = input.position[i];
      to.velocity[i] = input.velocity[i];
    }
    to.client_tick = input.client_tick;
    to.flags = input.flags;
    to.yaw = input.yaw;
    to.has = input.has;
    out.add(to);
  });
  const world::Directory& directory = s_.directory_;
  // The longest unseen come first, so that the new one forgets in the same order.
  std::vector<uint32_t> rows;
  for (uint32_t i = 0; i < directory.high_water(); ++i) {
    if (directory.known(i)) rows.push_back(i);
  }
  std::stable_sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) {
    return static_cast<int32_t>(directory.entry(a).last_seen_tick -
                                directory.entry(b).last_seen_tick) < 0;
  });
  for (const uint32_t i : rows) {
    const world::DirectoryEntry& entry = directory.entry(i);
    handover::Home to;
    to.name = directory.player_id(i);
    to.entity = entry.remote != 0 ? base::EntityId::none().value : entry.entity.value;
    to.connection_slot = entry.connection.slot;
    to.connection_generation = entry.connection.generation;
    to.connection_shard = entry.connection_shard.value;
    to.entity_shard = entry.entity_shard.value;
    for (int k = 0; k < 3; ++k) to.position[k] = entry.position[k];
    to.last_seen_tick = entry.last_seen_tick;
    to.has_position = entry.has_position;
    to.yaw = entry.yaw;
    to.user = entry.user;
    out.add(to);
  }
}

void Handover::save_sessions(State* state, handover::Writer& out) {
  const session::SessionTable& table = s_.sessions_.table();
  // Parked ones by the time they were left.
  std::vector<uint32_t> rows;
  for (uint32_t row = 0; row < table.high_water(); ++row) {
    if (table.at(row).id != 0) rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [&](uint32_t a, uint32_t b) { return table.at(a).seen_s < table.at(b).seen_s; });
  for (const uint32_t row : rows) {
    const session::Session& s = table.at(row);
    handover::Session to;
    to.id = s.id;
    to.player = table.player(row);
    to.connection_slot = s.connection.slot;
    to.connection_generation = s.connection.generation;
    to.connection_shard = s.connection_shard.value;
    to.nonce = s.nonce;
    to.nonce_before = s.nonce_before;
    to.created_s = s.created_s;
    to.seen_s = s.seen_s;
    to.resumed = s.resumed;
    to.restored = s.restored;
    to.from_store = s.from_store;
    to.received = s.received;
    to.received_safe = s.received_safe;
    to.safe = s.safe;
    to.acked = s.log.acked;
    to.sent = s.log.sent;
    out.add(to);
    s_.sessions_.logs().for_each(s.log, [&](const session::LoggedMessage& message) {
      handover::Message m;
      m.type = message.type;
      m.payload = message.payload;
      out.add(m);
    });
    ++state->sessions;
  }
}

void Handover::save_topics(handover::Writer& out) {
  session::TopicHome& home = s_.topics_.home_;
  for (uint32_t topic = 0; topic < home.high_water(); ++topic) {
    if (!home.used(topic)) continue;
    handover::Topic to;
    to.name = home.name(topic);
    // The messages go on from the first offset without a gap: from the newest era on, and behind
    // what was erased.
    to.first_offset = home.first_offset(topic);
    uint64_t next = to.first_offset;
    home.for_each(topic, &scratch_, [&](uint64_t offset, base::Bytes frame, uint32_t, uint32_t) {
      if (frame.empty()) {
        to.first_offset = offset + 1;
      } else if (offset != next) {
        to.first_offset = offset;
      }
      next = offset + 1;
    });
    if (next != home.next_offset(topic)) to.first_offset = home.next_offset(topic);
    out.add(to);
    home.for_each(topic, &scratch_,
                  [&](uint64_t offset, base::Bytes frame, uint32_t note, uint32_t time_s) {
                    if (offset < to.first_offset) return;
                    handover::TopicMessage message;
                    message.note = note;
                    message.time_s = time_s;
                    message.frame = frame;
                    out.add(message);
                  });
  }
  s_.topics_.parked_.for_each(&scratch_, [&](uint64_t session, uint32_t at_s, base::Bytes list) {
    handover::Parked to;
    to.session = session;
    to.at_s = at_s;
    to.list = list;
    out.add(to);
  });
  const session::PresenceHome& users = s_.presence_.home_;
  for (uint32_t user = 0; user < users.high_water(); ++user) {
    if (!users.used(user)) continue;
    const session::PresenceHome::Saved saved = users.save(user);
    handover::User to;
    to.name = users.name(user);
    to.chosen = static_cast<uint8_t>(saved.chosen);
    to.text = saved.text;
    to.seen_ms = saved.seen;
    to.watchers = saved.watchers;
    to.connections = saved.connections;
    to.pending = saved.pending ? 1 : 0;
    for (uint32_t i = 0; i < users.place_count(user); ++i) {
      const session::PresenceHome::Place& place = users.place(user, i);
      to.places.insert(to.places.end(),
                       {place.shard, place.connection.slot, place.connection.generation});
    }
    out.add(to);
  }
}

void Handover::save_social(handover::Writer& out) {
  s_.social_.users_.for_each_entry(
      [&](std::string_view user, session::Relation relation, uint8_t value, std::string_view name) {
        handover::UserEntry to;
        to.user = user;
        to.relation = static_cast<uint8_t>(relation);
        to.value = value;
        to.name = name;
        out.add(to);
      });
  const session::GroupHome& groups = s_.social_.groups_;
  for (uint32_t group = 0; group < groups.high_water(); ++group) {
    if (!groups.used(group)) continue;
    groups.for_each(group, [&](std::string_view user, session::GroupRole role) {
      handover::GroupMember to;
      to.group = groups.name(group);
      to.user = user;
      to.role = static_cast<uint8_t>(role);
      out.add(to);
    });
    handover::Group to;
    to.name = groups.name(group);
    to.access = static_cast<uint8_t>(groups.access(group));
    to.version = groups.version(group);
    out.add(to);
  }
}

}  // namespace tidegate::shard
