// SPDX-License-Identifier: Apache-2.0
// The session store of the simulation: applies the shards' changes as the real one does
// (control/session_keeper.h), answers late, fails and recovers. At the end what it holds must be
// what the shards have.
// Thread: one. Owner: Control. Limits: none.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/prng.h"
#include "mailbox/mailboxes.h"
#include "mailbox/session_messages.h"
#include "session/session_table.h"

namespace tidegate::sim {

class SessionBook {
 public:
  SessionBook(uint32_t shards, uint64_t seed, bool faults)
      : prng_(seed), faults_(faults), parts_(shards) {}

  void on_record(uint32_t shard, base::Bytes bytes) {
    base::Bytes tail;
    const auto r = mailbox::read_message<mailbox::SessionRecord>(bytes, &tail);
    Part& part = parts_[shard];
    if (r.number != part.number + 1) problem = "a change of a session has the wrong number";
    part.number = r.number;
    if (r.op == mailbox::SessionChangeOp::kClear) part.cleared = true;
    if (failed_ || !part.cleared) return;
    apply(shard, r, tail);
  }

  // Once a turn, in no hurry.
  void turn(mailbox::Mailbox& mailbox) {
    if (faults_ && !calm_ && prng_.chance(failed_ ? 0.01 : 0.0005)) {
      failed_ = !failed_;
      ++changes_;
      for (Part& part : parts_) {
        part.cleared = part.cleared && !failed_;
        part.said = UINT64_MAX;
        part.again = !failed_;
      }
    }
    for (uint32_t i = 0; i < parts_.size(); ++i) {
      Part& part = parts_[i];
      const uint64_t safe = failed_ ? part.safe : part.number;
      if (part.said == safe || (faults_ && !calm_ && prng_.chance(0.9))) continue;
      const mailbox::SessionsStored word{safe, failed_ ? 1u : 0u, part.again ? 1u : 0u};
      if (!mailbox.post(i, word)) continue;
      part.said = part.safe = safe;
      part.again = false;
    }
  }
  // No more failures; a failed store recovers.
  void calm() {
    if (calm_) return;
    calm_ = true;
    if (!failed_) return;
    failed_ = false;
    for (Part& part : parts_) {
      part.said = UINT64_MAX;
      part.again = true;
    }
  }
  uint64_t failures() const { return changes_ / 2; }

  // What is wrong with the rows of this shard; empty: nothing.
  std::string compare(uint32_t shard, const session::SessionTable& table,
                      session::ReplayLogs& logs) const {
    size_t count = 0;
    for (const auto& [id, row] : rows_) count += row.shard == shard ? 1 : 0;
    if (count != table.count()) {
      return std::to_string(count) + " sessions in the store for " + std::to_string(table.count());
    }
    for (uint32_t i = 0; i < table.high_water(); ++i) {
      const session::Session& s = table.at(i);
      if (s.id == 0) continue;
      const auto it = rows_.find(s.id);
      if (it == rows_.end()) return "a session is not in the store";
      const Row& row = it->second;
      if (row.player != table.player(i) || row.received != s.received || row.acked != s.log.acked ||
          row.nonce != s.nonce || row.messages.size() != s.log.count) {
        return "session of " + std::string(table.player(i)) + " is otherwise in the store";
      }
      bool same = true;
      logs.for_each(s.log, [&](const session::LoggedMessage& m) {
        const auto kept = row.messages.find(m.sequence);
        same = same && kept != row.messages.end() && kept->second == base::as_text(m.payload);
      });
      if (!same) return "messages are otherwise in the store";
    }
    return {};
  }

  std::string problem;

 private:
  struct Row {
    uint32_t shard = 0;
    std::string player;
    uint64_t received = 0, acked = 0;
    uint32_t nonce = 0;
    std::map<uint64_t, std::string> messages;
  };
  struct Part {
    uint64_t number = 0;
    uint64_t safe = 0;
    uint64_t said = 0;
    bool cleared = true;
    bool again = false;
  };

  void apply(uint32_t shard, const mailbox::SessionRecord& r, base::Bytes tail) {
    using Op = mailbox::SessionChangeOp;
    if (r.op == Op::kClear) {
      std::erase_if(rows_, [&](const auto& row) { return row.second.shard == shard; });
      return;
    }
    if (r.op == Op::kSynced) return;
    if (r.op == Op::kPut) rows_[r.session] = {shard, std::string(base::as_text(tail)), 0, 0, 0, {}};
    const auto it = rows_.find(r.session);
    if (it == rows_.end()) {
      problem = "a change of a session that is not in the store";
      return;
    }
    Row& row = it->second;
    if (r.op == Op::kEnd) {
      rows_.erase(it);
      return;
    }
    if (r.op == Op::kAppend) {
      row.messages[r.sequence] = base::as_text(tail);
      return;
    }
    row.received = r.received;
    row.acked = r.acked;
    row.nonce = r.op == Op::kProgress ? row.nonce : r.nonce;
    row.messages.erase(row.messages.begin(), row.messages.upper_bound(r.acked));
  }

  base::Prng prng_;
  bool faults_;
  bool calm_ = false;
  bool failed_ = false;
  uint64_t changes_ = 0;
  std::vector<Part> parts_;
  std::map<uint64_t, Row> rows_;
};

}  // namespace tidegate::sim
