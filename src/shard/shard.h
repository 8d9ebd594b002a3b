// SPDX-License-Identifier: Apache-2.0
// One shard: the agent that owns a core's sockets, connections, players and slice of the world. It
// brings the parts together and holds the order of a turn; the work itself is in the parts.
//
// A turn, in this order, each step bounded:
//   completions   what io reports: accepts, received bytes, closes (net)
//   inboxes       messages from other agents
//   timers        handshakes, heartbeats, late CLIENT_HELLOs
//   tick          the phases of tick_barrier.h that are due
//   outgoing      mailboxes published, TLS handshakes within their budget, one send for each
//                 connection with output
//   submit, wait  until a completion, a wake, a timer or the next tick
//
// Files: shard.cc the turn; login.cc upgrade to entity; messages.cc what clients send;
// replies.cc what it answers; delivery.cc sessions and acknowledged messages; handlers.cc an
// embedder's handlers; tick.cc simulate, encode, flush; home.cc the directory of players; admin.cc
// rows; drain.cc drain and kick; settings.cc reload; snapshot.cc cuts for world snapshots;
// desync.cc clients' checksums; balance.cc cells that change their owner; targets.cc messages of
// the game to many. json.cc clients of the JSON-RPC subprotocol. Topics, presence and keyed state
// are parts of their own.
//
// Thread: shard. Owner: server. Limits: ShardConfig.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "io/io.h"
#include "mailbox/mailboxes.h"
#include "metrics/metrics.h"
#include "net/endpoint.h"
#include "shard/balance.h"
#include "shard/cluster.h"
#include "shard/drain.h"
#include "shard/event_handlers.h"
#include "shard/handler_table.h"
#include "shard/identities.h"
#include "shard/join_queue.h"
#include "shard/json_clients.h"
#include "shard/outbox.h"
#include "shard/packing.h"
#include "shard/player.h"
#include "shard/presence.h"
#include "shard/realm.h"
#include "shard/router.h"
#include "shard/session_home.h"
#include "shard/snapshot_capture.h"
#include "shard/social.h"
#include "shard/states.h"
#include "shard/steer_buffer.h"
#include "shard/tick_barrier.h"
#include "shard/topics.h"
#include "shard/world_bridge.h"
#include "wire/messages.h"
#include "world/directory.h"
#include "world/interest.h"
#include "world/load_governor.h"
#include "world/world_slice.h"

