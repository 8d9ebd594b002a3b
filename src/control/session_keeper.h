// SPDX-License-Identifier: Apache-2.0
// Writes sessions behind: takes the shards' changes as they come, has a thread of its own put them
// into the store, all that wait as one transaction, and says up to where each shard's changes are
// safe. Whatever fails is a line in the log with a remedy and a counter, and the shards go on
// without waiting; once the store can be written again, they are asked to say everything anew.
//
// Thread: open_blocking(), load_blocking() and start() by the host before threads; on_record() and
// work() by control; stop() by the host after both. Owner: server. Limits: kWaitingBytesMax of
// changes that wait; beyond, the store counts as failed until they are written.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/time.h"
#include "control/session_store.h"
#include "mailbox/mailboxes.h"
#include "metrics/metrics.h"

namespace tidegate::control {

class SessionKeeper {
 public:
  static constexpr size_t kWaitingBytesMax = 64 << 20;
  static constexpr std::chrono::seconds kRetry{2};  // after a failure

  SessionKeeper(std::unique_ptr<SessionStore> store, uint32_t shards, std::string where,
                metrics::Counters& counters, std::function<void()> wake_control);
  ~SessionKeeper();  // stops
  SessionKeeper(const SessionKeeper&) = delete;
  SessionKeeper& operator=(const SessionKeeper&) = delete;

  SessionStore& store() { return *store_; }
  void start();
  // The store is another process': shards are to say everything anew. Before start().
  void begin_anew();
  // Ends the thread behind everything that waits. Idempotent.
  void stop();

  void on_record(mailbox::AgentId from, base::Bytes message);
  // What a shard is to be told, if anything: to be called until it returns false.
  bool next_word(mailbox::AgentId* to, mailbox::SessionsStored* word);
  // A word that found the ring full comes again.
  void not_posted(mailbox::AgentId to);

 private:
  struct Part {
    uint64_t stored = 0;  // of the last that is safe
    bool failed = false;  // the shard's changes are not in the store
    bool again = false;   // it can be written; the shard is to say everything anew
    bool told = true;     // the shard knows all this
    bool cleared = true;  // false: changes are passed over until its kClear comes
  };

  void run_writer();
  void write(const std::vector<uint8_t>& batch);
  void fail_all(const std::string& why);

  std::unique_ptr<SessionStore> store_;
  std::string where_;
  metrics::Counters& counters_;
  std::function<void()> wake_control_;
  std::string last_failure_;  // the writer's

  std::mutex mutex_;  // everything below
  std::condition_variable changed_;
  std::vector<Part> parts_;
  std::vector<uint8_t> waiting_;  // u32 shard, u32 bytes, message; one after the other
  bool stop_ = false;
  bool failed_ = false;
  std::thread writer_;
};

}  // namespace tidegate::control
