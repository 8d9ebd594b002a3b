// SPDX-License-Identifier: Apache-2.0
// What the admin server and status lines show of a running server.
#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "control/json_writer.h"
#include "control/tcp_stats.h"
#include "net/refusals.h"
#include "server/agent.h"
#include "server/server.h"
#include "wire/message_types.h"

namespace tidegate::server {
namespace {

// A shard or control that has not turned for so long is stuck.
constexpr base::Duration kStuckAfter = base::seconds(2);

base::Instant monotonic_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

const char* close_label(uint32_t v) {
  return v < static_cast<uint32_t>(net::CloseCause::kCount)
             ? net::name_of(static_cast<net::CloseCause>(v))
             : nullptr;
}
const char* tls_label(uint32_t v) {
  return v < static_cast<uint32_t>(tls::Failure::kCount)
             ? tls::name_of(static_cast<tls::Failure>(v))
             : nullptr;
}
const char* refusal_label(uint32_t v) {
  return v < net::kRefusalCodeCount ? net::kRefusalCodes[v] : nullptr;
}
const char* admission_label(uint32_t v) {
  return v != 0 && v < static_cast<uint32_t>(net::Admission::kCount)
             ? net::name_of(static_cast<net::Admission>(v))
             : nullptr;
}
const char* message_label(uint32_t v) {
  if (v == wire::kTypeCount) return "unknown";
  return wire::name_of_type_index(v);
}
const char* error_label(uint32_t v) {
  static thread_local char number[8];
  if (v >= wire::kErrorCodeCount) return nullptr;
  std::snprintf(number, sizeof number, "%u", wire::kErrorCodeFirst + v);
  return number;
}
const char* state_label(uint32_t v) {
  return v < static_cast<uint32_t>(session::State::kCount)
             ? session::name_of(static_cast<session::State>(v))
             : nullptr;
}

const char* resume_label(uint32_t v) {
  return v > static_cast<uint32_t>(session::Resume::kResumed) &&
                 v < static_cast<uint32_t>(session::Resume::kCount)
             ? session::name_of(static_cast<session::Resume>(v))
             : nullptr;
}
const char* end_label(uint32_t v) {
  return v < static_cast<uint32_t>(session::End::kCount)
             ? session::name_of(static_cast<session::End>(v))
             : nullptr;
}
const char* upgrade_label(uint32_t v) {
  return v < static_cast<uint32_t>(handover::CannotMove::kCount)
             ? handover::name_of(static_cast<handover::CannotMove>(v))
             : nullptr;
}

// Handlers have values by their order; those beyond the family share the last one.
const char* handler_label(const shard::HandlerTable* handlers, uint32_t v) {
  if (handlers == nullptr || v >= handlers->count()) return nullptr;
  if (v == metrics::kFamilyValuesMax - 1 && handlers->count() > v + 1) return "other";
  return handlers->entry(v).name.c_str();
}

metrics::Labels labels(const shard::HandlerTable* handlers) {
  metrics::Labels l;
  l.of[static_cast<uint32_t>(metrics::Family::kCloses)] = close_label;
  l.of[static_cast<uint32_t>(metrics::Family::kTlsFailures)] = tls_label;
  l.of[static_cast<uint32_t>(metrics::Family::kRefusals)] = refusal_label;
  l.of[static_cast<uint32_t>(metrics::Family::kAdmission)] = admission_label;
  l.of[static_cast<uint32_t>(metrics::Family::kMessages)] = message_label;
  l.of[static_cast<uint32_t>(metrics::Family::kErrors)] = error_label;
  l.of[static_cast<uint32_t>(metrics::Family::kStates)] = state_label;
  l.of[static_cast<uint32_t>(metrics::Family::kUpgradeClosed)] = upgrade_label;
  l.of[static_cast<uint32_t>(metrics::Family::kResumesRefused)] = resume_label;
  l.of[static_cast<uint32_t>(metrics::Family::kSessionsEnded)] = end_label;
  for (const metrics::Family f :
       {metrics::Family::kHandlerCalls, metrics::Family::kHandlerFailures,
        metrics::Family::kHandlerTimeouts, metrics::Family::kHandlerOverBudget}) {
    l.of[static_cast<uint32_t>(f)] = [handlers](uint32_t v) { return handler_label(handlers, v); };
  }
  return l;
}

std::string peer_text(const mailbox::ConnectionRow& row) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  char host[INET6_ADDRSTRLEN] = {};
  if (std::memcmp(row.peer, kMapped, sizeof kMapped) == 0) {
    inet_ntop(AF_INET, row.peer + 12, host, sizeof host);
    return std::string(host) + ':' + std::to_string(row.peer_port);
  }
  inet_ntop(AF_INET6, row.peer, host, sizeof host);
  return '[' + std::string(host) + "]:" + std::to_string(row.peer_port);
}

}  // namespace

