// SPDX-License-Identifier: Apache-2.0
// The composition root: from options to memory, agents and threads, and back down again. Programs
// and embedders use this; nothing below knows it.
//
// Life: make() takes memory, sets up rings and binds sockets, so every error of the environment
// comes from it, with text; start() makes one thread for each shard and one for control; stop()
// drains and joins. The functions of AdminSource answer from any thread.
//
// Thread: host (make, start, stop), any (the rest). Owner: the program. Limits: ServerOptions.
#pragma once

#include <netinet/in.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "bus/bus_service.h"
#include "bus/nats_transport.h"
#include "control/admin_http.h"
#include "control/auth_service.h"
#include "control/config.h"
#include "control/control_agent.h"
#include "control/json_writer.h"
#include "control/jwks_service.h"
#include "control/revocations.h"
#include "control/snapshot_service.h"
#include "handover/channel.h"
#include "io/backend.h"
#include "io/event_waker.h"
#include "mailbox/mailboxes.h"
#include "mem/budget.h"
#include "metrics/exposition.h"
#include "net/admission.h"
#include "server/population.h"
#include "shard/shard.h"
#include "store/session_keeper.h"
#include "store/session_tokens.h"

namespace tidegate::server {

// Where a drain is.
enum class DrainStage : uint8_t { kServing, kGrace, kClosing, kOver };

// Where the old process of an upgrade is: its shards come to a standstill, say what they have, and,
// when it fails, go on.
enum class UpgradePhase : uint8_t { kNone, kPause, kSave, kResume };

struct Inheritance;  // inheritance.h

// Sum over all shards, for status lines.
struct Figures {
  uint64_t connections = 0;
  uint64_t players = 0;
  uint64_t entities = 0;
  uint64_t ticks = 0;  // of shard 0
  uint64_t tick_overruns = 0;
  uint64_t entity_updates_sent = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t handovers = 0;
  uint64_t moves_applied = 0;
  std::vector<const metrics::Histogram*> ticks_by_shard;  // since the start; live
};

// The bus as the admin API shows it.
struct BusView {
  struct Gateway {
    std::string name;
    bool self = false;
    uint64_t epoch = 0;
    bus::Population population;
  };
  std::vector<Gateway> gateways;
  bus::Population sum;
  bus::BusFigures figures;
  bus::TransportFigures transport;
  bool connected = false;
  bool settled = true;
};

// What an embedder adds. All of it outlives the server.
struct Extensions {
  const shard::HandlerTable* handlers = nullptr;  // null: none
  const shard::HookTable* hooks = nullptr;
  const shard::EventHandlers* events = nullptr;
  std::string environment;  // encoded EnvironmentState to begin with
  std::function<void(base::LogLevel, std::string_view)> log;  // empty: base::log; any thread
};

class Server final : control::AdminSource {
 public:
  // `error` says what was wrong and what to do when nullptr is returned.
  static std::unique_ptr<Server> make(const control::Config& config, std::string* error,
                                      Extensions extensions = {});
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // False with `error` when the admin port cannot be taken.
  bool start(std::string* error);
  // Stops accepting, tells clients, closes within `grace`, joins all threads. Idempotent.
  void stop(base::Duration grace);

  // operator.cc
  // Lets players go as the configuration says (section drain); returns at once, again is no effect.
  // /readyz says 503 from now on. After kOver, stop() has nobody left to tell. Any thread.
  void begin_drain();
  // What is left of it now.
  void force_drain();
  DrainStage drain_stage() const { return drain_stage_.load(std::memory_order_relaxed); }
  bool alive() { return livez().ok; }
  // How reload() reads the configuration, and who is told of the keys that took effect. Before
  // start.
  void set_reload(std::function<control::LoadedConfig()> read,
                  std::function<void(const control::Config&)> applied);
  // Reads it again and applies what may change; what was wrong, or what changed, as JSON. Any
  // thread.
  control::AdminReply reload();

