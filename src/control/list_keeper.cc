// SPDX-License-Identifier: Apache-2.0
#include "control/list_keeper.h"

#include <sqlite3.h>

#include <cstring>

#include "base/log.h"
#include "mailbox/mailboxes.h"
#include "mailbox/social_messages.h"

namespace tidegate::control {
namespace {

constexpr int kSchema = 1;
constexpr const char* kCreate = R"(
  BEGIN IMMEDIATE;
  CREATE TABLE entries (
    user TEXT NOT NULL, relation INTEGER NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,
    PRIMARY KEY (user, relation, name)) WITHOUT ROWID;
  PRAGMA user_version = 1;
  COMMIT;
)";

bool run(sqlite3* db, const char* sql) {
  return sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
}

std::string_view text_of(sqlite3_stmt* s, int column) {
  return {reinterpret_cast<const char*>(sqlite3_column_text(s, column)),
          static_cast<size_t>(sqlite3_column_bytes(s, column))};
}

void bind(sqlite3_stmt* s, int at, const std::string& text) {
  sqlite3_bind_text(s, at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

struct Finalizer {
  void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalizer>;

Statement prepare(sqlite3* db, const char* sql) {
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v2(db, sql, -1, &s, nullptr);
  return Statement(s);
}

}  // namespace

ListKeeper::ListKeeper(sqlite3* db, std::string path, metrics::Counters& counters)
    : db_(db), path_(std::move(path)), counters_(counters) {}

ListKeeper::~ListKeeper() {
  stop();
  sqlite3_close_v2(db_);
}

std::unique_ptr<ListKeeper> ListKeeper::open_blocking(const std::string& path,
                                                      metrics::Counters& counters,
                                                      std::string* error) {
  sqlite3* db = nullptr;
  const auto failed = [&](const char* why) {
    *error = "social.path: " + path + ": " + (why != nullptr ? why : "out of memory");
    sqlite3_close_v2(db);
    return nullptr;
  };
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path.c_str(), &db, kFlags, nullptr) != SQLITE_OK) {
    return failed(db != nullptr ? sqlite3_errmsg(db) : nullptr);
  }
  sqlite3_busy_timeout(db, 2000);
  if (!run(db,
           "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
           "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;")) {
    return failed(sqlite3_errmsg(db));
  }
  int version = -1;
  if (const Statement asked = prepare(db, "PRAGMA user_version");
      asked && sqlite3_step(asked.get()) == SQLITE_ROW) {
    version = sqlite3_column_int(asked.get(), 0);
  }
  if (version == 0 && !run(db, kCreate)) return failed(sqlite3_errmsg(db));
  if (version != 0 && version != kSchema) {
    return failed(version < 0 ? sqlite3_errmsg(db) : "it is of another version of this server");
  }
  return std::unique_ptr<ListKeeper>(new ListKeeper(db, path, counters));
}

bool ListKeeper::load_blocking(const std::function<void(const Entry&)>& visit, std::string* error) {
  // Groups' own entries (the highest relation) come behind their members'.
  const Statement all = prepare(
      db_, "SELECT user, relation, name, value FROM entries ORDER BY relation, name, value DESC");
  sqlite3_stmt* const s = all.get();
  int status = SQLITE_ERROR;
  while (s != nullptr && (status = sqlite3_step(s)) == SQLITE_ROW) {
    visit({static_cast<uint8_t>(sqlite3_column_int(s, 1)),
           static_cast<uint8_t>(sqlite3_column_int(s, 3)), text_of(s, 0), text_of(s, 2)});
  }
  if (status == SQLITE_DONE) return true;
  *error = "social.path: " + path_ + ": " + sqlite3_errmsg(db_);
  return false;
}

void ListKeeper::start() {
  writer_ = std::thread([this] { run_writer(); });
}

void ListKeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

void ListKeeper::on_record(base::Bytes message) {
  base::Bytes tail;
  const auto record = mailbox::read_message<mailbox::UserRecord>(message, &tail);
  const std::string_view user = base::as_text(tail.first(record.user_bytes));
  const std::string_view name = base::as_text(tail.subspan(record.user_bytes));
  {
    const std::lock_guard lock(mutex_);
    waiting_[{std::string(user), record.relation, std::string(name)}] =
        record.gone != 0 ? -1 : record.value;
  }
  changed_.notify_all();
}

void ListKeeper::run_writer() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    Changes batch;
    batch.swap(waiting_);
    lock.unlock();
    const bool written = write_blocking(batch);
    lock.lock();
    if (written) continue;
    // What changed meanwhile is newer.
    waiting_.merge(batch);
    if (stop_) return;
    changed_.wait_for(lock, kRetry, [&] { return stop_; });
  }
}

bool ListKeeper::write_blocking(const Changes& changes) {
  bool good = run(db_, "BEGIN IMMEDIATE");
  {
    const Statement put = prepare(db_, "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)");
    const Statement remove =
        prepare(db_, "DELETE FROM entries WHERE user = ? AND relation = ? AND name = ?");
    good = good && put && remove;
    for (const auto& [key, value] : changes) {
      if (!good) break;
      const auto& [user, relation, name] = key;
      sqlite3_stmt* const s = value < 0 ? remove.get() : put.get();
      bind(s, 1, user);
      sqlite3_bind_int(s, 2, relation);
      bind(s, 3, name);
      if (value >= 0) sqlite3_bind_int(s, 4, value);
      good = sqlite3_step(s) == SQLITE_DONE;
      sqlite3_reset(s);
    }
  }
  good = good && run(db_, "COMMIT");
  if (good) {
    if (failing_) base::log(base::LogLevel::kInfo, path_ + ": users' lists are written again");
    failing_ = false;
    return true;
  }
  const std::string why = sqlite3_errmsg(db_);
  (void)run(db_, "ROLLBACK");
  counters_.add(metrics::Counter::kListStoreFailures, 1);
  if (!failing_) {
    base::log(base::LogLevel::kError, "social.path: " + path_ + ": " + why +
                                          "; changes of users' lists wait until it can be written");
  }
  failing_ = true;
  return false;
}

}  // namespace tidegate::control
