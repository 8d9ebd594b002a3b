// SPDX-License-Identifier: Apache-2.0
// Writes sessions behind: takes the shards' changes as they come, has a thread of its own put them
// into the store, all that wait as one batch, and says up to where each shard's changes are
// safe. Whatever fails is a line in the log with a remedy and a counter, and the shards go on
// without waiting; once the store can be written again, they are asked to say everything anew. So
// what waits for a store that is away is the sessions themselves, in their newest state.
//
// Of a store that gateways share it also asks for sessions (SessionChangeOp::kClaim), and tells
// shards which ones were taken and what was left for them.
//
// Thread: load and start() by the host before threads; on_record(), next_word() and next_post() by
// control; stop() by the host after both; status() by any. Owner: server. Limits: kWaitingBytesMax
// of changes that wait; beyond, the store counts as failed until they are written. kHeldBytesMax of
// messages for other gateways that wait for a store that is away, or not settled yet.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/time.h"
#include "mailbox/mailboxes.h"
#include "metrics/metrics.h"
#include "store/session_store.h"

namespace tidegate::store {

class SessionKeeper {
 public:
  static constexpr size_t kWaitingBytesMax = 64 << 20;
  static constexpr size_t kHeldBytesMax = 8 << 20;
  static constexpr std::chrono::milliseconds kRetryFirst{100};  // after a failure
  static constexpr std::chrono::milliseconds kRetryMost{2000};
  static constexpr std::chrono::milliseconds kPoll{50};  // a shared store

  // Who wants a session gets an answer within that, or has to try again: an older wish may be that
  // of a connection that is gone, whose client has its session elsewhere by now.
  static constexpr std::chrono::seconds kClaimAge{2};

  // `where` begins lines of the log; `remedy` ends them.
  SessionKeeper(std::unique_ptr<SessionStore> store, uint32_t shards, std::string where,
                std::string remedy, metrics::Counters& counters,
                std::function<void()> wake_control);
  ~SessionKeeper();  // stops
  SessionKeeper(const SessionKeeper&) = delete;
  SessionKeeper& operator=(const SessionKeeper&) = delete;

  SessionStore& store() { return *store_; }
  // A store that could not be reached at the start counts as failed until it can; before start().
  void begin_failed(const std::string& why);
  void start();
  // The store is another process': shards are to say everything anew. Before start().
  void begin_anew();
  // Ends the thread behind everything that waits. Idempotent.
  void stop();

  void on_record(mailbox::AgentId from, base::Bytes message);
  // What a shard is to be told, if anything: to be called until it returns false. Nothing while
  // there are posts.
  bool next_word(mailbox::AgentId* to, mailbox::SessionsStored* word);
  // A word that found the ring full comes again.
  void not_posted(mailbox::AgentId to);

  // A message for a shard, in order. Valid until drop_post(), which says that it is in the ring.
  struct Post {
    mailbox::AgentId to;
    mailbox::MessageType type;
    std::vector<uint8_t> bytes;
  };
  const Post* next_post();
  void drop_post();

  struct Status {
    bool shared;
    bool failed;
    std::string why;      // when failed
    base::Instant since;  // when failed
    size_t waiting_bytes;
  };
  Status status();

 private:
  struct Part {
    uint64_t stored = 0;  // of the last that is safe
    bool failed = false;  // the shard's changes are not in the store
    bool again = false;   // it can be written; the shard is to say everything anew
    bool told = true;     // the shard knows all this
    bool cleared = true;  // false: changes are passed over until its kClear comes
  };

  void run_writer();
  void try_again(std::chrono::milliseconds* delay);
  void write(const std::vector<uint8_t>& batch);
  void poll();
  void take_news(std::span<StoreNews> news, const std::vector<base::Instant>& asked_at);
  void fail_all(const std::string& why, const std::vector<uint8_t>& batch);
  // With mutex_ held:
  void keep(std::vector<uint8_t>* into, mailbox::AgentId from, base::Bytes message);
  void pass_over(mailbox::AgentId from, const mailbox::SessionRecord& record, base::Bytes message);
  void post_stored(mailbox::AgentId from, base::Bytes message);
  void pass_over_all(const std::vector<uint8_t>& batch);
  template <mailbox::Message M>
  void post(mailbox::AgentId to, const M& message, base::Bytes tail);

  std::unique_ptr<SessionStore> store_;
  std::string where_, remedy_;
  metrics::Counters& counters_;
  std::function<void()> wake_control_;
  std::string last_failure_;  // the writer's

  std::mutex mutex_;  // everything below
  std::condition_variable changed_;
  std::vector<Part> parts_;
  std::vector<uint8_t> waiting_;  // Head and message; one after the other
  std::vector<uint8_t> held_;     // the same, kForward only
  std::deque<Post> posts_;
  // States that shards look at, by the number in SessionClaimed.
  std::unordered_map<uint64_t, std::unique_ptr<StoredSession>> lent_;
  uint64_t last_claim_ = 0;
  bool stop_ = false;
  bool failed_ = false;
  std::string why_;
  base::Instant since_{};
  std::thread writer_;
};

}  // namespace tidegate::store
