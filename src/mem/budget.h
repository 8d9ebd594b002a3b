// SPDX-License-Identifier: Apache-2.0
// One sum of bytes for the whole process, from which every buffer that a client can make the server
// hold is charged, whatever shard and pool it lies in. Pools have their own limits as well; this is
// the one that says what all of them may hold together.
//
// Ranks say who is refused first as the sum nears its limit: new connections, then what a peer has
// begun to say, then what waits for slow readers. What the server has promised to keep (messages
// to be acknowledged, histories) is charged but never refused here: its own limits hold.
//
// Thread: Budget any; an Account its shard's. Owner: server; it outlives the pools. Limits: none of
// its own. Accounts take from the sum in steps of kStepBytes, so that shards seldom meet on it.
#pragma once

#include <atomic>
#include <cstdint>

namespace tidegate::mem {

enum class Rank : uint8_t {
  kNewcomer,  // up to 3/4 of the budget
  kInput,     // up to 7/8: unfinished heads and messages, compression contexts, TLS
  kBacklog,   // up to all of it
  kKept,      // always
};

class Budget {
 public:
  explicit Budget(uint64_t bytes) : limit_(bytes == 0 ? UINT64_MAX : bytes) {}

  uint64_t limit() const { return limit_; }  // UINT64_MAX: none
  uint64_t taken() const { return taken_.load(std::memory_order_relaxed); }
  uint64_t ceiling(Rank rank) const {
    switch (rank) {
      case Rank::kNewcomer:
        return limit_ / 4 * 3;
      case Rank::kInput:
        return limit_ / 8 * 7;
      case Rank::kBacklog:
        return limit_;
      case Rank::kKept:
        break;
    }
    return UINT64_MAX;
  }

 private:
  friend class Account;
  bool take(uint64_t bytes, Rank rank);
  void give(uint64_t bytes) { taken_.fetch_sub(bytes, std::memory_order_relaxed); }

  uint64_t limit_;
  alignas(64) std::atomic<uint64_t> taken_{0};
};

// One shard's part of a budget. Whoever holds none has no budget: pointers to it may be null.
class Account {
 public:
  static constexpr uint64_t kStepBytes = 64 * 1024;

  explicit Account(Budget& budget) : budget_(budget) {}
  ~Account() { budget_.give(taken_); }
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  // False: nothing was charged. kKept never fails.
  [[nodiscard]] bool charge(uint64_t bytes, Rank rank);
  void release(uint64_t bytes);
  // Whether a newcomer is to be turned away.
  bool tight() const { return budget_.taken() > budget_.ceiling(Rank::kNewcomer); }

  uint64_t charged() const { return charged_; }
  uint64_t refused() const { return refused_; }  // charges

 private:
  Budget& budget_;
  uint64_t taken_ = 0;    // from the budget
  uint64_t charged_ = 0;  // of that, what buffers hold
  uint64_t refused_ = 0;
};

}  // namespace tidegate::mem
