// SPDX-License-Identifier: Apache-2.0
// The client: a connection, the picture of the world, the time shown, the predicted self. It holds
// the parts together; each can be used alone. tidegate_client of include/tidegate/client.h is this
// class by another name, and that header says what each call does.
//
// Thread: one. Owner: whoever created it; destroy() instead of delete, because a callback may be
// under way. Limits: those of the configuration.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "sdk/clock.h"
#include "sdk/connection.h"
#include "sdk/keyed_states.h"
#include "sdk/network_thread.h"
#include "sdk/playout.h"
#include "sdk/poll_transport.h"
#include "sdk/prediction.h"
#include "sdk/statistics.h"
#include "sdk/steering.h"
#include "sdk/tls_transport.h"
#include "sdk/world.h"
#include "tidegate/client.h"

namespace tidegate::sdk {

class Client final : ConnectionSink {
 public:
  static constexpr uint32_t kListenersMax = 64;

  // `config` is whole, its struct_size right. Null: `problem` says why.
  static Client* create(const tidegate_client_config& config, std::string* problem);
  void destroy();

  void connect() { connection_.connect(now()); }
  void disconnect(std::string_view reason) { connection_.disconnect(now(), reason); }
  void network_changed() { connection_.network_changed(now()); }
  bool give_token(uint32_t attempt, const char* token) {
    return connection_.give_token(now(), attempt, token);
  }
  tidegate_client_result poll(uint32_t budget_us);
  void wait(uint32_t most_ms);
  tidegate_client_result run(uint32_t ms);

  tidegate_client_result send(uint32_t type, base::Bytes payload,
                              const tidegate_client_send_options& options);
  tidegate_client_result move(const tidegate_vector& velocity, float yaw, uint32_t flags, float dt);
  tidegate_client_result steer(const tidegate_vector& direction, float yaw, uint32_t flags,
                               float dt);

  bool next_entity(uint32_t* cursor, tidegate_client_entity* out);
  bool find_entity(std::string_view id, tidegate_client_entity* out);
  bool next_state(uint32_t* cursor, tidegate_client_keyed_state* out) const;
  bool find_state(uint32_t scope, std::string_view key, tidegate_client_keyed_state* out) const;
  tidegate_client_result change_state(const wire::StateChange& change, uint32_t* request);
  bool self(tidegate_vector* out) const;
  bool server_time(double* unix_ms, double* tick) const;

  uint32_t listen(int32_t kind, tidegate_client_listener listener, void* user);
  void unlisten(uint32_t subscription);

  void stats(tidegate_client_stats* out);
  const Connection& connection() const { return connection_; }
  Connection& connection() { return connection_; }
  const std::string& player_id() const { return player_id_; }
  const World& world() const { return world_; }

 private:
  struct Listener {
    tidegate_client_listener function = nullptr;
    void* user = nullptr;
    int32_t kind = 0;
    uint32_t id = 0;
  };

  Client(ConnectionOptions options, const tidegate_client_config& config,
         const tidegate_client_transport& transport, std::unique_ptr<TlsTransport> tls,
         std::unique_ptr<NetworkThread> thread);
  ~Client() = default;

  base::Instant now() const { return {transport_.now_ns(transport_.user)}; }
  void emit(tidegate_client_event& event);
  void emit_entity(int32_t kind, uint32_t row);
  tidegate_client_entity view(uint32_t row) const;
  Vec own_shown() const;
  static Vec step(void* user, const Vec& at, const MoveInput& input);

  void on_state(State from, State to) override;
  void on_lost(uint32_t code, std::string_view reason, int64_t retry_ms) override;
  void on_token_wanted(uint32_t attempt) override;
  void on_established(const wire::ConnectionEstablished& m) override;
  void on_authenticated(const wire::AuthenticationResult& m) override;
  void on_resumed(const wire::ResumeResult& m) override;
  void on_message(const wire::Envelope& m) override;
  void on_message_end() override;
  void on_round_trip(double ms) override { clock_.round_trip(ms); }
  void on_server_error(const wire::ErrorNotification& m) override;
  void on_drained() override;
  void on_expired(const Waiting& w, base::Bytes payload) override;

  void begin_state();
  void apply_cell_frames(base::Bytes payload);
  void apply_cell_frame(base::Bytes frame, uint32_t tick);
  void on_move_ack(base::Bytes payload);
  void on_state_update(base::Bytes payload);
  void on_state_result(base::Bytes payload);
  void tell_state(const KeyedState& state, bool removed);
  void tell_world();
  void on_entity_state(uint32_t row);
  void run_timers();

  // All before the connection, whose links they carry.
  std::unique_ptr<TlsTransport> tls_;
  std::unique_ptr<NetworkThread> thread_;
  PollTransport polling_;
  tidegate_client_transport transport_;
  struct Settings {
    bool protobuf = false;
    float view_distance = 0;
    uint32_t max_bytes_per_second = 0;
    base::Duration report = base::seconds(10);
    void (*step)(void*, const double[3], const float[3], double, double[3]) = nullptr;
    void* step_user = nullptr;
  } settings_;
  Connection connection_;
  World world_;
  KeyedStates states_;
  uint32_t last_request_ = 0;
  ClockSync clock_;
  PlayoutClock playout_;
  Prediction prediction_;
  SteerLead lead_;
  Steering steering_;
  Rate bytes_in_, bytes_out_, messages_in_;
  uint64_t bytes_in_seen_ = 0, bytes_out_seen_ = 0, messages_seen_ = 0;

  std::string player_id_;
  uint32_t own_row_ = NameMap::kNone;
  bool first_state_ = true;
  bool state_came_ = false;
  bool placed_ = false;  // the prediction begins where the own entity stands
  uint32_t last_ack_tick_ = 0;
  double shown_tick_ = std::numeric_limits<double>::quiet_NaN();
  Horizon horizon_;  // of the picture under way
  base::Instant sync_at_ = base::Instant::never();
  base::Instant report_at_ = base::Instant::never();
  uint32_t syncs_ = 0;
  double polled_at_ = 0;  // ms: the end of the last poll
  std::vector<uint8_t> report_;

  Listener listeners_[kListenersMax];
  uint32_t listener_count_ = 0;  // slots in use or freed
  uint32_t last_id_ = 0;
  uint32_t depth_ = 0;  // of poll
  bool dead_ = false;
};

}  // namespace tidegate::sdk
