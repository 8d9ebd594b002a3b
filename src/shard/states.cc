// SPDX-License-Identifier: Apache-2.0
// The connections' side of keyed state: what clients ask for, and what they are told.
#include "shard/states.h"

#include <algorithm>
#include <cstring>

#include "shard/shard.h"
#include "wire/envelope.h"
#include "wire/quantise.h"

namespace tidegate::shard {

using mailbox::MessageType;
using mailbox::read_message;
using metrics::Counter;
using metrics::Gauge;
using state::Reason;
using state::Scope;

namespace {
// With more than this waiting for its socket a connection is not looked at: later it gets the
// newest of each state only.
constexpr uint32_t kBacklogMost = 16 * 1024;
constexpr uint32_t kUpdateBytes = 8 * 1024;  // of one STATE_UPDATE
}  // namespace

States::States(Shard& shard, const state::StateLimits& limits, uint32_t slots)
    : shard_(shard),
      home_(limits),
      board_(limits.entries * shard.config_.count, slots),
      home_rows_(limits.entries),
      slots_(slots) {}

SendResult States::set(const StateSpec& spec) {
  StateMail mail;
  const world::WorldConfig& w = shard_.config_.world;
  const SendResult planned =
      plan_state(spec, {shard_.config_.count, w.position_step, w.view_distance}, &mail);
  if (planned != SendResult::kOk) return planned;
  return shard_.mailbox_.post(mail.home, mail.set, mail.tail_view()) ? SendResult::kOk
                                                                     : SendResult::kBusy;
}

SendResult States::remove(StateScope scope, std::string_view key, std::string_view player) {
  StateMail mail;
  const world::WorldConfig& w = shard_.config_.world;
  const SendResult planned = plan_state_removal(
      scope, key, player, {shard_.config_.count, w.position_step, w.view_distance}, &mail);
  if (planned != SendResult::kOk) return planned;
  return shard_.mailbox_.post(mail.home, mail.set, mail.tail_view()) ? SendResult::kOk
                                                                     : SendResult::kBusy;
}

void States::on_mail(uint32_t from, MessageType type, base::Bytes bytes) {
  switch (type) {
    case MessageType::kStateSet:
      return on_set(bytes);
    case MessageType::kStateAsked:
      return on_asked(from, bytes);
    case MessageType::kStateAnswered:
      return on_answered(bytes);
    case MessageType::kStateShown:
      return on_shown(from, bytes);
    case MessageType::kStateTold:
      return on_told(bytes);
    default:
      TG_ASSERT(!"not a message about keyed state");
  }
}

Handled States::on_change(uint32_t slot, const wire::Envelope& message) {
  wire::StateChange change;
  if (!wire::decode(message.payload, &change) || !state::is_key(change.key) ||
      change.scope > static_cast<uint32_t>(Scope::kView)) {
    return Handled::kInvalid;
  }
  const Player& player = shard_.players_[slot];
  if (!player.entity.valid()) return Handled::kNotPermitted;  // the state has not begun
  const std::string_view name = shard_.player_id(slot);
  // While a tick runs, its simulate phase lies behind or before us on this shard, and so does
  // what the home will have heard of when it decides.
  const uint32_t tick =
      shard_.barrier_.tick() + (shard_.barrier_.phase() == TickBarrier::Phase::kIdle ? 0 : 1);
  Slot& s = slots_[slot];
  if (s.tick != tick) {
    s.tick = tick;
    s.changes = 0;
  }
  wire::StateResult refusal;
  refusal.request = change.request;
  refusal.key = change.key;
  refusal.scope = change.scope;
  refusal.reason = static_cast<uint32_t>(Reason::kBusy);
  if (change.value.size() > state::kValueBytesMax ||
      change.operation > static_cast<uint32_t>(state::Operation::kRelease)) {
    refusal.reason = static_cast<uint32_t>(Reason::kInvalid);
    answer(slot, refusal);
    return Handled::kOk;
  }
  const auto scope = static_cast<Scope>(change.scope);
  mailbox::StateAsked asked{};
  asked.connection = shard_.endpoint_.ref(slot);
  asked.tick = tick;
  asked.request = change.request;
  asked.base_version = change.base_version;
  for (int i = 0; i < 3; ++i) asked.position[i] = player.position[i];
  asked.refused = s.refused;
  asked.scope = static_cast<uint8_t>(scope);
  asked.operation = static_cast<uint8_t>(change.operation);
  asked.key_bytes = static_cast<uint8_t>(change.key.size());
  asked.player_bytes = static_cast<uint8_t>(name.size());
  uint8_t tail[StateMail::kTailBytesMax];
  uint8_t* at = tail;
  for (const base::Bytes part : {base::as_bytes(change.key), base::as_bytes(name), change.value}) {
    if (!part.empty()) std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  const uint32_t home = state::is_private(scope)
                            ? world::home_of(name, shard_.config_.count).value
                            : state::home_of_key(change.key, shard_.config_.count);
  if (++s.changes > kStateChangesPerTick ||
      !shard_.mailbox_.post(home, asked, {tail, static_cast<size_t>(at - tail)})) {
    answer(slot, refusal);
  }
  return Handled::kOk;
}

void States::on_answered(base::Bytes bytes) {
  base::Bytes tail;
  const auto answered = read_message<mailbox::StateAnswered>(bytes, &tail);
  const uint32_t slot = shard_.endpoint_.find(answered.connection);
  if (slot == net::kNone || shard_.players_[slot].session == 0) return;  // it left meanwhile
  wire::StateResult result;
  result.request = answered.request;
  result.key = base::as_text(tail.first(answered.key_bytes));
  result.scope = answered.scope;
  result.reason = answered.reason;
  result.version = answered.version;
  if (answered.reason != 0 && answered.version != 0) {
    result.has_current = true;
    result.current.key = result.key;
    result.current.scope = answered.scope;
    result.current.version = answered.version;
    result.current.owner = base::as_text(tail.subspan(answered.key_bytes, answered.owner_bytes));
    result.current.value = tail.subspan(size_t{answered.key_bytes} + answered.owner_bytes);
    result.current.expires_in_ms = milliseconds_left(answered.expires_tick, shard_.barrier_.tick());
  }
  answer(slot, result);
  if (answered.disconnect != 0) {
    shard_.send_error(slot, wire::kErrorNotPermitted, "refused by the game", true);
    shard_.endpoint_.close(slot, 1008, "refused by the game", net::CloseCause::kServerClosed);
  }
}

// A race that was lost is nobody's fault; what no honest client asks for counts against it.
void States::answer(uint32_t slot, const wire::StateResult& result) {
  uint8_t bytes[2 * wire::kStateEntryBytesMax];
  wire::PbWriter out(bytes);
  encode(out, result);
  TG_ASSERT(!out.overflow());
  shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kStateResult), out.written());
  if (result.reason == 0) return;
  ++slots_[slot].refused;
  switch (static_cast<Reason>(result.reason)) {
    case Reason::kServerOnly:
    case Reason::kNotOwner:
    case Reason::kTooFar:
    case Reason::kInvalid:
      break;
    default:
      return;
  }
  shard_.counters_.add(Counter::kViolations, 1);
  if (shard_.players_[slot].violations.add(shard_.endpoint_.now_ms(),
                                           shard_.config_.violations_per_minute)) {
    shard_.send_error(slot, wire::kErrorNotPermitted, "too many refused changes", true);
    shard_.endpoint_.close(slot, 1008, "too many rejected messages",
                           net::CloseCause::kServerClosed);
  }
}