namespace tidegate::shard {

struct ShardConfig {
  uint32_t index = 0;
  uint32_t count = 1;
  net::EndpointConfig endpoint;
  world::WorldConfig world;
  uint32_t messages_per_second = 2000;  // from one connection
  uint32_t messages_burst = 4000;
  uint32_t joins_per_second = 2000;
  uint32_t violations_per_minute = 100;  // then close 1008
  bool claims = true;                    // whether PLAYER_MOVE is taken
  base::Duration hello_wait = base::seconds(1);
  bool close_at_expiry = true;                        // of the token
  base::Duration expiry_warning = base::seconds(30);  // before it; 0: none
  base::Duration expiry_leeway = base::seconds(5);    // after it
  std::string_view server_version;                    // outlives the shard
  base::Instant first_tick;                           // the same for all shards
  uint32_t balance_ticks = 0;                         // between two load reports; 0: none
  bool snapshots = false;                             // whether control may ask for them
  uint64_t seed = 1;                                  // ids of sessions, WebSocket keys of nobody
  const HandlerTable* handlers = nullptr;  // of an embedder; null: none. Outlives the shard
  base::Duration handler_time_limit = base::seconds(5);  // longer is answered with 4008
  const HookTable* hooks = nullptr;                      // likewise
  std::string_view environment;  // encoded EnvironmentState to begin with; copied
  base::Duration tick_hook_budget = base::milliseconds(2);  // longer is counted
  base::Duration handler_budget = base::milliseconds(1);    // longer is counted
  RealmConfig realm;
  session::TopicLimits topics;
  session::PresenceLimits presence;
  state::StateLimits states;
  session::GroupLimits groups;
  session::UserLimits users;
  PackingConfig packing;
  bool keep_lists = false;                // control keeps groups and users' lists
  std::string_view region;                // in PRESENCE_UPDATE; copied
  const EventHandlers* events = nullptr;  // of an embedder; null: none. Outlives the shard
  // Types that backend services on the bus serve, as first and last; beyond them kRoutesMax. Not
  // those that an embedder serves. Outlives the shard.
  std::span<const std::pair<uint32_t, uint32_t>> service_types;
  SessionConfig session;
};

class HandlerContext;

class Shard final : net::ConnectionHandler,
                    world::SliceEvents,
                    world::InterestEvents,
                    world::PublicationSink,
                    mailbox::WakeSink,
                    BridgeHost {
 public:
  // `wakers`: one for each agent of the fabric, by number.
  Shard(const ShardConfig& config, io::Io& io, mailbox::Fabric& fabric,
        std::vector<io::Waker*> wakers, metrics::Counters& counters);

  // One turn. `wait`: whether it may sleep until something happens.
  enum class Wait : uint8_t { kYes, kNo };
  void turn(Wait wait);
  // The time of the next turn that nobody else would cause.
  base::Instant next_deadline() const;

  // Read by any thread.
  uint32_t current_tick() const { return published_tick_.load(std::memory_order_relaxed); }
  base::Instant last_turn() const { return {last_turn_ns_.load(std::memory_order_relaxed)}; }

  bool draining() const { return draining_; }
  uint32_t open_connections() const { return endpoint_.open_count(); }
  uint64_t memory_bytes() const;

  // Before the first turn, from a snapshot (snapshot.cc). A player of this home shard is given the
  // place where it stood; an entity that is no player comes back into the world, false at a limit.
  void restore_place(std::string_view player, const world::Steps3& position, uint8_t yaw);
  // A session of the store; its messages follow one by one, oldest first.
  bool restore_session(const session::Session& s, std::string_view player, uint64_t acked) {
    return sessions_.restore(s, player, acked, unix_s());
  }
  bool restore_message(std::string_view player, uint32_t type, base::Bytes payload) {
    return sessions_.restore_message(player, type, payload);
  }
  void restore_effects(const std::vector<uint64_t>& origins) { sessions_.restore_effects(origins); }
  Social& social() { return social_; }
  bool restore_entity(world::EntityKind kind, std::string_view name, const world::Steps3& position,
                      uint8_t yaw, uint32_t flags, uint64_t tag);

  // --- upgrade to another process (handover.h, docs/decisions/0015-upgrade.md) ---
  // No tick beyond `tick` begins; UINT32_MAX: they go on. Any thread; wake the shard behind it.
  void hold_after(uint32_t tick) { hold_tick_.store(tick, std::memory_order_relaxed); }
  bool held() const {
    return barrier_.phase() == TickBarrier::Phase::kIdle &&
           barrier_.tick() > hold_tick_.load(std::memory_order_relaxed);
  }
  // Turns in which anything happened.
  uint64_t work_turns() const { return work_turns_; }

  // For tests and the simulation, between turns.
  const world::WorldSlice& slice() const { return slice_; }
  const world::InterestTable& interest() const { return interest_; }
  const world::Directory& directory() const { return directory_; }
  const TickBarrier& barrier() const { return barrier_; }
  SessionHome& sessions() { return sessions_; }
  size_t outbox_waiting() const { return outbox_.waiting_bytes(); }

 private:
  friend struct ClientMessages;  // messages.cc: the built-in routes
  friend class HandlerContext;   // handlers.cc: what a handler may do
  friend class Cluster;
  friend class Topics;
  friend class Presence;
  friend class Realm;
  friend class States;
  friend class Social;
  friend class Handover;  // handover.cc

  // net::ConnectionHandler (login.cc, messages.cc)
  net::UpgradeDecision on_upgrade(uint32_t slot, const protocol::UpgradeRequest& request) override;
  void on_open(uint32_t slot) override;
  void on_message(uint32_t slot, protocol::Opcode opcode, base::MutableBytes payload) override;
  void on_closed(uint32_t slot, net::CloseCause cause, uint16_t code) override;
  bool on_secret(base::MutableBytes out) override;
  bool on_poll_letter_out(uint32_t shard, const net::PollLetter& letter, base::Bytes body) override;
  void on_translate(uint32_t slot, base::Bytes own, const iovec* parts, uint32_t count) override;

  // world (tick.cc)
  bool moved(base::ShardId shard, base::ConnectionRef connection,
             const world::MoveResult& result) override;
  bool transfer(base::ShardId to, base::Bytes entity) override;
  bool gone(base::EntityId entity, std::string_view player_id,
            const world::Steps3& position) override;
  void taken(base::EntityId entity, std::string_view player_id, bool marked) override;
  bool interest_changed(base::ShardId owner, world::CellKey cell, uint8_t packed_levels,
                        uint8_t protobuf_levels, uint8_t requests) override;
  void publish(base::ShardId reader, const world::Publication& publication) override;
  void wake_agent(mailbox::AgentId agent) override { io_.wake(*wakers_[agent]); }
  base::Instant now() override { return io_.now(); }
  base::EntityId make_entity_id() override { return new_entity_id(); }
  uint32_t make_stamp() override { return realm_.next_stamp(0); }
  bool owns_place(const world::Steps3& position) override { return realm_.owns_place(position); }
  void close_player(base::ShardId shard, base::ConnectionRef connection, uint16_t code) override;
  States& states() override { return states_; }

  // shard.cc
  uint32_t unix_s() { return static_cast<uint32_t>(io_.unix_ms() / 1000); }
  void on_mail(mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes);
  void run_timers();
  void update_gauges();

  // login.cc
  void on_auth_result(base::Bytes bytes);
  void on_poll_posted(base::Bytes bytes);
  void begin_login(uint32_t slot);
  void let_in();
  void pop_hello();
  void on_world_full(base::Bytes bytes);
  void on_replaced(base::Bytes bytes);
  void enter_world(uint32_t slot);
  int64_t connected_since(uint32_t slot);
  void leave_world(uint32_t slot);
  void set_state(uint32_t slot, session::State state);
  std::string_view player_id(uint32_t slot) {
    return identities_.view(players_[slot].identity).player;
  }

  // delivery.cc
  void open_session(uint32_t slot, const mailbox::AuthResult& result, base::Bytes tokens);
  void on_session_opened(base::Bytes bytes);
  void on_session_release(mailbox::AgentId from, base::Bytes bytes);
  void on_session_closed(base::Bytes bytes);
  void on_session_deliver(base::Bytes bytes);
  void on_session_saved(base::Bytes bytes);
  uint64_t next_origin();
  void leave_session(uint32_t slot);
  void post_progress(uint32_t slot);
  bool take_client_ack(uint32_t slot, uint64_t ack);
  void count_replayed(uint32_t slot);
  void end_session(uint32_t slot, session::End why, std::string_view details);
  // To the player of a connection of this shard, or to any player: numbered, kept until the client
  // has acknowledged it, sent again after a resume. kBusy: nothing was taken.
  SendResult send_acknowledged(uint32_t slot, uint32_t type, base::Bytes payload);
  SendResult post_acknowledged(std::string_view player, uint64_t session, uint32_t type,
                               base::Bytes payload);

  // messages.cc
  void add_routes();
  void on_client_frame(uint32_t slot, base::Bytes frame);
  // `request`: sequence of the request it is about, or nothing.
  void violation(uint32_t slot, uint16_t code, std::string_view details,
                 std::string_view request = {});
  void note_ack(uint32_t slot);
  void send_due_acks();
  Handled on_move(uint32_t slot, const wire::PlayerMovement& move);

  // steering.cc
  Handled on_steer(uint32_t slot, const wire::PlayerSteer& message);
  void run_steering();
  void end_steering(uint32_t slot);
  void post_input(const Player& player, const world::Input& input);

  // handlers.cc
  Handled run_handler(uint32_t slot, const wire::Envelope& message);
  SendResult send_payload(uint32_t slot, uint32_t type, base::Bytes payload, uint64_t sequence = 0);
  // pressure.cc: whether a message without acknowledgement is not for this connection just now.
  // Costs two loads of one row while little waits.
  static constexpr uint32_t kPriorityPlain = 5;  // of what has none
  static constexpr uint32_t kRungs = static_cast<uint32_t>(world::Rung::kEnd);
  bool holds_back(uint32_t slot, uint32_t priority) const {
    const auto& row = endpoint_.hot(slot);
    return (row.backlog_bytes != 0 || row.output_bytes > config_.endpoint.backlog_bytes / 8 * 7) &&
           holds_back_now(slot, priority);
  }
  bool holds_back_now(uint32_t slot, uint32_t priority) const;
  uint32_t priority_of(uint32_t type) const;  // of a message of the game
  void count_rungs();

  // packing.cc
  bool find_form(uint32_t slot, uint32_t type, base::Bytes payload, PackedForms& forms,
                 const uint8_t** data, uint32_t* size);
  void on_send_to_player(base::Bytes bytes);
  void on_deliver(base::Bytes bytes);
  void on_deliver_near(base::Bytes bytes);
  Handled check_action(HandlerContext& context, const wire::Envelope& message);
  float interest_radius(uint32_t slot);
  void on_mark_state(base::Bytes bytes);
  void on_environment(base::Bytes bytes);
  // `source`: hash of the user it comes from, 0: the server (targets.cc)
  SendResult send_to(const Target& target, uint32_t type, Bytes payload, uint64_t source);
  void deliver_near(const mailbox::DeliverNear& near, base::Bytes payload);
  // cluster_sends.cc
  void send_far(mailbox::BusOp op, uint32_t type, std::string_view name, base::Bytes payload,
                uint64_t a = 0, uint64_t b = 0);
  bool has_session(std::string_view player);
  void on_session_send(base::Bytes bytes);
  // backend.cc
  static constexpr uint32_t kServicePermissionBytes = 4096;
  bool service_serves(uint32_t type) const;
  Handled on_service_call(uint32_t slot, const wire::Envelope& message);
  void on_service_answer(const mailbox::BusMail& mail, base::Bytes tail);
  void reply_service(uint32_t slot, uint64_t sequence, uint32_t code, std::string_view text);
  void refuse_service(uint32_t slot, uint64_t sequence, uint16_t code, std::string_view details);
  void on_bus_send(const mailbox::BusMail& mail, base::Bytes tail);
  bool deliver_to_player(std::string_view player, uint32_t type, base::Bytes payload,
                         uint64_t source);
  bool wants_event(EventKind kind) const {
    return config_.events != nullptr && config_.events->wants(kind);
  }
  void tell_event(ServerEvent& event);
  void send_environment(uint32_t slot);

  // replies.cc
  template <class Payload>
  void send_reply(uint32_t slot, wire::MessageType type, const Payload& payload);
  void send_error(uint32_t slot, uint16_t code, std::string_view details, bool fatal,
                  std::string_view request = {});
  void write_welcome(uint32_t slot, const mailbox::SessionOpened& opened, std::string_view token);
  void send_disconnect(uint32_t slot, const wire::Disconnect& disconnect);
  void send_pong(uint32_t slot, base::Bytes payload);
  void send_time_sync(uint32_t slot, const wire::TimeSync& asked);
  void send_ack(uint32_t slot);
  uint32_t write_ack(base::MutableBytes out, Player& player, base::UnixMs unix_ms);
  uint32_t write_move_ack(base::MutableBytes out, uint32_t slot, base::UnixMs unix_ms);
  uint32_t write_cells_head(base::MutableBytes out, uint32_t shared, uint32_t tick);
  uint32_t write_view_distance(base::MutableBytes out, float metres, base::UnixMs unix_ms);
  uint32_t write_world_head(base::MutableBytes out, uint32_t shared, uint32_t tick,
                            base::UnixMs unix_ms);

  // tick.cc
  bool advance_tick();
  void run_simulate();
  void run_encode();
  void run_flush();
  bool rests(uint32_t slot, uint32_t tick) const;
  void flush_player(uint32_t slot, uint32_t tick, base::UnixMs unix_ms);
  void on_moved(base::Bytes bytes);
  void on_input(base::Bytes bytes);
  void take_input(mailbox::InputPosted message, const world::Input& input, base::Bytes bytes);
  void on_publication(base::Bytes bytes);
  void on_subscribe(mailbox::AgentId from, base::Bytes bytes);
  void on_transfer(base::Bytes bytes);
  void on_detach(base::Bytes bytes);

  // home.cc
  base::EntityId new_entity_id();
  void on_login(mailbox::AgentId from, base::Bytes bytes);
  void on_logout(mailbox::AgentId from, base::Bytes bytes);
  void on_spawn(base::Bytes bytes);
  void on_spawn_failed(base::Bytes bytes);
  void on_gone(base::Bytes bytes);
  void on_transfer_notice(mailbox::AgentId from, base::Bytes bytes);
  void send_spawn(std::string_view player, world::DirectoryEntry& entry);
  world::Steps3 spawn_position(std::string_view player) const;

  // admin.cc
  void on_list(base::Bytes bytes);
  void on_close_request(base::Bytes bytes);
  void on_list_history(base::Bytes bytes);

  // drain.cc
  void on_drain(base::Bytes bytes);
  void run_drain();
  void on_kick(base::Bytes bytes);

  // token_refresh.cc
  Handled on_token_refresh(uint32_t slot, const wire::TokenRefresh& refresh);
  void on_token_checked(uint32_t slot, const mailbox::AuthResult& result, std::string_view text);
  void send_token_status(uint32_t slot, bool accepted, std::string_view reason);

  // settings.cc
  void on_settings(base::Bytes bytes);
  bool admit_user(uint32_t slot);
  void leave_user(uint32_t slot);
  void end_expired();

  // balance.cc
  void on_move_cells(base::Bytes bytes);
  void on_cell_moved(base::Bytes bytes);
  uint32_t give_cells();
  void report_load();

  // desync.cc
  Handled on_cell_report(uint32_t slot, const wire::CellReport& report);
  void on_cell_reported(mailbox::AgentId from, base::Bytes bytes);
  void on_cell_disputed(base::Bytes bytes);

  // json.cc
  bool speaks_json(uint32_t slot) const;
  void on_text_message(uint32_t slot, base::Bytes text);
  void run_call(uint32_t slot, const protocol::RpcCall& call, uint32_t batch);
  void refuse_call(uint32_t slot, const protocol::RpcCall& call, uint32_t batch);
  static bool asks_for_packed(base::Bytes frame);
  void translate_frame(uint32_t slot, base::Bytes frame);
  void answer_with(uint32_t slot, uint32_t batch, std::string_view id, protocol::Naming naming,
                   const wire::Envelope& message);
  void answer_waiting(uint32_t slot, JsonClients::Waiting& waiting, const wire::Envelope& message);
  template <class Write>
  void answer(uint32_t slot, uint32_t batch, bool last, Write&& write);
  void send_batch(JsonClients::Batch& batch);
  void end_batch(uint32_t batch);
  void send_text(uint32_t slot, const wire::JsonText& out);
  void notify(uint32_t slot, const wire::Envelope& message);
  void expire_calls();

  // snapshot.cc
  void on_snapshot_at(base::Bytes bytes);
  void cut_snapshot();

  struct HelloWait {
    base::ConnectionRef connection;
    base::Instant due;
  };

  ShardConfig config_;
  io::Io& io_;
  metrics::Counters& counters_;
  std::vector<io::Waker*> wakers_;
  base::Prng prng_;
  base::Instant now_{};

  mailbox::Mailbox mailbox_;
  Outbox outbox_;
  net::Endpoint endpoint_;
  world::WorldSlice slice_;
  world::InterestTable interest_;
  world::LoadGovernor governor_;
  uint32_t flush_from_ = 0;  // the slot whose flush comes first
  base::Duration work_{};    // for the tick that runs
  BalanceState balance_;
  world::Directory directory_;
  SessionHome sessions_;
  Identities identities_;
  mem::MappedArray<Player> players_;
  // Of the connection that is being opened; valid in on_open() only.
  mailbox::SessionOpened opened_{};
  std::string_view opened_token_;
  // The acknowledged message that is being handled, and how many such were sent because of it.
  const wire::Envelope* cause_ = nullptr;
  uint64_t cause_session_ = 0;
  uint32_t effects_ = 0;
  Router router_;
  JsonClients json_;
  TickBarrier barrier_;
  WorldBridge bridge_;
  mem::MappedArray<uint8_t> environment_;  // encoded EnvironmentState
  uint32_t environment_bytes_ = 0;
  SnapshotCapture snapshot_;
  Cluster cluster_{*this};
  Realm realm_;
  Topics topics_;
  Presence presence_;
  States states_;
  Social social_;
  Packing packing_;
  uint32_t on_rung_[kRungs] = {};  // of the second that is being counted
  uint32_t held_back_ = 0;

  // CLIENT_HELLOs that are still out, in the order in which they are due.
  mem::MappedArray<HelloWait> hello_waits_;
  uint32_t hello_head_ = 0, hello_count_ = 0;
  JoinQueue joins_;
  // Connections that are owed an acknowledgement; each once.
  mem::MappedArray<base::ConnectionRef> ack_queue_;
  uint32_t ack_count_ = 0;
  // Players whose position changed since interest was decided; each once.
  mem::MappedArray<uint32_t> moved_players_;
  uint32_t moved_count_ = 0;
  // Connections whose samples wait or are expected; each once.
  mem::MappedArray<SteerBuffer> steer_;
  mem::MappedArray<bool> steer_listed_;
  mem::MappedArray<uint32_t> steering_;
  uint32_t steering_count_ = 0;
  uint32_t live_players_ = 0;
  uint32_t players_end_ = 0;   // one past the highest slot with a session
  uint32_t publications_ = 0;  // stored for the tick that runs
  base::Instant simulate_started_{};
  bool answers_due_ = false;  // somebody has something personal in the next flush
  uint32_t entity_counter_ = 0;
  uint32_t gauges_tick_ = 0;
  uint32_t dump_tick_ = 0;  // before it no CellDump goes to control
  bool draining_ = false;
  DrainPlan drain_;
  std::atomic<uint32_t> hold_tick_{UINT32_MAX};
  uint64_t work_turns_ = 0;
  uint32_t expiry_cursor_ = 0;  // last slot whose token was looked at
  base::Instant expiry_due_{};  // next look

  mem::MappedArray<world::Chunk> chunks_;
  mem::MappedArray<world::Chunk> world_chunks_;
  mem::MappedArray<iovec> parts_;
  mem::MappedArray<uint8_t> personal_;

  alignas(64) std::atomic<uint32_t> published_tick_{0};
  std::atomic<int64_t> last_turn_ns_{0};
};

}  // namespace tidegate::shard
