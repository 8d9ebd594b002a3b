// SPDX-License-Identifier: Apache-2.0
// The home of sessions: of every player whose id hashes to this shard it keeps the session, whether
// a connection holds it or not. It is the only one who numbers and keeps what is to be delivered
// with acknowledgement, so nothing has to move when a client comes back on another shard; the
// connection's shard transmits and tells what was acknowledged (shard/delivery.cc).
//
//   SessionOpen      begins a session, or goes on with one: the older connection, if there still is
//                    one, leaves first (SessionRelease, SessionLeft), so its last word is known
//   SessionSend      append to the log, transmit when the client's window allows
//   SessionProgress  the client has acknowledged: let go, transmit more
//   SessionLeft      the connection is gone: parked until session.resume_window is over
//
// With a store that gateways share, a SessionOpen goes there first (session_share.cc): the answer
// says whether the session is here, or brings it.
//
// Thread: shard. Owner: Shard. Limits: SessionConfig; all memory at construction.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "mailbox/mailboxes.h"
#include "mailbox/session_messages.h"
#include "mem/mapped_array.h"
#include "metrics/metrics.h"
#include "session/effect_set.h"
#include "session/replay_log.h"
#include "session/resume.h"
#include "session/session_table.h"
#include "shard/outbox.h"
#include "shard/session_journal.h"
#include "world/directory.h"

namespace tidegate::shard {

enum class SecondLogin : uint8_t {
  kReplace,  // the older connection ends with 4015
  kRefuse,   // the newer one is refused with 409
};

struct SessionConfig {
  uint32_t limit = 1024;  // sessions of this shard, parked ones included
  session::ReplayLimits replay;
  // Sent and not acknowledged at a time: what a socket that takes nothing may leave in its backlog.
  uint32_t window_bytes = 32 * 1024;
  base::Duration resume_window = base::seconds(24 * 3600);
  SecondLogin second_login = SecondLogin::kReplace;
  bool stored = false;  // changes go to a store (session_journal.h)
  bool shared = false;  // which other gateways use too
};

class SessionHome {
 public:
  SessionHome(const SessionConfig& config, uint32_t shard, mailbox::Mailbox& mailbox,
              Outbox& outbox, metrics::Counters& counters);

  // Messages of mailbox/session_messages.h; `now_s` is Unix time.
  void on_open(base::Bytes bytes, uint32_t now_s);
  void on_left(base::Bytes bytes, base::Instant now, uint32_t now_s);
  void on_progress(base::Bytes bytes, base::Instant now);
  void on_send(base::Bytes bytes, base::Instant now);
  void on_stored(base::Bytes bytes) {
    journal_.on_stored(mailbox::read_message<mailbox::SessionsStored>(bytes));
  }

  void on_list(base::Bytes bytes);
  // The player's session, parked or not; 0: it has none.
  uint64_t session_of(std::string_view player) const;
  // session_share.cc
  void on_claimed(base::Bytes bytes, base::Instant now, uint32_t now_s);
  void on_letter(base::Bytes bytes, base::Instant now);
  void on_taken(base::Bytes bytes);

  // Before the first turn: a session of the store, its messages one after the other behind it.
  // False: no room, or it has expired.
  bool restore(const session::Session& s, std::string_view player, uint64_t acked, uint32_t now_s);
  bool restore_message(std::string_view player, uint32_t type, base::Bytes payload);
  // A session of another process that goes on with its connection, if it has one. Its messages
  // follow by restore_message(), then mark_sent().
  bool adopt(const session::Session& s, std::string_view player, uint64_t acked);
  void mark_sent(std::string_view player, uint32_t messages, uint64_t safe);
  // What messages of clients had caused before the server before this one ended, oldest first: it
  // is not done again when they come again.
  void restore_effects(const std::vector<uint64_t>& origins) {
    for (const uint64_t origin : origins) effects_.insert(origin);
  }

  // Once a turn: transmits what found a ring full or waited for the store, ends what has expired.
  void turn(base::Instant now, uint32_t now_s);
  // Something waits for room in a ring; nothing wakes us for it.
  bool stalled() const { return stalled_count_ != 0; }
  // Something waits for the store, but not for ever.
  bool waiting() const { return journal_.waiting(); }

  const session::SessionTable& table() const { return table_; }
  session::ReplayLogs& logs() { return logs_; }
  uint64_t replay_messages() const { return replay_messages_; }
  static constexpr uint32_t kClaimBuckets = 16 * 1024;
  static uint32_t bucket_of(std::string_view player) {
    return static_cast<uint32_t>(world::hash_player_id(player) % kClaimBuckets);
  }
  uint64_t memory_bytes() const {
    return table_.memory_bytes() + logs_.memory_bytes() + stalled_.bytes() +
           journal_.memory_bytes() + effects_.memory_bytes() + claims_.bytes() + forwarded_.bytes();
  }

 private:
  uint32_t find(std::string_view player) const;
  void post_opened(uint32_t to, mailbox::SessionOpened answer, std::string_view player,
                   base::Bytes token);
  void open(base::Bytes bytes, uint32_t now_s, bool store_knows, uint32_t coming);
  void post_release(uint32_t to, mailbox::SessionRelease release, mailbox::SessionOpen open,
                    base::Bytes tail, uint32_t coming);
  void refuse(const mailbox::SessionOpen& open, uint8_t why);
  void resume(uint32_t row, const mailbox::SessionOpen& open, base::Bytes token, uint32_t now_s);
  void begin(const mailbox::SessionOpen& open, std::string_view player, base::Bytes token,
             session::Resume verdict, uint32_t now_s, bool store_knows, uint32_t coming);
  void post_begun(const mailbox::SessionOpen& open, std::string_view player, base::Bytes token);
  bool is_fresh(std::string_view player, uint64_t session) const;
  void on_begun(const mailbox::SessionOpen& open, base::Bytes tail);
  void adopt(const mailbox::SessionClaimed& claimed, const mailbox::SessionOpen& open,
             base::Instant now, uint32_t now_s);
  void append(uint32_t row, uint32_t type, uint64_t origin, base::Bytes payload, base::Instant now,
              bool for_player);
  void restore_effect(uint32_t row, uint64_t origin);
  void refresh(uint32_t now_s);
  bool forward(std::string_view player, const mailbox::SessionSend& send, base::Bytes payload);
  void take_away(uint32_t row);
  void drop(uint32_t row);
  void pump(uint32_t row);
  void release(const SessionJournal::Release& what);
  void store_received(uint32_t row, base::Instant now);
  void end(uint32_t row, session::End why);

  SessionConfig config_;
  uint32_t shard_;
  mailbox::Mailbox& mailbox_;
  Outbox& outbox_;
  metrics::Counters& counters_;
  session::SessionTable table_;
  session::ReplayLogs logs_;
  SessionJournal journal_;
  uint64_t replay_messages_ = 0;
  mem::MappedArray<uint32_t> stalled_;  // rows that found a ring full, each once
  uint32_t stalled_count_ = 0;
  session::EffectSet effects_;  // of the server before, and of other gateways
  // By hash of the player: claims under way, and the last message that went by way of the store.
  // While either is, all go that way: what comes with the session stands in front of them.
  mem::MappedArray<uint16_t> claims_;
  mem::MappedArray<uint64_t> forwarded_;  // number of the change
  uint32_t comings_ = 0;                  // rows, and claims of some
  uint32_t refresh_row_ = 0;              // the next one, and
  uint32_t refreshed_s_ = 0;              // when the last piece was
};

}  // namespace tidegate::shard