void States::on_shown(uint32_t from, base::Bytes bytes) {
  base::Bytes tail;
  const auto shown = read_message<mailbox::StateShown>(bytes, &tail);
  const uint32_t number = from * home_rows_ + shown.row;
  if (shown.removed != 0) {
    board_.remove(number);
    return;
  }
  state::BoardRow row{};
  row.version = shown.version;
  row.expires_tick = shown.expires_tick;
  std::memcpy(row.position, shown.position, sizeof row.position);
  row.radius = shown.radius;
  row.scope = static_cast<Scope>(shown.scope);
  const bool fits = row.key.set(tail.first(shown.key_bytes)) &&
                    row.owner.set(tail.subspan(shown.key_bytes, shown.owner_bytes)) &&
                    row.value.set(tail.subspan(size_t{shown.key_bytes} + shown.owner_bytes));
  TG_ASSERT(fits);
  board_.put(number, row);
}

void States::on_told(base::Bytes bytes) {
  base::Bytes payload;
  const auto told = read_message<mailbox::StateTold>(bytes, &payload);
  const uint32_t slot = shard_.endpoint_.find(told.connection);
  if (slot == net::kNone || shard_.players_[slot].session == 0) return;
  shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kStateUpdate), payload);
  shard_.counters_.add(Counter::kStateBytes, payload.size());
}

