// SPDX-License-Identifier: Apache-2.0
// Keeps users' lists and groups (session/user_home.h) in a SQLite file, behind: shards post what
// changed, a thread of its own writes all that waits as one transaction. Of several changes of one
// entry only the last is written, so what waits is never more than there are entries; while the
// file cannot be written it waits, and the shards never do. At the start everything is read.
//
// Thread: open_blocking() and load_blocking() by the host before threads; on_record() by control;
// stop() by the host after both. Owner: server. Limits: the entries of all homes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>

#include "base/bytes.h"
#include "metrics/metrics.h"

struct sqlite3;

namespace tidegate::control {

class ListKeeper {
 public:
  static constexpr std::chrono::seconds kRetry{2};  // after a failure

  // Null with text in `error`: the file can be neither opened nor made.
  static std::unique_ptr<ListKeeper> open_blocking(const std::string& path,
                                                   metrics::Counters& counters, std::string* error);
  ~ListKeeper();  // stops
  ListKeeper(const ListKeeper&) = delete;
  ListKeeper& operator=(const ListKeeper&) = delete;

  struct Entry {
    uint8_t relation;  // session::Relation
    uint8_t value;
    std::string_view user;
    std::string_view name;
  };
  // False with text in `error`.
  bool load_blocking(const std::function<void(const Entry&)>& visit, std::string* error);
  void start();
  // Ends the thread behind everything that waits. Idempotent.
  void stop();
  // A mailbox::UserRecord.
  void on_record(base::Bytes message);

 private:
  using Key = std::tuple<std::string, uint8_t, std::string>;  // user, relation, name
  using Changes = std::map<Key, int>;                         // the value, -1: it is no more

  ListKeeper(sqlite3* db, std::string path, metrics::Counters& counters);
  void run_writer();
  bool write_blocking(const Changes& changes);

  sqlite3* db_;
  std::string path_;
  metrics::Counters& counters_;
  bool failing_ = false;  // the writer's: it was said

  std::mutex mutex_;  // everything below
  std::condition_variable changed_;
  Changes waiting_;
  bool stop_ = false;
  std::thread writer_;
};

}  // namespace tidegate::control
