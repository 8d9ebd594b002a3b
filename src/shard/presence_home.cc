// SPDX-License-Identifier: Apache-2.0
// The home's side of presence: who comes and goes, what is chosen, who is told; and the way of
// messages to a user.
#include <cstring>

#include "shard/presence.h"
#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using metrics::Gauge;
using session::PresenceHome;
using session::Status;

namespace {
PresenceHome::Place place(uint32_t shard, base::ConnectionRef connection) {
  return {static_cast<uint16_t>(shard), connection};
}
}  // namespace

// An embedder's handlers learn what was chosen, so invisible too.
void Presence::tell(EventKind kind, uint32_t user, base::UnixMs unix_ms) {
  if (!shard_.wants_event(kind)) return;
  ServerEvent event;
  event.kind = kind;
  event.name = home_.name(user);
  event.timestamp = unix_ms;
  const std::string_view text = home_.text(user);
  event.data = {text.data(), text.size()};
  if (home_.connection_count(user) != 0) {
    event.status = static_cast<UserStatus>(home_.chosen(user));
  }
  shard_.tell_event(event);
}

void Presence::on_come(uint32_t from, base::Bytes bytes) {
  base::Bytes user;
  const auto come = read_message<mailbox::PresenceCome>(bytes, &user);
  const uint32_t row = home_.come(base::as_text(user), place(from, come.connection), come.unix_ms);
  if (row == PresenceHome::kNone) {
    shard_.counters_.add(Counter::kPresenceFull, 1);
  } else if (home_.connection_count(row) == 1) {
    if (!shard_.cluster_.alone()) ask_far(row);
    tell(EventKind::kUserOnline, row, come.unix_ms);
  }
  shard_.social_.tell_connection(from, come.connection, base::as_text(user));
}

void Presence::on_go(uint32_t from, base::Bytes bytes) {
  base::Bytes user;
  const auto go = read_message<mailbox::PresenceGo>(bytes, &user);
  const uint32_t row = home_.find(base::as_text(user));
  if (row == PresenceHome::kNone || home_.connection_count(row) == 0) return;
  home_.go(base::as_text(user), place(from, go.connection), go.unix_ms);
  if (home_.connection_count(row) == 0) tell(EventKind::kUserOffline, row, go.unix_ms);
}

void Presence::on_set(uint32_t from, base::Bytes bytes) {
  base::Bytes tail;
  const auto set = read_message<mailbox::PresenceSet>(bytes, &tail);
  const uint32_t user = home_.find(base::as_text(tail.first(set.user_bytes)));
  if (user == PresenceHome::kNone) return;  // there was no room when it came
  const std::string_view text = base::as_text(tail.subspan(set.user_bytes));
  const Status before = home_.set(user, static_cast<Status>(set.status),
                                  set.has_text != 0 ? &text : nullptr, set.unix_ms);
  tell(EventKind::kUserStatus, user, set.unix_ms);
  if (set.status == 0) return;
  shard_.outbox_.post(
      from, mailbox::PresenceChanged{set.connection, static_cast<uint8_t>(before), set.status});
}

void Presence::on_privacy_changed(std::string_view user) {
  const uint32_t row = home_.find(user);
  if (row != PresenceHome::kNone && home_.watchers(row) != 0) home_.resend(row);
}

void Presence::tell_facts(uint32_t request, std::string_view user) {
  const uint32_t row = home_.find(user);
  if (row == PresenceHome::kNone) return;
  shard_.social_.tell_fact(request, mailbox::UserFactKind::kPresence,
                           static_cast<uint8_t>(home_.chosen(row)), home_.connection_count(row), {},
                           base::as_bytes(home_.text(row)));
  shard_.social_.tell_fact(request, mailbox::UserFactKind::kLastSeen, 0,
                           static_cast<uint64_t>(home_.shown(row).last_seen), {}, {});
}

void Presence::forget(std::string_view user) {
  if (home_.find(user) != PresenceHome::kNone) home_.forget(user);
}

void Presence::post_state(uint32_t to, std::string_view user, const PresenceHome::Shown& shown) {
  constexpr uint32_t kAudienceMax = 1024;
  uint8_t tail[session::kUserIdBytesMax + session::kStatusTextBytesMax +
               kAudienceMax * sizeof(uint64_t)];
  std::memcpy(tail, user.data(), user.size());
  if (!shown.text.empty()) {
    std::memcpy(tail + user.size(), shown.text.data(), shown.text.size());
  }
  mailbox::PresenceState state{};
  state.last_seen = shown.last_seen;
  state.status = static_cast<uint8_t>(shown.status);
  state.user_bytes = static_cast<uint16_t>(user.size());
  state.text_bytes = static_cast<uint16_t>(shown.text.size());
  size_t used = user.size() + shown.text.size();
  if (shard_.social_.users().restricted(user)) {
    uint64_t audience[kAudienceMax];
    bool inclusive = false;
    state.audience = static_cast<uint16_t>(
        shard_.social_.users().audience(user, &inclusive, audience, kAudienceMax));
    state.restricted = inclusive ? 2 : 1;
    std::memcpy(tail + used, audience, state.audience * sizeof(uint64_t));
    used += state.audience * sizeof(uint64_t);
  }
  shard_.outbox_.post(to, state, {tail, used});
}

