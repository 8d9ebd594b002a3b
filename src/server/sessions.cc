// SPDX-License-Identifier: Apache-2.0
// Sessions as the composition root sees them: the store, the key of resume tokens, and the sessions
// that come back at start.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "control/json_writer.h"
#include "control/session_secret.h"
#include "crypto/random.h"
#include "server/agent.h"
#include "server/inheritance.h"
#include "server/server.h"
#include "store/session_store_redis.h"

namespace tidegate::server {
namespace {

constexpr const char* kSecretName = "resume_secret";

int64_t unix_now_s() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec;
}

}  // namespace

// Before the shards: whether there is a store decides what they do.
bool Server::open_sessions(uint32_t shards, std::string* error) {
  control::Config::Session& session = config_.session;
  // In an upgrade the process before this one still has it: attach_store().
  if (stores_sessions() && inheritance_ == nullptr) {
    std::string note;
    std::unique_ptr<store::SessionStore> store =
        store::open_embedded_store_blocking(session.path, unix_now_s(), &note, error);
    if (!note.empty()) {
      log(base::LogLevel::kError, note);
      control_counters_->add(metrics::Counter::kSessionStoreFailures, 1);
    }
    if (store == nullptr) {
      *error = "session.path: " + session.path + ": " + *error +
               "; name a file that this user may write, not used by another server";
      return false;
    }
    keeper_ = std::make_unique<store::SessionKeeper>(
        std::move(store), shards, "session.path: " + session.path, "Free space or mend the disk",
        *control_counters_, [this] { control_waker_->wake(); });
    control_->set_session_keeper(keeper_.get());
    // Tokens have to be good for as long as the sessions they are for.
    if (session.secret.empty() && session.secret_file.empty()) {
      session.secret = keeper_->store().get_blocking(kSecretName);
      if (session.secret.empty()) {
        session.secret = store::SessionTokens::random_secret();
        if (!keeper_->store().put_blocking(kSecretName, session.secret)) {
          log(base::LogLevel::kWarn,
              "session.secret: none is set and none can be kept in session.path; resume tokens "
              "end with this process");
        }
      }
    }
  }
  if (session.store == "redis") {
    std::unique_ptr<store::SessionStore> store = open_redis(error);
    if (store == nullptr) return false;
    const std::string where = "redis.addresses: " + config_.redis.addresses[0];
    const bool reached = store->put_blocking("probe", "1");
    const std::string why = store->why_not();
    keeper_ = std::make_unique<store::SessionKeeper>(
        std::move(store), shards, where, "See that Redis runs and has memory", *control_counters_,
        [this] { control_waker_->wake(); });
    if (!reached) keeper_->begin_failed(why);
    control_->set_session_keeper(keeper_.get());
  }
  session_tokens_ = control::make_session_tokens(session, error);
  if (!session_tokens_) return false;
  control_->set_session_tokens(session_tokens_.get());
  return true;
}

bool Server::stores_sessions() const {
  return config_.session.store == "embedded" && !config_.session.path.empty();
}

// In an upgrade, when the process before this one has let go of the store: its rows are written
// anew from what the shards have. What happens until then is told as late.
void Server::attach_store() {
  if (!stores_sessions()) return;
  const std::string& path = config_.session.path;
  std::string error;
  std::unique_ptr<store::SessionStore> store;
  for (int i = 0; i < 500 && store == nullptr; ++i) {
    if (i != 0) ::poll(nullptr, 0, 20);
    std::string note;
    store = store::open_embedded_store_blocking(path, unix_now_s(), &note, &error);
    if (!note.empty()) log(base::LogLevel::kError, note);
  }
  if (store == nullptr) {
    control_counters_->add(metrics::Counter::kSessionStoreFailures, 1);
    log(base::LogLevel::kError,
        "session.path: " + path + ": " + error + "; sessions end with this process");
    return;
  }
  if (inheritance_->takes_secret && store->get_blocking(kSecretName).empty()) {
    (void)store->put_blocking(kSecretName, config_.session.secret);
  }
  keeper_ = std::make_unique<store::SessionKeeper>(
      std::move(store), static_cast<uint32_t>(agents_.size()), "session.path: " + path,
      "Free space or mend the disk", *control_counters_, [this] { control_waker_->wake(); });
  keeper_->begin_anew();
  keeper_->start();
  control_->run([this] { control_->set_session_keeper(keeper_.get()); },
                [this] { control_waker_->wake(); });
}

