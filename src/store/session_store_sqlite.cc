// SPDX-License-Identifier: Apache-2.0
// The embedded store. Write-ahead log with synchronous = NORMAL: a transaction survives the end of
// the process at once, and the end of the machine as soon as the log is synced, which happens at a
// checkpoint; the file is never torn. A batch of changes is one transaction.
#include <sqlite3.h>

#include <cstdio>

#include "store/session_store.h"

namespace tidegate::store {
namespace {

using mailbox::SessionChangeOp;

constexpr int kSchema = 1;
constexpr const char* kCreate = R"(
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, shard INTEGER NOT NULL, player TEXT NOT NULL,
    received INTEGER NOT NULL, acked INTEGER NOT NULL, nonce INTEGER NOT NULL,
    nonce_before INTEGER NOT NULL, created INTEGER NOT NULL, seen INTEGER NOT NULL,
    resumed INTEGER NOT NULL, attached INTEGER NOT NULL);
  CREATE TABLE messages (
    session INTEGER NOT NULL, sequence INTEGER NOT NULL, type INTEGER NOT NULL,
    payload BLOB NOT NULL, PRIMARY KEY (session, sequence)) WITHOUT ROWID;
  CREATE TABLE effects (id INTEGER PRIMARY KEY, origin INTEGER NOT NULL);
  PRAGMA user_version = 1;
)";

