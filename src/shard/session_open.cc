// SPDX-License-Identifier: Apache-2.0
// The home of sessions, how one begins or goes on: whom a SessionOpen is let in as, and that a try
// which its client has given up ends nothing and takes nothing.
#include <cstring>

#include "mailbox/resume_nonce.h"
#include "shard/session_home.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using metrics::Family;
using session::Resume;
using session::Session;
using session::SessionTable;

namespace {

// A try of a client that has asked again since and got in: it does not wait for this one, which
// must not take the session from it, still less end it.
bool is_late(const mailbox::SessionOpen& open, const Session& s) {
  return s.since_ms != 0 && open.since_ms != 0 &&
         static_cast<int32_t>(open.since_ms - s.since_ms) < 0;
}

}  // namespace

void SessionHome::on_open(base::Bytes bytes, uint32_t now_s) {
  if (config_.shared) {
    base::Bytes tail;
    const auto open = read_message<mailbox::SessionOpen>(bytes, &tail);
    const uint32_t row = find(base::as_text(tail.first(open.player_bytes)));
    const bool has_row = row != SessionTable::kNone;
    if (open.coming != 0 && has_row &&
        (open.sure != 0 ? table_.at(row).coming == open.coming
                        : table_.at(row).id == open.resume_session)) {
      this->open(bytes, now_s, true, open.coming);
      return;
    }
    const bool refuse = config_.second_login == SecondLogin::kRefuse &&
                        static_cast<Resume>(open.resume) != Resume::kResumed;
    if (journal_.claim(++comings_, has_row, refuse, open, bytes)) {
      ++claims_[bucket_of(base::as_text(tail.first(open.player_bytes)))];
      return;
    }  // on_claimed() goes on
  }
  open(bytes, now_s, !config_.shared, ++comings_);
}

// `store_knows`: what is not here is nowhere. Otherwise the store cannot be asked, and who wants to
// go on with a session that another gateway may have is to try again: what it left there is not
// lost.
void SessionHome::open(base::Bytes bytes, uint32_t now_s, bool store_knows, uint32_t coming) {
  base::Bytes tail;
  const auto open = read_message<mailbox::SessionOpen>(bytes, &tail);
  const std::string_view player = base::as_text(tail.first(open.player_bytes));
  const base::Bytes fresh_token = tail.subspan(open.player_bytes, open.token_bytes[0]);
  const base::Bytes resumed_token = tail.subspan(open.player_bytes + open.token_bytes[0]);
  auto verdict = static_cast<Resume>(open.resume);
  const uint32_t row = find(player);
  if (row != SessionTable::kNone && is_late(open, table_.at(row))) {
    refuse(open, 3);
    return;
  }
  if (verdict == Resume::kResumed) {
    const bool fits = row != SessionTable::kNone && table_.at(row).id == open.resume_session &&
                      mailbox::nonce_is_good(open.resume_nonce, table_.at(row).nonce,
                                             table_.at(row).nonce_before);
    if (!fits && !store_knows) {
      refuse(open, 3);
      return;
    }
    if (row == SessionTable::kNone || table_.at(row).id != open.resume_session) {
      verdict = Resume::kSessionEnded;
    } else if (const Session& s = table_.at(row); !fits) {
      verdict = Resume::kTokenUsed;
    } else if (s.attached()) {
      // Its connection may be dead without our knowing. It leaves, and this comes back behind its
      // last word.
      post_release(s.connection_shard.value, {s.connection, s.id, 0}, open, tail, coming);
      return;
    } else {
      resume(row, open, resumed_token, now_s);
      return;
    }
  }
  if (verdict != Resume::kNotAsked) {
    counters_.add(Family::kResumesRefused, static_cast<uint32_t>(verdict));
  }
  if (row != SessionTable::kNone) {
    const Session& s = table_.at(row);
    if (s.attached() && config_.second_login == SecondLogin::kRefuse) {
      refuse(open, 1);
      return;
    }
    if (open.sure == 0) {
      // A session is ended for somebody who waits for another one, not for a try that was given up.
      post_release(open.connection_shard, {open.connection, s.id, 0, 1}, open, tail, coming);
      return;
    }
    if (s.attached()) {
      outbox_.post(s.connection_shard.value, mailbox::SessionRelease{s.connection, s.id, 0});
      table_.at(row).connection = {};  // nobody to tell any more
    }
    end(row, session::End::kReplaced);
  }
  begin(open, player, fresh_token, verdict, now_s, store_knows, coming);
}

