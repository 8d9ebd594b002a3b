// SPDX-License-Identifier: Apache-2.0
// What an operator tells a running server: drain, kick, revoke, reload. The same by signal (through
// the program) and by the admin API.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "control/config_diff.h"
#include "control/config_table.h"
#include "control/https_fetch.h"
#include "control/json_writer.h"
#include "control/tls_files.h"
#include "server/agent.h"
#include "server/live_settings.h"
#include "server/server.h"
#include "wire/message_types.h"

namespace tidegate::server {
namespace {

// After the last close frame: for the peers' half of it and what still leaves.
constexpr base::Duration kLastWords = base::milliseconds(2500);
constexpr size_t kReasonMax = 100;  // what fits into a close frame with room to spare

base::Instant monotonic_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

int64_t unix_seconds() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec;
}

control::AdminReply refused(int status, const char* code, const std::string& message) {
  control::JsonWriter json;
  json.begin_object().key("error").text(code).key("message").text(message).end_object();
  return {status, json.take()};
}

const char* name_of(DrainStage stage) {
  switch (stage) {
    case DrainStage::kServing:
      return "serving";
    case DrainStage::kGrace:
      return "grace";
    case DrainStage::kClosing:
      return "closing";
    case DrainStage::kOver:
      return "over";
  }
  return "?";
}

// A session id as CONNECTION_ESTABLISHED and the admin API write it. 0: it is none.
uint64_t parse_session(const std::string& text) {
  if (text.empty() || text.size() > 16) return 0;
  uint64_t value = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return 0;
    value = value << 4 | static_cast<uint64_t>(digit);
  }
  return value;
}

}  // namespace

void Server::begin_drain() {
  const std::lock_guard lock(operator_mutex_);
  if (draining_.exchange(true)) return;
  const control::Config::Drain& d = config_.drain;
  const base::Instant now = monotonic_now();
  drain_order_ = {now + d.grace,
                  d.spread,
                  now + d.deadline,
                  static_cast<uint32_t>(d.retry_after.ns / 1'000'000),
                  false,
                  d.reconnect_url};
  control_->drain(drain_order_, [this] { control_waker_->wake(); });
  drain_stage_.store(DrainStage::kGrace, std::memory_order_relaxed);
  log(base::LogLevel::kInfo, "drain: not ready any more, upgrades are refused with 503; grace " +
                                 std::to_string(d.grace.ns / 1'000'000) + " ms");
}

void Server::force_drain() {
  begin_drain();
  const std::lock_guard lock(operator_mutex_);
  drain_order_.deadline = drain_order_.close_from = monotonic_now();
  control_->drain(drain_order_, [this] { control_waker_->wake(); });
  log(base::LogLevel::kWarn, "drain: forced, everybody is told and closed now");
}

// On the control thread, each turn of it.
void Server::watch_drain() {
  if (!draining_.load(std::memory_order_relaxed)) return;
  const DrainStage before = drain_stage_.load(std::memory_order_relaxed);
  if (before == DrainStage::kServing || before == DrainStage::kOver) return;
  const std::lock_guard lock(operator_mutex_);
  const base::Instant now = monotonic_now();
  uint64_t players = 0;
  uint64_t sockets = 0;
  uint64_t told = 0;
  for (const auto& agent : agents_) {
    players += agent->counters.get(metrics::Gauge::kPlayers);
    sockets += agent->counters.get(metrics::Gauge::kConnectionsOpen);
    told += agent->counters.get(metrics::Counter::kDrainClosed);
  }
  if (players != 0) drain_empty_ = {};
  if (players == 0 && drain_empty_.ns == 0) drain_empty_ = now;
  // Nobody was told yet and nobody is there: no last words to wait for.
  const bool quiet = players == 0 && (sockets == 0 || told == 0 || now - drain_empty_ > kLastWords);
  const bool late = now > drain_order_.deadline + kLastWords;
  DrainStage stage = before;
  if (quiet || late) {
    stage = DrainStage::kOver;
  } else if (now >= drain_order_.close_from || now >= drain_order_.deadline) {
    stage = DrainStage::kClosing;
  }
  control_counters_->set(metrics::Gauge::kDrainStage, static_cast<uint64_t>(stage));
  if (stage == before) return;
  drain_stage_.store(stage, std::memory_order_relaxed);
  log(stage == DrainStage::kOver && players != 0 ? base::LogLevel::kWarn : base::LogLevel::kInfo,
      std::string("drain: ") + name_of(stage) + ", " + std::to_string(players) + " players, " +
          std::to_string(sockets) + " sockets, " + std::to_string(told) + " told and closed");
}