control::Health Server::livez() {
  const base::Instant now = monotonic_now();
  for (size_t i = 0; i < agents_.size(); ++i) {
    const base::Instant last = agents_[i]->shard->last_turn();
    if (last.ns != 0 && now - last > kStuckAfter) {
      return {false,
              "shard " + std::to_string(i) + " has not turned for " +
                  std::to_string((now - last).ns / 1'000'000) + " ms",
              {}};
    }
  }
  const int64_t control = control_turn_ns_.load(std::memory_order_relaxed);
  if (control != 0 && now.ns - control > kStuckAfter.ns) {
    return {false, "the control thread does not turn", {}, {}};
  }
  return {true, {}, {}, {}};
}

control::Health Server::readyz() {
  if (draining_.load(std::memory_order_relaxed)) return {false, "draining", {}, {}};
  if (!keys_ready_.load(std::memory_order_relaxed)) {
    return {false,
            "auth.jwks_url has not answered yet: there are no keys to check tokens with",
            {},
            {}};
  }
  for (const auto& agent : agents_) {
    if (agent->shard->current_tick() == 0) return {false, "the world has not ticked yet", {}, {}};
  }
  control::Health health = livez();
  health.note = backend_note_;
  if (health.ok && keeper_) {
    // Players go on, and new ones may come: to send them away would make it worse.
    if (const auto status = keeper_->status(); status.failed) {
      health.degraded = "session store: " + status.why;
    }
  }
  if (health.ok && transport_ && !transport_->connected()) {
    // Likewise: they go on within this gateway.
    if (!health.degraded.empty()) health.degraded += "; ";
    health.degraded += "bus: no connection to bus.servers";
  }
  return health;
}

std::string Server::metrics_text() {
  std::vector<metrics::Block> blocks;
  for (size_t i = 0; i < agents_.size(); ++i) {
    blocks.push_back({std::to_string(i), &agents_[i]->counters});
  }
  control_counters_->set(metrics::Gauge::kTlsExpires,
                         static_cast<uint64_t>(tls_expires_unix_.load(std::memory_order_relaxed)));
  blocks.push_back({"control", control_counters_.get()});
  return metrics::to_text(blocks, labels(extensions_.handlers));
}

