// SPDX-License-Identifier: Apache-2.0
// What a home shard tells the session store, and what waits until the store has it: each change is
// a numbered record to control, which answers up to where they are safe. A message that is to be
// acknowledged goes out when its record is safe, and an acknowledgement when what it covers is, so
// a server that ends at any moment has given no number twice and acknowledged nothing it forgot.
//
// Nobody waits for a store that fails. For one that is only late it depends on who else has it:
// what waits for a store of this process goes on without it after kPatience; with a store that
// gateways share it waits until the store has it or counts as failed (redis.timeout), because
// another gateway may go on with the session at any moment, from what is stored. When too much
// waits for control, recording stops; later everything is said anew (resync), a piece a turn.
// Thread: shard. Owner: SessionHome. Limits: kWaitingMax changes that wait.
#pragma once

#include "base/time.h"
#include "mailbox/session_messages.h"
#include "mem/mapped_array.h"
#include "metrics/metrics.h"
#include "session/replay_log.h"
#include "session/session_table.h"
#include "shard/outbox.h"

namespace tidegate::shard {

class SessionJournal {
 public:
  // protocol.md gives an acknowledgement 100 ms; the connection's shard has used 25 of them.
  static constexpr base::Duration kPatience = base::milliseconds(50);
  static constexpr uint32_t kWaitingMax = 64 * 1024;

  // Something that may happen now: a message of that sequence may go out, or what the client sent
  // up to there be acknowledged.
  struct Release {
    uint32_t row;
    uint64_t session;
    uint64_t sequence;
    bool inbound;
  };

  SessionJournal(bool on, bool shared, mailbox::AgentId control, Outbox& outbox,
                 metrics::Counters& counters)
      : on_(on),
        shared_(shared),
        recording_(on),
        control_(control),
        outbox_(outbox),
        counters_(counters),
        waiting_(on ? kWaitingMax : 0) {}

  bool on() const { return on_; }

  void put(uint32_t row, const session::Session& s, std::string_view player);
  void update(uint32_t row, const session::Session& s);
  // True: the message has to wait for release().
  // `for_player`: should this not be the player's session any more, it is for the one that is.
  bool append(uint32_t row, const session::Session& s, uint32_t type, uint64_t origin,
              base::Bytes payload, base::Instant now, bool for_player);
  // A message that was told before, behind a put().
  void append_again(uint32_t row, const session::Session& s, uint64_t sequence, uint32_t type,
                    base::Bytes payload);
  // True: the acknowledgement of `s.received` has to wait. `wait`: somebody wants to know.
  bool progress(uint32_t row, const session::Session& s, bool wait, base::Instant now);
  void end(uint32_t row, const session::Session& s);

  // Only for a store that gateways share. claim(): false when it cannot be asked now.
  bool claim(uint32_t coming, bool has_row, bool refuse, const mailbox::SessionOpen& open,
             base::Bytes bytes);
  // A SessionClaimed with this comes back when what was told before is stored. False: it need not
  // be waited for.
  bool answer(const mailbox::SessionOpen& open, std::string_view player, base::Bytes token);
  // The number of the change; 0: there is no room.
  uint64_t forward(std::string_view player, uint64_t session, uint32_t type, uint64_t origin,
                   base::Bytes payload);
  void settled(const session::Session& s, uint64_t origin);
  void forget(uint64_t session);
  // Nobody is to hear any more of what this session waits for.
  void cancel(uint64_t session);
  void return_state(uint64_t claim);

  void on_stored(const mailbox::SessionsStored& word);
  // The next thing that need not wait any more; false when there is none.
  bool release(base::Instant now, Release* out);
  bool waiting() const { return count_ != 0; }
  bool recording() const { return recording_; }
  uint64_t stored() const { return stored_; }  // all changes up to this number
  // Once a turn: rows that found no room to wait, as soon as there is some.
  void catch_up(const session::SessionTable& table, base::Instant now);
  // One piece of saying everything anew; to be called once a turn.
  void resync(session::SessionTable& table, session::ReplayLogs& logs);
  uint64_t memory_bytes() const { return waiting_.bytes(); }

 private:
  struct Waiting {
    uint64_t number;
    uint64_t session;
    uint64_t sequence;
    base::Instant until;
    uint32_t row;
    uint32_t inbound;
  };
  // Whether changes of this row are told one by one: not while its turn in a resync is to come.
  bool records(uint32_t row) const { return recording_ && row < synced_; }
  mailbox::SessionRecord record_of(const session::Session& s, mailbox::SessionChangeOp op);
  bool post(const mailbox::SessionRecord& record, base::Bytes tail);
  bool wait(uint32_t row, const session::Session& s, uint64_t sequence, bool inbound,
            base::Instant now);

  bool on_;
  bool shared_;
  bool recording_;
  bool overrun_ = false;          // recording stopped because the way to control was full
  uint32_t synced_ = UINT32_MAX;  // rows below are in the store
  mailbox::AgentId control_;
  Outbox& outbox_;
  metrics::Counters& counters_;
  uint64_t number_ = 0;  // of the last record
  uint64_t stored_ = 0;  // up to there they are safe
  mem::MappedArray<Waiting> waiting_;
  uint32_t head_ = 0, count_ = 0;
  bool crowded_ = false;    // some rows found no room among those that wait
  uint32_t caught_up_ = 0;  // the next of them to look at
};

}  // namespace tidegate::shard
