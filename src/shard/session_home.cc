// SPDX-License-Identifier: Apache-2.0
#include "shard/session_home.h"

#include <algorithm>
#include <cstring>

#include "world/directory.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using metrics::Family;
using session::Session;
using session::SessionTable;

namespace {
// What another gateway went on with is not what was done here: each coming has its own effects.
uint64_t effect_of(const Session& s, uint64_t origin) {
  const uint64_t effect = origin ^ (s.coming * 0x9e3779b97f4a7c15u);
  return effect == 0 ? 1 : effect;
}

constexpr uint32_t kExpiriesPerTurn = 64;
constexpr uint32_t kReleasesPerTurn = 2048;
// Parked sessions that are given up for one message when the memory of all logs is used up.
constexpr uint32_t kGivenUpMax = 8;
}  // namespace

SessionHome::SessionHome(const SessionConfig& config, uint32_t shard, mailbox::Mailbox& mailbox,
                         Outbox& outbox, metrics::Counters& counters)
    : config_(config),
      shard_(shard),
      mailbox_(mailbox),
      outbox_(outbox),
      counters_(counters),
      table_(config.limit),
      logs_(config.replay),
      journal_(config.stored, config.shared, mailbox.control(), outbox, counters),
      stalled_(config.limit),
      claims_(config.shared ? kClaimBuckets : 0),
      forwarded_(config.shared ? kClaimBuckets : 0) {}

uint32_t SessionHome::find(std::string_view player) const {
  return table_.find(player, world::hash_player_id(player));
}

uint64_t SessionHome::session_of(std::string_view player) const {
  const uint32_t row = find(player);
  return row == session::SessionTable::kNone ? 0 : table_.at(row).id;
}

void SessionHome::on_left(base::Bytes bytes, base::Instant now, uint32_t now_s) {
  base::Bytes tail;
  const auto left = read_message<mailbox::SessionLeft>(bytes, &tail);
  const uint32_t row = find(base::as_text(tail));
  if (row == SessionTable::kNone) return;
  Session& s = table_.at(row);
  if (s.id != left.session || s.connection != left.connection ||
      s.connection_shard.value != left.connection_shard) {
    return;  // ended, or another connection has it
  }
  s.received = std::max(s.received, left.received);
  s.connection = {};
  s.seen_s = now_s;
  if (left.ends != 0) {
    end(row, static_cast<session::End>(left.end));
    return;
  }
  table_.parked(row);
  journal_.update(row, s);
  store_received(row, now);
}

// Nothing from the client is acknowledged before the store knows that it came.
void SessionHome::store_received(uint32_t row, base::Instant now) {
  Session& s = table_.at(row);
  if (s.received == s.received_safe) return;
  if (!journal_.progress(row, s, true, now)) release({row, s.id, s.received, true});
}

void SessionHome::on_progress(base::Bytes bytes, base::Instant now) {
  base::Bytes tail;
  const auto progress = read_message<mailbox::SessionProgress>(bytes, &tail);
  const uint32_t row = find(base::as_text(tail));
  if (row == SessionTable::kNone || table_.at(row).id != progress.session) return;
  Session& s = table_.at(row);
  if (s.connection != progress.connection ||
      s.connection_shard.value != progress.connection_shard) {
    return;  // the session went to another gateway and came back meanwhile: this was of before
  }
  const uint64_t received_before = s.received;
  const uint64_t acked_before = s.log.acked;
  s.received = std::max(s.received, progress.received);
  if (progress.confirmed != 0 && s.nonce_before != 0) {
    s.nonce_before = 0;
    s.restored = 0;
    journal_.update(row, s);
  }
  // It may name what only an older connection had sent: it has arrived all the same.
  uint64_t ack = std::min(progress.acked, s.log.last());
  while (s.log.last_sent() < ack) logs_.advance(s.log);
  replay_messages_ -= logs_.acknowledge(s.log, ack);
  if (s.received != received_before) {
    store_received(row, now);
  } else if (s.log.acked != acked_before) {
    (void)journal_.progress(row, s, false, now);
  }
  pump(row);
}

