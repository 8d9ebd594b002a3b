// SPDX-License-Identifier: Apache-2.0
// What gateways share, as store/session_store_redis.cc and session_keeper.cc behave together,
// without threads and time: changes and answers wait in queues until the simulation moves them.
// Thread: one. Owner: the test. Limits: none.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mailbox/mailboxes.h"
#include "mailbox/resume_nonce.h"
#include "mailbox/session_messages.h"

namespace tidegate::shard {

class SharedStore {
 public:
  using Op = mailbox::SessionChangeOp;
  struct Row {
    uint64_t holder = 0;  // number of a gateway's process; 0: nobody's yet
    uint64_t gen = 0;
    uint32_t coming = 0;
    uint64_t id = 0, received = 0, acked = 0;
    uint32_t nonce = 0, nonce_before = 0;
    bool attached = false;
    int seen = 0;           // step of the last change of `attached` or `nonce`
    uint32_t since_ms = 0;  // when the last client to be let in had asked
    std::deque<mailbox::StoredMessage> messages;
    std::vector<uint64_t> effects;
    std::vector<mailbox::StoredLetter> letters;
  };
  struct News {
    std::string player;
    uint64_t gen;  // 0: there are letters
  };

  std::map<std::string, Row> rows;
  std::map<uint64_t, std::deque<News>> news;
  std::deque<std::unique_ptr<mailbox::StoredSession>> lent;
  bool away = false;
  int settle = 0;  // steps in which nothing is taken over
  int step = 0;
  uint64_t last_gen = 0;
  uint64_t arrivals = 0;                   // of changes at keepers
  uint64_t last_name = uint64_t{1} << 63;  // of letters that have none of their own

  void take(const std::string& player, Row& row, uint64_t by, uint32_t coming) {
    if (row.holder != 0) news[row.holder].push_back({player, last_gen + 1});
    row.holder = by;
    row.gen = ++last_gen;
    row.coming = coming;
  }
  void leave_letter(const std::string& player, Row& row, const mailbox::SessionRecord& r,
                    base::Bytes payload) {
    const bool there = std::any_of(row.letters.begin(), row.letters.end(),
                                   [&](const auto& l) { return l.origin == r.origin; });
    if (!there) {
      row.letters.push_back(
          {r.origin, r.session, r.message_type, {payload.begin(), payload.end()}});
    }
    news[row.holder].push_back({player, 0});
  }
};

// One gateway's keeper.
class KeeperModel {
 public:
  using Op = SharedStore::Op;
  // Hands a message to the home shard.
  using Post = std::function<void(mailbox::MessageType, std::vector<uint8_t>)>;

  KeeperModel(SharedStore& store, uint64_t self) : store_(store), self_(self) {}

