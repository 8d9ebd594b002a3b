// SPDX-License-Identifier: Apache-2.0
// The control agent: answers what shards ask of the slow side. It checks tokens, and collects rows
// of the connection tables for the admin API. It may block and allocate; shards never wait for it.
//
// Thread: control, except the *_blocking functions, which any host thread may call.
// Owner: server. Limits: one ring for each shard and direction (mailbox::FabricLimits).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/time.h"
#include "bus/bus_service.h"
#include "control/auth_service.h"
#include "control/balance_service.h"
#include "control/desync_dumps.h"
#include "control/list_keeper.h"
#include "control/snapshot_service.h"
#include "mailbox/mailboxes.h"
#include "mailbox/social_messages.h"
#include "metrics/metrics.h"
#include "store/session_keeper.h"
#include "store/session_tokens.h"

namespace tidegate::control {

// One connection as the admin API shows it.
struct ConnectionInfo {
  uint32_t shard;
  mailbox::ConnectionRow row;
  std::string user;
  std::string player;
};

struct ConnectionPage {
  std::vector<ConnectionInfo> rows;
  uint64_t total = 0;     // connections on all shards
  bool complete = false;  // false: a shard did not answer in time
};

// One topic as the admin API shows it.
struct TopicInfo {
  uint64_t last_offset = 0;  // 0: nothing was published yet
  uint32_t home = 0;         // shard
  uint32_t subscribers = 0;  // on all shards
  uint32_t shards = 0;       // with subscribers
  uint32_t history_messages = 0, history_bytes = 0;
};

inline constexpr uint32_t kTopicRowsMax = 16'384;  // of each shard

struct TopicPage {
  std::map<std::string, TopicInfo> topics;
  uint64_t total = 0;     // topics of all homes
  bool complete = false;  // false: a shard did not answer in time
};

inline constexpr uint32_t kUserFactsMax = 100'000;

// What all shards know of one user.
struct UserFact {
  mailbox::UserFactKind kind;
  uint8_t value;
  uint64_t number;
  std::string name, data;
};
struct UserPage {
  std::vector<UserFact> facts;
  bool complete = true;  // false: a shard did not answer, or could not say all
};

// One session as the admin API shows it.
struct SessionInfo {
  uint32_t shard;  // its home
  mailbox::SessionRow row;
  std::string player;
};

struct SessionPage {
  std::vector<SessionInfo> rows;
  uint64_t total = 0;
  bool complete = false;
};

// The past of one entity as the admin API shows it; `found` false: no shard has it.
struct EntityHistory {
  bool found = false;
  uint32_t shard = 0;
  mailbox::HistoryAnswer answer{};
  std::vector<uint8_t> samples;  // world::HistorySample, oldest first
  std::string player;
};

// When and how the shards let their players go (mailbox::Drain).
struct DrainOrder {
  base::Instant close_from{};
  base::Duration spread{};
  base::Instant deadline{};
  uint32_t retry_after_ms = 0;
  bool stop_accepting = false;
  std::string reconnect_url;
};

// Whose connections are closed; what is empty or 0 is not asked for.
struct KickOrder {
  std::string user;
  std::string player;
  uint64_t session = 0;
  uint16_t code = 0;  // of DISCONNECT
  std::string reason;
};

struct KickResult {
  uint32_t closed = 0;
  bool complete = false;  // false: a shard did not answer in time
};

class ControlAgent final : bus::ShardPort {
 public:
  ControlAgent(mailbox::Fabric& fabric, AuthService& auth, metrics::Counters& counters);

  // Where the shards' parts of snapshots go; nullptr (the default): none are asked for. Before the
  // first work().
  void set_snapshots(SnapshotService* snapshots) { snapshots_ = snapshots; }
  // Asks every shard for its part of a snapshot when one is due.
  // Where wrong checksums are written down; nullptr (the default): nowhere. Before the first turn.
  void set_desync_dumps(DesyncDumps* dumps) { desync_dumps_ = dumps; }
  // Where shards' loads go; nullptr (the default): nowhere. Before the first turn.
  void set_balance(BalanceService* balance) { balance_ = balance; }
  // Whether keys that a token needs may come soon; then its answer waits for retry_waiting().
  void set_ask_keys(std::function<bool(base::Instant)> ask) { ask_keys_ = std::move(ask); }
  // On the control thread: keys were fetched, or could not be.
  void retry_waiting();
  // Without it no resume tokens are given. Before the first turn.
  void set_session_tokens(const store::SessionTokens* tokens) { session_tokens_ = tokens; }
  // Where sessions are written to; nullptr (the default): nowhere. Before the first turn.
  void set_session_keeper(store::SessionKeeper* keeper) { session_keeper_ = keeper; }
  // The way to other gateways; nullptr (the default): there are none. Before the first turn.
  void set_bus(bus::BusService* bus) { bus_ = bus; }
  void set_list_keeper(ListKeeper* keeper) { list_keeper_ = keeper; }
  void turn_snapshots(base::Instant now, base::UnixMs unix_ms);
  void turn_bus(base::Instant now);
  // Handles what waits in the rings. True when there was anything.
  bool work(base::UnixMs unix_ms, mailbox::WakeSink& wakes);
  // Around a wait of the control thread; see Mailbox.
  bool prepare_to_sleep() { return mailbox_.prepare_to_sleep() && !has_requests(); }
  void awake() { mailbox_.awake(); }