void SessionHome::on_send(base::Bytes bytes, base::Instant now) {
  base::Bytes tail;
  const auto send = read_message<mailbox::SessionSend>(bytes, &tail);
  const std::string_view player = base::as_text(tail.first(send.player_bytes));
  const base::Bytes payload = tail.subspan(send.player_bytes);
  const uint32_t row = find(player);
  if (config_.shared && forward(player, send, payload)) return;
  if (row == SessionTable::kNone || (send.session != 0 && send.session != table_.at(row).id)) {
    counters_.add(Counter::kAcknowledgedNoSession, 1);
    return;
  }
  append(row, send.message_type, send.origin, payload, now, send.session == 0);
}

void SessionHome::append(uint32_t row, uint32_t type, uint64_t origin, base::Bytes payload,
                         base::Instant now, bool for_player) {
  if (origin != 0 && effects_.contains(effect_of(table_.at(row), origin))) {
    // The server before this one, or another gateway, ended between this effect of a client's
    // message and the acknowledgement of that message, which has come again.
    counters_.add(Counter::kEffectsKnown, 1);
    if (config_.shared) journal_.settled(table_.at(row), origin);
    return;
  }
  using Append = session::ReplayLogs::Append;
  Append done = logs_.append(table_.at(row).log, type, payload);
  for (uint32_t i = 0; done == Append::kPool && i < kGivenUpMax; ++i) {
    const uint32_t oldest = table_.oldest_parked();
    if (oldest == SessionTable::kNone || oldest == row) break;
    end(oldest, session::End::kMemory);
    done = logs_.append(table_.at(row).log, type, payload);
  }
  if (done != Append::kOk) {
    // Leaving one message out would be a silent loss; the end of the session is a loud one.
    end(row, done == Append::kPool ? session::End::kMemory : session::End::kReplay);
    return;
  }
  ++replay_messages_;
  counters_.add(Counter::kAcknowledgedSent, 1);
  Session& s = table_.at(row);
  if (config_.shared && origin != 0) effects_.insert(effect_of(s, origin));
  if (!journal_.append(row, s, type, origin, payload, now, for_player)) s.safe = s.log.last();
  pump(row);
}

void SessionHome::pump(uint32_t row) {
  Session& s = table_.at(row);
  if (!s.attached() || s.opening != 0) return;
  session::LoggedMessage message{};
  while (s.log.last_sent() < s.safe &&
         (s.log.sent == 0 || s.log.sent_bytes < config_.window_bytes) &&
         logs_.next_unsent(s.log, &message)) {
    const mailbox::SessionDeliver deliver{s.connection, s.id, message.sequence, message.type};
    if (!mailbox_.post(s.connection_shard.value, deliver, message.payload)) {
      if (s.stalled == 0) {
        s.stalled = 1;
        stalled_[stalled_count_++] = row;
      }
      return;
    }
    logs_.advance(s.log);
  }
}

void SessionHome::end(uint32_t row, session::End why) {
  Session& s = table_.at(row);
  counters_.add(Family::kSessionsEnded, static_cast<uint32_t>(why));
  if (s.attached()) {
    outbox_.post(s.connection_shard.value,
                 mailbox::SessionClosed{s.connection, s.id, static_cast<uint32_t>(why)});
  }
  if (config_.shared && journal_.recording() &&
      (why == session::End::kRoom || why == session::End::kMemory)) {
    journal_.cancel(s.id);
    journal_.forget(s.id);  // it is in the store; whoever comes back finds it there
  } else {
    journal_.end(row, s);
  }
  drop(row);
}

void SessionHome::drop(uint32_t row) {
  Session& s = table_.at(row);
  if (s.stalled != 0) {
    uint32_t* const last = stalled_.data() + stalled_count_;
    *std::find(stalled_.data(), last, row) = *(last - 1);
    --stalled_count_;
  }
  replay_messages_ -= s.log.count;
  logs_.clear(s.log);
  table_.erase(row);
}

void SessionHome::release(const SessionJournal::Release& what) {
  Session& s = table_.at(what.row);
  if (what.session == 0 || s.id != what.session) return;  // it has ended, or went elsewhere
  if (!what.inbound) {
    s.safe = std::max(s.safe, what.sequence);
    pump(what.row);
    return;
  }
  s.received_safe = std::max(s.received_safe, what.sequence);
  if (journal_.on() && s.attached()) {
    outbox_.post(s.connection_shard.value,
                 mailbox::SessionSaved{s.connection, s.id, what.sequence});
  }
}

