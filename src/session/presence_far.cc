// SPDX-License-Identifier: Apache-2.0
// Presence of users who are, or are watched, at several gateways. Each gateway says of a user what
// holds for its own connections; a watching one shows all of them together: there, when connected
// anywhere, with the status and text that were chosen last.
#include <algorithm>
#include <cstring>

#include "session/presence_home.h"

namespace tidegate::session {

// The gateway whose choice counts; nullptr: our own does.
const PresenceHome::FarRow* PresenceHome::chooser(uint32_t user) const {
  const User& u = users_[user];
  const FarRow* best = nullptr;
  base::UnixMs at = u.connections != 0 ? links_[user].chosen_ms : -1;
  for (uint32_t f = links_[user].first; f != 0; f = far_[f - 1].next) {
    const FarRow& row = far_[f - 1];
    if (row.connected == 0 || row.chosen_ms <= at) continue;
    best = &row;
    at = row.chosen_ms;
  }
  return best;
}

bool PresenceHome::present(const User& u) const {
  if (u.connections != 0) return true;
  for (uint32_t f = links_[row_of(u)].first; f != 0; f = far_[f - 1].next) {
    if (far_[f - 1].connected != 0) return true;
  }
  return false;
}

PresenceHome::Far PresenceHome::own(uint32_t user) const {
  const User& u = users_[user];
  return {u.seen, links_[user].chosen_ms, u.chosen, u.connections != 0, text(user)};
}

void PresenceHome::note_own(uint32_t user) {
  Link& link = links_[user];
  if (link.gateways == 0 || link.queued != 0) return;
  link.queued = 1;
  far_changed_[far_changed_count_++] = user;
}

void PresenceHome::hold(uint32_t user, base::Instant now, base::Duration time) {
  links_[user].hold_ns = (now + time).ns;
}

uint32_t PresenceHome::watch_from(std::string_view user, uint32_t gateway) {
  const uint32_t row = open(user);
  if (row == kNone) return kNone;
  links_[row].gateways |= uint64_t{1} << gateway;
  relist(row);
  return row;
}

void PresenceHome::unwatch_from(std::string_view user, uint32_t gateway) {
  const uint32_t row = names_.find(user);
  if (row == kNone || links_[row].gateways == 0) return;
  links_[row].gateways &= ~(uint64_t{1} << gateway);
  relist(row);
}

void PresenceHome::set_far(uint32_t user, uint32_t gateway, const Far& far, base::UnixMs now) {
  User& u = users_[user];
  const Status before = status_of(u);
  uint32_t row = links_[user].first;
  while (row != 0 && far_[row - 1].gateway != gateway) row = far_[row - 1].next;
  begin_change(u);
  // Invisible outlives the connection: that it was chosen elsewhere, or given up, is taken along.
  if (far.chosen_ms > links_[user].chosen_ms &&
      (far.chosen == Status::kInvisible || u.chosen == Status::kInvisible)) {
    u.chosen = far.chosen == Status::kInvisible ? far.chosen : Status::kOnline;
    links_[user].chosen_ms = far.chosen_ms;
  }
  const bool fresh = row == 0;
  if (fresh && far_free_ != 0) {
    row = far_free_;
    far_free_ = far_[row - 1].next;
  } else if (fresh && far_used_ < far_.size()) {
    row = ++far_used_;
  } else if (fresh) {
    end_change(user, before, now);
    return;
  }
  FarRow& r = far_[row - 1];
  if (fresh) {
    r = FarRow{};
    r.user = user;
    r.gateway = static_cast<uint8_t>(gateway);
    r.next = links_[user].first;
    links_[user].first = row;
    u.sent_at_ns = 0;  // the first word of a gateway does not wait
  }
  r.last_seen = far.last_seen;
  r.chosen_ms = far.chosen_ms;
  r.chosen = far.chosen;
  r.connected = far.connected ? 1 : 0;
  r.text_bytes = static_cast<uint8_t>(std::min<size_t>(far.text.size(), kStatusTextBytesMax));
  char* const text = far_texts_.data() + size_t{row - 1} * kStatusTextBytesMax;
  if (r.text_bytes != 0) std::memcpy(text, far.text.data(), r.text_bytes);
  ++u.version;
  if (far.connected) u.gone_ns = 0;
  end_change(user, before, now);
}

void PresenceHome::free_far(uint32_t user, uint32_t row) {
  uint32_t* link = &links_[user].first;
  while (*link != row) link = &far_[*link - 1].next;
  *link = far_[row - 1].next;
  far_[row - 1] = FarRow{};
  far_[row - 1].user = kNone;
  far_[row - 1].next = far_free_;
  far_free_ = row;
}

void PresenceHome::forget_far(uint32_t user, base::UnixMs now) {
  if (links_[user].first == 0) return;
  User& u = users_[user];
  const Status before = status_of(u);
  begin_change(u);
  while (links_[user].first != 0) free_far(user, links_[user].first);
  end_change(user, before, now);
}

void PresenceHome::keep_gateways(uint64_t kept, base::UnixMs now) {
  for (uint32_t row = 0; row < names_.high_water(); ++row) {
    if (!names_.used(row) || (links_[row].gateways & ~kept) == 0) continue;
    links_[row].gateways &= kept;
    relist(row);
  }
  for (uint32_t row = 1; row <= far_used_; ++row) {
    const FarRow& r = far_[row - 1];
    if (r.user == kNone || (kept >> r.gateway & 1) != 0) continue;
    const uint32_t user = r.user;
    User& u = users_[user];
    const Status before = status_of(u);
    begin_change(u);
    free_far(user, row);
    end_change(user, before, now);
  }
}

}  // namespace tidegate::session