  // --- from host threads; `wake` makes the control thread call work() ---
  // Rows offset..offset+limit of every shard.
  ConnectionPage list_connections_blocking(uint32_t offset, uint32_t limit,
                                           const std::function<void()>& wake);
  // The topics of every home and who subscribes to them; not complete beyond kTopicRowsMax rows.
  TopicPage list_topics_blocking(const std::function<void()>& wake);
  // What is known of a user; `erase`: and forgotten.
  UserPage ask_user_blocking(const std::string& user, bool erase,
                             const std::function<void()>& wake);
  // Sessions offset..offset+limit of every shard, or that of `player`.
  SessionPage list_sessions_blocking(const std::string& player, uint32_t offset, uint32_t limit,
                                     const std::function<void()>& wake);
  // By player id, or by entity when `player` is empty.
  EntityHistory entity_history_blocking(std::string player, base::EntityId entity,
                                        const std::function<void()>& wake);
  // Closes one connection; false when the shard does not exist.
  bool close_connection(uint32_t shard, base::ConnectionRef connection, uint16_t code,
                        const std::function<void()>& wake);
  // control_operator.cc
  void drain(const DrainOrder& order, const std::function<void()>& wake);
  KickResult kick_blocking(const KickOrder& order, const std::function<void()>& wake);
  // Gives every shard new limits; opaque here (shard::LiveSettings).
  void post_settings(const std::vector<uint8_t>& settings, const std::function<void()>& wake);
  // Runs `work` on the control thread, before what is asked later.
  void run(std::function<void()> work, const std::function<void()>& wake);
  // Posts a message to a shard for a host thread; false while kHostPostsMax of them wait.
  template <mailbox::Message M>
  bool post_for_host(uint32_t shard, const M& message, base::Bytes tail,
                     const std::function<void()>& wake) {
    return enqueue_bounded(
        [this, shard, message, kept = std::vector<uint8_t>(tail.begin(), tail.end())] {
          return mailbox_.post(shard, message, kept);
        },
        wake);
  }
  // Gives every shard the zone's environment.
  void set_environment(const std::string& encoded, const std::function<void()>& wake);

 private:
  struct HistoryQuestion {
    EntityHistory answer;
    uint32_t shards_left;
  };
  struct KickQuestion {
    uint32_t closed = 0;
    uint32_t shards_left = 0;
  };
  struct Listing {
    ConnectionPage page;
    std::vector<SessionInfo> sessions;
    uint32_t shards_left;
  };
  struct UserListing {
    UserPage page;
    uint32_t shards_left = 0;
  };
  struct TopicListing {
    TopicPage page;
    uint32_t shards_left;
    bool more = false;
  };
  using Request = std::function<bool()>;  // posts messages; false: a ring was full, try again
  static constexpr size_t kHostPostsMax = 8192;

  enum class Unknown : uint8_t { kMayWait, kIsRefused };  // a token with an unknown key
  void on_auth_request(mailbox::AgentId from, base::Bytes bytes, base::UnixMs unix_ms,
                       Unknown unknown);
  // bus::ShardPort
  bool post(uint32_t shard, mailbox::MessageType type, base::Bytes bytes) override {
    return mailbox_.post_raw(shard, static_cast<uint16_t>(type), bytes);
  }
  std::string give_tokens(const AuthOutcome& who, std::string_view shown, int64_t unix_now,
                          mailbox::AuthResult* result);
  void tell_stored();
  void on_session_row(mailbox::AgentId from, base::Bytes bytes);
  void on_row(mailbox::AgentId from, base::Bytes bytes);
  void on_list_end(base::Bytes bytes);
  void on_history(mailbox::AgentId from, base::Bytes bytes);
  void on_kicked(base::Bytes bytes);
  void on_topic_row(mailbox::AgentId from, base::Bytes bytes);
  void on_topic_list_end(base::Bytes bytes);
  void on_user_fact(base::Bytes bytes);
  bool has_requests();
  void enqueue(Request request, const std::function<void()>& wake);
  bool enqueue_bounded(Request request, const std::function<void()>& wake);
  void run_requests();

  mailbox::Mailbox mailbox_;
  AuthService& auth_;
  metrics::Counters& counters_;
  SnapshotService* snapshots_ = nullptr;
  DesyncDumps* desync_dumps_ = nullptr;
  BalanceService* balance_ = nullptr;
  std::function<bool(base::Instant)> ask_keys_;
  base::Instant now_{};
  base::UnixMs unix_ms_ = 0;
  // Token checks that wait for keys.
  std::vector<std::pair<mailbox::AgentId, std::vector<uint8_t>>> waiting_;
  const store::SessionTokens* session_tokens_ = nullptr;
  store::SessionKeeper* session_keeper_ = nullptr;
  bus::BusService* bus_ = nullptr;
  ListKeeper* list_keeper_ = nullptr;
  std::deque<std::pair<mailbox::AgentId, std::vector<uint8_t>>>
      unsent_;  // answers a full ring held up

  std::mutex mutex_;  // everything below
  std::condition_variable changed_;
  std::deque<Request> requests_;
  std::map<uint32_t, Listing> listings_;
  std::map<uint32_t, HistoryQuestion> histories_;
  std::map<uint32_t, KickQuestion> kicks_;
  std::map<uint32_t, TopicListing> topic_listings_;
  std::map<uint32_t, UserListing> user_pages_;
  uint32_t next_listing_ = 1;
};

}  // namespace tidegate::control
