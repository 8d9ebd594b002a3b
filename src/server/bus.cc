// SPDX-License-Identifier: Apache-2.0
// The bus as the composition root sees it: made from the configuration, turned by control's thread,
// shown in metrics and the admin API.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <ctime>

#include "control/json_writer.h"
#include "server/agent.h"
#include "server/server.h"
#include "world/directory.h"

namespace tidegate::server {
namespace {

constexpr base::Duration kCountEvery = base::milliseconds(100);
constexpr base::Duration kLastWords = base::milliseconds(200);

// Of host name and process id: no two processes of a network have the same.
std::string made_name() {
  char host[48] = {};
  if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  std::string name;
  for (const char* c = host; *c != '\0'; ++c) {
    name += std::isalnum(static_cast<unsigned char>(*c)) != 0 ? *c : '-';
  }
  return (name.empty() ? "gateway" : name) + '-' + std::to_string(getpid());
}

// Higher than at any start before of a gateway of this name.
uint64_t first_epoch() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1'000'000;
}

void add(bus::Population* sum, const bus::Population& p) {
  sum->connections += p.connections;
  sum->players += p.players;
  sum->entities += p.entities;
  sum->users += p.users;
  sum->online += p.online;
  sum->away += p.away;
  sum->busy += p.busy;
  sum->invisible += p.invisible;
}

void write(control::JsonWriter* json, const bus::Population& p) {
  json->key("connections").unsigned_integer(p.connections);
  json->key("players").unsigned_integer(p.players);
  json->key("entities").unsigned_integer(p.entities);
  json->key("users").unsigned_integer(p.users);
  json->key("online").unsigned_integer(p.online);
  json->key("away").unsigned_integer(p.away);
  json->key("busy").unsigned_integer(p.busy);
  json->key("invisible").unsigned_integer(p.invisible);
}

bus::BusConfig bus_config(const control::Config& config, uint32_t shards) {
  bus::BusConfig c;
  c.cluster = config.bus.cluster;
  c.gateway = config.bus.gateway;
  c.epoch = first_epoch();
  c.shards = shards;
  c.membership.heartbeat = config.bus.heartbeat;
  c.membership.timeout = config.bus.member_timeout;
  c.request_timeout = config.bus.request_timeout;
  c.backend.timeout = config.bus.service_timeout;
  c.backend.payload_bytes = kPeerBytesMax;
  c.backend.topic_bytes = config.topics.payload_bytes;
  c.backend.topic_name_bytes = config.topics.name_bytes;
  for (const std::string& text : config.bus.services) {
    bus::ServedTypes types;
    if (bus::parse_served(text, &types)) c.backend.types.push_back(types);
  }
  c.player_home = [](std::string_view player, uint32_t count) -> uint32_t {
    return world::home_of(player, count).value;
  };
  return c;
}

}  // namespace

bool Server::set_up_bus(uint32_t shards, std::string* error) {
  if (config_.bus.servers.empty()) return true;
  if (config_.bus.gateway.empty()) config_.bus.gateway = made_name();
  if (config_.bus.gateway.size() > bus::kNameBytesMax) {
    *error = "bus.gateway: at most 64 bytes";
    return false;
  }
  for (const std::string& text : config_.bus.services) {
    bus::ServedTypes types;
    if (bus::parse_served(text, &types)) service_types_.emplace_back(types.first, types.last);
  }
  return shards != 0;
}

// The connection is made behind the start: players are served whether it comes or not.
void Server::start_bus() {
  if (config_.bus.servers.empty()) return;
  const bus::BusConfig config = bus_config(config_, static_cast<uint32_t>(agents_.size()));
  bus::NatsOptions options;
  options.servers = config_.bus.servers;
  options.user = config_.bus.user;
  options.password = config_.bus.password;
  options.name = "tidegate " + config.gateway;
  options.queue_bytes = config_.bus.queue_bytes;
  options.subscriptions = bus::BusService::subscriptions(config);
  options.wake = [this] { control_waker_->wake(); };
  options.log = [this](bool connected, std::string_view text) {
    log(connected ? base::LogLevel::kInfo : base::LogLevel::kWarn, "bus: " + std::string(text));
  };
  transport_ = std::make_unique<bus::NatsTransport>(std::move(options));
  bus_ = std::make_unique<bus::BusService>(config, *transport_);
  control_->set_bus(bus_.get());
}