// What several gateways use; whether it can be reached does not matter yet.
std::unique_ptr<store::SessionStore> Server::open_redis(std::string* error) {
  const control::Config::Redis& redis = config_.redis;
  if (redis.addresses.empty()) {
    *error = "redis.addresses: session.store = \"redis\" needs at least one";
    return nullptr;
  }
  if (config_.session.secret.empty() && config_.session.secret_file.empty()) {
    *error =
        "session.secret_file: session.store = \"redis\" needs a key of resume tokens, the same on "
        "every gateway";
    return nullptr;
  }
  if (redis.cluster && !redis.sentinel_master.empty()) {
    *error = "redis.cluster: a Cluster has no redis.sentinel_master";
    return nullptr;
  }
  store::RedisOptions options;
  options.addresses = redis.addresses;
  options.master = redis.sentinel_master;
  options.cluster = redis.cluster;
  options.user = redis.user;
  options.password = redis.password;
  options.database = redis.database;
  options.prefix = redis.prefix;
  options.timeout = redis.timeout;
  if (options.password.empty() && !redis.password_file.empty()) {
    std::string why;
    if (!control::read_file_blocking(redis.password_file, 4096, &options.password, &why)) {
      *error = "redis.password_file: " + why;
      return nullptr;
    }
    while (!options.password.empty() &&
           (options.password.back() == '\n' || options.password.back() == '\r')) {
      options.password.pop_back();
    }
  }
  store::RedisStore::Settings settings;
  settings.gateway = crypto::random_text(12);
  if (settings.gateway.empty()) {
    *error = "the system gives no random bytes (getrandom)";
    return nullptr;
  }
  char host[256] = "?";
  (void)gethostname(host, sizeof host - 1);
  settings.description =
      std::string(host) + " " + config_.listen.websocket.text() + " " + std::to_string(getpid());
  settings.session_life = config_.session.resume_window;
  return std::make_unique<store::RedisStore>(std::move(options), std::move(settings));
}