  template <class M>
  void post(const M& message, base::Bytes tail = {}) {
    std::vector<uint8_t> bytes(sizeof message + tail.size());
    std::memcpy(bytes.data(), &message, sizeof message);
    if (!tail.empty()) std::memcpy(bytes.data() + sizeof message, tail.data(), tail.size());
    posts_.push_back({M::kType, std::move(bytes)});
  }
  void on_record(base::Bytes bytes) {
    base::Bytes tail;
    const auto r = mailbox::read_message<mailbox::SessionRecord>(bytes, &tail);
    if (r.op == Op::kReturn) return;
    if (r.op == Op::kClear) cleared_ = true;
    std::vector<uint8_t> kept(bytes.begin(), bytes.end());
    if (r.op == Op::kForward && r.origin == 0) {
      mailbox::SessionRecord named = r;
      named.origin = ++store_.last_name;
      std::memcpy(kept.data(), &named, sizeof named);
    }
    if (failed_ || (!cleared_ && r.op != Op::kForward)) {
      pass_over(kept, mailbox::read_message<mailbox::SessionRecord>(kept, &tail), tail);
      return;
    }
    waiting_.push_back({std::move(kept), store_.step, ++store_.arrivals});
  }
  // The store is away, or back, for this gateway: it notices at its next step.
  void step(size_t records) {
    if (store_.away != failed_) {
      failed_ = store_.away;
      if (failed_) {
        for (const auto& [bytes, since, arrival] : waiting_) {
          base::Bytes tail;
          const auto r = mailbox::read_message<mailbox::SessionRecord>(bytes, &tail);
          pass_over(bytes, r, tail);
        }
        waiting_.clear();
        post(mailbox::SessionsStored{stored_, 1, 0});
      } else {
        waiting_.swap(held_);
        post(mailbox::SessionsStored{stored_, 0, 1});
      }
      cleared_ = false;
    }
    if (failed_) return;
    uint64_t done = 0;
    std::vector<std::vector<uint8_t>> answers;
    for (; records != 0 && !waiting_.empty(); --records) {
      base::Bytes tail;
      const auto [bytes, since, arrival] = std::move(waiting_.front());
      waiting_.pop_front();
      const auto r = mailbox::read_message<mailbox::SessionRecord>(bytes, &tail);
      if (r.op == Op::kClaim && store_.step - since > kClaimAge) {
        pass_over(bytes, r, tail);
        done = std::max(done, r.number);
        continue;
      }
      if (r.op == Op::kAnswer) {
        answers.emplace_back(tail.begin(), tail.end());
      } else {
        apply(r, tail);
      }
      done = std::max(done, r.number);
    }
    hear();
    for (const std::vector<uint8_t>& tail : answers) {
      mailbox::SessionClaimed stored{};
      stored.status = mailbox::SessionClaim::kStored;
      post(stored, tail);
    }
    if (done <= stored_) return;
    stored_ = done;
    post(mailbox::SessionsStored{stored_, 0, 0});
  }
  size_t waiting() const { return waiting_.size(); }
  // When the n-th of what waits came, counted over all gateways.
  uint64_t arrival(size_t n) const { return waiting_[n].arrival; }
  bool idle() const { return waiting_.empty() && held_.empty() && posts_.empty(); }
  size_t posts() const { return posts_.size(); }
  void deliver(const Post& to) {
    auto [type, bytes] = std::move(posts_.front());
    posts_.pop_front();
    to(type, std::move(bytes));
  }

 private:
  static constexpr int kClaimAge = 200, kTryAge = 300;  // steps
  struct Held {
    uint64_t gen, session;
    uint32_t coming;
  };
  struct Known {
    std::string player;
    bool unsaid = false;
    uint32_t rows = 1;
  };
  struct Waiting {
    std::vector<uint8_t> bytes;
    int since;
    uint64_t arrival;
  };

