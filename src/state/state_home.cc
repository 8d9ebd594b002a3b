// SPDX-License-Identifier: Apache-2.0
#include "state/state_home.h"

#include <algorithm>

namespace tidegate::state {
namespace {

// Splits what NameTable keeps of a private state; a key has no control characters.
size_t separator(std::string_view name) { return name.rfind('\0'); }

// Of changes of one tick the one with the lower number comes first: another order each tick, known
// to nobody before.
uint64_t lot(const Change& c) {
  uint64_t h = session::hash_name(c.player.text()) ^
               (session::hash_name(c.key.text()) + uint64_t{c.tick} * 0x9e3779b97f4a7c15u);
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
  return h ^ (h >> 31);
}

bool within(const int32_t at[3], const Row& row) {
  const int64_t dx = int64_t{at[0]} - row.position[0];
  const int64_t dz = int64_t{at[2]} - row.position[2];
  return dx * dx + dz * dz <= int64_t{row.radius} * row.radius;
}

}  // namespace

bool is_key(std::string_view key) {
  return !key.empty() && key.size() <= kKeyBytesMax &&
         std::none_of(key.begin(), key.end(),
                      [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; });
}

uint32_t home_of_key(std::string_view key, uint32_t shards) {
  return session::home_shard(key, shards);
}

StateHome::StateHome(const StateLimits& limits)
    : shared_limit_(limits.entries),
      shared_(limits.entries, kKeyBytesMax),
      private_(limits.private_entries, kNameBytesMax),
      rows_(size_t{limits.entries} + limits.private_entries),
      changes_(limits.changes),
      order_(limits.changes) {}

uint32_t StateHome::find(std::string_view player, std::string_view key) const {
  if (player.empty()) return shared_.find(key);
  if (player.size() > kPlayerBytesMax || key.size() > kKeyBytesMax) return kNone;
  char name[kNameBytesMax];
  std::memcpy(name, player.data(), player.size());
  name[player.size()] = '\0';
  std::memcpy(name + player.size() + 1, key.data(), key.size());
  const uint32_t row = private_.find({name, player.size() + 1 + key.size()});
  return row == kNone ? kNone : shared_limit_ + row;
}

uint32_t StateHome::put(std::string_view player, std::string_view key, const Row& from,
                        uint32_t tick) {
  uint32_t row = find(player, key);
  uint64_t version = 0;
  if (row != kNone) {
    version = rows_[row].version;
  } else if (player.empty()) {
    row = shared_.insert(key);
  } else {
    if (player.size() > kPlayerBytesMax || key.size() > kKeyBytesMax) return kNone;
    char name[kNameBytesMax];
    std::memcpy(name, player.data(), player.size());
    name[player.size()] = '\0';
    std::memcpy(name + player.size() + 1, key.data(), key.size());
    row = private_.insert({name, player.size() + 1 + key.size()});
    if (row != kNone) row += shared_limit_;
  }
  if (row == kNone) return kNone;
  Row& to = rows_[row];
  to = from;
  to.version = version;
  to.held_until = !to.owner.empty() && to.hold_ticks != 0 ? tick + to.hold_ticks : 0;
  renew(to, tick);
  note_expiry(to);
  return row;
}

void StateHome::erase(uint32_t row) {
  if (row < shared_limit_) {
    shared_.erase(row);
  } else {
    private_.erase(row - shared_limit_);
  }
}

std::string_view StateHome::key(uint32_t row) const {
  if (row < shared_limit_) return shared_.name(row);
  const std::string_view name = private_.name(row - shared_limit_);
  return name.substr(separator(name) + 1);
}

std::string_view StateHome::player(uint32_t row) const {
  if (row < shared_limit_) return {};
  const std::string_view name = private_.name(row - shared_limit_);
  return name.substr(0, separator(name));
}

bool StateHome::used(uint32_t row) const {
  return row < shared_limit_ ? shared_.used(row) : private_.used(row - shared_limit_);
}

// One more; after a removal higher than all before as long as a state does not change more than 256
// times a tick on average.
void StateHome::renew(Row& row, uint32_t tick) {
  row.version = std::max(row.version + 1, uint64_t{tick} << 8);
}

void StateHome::note_expiry(const Row& row) {
  for (const uint32_t tick : {row.expires_tick, row.held_until}) {
    if (tick == 0) continue;
    if (next_expiry_ == 0 || static_cast<int32_t>(tick - next_expiry_) < 0) next_expiry_ = tick;
  }
}

bool StateHome::queue(const Change& change) {
  if (change_count_ == changes_.size()) return false;
  changes_[change_count_++] = change;
  return true;
}

uint32_t StateHome::sort_due(uint32_t tick) {
  uint32_t due = 0;
  for (uint32_t i = 0; i < change_count_; ++i) {
    if (static_cast<int32_t>(tick - changes_[i].tick) >= 0) order_[due++] = i;
  }
  std::sort(order_.data(), order_.data() + due, [this](uint32_t a, uint32_t b) {
    const Change& x = changes_[a];
    const Change& y = changes_[b];
    if (x.tick != y.tick) return static_cast<int32_t>(x.tick - y.tick) < 0;
    const uint64_t p = lot(x);
    const uint64_t q = lot(y);
    return p != q ? p < q : a < b;  // of one player: as it sent them
  });
  return due;
}

void StateHome::drop_due(uint32_t tick) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < change_count_; ++i) {
    if (static_cast<int32_t>(tick - changes_[i].tick) >= 0) continue;
    if (kept != i) changes_[kept] = changes_[i];
    ++kept;
  }
  change_count_ = kept;
}

Reason StateHome::rule_says(const Change& change, uint32_t row) const {
  if (row == kNone) return Reason::kUnknown;
  const Row& r = rows_[row];
  if (r.scope != change.scope) return Reason::kUnknown;
  if (r.rule == Rule::kServer) return Reason::kServerOnly;
  if (r.scope == Scope::kPlace && !within(change.position, r)) return Reason::kTooFar;
  const std::string_view player = change.player.text();
  const bool owns = is_private(r.scope) || r.owner.text() == player;
  if (r.rule == Rule::kFirst) {
    if (!owns && !r.owner.empty()) return Reason::kTaken;
    if (change.operation != Operation::kClaim && (!owns || r.owner.empty())) {
      return Reason::kNotOwner;
    }
  } else if (change.operation != Operation::kSet) {
    return Reason::kInvalid;
  }
  if (r.rule == Rule::kOwner && !owns) return Reason::kNotOwner;
  const bool compares = r.rule == Rule::kVersion || change.base_version != 0;
  return compares && change.base_version != r.version ? Reason::kStale : Reason::kApplied;
}

void StateHome::apply(const Change& change, uint32_t row, uint32_t tick) {
  if (row == kNone) return;
  Row& r = rows_[row];
  switch (change.operation) {
    case Operation::kSet:
      r.value = change.value;
      break;
    case Operation::kClaim:
      r.owner = change.player;
      r.held_until = r.hold_ticks != 0 ? tick + r.hold_ticks : 0;
      if (!change.value.empty()) r.value = change.value;
      break;
    case Operation::kRelease:
      r.owner.clear();
      r.held_until = 0;
      if (!change.value.empty()) r.value = change.value;
      break;
  }
  renew(r, tick);
  note_expiry(r);
}

}  // namespace tidegate::state
