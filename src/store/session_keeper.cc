// SPDX-License-Identifier: Apache-2.0
#include "store/session_keeper.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "base/log.h"
#include "crypto/random.h"

namespace tidegate::store {

using mailbox::SessionChangeOp;
using mailbox::SessionClaim;
using mailbox::SessionRecord;

namespace {

struct Head {
  uint32_t shard;
  uint32_t bytes;
  int64_t at_ns;
};

base::Instant monotonic_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

SessionRecord record_in(base::Bytes message) {
  SessionRecord record;
  std::memcpy(&record, message.data(), sizeof record);
  return record;
}

template <class Visit>
void for_each(const std::vector<uint8_t>& batch, Visit visit) {
  for (size_t at = 0; at < batch.size();) {
    Head head;
    std::memcpy(&head, batch.data() + at, sizeof head);
    visit(head, base::Bytes{batch.data() + at + sizeof head, head.bytes});
    at += sizeof head + head.bytes;
  }
}

}  // namespace

SessionKeeper::SessionKeeper(std::unique_ptr<SessionStore> store, uint32_t shards,
                             std::string where, std::string remedy, metrics::Counters& counters,
                             std::function<void()> wake_control)
    : store_(std::move(store)),
      where_(std::move(where)),
      remedy_(std::move(remedy)),
      counters_(counters),
      wake_control_(std::move(wake_control)),
      parts_(shards) {
  counters_.set(metrics::Gauge::kSessionStoreUp, 1);
}

SessionKeeper::~SessionKeeper() { stop(); }

void SessionKeeper::begin_failed(const std::string& why) { fail_all(why, {}); }

void SessionKeeper::start() {
  writer_ = std::thread([this] { run_writer(); });
}

void SessionKeeper::begin_anew() {
  for (Part& part : parts_) {
    part.again = true;
    part.cleared = false;
    part.told = false;
  }
}

void SessionKeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

SessionKeeper::Status SessionKeeper::status() {
  const std::lock_guard lock(mutex_);
  return {store_->shared(), failed_, why_, since_, waiting_.size() + held_.size()};
}

void SessionKeeper::keep(std::vector<uint8_t>* into, mailbox::AgentId from, base::Bytes message) {
  const Head head{from, static_cast<uint32_t>(message.size()), monotonic_now().ns};
  const auto* p = reinterpret_cast<const uint8_t*>(&head);
  into->insert(into->end(), p, p + sizeof head);
  into->insert(into->end(), message.begin(), message.end());
}

template <mailbox::Message M>
void SessionKeeper::post(mailbox::AgentId to, const M& message, base::Bytes tail) {
  Post p{to, M::kType, {}};
  const auto* from = reinterpret_cast<const uint8_t*>(&message);
  p.bytes.assign(from, from + sizeof message);
  p.bytes.insert(p.bytes.end(), tail.begin(), tail.end());
  posts_.push_back(std::move(p));
}

// A change that will not be written now. The sessions themselves will be said again.
void SessionKeeper::pass_over(mailbox::AgentId from, const SessionRecord& record,
                              base::Bytes message) {
  if (record.op == SessionChangeOp::kClaim) {
    mailbox::SessionClaimed answer{};
    answer.status = SessionClaim::kDown;
    post(from, answer, message.subspan(sizeof record));
  } else if (record.op == SessionChangeOp::kAnswer) {
    post_stored(from, message);
  } else if (record.op == SessionChangeOp::kForward) {
    if (held_.size() + message.size() > kHeldBytesMax) {
      counters_.add(metrics::Counter::kAcknowledgedNoSession, 1);
    } else {
      keep(&held_, from, message);
    }
  }
}

void SessionKeeper::post_stored(mailbox::AgentId from, base::Bytes message) {
  mailbox::SessionClaimed answer{};
  answer.status = SessionClaim::kStored;
  post(from, answer, message.subspan(sizeof(SessionRecord)));
}

void SessionKeeper::pass_over_all(const std::vector<uint8_t>& batch) {
  for_each(batch, [&](const Head& head, base::Bytes message) {
    pass_over(head.shard, record_in(message), message);
  });
}

void SessionKeeper::on_record(mailbox::AgentId from, base::Bytes message) {
  SessionRecord record = record_in(message);
  const std::lock_guard lock(mutex_);
  if (record.op == SessionChangeOp::kReturn) {
    lent_.erase(record.sequence);
    return;
  }
  std::vector<uint8_t> named;
  if (record.op == SessionChangeOp::kForward && record.origin == 0) {
    // It needs a name, by which it is known when it comes twice.
    (void)crypto::fill_random({reinterpret_cast<uint8_t*>(&record.origin), sizeof record.origin});
    named.assign(message.begin(), message.end());
    std::memcpy(named.data(), &record, sizeof record);
    message = named;
  }
  Part& part = parts_[from];
  if (record.op == SessionChangeOp::kClear) part.cleared = true;
  // They will all be said again, but for what is no session's.
  if (failed_ || (!part.cleared && record.op != SessionChangeOp::kForward)) {
    const bool posted = !posts_.empty();
    pass_over(from, record, message);
    if (!posted && !posts_.empty()) wake_control_();
    return;
  }
  if (waiting_.size() > kWaitingBytesMax) {
    // The writer is far behind. Rather a gap that everybody knows of than memory without end.
    for (Part& p : parts_) {
      p.failed = true;
      p.cleared = false;
      p.told = false;
    }
    pass_over(from, record, message);
    pass_over_all(waiting_);
    waiting_.clear();
    failed_ = true;
    why_ = "too much waits for the store";
    since_ = monotonic_now();
    counters_.set(metrics::Gauge::kSessionStoreUp, 0);
    counters_.add(metrics::Counter::kSessionStoreFailures, 1);
    changed_.notify_all();
    return;
  }
  const bool first = waiting_.empty();
  keep(&waiting_, from, message);
  if (first) changed_.notify_all();
}

bool SessionKeeper::next_word(mailbox::AgentId* to, mailbox::SessionsStored* word) {
  const std::lock_guard lock(mutex_);
  // That a session was taken comes before "safe up to here", which is not true for it.
  if (!posts_.empty()) return false;
  for (mailbox::AgentId i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    if (part.told) continue;
    part.told = true;
    *to = i;
    *word = {part.stored, part.failed ? 1u : 0u, part.again ? 1u : 0u};
    part.again = false;
    return true;
  }
  return false;
}

void SessionKeeper::not_posted(mailbox::AgentId to) {
  const std::lock_guard lock(mutex_);
  parts_[to].told = false;
  // Asking twice to say everything anew is harmless; not asking is not.
  parts_[to].again = parts_[to].again || (!parts_[to].failed && !parts_[to].cleared);
}

const SessionKeeper::Post* SessionKeeper::next_post() {
  const std::lock_guard lock(mutex_);
  return posts_.empty() ? nullptr : &posts_.front();
}

void SessionKeeper::drop_post() {
  const std::lock_guard lock(mutex_);
  posts_.pop_front();
}

void SessionKeeper::run_writer() {
  std::chrono::milliseconds delay = kRetryFirst;
  for (;;) {
    std::vector<uint8_t> batch;
    bool probe = false;
    {
      std::unique_lock lock(mutex_);
      const auto something = [&] {
        return stop_ || !waiting_.empty() || failed_ || (!held_.empty() && !store_->settling());
      };
      if (failed_) {
        if (!stop_) changed_.wait_for(lock, delay, [&] { return stop_; });
        if (stop_) return;
        probe = true;
      } else if (store_->shared()) {
        changed_.wait_for(lock, kPoll, something);
      } else {
        changed_.wait(lock, something);
      }
      if (!probe) {
        // What was held is older than what waits.
        if (!store_->settling()) batch.swap(held_);
        if (batch.empty() && waiting_.empty() && stop_) return;
        if (batch.empty()) {
          batch.swap(waiting_);
        } else {
          batch.insert(batch.end(), waiting_.begin(), waiting_.end());
          waiting_.clear();
        }
      }
    }
    if (probe) {
      try_again(&delay);
      continue;
    }
    if (!batch.empty()) {
      write(batch);
    } else if (store_->shared()) {
      poll();
    }
  }
}

void SessionKeeper::try_again(std::chrono::milliseconds* delay) {
  if (!store_->put_blocking("probe", "1")) {
    *delay = std::min(*delay * 2, kRetryMost);
    const std::lock_guard lock(mutex_);
    if (const std::string why = store_->why_not(); !why.empty()) why_ = why;
    return;
  }
  *delay = kRetryFirst;
  base::log(base::LogLevel::kInfo, where_ + ": sessions are written again");
  last_failure_.clear();
  counters_.set(metrics::Gauge::kSessionStoreUp, 1);
  {
    const std::lock_guard lock(mutex_);
    failed_ = false;
    why_.clear();
    for (Part& part : parts_) {
      part.failed = false;
      part.again = true;
      part.cleared = false;
      part.told = false;
    }
  }
  wake_control_();
}

void SessionKeeper::write(const std::vector<uint8_t>& batch) {
  std::vector<SessionChange> changes;
  std::vector<base::Instant> asked_at;  // of claims, in order
  std::unordered_set<std::string> claimed;
  std::vector<uint64_t> numbers(parts_.size(), 0);
  const bool settling = store_->settling();
  for_each(batch, [&](const Head& head, base::Bytes message) {
    SessionChange change{record_in(message), message.subspan(sizeof(SessionRecord)), head.shard};
    numbers[head.shard] = change.record.number;
    if (settling && change.record.op == SessionChangeOp::kForward) {
      // The receiver's session may not be in the store yet.
      const std::lock_guard lock(mutex_);
      pass_over(head.shard, change.record, message);
      return;
    }
    if (change.record.op == SessionChangeOp::kClaim &&
        monotonic_now().ns - head.at_ns > std::chrono::nanoseconds(kClaimAge).count()) {
      const std::lock_guard lock(mutex_);
      pass_over(head.shard, change.record, message);
      return;
    }
    if (change.record.op == SessionChangeOp::kAnswer) return;
    if (change.record.op == SessionChangeOp::kClaim) {
      asked_at.push_back({head.at_ns});
      base::Bytes tail;
      const auto open = mailbox::read_message<mailbox::SessionOpen>(change.tail, &tail);
      claimed.emplace(base::as_text(tail.first(open.player_bytes)));
    }
    changes.push_back(change);
  });
  std::string error;
  std::vector<StoreNews> news;
  if (!store_->write_blocking(changes, &news, &error)) {
    fail_all(error, batch);
    return;
  }
  counters_.add(metrics::Counter::kSessionChangesStored, changes.size());
  counters_.add(metrics::Counter::kSessionStoreBatches, 1);
  std::vector<StoreNews> heard;
  if (store_->shared() && !store_->poll_blocking(&heard, &error)) {
    fail_all(error, batch);
    return;
  }
  // What others left for players who are here comes before who was with those others until now;
  // what was left for players who come here, behind themselves; all of it before "safe up to here",
  // from which on messages need not go this way.
  std::vector<StoreNews> before, behind;
  for (StoreNews& n : heard) {
    const bool first = n.kind == StoreNews::Kind::kLetter && !claimed.contains(n.player);
    (first ? before : behind).push_back(std::move(n));
  }
  take_news(before, {});
  take_news(news, asked_at);
  take_news(behind, {});
  {
    const std::lock_guard lock(mutex_);
    for_each(batch, [&](const Head& head, base::Bytes message) {
      if (record_in(message).op == SessionChangeOp::kAnswer) post_stored(head.shard, message);
    });
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (numbers[i] == 0) continue;
      parts_[i].stored = std::max(parts_[i].stored, numbers[i]);
      parts_[i].told = false;
    }
  }
  wake_control_();
}