  void pass_over(base::Bytes bytes, const mailbox::SessionRecord& r, base::Bytes tail) {
    if (r.op == Op::kClaim || r.op == Op::kAnswer) {
      mailbox::SessionClaimed answer{};
      answer.status =
          r.op == Op::kClaim ? mailbox::SessionClaim::kDown : mailbox::SessionClaim::kStored;
      post(answer, tail);
    } else if (r.op == Op::kForward) {
      held_.push_back({{bytes.begin(), bytes.end()}, store_.step, ++store_.arrivals});
    }
  }
  // `later`: only letters, and not for that player. The rest comes behind the answer to its claim.
  void hear(const std::string& later = {}) {
    std::deque<SharedStore::News>& news = store_.news[self_];
    for (size_t n = news.size(); n != 0; --n) {
      const SharedStore::News one = news.front();
      news.pop_front();
      if (!later.empty() && (one.gen != 0 || one.player == later)) {
        news.push_back(one);
        continue;
      }
      const auto held = held_by_us_.find(one.player);
      if (held == held_by_us_.end()) continue;
      if (one.gen != 0) {
        if (held->second.gen >= one.gen) continue;
        post(mailbox::SessionTaken{held->second.session, held->second.coming},
             base::as_bytes(one.player));
        held_by_us_.erase(held);
        continue;
      }
      for (const mailbox::StoredLetter& l : store_.rows[one.player].letters) {
        std::vector<uint8_t> tail(one.player.begin(), one.player.end());
        tail.insert(tail.end(), l.payload.begin(), l.payload.end());
        post(mailbox::SessionLetter{l.origin, l.session, l.type,
                                    static_cast<uint32_t>(one.player.size())},
             tail);
      }
    }
  }
  static bool is_last(const SharedStore::Row& row, const mailbox::SessionRecord& r) {
    return mailbox::nonce_is_good(r.nonce_before, row.nonce, 0);
  }
  // As the script has it: kTryAge is longer than a claim may wait (kClaimAge).
  bool late_try(const SharedStore::Row& row, const mailbox::SessionRecord& r) const {
    if (r.session == 0 || row.id != r.session || is_last(row, r)) return false;
    if (r.nonce_before != row.nonce_before) return true;
    return row.attached && store_.step - row.seen < kTryAge;
  }
  void claim(const mailbox::SessionRecord& r, base::Bytes tail) {
    base::Bytes rest;
    const auto open = mailbox::read_message<mailbox::SessionOpen>(tail, &rest);
    const std::string player(base::as_text(rest.first(open.player_bytes)));
    hear(player);
    SharedStore::Row& row = store_.rows[player];
    mailbox::SessionClaimed answer{};
    const bool asked_before =
        row.since_ms != 0 && static_cast<int32_t>(r.since_ms - row.since_ms) < 0;
    const bool unsaid = row.holder == 0 && r.session != 0 && r.attached == 0;
    const bool elsewhere = row.holder != self_ && row.holder != 0;
    const bool late = elsewhere && asked_before;
    const bool wait = late || (elsewhere && (store_.settle > 0 || late_try(row, r))) ||
                      (unsaid && store_.settle > 0);
    if (!wait && r.session != 0 && row.id == r.session &&
        (is_last(row, r) || r.nonce_before == row.nonce_before)) {
      row.nonce = r.nonce;
      row.nonce_before = r.nonce_before;
      row.attached = true;
      row.seen = store_.step;
    }
    if (!wait && !asked_before) row.since_ms = r.since_ms;
    if (row.holder == self_ && r.attached != 0) {
      answer.status = mailbox::SessionClaim::kMine;
    } else if (wait) {
      answer.status = late ? mailbox::SessionClaim::kLate : mailbox::SessionClaim::kWait;
    } else {
      answer.from_here = row.holder == self_ ? 1 : 0;
      if (row.holder != self_) store_.take(player, row, self_, r.coming);
      held_by_us_[player] = {row.gen, row.id, row.coming};
      answer.status = mailbox::SessionClaim::kNone;
      if (row.id != 0) {
        answer.status = mailbox::SessionClaim::kState;
        if (const auto [it, is_new] = known_.try_emplace(row.id); is_new) {
          it->second.player = player;
        } else {
          ++it->second.rows;
        }
        auto s = std::make_unique<mailbox::StoredSession>();
        s->id = row.id;
        s->player = player;
        s->received = row.received;
        s->acked = row.acked;
        s->nonce = row.nonce;
        s->nonce_before = row.nonce_before;
        s->attached = true;
        s->messages.assign(row.messages.begin(), row.messages.end());
        s->effects = row.effects;
        s->letters = row.letters;
        answer.state = s.get();
        store_.lent.push_back(std::move(s));
      }
    }
    answer.coming = row.coming;
    post(answer, tail);
  }
  void apply(const mailbox::SessionRecord& r, base::Bytes tail) {
    if (r.op == Op::kClaim) {
      claim(r, tail);
      return;
    }
    if (r.op == Op::kClear || r.op == Op::kSynced) {
      std::vector<uint64_t> gone;
      for (auto& [id, known] : known_) {
        if (r.op == Op::kClear) known.unsaid = true;
        if (r.op == Op::kSynced && known.unsaid) gone.push_back(id);
      }
      for (const uint64_t id : gone) end(id);
      return;
    }
    if (r.op == Op::kForward) {
      const std::string player(base::as_text(tail.first(r.player_bytes)));
      const auto row = store_.rows.find(player);
      if (row != store_.rows.end() && row->second.id != 0 &&
          (r.session == 0 || r.session == row->second.id)) {
        store_.leave_letter(player, row->second, r, tail.subspan(r.player_bytes));
      }
      return;
    }
    if (r.op == Op::kPut) {
      Known& known = known_[r.session];
      known.player = base::as_text(tail);
      known.unsaid = false;
    }
    const auto known = known_.find(r.session);
    if (known == known_.end()) return;
    const std::string player = known->second.player;
    if (r.op == Op::kForget) {
      if (--known->second.rows != 0) return;
      known_.erase(known);
      if (const auto held = held_by_us_.find(player);
          held != held_by_us_.end() && held->second.session == r.session) {
        held_by_us_.erase(held);
      }
      return;
    }
    SharedStore::Row& row = store_.rows[player];
    const bool mine = row.holder == self_ && row.coming == r.coming;
    if (!mine && !(r.op == Op::kPut && (r.fresh != 0 || row.holder == 0))) {
      const bool for_player = r.op == Op::kAppend && r.fresh == 2 && row.id != 0;
      if (for_player || (r.op == Op::kAppend && r.fresh != 0 && row.id == r.session)) {
        mailbox::SessionRecord named = r;
        if (for_player) named.session = 0;
        if (named.origin == 0) named.origin = ++store_.last_name;
        store_.leave_letter(player, row, named, tail);
      } else if (row.holder != 0) {
        const auto held = held_by_us_.find(player);
        if (held != held_by_us_.end() && held->second.session == r.session &&
            held->second.coming == r.coming) {
          held_by_us_.erase(held);
        }
        post(mailbox::SessionTaken{r.session, r.coming}, base::as_bytes(player));
      }
      return;
    }
    if (r.op == Op::kEnd) {
      end(r.session);
      return;
    }
    if (r.op == Op::kPut) {
      if (row.holder != self_) store_.take(player, row, self_, r.coming);
      row.coming = r.coming;
      if (r.since_ms != 0 && static_cast<int32_t>(r.since_ms - row.since_ms) > 0) {
        row.since_ms = r.since_ms;
      }
      std::erase_if(row.letters, [&](const auto& l) {
        return row.id != r.session && l.session != 0 && l.session != r.session;
      });
      row.id = r.session;
      row.messages.clear();
      row.acked = r.acked;
      held_by_us_[player] = {row.gen, row.id, row.coming};
      if (!row.letters.empty()) store_.news[self_].push_back({player, 0});
    }
    if (row.id != r.session) return;
    if (r.op == Op::kAppend || r.op == Op::kSettled) {
      if (r.op == Op::kAppend) {
        row.messages.push_back({r.sequence, r.message_type, {tail.begin(), tail.end()}});
        row.effects.push_back(r.origin);
      }
      std::erase_if(row.letters, [&](const auto& l) { return l.origin == r.origin; });
      return;
    }
    row.received = r.received;
    while (!row.messages.empty() && row.messages.front().sequence <= r.acked) {
      row.messages.pop_front();
    }
    row.acked = r.acked;
    if (r.op == Op::kProgress) return;
    row.seen = store_.step;
    row.nonce = r.nonce;
    row.nonce_before = r.nonce_before;
    row.attached = r.attached != 0;
  }
  void end(uint64_t session) {
    const std::string player = known_[session].player;
    known_.erase(session);
    const auto row = store_.rows.find(player);
    if (row != store_.rows.end() && row->second.holder == self_ && row->second.id == session) {
      store_.rows.erase(row);
    }
  }

  SharedStore& store_;
  uint64_t self_;
  bool failed_ = false;
  bool cleared_ = true;
  uint64_t stored_ = 0;
  std::deque<Waiting> waiting_, held_;
  std::deque<std::pair<mailbox::MessageType, std::vector<uint8_t>>> posts_;
  std::map<uint64_t, Known> known_;
  std::map<std::string, Held> held_by_us_;
};

}  // namespace tidegate::shard