std::string Server::store_json() {
  control::JsonWriter json;
  json.begin_object();
  json.key("kind").text(keeper_ ? config_.session.store : "memory");
  if (keeper_) {
    const store::SessionKeeper::Status status = keeper_->status();
    json.key("shared").boolean(status.shared);
    json.key("up").boolean(!status.failed);
    if (status.failed) {
      timespec t;
      clock_gettime(CLOCK_MONOTONIC, &t);
      json.key("why").text(status.why);
      json.key("down_seconds")
          .unsigned_integer(static_cast<uint64_t>(t.tv_sec - status.since.ns / 1'000'000'000));
    }
    json.key("waiting_bytes").unsigned_integer(status.waiting_bytes);
  }
  json.end_object();
  return json.take();
}

// After the shards, before threads.
bool Server::restore_sessions(std::string* error) {
  if (!keeper_ || keeper_->store().shared()) return true;
  const int64_t now_s = unix_now_s();
  uint64_t restored = 0;
  uint64_t messages = 0;
  uint64_t given_up = 0;
  std::vector<store::SessionChange> changes;
  const auto visit = [&](store::StoredSession&& stored) {
    session::Session s;
    s.id = stored.id;
    s.nonce = stored.nonce;
    s.nonce_before = stored.nonce_before;
    s.created_s = stored.created_s;
    // Who was connected when the server ended has been away since then, which is not known.
    s.seen_s = stored.attached ? static_cast<uint32_t>(now_s) : stored.seen_s;
    s.resumed = stored.resumed;
    s.received = stored.received;
    const uint32_t at = world::home_of(stored.player, static_cast<uint32_t>(agents_.size())).value;
    shard::Shard& home = *agents_[at]->shard;
    bool good = home.restore_session(s, stored.player, stored.acked);
    uint64_t next = stored.acked;
    for (const store::StoredMessage& m : stored.messages) {
      // A hole would shift every number behind it.
      good = good && m.sequence == ++next && home.restore_message(stored.player, m.type, m.payload);
    }
    // The number of shards may have changed, and with it who keeps this one.
    mailbox::SessionRecord r{};
    r.op = good ? mailbox::SessionChangeOp::kUpdate : mailbox::SessionChangeOp::kEnd;
    r.session = s.id;
    r.received = s.received;
    r.acked = stored.acked;
    r.nonce = s.nonce;
    r.nonce_before = s.nonce_before;
    r.seen_s = s.seen_s;
    r.resumed = s.resumed;
    changes.push_back({r, {}, at});
    if (good) {
      ++restored;
      messages += stored.messages.size();
    } else {
      ++given_up;
    }
  };
  std::vector<uint64_t> effects;
  if (!keeper_->store().load_blocking(visit, error) ||
      !keeper_->store().load_effects_blocking(&effects, error)) {
    *error = "session.path: " + config_.session.path + ": " + *error;
    return false;
  }
  for (const auto& agent : agents_) agent->shard->restore_effects(effects);
  std::vector<store::StoreNews> news;
  if (!changes.empty() && !keeper_->store().write_blocking(changes, &news, error)) {
    log(base::LogLevel::kError,
        "session.path: " + config_.session.path + ": " + *error +
            "; sessions that have ended stay in it until it can be written");
    control_counters_->add(metrics::Counter::kSessionStoreFailures, 1);
    error->clear();
  }
  control_counters_->add(metrics::Counter::kSessionsRestored, restored);
  if (restored + given_up != 0) {
    log(base::LogLevel::kInfo,
        "sessions: " + std::to_string(restored) + " with " + std::to_string(messages) +
            " unacknowledged messages came back from " + config_.session.path + ", " +
            std::to_string(given_up) + " had expired or found no room");
  }
  return true;
}

// At a stop, when all connections have gone: their sessions are on their way to control. A shard
// whose outbox is empty some ticks later has said everything.
void Server::settle_sessions() {
  if (!keeper_ && !list_keeper_) return;
  constexpr uint32_t kTicks = 3;
  std::vector<uint32_t> from;
  for (const auto& agent : agents_) from.push_back(agent->shard->current_tick());
  for (int i = 0; i < 300; ++i) {
    bool settled = true;
    for (size_t k = 0; k < agents_.size(); ++k) {
      settled = settled && agents_[k]->shard->current_tick() - from[k] >= kTicks &&
                agents_[k]->counters.get(metrics::Gauge::kOutboxBytes) == 0;
    }
    if (settled) return;
    ::poll(nullptr, 0, 10);
  }
  log(base::LogLevel::kWarn, "sessions: not all of the last changes were stored at the stop");
}

// Behind the shards' threads and control's: what is still in the rings goes to the store.
void Server::keep_last_sessions() {
  if (!keeper_ && !list_keeper_) return;
  struct NoWakes final : mailbox::WakeSink {
    void wake_agent(mailbox::AgentId) override {}
  } no_wakes;
  for (int i = 0; i < 64 && control_->work(unix_now_s() * 1000, no_wakes); ++i) {
  }
  if (keeper_) keeper_->stop();
  if (list_keeper_) list_keeper_->stop();
}

std::string Server::sessions_json(const control::SessionsQuery& query) {
  control::SessionPage page = control_->list_sessions_blocking(
      query.player, 0, query.offset + query.limit, [this] { control_waker_->wake(); });
  std::stable_sort(page.rows.begin(), page.rows.end(),
                   [](const auto& a, const auto& b) { return a.shard < b.shard; });
  control::JsonWriter json;
  json.begin_object().key("total").unsigned_integer(page.total);
  json.key("complete").boolean(page.complete);
  json.key("sessions").begin_array();
  for (size_t i = query.offset; i < page.rows.size() && i < query.offset + query.limit; ++i) {
    const mailbox::SessionRow& row = page.rows[i].row;
    char id[17];
    std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(row.session));
    json.begin_object();
    json.key("session_id").text(id);
    json.key("player_id").text(page.rows[i].player);
    json.key("home_shard").unsigned_integer(page.rows[i].shard);
    json.key("connected").boolean(row.attached != 0);
    json.key("connection_shard");
    if (row.attached != 0) {
      json.unsigned_integer(row.connection_shard);
    } else {
      json.null();
    }
    json.key("created_at").unsigned_integer(row.created_s);
    json.key("seen_at").unsigned_integer(row.seen_s);
    json.key("resumed").unsigned_integer(row.resumed);
    json.key("last_client_sequence").unsigned_integer(row.received);
    json.key("last_sequence").unsigned_integer(row.sent);
    json.key("acknowledged").unsigned_integer(row.acked);
    json.key("unacknowledged_bytes").unsigned_integer(row.replay_bytes);
    json.key("from_store").boolean(row.from_store != 0);
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace tidegate::server
