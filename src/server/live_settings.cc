// SPDX-License-Identifier: Apache-2.0
#include "server/live_settings.h"

#include "base/ip.h"

namespace tidegate::server {
namespace {

void add_networks(const std::vector<std::string>& texts, net::NetworkList* out) {
  for (const std::string& text : texts) {
    base::IpNetwork network;
    if (base::parse_network(text, &network)) out->add(network);
  }
}

protocol::ForwardedField forwarded_field(const std::string& name) {
  return name == "x-forwarded-for" ? protocol::ForwardedField::kXForwardedFor
         : name == "forwarded"     ? protocol::ForwardedField::kForwarded
                                   : protocol::ForwardedField::kNone;
}

}  // namespace

shard::LiveSettings live_settings(const control::Config& config) {
  const control::Config::Limits& l = config.limits;
  shard::LiveSettings s;
  net::EdgeRules& edge = s.endpoint.edge;
  edge.proxy_required = config.listen.proxy_protocol == "required";
  edge.forwarded = forwarded_field(config.listen.forwarded);
  add_networks(config.listen.trusted, &edge.trusted);
  add_networks(l.exempt, &edge.exempt);
  for (const std::string& origin : config.listen.origins) edge.origins.add(origin);
  edge.limits.connections_per_ip = l.connections_per_ip;
  edge.limits.connections_per_network = l.connections_per_network;
  edge.limits.connections_per_user = l.connections_per_user;
  edge.limits.connects_per_ip = l.connects_per_ip;
  edge.limits.connects_per_ip_burst = l.connects_per_ip_burst;
  edge.limits.connects = l.connects;
  edge.limits.connects_burst = l.connects_burst;
  s.endpoint.handshake_timeout = l.handshake_timeout;
  s.endpoint.message_timeout = l.message_timeout;
  s.endpoint.stall_timeout = l.stall_timeout;
  s.endpoint.extra_frames_per_second = l.extra_frames_per_second;
  s.endpoint.heartbeat_interval = config.heartbeat.interval;
  s.endpoint.heartbeat_timeout = config.heartbeat.timeout;
  s.messages_per_second = l.messages_per_second;
  s.messages_burst = l.messages_burst;
  s.joins_per_second = l.joins_per_second;
  s.violations_per_minute = l.violations_per_minute;
  s.handler_time_limit = config.handlers.time_limit;
  s.handler_budget = config.handlers.budget;
  s.tick_hook_budget = config.handlers.tick_budget;
  s.close_at_expiry = config.auth.close_at_expiry;
  s.expiry_warning = config.auth.expiry_warning;
  s.expiry_leeway = config.auth.leeway;
  s.budget.bytes_per_second = config.budget.bytes_per_second;
  s.budget.bytes_per_second_max = config.budget.bytes_per_second_max;
  // The rest of what may wait is for own state and events.
  s.budget.queue_bytes = l.backlog_bytes / 4 * 3;
  s.budget.stall_ms = static_cast<uint32_t>(config.budget.stall_timeout.ns / 1'000'000);
  return s;
}

void put_live_settings(const shard::LiveSettings& s, shard::ShardConfig* shard) {
  net::EndpointConfig& e = shard->endpoint;
  e.edge = s.endpoint.edge;
  e.handshake_timeout = s.endpoint.handshake_timeout;
  e.message_timeout = s.endpoint.message_timeout;
  e.stall_timeout = s.endpoint.stall_timeout;
  e.extra_frames_per_second = s.endpoint.extra_frames_per_second;
  e.heartbeat_interval = s.endpoint.heartbeat_interval;
  e.heartbeat_timeout = s.endpoint.heartbeat_timeout;
  shard->messages_per_second = s.messages_per_second;
  shard->messages_burst = s.messages_burst;
  shard->joins_per_second = s.joins_per_second;
  shard->violations_per_minute = s.violations_per_minute;
  shard->handler_time_limit = s.handler_time_limit;
  shard->handler_budget = s.handler_budget;
  shard->tick_hook_budget = s.tick_hook_budget;
  shard->close_at_expiry = s.close_at_expiry;
  shard->expiry_warning = s.expiry_warning;
  shard->expiry_leeway = s.expiry_leeway;
}

}  // namespace tidegate::server
