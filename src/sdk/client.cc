// SPDX-License-Identifier: Apache-2.0
#include "sdk/client.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <new>

#include "client/cell_report.h"
#include "sdk/c_values.h"
#include "sdk/tcp_transport.h"
#include "wire/quantise.h"

namespace tidegate::sdk {

using wire::MessageType;

namespace {

#ifdef TIDEGATE_CLIENT_TLS
constexpr bool kHasTls = true;
#else
constexpr bool kHasTls = false;
#endif
constexpr uint32_t kSyncFirst = 5;
constexpr uint32_t kSyncUnjudged = 16;  // as long as no states say what the network is like
constexpr base::Duration kSyncFirstPause = base::milliseconds(150);
constexpr base::Duration kSyncPause = base::seconds(1);

base::Duration ms_or(uint32_t ms, int64_t otherwise) {
  return base::milliseconds(ms != 0 ? ms : otherwise);
}
bool whole(const tidegate_client_transport& t) {
  return t.open != nullptr && t.status != nullptr && t.send != nullptr && t.receive != nullptr &&
         t.close != nullptr && t.now_ns != nullptr && t.unix_ms != nullptr && t.random != nullptr;
}

}  // namespace

Client* Client::create(const tidegate_client_config& c, std::string* problem) {
  ConnectionOptions options;
  if (c.endpoints == nullptr || c.endpoint_count == 0) {
    *problem = "no endpoint to connect to";
    return nullptr;
  }
  std::unique_ptr<TlsTransport> tls;
  tidegate_client_transport transport;
  if (c.transport != nullptr) {
    transport = *c.transport;
  } else {
#ifdef TIDEGATE_CLIENT_TLS
    tls = std::make_unique<TlsTransport>(c.tls_authorities != nullptr ? c.tls_authorities : "",
                                         c.tls_insecure != 0);
    transport = tls->table();
#else
    transport = tcp_transport();
#endif
  }
  if (c.network_thread != 0 && (c.network_thread != 1 || c.transport != nullptr)) {
    *problem = "network_thread is 0 or 1, and 1 only without a transport of yours";
    return nullptr;
  }
  if (!whole(transport)) {
    *problem = "the transport lacks functions; only wait may be null";
    return nullptr;
  }
  for (size_t i = 0; i < c.endpoint_count; ++i) {
    Endpoint endpoint;
    if (c.endpoints[i] == nullptr || !parse_endpoint(c.endpoints[i], &endpoint)) {
      *problem = "endpoint " + std::to_string(i) + " is no ws:// or wss:// URL";
      return nullptr;
    }
    if (endpoint.secure && !kHasTls && c.transport == nullptr) {
      *problem = "this library was built without TLS: wss:// needs a transport of yours";
      return nullptr;
    }
    options.endpoints.push_back(std::move(endpoint));
  }
  if (c.token != nullptr) options.token = c.token;
  options.ask_token = c.ask_token != 0;
  options.spread_endpoints = c.spread_endpoints != 0;
  if (c.backoff_first_ms != 0) options.backoff.first_ms = c.backoff_first_ms;
  if (c.backoff_most_ms != 0) options.backoff.most_ms = c.backoff_most_ms;
  options.login_timeout = ms_or(c.login_timeout_ms, 10'000);
  options.heartbeat = ms_or(c.heartbeat_ms, 5000);
  options.silence = ms_or(c.silence_ms, 15'000);
  options.stable = ms_or(c.stable_ms, 5000);
  if (c.queue_messages != 0) options.queue_messages = c.queue_messages;
  if (c.queue_bytes != 0) options.queue_bytes = c.queue_bytes;
  if (c.send_buffer_bytes != 0) options.send_buffer_bytes = c.send_buffer_bytes;
  if (c.message_bytes != 0) options.message_bytes = c.message_bytes;
  if (c.polling < 0 || c.polling > 2) {
    *problem = "polling is 0, 1 or 2";
    return nullptr;
  }
  options.polling = static_cast<TransportPolicy>(c.polling);
  options.short_is_all = c.transport == nullptr;
  if (options.send_buffer_bytes < 1024 || options.message_bytes < 64 * 1024) {
    *problem = "send_buffer_bytes below 1,024 or message_bytes below 65,536";
    return nullptr;
  }
  std::unique_ptr<NetworkThread> thread;
  if (c.network_thread != 0) {
#ifdef TIDEGATE_CLIENT_TLS
    thread = NetworkThread::make(transport, TlsTransport::descriptor, problem);
#else
    thread = NetworkThread::make(transport, tcp_descriptor, problem);
#endif
    if (thread == nullptr) return nullptr;
    transport = thread->table();
  }
  Client* const made = new (std::nothrow)
      Client(std::move(options), c, transport, std::move(tls), std::move(thread));
  if (made == nullptr) *problem = "no memory";
  return made;
}

Client::Client(ConnectionOptions options, const tidegate_client_config& c,
               const tidegate_client_transport& transport, std::unique_ptr<TlsTransport> tls,
               std::unique_ptr<NetworkThread> thread)
    : tls_(std::move(tls)),
      thread_(std::move(thread)),
      polling_(transport),
      transport_(polling_.table()),
      connection_(std::move(options), transport_, *this, &polling_),
      world_(c.entities_most != 0 ? c.entities_most : 65'536, c.no_interpolation == 0),
      // Where nobody looks at the delay it need not be exact.
      playout_({.measure_ms = c.no_interpolation != 0 ? 1000.0 : 100.0}),
      prediction_([this, &c] {
        PredictionOptions p;
        p.step = step;
        p.user = this;
        return p;
      }()) {
  settings_.protobuf = c.protobuf != 0;
  settings_.view_distance = c.view_distance;
  settings_.max_bytes_per_second = c.max_bytes_per_second;
  settings_.report = c.report_ms == UINT32_MAX ? base::Duration{} : ms_or(c.report_ms, 10'000);
  settings_.step = c.step;
  settings_.step_user = c.step_user;
  steering_.set_limit(c.limit, c.limit_user);
  steering_.set_lead(&lead_);
  report_.reserve(16 * 1024);
}

Vec Client::step(void* user, const Vec& at, const MoveInput& input) {
  const auto* const self = static_cast<const Client*>(user);
  if (input.steered) return self->steering_.step(at, input);
  const Settings& s = self->settings_;
  if (s.step == nullptr) return walk(nullptr, at, input);
  const double from[3] = {at.x, at.y, at.z};
  const float velocity[3] = {static_cast<float>(input.velocity.x),
                             static_cast<float>(input.velocity.y),
                             static_cast<float>(input.velocity.z)};
  double to[3] = {at.x, at.y, at.z};
  s.step(s.step_user, from, velocity, input.dt, to);
  return {to[0], to[1], to[2]};
}

void Client::destroy() {
  dead_ = true;
  connection_.abandon();
  if (depth_ == 0) delete this;
}

tidegate_client_result Client::poll(uint32_t budget_us) {
  // Within a callback of its own there is nothing to do that the outer call will not do.
  if (depth_ != 0) return TIDEGATE_CLIENT_OK;
  ++depth_;
  const base::Instant at = now();
  const base::Instant until =
      budget_us == 0 ? base::Instant::never() : at + base::microseconds(budget_us);
  if (connection_.logged_in()) run_timers();
  if (!dead_) connection_.turn(until);
  --depth_;
  if (dead_) {
    delete this;
    return TIDEGATE_CLIENT_DESTROYED;
  }
  const double ms = to_ms(at);
  polled_at_ = to_ms(now());
  const Link& link = connection_.link();
  bytes_in_.add(static_cast<double>(link.bytes_in() - bytes_in_seen_), ms);
  bytes_out_.add(static_cast<double>(link.bytes_out() - bytes_out_seen_), ms);
  messages_in_.add(static_cast<double>(connection_.received().all().messages - messages_seen_), ms);
  bytes_in_seen_ = link.bytes_in();
  bytes_out_seen_ = link.bytes_out();
  messages_seen_ = connection_.received().all().messages;
  return TIDEGATE_CLIENT_OK;
}

void Client::wait(uint32_t most_ms) {
  if (transport_.wait == nullptr || depth_ != 0) return;
  const base::Instant at = now();
  base::Instant due = connection_.next_due(at);
  if (connection_.logged_in()) due = std::min({due, sync_at_, report_at_});
  if (due <= at) return;
  const int64_t ms = std::min<int64_t>(most_ms, (due - at).ns / 1'000'000 + 1);
  // While it connects, the upgrade request waits to be written.
  transport_.wait(transport_.user, connection_.link().handle(), connection_.wants_write() ? 1 : 0,
                  static_cast<int32_t>(std::min<int64_t>(ms, 60'000)));
}

tidegate_client_result Client::run(uint32_t ms) {
  if (depth_ != 0) return TIDEGATE_CLIENT_INVALID;
  const base::Instant end = now() + base::milliseconds(ms);
  for (;;) {
    const tidegate_client_result result = poll(0);
    if (result != TIDEGATE_CLIENT_OK) return result;
    const int64_t left = (end - now()).ns;
    if (left <= 0 || transport_.wait == nullptr) return result;
    wait(static_cast<uint32_t>(left / 1'000'000 + 1));
  }
}

// ---- sending

tidegate_client_result Client::send(uint32_t type, base::Bytes payload,
                                    const tidegate_client_send_options& o) {
  if (o.mode < TIDEGATE_SEND_NOW || o.mode > TIDEGATE_SEND_ACKNOWLEDGED || o.priority < 0 ||
      o.priority > 10 || type == 0) {
    return TIDEGATE_CLIENT_INVALID;
  }
  const base::Instant at = now();
  if (o.mode == TIDEGATE_SEND_NOW) return connection_.send(at, type, payload);
  const Keep keep = o.mode == TIDEGATE_SEND_QUEUED   ? Keep::kQueued
                    : o.mode == TIDEGATE_SEND_LATEST ? Keep::kLatest
                                                     : Keep::kAcknowledged;
  return connection_.keep(at, type, payload, keep, static_cast<uint8_t>(o.priority), o.key,
                          base::milliseconds(o.ttl_ms));
}

tidegate_client_result Client::move(const tidegate_vector& velocity, float yaw, uint32_t flags,
                                    float dt) {
  if (connection_.state() != TIDEGATE_CLIENT_IN_WORLD || !prediction_.placed()) {
    return TIDEGATE_CLIENT_DROPPED;
  }
  if (!std::isfinite(velocity.x) || !std::isfinite(velocity.y) || !std::isfinite(velocity.z) ||
      !std::isfinite(yaw) || !std::isfinite(dt) || dt < 0) {
    return TIDEGATE_CLIENT_INVALID;
  }
  // An input that cannot be sent would be walked back by the next answer.
  if (!connection_.link().has_room(512)) return TIDEGATE_CLIENT_WOULD_BLOCK;
  MoveInput input;
  input.velocity = {static_cast<double>(velocity.x), static_cast<double>(velocity.y),
                    static_cast<double>(velocity.z)};
  input.yaw = static_cast<double>(yaw);
  input.flags = flags;
  input.dt = static_cast<double>(dt);
  wire::PlayerMovement m;
  m.position = wire_of(prediction_.apply(input));
  m.has_position = m.has_rotation = m.has_velocity = true;
  m.rotation = {0, std::sin(yaw / 2), 0, std::cos(yaw / 2)};
  m.velocity = {velocity.x, velocity.y, velocity.z};
  m.movement_flags = flags;
  m.client_tick = prediction_.client_tick();
  m.client_time = transport_.unix_ms(transport_.user);
  return connection_.send_message(now(), MessageType::kPlayerMove, m);
}

tidegate_client_result Client::steer(const tidegate_vector& direction, float yaw, uint32_t flags,
                                     float dt) {
  if (connection_.state() != TIDEGATE_CLIENT_IN_WORLD || !prediction_.placed() ||
      !steering_.possible()) {
    return TIDEGATE_CLIENT_DROPPED;
  }
  if (!std::isfinite(direction.x) || !std::isfinite(direction.y) || !std::isfinite(direction.z) ||
      !std::isfinite(yaw) || !std::isfinite(dt) || dt < 0) {
    return TIDEGATE_CLIENT_INVALID;
  }
  if (!connection_.link().has_room(512)) return TIDEGATE_CLIENT_WOULD_BLOCK;
  const wire::SteerSample sample =
      steer_sample({static_cast<double>(direction.x), static_cast<double>(direction.y),
                    static_cast<double>(direction.z)},
                   static_cast<double>(yaw), flags);
  wire::PlayerSteer m;
  const uint32_t count =
      steering_.advance(sample, static_cast<double>(dt), &prediction_, &m.client_tick);
  if (count == 0) return TIDEGATE_CLIENT_OK;
  wire::SteerSample samples[Steering::kStepsMost];
  std::fill_n(samples, count, sample);
  uint8_t runs[64];
  m.samples = {runs, wire::encode_steer_runs(runs, samples, count)};
  m.wait = lead_.tell();
  return connection_.send_message(now(), MessageType::kPlayerSteer, m);
}

bool Client::server_time(double* unix_ms, double* tick) const {
  if (!clock_.synced()) return false;
  const double at = to_ms(now());
  if (unix_ms != nullptr) *unix_ms = clock_.server_time(at);
  if (tick != nullptr) *tick = clock_.server_tick(at);
  return true;
}

// ---- events

uint32_t Client::listen(int32_t kind, tidegate_client_listener listener, void* user) {
  if (listener == nullptr) return 0;
  Listener* free = std::find_if(listeners_, listeners_ + listener_count_,
                                [](const Listener& l) { return l.function == nullptr; });
  if (free == listeners_ + listener_count_) {
    if (listener_count_ == kListenersMax) return 0;
    ++listener_count_;
  }
  *free = {listener, user, kind, ++last_id_};
  return last_id_;
}

void Client::unlisten(uint32_t subscription) {
  for (uint32_t i = 0; i < listener_count_; ++i) {
    if (listeners_[i].id == subscription) listeners_[i] = {};
  }
  while (listener_count_ > 0 && listeners_[listener_count_ - 1].function == nullptr) {
    --listener_count_;
  }
}

void Client::emit(tidegate_client_event& event) {
  const uint32_t newest = last_id_;
  for (uint32_t i = 0; i < listener_count_ && !dead_; ++i) {
    const Listener l = listeners_[i];
    if (l.function == nullptr || l.kind != event.kind || l.id > newest) continue;
    l.function(l.user, reinterpret_cast<tidegate_client*>(this), &event);
  }
}

// ---- from the connection

void Client::on_state(State from, State to) {
  if (to == TIDEGATE_CLIENT_RECONNECTING || to == TIDEGATE_CLIENT_CLOSED) {
    sync_at_ = report_at_ = base::Instant::never();
  }
  tidegate_client_event event = event_of(TIDEGATE_EVENT_STATE);
  event.state = to;
  event.state_before = from;
  emit(event);
}

void Client::on_lost(uint32_t code, std::string_view reason, int64_t retry_ms) {
  tidegate_client_event event = event_of(TIDEGATE_EVENT_LOST);
  event.code = code;
  event.text = text_of(reason);
  event.retry_ms = retry_ms;
  emit(event);
}

void Client::on_token_wanted(uint32_t attempt) {
  tidegate_client_event event = event_of(TIDEGATE_EVENT_TOKEN_WANTED);
  event.attempt = attempt;
  emit(event);
}

void Client::on_established(const wire::ConnectionEstablished& m) {
  double cell_size = 0;
  std::from_chars(m.cell_size.data(), m.cell_size.data() + m.cell_size.size(), cell_size);
  if (cell_size > 0) world_.cell_size = cell_size;
  clock_.reset();
  playout_.reset();
  if (m.tick_rate > 0) {
    clock_.tick_rate = m.tick_rate;
    playout_.tick_ms = 1000.0 / m.tick_rate;
  }
  uint32_t speed = 0;
  std::from_chars(m.steer_speed.data(), m.steer_speed.data() + m.steer_speed.size(), speed);
  uint32_t delay = 0;
  std::from_chars(m.steer_delay.data(), m.steer_delay.data() + m.steer_delay.size(), delay);
  lead_.set_server(delay, playout_.tick_ms);
  steering_.set_position_step(world_.position_step);
  steering_.set_server(speed, m.tick_rate > 0 ? 1.0 / m.tick_rate : 0);
}

void Client::on_authenticated(const wire::AuthenticationResult& m) {
  player_id_ = m.character_id.empty() ? m.user_id : m.character_id;
  // What is still there is told again.
  states_.forget(UINT32_MAX, [this](const KeyedState& s, bool gone) { tell_state(s, gone); });
  if (dead_) return;
  first_state_ = true;
  wire::ClientHello hello;
  hello.client_version = "tidegate-client/1";
  hello.state_encoding = settings_.protobuf ? 0 : 1;
  hello.view_distance = settings_.view_distance;
  hello.max_bytes_per_second = settings_.max_bytes_per_second;
  hello.compression = 1u << static_cast<uint32_t>(codec::Method::kZlib) |
                      1u << static_cast<uint32_t>(codec::Method::kLz4) |
                      1u << static_cast<uint32_t>(codec::Method::kZstd);
  const base::Instant at = now();
  connection_.send_message(at, MessageType::kClientHello, hello);
  syncs_ = 0;
  sync_at_ = at;
  if (settings_.report.ns > 0) {
    // The first one at a time of its own, so that thousands of clients do not report together.
    report_at_ =
        at + base::nanoseconds(static_cast<int64_t>(transport_.random(transport_.user) %
                                                    static_cast<uint64_t>(settings_.report.ns)));
  }
  run_timers();
}

void Client::run_timers() {
  const base::Instant at = now();
  if (sync_at_ <= at) {
    wire::TimeSync sync;
    sync.client_time = clock_.request(to_ms(at));
    connection_.send_message(at, MessageType::kTimeSync, sync);
    const uint32_t quick = lead_.judged() ? kSyncFirst : kSyncUnjudged;
    sync_at_ = at + (syncs_++ < quick ? kSyncFirstPause : kSyncPause);
  }
  if (report_at_ <= at) {
    report_at_ = at + settings_.report;
    const wire::CellImage* const cell = world_.quiet_cell();
    if (cell != nullptr && !settings_.protobuf) {
      const uint32_t size = client::write_cell_report(report_, *cell, client::Rows::kNo);
      connection_.send_frame(at, static_cast<uint32_t>(MessageType::kCellReport),
                             {report_.data(), size});
    }
  }
}

void Client::on_resumed(const wire::ResumeResult& m) {
  tidegate_client_event event = event_of(TIDEGATE_EVENT_RESUMED);
  event.code = m.resumed ? 1 : 0;
  event.text = text_of(m.reason);
  event.sequence = m.replayed;
  emit(event);
}

void Client::on_server_error(const wire::ErrorNotification& m) {
  tidegate_client_event event = event_of(TIDEGATE_EVENT_SERVER_ERROR);
  event.code = m.code;
  event.text = text_of(m.message);
  emit(event);
}

void Client::on_drained() {
  tidegate_client_event event = event_of(TIDEGATE_EVENT_DRAINED);
  emit(event);
}

void Client::on_expired(const Waiting& w, base::Bytes payload) {
  tidegate_client_event event = event_of(TIDEGATE_EVENT_EXPIRED);
  event.type = w.type;
  event.payload = bytes_of(payload);
  emit(event);
}

void Client::on_message(const wire::Envelope& m) {
  switch (static_cast<MessageType>(m.type)) {
    case MessageType::kWorldState:
      begin_state();
      if (!dead_) world_.apply_world_state(m.payload);
      return;
    case MessageType::kZoneUpdate:
      state_came_ = true;
      world_.apply_zone_update(m.payload);
      return;
    case MessageType::kCellFrame:
      begin_state();
      apply_cell_frames(m.payload);
      return;
    case MessageType::kInterestUpdate:
      return;
    case MessageType::kMoveAck:
      on_move_ack(m.payload);
      return;
    case MessageType::kTimeSync: {
      wire::TimeSync sync;
      if (!wire::decode(m.payload, &sync)) return;
      const double at = to_ms(now());
      if (clock_.answer(sync.client_time, sync.server_time, sync.server_tick, at)) {
        lead_.on_round_trip(clock_.last_rtt_ms(), at - polled_at_, at);
      }
      return;
    }
    case MessageType::kStateUpdate:
      on_state_update(m.payload);
      return;
    case MessageType::kStateResult:
      on_state_result(m.payload);
      return;
    default: {
      tidegate_client_event event = event_of(TIDEGATE_EVENT_MESSAGE);
      event.type = m.type;
      event.payload = bytes_of(m.payload);
      event.sequence = m.sequence;
      emit(event);
      return;
    }
  }
}

}  // namespace tidegate::sdk