  // upgrade.cc
  // A server that takes over from the process at the other end of `channel`, up to the word that it
  // is to serve; start() follows. nullptr with text: that process goes on.
  static std::unique_ptr<Server> inherit(const control::Config& config, int channel,
                                         std::string* error);
  // The other end: gives everything to the new process. True: this process serves nobody any more
  // and is to end. False with text: it goes on. Blocks; while it runs, from one thread.
  bool hand_over(int channel, std::string* error);
  // The operator wants an upgrade; the program makes the new process and calls hand_over().
  bool take_upgrade_request() { return upgrade_asked_.exchange(false); }
  // Who wants upgrades calls this; without it the admin API refuses.
  void allow_upgrades() { upgrades_allowed_ = true; }

  uint16_t websocket_port() const { return websocket_port_; }
  uint16_t admin_port() const { return admin_port_; }  // 0: no admin listener
  uint16_t tls_port() const { return tls_port_; }      // 0: no TLS listener
  // Reads the certificates again. New connections get them, open ones go on as they are. When
  // anything is wrong the old ones stay. Any thread.
  control::CommandResult reload_tls() override;
  uint64_t memory_reserved() const;
  void read_figures(Figures* out) const;
  std::string metrics() { return metrics_text(); }
  // From now on; `encoded` is at most kEnvironmentBytesMax. While it runs; any thread.
  void set_environment(const std::string& encoded);
  // Messages of the game, from any thread while it runs (events.cc). kBusy: too many wait.
  SendResult send(const Target& target, uint32_t type, Bytes payload);
  SendResult publish(std::string_view topic, Bytes data, uint32_t event_type);
  SendResult set_state(const StateSpec& spec);
  SendResult remove_state(StateScope scope, std::string_view key, std::string_view player);
  SendResult group(const GroupCommand& command);

 private:
  struct Agent;
  Server(const control::Config& config, Extensions extensions);

  SendResult post_state(const shard::StateMail& mail);
  shard::StateWorld state_world() const;
  bool set_up(std::string* error);
  // bus.cc
  bool set_up_bus(uint32_t shards, std::string* error);
  void start_bus();
  void turn_bus(base::Instant now);
  void stop_bus();
  int bus_wait_ms(base::Instant now, int wait_ms) const;
  void write_cluster_users(control::JsonWriter* json);
  bool open_sessions(uint32_t shards, std::string* error);
  std::unique_ptr<store::SessionStore> open_redis(std::string* error);
  bool restore_sessions(std::string* error);
  bool stores_sessions() const;
  void attach_store();
  void attach_lists();
  void settle_sessions();
  // social.cc
  PopulationSample population_now() const;
  bool open_list_keeper(std::string* error);
  bool restore_lists(std::string* error);
  void keep_last_sessions();
  bool set_up_tls(net::TlsConfig* out, std::string* error);
  bool make_backend(const io::IoLimits& limits, Agent* agent, std::string* error);
  void set_up_snapshots(const world::WorldConfig& world);
  void restore_world(const world::WorldConfig& world);
  bool step_upgrade(Agent& agent);
  static void step_aside(uint64_t turns);
  bool reached(UpgradePhase phase, base::Duration limit);
  bool wait_standing(base::Duration limit);
  bool wait_quiet(base::Duration limit);
  struct Standstill {  // when each step of the old process' part was done
    base::Instant stopped, quiet, saved, sent;
  };
  bool stand_still(Standstill* at, std::string* why);
  bool send_state(handover::Channel& channel, base::Instant stopped, std::string* why);
  void go_on();
  void abandon(handover::Channel& channel);
  bool check_inheritance(std::string* error);
  bool adopt_listeners(Agent& agent, uint32_t shard, const io::ListenSpec& spec);
  bool receive_state(std::string* error);
  void report_inheritance();
  bool start_admin(uint16_t port, std::string* error);
  void run_shard(uint32_t index);
  void run_control();
  void log(base::LogLevel level, std::string_view text) const;

  // control::AdminSource
  control::Health livez() override;
  control::Health readyz() override;
  std::string metrics_text() override;
  std::string connections_json(const control::ConnectionsQuery& query) override;
  std::string sessions_json(const control::SessionsQuery& query) override;
  std::string shards_json() override;
  std::string config_json() override;
  std::string cells_json() override;
  std::string snapshots_json() override;
  std::string presence_json() override;
  std::string population_json() override;
  std::string cluster_json() override;
  std::string store_json() override;
  std::string user_json(const std::string& user, bool erase) override;
  std::string topics_json(uint32_t offset, uint32_t limit, const std::string& prefix) override;
  std::string entity_history_json(const std::string& id) override;
  control::AdminReply command(std::string_view name, const control::AdminParameters& in) override;