void Server::set_reload(std::function<control::LoadedConfig()> read,
                        std::function<void(const control::Config&)> applied) {
  read_config_ = std::move(read);
  config_applied_ = std::move(applied);
}

control::AdminReply Server::reload() {
  if (!read_config_) return refused(501, "not_supported", "this server has no file to read again");
  const std::lock_guard one_at_a_time(reload_mutex_);
  const control::LoadedConfig loaded = read_config_();
  std::string error;
  std::string key;
  std::unique_ptr<control::AuthService> auth;
  if (!loaded.ok()) {
    error = loaded.errors.front();
    key = loaded.error_keys.front();
  } else if (auth = control::AuthService::make(loaded.config.auth, &error); auth == nullptr) {
    key = error.substr(0, error.find(':'));
  } else if (config_copy().listen.tls.is_set()) {
    std::vector<std::string> ignored;
    if (control::load_tls_blocking(loaded.config.tls, unix_seconds(), &error, &ignored) ==
        nullptr) {
      key = "tls.certificates";
      if (error.empty()) error = "tls.certificates: they could not be read";
    }
  }
  if (!error.empty()) {
    control_counters_->add(metrics::Counter::kReloadsRefused, 1);
    log(base::LogLevel::kError, "reload: refused, nothing is changed: " + error);
    control::JsonWriter json;
    json.begin_object().key("error").text("invalid_config").key("message").text(error);
    json.key("key").text(key).key("errors").begin_array();
    for (const std::string& e : loaded.errors) json.text(e);
    if (loaded.ok()) json.text(error);
    json.end_array().end_object();
    return {422, json.take()};
  }
  control::Config merged = config_copy();
  const control::Config::Auth old_auth = merged.auth;
  const std::vector<control::ConfigChange> changes = control::diff_configs(merged, loaded.config);
  control::take_live_keys(loaded.config, &merged);
  {
    const std::lock_guard lock(operator_mutex_);
    control::take_live_keys(loaded.config, &config_);
  }
  const auto wake = [this] { control_waker_->wake(); };
  const shard::LiveSettings settings = live_settings(merged);
  std::vector<uint8_t> bytes(sizeof settings);
  std::memcpy(bytes.data(), &settings, sizeof settings);
  control_->post_settings(bytes, wake);
  // Keys may be new although no text of the configuration is: files are read again.
  std::shared_ptr<control::AuthService> fresh = std::move(auth);
  control_->run([this, fresh] { auth_->adopt(std::move(*fresh)); }, wake);
  if (old_auth.jwks_url != merged.auth.jwks_url ||
      old_auth.jwks_interval != merged.auth.jwks_interval ||
      old_auth.jwks_cache_file != merged.auth.jwks_cache_file ||
      old_auth.jwks_ca_file != merged.auth.jwks_ca_file) {
    start_jwks(merged.auth);
  }
  if (merged.listen.tls.is_set()) (void)reload_tls();  // it logs what it says
  if (config_applied_) config_applied_(merged);
  control_counters_->add(metrics::Counter::kReloads, 1);
  for (const control::ConfigChange& change : changes) {
    log(base::LogLevel::kInfo, "reload: " + change.key + ": " + change.from + " -> " + change.to +
                                   (change.live ? "" : ", needs a restart"));
  }
  log(base::LogLevel::kInfo, "reload: " + std::to_string(changes.size()) + " keys differ");
  return {200, control::changes_json(changes)};
}

// Begins to fetch the keys of auth.jwks_url, instead of those of another one.
void Server::start_jwks(const control::Config::Auth& auth) {
  std::unique_ptr<control::JwksService> fresh;
  if (!auth.jwks_url.empty()) {
    const auto fetch = [ca_file = auth.jwks_ca_file](const std::string& url, std::string* body,
                                                     std::string* error) {
      return control::fetch_blocking(url, {.ca_file = ca_file}, body, error);
    };
    const auto done = [this](const control::JwksService::Result& result) {
      control_counters_->add(
          result.ok ? metrics::Counter::kKeyFetches : metrics::Counter::kKeyFetchFailures, 1);
      if (!result.error.empty()) log(base::LogLevel::kWarn, "auth.jwks_url: " + result.error);
      control_->run(
          [this, result] {
            std::string error;
            if (result.ok && !auth_->set_url_keys(result.jwks, &error)) {
              log(base::LogLevel::kError, error);
            }
            keys_ready_.store(auth_->has_keys(), std::memory_order_relaxed);
            control_->retry_waiting();
          },
          [this] { control_waker_->wake(); });
    };
    fresh = std::make_unique<control::JwksService>(
        control::JwksOptions{auth.jwks_url, auth.jwks_interval, base::seconds(10),
                             auth.jwks_cache_file},
        fetch, done);
    fresh->start();
  }
  {
    const std::lock_guard lock(jwks_mutex_);
    std::swap(jwks_, fresh);
  }
  // The old one ends here, outside of the lock: it may be in the middle of a fetch.
}