void Presence::on_watch(uint32_t from, base::Bytes bytes) {
  base::Bytes tail;
  const auto watch = read_message<mailbox::PresenceWatch>(bytes, &tail);
  const std::string_view name = base::as_text(tail);
  if (watch.on == 0) {
    home_.unwatch(name, from);
    if (const uint32_t known = home_.find(name);
        known != PresenceHome::kNone && home_.watchers(known) == 0) {
      watch_far(name, false);
      home_.forget_far(known, shard_.io_.unix_ms());
    }
    return;
  }
  const uint32_t before = home_.find(name);
  const bool first = before == PresenceHome::kNone || home_.watchers(before) == 0;
  const uint32_t user = home_.watch(name, from);
  if (user != PresenceHome::kNone && first) watch_far(name, true);
  if (user == PresenceHome::kNone) {
    shard_.counters_.add(Counter::kPresenceFull, 1);
    post_state(from, name, {});
    return;
  }
  if (shard_.outbox_.strained()) {
    home_.resend(user);
    return;
  }
  home_.note_first(user, shard_.now_);
  post_state(from, name, home_.shown(user));
}

bool Presence::send_to_user(std::string_view user, uint32_t type, base::Bytes payload) {
  uint8_t tail[session::kUserIdBytesMax + kPeerBytesMax];
  TG_ASSERT(user.size() <= session::kUserIdBytesMax && payload.size() <= kPeerBytesMax);
  std::memcpy(tail, user.data(), user.size());
  if (!payload.empty()) std::memcpy(tail + user.size(), payload.data(), payload.size());
  return shard_.mailbox_.post(home_of(user),
                              mailbox::SendToUser{type, static_cast<uint32_t>(user.size())},
                              {tail, user.size() + payload.size()});
}

void Presence::on_send_to_user(base::Bytes bytes) {
  base::Bytes tail;
  const auto send = read_message<mailbox::SendToUser>(bytes, &tail);
  TG_ASSERT(send.user_bytes <= tail.size());
  const std::string_view user = base::as_text(tail.first(send.user_bytes));
  const base::Bytes payload = tail.subspan(send.user_bytes);
  deliver_to_user(user, send.message_type, payload, send.source);
  if (shard_.cluster_.alone()) return;
  mailbox::BusMail mail;
  mail.op = mailbox::BusOp::kSendUser;
  mail.gateways = mailbox::kAllGateways;
  mail.b = send.source;
  mail.d = send.message_type;
  if (!shard_.cluster_.post(mail, user, {}, payload)) {
    shard_.counters_.add(Counter::kHandlerSendsDropped, 1);
  }
}

void Presence::deliver_to_user(std::string_view name, uint32_t type, base::Bytes payload,
                               uint64_t source) {
  const uint32_t user = home_.find(name);
  if (user == PresenceHome::kNone) return;  // not online
  for (uint32_t i = 0; i < home_.place_count(user); ++i) {
    const PresenceHome::Place& place = home_.place(user, i);
    const mailbox::Deliver deliver{place.connection, type, 0, source};
    if (!shard_.mailbox_.post(place.shard, deliver, payload)) {
      shard_.counters_.add(Counter::kHandlerSendsDropped, 1);
    }
  }
}

void Presence::update_gauges() {
  const PresenceHome::Population& p = home_.population();
  const auto shown = [&](Status s) { return p.shown[static_cast<uint32_t>(s)]; };
  shard_.counters_.set(Gauge::kUsersOnline, p.users);
  shard_.counters_.set(Gauge::kUsersShownOnline, shown(Status::kOnline));
  shard_.counters_.set(Gauge::kUsersShownAway, shown(Status::kAway));
  shard_.counters_.set(Gauge::kUsersShownBusy, shown(Status::kBusy));
  shard_.counters_.set(Gauge::kUsersInvisible, shown(Status::kOffline));
  shard_.counters_.set(Gauge::kPresenceWatches, watches_.subscription_count());
}

bool Presence::on_mail(uint32_t from, mailbox::MessageType type, base::Bytes bytes) {
  using mailbox::MessageType;
  switch (type) {
    case MessageType::kPresenceCome:
      on_come(from, bytes);
      return true;
    case MessageType::kPresenceGo:
      on_go(from, bytes);
      return true;
    case MessageType::kPresenceSet:
      on_set(from, bytes);
      return true;
    case MessageType::kPresenceWatch:
      on_watch(from, bytes);
      return true;
    case MessageType::kPresenceState:
      on_state(bytes);
      return true;
    case MessageType::kPresenceChanged:
      on_changed(bytes);
      return true;
    case MessageType::kSendToUser:
      on_send_to_user(bytes);
      return true;
    default:
      return false;
  }
}

}  // namespace tidegate::shard