std::string Server::connections_json(const control::ConnectionsQuery& query) {
  const bool filtered = !query.user.empty() || !query.player.empty() || query.shard >= 0;
  const uint32_t limit = filtered ? config_copy().limits.connections : query.offset + query.limit;
  control::ConnectionPage page =
      control_->list_connections_blocking(0, limit, [this] { control_waker_->wake(); });
  std::vector<control::ConnectionInfo>& rows = page.rows;
  std::erase_if(rows, [&](const control::ConnectionInfo& c) {
    return (!query.user.empty() && c.user != query.user) ||
           (!query.player.empty() && c.player != query.player) ||
           (query.shard >= 0 && c.shard != static_cast<uint32_t>(query.shard));
  });
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.shard != b.shard ? a.shard < b.shard : a.row.connection.slot < b.row.connection.slot;
  });
  control::TcpStatsMap tcp = control::read_tcp_stats_blocking(websocket_port_);
  if (tls_port_ != 0) tcp.merge(control::read_tcp_stats_blocking(tls_port_));
  control::JsonWriter json;
  json.begin_object().key("total").unsigned_integer(filtered ? rows.size() : page.total);
  json.key("complete").boolean(page.complete);
  json.key("connections").begin_array();
  for (size_t i = query.offset; i < rows.size() && i < query.offset + query.limit; ++i) {
    const control::ConnectionInfo& c = rows[i];
    char session[17];
    std::snprintf(session, sizeof session, "%016llx",
                  static_cast<unsigned long long>(c.row.session));
    json.begin_object();
    json.key("shard").unsigned_integer(c.shard);
    json.key("slot").unsigned_integer(c.row.connection.slot);
    json.key("generation").unsigned_integer(c.row.connection.generation);
    json.key("session_id").text(session);
    json.key("user_id").text(c.user);
    json.key("player_id").text(c.player);
    json.key("entity_id");
    if (c.row.entity.valid()) {
      json.unsigned_integer(c.row.entity.value);
    } else {
      json.null();
    }
    json.key("state").text(session::name_of(static_cast<session::State>(c.row.state)));
    json.key("state_encoding").text(c.row.encoding == 1 ? "packed" : "protobuf");
    json.key("address").text(peer_text(c.row));
    json.key("age_ms").unsigned_integer(c.row.age_ms);
    json.key("transport").text((c.row.transport & 1) != 0 ? "polling" : "websocket");
    json.key("tls").boolean((c.row.transport & 2) != 0);
    json.key("compressed").boolean((c.row.transport & 4) != 0);
    json.key("subprotocol").text(wire::kSubprotocols[(c.row.transport & 8) != 0 ? 1 : 0]);
    json.key("rtt_ms").number(c.row.rtt_us / 1000.0);
    json.key("rtt_jitter_ms").number(c.row.rtt_jitter_us / 1000.0);
    // Of the TCP connection; not of one behind a proxy, where the peer is not the client.
    base::IpAddress peer;
    std::memcpy(peer.bytes, c.row.peer, sizeof peer.bytes);
    if (const auto it = tcp.find({peer, c.row.peer_port}); it != tcp.end()) {
      json.key("tcp").begin_object();
      json.key("rtt_ms").number(it->second.rtt_us / 1000.0);
      json.key("rtt_variation_ms").number(it->second.rtt_variation_us / 1000.0);
      json.key("retransmits").unsigned_integer(it->second.retransmits);
      json.key("unacked_segments").unsigned_integer(it->second.unacked);
      json.key("unsent_bytes").unsigned_integer(it->second.unsent_bytes);
      json.end_object();
    }
    json.key("messages_in").unsigned_integer(c.row.messages_in);
    json.key("messages_out").unsigned_integer(c.row.messages_out);
    json.key("bytes_in").unsigned_integer(c.row.bytes_in);
    json.key("bytes_out").unsigned_integer(c.row.bytes_out);
    json.key("backlog_bytes").unsigned_integer(c.row.backlog_bytes);
    json.key("backlog_age_s").unsigned_integer(c.row.backlog_age_s);
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

std::string Server::shards_json() {
  control::JsonWriter json;
  json.begin_object().key("shards").begin_array();
  for (size_t i = 0; i < agents_.size(); ++i) {
    const Agent& agent = *agents_[i];
    const metrics::Counters& c = agent.counters;
    const auto ms = [&](metrics::Timing t, double q) {
      return static_cast<double>(c.timing(t).percentile(q)) / 1e6;
    };
    json.begin_object();
    json.key("shard").unsigned_integer(i);
    json.key("cpu").unsigned_integer(agent.cpu);
    json.key("tick").unsigned_integer(agent.shard->current_tick());
    json.key("connections").unsigned_integer(c.get(metrics::Gauge::kConnectionsOpen));
    json.key("players").unsigned_integer(c.get(metrics::Gauge::kPlayers));
    json.key("entities").unsigned_integer(c.get(metrics::Gauge::kEntities));
    json.key("tick_ms_p50").number(ms(metrics::Timing::kTick, 0.5));
    json.key("tick_ms_p99").number(ms(metrics::Timing::kTick, 0.99));
    json.key("flush_ms_p99").number(ms(metrics::Timing::kFlush, 0.99));
    json.key("memory_reserved_bytes").unsigned_integer(c.get(metrics::Gauge::kMemoryReserved));
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

std::string Server::config_json() { return control::to_json(config_copy()); }

std::string Server::entity_history_json(const std::string& id) {
  const auto wake = [this] { control_waker_->wake(); };
  control::EntityHistory found;
  if (id.size() <= world::kPlayerIdBytesMax) {
    found = control_->entity_history_blocking(id, {}, wake);
  }
  uint32_t number = 0;
  const auto read = std::from_chars(id.data(), id.data() + id.size(), number);
  if (!found.found && read.ec == std::errc() && read.ptr == id.data() + id.size()) {
    found = control_->entity_history_blocking({}, {number}, wake);
  }
  if (!found.found) return {};
  const float step = agents_[0]->shard->slice().scale().metres_per_step;  // constant
  control::JsonWriter json;
  json.begin_object().key("entity_id").unsigned_integer(found.answer.entity.value);
  json.key("player_id").text(found.player).key("shard").unsigned_integer(found.shard);
  json.key("newest_tick").unsigned_integer(found.answer.newest_tick);
  json.key("samples").begin_array();
  for (uint32_t i = 0; i < found.answer.samples; ++i) {
    world::HistorySample sample;
    std::memcpy(&sample, found.samples.data() + i * sizeof sample, sizeof sample);
    json.begin_object();
    json.key("tick").unsigned_integer(found.answer.newest_tick + 1 + i - found.answer.samples);
    json.key("position").begin_array();
    for (const int32_t steps : sample.position) {
      json.number(static_cast<double>(steps) * static_cast<double>(step));
    }
    json.end_array();
    json.key("yaw_degrees").number(sample.yaw * 360.0 / 256);
    json.key("flags").unsigned_integer(sample.flags).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

std::string Server::presence_json() {
  const PopulationSample now = population_now();
  uint64_t watches = 0;
  for (const auto& agent : agents_)
    watches += agent->counters.get(metrics::Gauge::kPresenceWatches);
  control::JsonWriter json;
  json.begin_object().key("users").unsigned_integer(now.users);
  json.key("online").unsigned_integer(now.online);
  json.key("away").unsigned_integer(now.away);
  json.key("busy").unsigned_integer(now.busy);
  json.key("invisible").unsigned_integer(now.invisible);
  json.key("watches").unsigned_integer(watches);
  if (bus_) write_cluster_users(&json);
  json.key("zones").begin_array();
  json.begin_object().key("zone").text(config_.world.zone);
  json.key("players").unsigned_integer(now.players);
  json.key("entities").unsigned_integer(now.entities).end_object();
  json.end_array().end_object();
  return json.take();
}

std::string Server::topics_json(uint32_t offset, uint32_t limit, const std::string& prefix) {
  // Homes keep their topics in no order of names: all of them are asked for.
  const control::TopicPage page =
      control_->list_topics_blocking([this] { control_waker_->wake(); });
  control::JsonWriter json;
  json.begin_object().key("total").unsigned_integer(page.total);
  json.key("complete").boolean(page.complete).key("topics").begin_array();
  uint32_t seen = 0;
  for (const auto& [name, t] : page.topics) {
    if (!name.starts_with(prefix)) continue;
    if (seen++ < offset) continue;
    if (seen > offset + limit) break;
    json.begin_object().key("name").text(name);
    json.key("home_shard").unsigned_integer(t.home);
    json.key("last_offset").unsigned_integer(t.last_offset);
    json.key("subscribers").unsigned_integer(t.subscribers);
    json.key("shards").unsigned_integer(t.shards);
    json.key("history_messages").unsigned_integer(t.history_messages);
    json.key("history_bytes").unsigned_integer(t.history_bytes).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

std::string Server::cells_json() {
  if (balance_) return balance_->json();
  control::JsonWriter json;
  json.begin_object().key("shards").begin_array().end_array();
  json.key("cells").begin_array().end_array().end_object();
  return json.take();
}

std::string Server::snapshots_json() {
  if (snapshots_) return snapshots_->json_blocking();
  control::JsonWriter json;
  json.begin_object().key("directory").text("").key("files").begin_array().end_array().end_object();
  return json.take();
}

uint64_t Server::memory_reserved() const {
  uint64_t sum = fabric_->memory_bytes() + admission_->memory_bytes();
  for (const auto& agent : agents_) sum += agent->shard->memory_bytes();
  return sum;
}

void Server::read_figures(Figures* out) const {
  *out = Figures{};
  for (const auto& agent : agents_) {
    const metrics::Counters& c = agent->counters;
    out->connections += c.get(metrics::Gauge::kConnectionsOpen);
    out->players += c.get(metrics::Gauge::kPlayers);
    out->entities += c.get(metrics::Gauge::kEntities);
    out->ticks = std::max<uint64_t>(out->ticks, c.get(metrics::Counter::kTicks));
    out->tick_overruns =
        std::max<uint64_t>(out->tick_overruns, c.get(metrics::Counter::kTickOverruns));
    out->entity_updates_sent += c.get(metrics::Counter::kEntityUpdatesSent);
    out->bytes_received += c.get(metrics::Counter::kBytesReceived);
    out->bytes_sent += c.get(metrics::Counter::kBytesSent);
    out->handovers += c.get(metrics::Counter::kHandovers);
    out->moves_applied += c.get(metrics::Counter::kInputsApplied);
    out->ticks_by_shard.push_back(&c.timing(metrics::Timing::kTick));
  }
}

}  // namespace tidegate::server