void SessionHome::on_list(base::Bytes bytes) {
  base::Bytes player;
  const auto list = read_message<mailbox::ListSessions>(bytes, &player);
  const auto post = [&](uint32_t row) {
    const Session& s = table_.at(row);
    mailbox::SessionRow out{};
    out.session = s.id;
    out.received = s.received;
    out.sent = s.log.last();
    out.acked = s.log.acked;
    out.request = list.request;
    out.replay_bytes = s.log.bytes;
    out.created_s = s.created_s;
    out.seen_s = s.seen_s;
    out.resumed = s.resumed;
    out.connection_shard = s.connection_shard.value;
    out.attached = s.attached() ? 1 : 0;
    out.from_store = s.from_store;
    outbox_.post(mailbox_.control(), out, base::as_bytes(table_.player(row)));
  };
  uint32_t total = 0;
  if (player.empty()) {
    total = table_.count();
    uint32_t seen = 0;
    for (uint32_t row = 0; row < table_.high_water() && seen < list.offset + list.limit; ++row) {
      if (table_.at(row).id != 0 && seen++ >= list.offset) post(row);
    }
  } else if (const uint32_t row = find(base::as_text(player)); row != SessionTable::kNone) {
    total = 1;
    post(row);
  }
  outbox_.post(mailbox_.control(), mailbox::ListEnd{list.request, total});
}

bool SessionHome::restore(const Session& stored, std::string_view player, uint64_t acked,
                          uint32_t now_s) {
  if (int64_t{now_s} - stored.seen_s >= config_.resume_window.ns / 1'000'000'000) return false;
  const uint32_t row = table_.insert(player, world::hash_player_id(player));
  if (row == SessionTable::kNone) return false;
  Session& s = table_.at(row);
  s = stored;
  s.restored = s.from_store = 1;
  s.safe = acked;
  s.received_safe = s.received;
  session::ReplayLogs::begin_after(s.log, acked);
  return true;
}

bool SessionHome::adopt(const Session& from, std::string_view player, uint64_t acked) {
  const uint32_t row = table_.insert(player, world::hash_player_id(player));
  if (row == SessionTable::kNone) return false;
  Session& s = table_.at(row);
  s = from;
  session::ReplayLogs::begin_after(s.log, acked);
  if (s.attached()) table_.attached(row);
  journal_.put(row, s, player);
  return true;
}

void SessionHome::mark_sent(std::string_view player, uint32_t messages, uint64_t safe) {
  const uint32_t row = find(player);
  TG_ASSERT(row != SessionTable::kNone);
  Session& s = table_.at(row);
  s.safe = safe;
  for (uint32_t i = 0; i < messages && !s.log.all_sent(); ++i) logs_.advance(s.log);
}

void SessionHome::restore_effect(uint32_t row, uint64_t origin) {
  if (origin != 0) effects_.insert(effect_of(table_.at(row), origin));
}

bool SessionHome::restore_message(std::string_view player, uint32_t type, base::Bytes payload) {
  const uint32_t row = find(player);
  TG_ASSERT(row != SessionTable::kNone);
  Session& s = table_.at(row);
  if (payload.size() > session::ReplayLogs::kPayloadBytesMax ||
      logs_.append(s.log, type, payload) != session::ReplayLogs::Append::kOk) {
    end(row, session::End::kReplay);  // the bounds are narrower than they were
    return false;
  }
  s.safe = s.log.last();
  ++replay_messages_;
  return true;
}

void SessionHome::turn(base::Instant now, uint32_t now_s) {
  SessionJournal::Release what{};
  for (uint32_t n = 0; n < kReleasesPerTurn && !outbox_.strained() && journal_.release(now, &what);
       ++n) {
    release(what);
  }
  journal_.catch_up(table_, now);
  journal_.resync(table_, logs_);
  for (uint32_t n = stalled_count_; n != 0; --n) {
    const uint32_t row = stalled_[0];
    stalled_[0] = stalled_[--stalled_count_];
    table_.at(row).stalled = 0;
    pump(row);
  }
  for (uint32_t i = 0; i < kExpiriesPerTurn; ++i) {
    const uint32_t row = table_.oldest_parked();
    if (row == SessionTable::kNone) break;
    const int64_t age_s = int64_t{now_s} - table_.at(row).seen_s;
    if (age_s * 1'000'000'000 < config_.resume_window.ns) break;
    end(row, session::End::kExpired);
  }
  if (config_.shared) refresh(now_s);
}

}  // namespace tidegate::shard