// With the SessionOpen, which comes back.
void SessionHome::post_release(uint32_t to, mailbox::SessionRelease release,
                               mailbox::SessionOpen open, base::Bytes tail, uint32_t coming) {
  uint8_t waiting[sizeof open + session::kPlayerBytesMax + 2 * session::kResumeBytesMax];
  TG_ASSERT(sizeof open + tail.size() <= sizeof waiting);
  open.coming = coming;
  std::memcpy(waiting, &open, sizeof open);
  std::memcpy(waiting + sizeof open, tail.data(), tail.size());
  release.open_bytes = static_cast<uint32_t>(sizeof open + tail.size());
  outbox_.post(to, release, {waiting, release.open_bytes});
}

void SessionHome::refuse(const mailbox::SessionOpen& open, uint8_t why) {
  mailbox::SessionOpened answer{};
  answer.connection = open.connection;
  answer.refused = why;
  outbox_.post(open.connection_shard, answer);
}

void SessionHome::post_opened(uint32_t to, mailbox::SessionOpened answer, std::string_view player,
                              base::Bytes token) {
  uint8_t tail[session::kPlayerBytesMax + session::kResumeBytesMax];
  TG_ASSERT(player.size() + token.size() <= sizeof tail);
  std::memcpy(tail, player.data(), player.size());
  if (!token.empty()) std::memcpy(tail + player.size(), token.data(), token.size());
  answer.player_bytes = static_cast<uint8_t>(player.size());
  outbox_.post(to, answer, {tail, player.size() + token.size()});
}

void SessionHome::begin(const mailbox::SessionOpen& open, std::string_view player,
                        base::Bytes token, Resume verdict, uint32_t now_s, bool store_knows,
                        uint32_t coming) {
  const uint64_t hash = world::hash_player_id(player);
  uint32_t row = table_.insert(player, hash);
  if (row == SessionTable::kNone && table_.oldest_parked() != SessionTable::kNone) {
    end(table_.oldest_parked(), session::End::kRoom);
    row = table_.insert(player, hash);
  }
  if (row == SessionTable::kNone) {
    refuse(open, 2);
    return;
  }
  Session& s = table_.at(row);
  s.id = open.session;
  s.connection = open.connection;
  s.connection_shard = {open.connection_shard};
  s.nonce = open.nonce;
  s.since_ms = open.since_ms;
  s.created_s = s.seen_s = now_s;
  s.fresh = store_knows ? 0 : 1;
  s.coming = coming;
  table_.attached(row);
  journal_.put(row, s, player);
  counters_.add(Counter::kSessionsCreated, 1);
  mailbox::SessionOpen begun = open;
  begun.resume = static_cast<uint8_t>(verdict);
  // A client that has the token may show it to another gateway at once.
  if (config_.shared && journal_.answer(begun, player, token)) {
    s.opening = 1;
  } else {
    post_begun(begun, player, token);
  }
}

void SessionHome::post_begun(const mailbox::SessionOpen& open, std::string_view player,
                             base::Bytes token) {
  mailbox::SessionOpened answer{};
  answer.connection = open.connection;
  answer.session = open.session;
  answer.resume = open.resume;
  post_opened(open.connection_shard, answer, player, token);
}

void SessionHome::resume(uint32_t row, const mailbox::SessionOpen& open, base::Bytes token,
                         uint32_t now_s) {
  Session& s = table_.at(row);
  s.connection = open.connection;
  s.connection_shard = {open.connection_shard};
  s.since_ms = open.since_ms;
  // Until the client has shown that it has the new token, the one it came with stays good: the
  // answer may be lost with the socket.
  s.nonce_before = open.resume_nonce;
  s.nonce = open.nonce;
  s.seen_s = now_s;
  ++s.resumed;
  table_.attached(row);
  journal_.update(row, s);
  counters_.add(Counter::kSessionsResumed, 1);
  mailbox::SessionOpened answer{};
  answer.connection = open.connection;
  answer.session = s.id;
  answer.received = s.received;
  answer.safe = s.received_safe;
  answer.last_sent = s.log.last();  // any of them may have gone out before
  answer.replayed = s.log.count;
  answer.resume = static_cast<uint8_t>(Resume::kResumed);
  answer.restored = s.restored;
  post_opened(open.connection_shard, answer, table_.player(row), token);
  counters_.add(Counter::kMessagesReplayed, s.log.count);
  logs_.rewind(s.log);
  pump(row);
}

// The store has a session that has begun: its client may know of it.
void SessionHome::on_begun(const mailbox::SessionOpen& open, base::Bytes tail) {
  const std::string_view player = base::as_text(tail.first(open.player_bytes));
  const uint32_t row = find(player);
  if (row == SessionTable::kNone || table_.at(row).id != open.session ||
      table_.at(row).connection != open.connection ||
      table_.at(row).connection_shard.value != open.connection_shard) {
    refuse(open, 3);  // it has ended, or went elsewhere
    return;
  }
  table_.at(row).opening = 0;
  post_begun(open, player, tail.subspan(open.player_bytes, open.token_bytes[0]));
  pump(row);
}

}  // namespace tidegate::shard
