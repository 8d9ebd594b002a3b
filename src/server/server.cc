// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>

#include "base/log.h"
#include "control/start_thread.h"
#include "crypto/random.h"
#include "io/event_waker.h"
#include "server/agent.h"
#include "server/inheritance.h"
#include "server/live_settings.h"
#include "server/social_config.h"
#include "wire/limits.h"

namespace tidegate::server {
namespace {

constexpr uint32_t kShardRingBytes = 256 << 10;
constexpr uint32_t kControlRingBytes = 64 << 10;
constexpr uint32_t kControlRingBytesWithBus = 1 << 20;  // whole frames of topics pass
// In the kernel for one slow reader; what waits behind it is ours to choose from.
constexpr uint32_t kUnsentBytes = 8 << 10;

base::Instant monotonic_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

base::UnixMs unix_now_ms() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1'000'000;
}

// CPUs this process may run on, in order.
std::vector<uint32_t> allowed_cpus() {
  cpu_set_t set;
  std::vector<uint32_t> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

bool pin_this_thread(uint32_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

world::WorldConfig world_config(const control::Config& config, uint32_t shards,
                                const shard::HookTable* hooks) {
  world::WorldConfig w;
  w.tick_rate = config.world.tick_rate;
  w.cell_size = config.world.cell_size;
  w.view_distance = config.world.view_distance;
  w.full_rate_distance = config.interest.full_rate_distance;
  w.half_rate_distance = config.interest.half_rate_distance;
  w.quarter_rate_distance = config.interest.quarter_rate_distance;
  w.crowd_entities = config.interest.crowd_entities;
  w.crowd_view_distance = config.interest.crowd_view_distance;
  w.adaptive = config.interest.adaptive;
  w.budget = live_settings(config).budget;
  w.max_speed = config.world.max_speed;
  w.steer_speed = config.world.steer_speed;
  w.steer_delay_ms = static_cast<uint32_t>(config.world.steer_delay.ns / 1'000'000);
  for (int i = 0; i < 3; ++i) {
    w.bounds_min[i] = config.world.bounds_min[static_cast<size_t>(i)];
    w.bounds_max[i] = config.world.bounds_max[static_cast<size_t>(i)];
    w.spawn[i] = config.world.spawn[static_cast<size_t>(i)];
  }
  w.spawn_radius = config.world.spawn_radius;
  w.linger_ms = static_cast<uint32_t>(config.world.linger.ns / 1'000'000);
  // A player's entity lingers when its connection is gone: room for both.
  w.entities = config.limits.connections + config.limits.connections / 4 + 64;
  // Spread thin, every player stands in a cell of its own and watches its neighbours.
  w.cells = std::clamp(config.limits.connections * 4, 8192u, 65'535u);
  w.shard_count = shards;
  w.moved_cells = config.balance.on ? config.balance.cells : 0;
  w.zone_id = config.world.zone;
  if (hooks != nullptr) {
    w.custom_state = hooks->makes_state();
    w.npcs = hooks->tick != nullptr ? config.world.npcs : 0;
    w.entities += w.npcs;
  }
  if (config.world.shared) {
    w.entities += config.world.shared_entities;
    if (w.npcs != UINT32_MAX) w.npcs += config.world.shared_entities;
  }
  // The newest state and those before it.
  const int64_t ticks = config.history.duration.ns * w.tick_rate / 1'000'000'000 + 1;
  w.history_ticks = world::History::depth_for(w.entities, static_cast<uint32_t>(ticks),
                                              uint64_t{config.history.memory} / shards);
  return w;
}

balance::Settings balance_settings(const control::Config& config, uint32_t shards) {
  const control::Config::Balance& b = config.balance;
  balance::Settings s;
  s.shards = shards;
  s.cells = b.cells;
  s.imbalance = b.imbalance;
  s.work_ns = static_cast<uint32_t>(b.min_work.ns);
  s.patience = b.patience;
  s.moves = b.moves;
  s.hold = static_cast<uint32_t>(b.hold.ns / b.interval.ns);
  return s;
}

shard::SessionConfig session_config(const control::Config& config, uint32_t shards) {
  const control::Config::Session& s = config.session;
  shard::SessionConfig c;
  // Players are spread over their home shards by hash: an eighth more is room for its unevenness.
  const uint32_t limit = s.limit != 0 ? s.limit : config.limits.connections * 2;
  c.limit = shards == 1 ? limit : limit / shards + limit / 8 + 64;
  c.replay.messages = s.replay_messages;
  c.replay.bytes = s.replay_bytes;
  c.replay.pool_bytes = s.replay_memory / shards;
  c.window_bytes = config.limits.backlog_bytes / 2;
  c.resume_window = s.resume_window;
  c.second_login =
      s.second_login == "refuse" ? shard::SecondLogin::kRefuse : shard::SecondLogin::kReplace;
  return c;
}

net::CompressionConfig compression_config(const control::Config& config) {
  const control::Config::Deflate& d = config.deflate;
  net::CompressionConfig c;
  c.enabled = config.listen.deflate;
  c.rules = {static_cast<uint8_t>(d.window_bits), static_cast<uint8_t>(d.client_window_bits),
             d.server_context_takeover, d.client_context_takeover};
  c.memory_level = static_cast<uint8_t>(d.memory_level);
  c.level = static_cast<uint8_t>(d.level);
  c.min_bytes = d.min_bytes;
  c.contexts = d.contexts;
  c.turn_bytes = d.turn_bytes;
  return c;
}

session::TopicLimits topic_limits(const control::Config& config, uint32_t shards) {
  const control::Config::Topics& t = config.topics;
  session::TopicLimits l;
  l.topics = t.count;
  l.per_connection = t.per_connection;
  l.subscriptions = t.subscriptions;
  l.name_bytes = t.name_bytes;
  l.payload_bytes = std::min(t.payload_bytes, config.limits.message_bytes);
  l.history_messages = t.history_messages;
  l.history_bytes = t.history_bytes;
  l.history_memory = t.history_memory / shards;
  l.history_age = t.history_age;
  l.parked = config.limits.connections * 2 / shards + 64;
  l.parked_age = config.session.resume_window;
  l.durable = t.durable;
  return l;
}

}  // namespace

std::unique_ptr<Server> Server::make(const control::Config& config, std::string* error,
                                     Extensions extensions) {
  std::unique_ptr<Server> server(new Server(config, std::move(extensions)));
  if (!server->set_up(error)) return nullptr;
  return server;
}

Server::Server(const control::Config& config, Extensions extensions)
    : config_(config), extensions_(std::move(extensions)) {}

Server::~Server() { stop(base::Duration{0}); }

bool Server::set_up(std::string* error) {
  const std::vector<uint32_t> cpus = allowed_cpus();
  const uint32_t shards = config_.shard_count(static_cast<uint32_t>(cpus.size()));
  if (shards > 62) {
    *error = "shards.count: " + std::to_string(shards) + " is more than 62";
    return false;
  }
  auth_ = control::AuthService::make(config_.auth, error);
  if (!auth_) return false;
  // In an upgrade the process before this one still has the file: attach_lists().
  if (inheritance_ == nullptr && !open_revocations(error)) return false;
  const world::WorldConfig world = world_config(config_, shards, extensions_.hooks);
  if (const world::ConfigStatus status = world.check(); status != world::ConfigStatus::kOk) {
    *error = std::string("world: ") + world::describe(status);
    return false;
  }
  // A ring's table of sockets may not be larger than the limit of open files.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const uint32_t table_max = static_cast<uint32_t>(std::min<rlim_t>(files.rlim_cur, 65'536));
  const uint32_t wanted = config_.limits.connections;
  if (wanted + net::kRefusalRows > table_max * uint64_t{shards}) {
    *error = "limits.connections: " + std::to_string(wanted) + " connections on " +
             std::to_string(shards) + " shards need a limit of open files of at least " +
             std::to_string(wanted / shards + net::kRefusalRows) + "; it is " +
             std::to_string(files.rlim_cur) + " (ulimit -n, LimitNOFILE= in systemd)";
    return false;
  }
  // The kernel spreads connections by hash, not evenly: each shard has room for all of them where
  // the table allows it.
  const uint32_t rows = std::min(wanted, table_max - net::kRefusalRows);

  mailbox::FabricLimits fabric_limits;
  fabric_limits.shards = shards;
  fabric_limits.shard_ring_bytes = kShardRingBytes;
  fabric_limits.control_ring_bytes =
      config_.bus.servers.empty() ? kControlRingBytes : kControlRingBytesWithBus;
  fabric_ = std::make_unique<mailbox::Fabric>(fabric_limits);
  control_waker_ = std::make_unique<io::EventWaker>();
  control_counters_ = std::make_unique<metrics::Counters>();
  control_ = std::make_unique<control::ControlAgent>(*fabric_, *auth_, *control_counters_);

  desync_dumps_ = std::make_unique<control::DesyncDumps>(config_.desync.directory,
                                                         config_.desync.keep, *control_counters_);
  control_->set_desync_dumps(desync_dumps_.get());
  if (!set_up_bus(shards, error)) return false;
  if (!open_sessions(shards, error) || !open_list_keeper(error)) return false;
  population_ = std::make_unique<PopulationHistory>(config_.presence.history_interval,
                                                    config_.presence.history_age);
  if (config_.balance.on && shards > 1) {
    balance_ = std::make_unique<control::BalanceService>(balance_settings(config_, shards),
                                                         *control_counters_);
    control_->set_balance(balance_.get());
  }

  budget_ = std::make_unique<mem::Budget>(config_.limits.memory);
  io::ListenSpec listen;
  listen.address = config_.listen.websocket.to_sockaddr();
  listen.unsent_bytes = kUnsentBytes;
  std::vector<io::Waker*> wakers;
  for (uint32_t i = 0; i < shards; ++i) {
    auto agent = std::make_unique<Agent>();
    agent->account = std::make_unique<mem::Account>(*budget_);
    io::IoLimits limits;
    limits.sockets = rows + net::kRefusalRows;
    // Game messages are small; a ring of buffers is touched as a whole sooner or later.
    limits.buffers = 512;
    limits.buffer_bytes = 2048;
    if (!make_backend(limits, agent.get(), error)) return false;
    agent->buffers = limits.buffers;
    if (inheritance_ != nullptr && i >= inheritance_->hello.shards) {
      *error = "shards.count: it was " + std::to_string(inheritance_->hello.shards) +
               "; another number needs a restart";
      return false;
    }
    const bool inherits = inheritance_ != nullptr;
    if (inherits && !adopt_listeners(*agent, i, listen)) {
      *error = "the listeners of the process before cannot be used";
      return false;
    }
    const io::IoStatus status =
        inherits ? io::IoStatus::kOk : agent->io->listen(listen, &websocket_port_);
    if (status != io::IoStatus::kOk) {
      *error = "listen.websocket: cannot listen on " + config_.listen.websocket.text() + ": " +
               io::describe(status);
      return false;
    }
    listen.address.sin6_port = htons(websocket_port_);
    if (config_.listen.tls.is_set() && !inherits) {
      io::ListenSpec tls = listen;
      tls.address = config_.listen.tls.to_sockaddr();
      if (tls_port_ != 0) tls.address.sin6_port = htons(tls_port_);
      const io::IoStatus tls_status = agent->io->listen(tls, &tls_port_);
      if (tls_status != io::IoStatus::kOk) {
        *error = "listen.tls: cannot listen on " + config_.listen.tls.text() + ": " +
                 io::describe(tls_status);
        return false;
      }
    }
    agent->cpu = config_.shards.cpus.empty() ? cpus[i % cpus.size()]
                                             : config_.shards.cpus[i % config_.shards.cpus.size()];
    wakers.push_back(&agent->io->waker());
    agents_.push_back(std::move(agent));
  }
  wakers.push_back(control_waker_.get());
  if (inheritance_ != nullptr && inheritance_->hello.shards != shards) {
    *error = "shards.count: it was " + std::to_string(inheritance_->hello.shards) +
             "; another number needs a restart";
    return false;
  }

  shard::ShardConfig shard;
  shard.count = shards;
  shard.world = world;
  shard.endpoint.connections = rows;
  shard.endpoint.message_bytes = config_.limits.message_bytes;
  shard.endpoint.turn_bytes =
      std::max(shard.endpoint.turn_bytes, config_.limits.message_bytes + (64u << 10));
  shard.endpoint.head_bytes = config_.limits.head_bytes;
  shard.endpoint.backlog_bytes = config_.limits.backlog_bytes;
  shard.endpoint.backlog_pool_bytes = config_.limits.backlog_memory;
  shard.endpoint.big_inputs = config_.limits.big_messages;
  shard.endpoint.poll.sessions = config_.limits.poll_sessions;
  shard.endpoint.poll.shards = shards;
  shard.endpoint.poll.hold = config_.listen.poll_hold;
  put_live_settings(live_settings(config_), &shard);
  shard.endpoint.rules.subprotocols = wire::kSubprotocols;
  shard.endpoint.deflate = compression_config(config_);
  if (!set_up_tls(&shard.endpoint.tls, error)) return false;
  shard.claims = config_.world.claims;
  shard.server_version = TIDEGATE_VERSION;
  shard.snapshots = !config_.snapshots.directory.empty();
  if (balance_) {
    const int64_t ticks = config_.balance.interval.ns * world.tick_rate / 1'000'000'000;
    shard.balance_ticks = static_cast<uint32_t>(std::max<int64_t>(1, ticks));
  }
  shard.handlers = extensions_.handlers;
  shard.hooks = extensions_.hooks;
  shard.events = extensions_.events;
  shard.service_types = service_types_;
  shard.environment = extensions_.environment;
  shard.realm.on = config_.world.shared;
  shard.realm.number = config_.world.gateway_number;
  shard.realm.rate = config_.bus.world_rate;
  shard.realm.claim_wait = {config_.bus.member_timeout.ns / 4};
  shard.topics = topic_limits(config_, shards);
  shard.presence.users = config_.presence.users;
  shard.presence.watched = config_.presence.watched;
  shard.presence.watches = config_.presence.watches;
  shard.presence.offline_delay = config_.presence.offline_delay;
  shard.presence.bytes_per_second = config_.presence.bytes_per_second;
  shard.region = config_.presence.region;
  shard.states.entries = config_.state.entries;
  shard.states.private_entries = config_.state.private_entries;
  if (!session::check_group_kinds(config_.groups.kinds)) {
    *error =
        "groups.kinds: write kinds as <name>:<members> (1 to 1,000), separated by spaces, as in "
        "\"party:8 "
        "guild:200\"";
    return false;
  }
  shard.groups = group_limits(config_);
  shard.users = user_limits(config_);
  std::string dictionary;  // each shard's codec copies it
  if (!packing_config(config_, &dictionary, &shard.packing, error)) return false;
  shard.keep_lists = !config_.social.path.empty();
  shard.session = session_config(config_, shards);
  shard.session.stored = keeper_ != nullptr || (inheritance_ != nullptr && stores_sessions());
  shard.session.shared = keeper_ != nullptr && keeper_->store().shared();
  shard.first_tick = monotonic_now() + base::milliseconds(50);
  if (!crypto::fill_random({reinterpret_cast<uint8_t*>(&shard.seed), sizeof shard.seed})) {
    *error = "the system gives no random bytes (getrandom)";
    return false;
  }
  uint64_t admission_seed = 0;
  (void)crypto::fill_random({reinterpret_cast<uint8_t*>(&admission_seed), sizeof admission_seed});
  admission_ = std::make_unique<net::AdmissionTables>(wanted, admission_seed);
  shard.endpoint.admission = admission_.get();
  for (uint32_t i = 0; i < shards; ++i) {
    shard.index = i;
    shard.endpoint.poll.shard = i;
    shard.endpoint.receive_buffers = agents_[i]->buffers;
    shard.endpoint.account = agents_[i]->account.get();
    agents_[i]->shard = std::make_unique<shard::Shard>(shard, *agents_[i]->io, *fabric_, wakers,
                                                       agents_[i]->counters);
    agents_[i]->counters.set(metrics::Gauge::kHistoryTicks, world.history_ticks);
    agents_[i]->counters.set(metrics::Gauge::kMemoryReserved, agents_[i]->shard->memory_bytes());
  }
  if (shard.snapshots) set_up_snapshots(world);
  return restore_sessions(error) && restore_lists(error);
}

// `port`: instead of the configured one; 0: that.
bool Server::start_admin(uint16_t port, std::string* error) {
  control::LivePageOptions live;
  live.on = config_.admin.live_page;
  live.websocket = config_.listen.websocket;
  live.websocket.port = websocket_port();
  live.max_speed = config_.world.max_speed;
  if (live.on && !control::set_live_tokens_blocking(config_, &live, error)) return false;
  control::Address listen = config_.admin.listen;
  if (port != 0) listen.port = port;
  admin_ = std::make_unique<control::AdminHttp>(
      static_cast<control::AdminSource&>(*this),
      control::AdminHttpOptions{listen, config_.admin.token, std::move(live)});
  if (!admin_->start(error)) return false;
  admin_port_ = admin_->port();
  return true;
}

bool Server::start(std::string* error) {
  start_bus();
  const bool inherited = inheritance_ != nullptr;
  // Who waits for ticks comes first in an upgrade; the admin server of the process before has
  // ended.
  if (!inherited && config_.admin.listen.is_set() && !start_admin(0, error)) return false;
  running_ = true;
  keys_ready_.store(auth_->has_keys(), std::memory_order_relaxed);
  control_->set_ask_keys([this](base::Instant now) {
    const std::lock_guard lock(jwks_mutex_);
    return jwks_ != nullptr && jwks_->ask(now);
  });
  start_jwks(config_.auth);
  if (snapshots_) snapshots_->start();
  if (keeper_) keeper_->start();
  if (list_keeper_) list_keeper_->start();
  for (const auto& agent : agents_) agent->inherited_tick = agent->shard->current_tick();
  bool started = control::start_thread(&control_thread_, [this] { run_control(); }, error);
  for (uint32_t i = 0; i < agents_.size() && started; ++i) {
    started = control::start_thread(&agents_[i]->thread, [this, i] { run_shard(i); }, error);
  }
  if (!started) return false;  // stop() joins those there are
  // Ready means that the world ticks: who reads our "listening" may ask /readyz at once.
  const base::Instant give_up = monotonic_now() + base::seconds(2);
  if (!inherited) {
    while (!readyz().ok && monotonic_now() < give_up) ::poll(nullptr, 0, 5);
    return true;
  }
  const auto ticked = [this] {
    return std::all_of(agents_.begin(), agents_.end(), [](const auto& agent) {
      return agent->shard->current_tick() != agent->inherited_tick;
    });
  };
  while (!ticked() && monotonic_now() < give_up) ::poll(nullptr, 0, 1);
  const bool same = config_.admin.listen.port == 0;
  const auto port = static_cast<uint16_t>(same ? inheritance_->hello.admin_port : 0);
  report_inheritance();
  attach_store();
  attach_lists();
  inheritance_.reset();
  if (!config_.admin.listen.is_set()) return true;
  // A server without its admin port is better than none.
  for (int i = 0; i < 100 && !start_admin(port, error); ++i) ::poll(nullptr, 0, 50);
  if (admin_port_ == 0) log(base::LogLevel::kError, *error);
  return true;
}

void Server::set_environment(const std::string& encoded) {
  control_->set_environment(encoded, [this] { control_waker_->wake(); });
}

void Server::log(base::LogLevel level, std::string_view text) const {
  if (extensions_.log) {
    extensions_.log(level, text);
  } else {
    base::log(level, text);
  }
}

void Server::run_shard(uint32_t index) {
  Agent& agent = *agents_[index];
  char name[16];
  std::snprintf(name, sizeof name, "tg-shard-%u", index);
  pthread_setname_np(pthread_self(), name);
  if (!pin_this_thread(agent.cpu)) {
    log(base::LogLevel::kWarn, "shards.cpus: a shard could not be pinned; it runs unpinned");
  }
  if (agent.handover) agent.handover->begin();
  bool serves = true;  // false: an upgrade has its state
  while (!stop_shards_.load(std::memory_order_relaxed)) {
    const bool waits = upgrade_phase_.load(std::memory_order_relaxed) == UpgradePhase::kNone ||
                       !agent.shard->held();
    if (serves) {
      agent.shard->turn(waits ? shard::Shard::Wait::kYes : shard::Shard::Wait::kNo);
    }
    serves = !step_upgrade(agent);
  }
}

void Server::run_control() {
  pthread_setname_np(pthread_self(), "tg-control");
  // Every login wakes it; where it shares a core with a shard, a tick is not to give way to that.
  if (sched_getscheduler(0) == SCHED_OTHER) {
    const sched_param none{};
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
  }
  struct Wakes final : mailbox::WakeSink {
    explicit Wakes(Server& s) : server(s) {}
    void wake_agent(mailbox::AgentId agent) override { server.agents_[agent]->io->waker().wake(); }
    Server& server;
  } wakes(*this);
  while (!stop_control_.load(std::memory_order_relaxed)) {
    control_turn_ns_.store(monotonic_now().ns, std::memory_order_relaxed);
    control_->turn_snapshots(monotonic_now(), unix_now_ms());
    watch_drain();
    if (population_->due(monotonic_now())) {
      PopulationSample sample = population_now();
      sample.unix_ms = unix_now_ms();
      population_->sample(monotonic_now(), sample);
    }
    turn_bus(monotonic_now());
    const bool worked = control_->work(unix_now_ms(), wakes);
    if (worked) control_work_.fetch_add(1, std::memory_order_relaxed);
    control_turns_.fetch_add(1, std::memory_order_release);  // partner: wait_quiet()
    if (worked) continue;
    if (upgrade_phase_.load(std::memory_order_relaxed) == UpgradePhase::kPause) {
      step_aside(control_turns_.load(std::memory_order_relaxed));  // its turns are waited for
    } else if (control_->prepare_to_sleep()) {
      pollfd wait{control_waker_->fd(), POLLIN, 0};
      const int wait_ms = draining_.load(std::memory_order_relaxed) ? 20 : 250;
      ::poll(&wait, 1, bus_wait_ms(monotonic_now(), wait_ms));
      control_waker_->drain();
    }
    control_->awake();
  }
}

void Server::stop(base::Duration grace) {
  if (!running_) return;
  running_ = false;
  draining_.store(true, std::memory_order_relaxed);
  control_->drain(control::DrainOrder{monotonic_now(), {}, monotonic_now() + grace, 0, true, {}},
                  [this] { control_waker_->wake(); });
  const base::Instant deadline = monotonic_now() + grace;
  while (monotonic_now() < deadline) {
    uint64_t open = 0;
    for (const auto& agent : agents_) open += agent->counters.get(metrics::Gauge::kConnectionsOpen);
    if (open == 0) break;
    ::poll(nullptr, 0, 10);
  }
  // The last word of an orderly stop: who comes back stands where it stood.
  if (snapshots_ && !snapshots_->take_blocking(base::seconds(5))) {
    base::log(base::LogLevel::kWarn, "snapshots: none could be written at the stop");
  }
  settle_sessions();
  stop_shards_.store(true, std::memory_order_relaxed);
  for (const auto& agent : agents_) agent->io->waker().wake();
  for (const auto& agent : agents_) {
    if (agent->thread.joinable()) agent->thread.join();
  }
  start_jwks({});  // ends it
  stop_control_.store(true, std::memory_order_relaxed);
  control_waker_->wake();
  if (control_thread_.joinable()) control_thread_.join();
  stop_bus();
  keep_last_sessions();
  if (snapshots_) snapshots_->stop();
  if (admin_) admin_->stop();
}

}  // namespace tidegate::server