  control::AdminReply kick(const control::AdminParameters& in, bool revoke);
  [[nodiscard]] bool open_revocations(std::string* error);
  void watch_drain();
  void start_jwks(const control::Config::Auth& auth);
  control::Config config_copy();

  // Live keys change under operator_mutex_ while it runs: others read them through config_copy().
  // All other keys stay as they are once it is set up; shards and other threads read them as they
  // like.
  control::Config config_;
  Extensions extensions_;
  std::unique_ptr<control::AuthService> auth_;
  std::unique_ptr<store::SessionTokens> session_tokens_;
  std::mutex tls_reload_;  // tls_, for its setters
  tls::ContextHolder tls_;
  std::atomic<int64_t> tls_expires_unix_{0};  // of the certificate that expires first
  std::unique_ptr<mailbox::Fabric> fabric_;
  std::unique_ptr<io::EventWaker> control_waker_;
  std::unique_ptr<metrics::Counters> control_counters_;
  std::unique_ptr<control::ControlAgent> control_;
  std::unique_ptr<bus::NatsTransport> transport_;  // nullptr: no bus
  std::unique_ptr<bus::BusService> bus_;
  std::vector<std::pair<uint32_t, uint32_t>> service_types_;
  std::atomic<bool> bus_left_{false};
  base::Instant bus_counted_{};
  std::mutex bus_mutex_;  // bus_view_: what control last saw, for the admin API
  BusView bus_view_;
  std::unique_ptr<control::DesyncDumps> desync_dumps_;
  std::unique_ptr<control::BalanceService> balance_;  // null: cells stay where they are
  std::unique_ptr<PopulationHistory> population_;
  std::unique_ptr<control::ListKeeper> list_keeper_;     // nullptr: so do users' lists
  std::unique_ptr<store::SessionKeeper> keeper_;         // nullptr: sessions end with the process
  std::unique_ptr<control::SnapshotService> snapshots_;  // nullptr: off
  std::unique_ptr<mem::Budget> budget_;
  std::vector<std::unique_ptr<Agent>> agents_;  // one for each shard
  std::unique_ptr<control::AdminHttp> admin_;
  std::thread control_thread_;
  std::atomic<bool> stop_shards_{false};
  std::atomic<bool> stop_control_{false};
  std::atomic<bool> draining_{false};
  std::atomic<int64_t> control_turn_ns_{0};
  std::atomic<DrainStage> drain_stage_{DrainStage::kServing};
  std::unique_ptr<net::AdmissionTables> admission_;
  std::function<control::LoadedConfig()> read_config_;
  std::function<void(const control::Config&)> config_applied_;
  control::Revocations revocations_;
  std::unique_ptr<control::JwksService> jwks_;  // nullptr: none is asked for
  std::mutex jwks_mutex_;                       // jwks_
  std::atomic<bool> keys_ready_{false};
  std::mutex reload_mutex_;
  std::mutex operator_mutex_;  // live keys of config_, and:
  control::DrainOrder drain_order_;
  base::Instant drain_empty_{};               // since when nobody is there
  std::unique_ptr<Inheritance> inheritance_;  // nullptr: a server of its own
  std::atomic<UpgradePhase> upgrade_phase_{UpgradePhase::kNone};
  std::atomic<uint64_t> control_turns_{0}, control_work_{0};
  std::atomic<bool> upgrade_asked_{false};
  bool upgrades_allowed_ = false;
  uint32_t upgrade_tick_ = 0;  // the last one here
  uint32_t heir_takes_ = 0;    // bits of handover/records.h
  base::Instant stopped_{};    // the process before this one ended its last tick
  bool running_ = false;
  io::BackendKind backend_ = io::BackendKind::kAuto;  // of all shards, once one is made
  std::string backend_note_;                          // why it is epoll; empty: it is io_uring
  uint16_t websocket_port_ = 0;
  uint16_t admin_port_ = 0;
  uint16_t tls_port_ = 0;
};

}  // namespace tidegate::server