void States::on_enter(uint32_t slot) { board_.begin(slot); }

uint32_t States::milliseconds_left(uint32_t expires_tick, uint32_t tick) const {
  if (expires_tick == 0) return 0;
  const auto left = static_cast<int32_t>(expires_tick - tick);
  const int64_t ms = int64_t{std::max(left, 0)} * 1000 / shard_.config_.world.tick_rate;
  return static_cast<uint32_t>(std::max<int64_t>(ms, 1));  // 0 stands for never
}

void States::run_flush(uint32_t tick) {
  tick_ = tick;
  for (uint32_t slot = tick % kLookTicks; slot < shard_.players_end_; slot += kLookTicks) {
    const Player& player = shard_.players_[slot];
    if (player.state != session::State::kConnected || !player.entity.valid()) continue;
    if (board_.up_to_date(slot, player.position.data())) continue;
    if (!shard_.endpoint_.is_open(slot)) continue;
    if (shard_.endpoint_.hot(slot).backlog_bytes > kBacklogMost) continue;
    look(slot, tick);
  }
}

void States::look(uint32_t slot, uint32_t tick) {
  const Player& player = shard_.players_[slot];
  uint8_t bytes[kUpdateBytes];
  wire::PbWriter out(bytes);
  const auto begin = [&](uint32_t complete) {
    out = wire::PbWriter(bytes);
    out.varint(wire::kStateUpdateTick, tick);
    out.varint(wire::kStateUpdateComplete, complete);
  };
  const auto send = [&] {
    shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kStateUpdate),
                        out.written());
    shard_.counters_.add(Counter::kStateBytes, out.size());
    if (shard_.interest_.watching(slot)) {
      shard_.interest_.spend(slot, static_cast<uint32_t>(out.size()));
    }
  };
  begin(0);
  bool something = false;
  board_.look(
      slot, player.position.data(),
      [&] {
        constexpr uint32_t kAll =
            1u << static_cast<uint32_t>(Scope::kZone) | 1u << static_cast<uint32_t>(Scope::kPlace);
        begin(kAll);
        something = true;
      },
      [&](const state::BoardRow& row, bool shown) {
        if (kUpdateBytes - out.size() < wire::kStateEntryBytesMax + 16) {
          send();
          begin(0);
        }
        wire::StateEntry entry;
        entry.key = row.key.text();
        entry.scope = static_cast<uint32_t>(row.scope);
        entry.version = row.version;
        entry.removed = !shown;
        if (shown) {
          entry.value = row.value.bytes();
          entry.owner = row.owner.text();
          entry.expires_in_ms = milliseconds_left(row.expires_tick, tick);
          if (row.scope == Scope::kPlace) {
            const float step = shard_.config_.world.position_step;
            entry.has_position = true;
            entry.position = {wire::to_metres(row.position[0], step),
                              wire::to_metres(row.position[1], step),
                              wire::to_metres(row.position[2], step)};
          }
        }
        const size_t mark = out.begin(wire::kStateUpdateEntries);
        encode(out, entry);
        out.end(mark);
        TG_ASSERT(!out.overflow());
        something = true;
      });
  if (something) send();
}

void States::update_gauges() {
  shard_.counters_.set(Gauge::kStates, home_.count());
  shard_.counters_.set(Gauge::kStatesShown, board_.count());
}

}  // namespace tidegate::shard
