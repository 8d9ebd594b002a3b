// SPDX-License-Identifier: Apache-2.0
// The new process' side: a shard out of records. Everything in them is held against the limits and
// the configuration of here; what does not fit refuses the upgrade as a whole, and the old process
// goes on.
#include <algorithm>

#include "shard/handover.h"
#include "shard/shard.h"

namespace tidegate::shard {

using handover::RecordType;
using session::SubscriptionState;
using session::TopicMembers;

namespace {
constexpr uint32_t kNone = TopicMembers::kNone;

base::Instant seconds_at(uint32_t s) { return {int64_t{s} * 1'000'000'000}; }

world::Steps3 steps_of(const int32_t (&from)[3]) { return {from[0], from[1], from[2]}; }
}  // namespace

bool Handover::find_moved_cells(base::Bytes records, const world::WorldScale& scale, uint32_t shard,
                                const std::function<void(world::CellKey)>& visit) {
  handover::Reader in(records);
  while (in.next()) {
    if (in.type() != RecordType::kEntity) continue;
    handover::Entity e;
    if (!in.read(&e)) return false;
    const world::CellKey cell = scale.cell_of(steps_of(e.position));
    if (world::owner_of(cell, scale.shard_count).value != shard) visit(cell);
  }
  return in.ok();
}

bool Handover::note_owner(world::CellKey cell, uint32_t shard) {
  const base::ShardId to{static_cast<uint16_t>(shard)};
  if (s_.slice_.owners().owner(cell) == to) return true;
  if (!s_.slice_.owners().may_move(cell, to)) return false;
  s_.slice_.note_owner(cell, to);
  return true;
}

bool Handover::restore(base::Bytes records, std::span<const int> descriptors, std::string* error) {
  const uint32_t index = s_.config_.index;
  const auto fail = [&](const char* what) {
    *error = "shard " + std::to_string(index) + ": " + what;
    return false;
  };
  s_.now_ = s_.io_.now();
  s_.endpoint_.begin_turn(s_.now_);
  handover::Reader in(records);
  size_t connections = 0;
  std::string_view session_player;
  uint32_t session_sent = 0;
  uint64_t session_safe = 0;
  uint32_t topic = kNone;
  bool headed = false;
  const auto end_session = [&] {
    if (!session_player.empty()) {
      s_.sessions_.mark_sent(session_player, session_sent, session_safe);
    }
    session_player = {};
  };
  while (in.next()) {
    if (!headed && in.type() != RecordType::kShard) return fail("does not begin with its head");
    switch (in.type()) {
      case RecordType::kShard: {
        handover::Shard head;
        if (!in.read(&head) || head.index != index || headed) return fail("a wrong head");
        headed = true;
        s_.barrier_.restore(head.tick, {head.due_ns});
        s_.slice_.begin_anew(head.tick);
        s_.published_tick_.store(head.tick - 1, std::memory_order_relaxed);
        s_.entity_counter_ = head.entity_counter & 0xffffff;
        if (head.environment.size() > s_.environment_.size()) return fail("too much environment");
        std::copy(head.environment.begin(), head.environment.end(), s_.environment_.data());
        s_.environment_bytes_ = static_cast<uint32_t>(head.environment.size());
        break;
      }
      case RecordType::kConnection: {
        handover::Connection c;
        if (!in.read(&c)) return fail("a connection is cut");
        if (connections == descriptors.size()) return fail("more connections than descriptors");
        if (!s_.io_.adopt(c.slot, c.generation, descriptors[connections])) {
          return fail("a socket cannot be registered");
        }
        ++connections;
        if (!s_.endpoint_.restore(c)) return fail("a connection does not fit");
        slots_.push_back(c.slot);
        break;
      }
      case RecordType::kTls: {
        handover::Tls t;
        if (!in.read(&t) || !s_.endpoint_.restore_tls(t)) {
          return fail("a TLS connection does not fit");
        }
        break;
      }
      case RecordType::kPlayer: {
        handover::Player p;
        if (!in.read(&p) || !restore_player(p)) return fail("a player does not fit");
        break;
      }
      case RecordType::kSteer: {
        handover::Steer s;
        if (!in.read(&s) || !restore_steer(s)) return fail("a player's samples do not fit");
        break;
      }
      case RecordType::kEntity: {
        handover::Entity e;
        if (!in.read(&e) || !restore_entity(e)) {
          return fail("an entity does not fit: world.bounds or limits are narrower than they were");
        }
        break;
      }
      case RecordType::kInput: {
        handover::Input i;
        if (!in.read(&i) || !restore_input(i)) return fail("an input is cut");
        break;
      }
      case RecordType::kHome: {
        handover::Home h;
        if (!in.read(&h) || !restore_home(h)) return fail("a player's home does not fit");
        break;
      }
      case RecordType::kSession: {
        end_session();
        handover::Session from;
        if (!in.read(&from) || from.id == 0) return fail("a session is cut");
        session::Session s;
        s.id = from.id;
        s.connection = {from.connection_slot, from.connection_generation};
        s.connection_shard = {from.connection_shard};
        s.restored = from.restored;
        s.from_store = from.from_store;
        s.nonce = from.nonce;
        s.nonce_before = from.nonce_before;
        s.created_s = from.created_s;
        s.seen_s = from.seen_s;
        s.resumed = from.resumed;
        s.received = from.received;
        s.received_safe = from.received_safe;
        if (!s_.sessions_.adopt(s, from.player, from.acked)) return fail("a session does not fit");
        session_player = from.player;
        session_sent = from.sent;
        session_safe = from.safe;
        break;
      }
      case RecordType::kMessage: {
        handover::Message m;
        if (!in.read(&m) || session_player.empty() ||
            !s_.sessions_.restore_message(session_player, m.type, m.payload)) {
          return fail("a message does not fit: session.replay_* are narrower than they were");
        }
        break;
      }
      case RecordType::kTopic: {
        handover::Topic t;
        if (!in.read(&t) || t.first_offset == 0 ||
            !s_.topics_.home_.restore(t.name, t.first_offset)) {
          return fail("a topic does not fit");
        }
        topic = s_.topics_.home_.find(t.name);
        break;
      }
      case RecordType::kTopicMessage: {
        handover::TopicMessage m;
        if (!in.read(&m) || topic == kNone || m.frame.empty()) return fail("a topic is cut");
        s_.topics_.home_.append(topic, m.frame, m.note, seconds_at(m.time_s));
        break;
      }
      case RecordType::kSubscription: {
        handover::Subscription s;
        if (!in.read(&s) || !restore_subscription(s)) return fail("a subscription does not fit");
        break;
      }
      case RecordType::kParked: {
        handover::Parked p;
        if (!in.read(&p)) return fail("parked subscriptions are cut");
        s_.topics_.parked_.put(p.session, p.list, p.at_s);
        break;
      }
      case RecordType::kUser: {
        handover::User u;
        if (!in.read(&u) || !restore_user(u)) return fail("a user's presence does not fit");
        break;
      }
      case RecordType::kUserEntry: {
        handover::UserEntry e;
        if (!in.read(&e) || e.relation == 0 || e.relation >= session::kRelationsEnd ||
            !s_.social_.restore_entry(static_cast<session::Relation>(e.relation), e.user, e.name,
                                      e.value)) {
          return fail("an entry of a user's lists does not fit");
        }
        break;
      }
      case RecordType::kGroupMember: {
        handover::GroupMember m;
        if (!in.read(&m) ||
            !s_.social_.restore_member(m.group, m.user, static_cast<session::GroupRole>(m.role))) {
          return fail("a member of a group does not fit");
        }
        break;
      }
      case RecordType::kGroup: {
        handover::Group g;
        if (!in.read(&g)) return fail("a group is cut");
        s_.social_.restore_access(g.name, static_cast<session::GroupAccess>(g.access));
        s_.social_.groups_.restore_version(g.name, g.version);
        break;
      }
      case RecordType::kWatch: {
        handover::Watch w;
        if (!in.read(&w) || !restore_watch(w)) return fail("a watched user does not fit");
        break;
      }
      default:
        break;  // of a newer process; it knows that we do not read it
    }
  }
  end_session();
  if (!in.ok() || !headed) return fail("the records are cut");
  if (connections != descriptors.size()) return fail("more descriptors than connections");
  return true;
}

bool Handover::restore_player(const handover::Player& from) {
  if (from.slot >= s_.players_.size() || !s_.endpoint_.is_open(from.slot)) return false;
  Player& p = s_.players_[from.slot];
  if (p.session != 0 || from.session == 0 || from.player.empty() ||
      from.state >= static_cast<uint8_t>(session::State::kCount)) {
    return false;
  }
  p = Player{};
  p.identity = s_.identities_.store({from.user, from.player, from.permissions});
  if (p.identity == Identities::kNone) return false;
  p.session = from.session;
  p.expires_at = from.expires_at;
  p.entity = {from.entity};
  p.owner = from.owner;
  if (p.owner >= s_.config_.count) return false;
  p.state = static_cast<session::State>(from.state);
  p.flags = from.flags & kCarriedFlags;
  p.view_distance = from.view_distance;
  p.budget = from.budget;
  if (from.packing != 0) {
    // By the methods and the dictionary of here.
    p.packing = s_.packing_.choose(1u << Packing::method_of(from.packing), from.dictionary);
  }
  p.position = steps_of(from.position);
  p.client_tick = from.client_tick;
  p.inbound.begin_after(from.received, from.safe);
  if (s_.config_.session.stored) p.inbound.hold();
  p.sent = from.sent;
  p.acked = from.acked;
  p.replay_left = from.replay_left;
  s_.players_end_ = std::max(s_.players_end_, from.slot + 1);
  ++s_.live_players_;
  net::AdmissionTables* const admission = s_.config_.endpoint.admission;
  if (admission != nullptr && admission->enter_user(0, from.user)) p.flags |= kUserCounted;
  if (from.hello_due_ns != 0 && s_.hello_count_ < s_.hello_waits_.size()) {
    const auto at =
        static_cast<uint32_t>((s_.hello_head_ + s_.hello_count_++) % s_.hello_waits_.size());
    s_.hello_waits_[at] = {s_.endpoint_.ref(from.slot), s_.now_ + s_.config_.hello_wait};
  }
  if (from.watching != 0) {
    const auto encoding =
        (p.flags & kPacked) != 0 ? world::Encoding::kPacked : world::Encoding::kProtobuf;
    s_.interest_.add(from.slot, encoding, p.view_distance, p.position, p.budget);
    s_.interest_.restore_cells(from.slot, from.cells, p.position);
  }
  s_.presence_.slots_[from.slot].opened = from.presence != 0 ? 1 : 0;
  return true;
}

bool Handover::restore_steer(const handover::Steer& from) {
  const size_t count = from.client_ticks.size();
  if (from.slot >= s_.players_.size() || s_.players_[from.slot].session == 0 ||
      from.directions.size() != 3 * count || from.yaws.size() != count ||
      from.flags.size() != count) {
    return false;
  }
  for (size_t i = 0; i < count; ++i) {
    wire::SteerSample sample{};
    std::copy_n(from.directions.begin() + static_cast<ptrdiff_t>(3 * i), 3,
                std::begin(sample.direction));
    sample.yaw = from.yaws[i];
    sample.flags = from.flags[i];
    (void)s_.steer_[from.slot].put(from.client_ticks[i], sample);
  }
  s_.steer_[from.slot].restore({from.last_tick, from.credit, from.delay, from.hold, from.wanted,
                                from.known != 0, from.streaming != 0},
                               s_.slice_.scale().steer_delay_ticks);
  if (!s_.steer_[from.slot].idle() && !s_.steer_listed_[from.slot]) {
    s_.steer_listed_[from.slot] = true;
    s_.steering_[s_.steering_count_++] = from.slot;
  }
  return true;
}

bool Handover::restore_entity(const handover::Entity& from) {
  if (from.kind > static_cast<uint8_t>(world::EntityKind::kObject)) return false;
  const uint32_t tick = s_.barrier_.tick();
  world::SpawnSpec spec;
  spec.player_id = from.name;
  spec.kind = static_cast<world::EntityKind>(from.kind);
  spec.position = steps_of(from.position);
  spec.yaw = from.yaw;
  std::copy(std::begin(from.velocity), std::end(from.velocity), spec.velocity);
  spec.flags = from.flags;
  spec.tag = from.tag;
  spec.stamp = s_.realm_.next_stamp(0);
  spec.connection = {from.connection_slot, from.connection_generation};
  spec.connection_shard = {from.connection_shard};
  if (spec.connection.valid() && from.connection_shard >= s_.config_.count) return false;
  const base::EntityId id{from.id};
  if (!id.valid() || from.id == 0) return false;
  if (s_.slice_.spawn(id, spec, tick) != world::SpawnStatus::kOk) return false;
  world::Control control = s_.slice_.entities().control(s_.slice_.entities().find(id));
  control.client_tick = from.client_tick;
  control.budget = from.budget;
  control.budget_tick = from.budget_tick;
  control.violations = from.violations;
  // A player whom nobody holds lingers; spawn() began that anew.
  if (from.linger_deadline != 0) control.linger_deadline = from.linger_deadline;
  s_.slice_.restore_control(id, control);
  s_.bridge_.mark(id);
  return true;
}

bool Handover::restore_input(const handover::Input& from) {
  world::Input input{};
  input.position = steps_of(from.position);
  input.client_tick = from.client_tick;
  input.flags = from.flags;
  std::copy(std::begin(from.velocity), std::end(from.velocity), input.velocity);
  input.yaw = from.yaw;
  input.has = from.has;
  (void)s_.slice_.queue_input({from.entity}, input);  // one that just left takes none
  return true;
}

bool Handover::restore_home(const handover::Home& from) {
  world::DirectoryEntry* entry = s_.directory_.insert(from.name, from.last_seen_tick);
  if (entry == nullptr) return false;
  entry->entity = {from.entity};
  entry->connection = {from.connection_slot, from.connection_generation};
  entry->connection_shard = {from.connection_shard};
  entry->entity_shard = {from.entity_shard};
  if ((entry->connection.valid() && from.connection_shard >= s_.config_.count) ||
      (entry->entity.valid() && from.entity_shard >= s_.config_.count)) {
    return false;
  }
  entry->position = s_.slice_.scale().clamp(steps_of(from.position));
  entry->has_position = from.has_position;
  entry->yaw = from.yaw;
  entry->user = from.user;
  entry->stamp = s_.realm_.next_stamp(0);
  s_.directory_.update(entry, from.last_seen_tick);
  return true;
}

bool Handover::restore_subscription(const handover::Subscription& from) {
  if (from.slot >= s_.players_.size() || s_.players_[from.slot].session == 0) return false;
  TopicMembers& members = s_.topics_.members_;
  const uint32_t known = members.find_topic(from.topic);
  if (known != kNone && members.find(from.slot, known) != kNone) return false;
  const uint32_t added = members.add(from.slot, from.topic);
  if (added == kNone) return false;
  session::Subscription& s = members.at(added);
  members.set_state(s.topic, TopicMembers::TopicState::kJoined);
  members.set_next_offset(s.topic, from.topic_next);
  if (from.acknowledged != 0) members.set_acknowledged(s.topic);
  s.next = from.next;
  if (from.live != 0) {
    s.state = SubscriptionState::kLive;
  } else {
    s.state = SubscriptionState::kCatching;
    s_.topics_.queue_pull(added, s);
  }
  return true;
}

bool Handover::restore_user(const handover::User& from) {
  if (from.chosen > static_cast<uint8_t>(session::Status::kOffline)) return false;
  session::PresenceHome::Saved saved;
  saved.chosen = static_cast<session::Status>(from.chosen);
  saved.text = from.text;
  saved.seen = from.seen_ms;
  saved.watchers = s_.config_.count == 64 ? from.watchers
                                          : from.watchers & ((uint64_t{1} << s_.config_.count) - 1);
  saved.connections = from.connections;
  saved.pending = from.pending != 0;
  if (!s_.presence_.home_.restore(from.name, saved, s_.now_)) return false;
  for (size_t i = 0; i + 2 < from.places.size(); i += 3) {
    if (from.places[i] >= s_.config_.count) return false;
    tell_.push_back(
        {std::string(from.name), from.places[i], {from.places[i + 1], from.places[i + 2]}});
    s_.presence_.home_.restore_place(from.name, {static_cast<uint16_t>(from.places[i]),
                                                 {from.places[i + 1], from.places[i + 2]}});
  }
  return true;
}

bool Handover::restore_watch(const handover::Watch& from) {
  if (from.slot >= s_.players_.size() || s_.players_[from.slot].session == 0) return false;
  Presence& presence = s_.presence_;
  const uint32_t known = presence.watches_.find_topic(from.user);
  if (known != kNone && presence.watches_.find(from.slot, known) != kNone) return false;
  const uint32_t added = presence.watches_.add(from.slot, from.user);
  if (added == kNone) return false;
  session::Subscription& s = presence.watches_.at(added);
  presence.watches_.set_state(s.topic, TopicMembers::TopicState::kJoined);
  s.state = SubscriptionState::kLive;
  Presence::Shown& shown = presence.shown_[s.topic];
  if (from.text.size() > sizeof shown.text) return false;
  shown.last_seen = from.last_seen_ms;
  shown.status = from.status;
  shown.restricted = from.restricted;
  s.request = from.hidden;
  shown.text_bytes = static_cast<uint8_t>(from.text.size());
  std::copy(from.text.begin(), from.text.end(), shown.text);
  if (from.due != 0) {
    s.pulling = 1;
    presence.mark_dirty(from.slot);
  }
  return true;
}

void Handover::for_each_topic(const std::function<void(std::string_view)>& visit) const {
  const TopicMembers& members = s_.topics_.members_;
  for (uint32_t topic = 0; topic < members.high_water(); ++topic) {
    if (members.used(topic)) visit(members.name(topic));
  }
}

void Handover::add_reader(std::string_view topic, uint32_t shard) {
  const uint32_t row = s_.topics_.home_.open(topic);
  if (row != session::TopicHome::kNone) s_.topics_.home_.add_shard(row, shard);
}

void Handover::begin() {
  s_.now_ = s_.io_.now();
  s_.endpoint_.begin_turn(s_.now_);
  s_.io_.resume();
  for (const uint32_t slot : slots_) s_.endpoint_.begin_restored(slot);
  slots_.clear();
  for (const Told& t : tell_) s_.social_.tell_connection(t.shard, t.connection, t.user);
  tell_.clear();
}

}  // namespace tidegate::shard