control::Config Server::config_copy() {
  const std::lock_guard lock(operator_mutex_);
  return config_;
}

control::AdminReply Server::kick(const control::AdminParameters& in, bool revoke) {
  control::KickOrder order;
  order.user = in.get("user");
  order.player = in.get("player");
  order.session = parse_session(in.get("session"));
  order.reason = in.get("reason");
  if (order.reason.empty()) order.reason = revoke ? "access was revoked" : "closed by an operator";
  if (order.reason.size() > kReasonMax || !control::is_plain_text(order.reason)) {
    return refused(400, "bad_parameter", "reason must be plain text of at most 100 bytes");
  }
  if (!in.get("session").empty() && order.session == 0) {
    return refused(400, "bad_parameter", "session must be a session id: 16 hexadecimal digits");
  }
  if (order.user.size() > world::kPlayerIdBytesMax ||
      order.player.size() > world::kPlayerIdBytesMax) {
    return refused(400, "bad_parameter", "user and player are at most 64 bytes");
  }
  if (revoke ? order.user.empty()
             : order.user.empty() && order.player.empty() && order.session == 0) {
    return refused(400, "bad_parameter",
                   revoke ? "user is missing" : "one of user, player and session is needed");
  }
  order.code = revoke ? wire::kErrorSessionExpired : wire::kErrorNotPermitted;
  const auto wake = [this] { control_waker_->wake(); };
  bool kept = false;
  if (revoke) {
    double seconds = 24 * 3600;
    if (!in.get("for").empty() && !control::parse_duration_text(in.get("for"), &seconds)) {
      return refused(400, "bad_parameter", "for must be a duration such as 30m or 24h");
    }
    if (!(seconds >= 1) || seconds > 366.0 * 86'400) {
      return refused(400, "bad_parameter", "for must be from 1s to 366d");
    }
    const int64_t now = unix_seconds();
    const int64_t until = now + static_cast<int64_t>(seconds);
    if (std::string error; revocations_.is_open() &&
                           !(kept = revocations_.add_blocking(order.user, now, until, &error))) {
      log(base::LogLevel::kError, "revoke: " + error + "; a restart forgets this one");
    }
    // Before the kick, so that no login slips in between.
    control_->run(
        [this, user = order.user, now, until] {
          if (!auth_->revoke(user, now, until)) {
            log(base::LogLevel::kError,
                "revoke: too many users are revoked; this one is only kicked");
          }
        },
        wake);
  }
  const control::KickResult result = control_->kick_blocking(order, wake);
  log(base::LogLevel::kInfo, std::string(revoke ? "revoke: " : "kick: ") +
                                 std::to_string(result.closed) +
                                 " connections closed, reason: " + order.reason);
  control::JsonWriter json;
  json.begin_object().key("closed").unsigned_integer(result.closed);
  json.key("complete").boolean(result.complete);
  if (revoke) json.key("kept").boolean(kept);
  json.end_object();
  return {200, json.take()};
}

// Before control runs, or by its order.
bool Server::open_revocations(std::string* error) {
  const std::string& path = config_.security.revocations_file;
  if (path.empty()) return true;
  const auto wake = [this] { control_waker_->wake(); };
  return revocations_.open_blocking(
      path, unix_seconds(),
      [&](const std::string& user, int64_t at, int64_t until) {
        if (inheritance_ == nullptr) {
          auth_->restore_revoked(user, at, until);
        } else {
          control_->run([this, user, at, until] { auth_->restore_revoked(user, at, until); }, wake);
        }
      },
      error);
}

control::AdminReply Server::command(std::string_view name, const control::AdminParameters& in) {
  if (name == "kick") return kick(in, false);
  if (name == "revoke") return kick(in, true);
  if (name == "reload") return reload();
  if (name == "upgrade") {
    if (!upgrades_allowed_) {
      return refused(501, "not_supported",
                     "this server cannot start a process that takes over: it is part of a "
                     "program of its own, or security.seccomp is on");
    }
    upgrade_asked_.store(true);
    control::JsonWriter json;
    json.begin_object().key("upgrade").text("begun").end_object();
    return {202, json.take()};
  }
  if (name == "drain") {
    if (in.get("force") == "true") {
      force_drain();
    } else {
      begin_drain();
    }
    control::JsonWriter json;
    json.begin_object().key("stage").text(name_of(drain_stage())).end_object();
    return {202, json.take()};
  }
  return refused(404, "not_found", "there is no such command");
}

}  // namespace tidegate::server
