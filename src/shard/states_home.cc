// SPDX-License-Identifier: Apache-2.0
// The home's side of keyed state: what is set and asked for, who hears of it.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "shard/shard.h"
#include "shard/states.h"
#include "wire/envelope.h"
#include "wire/quantise.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using state::Reason;
using state::Scope;
using state::StateHome;

namespace {

constexpr uint32_t kOrphanTicks = 64;  // between two looks for states of sessions that ended

// Parts of a tail, one behind the other. The sender's lengths are ours, so they fit.
class Tail {
 public:
  explicit Tail(base::Bytes bytes) : rest_(bytes) {}
  base::Bytes take(size_t n) {
    TG_ASSERT(n <= rest_.size());
    const base::Bytes part = rest_.first(n);
    rest_ = rest_.subspan(n);
    return part;
  }
  std::string_view text(size_t n) { return base::as_text(take(n)); }
  base::Bytes rest() const { return rest_; }

 private:
  base::Bytes rest_;
};

class TailWriter {
 public:
  explicit TailWriter(uint8_t* out) : begin_(out), at_(out) {}
  void put(base::Bytes bytes) {
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void put(std::string_view text) { put(base::as_bytes(text)); }
  uint32_t size() const { return static_cast<uint32_t>(at_ - begin_); }
  base::Bytes view() const { return {begin_, size()}; }

 private:
  uint8_t* begin_;
  uint8_t* at_;
};

bool is_name(std::string_view name) {
  return name.size() <= state::kPlayerBytesMax && wire::is_utf8(name);
}

uint64_t pack(uint32_t shard, base::ConnectionRef c) {
  // Never 0, which stands for nobody.
  return uint64_t{1} << 63 | uint64_t{shard} << 56 | uint64_t{c.slot} << 32 | c.generation;
}

// Key and receiver; false: they are none.
bool begin_mail(StateScope scope, std::string_view key, std::string_view player,
                const StateWorld& world, StateMail* out) {
  const bool alone = scope == StateScope::kSession || scope == StateScope::kView;
  if (scope > StateScope::kView || !state::is_key(key) || !wire::is_utf8(key) || !is_name(player) ||
      alone == player.empty()) {
    return false;
  }
  out->home =
      alone ? world::home_of(player, world.shards).value : state::home_of_key(key, world.shards);
  out->set.scope = static_cast<uint8_t>(scope);
  out->set.key_bytes = static_cast<uint8_t>(key.size());
  out->set.player_bytes = static_cast<uint8_t>(player.size());
  return true;
}

}  // namespace

SendResult plan_state(const StateSpec& spec, const StateWorld& world, StateMail* out) {
  out->set = {};
  constexpr float kFar = 100'000;
  if (spec.rule > StateRule::kOwner || !is_name(spec.owner) ||
      !begin_mail(spec.scope, spec.key, spec.player, world, out)) {
    return SendResult::kRange;
  }
  if (spec.value.size > kStateValueBytesMax) return SendResult::kTooLarge;
  mailbox::StateSet& set = out->set;
  if (spec.scope == StateScope::kPlace) {
    const Position& p = spec.position;
    const float radius = spec.radius == 0 ? world.view_distance : spec.radius;
    if (!(std::fabs(p.x) <= kFar) || !(std::fabs(p.y) <= kFar) || !(std::fabs(p.z) <= kFar) ||
        !(radius > 0 && radius <= kFar)) {
      return SendResult::kRange;
    }
    set.position[0] = wire::to_steps(p.x, world.position_step);
    set.position[1] = wire::to_steps(p.y, world.position_step);
    set.position[2] = wire::to_steps(p.z, world.position_step);
    set.radius = static_cast<uint32_t>(radius / world.position_step);
  }
  set.rule = static_cast<uint8_t>(spec.rule);
  set.lifetime_ms = spec.lifetime_ms;
  set.hold_ms = spec.hold_ms;
  set.owner_bytes = static_cast<uint8_t>(spec.owner.size());
  set.value_bytes = static_cast<uint16_t>(spec.value.size);
  TailWriter tail(out->tail);
  tail.put(spec.key);
  tail.put(spec.player);
  tail.put(spec.owner);
  tail.put({static_cast<const uint8_t*>(spec.value.data), spec.value.size});
  out->tail_bytes = tail.size();
  return SendResult::kOk;
}

SendResult plan_state_removal(StateScope scope, std::string_view key, std::string_view player,
                              const StateWorld& world, StateMail* out) {
  out->set = {};
  if (!begin_mail(scope, key, player, world, out)) return SendResult::kRange;
  out->set.remove = 1;
  TailWriter tail(out->tail);
  tail.put(key);
  tail.put(player);
  out->tail_bytes = tail.size();
  return SendResult::kOk;
}

uint32_t States::ticks_of(uint32_t ms) const {
  const uint64_t ticks = (uint64_t{ms} * shard_.config_.world.tick_rate + 999) / 1000;
  return static_cast<uint32_t>(std::min<uint64_t>(ticks, INT32_MAX));
}

void States::on_set(base::Bytes bytes) {
  base::Bytes rest;
  const auto set = read_message<mailbox::StateSet>(bytes, &rest);
  Tail tail(rest);
  const std::string_view key = tail.text(set.key_bytes);
  const std::string_view player = tail.text(set.player_bytes);
  const uint32_t tick = shard_.barrier_.tick();
  const auto scope = static_cast<Scope>(set.scope);
  uint32_t row = home_.find(player, key);
  if (set.remove != 0) {
    if (row == StateHome::kNone || home_.row(row).scope != scope) return;
    spread(row, true);
    home_.erase(row);
    return;
  }
  state::Row to{};
  to.scope = scope;
  to.rule = static_cast<state::Rule>(set.rule);
  std::memcpy(to.position, set.position, sizeof to.position);
  to.radius = set.radius;
  to.hold_ticks = set.hold_ms != 0 ? ticks_of(set.hold_ms) : 0;
  if (set.lifetime_ms != 0) {
    // 0 stands for never.
    to.expires_tick = tick + std::max(1u, ticks_of(set.lifetime_ms));
    if (to.expires_tick == 0) to.expires_tick = 1;
  }
  const bool fits = to.owner.set(tail.text(set.owner_bytes)) && to.value.set(tail.rest());
  TG_ASSERT(fits);
  if (scope == Scope::kSession) {
    to.holder = shard_.sessions_.session_of(player);
  } else if (scope == Scope::kView) {
    const world::DirectoryEntry* entry = shard_.directory_.find(player);
    if (entry != nullptr && entry->connection.valid()) {
      to.holder = pack(entry->connection_shard.value, entry->connection);
    }
  }
  if (state::is_private(scope) && to.holder == 0) {
    shard_.counters_.add(Counter::kStatesRefused, 1);  // nobody there who would see it
    return;
  }
  // Of one key there is one state: another scope or holder is another state in its place.
  if (row != StateHome::kNone && home_.row(row).scope != scope) spread(row, true);
  row = home_.put(player, key, to, tick);
  if (row == StateHome::kNone) {
    shard_.counters_.add(Counter::kStatesRefused, 1);
    return;
  }
  shard_.counters_.add(Counter::kStateChanges, 1);
  spread(row, false);
}

void States::on_asked(uint32_t from, base::Bytes bytes) {
  base::Bytes rest;
  const auto asked = read_message<mailbox::StateAsked>(bytes, &rest);
  Tail tail(rest);
  state::Change change{};
  change.tick = asked.tick;
  change.request = asked.request;
  change.connection = asked.connection;
  change.connection_shard = static_cast<uint16_t>(from);
  change.scope = static_cast<Scope>(asked.scope);
  change.operation = static_cast<state::Operation>(asked.operation);
  change.base_version = asked.base_version;
  std::memcpy(change.position, asked.position, sizeof change.position);
  change.refused = asked.refused;
  const bool fits = change.key.set(tail.text(asked.key_bytes)) &&
                    change.player.set(tail.text(asked.player_bytes)) &&
                    change.value.set(tail.rest());
  TG_ASSERT(fits);
  if (!home_.queue(change)) answer_home(change, StateHome::kNone, Reason::kBusy, false);
}

// What the game has to say to it.
Reason States::judge(const state::Change& change, uint32_t row, Reason by_rule, bool* disconnect) {
  *disconnect = false;
  const HookTable* hooks = shard_.config_.hooks;
  if (hooks == nullptr || hooks->state_attempt == nullptr) return by_rule;
  StateAttempt attempt;
  attempt.player = change.player.text();
  attempt.key = change.key.text();
  attempt.scope = static_cast<StateScope>(change.scope);
  attempt.operation = static_cast<StateOperation>(change.operation);
  attempt.wanted = {change.value.bytes().data(), change.value.bytes().size()};
  if (row != StateHome::kNone) {
    const state::Row& r = home_.row(row);
    attempt.value = {r.value.bytes().data(), r.value.bytes().size()};
    attempt.owner = r.owner.text();
    attempt.version = r.version;
  }
  attempt.reason = static_cast<StateReason>(by_rule);
  attempt.refused = change.refused + (by_rule != Reason::kApplied ? 1 : 0);
  attempt.tick = change.tick;
  const base::Instant started = shard_.io_.now();
  const Guarded<StateVerdict> said = hooks->state_attempt(hooks->user, attempt);
  const base::Duration took = shard_.io_.now() - started;
  shard_.counters_.record(metrics::Timing::kHook, took);
  if (took > shard_.config_.handler_budget) shard_.counters_.add(Counter::kHookOverBudget, 1);
  if (said.failed) {
    shard_.counters_.add(Counter::kHookFailures, 1);
    return by_rule == Reason::kApplied ? Reason::kRefused : by_rule;
  }
  *disconnect = said.value == StateVerdict::kDisconnect;
  if (said.value == StateVerdict::kApply) {
    // A state that is not there, or not of this scope, has nothing to apply it to.
    return row == StateHome::kNone || by_rule == Reason::kUnknown ? Reason::kUnknown
                                                                  : Reason::kApplied;
  }
  if (said.value == StateVerdict::kRefuse || *disconnect) {
    return by_rule == Reason::kApplied ? Reason::kRefused : by_rule;
  }
  return by_rule;
}

void States::answer_home(const state::Change& change, uint32_t row, Reason reason,
                         bool disconnect) {
  mailbox::StateAnswered answered{};
  answered.connection = change.connection;
  answered.request = change.request;
  answered.scope = static_cast<uint8_t>(change.scope);
  answered.reason = static_cast<uint8_t>(reason);
  answered.disconnect = disconnect ? 1 : 0;
  answered.key_bytes = static_cast<uint8_t>(change.key.text().size());
  uint8_t bytes[StateMail::kTailBytesMax];
  TailWriter tail(bytes);
  tail.put(change.key.bytes());
  if (row != StateHome::kNone) {
    const state::Row& r = home_.row(row);
    answered.version = r.version;
    answered.expires_tick = r.expires_tick;
    answered.owner_bytes = static_cast<uint8_t>(r.owner.text().size());
    tail.put(r.owner.bytes());
    tail.put(r.value.bytes());
  }
  shard_.outbox_.post(change.connection_shard, answered, tail.view());
}

void States::run_home(uint32_t tick) {
  home_.expire(
      tick,
      [this](uint32_t row) {
        shard_.counters_.add(Counter::kStatesExpired, 1);
        spread(row, true);
      },
      [this](uint32_t row) { spread(row, false); });
  if (home_.waiting() != 0) {
    bool disconnect = false;
    home_.decide(
        tick,
        [&](const state::Change& change, uint32_t row, Reason by_rule) {
          return judge(change, row, by_rule, &disconnect);
        },
        [&](const state::Change& change, uint32_t row, Reason reason) {
          if (reason == Reason::kApplied) {
            shard_.counters_.add(Counter::kStateChanges, 1);
            spread(row, false);
          } else {
            const bool race = reason == Reason::kStale || reason == Reason::kTaken;
            shard_.counters_.add(race ? Counter::kStateConflicts : Counter::kStateRefusals, 1);
          }
          // What the client does not see it is not told either.
          const bool seen = reason != Reason::kUnknown && reason != Reason::kTooFar;
          answer_home(change, seen ? row : StateHome::kNone, reason, disconnect);
        });
  }
  if (tick % kOrphanTicks == 0) drop_orphans();
}

// Session states whose session has ended. Nobody is to be told: a later session never saw them.
void States::drop_orphans() {
  for (uint32_t r = home_.shared_limit(); r < home_.end(); ++r) {
    if (!home_.used(r) || home_.row(r).scope != Scope::kSession) continue;
    if (shard_.sessions_.session_of(home_.player(r)) != home_.row(r).holder) home_.erase(r);
  }
}

void States::spread(uint32_t row, bool removed) {
  if (row >= home_.shared_limit()) {
    tell_player(row, removed);
    return;
  }
  const state::Row& r = home_.row(row);
  mailbox::StateShown shown{};
  shown.version = r.version;
  shown.row = row;
  shown.expires_tick = r.expires_tick;
  std::memcpy(shown.position, r.position, sizeof shown.position);
  shown.radius = r.radius;
  shown.scope = static_cast<uint8_t>(r.scope);
  shown.removed = removed ? 1 : 0;
  uint8_t bytes[StateMail::kTailBytesMax];
  TailWriter tail(bytes);
  if (!removed) {
    const std::string_view key = home_.key(row);
    shown.key_bytes = static_cast<uint8_t>(key.size());
    shown.owner_bytes = static_cast<uint8_t>(r.owner.text().size());
    tail.put(key);
    tail.put(r.owner.bytes());
    tail.put(r.value.bytes());
  }
  for (uint32_t to = 0; to < shard_.config_.count; ++to) {
    shard_.outbox_.post(to, shown, tail.view());
  }
}

void States::tell_player(uint32_t row, bool removed) {
  const world::DirectoryEntry* entry = shard_.directory_.find(home_.player(row));
  if (entry == nullptr || !entry->connection.valid()) return;  // told when it comes back
  const state::Row& r = home_.row(row);
  wire::StateEntry out;
  out.key = home_.key(row);
  out.scope = static_cast<uint32_t>(r.scope);
  out.version = r.version;
  out.removed = removed;
  if (!removed) {
    out.value = r.value.bytes();
    out.owner = r.owner.text();
    out.expires_in_ms = milliseconds_left(r.expires_tick, shard_.barrier_.tick());
  }
  uint8_t bytes[wire::kStateEntryBytesMax + 32];
  wire::PbWriter update(bytes);
  update.varint(wire::kStateUpdateTick, shard_.barrier_.tick());
  const size_t mark = update.begin(wire::kStateUpdateEntries);
  encode(update, out);
  update.end(mark);
  TG_ASSERT(!update.overflow());
  shard_.outbox_.post(entry->connection_shard.value, mailbox::StateTold{entry->connection},
                      update.written());
}

void States::on_login(std::string_view player, uint32_t shard, base::ConnectionRef connection) {
  const uint64_t session = shard_.sessions_.session_of(player);
  const uint64_t view = pack(shard, connection);
  for (uint32_t r = home_.shared_limit(); r < home_.end(); ++r) {
    if (!home_.used(r) || home_.player(r) != player) continue;
    const state::Row& row = home_.row(r);
    if (row.holder == (row.scope == Scope::kSession ? session : view)) {
      tell_player(r, false);
    } else {
      home_.erase(r);  // of the session or connection before
    }
  }
}

void States::on_logout(std::string_view player, uint32_t shard, base::ConnectionRef connection) {
  const uint64_t view = pack(shard, connection);
  for (uint32_t r = home_.shared_limit(); r < home_.end(); ++r) {
    if (!home_.used(r) || home_.row(r).scope != Scope::kView) continue;
    if (home_.row(r).holder == view && home_.player(r) == player) home_.erase(r);
  }
}

}  // namespace tidegate::shard
