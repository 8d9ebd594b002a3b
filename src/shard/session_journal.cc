// SPDX-License-Identifier: Apache-2.0
#include "shard/session_journal.h"

#include <cstring>

#include "session/resume.h"

namespace tidegate::shard {

using mailbox::SessionChangeOp;
using mailbox::SessionRecord;
using metrics::Counter;
using session::Session;

namespace {
constexpr uint32_t kResyncRowsPerTurn = 64;
constexpr uint64_t kResyncBytesPerTurn = 64 * 1024;
}  // namespace

SessionRecord SessionJournal::record_of(const Session& s, SessionChangeOp op) {
  SessionRecord r{};
  r.session = s.id;
  r.received = s.received;
  r.acked = s.log.acked;
  r.nonce = s.nonce;
  r.nonce_before = s.nonce_before;
  r.created_s = s.created_s;
  r.seen_s = s.seen_s;
  r.resumed = s.resumed;
  r.attached = s.attached() ? 1 : 0;
  r.fresh = s.fresh;
  r.coming = s.coming;
  r.since_ms = s.since_ms;
  r.op = op;
  return r;
}

bool SessionJournal::post(const SessionRecord& record, base::Bytes tail) {
  if (outbox_.strained()) {
    // Control does not keep up. What follows would be in the store with a hole before it.
    recording_ = false;
    overrun_ = true;
    counters_.add(Counter::kSessionJournalOverruns, 1);
    return false;
  }
  SessionRecord numbered = record;
  numbered.number = ++number_;
  outbox_.post(control_, numbered, tail);
  return true;
}

bool SessionJournal::wait(uint32_t row, const Session& s, uint64_t sequence, bool inbound,
                          base::Instant now) {
  if (count_ == kWaitingMax) {
    crowded_ = crowded_ || shared_;
    return shared_;
  }
  const base::Instant until = shared_ ? base::Instant::never() : now + kPatience;
  waiting_[(head_ + count_++) % kWaitingMax] = {number_, s.id, sequence,
                                                until,   row,  inbound ? 1u : 0u};
  return true;
}

void SessionJournal::put(uint32_t row, const Session& s, std::string_view player) {
  if (records(row)) (void)post(record_of(s, SessionChangeOp::kPut), base::as_bytes(player));
}

void SessionJournal::update(uint32_t row, const Session& s) {
  if (records(row)) (void)post(record_of(s, SessionChangeOp::kUpdate), {});
}

bool SessionJournal::append(uint32_t row, const Session& s, uint32_t type, uint64_t origin,
                            base::Bytes payload, base::Instant now, bool for_player) {
  if (!records(row)) return false;
  SessionRecord r = record_of(s, SessionChangeOp::kAppend);
  r.sequence = s.log.last();
  r.message_type = type;
  r.origin = origin;
  r.fresh = for_player ? 2 : 1;
  return post(r, payload) && wait(row, s, r.sequence, false, now);
}

void SessionJournal::append_again(uint32_t row, const Session& s, uint64_t sequence, uint32_t type,
                                  base::Bytes payload) {
  if (!records(row)) return;
  SessionRecord r = record_of(s, SessionChangeOp::kAppend);
  r.sequence = sequence;
  r.message_type = type;
  r.fresh = 0;
  (void)post(r, payload);
}

bool SessionJournal::progress(uint32_t row, const Session& s, bool wait_for_it, base::Instant now) {
  if (!records(row)) return false;
  return post(record_of(s, SessionChangeOp::kProgress), {}) && wait_for_it &&
         wait(row, s, s.received, true, now);
}

void SessionJournal::end(uint32_t row, const Session& s) {
  if (records(row)) (void)post(record_of(s, SessionChangeOp::kEnd), {});
}

bool SessionJournal::claim(uint32_t coming, bool has_row, bool refuse,
                           const mailbox::SessionOpen& open, base::Bytes bytes) {
  SessionRecord r{};
  r.coming = coming;
  r.op = SessionChangeOp::kClaim;
  r.attached = has_row ? 1 : 0;
  r.fresh = refuse ? 1 : 0;
  r.since_ms = open.since_ms;
  if (open.resume == static_cast<uint8_t>(session::Resume::kResumed)) {
    r.session = open.resume_session;
    r.nonce_before = open.resume_nonce;
    r.nonce = open.nonce;
  }
  return recording_ && post(r, bytes);
}

bool SessionJournal::answer(const mailbox::SessionOpen& open, std::string_view player,
                            base::Bytes token) {
  if (!recording_) return false;
  SessionRecord r{};
  r.op = SessionChangeOp::kAnswer;
  uint8_t tail[sizeof open + session::kPlayerBytesMax + session::kResumeBytesMax];
  TG_ASSERT(sizeof open + player.size() + token.size() <= sizeof tail);
  std::memcpy(tail, &open, sizeof open);
  std::memcpy(tail + sizeof open, player.data(), player.size());
  if (!token.empty()) {
    std::memcpy(tail + sizeof open + player.size(), token.data(), token.size());
  }
  return post(r, {tail, sizeof open + player.size() + token.size()});
}

uint64_t SessionJournal::forward(std::string_view player, uint64_t session, uint32_t type,
                                 uint64_t origin, base::Bytes payload) {
  SessionRecord r{};
  r.op = SessionChangeOp::kForward;
  r.session = session;
  r.message_type = type;
  r.origin = origin;
  r.player_bytes = static_cast<uint32_t>(player.size());
  uint8_t tail[session::kPlayerBytesMax + session::ReplayLogs::kPayloadBytesMax];
  std::memcpy(tail, player.data(), player.size());
  if (!payload.empty()) std::memcpy(tail + player.size(), payload.data(), payload.size());
  // Control keeps these while the store is away, so it does not matter whether this shard records.
  if (outbox_.strained()) return 0;
  r.number = ++number_;
  outbox_.post(control_, r, {tail, player.size() + payload.size()});
  return r.number;
}

void SessionJournal::settled(const Session& s, uint64_t origin) {
  if (!recording_) return;
  SessionRecord r = record_of(s, SessionChangeOp::kSettled);
  r.origin = origin;
  (void)post(r, {});
}

void SessionJournal::forget(uint64_t session) {
  SessionRecord r{};
  r.op = SessionChangeOp::kForget;
  r.session = session;
  r.number = ++number_;
  outbox_.post(control_, r);
}

void SessionJournal::cancel(uint64_t session) {
  for (uint32_t i = 0; i < count_; ++i) {
    Waiting& w = waiting_[(head_ + i) % kWaitingMax];
    if (w.session == session) w.session = 0;
  }
}

void SessionJournal::return_state(uint64_t claim) {
  SessionRecord r{};
  r.op = SessionChangeOp::kReturn;
  r.sequence = claim;
  r.number = ++number_;
  outbox_.post(control_, r);
}

void SessionJournal::on_stored(const mailbox::SessionsStored& word) {
  stored_ = word.number;
  if (word.failed != 0) recording_ = false;
  if (word.again != 0) {
    recording_ = true;
    overrun_ = false;
    synced_ = 0;
    SessionRecord clear{};
    clear.op = SessionChangeOp::kClear;
    (void)post(clear, {});
  }
}

bool SessionJournal::release(base::Instant now, Release* out) {
  if (count_ == 0) return false;
  const Waiting& first = waiting_[head_];
  const bool safe = first.number <= stored_;
  if (!safe && recording_ && now < first.until) return false;
  if (!safe) counters_.add(Counter::kSessionStoreLate, 1);
  *out = {first.row, first.session, first.sequence, first.inbound != 0};
  head_ = (head_ + 1) % kWaitingMax;
  --count_;
  return true;
}

void SessionJournal::catch_up(const session::SessionTable& table, base::Instant now) {
  if (!crowded_ || count_ > kWaitingMax / 2) return;
  for (uint32_t n = table.high_water(); n != 0; --n) {
    if (count_ > kWaitingMax - 2) return;
    const uint32_t row = caught_up_;
    caught_up_ = row + 1 >= table.high_water() ? 0 : row + 1;
    const Session& s = table.at(row);
    if (s.id == 0) continue;
    // All records of the row have numbers up to number_.
    if (s.safe < s.log.last()) (void)wait(row, s, s.log.last(), false, now);
    if (s.received_safe < s.received) (void)wait(row, s, s.received, true, now);
  }
  crowded_ = false;
}

void SessionJournal::resync(session::SessionTable& table, session::ReplayLogs& logs) {
  if (!on_) return;
  if (overrun_ && !outbox_.strained()) {
    mailbox::SessionsStored again{};
    again.number = stored_;
    again.again = 1;
    on_stored(again);
  }
  if (!recording_ || synced_ == UINT32_MAX) return;
  uint64_t bytes = 0;
  for (uint32_t n = 0; n < kResyncRowsPerTurn && bytes < kResyncBytesPerTurn; ++n) {
    if (synced_ >= table.high_water()) {
      synced_ = UINT32_MAX;
      SessionRecord synced{};
      synced.op = SessionChangeOp::kSynced;
      (void)post(synced, {});
      return;
    }
    const uint32_t row = synced_++;
    Session& s = table.at(row);
    if (s.id == 0) continue;
    put(row, s, table.player(row));
    s.fresh = 0;
    logs.for_each(s.log, [&](const session::LoggedMessage& m) {
      append_again(row, s, m.sequence, m.type, m.payload);
      bytes += m.payload.size();
    });
    if (!recording_) return;
  }
}

}  // namespace tidegate::shard