void Server::turn_bus(base::Instant now) {
  // While it hands over to a new process nothing new begins; that one joins anew.
  if (!bus_ || upgrade_phase_.load(std::memory_order_acquire) != UpgradePhase::kNone) return;
  using metrics::Counter;
  using metrics::Gauge;
  if (draining_.load(std::memory_order_relaxed) && !bus_left_.load(std::memory_order_relaxed)) {
    const DrainStage stage = drain_stage_.load(std::memory_order_relaxed);
    if (stage == DrainStage::kOver) {
      bus_->leave();
      bus_left_.store(true, std::memory_order_relaxed);
    }
  }
  if (now - bus_counted_ >= kCountEvery) {
    bus_counted_ = now;
    bus::Population p;
    uint64_t remote = 0;  // counted by their own gateways
    for (const auto& agent : agents_) {
      const metrics::Counters& c = agent->counters;
      p.connections += c.get(Gauge::kConnectionsOpen);
      p.players += c.get(Gauge::kPlayers);
      p.entities += c.get(Gauge::kEntities);
      remote += c.get(Gauge::kEntitiesRemote);
      p.users += c.get(Gauge::kUsersOnline);
      p.online += c.get(Gauge::kUsersShownOnline);
      p.away += c.get(Gauge::kUsersShownAway);
      p.busy += c.get(Gauge::kUsersShownBusy);
      p.invisible += c.get(Gauge::kUsersInvisible);
    }
    p.entities -= std::min(p.entities, remote);
    bus_->set_population(p);
    BusView view;
    for (const bus::Membership::Member& m : bus_->membership().members()) {
      BusView::Gateway g{m.name, m.self, m.epoch, {}};
      if (m.self) {
        g.population = p;
      } else if (const auto it = bus_->populations().find(m.id); it != bus_->populations().end()) {
        g.population = it->second;
      }
      add(&view.sum, g.population);
      view.gateways.push_back(std::move(g));
    }
    view.figures = bus_->figures();
    view.transport = transport_->figures();
    view.connected = transport_->connected();
    view.settled = bus_->membership().stage() == bus::Membership::Stage::kSettled;
    metrics::Counters& c = *control_counters_;
    c.set(Counter::kBusSent, view.transport.sent);
    c.set(Counter::kBusReceived, view.transport.received);
    c.set(Counter::kBusBytesSent, view.transport.sent_bytes);
    c.set(Counter::kBusBytesReceived, view.transport.received_bytes);
    c.set(Counter::kBusDroppedOut, view.transport.dropped_out);
    c.set(Counter::kBusDroppedIn, view.transport.dropped_in + view.figures.dropped);
    c.set(Counter::kBusRefused, view.figures.refused);
    c.set(Counter::kBusTimeouts, view.figures.timeouts);
    c.set(Counter::kBusConnects, view.transport.connects);
    c.set(Counter::kBusViews, view.figures.views);
    c.set(Counter::kBusUnsettled, view.figures.unsettled);
    const bus::BackendFigures& b = bus_->backend_figures();
    c.set(Counter::kServiceAnswers, b.answers);
    c.set(Counter::kServiceTimeouts, b.timeouts);
    c.set(Counter::kServiceNobody, b.nobody);
    c.set(Counter::kServicePushes, b.pushes);
    c.set(Counter::kServiceRefused, b.refused);
    c.set(Gauge::kBusConnected, view.connected ? 1 : 0);
    c.set(Gauge::kBusMembers, view.figures.members);
    c.set(Gauge::kBusSettled, view.settled ? 1 : 0);
    c.set(Gauge::kBusQueueBytes, view.transport.queued_bytes + view.figures.backlog_bytes);
    c.set(Gauge::kClusterConnections, view.sum.connections);
    c.set(Gauge::kClusterPlayers, view.sum.players);
    c.set(Gauge::kClusterUsers, view.sum.users);
    const std::lock_guard lock(bus_mutex_);
    bus_view_ = std::move(view);
  }
  control_->turn_bus(now);
}

int Server::bus_wait_ms(base::Instant now, int wait_ms) const {
  if (!bus_ || upgrade_phase_.load(std::memory_order_acquire) != UpgradePhase::kNone) {
    return wait_ms;
  }
  const int64_t left = (bus_->next_deadline() - now).ns;
  return static_cast<int>(std::clamp<int64_t>((left + 999'999) / 1'000'000, 0, wait_ms));
}

// Behind control's thread.
void Server::stop_bus() {
  if (!bus_) return;
  bus_->leave();
  transport_->stop(kLastWords);
}

std::string Server::cluster_json() {
  control::JsonWriter json;
  json.begin_object();
  const std::lock_guard lock(bus_mutex_);
  json.key("bus").boolean(bus_ != nullptr);
  json.key("cluster").text(config_.bus.cluster);
  json.key("connected").boolean(bus_view_.connected);
  json.key("settled").boolean(bus_view_.settled);
  json.key("sum").begin_object();
  write(&json, bus_view_.sum);
  json.end_object();
  json.key("gateways").begin_array();
  for (const BusView::Gateway& g : bus_view_.gateways) {
    json.begin_object().key("name").text(g.name);
    json.key("self").boolean(g.self);
    json.key("epoch").unsigned_integer(g.epoch);
    write(&json, g.population);
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

void Server::write_cluster_users(control::JsonWriter* json) {
  const std::lock_guard lock(bus_mutex_);
  json->key("cluster").begin_object();
  json->key("gateways").unsigned_integer(bus_view_.gateways.size());
  write(json, bus_view_.sum);
  json->end_object();
}

}  // namespace tidegate::server
