// SPDX-License-Identifier: Apache-2.0
// Snapshots of the world: asks the shards for one at each interval, collects their pieces, and has
// a thread of its own pack and write the file, so that neither a shard nor a token check waits for
// a disk. At start it finds the newest file that is good. Whatever fails is a line in the log with
// a remedy and a counter; the server goes on.
//
// Thread: recover_blocking() and start() by the host before threads, work(), on_piece(), on_end()
// by control, *_blocking() and json by any host thread. Owner: server. Limits: one snapshot under
// way; kGiveUp for its pieces.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/time.h"
#include "control/snapshot_store.h"
#include "mailbox/mailboxes.h"
#include "metrics/metrics.h"

namespace tidegate::control {

struct SnapshotOptions {
  std::string directory;
  base::Duration interval = base::seconds(10);
  uint32_t keep = 3;
  uint32_t shards = 1;
  SnapshotWorld world;
  std::function<uint32_t()> newest_tick;  // that any shard has ended; called by control
  std::function<void()> wake_control;
};

class SnapshotService {
 public:
  static constexpr base::Duration kGiveUp = base::seconds(30);

  SnapshotService(SnapshotOptions options, metrics::Counters& counters);
  ~SnapshotService();  // stops
  SnapshotService(const SnapshotService&) = delete;
  SnapshotService& operator=(const SnapshotService&) = delete;

  // The newest good snapshot of this zone, or none. Each file that is refused is logged by name.
  std::optional<Snapshot> recover_blocking();
  // The name of the file that recover_blocking() returned; empty without one.
  const std::string& recovered_name() const { return recovered_name_; }

  // Begins the writing thread.
  void start();
  // Ends it after the file that is being written. Idempotent.
  void stop();

  // What is due. Returns the tick that every shard is to be asked for, 0: none.
  uint32_t work(base::Instant now, base::UnixMs unix_ms);
  void on_piece(mailbox::AgentId from, base::Bytes message);
  void on_end(mailbox::AgentId from, base::Bytes message);

  // Takes one more snapshot now and waits until it is on disk or has failed; false then, or after
  // `patience`. Needs a running control thread.
  bool take_blocking(base::Duration patience);
  // {"directory": ..., "files": [...]}
  std::string json_blocking() const;

 private:
  struct Part {
    std::vector<uint8_t> records;
    bool ended = false;
  };
  struct Job {
    uint32_t tick;
    base::UnixMs unix_ms;
    std::vector<std::vector<uint8_t>> records;
  };
  struct Result {
    bool ok;
    std::string text;  // name of the file, or what went wrong
    uint64_t bytes;
    uint32_t records;
  };

  void run_writer();
  void take_result(base::Instant now);
  void finish_collecting();
  void failed(const std::string& what);
  void finished(bool ok);

  SnapshotOptions options_;
  metrics::Counters& counters_;
  SnapshotStore store_;
  std::string recovered_name_;

  // Control's own.
  bool collecting_ = false;
  bool writing_ = false;
  uint32_t tick_ = 0;
  base::UnixMs unix_ms_ = 0;
  base::Instant asked_{};
  base::Instant due_{};  // {}: not set yet
  base::Instant written_{};
  std::vector<Part> parts_;
  std::string last_failure_;

  mutable std::mutex mutex_;  // everything below
  std::condition_variable changed_;
  std::optional<Job> job_;
  std::optional<Result> result_;
  bool stop_ = false;
  uint64_t wanted_ = 0;  // snapshots asked for by take_blocking()
  uint64_t begun_ = 0;   // value of wanted_ when the running one began
  uint64_t served_ = 0;  // value of begun_ of the last that ended
  bool served_ok_ = false;
  std::thread writer_;
};

}  // namespace tidegate::control
