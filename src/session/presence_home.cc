// SPDX-License-Identifier: Apache-2.0
#include "session/presence_home.h"

#include <algorithm>
#include <cstring>

namespace tidegate::session {

PresenceHome::PresenceHome(const PresenceLimits& limits)
    : limits_(limits),
      names_(limits.users, kUserIdBytesMax),
      users_(limits.users),
      places_(size_t{limits.users} * kUserConnectionsMax),
      texts_(size_t{limits.users} * kStatusTextBytesMax),
      changed_(limits.users),
      links_(limits.users),
      far_(limits.users),
      far_texts_(size_t{limits.users} * kStatusTextBytesMax),
      far_changed_(limits.users) {}

uint32_t PresenceHome::open(std::string_view user) {
  const uint32_t found = names_.find(user);
  if (found != kNone) return found;
  if (names_.full()) {
    if (oldest_ == kNone) return kNone;
    const uint32_t gone = oldest_;
    User& u = users_[gone];
    oldest_ = u.newer;
    (u.newer == kNone ? newest_ : users_[u.newer].older) = kNone;
    if (u.queued != 0) {
      uint32_t* const at = std::find(changed_.data(), changed_.data() + changed_count_, gone);
      *at = changed_[--changed_count_];
    }
    if (links_[gone].queued != 0) {
      uint32_t* const end = far_changed_.data() + far_changed_count_;
      *std::find(far_changed_.data(), end, gone) = far_changed_[--far_changed_count_];
    }
    if (links_[gone].chosen_ms != 0 || links_[gone].hold_ns != 0 || links_[gone].queued != 0)
      links_[gone] = Link{};
    names_.erase(gone);
  }
  const uint32_t row = names_.insert(user);
  if (row == kNone) return kNone;
  User& u = users_[row];
  u = User{};
  u.chosen = Status::kOnline;
  u.sent = Status::kOffline;
  u.older = u.newer = kNone;
  relist(row);
  return row;
}

Status PresenceHome::status_of(const User& u) const {
  const uint32_t user = row_of(u);
  if (links_[user].first != 0) {
    if (!present(u)) return Status::kOffline;
    const FarRow* const far = chooser(user);
    const Status chosen = far == nullptr ? u.chosen : far->chosen;
    return chosen == Status::kInvisible ? Status::kOffline : chosen;
  }
  return u.connections == 0 || u.chosen == Status::kInvisible ? Status::kOffline : u.chosen;
}

PresenceHome::Shown PresenceHome::shown(uint32_t user) const {
  const User& u = users_[user];
  Shown s;
  s.status = status_of(u);
  s.last_seen = u.seen;
  for (uint32_t f = links_[user].first; f != 0; f = far_[f - 1].next) {
    s.last_seen = std::max(s.last_seen, far_[f - 1].last_seen);
  }
  if (s.status == Status::kOffline) return s;
  const FarRow* const far = chooser(user);
  s.text = far == nullptr ? text(user)
                          : std::string_view{
                                far_texts_.data() + size_t(far - far_.data()) * kStatusTextBytesMax,
                                far->text_bytes};
  return s;
}

bool PresenceHome::differs(const User& u) const {
  const Status status = status_of(u);
  return status != u.sent || (status != Status::kOffline && u.version != u.sent_version);
}

bool PresenceHome::waits(User& u, base::Instant now) const {
  if (u.gone_ns == 0) u.gone_ns = now.ns;
  return now.ns - u.gone_ns < limits_.offline_delay.ns;
}

void PresenceHome::mark_sent(User& u, base::Instant now) {
  u.sent = status_of(u);
  u.sent_version = u.version;
  u.sent_at_ns = now.ns;
}

void PresenceHome::note_first(uint32_t user, base::Instant now) {
  User& u = users_[user];
  if ((u.watchers & (u.watchers - 1)) == 0) {
    mark_sent(u, now);
  } else if (differs(u)) {
    // The others have not heard this yet, and never do when it becomes again what they know: then
    // it is to be said to the new one.
    u.sent = Status::kUnknown;
    if (u.queued != 0) return;
    u.queued = 1;
    changed_[changed_count_++] = user;
  }
}

void PresenceHome::resend(uint32_t user) {
  User& u = users_[user];
  u.sent = Status::kUnknown;  // differs from all that is shown
  note_own(user);
  if (u.queued != 0) return;
  u.queued = 1;
  changed_[changed_count_++] = user;
}

void PresenceHome::forget(std::string_view user) {
  const uint32_t row = names_.find(user);
  if (row == kNone) return;
  User& u = users_[row];
  const std::string_view none;
  set(row, Status::kOnline, &none, 0);
  std::memset(texts_.data() + size_t{row} * kStatusTextBytesMax, 0, kStatusTextBytesMax);
  u.seen = 0;
}

void PresenceHome::begin_change(const User& u) {
  if (u.connections == 0) return;
  --population_.users;
  --population_.shown[static_cast<uint32_t>(status_of(u))];
}

void PresenceHome::end_change(uint32_t user, Status before, base::UnixMs now) {
  User& u = users_[user];
  const Status after = status_of(u);
  if (u.connections != 0) {
    ++population_.users;
    ++population_.shown[static_cast<uint32_t>(after)];
  }
  // The time when it was last to be seen, not when it was last here.
  if (before != Status::kOffline || after != Status::kOffline) u.seen = now;
  if (u.watchers != 0 && u.queued == 0 && differs(u)) {
    u.queued = 1;
    changed_[changed_count_++] = user;
  }
  relist(user);
}

uint32_t PresenceHome::come(std::string_view user, Place place, base::UnixMs now) {
  const uint32_t row = open(user);
  if (row == kNone) return kNone;
  User& u = users_[row];
  const Status before = status_of(u);
  begin_change(u);
  if (u.connections == 0 && u.chosen != Status::kInvisible) u.chosen = Status::kOnline;
  u.gone_ns = 0;
  if (++u.connections == 1) note_own(row);
  if (u.place_count < kUserConnectionsMax) at(row, u.place_count++) = place;
  end_change(row, before, now);
  return row;
}

void PresenceHome::go(std::string_view user, Place place, base::UnixMs now) {
  const uint32_t row = names_.find(user);
  if (row == kNone || users_[row].connections == 0) return;  // there was no room when it came
  User& u = users_[row];
  const Status before = status_of(u);
  begin_change(u);
  if (--u.connections == 0) note_own(row);
  for (uint32_t i = 0; i < u.place_count; ++i) {
    Place& known = at(row, i);
    if (known.shard != place.shard || known.connection != place.connection) continue;
    known = at(row, --u.place_count);
    break;
  }
  end_change(row, before, now);
}

Status PresenceHome::set(uint32_t user, Status status, const std::string_view* text,
                         base::UnixMs now) {
  User& u = users_[user];
  const Status before = status_of(u);
  const Status chosen = u.chosen;
  begin_change(u);
  if (status != Status::kUnknown) u.chosen = status;
  if (text != nullptr && *text != this->text(user)) {
    TG_ASSERT(text->size() <= kStatusTextBytesMax);
    u.text_bytes = static_cast<uint8_t>(text->size());
    if (!text->empty()) {
      std::memcpy(texts_.data() + size_t{user} * kStatusTextBytesMax, text->data(), text->size());
    }
    ++u.version;
  }
  links_[user].chosen_ms = now;
  note_own(user);
  end_change(user, before, now);
  return chosen;
}

PresenceHome::Saved PresenceHome::save(uint32_t user) const {
  const User& u = users_[user];
  return {u.chosen, text(user), u.seen, u.watchers, u.connections, u.queued != 0};
}

bool PresenceHome::restore(std::string_view user, const Saved& saved, base::Instant now) {
  const uint32_t row = open(user);
  if (row == kNone || saved.text.size() > kStatusTextBytesMax) return false;
  User& u = users_[row];
  u.chosen = saved.chosen;
  u.connections = saved.connections;
  u.watchers = saved.watchers;
  u.seen = saved.seen;
  u.text_bytes = static_cast<uint8_t>(saved.text.size());
  if (!saved.text.empty()) {
    std::memcpy(texts_.data() + size_t{row} * kStatusTextBytesMax, saved.text.data(),
                saved.text.size());
  }
  ++u.version;
  mark_sent(u, now);
  if (u.connections != 0) {
    ++population_.users;
    ++population_.shown[static_cast<uint32_t>(status_of(u))];
  }
  if (saved.pending) resend(row);
  relist(row);
  return true;
}

void PresenceHome::restore_place(std::string_view user, Place place) {
  const uint32_t row = names_.find(user);
  if (row == kNone) return;
  User& u = users_[row];
  if (u.place_count < kUserConnectionsMax) at(row, u.place_count++) = place;
}

uint32_t PresenceHome::watch(std::string_view user, uint32_t shard) {
  const uint32_t row = open(user);
  if (row == kNone) return kNone;
  users_[row].watchers |= uint64_t{1} << shard;
  relist(row);
  return row;
}

void PresenceHome::unwatch(std::string_view user, uint32_t shard) {
  const uint32_t row = names_.find(user);
  if (row == kNone) return;
  users_[row].watchers &= ~(uint64_t{1} << shard);
  relist(row);
}

// In the list, at its new end, when it may make room; else out of it.
void PresenceHome::relist(uint32_t user) {
  User& u = users_[user];
  if (u.listed != 0) {
    (u.older == kNone ? oldest_ : users_[u.older].newer) = u.newer;
    (u.newer == kNone ? newest_ : users_[u.newer].older) = u.older;
    u.listed = 0;
  }
  if (u.connections != 0 || u.watchers != 0) return;
  if (links_[user].gateways != 0 || links_[user].first != 0) return;
  u.listed = 1;
  u.older = newest_;
  u.newer = kNone;
  (newest_ == kNone ? oldest_ : users_[newest_].newer) = user;
  newest_ = user;
}

}  // namespace tidegate::session
