// SPDX-License-Identifier: Apache-2.0
// The admin HTTP server: health, metrics, JSON about the running server, commands.
// What it serves is in admin_paths.cc; with it the live page (live_page.h), when it is on.
//
// With a token configured, everything but the health routes and the page's files wants
// `Authorization: Bearer <token>`.
// Errors are JSON: {"error": "<code>", "message": "..."}. One request for each connection: an idle
// client must not hold one of the few threads.
//
// Thread: start and stop by the host; AdminSource is called from the server's own threads.
// Owner: server. Limits: kAdminThreads at work, kAdminWaiting more accepted and waiting.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/address.h"
#include "control/live_page.h"

namespace tidegate::control {

inline constexpr uint32_t kAdminThreads = 3;
inline constexpr uint32_t kAdminWaiting = 64;
inline constexpr uint32_t kConnectionsPageMax = 1000;

struct Health {
  bool ok = false;
  std::string reason;    // why not; empty when ok
  std::string note;      // what is worth knowing of it though it is ok
  std::string degraded;  // what works worse than it should though it is ok
};

struct ConnectionsQuery {
  uint32_t offset = 0;
  uint32_t limit = 100;  // 1..kConnectionsPageMax
  std::string user;      // exact user id; empty: all
  std::string player;    // exact player id; empty: all
  int32_t shard = -1;    // -1: all
};

struct SessionsQuery {
  uint32_t offset = 0;
  uint32_t limit = 100;  // 1..kConnectionsPageMax
  std::string player;    // exact player id; empty: all
};

// Parameters of a command: of the query, or of a form in the body.
struct AdminParameters {
  std::multimap<std::string, std::string> of;
  std::string get(const std::string& name) const {
    const auto it = of.find(name);
    return it == of.end() ? std::string() : it->second;
  }
};

struct AdminReply {
  int status = 200;
  std::string json;
};

// What a reload of certificates did.
struct CommandResult {
  bool ok = false;
  std::string text;  // what is wrong, or a line about what was done
  std::vector<std::string> warnings;
};

// What the admin server shows. Called from several threads at once; may block for a second or two.
class AdminSource {
 public:
  virtual ~AdminSource() = default;
  virtual Health livez() = 0;   // is the process worth keeping
  virtual Health readyz() = 0;  // may new connections be sent here
  virtual std::string metrics_text() = 0;
  // Each a whole JSON document.
  virtual std::string connections_json(const ConnectionsQuery& query) = 0;
  virtual std::string sessions_json(const SessionsQuery& query) = 0;
  virtual std::string shards_json() = 0;
  virtual std::string cells_json() = 0;
  virtual std::string config_json() = 0;
  virtual std::string snapshots_json() = 0;
  virtual std::string presence_json() = 0;
  // Samples of it, oldest first.
  virtual std::string population_json() = 0;
  virtual std::string cluster_json() = 0;
  virtual std::string store_json() = 0;
  // Topics by name, those whose names begin with `prefix`.
  // All that is known of a user; `erase`: and is forgotten now.
  virtual std::string user_json(const std::string& user, bool erase) = 0;
  virtual std::string topics_json(uint32_t offset, uint32_t limit, const std::string& prefix) = 0;
  // Empty: there is no such entity.
  virtual std::string entity_history_json(const std::string& id) = 0;
  // POST /api/v1/<name>, for the names in kAdminCommands.
  virtual AdminReply command(std::string_view name, const AdminParameters& parameters) = 0;
  virtual CommandResult reload_tls() = 0;
};

inline constexpr const char* kAdminCommands[] = {"drain", "kick", "revoke", "reload", "upgrade"};

struct AdminHttpOptions {
  Address listen;     // port 0: any free one
  std::string token;  // empty: no token asked for
  LivePageOptions live;
};

class AdminHttp {
 public:
  // `source` outlives this.
  AdminHttp(AdminSource& source, AdminHttpOptions options);
  ~AdminHttp();  // stops
  AdminHttp(const AdminHttp&) = delete;
  AdminHttp& operator=(const AdminHttp&) = delete;

  // Binds and serves, once. False with text in `error`: the address is in use, not of this machine,
  // ...
  [[nodiscard]] bool start(std::string* error);
  // Waits for requests at work (at most a few seconds). Idempotent.
  void stop();
  // The bound port; 0 when not started.
  uint16_t port() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidegate::control