void SessionKeeper::poll() {
  std::vector<StoreNews> news;
  std::string error;
  if (!store_->poll_blocking(&news, &error)) {
    fail_all(error, {});
    return;
  }
  if (news.empty()) return;
  take_news(news, {});
  wake_control_();
}

void SessionKeeper::take_news(std::span<StoreNews> news,
                              const std::vector<base::Instant>& asked_at) {
  using metrics::Counter;
  size_t claims = 0;
  const std::lock_guard lock(mutex_);
  for (StoreNews& n : news) {
    switch (n.kind) {
      case StoreNews::Kind::kClaim: {
        counters_.record(metrics::Timing::kSessionRead, monotonic_now() - asked_at[claims++]);
        mailbox::SessionClaimed answer{};
        answer.status = n.status;
        answer.from_here = n.from_here ? 1 : 0;
        answer.coming = n.coming;
        if (n.state != nullptr) {
          answer.claim = ++last_claim_;
          answer.state = n.state.get();
          lent_[answer.claim] = std::move(n.state);
        }
        post(n.shard, answer, n.asked->tail);
        break;
      }
      case StoreNews::Kind::kTaken:
        post(n.shard, mailbox::SessionTaken{n.session, n.coming}, base::as_bytes(n.player));
        break;
      case StoreNews::Kind::kLetter: {
        counters_.add(Counter::kLettersReceived, 1);
        const mailbox::SessionLetter letter{n.letter.origin, n.letter.session, n.letter.type,
                                            static_cast<uint32_t>(n.player.size())};
        std::vector<uint8_t> tail(n.player.begin(), n.player.end());
        tail.insert(tail.end(), n.letter.payload.begin(), n.letter.payload.end());
        post(n.shard, letter, tail);
        break;
      }
      case StoreNews::Kind::kNoSession:
        counters_.add(Counter::kAcknowledgedNoSession, 1);
        break;
    }
  }
}

void SessionKeeper::fail_all(const std::string& why, const std::vector<uint8_t>& batch) {
  counters_.add(metrics::Counter::kSessionStoreFailures, 1);
  counters_.set(metrics::Gauge::kSessionStoreUp, 0);
  if (why != last_failure_) {
    last_failure_ = why;
    base::log(base::LogLevel::kError,
              where_ + ": sessions cannot be written (" + why +
                  "); players go on, but what happens now is lost if this process ends. " +
                  remedy_ + "; it is tried again every 2 s");
  }
  {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    why_ = why;
    since_ = monotonic_now();
    pass_over_all(batch);
    pass_over_all(waiting_);
    waiting_.clear();
    for (Part& part : parts_) {
      part.failed = true;
      part.cleared = false;
      part.told = false;
    }
  }
  wake_control_();
}

}  // namespace tidegate::store
