// SPDX-License-Identifier: Apache-2.0
// The home of sessions beside those of other gateways, which use the same store. Before a session
// is opened the store is asked whose it is (store/session_store_redis.h); what comes from elsewhere
// is adopted with everything that its client has not acknowledged, and what went elsewhere is let
// go.
#include <algorithm>
#include <cstring>

#include "shard/session_home.h"
#include "world/directory.h"

namespace tidegate::shard {

using mailbox::read_message;
using mailbox::SessionClaim;
using metrics::Counter;
using metrics::Family;
using session::Session;
using session::SessionTable;

void SessionHome::on_claimed(base::Bytes bytes, base::Instant now, uint32_t now_s) {
  base::Bytes request;
  const auto claimed = read_message<mailbox::SessionClaimed>(bytes, &request);
  base::Bytes tail;
  const auto asked = read_message<mailbox::SessionOpen>(request, &tail);
  if (claimed.status == SessionClaim::kStored) {
    on_begun(asked, tail);
    return;
  }
  switch (claimed.status) {
    case SessionClaim::kDown:
      open(request, now_s, false, ++comings_);
      break;
    case SessionClaim::kLate:
      refuse(asked, 3);
      break;
    case SessionClaim::kWait:
      // What is here of it was taken, and we are about to hear that; unless it began while the
      // store was away, which does not know that yet.
      if (asked.resume == static_cast<uint8_t>(session::Resume::kResumed) &&
          !is_fresh(base::as_text(tail.first(asked.player_bytes)), asked.resume_session)) {
        refuse(asked, 3);
      } else {
        open(request, now_s, false, ++comings_);
      }
      break;
    case SessionClaim::kHeld:
      refuse(asked, 1);
      break;
    case SessionClaim::kState:
      adopt(claimed, asked, now, now_s);
      journal_.return_state(claimed.claim);
      open(request, now_s, true, claimed.coming);
      break;
    case SessionClaim::kMine:
    case SessionClaim::kNone:
      open(request, now_s, true, claimed.coming);
      break;
    case SessionClaim::kStored:
      break;
  }
  --claims_[bucket_of(base::as_text(tail.first(asked.player_bytes)))];
}

bool SessionHome::is_fresh(std::string_view player, uint64_t session) const {
  const uint32_t row = find(player);
  return row != SessionTable::kNone && table_.at(row).id == session && table_.at(row).fresh != 0;
}

// To a player who is elsewhere, or on the way here. False: it is to go to the row, if there is one.
bool SessionHome::forward(std::string_view player, const mailbox::SessionSend& send,
                          base::Bytes payload) {
  const uint32_t bucket = bucket_of(player);
  const bool on_the_way = claims_[bucket] != 0 || forwarded_[bucket] > journal_.stored();
  if (!on_the_way && find(player) != SessionTable::kNone) return false;
  const uint64_t number =
      journal_.forward(player, send.session, send.message_type, send.origin, payload);
  if (number == 0) return false;
  forwarded_[bucket] = number;
  counters_.add(Counter::kLettersForwarded, 1);
  return true;
}

void SessionHome::adopt(const mailbox::SessionClaimed& claimed, const mailbox::SessionOpen& open,
                        base::Instant now, uint32_t now_s) {
  const mailbox::StoredSession& stored = *claimed.state;
  uint32_t row = find(stored.player);
  if (row != SessionTable::kNone) {
    // Two logins at once asked for it; or it began here while the store was away, and its client
    // comes back to it; or ours is what another gateway has gone on with.
    if (claimed.from_here != 0) {
      journal_.forget(stored.id);  // the answer; the row goes on
      return;
    }
    if (table_.at(row).fresh != 0 && table_.at(row).id == open.resume_session) {
      journal_.forget(stored.id);
      table_.at(row).coming = claimed.coming;
      journal_.put(row, table_.at(row), stored.player);
      logs_.for_each(table_.at(row).log, [&](const session::LoggedMessage& m) {
        journal_.append_again(row, table_.at(row), m.sequence, m.type, m.payload);
      });
      return;
    }
    take_away(row);
  }
  Session s;
  s.id = stored.id;
  s.nonce = stored.nonce;
  s.nonce_before = stored.nonce_before;
  s.created_s = stored.created_s;
  // Who was connected to a gateway that ended has been away since then, which is not known.
  s.seen_s = stored.attached ? now_s : stored.seen_s;
  s.resumed = stored.resumed;
  s.received = stored.received;
  s.coming = claimed.coming;
  if (table_.count() == table_.limit() && table_.oldest_parked() != SessionTable::kNone) {
    end(table_.oldest_parked(), session::End::kRoom);
  }
  if (!restore(s, stored.player, stored.acked, now_s)) {
    journal_.forget(s.id);
    return;
  }
  uint64_t next = stored.acked;
  for (const mailbox::StoredMessage& m : stored.messages) {
    if (m.sequence == ++next && restore_message(stored.player, m.type, m.payload)) continue;
    // A hole would shift every number behind it.
    if (row = find(stored.player); row != SessionTable::kNone) end(row, session::End::kReplay);
    return;
  }
  counters_.add(Counter::kSessionsTakenOver, 1);
  if (row = find(stored.player); row == SessionTable::kNone) return;
  for (const uint64_t origin : stored.effects) restore_effect(row, origin);
  for (const mailbox::StoredLetter& letter : stored.letters) {
    row = find(stored.player);
    if (row == SessionTable::kNone) return;
    if (letter.session != 0 && letter.session != s.id) continue;
    append(row, letter.type, letter.origin, letter.payload, now, letter.session == 0);
  }
}

// Left by another gateway. Without a session here it stays where it is; of a session that has ended
// since (a login that did not resume) it ends with it.
void SessionHome::on_letter(base::Bytes bytes, base::Instant now) {
  base::Bytes tail;
  const auto letter = read_message<mailbox::SessionLetter>(bytes, &tail);
  const std::string_view player = base::as_text(tail.first(letter.player_bytes));
  const uint32_t row = find(player);
  if (row == SessionTable::kNone) return;
  if (letter.session != 0 && letter.session != table_.at(row).id) return;
  append(row, letter.message_type, letter.origin, tail.subspan(letter.player_bytes), now,
         letter.session == 0);
}

void SessionHome::on_taken(base::Bytes bytes) {
  base::Bytes tail;
  const auto taken = read_message<mailbox::SessionTaken>(bytes, &tail);
  const uint32_t row = find(base::as_text(tail));
  if (row == SessionTable::kNone || table_.at(row).id != taken.session) return;
  if (table_.at(row).coming == taken.coming) take_away(row);
}

// It goes on elsewhere; its connection here, if there is one, is told that it was replaced.
void SessionHome::take_away(uint32_t row) {
  const Session& s = table_.at(row);
  counters_.add(Family::kSessionsEnded, static_cast<uint32_t>(session::End::kTaken));
  if (s.attached()) {
    outbox_.post(s.connection_shard.value, mailbox::SessionRelease{s.connection, s.id, 0});
  }
  journal_.cancel(s.id);
  journal_.forget(s.id);
  drop(row);
}

// Keys of a shared store end by themselves. Those of connected players are written again before
// that, all of them within half of session.resume_window, a piece each second.
void SessionHome::refresh(uint32_t now_s) {
  if (now_s == refreshed_s_ || !journal_.recording()) return;
  refreshed_s_ = now_s;
  const uint32_t rows = table_.high_water();
  const auto half_s = static_cast<uint32_t>(config_.resume_window.ns / 2'000'000'000);
  const uint32_t piece = std::min(rows, rows / std::max(half_s, 1u) + 1);
  for (uint32_t n = 0; n < piece; ++n) {
    refresh_row_ = refresh_row_ + 1 >= rows ? 0 : refresh_row_ + 1;
    const Session& s = table_.at(refresh_row_);
    if (s.id != 0 && s.attached()) journal_.update(refresh_row_, s);
  }
}

}  // namespace tidegate::shard
