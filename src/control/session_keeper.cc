// SPDX-License-Identifier: Apache-2.0
#include "control/session_keeper.h"

#include <cstring>

#include "base/log.h"

namespace tidegate::control {

using mailbox::SessionChangeOp;
using mailbox::SessionRecord;

namespace {
struct Head {
  uint32_t shard;
  uint32_t bytes;
};
}  // namespace

SessionKeeper::SessionKeeper(std::unique_ptr<SessionStore> store, uint32_t shards,
                             std::string where, metrics::Counters& counters,
                             std::function<void()> wake_control)
    : store_(std::move(store)),
      where_(std::move(where)),
      counters_(counters),
      wake_control_(std::move(wake_control)),
      parts_(shards) {}

SessionKeeper::~SessionKeeper() { stop(); }

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

void SessionKeeper::on_record(mailbox::AgentId from, base::Bytes message) {
  SessionRecord record;
  std::memcpy(&record, message.data(), sizeof record);
  const std::lock_guard lock(mutex_);
  Part& part = parts_[from];
  if (record.op == SessionChangeOp::kClear) part.cleared = true;
  if (failed_ || !part.cleared) return;  // they will all be said again
  if (waiting_.size() > kWaitingBytesMax) {
    // The writer is far behind. Rather a gap that everybody knows of than memory without end.
    for (Part& p : parts_) {
      p.failed = true;
      p.cleared = false;
      p.told = false;
    }
    waiting_.clear();
    failed_ = true;
    counters_.add(metrics::Counter::kSessionStoreFailures, 1);
    changed_.notify_all();
    return;
  }
  const bool first = waiting_.empty();
  const Head head{from, static_cast<uint32_t>(message.size())};
  const auto* p = reinterpret_cast<const uint8_t*>(&head);
  waiting_.insert(waiting_.end(), p, p + sizeof head);
  waiting_.insert(waiting_.end(), message.begin(), message.end());
  if (first) changed_.notify_all();
}

bool SessionKeeper::next_word(mailbox::AgentId* to, mailbox::SessionsStored* word) {
  const std::lock_guard lock(mutex_);
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

void SessionKeeper::run_writer() {
  for (;;) {
    std::vector<uint8_t> batch;
    bool probe = false;
    {
      std::unique_lock lock(mutex_);
      if (failed_) {
        if (stop_) return;
        changed_.wait_for(lock, kRetry, [&] { return stop_; });
        if (stop_) return;
        probe = true;
      } else {
        changed_.wait(lock, [&] { return stop_ || !waiting_.empty() || failed_; });
        if (waiting_.empty() && stop_) return;
        batch.swap(waiting_);
      }
    }
    if (!probe) {
      if (!batch.empty()) write(batch);
      continue;
    }
    std::string error;
    if (!store_->put_blocking("probe", "1")) continue;
    base::log(base::LogLevel::kInfo, where_ + ": sessions are written again");
    last_failure_.clear();
    {
      const std::lock_guard lock(mutex_);
      failed_ = false;
      waiting_.clear();
      for (Part& part : parts_) {
        part.failed = false;
        part.again = true;
        part.cleared = false;
        part.told = false;
      }
    }
    wake_control_();
  }
}

void SessionKeeper::write(const std::vector<uint8_t>& batch) {
  std::vector<SessionChange> changes;
  std::vector<uint64_t> numbers(parts_.size(), 0);
  for (size_t at = 0; at < batch.size();) {
    Head head;
    std::memcpy(&head, batch.data() + at, sizeof head);
    SessionChange change;
    const base::Bytes message{batch.data() + at + sizeof head, head.bytes};
    std::memcpy(&change.record, message.data(), sizeof change.record);
    change.tail = message.subspan(sizeof change.record);
    change.shard = head.shard;
    numbers[head.shard] = change.record.number;
    changes.push_back(change);
    at += sizeof head + head.bytes;
  }
  std::string error;
  if (!store_->write_blocking(changes, &error)) {
    fail_all(error);
    return;
  }
  counters_.add(metrics::Counter::kSessionChangesStored, changes.size());
  counters_.add(metrics::Counter::kSessionStoreBatches, 1);
  {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (numbers[i] == 0) continue;
      parts_[i].stored = numbers[i];
      parts_[i].told = false;
    }
  }
  wake_control_();
}

void SessionKeeper::fail_all(const std::string& why) {
  counters_.add(metrics::Counter::kSessionStoreFailures, 1);
  if (why != last_failure_) {
    last_failure_ = why;
    base::log(base::LogLevel::kError,
              where_ + ": sessions cannot be written (" + why +
                  "); players go on, but what happens now is lost if this process ends. Free "
                  "space or mend the disk; it is tried again every 2 s");
  }
  {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    waiting_.clear();
    for (Part& part : parts_) {
      part.failed = true;
      part.cleared = false;
      part.told = false;
    }
  }
  wake_control_();
}

}  // namespace tidegate::control