// A prepared statement; bound and run, then used again.
class Statement {
 public:
  Statement(sqlite3* db, const char* sql) {
    status_ = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Numbers keep their bits; SQLite knows no unsigned ones.
  Statement& number(int at, uint64_t v) {
    sqlite3_bind_int64(statement_, at, static_cast<int64_t>(v));
    return *this;
  }
  Statement& text(int at, base::Bytes v) {
    sqlite3_bind_text(statement_, at, reinterpret_cast<const char*>(v.data()),
                      static_cast<int>(v.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& blob(int at, base::Bytes v) {
    // A null pointer would be NULL, not an empty blob.
    sqlite3_bind_blob(statement_, at, v.empty() ? reinterpret_cast<const uint8_t*>("") : v.data(),
                      static_cast<int>(v.size()), SQLITE_STATIC);
    return *this;
  }
  bool row() { return (status_ = sqlite3_step(statement_)) == SQLITE_ROW; }
  bool run() {
    (void)row();
    const bool done = status_ == SQLITE_DONE;
    reset();
    return done;
  }
  void reset() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  bool done() const { return status_ == SQLITE_DONE; }
  bool prepared() const { return statement_ != nullptr; }
  uint64_t number_of(int column) const {
    return static_cast<uint64_t>(sqlite3_column_int64(statement_, column));
  }
  uint32_t count_of(int column) const { return static_cast<uint32_t>(number_of(column)); }
  base::Bytes bytes_of(int column) const {
    const auto* data = static_cast<const uint8_t*>(sqlite3_column_blob(statement_, column));
    return {data, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int status_;
};

class SqliteStore final : public SessionStore {
 public:
  explicit SqliteStore(sqlite3* db)
      : db_(db),
        put_(db, "INSERT OR REPLACE INTO sessions VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)"),
        update_(db,
                "UPDATE sessions SET received=?2, acked=?3, nonce=?4, nonce_before=?5, seen=?6, "
                "resumed=?7, attached=?8, shard=?9 WHERE id=?1"),
        append_(db, "INSERT OR REPLACE INTO messages VALUES (?1,?2,?3,?4)"),
        progress_(db, "UPDATE sessions SET received=?2, acked=?3 WHERE id=?1"),
        drop_(db, "DELETE FROM messages WHERE session=?1 AND sequence<=?2"),
        drop_all_(db, "DELETE FROM messages WHERE session=?1"),
        end_(db, "DELETE FROM sessions WHERE id=?1"),
        clear_messages_(db,
                        "DELETE FROM messages WHERE session IN "
                        "(SELECT id FROM sessions WHERE shard=?1)"),
        clear_(db, "DELETE FROM sessions WHERE shard=?1"),
        effect_(db, "INSERT OR REPLACE INTO effects VALUES (?1,?2)"),
        forget_(db, "DELETE FROM effects WHERE id<=?1"),
        begin_(db, "BEGIN IMMEDIATE"),
        commit_(db, "COMMIT") {}
  ~SqliteStore() override {
    // Statements first: they are members. close_v2 waits for them.
    sqlite3_close_v2(db_);
  }

  bool ready() const {
    return put_.prepared() && update_.prepared() && append_.prepared() && progress_.prepared() &&
           drop_.prepared() && drop_all_.prepared() && end_.prepared() &&
           clear_messages_.prepared() && clear_.prepared() && effect_.prepared() &&
           forget_.prepared() && begin_.prepared() && commit_.prepared();
  }

  bool load_blocking(const std::function<void(StoredSession&&)>& visit,
                     std::string* error) override {
    Statement sessions(db_,
                       "SELECT id,player,received,acked,nonce,nonce_before,created,seen,resumed,"
                       "attached FROM sessions ORDER BY attached,seen");
    Statement messages(db_,
                       "SELECT sequence,type,payload FROM messages WHERE session=?1 "
                       "ORDER BY sequence");
    if (!sessions.prepared() || !messages.prepared()) return failed(error);
    while (sessions.row()) {
      StoredSession s;
      s.id = sessions.number_of(0);
      s.player = base::as_text(sessions.bytes_of(1));
      s.received = sessions.number_of(2);
      s.acked = sessions.number_of(3);
      s.nonce = sessions.count_of(4);
      s.nonce_before = sessions.count_of(5);
      s.created_s = sessions.count_of(6);
      s.seen_s = sessions.count_of(7);
      s.resumed = sessions.count_of(8);
      s.attached = sessions.number_of(9) != 0;
      messages.number(1, s.id);
      while (messages.row()) {
        const base::Bytes payload = messages.bytes_of(2);
        s.messages.push_back(
            {messages.number_of(0), messages.count_of(1), {payload.begin(), payload.end()}});
      }
      const bool whole = messages.done();
      messages.reset();
      if (!whole) return failed(error);
      visit(std::move(s));
    }
    return sessions.done() || failed(error);
  }

  bool load_effects_blocking(std::vector<uint64_t>* origins, std::string* error) override {
    Statement all(db_, "SELECT id,origin FROM effects ORDER BY id");
    if (!all.prepared()) return failed(error);
    while (all.row()) {
      effects_ = all.number_of(0);
      origins->push_back(all.number_of(1));
    }
    return all.done() || failed(error);
  }

  bool write_blocking(std::span<const SessionChange> changes, std::vector<StoreNews>*,
                      std::string* error) override {
    if (!begin_.run()) return failed(error);
    bool good = true;
    const uint64_t before = effects_;
    for (const SessionChange& change : changes) good = good && apply(change);
    if (good && effects_ != before && effects_ > kEffectsKept) {
      good = forget_.number(1, effects_ - kEffectsKept).run();
    }
    if (good && commit_.run()) return true;
    failed(error);
    effects_ = before;
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    return false;
  }

  std::string get_blocking(const std::string& name) override {
    Statement get(db_, "SELECT value FROM meta WHERE name=?1");
    if (!get.prepared()) return {};
    get.text(1, base::as_bytes(name));
    return get.row() ? std::string(base::as_text(get.bytes_of(0))) : std::string();
  }

  bool put_blocking(const std::string& name, const std::string& value) override {
    Statement put(db_, "INSERT OR REPLACE INTO meta VALUES (?1,?2)");
    return put.prepared() && put.text(1, base::as_bytes(name)).text(2, base::as_bytes(value)).run();
  }

 private:
  bool failed(std::string* error) {
    *error = sqlite3_errmsg(db_);
    return false;
  }

  bool apply(const SessionChange& change) {
    const mailbox::SessionRecord& r = change.record;
    switch (r.op) {
      case SessionChangeOp::kPut:
        return drop_all_.number(1, r.session).run() && put_.number(1, r.session)
                                                           .number(2, change.shard)
                                                           .text(3, change.tail)
                                                           .number(4, r.received)
                                                           .number(5, r.acked)
                                                           .number(6, r.nonce)
                                                           .number(7, r.nonce_before)
                                                           .number(8, r.created_s)
                                                           .number(9, r.seen_s)
                                                           .number(10, r.resumed)
                                                           .number(11, r.attached)
                                                           .run();
      case SessionChangeOp::kUpdate:
        return update_.number(1, r.session)
                   .number(2, r.received)
                   .number(3, r.acked)
                   .number(4, r.nonce)
                   .number(5, r.nonce_before)
                   .number(6, r.seen_s)
                   .number(7, r.resumed)
                   .number(8, r.attached)
                   .number(9, change.shard)
                   .run() &&
               drop_.number(1, r.session).number(2, r.acked).run();
      case SessionChangeOp::kAppend:
        if (r.origin != 0 && !effect_.number(1, ++effects_).number(2, r.origin).run()) return false;
        return append_.number(1, r.session)
            .number(2, r.sequence)
            .number(3, r.message_type)
            .blob(4, change.tail)
            .run();
      case SessionChangeOp::kProgress:
        return progress_.number(1, r.session).number(2, r.received).number(3, r.acked).run() &&
               drop_.number(1, r.session).number(2, r.acked).run();
      case SessionChangeOp::kEnd:
        return drop_all_.number(1, r.session).run() && end_.number(1, r.session).run();
      case SessionChangeOp::kSynced:
        return true;
      case SessionChangeOp::kClaim:
      case SessionChangeOp::kForward:
      case SessionChangeOp::kSettled:
      case SessionChangeOp::kForget:
      case SessionChangeOp::kReturn:
      case SessionChangeOp::kAnswer:
        return false;  // of a shared store only
      case SessionChangeOp::kClear:
        return clear_messages_.number(1, change.shard).run() &&
               clear_.number(1, change.shard).run();
    }
    return false;
  }

  sqlite3* db_;
  Statement put_, update_, append_, progress_, drop_, drop_all_, end_, clear_messages_, clear_;
  Statement effect_, forget_;
  Statement begin_, commit_;
  uint64_t effects_ = 0;  // id of the last one
};

bool run(sqlite3* db, const char* sql) {
  return sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
}

// kDamaged: the file is there and no database, or one that does not hold together.
enum class Opened { kGood, kDamaged, kFailed };

Opened open(const std::string& path, sqlite3** db, std::string* error) {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int status = sqlite3_open_v2(path.c_str(), db, flags, nullptr);
  const auto outcome = [&](int s) {
    *error = *db != nullptr ? sqlite3_errmsg(*db) : "out of memory";
    sqlite3_close_v2(*db);
    *db = nullptr;
    s &= 0xff;
    return s == SQLITE_NOTADB || s == SQLITE_CORRUPT ? Opened::kDamaged : Opened::kFailed;
  };
  if (status != SQLITE_OK) return outcome(status);
  sqlite3_busy_timeout(*db, 2000);
  // One server to a file: a second one is refused by the lock, not found out by chance.
  if (!run(*db,
           "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
           "PRAGMA synchronous = NORMAL;")) {
    return outcome(sqlite3_errcode(*db));
  }
  int version = -1;
  bool whole = false;
  {
    Statement check(*db, "PRAGMA quick_check(1)");
    whole = check.prepared() && check.row() && base::as_text(check.bytes_of(0)) == "ok";
    if (!whole && sqlite3_errcode(*db) != SQLITE_ROW) status = sqlite3_errcode(*db);
  }
  if (!whole) return outcome(status == SQLITE_OK ? SQLITE_CORRUPT : status);
  {
    Statement asked(*db, "PRAGMA user_version");
    if (asked.prepared() && asked.row()) version = static_cast<int>(asked.number_of(0));
  }
  if (version == 0 && !run(*db, (std::string("BEGIN IMMEDIATE;") + kCreate + "COMMIT;").c_str())) {
    return outcome(sqlite3_errcode(*db));
  }
  if (version != 0 && version != kSchema) {
    outcome(SQLITE_ERROR);
    *error = "it was written by another version of this server";
    return Opened::kFailed;
  }
  return Opened::kGood;
}

}  // namespace

std::unique_ptr<SessionStore> open_embedded_store_blocking(const std::string& path, int64_t unix_s,
                                                           std::string* note, std::string* error) {
  sqlite3* db = nullptr;
  Opened opened = open(path, &db, error);
  if (opened == Opened::kDamaged) {
    const std::string aside = path + ".damaged-" + std::to_string(unix_s);
    *note = "session.path: " + path + " is damaged (" + *error + "); it was put aside as " + aside +
            " and a new one begins without sessions";
    if (std::rename(path.c_str(), aside.c_str()) != 0) {
      *error = path + " is damaged and cannot be put aside";
      return nullptr;
    }
    (void)std::remove((path + "-wal").c_str());
    (void)std::remove((path + "-shm").c_str());
    opened = open(path, &db, error);
  }
  if (opened != Opened::kGood) return nullptr;
  auto store = std::make_unique<SqliteStore>(db);
  if (!store->ready()) {
    *error = sqlite3_errmsg(db);
    return nullptr;
  }
  return store;
}

}  // namespace tidegate::store
