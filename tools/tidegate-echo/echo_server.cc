// SPDX-License-Identifier: Apache-2.0
#include "echo_server.h"

#include <algorithm>

namespace tidegate::echo {
namespace {

net::EndpointConfig endpoint_config(const EchoOptions& options) {
  net::EndpointConfig config;
  config.connections = options.connections;
  config.message_bytes = options.message_bytes;
  config.turn_bytes = options.message_bytes + (8u << 20);
  config.backlog_bytes = options.message_bytes + (1u << 20);
  config.backlog_pool_bytes = 8 * config.backlog_bytes;
  config.big_inputs = 32;
  config.heartbeat_interval = options.heartbeat_interval;
  config.heartbeat_timeout = options.heartbeat_timeout;
  config.message_timeout = options.message_timeout;
  config.stall_timeout = options.stall_timeout;
  config.query_peers = false;
  config.deflate = options.deflate;
  config.tls = options.tls;
  config.rules.path = {};  // any
  return config;
}

}  // namespace

EchoShard::EchoShard(const EchoOptions& options, io::Io& io, metrics::Counters& counters)
    : options_(options), io_(io), endpoint_(endpoint_config(options), io, *this, counters) {
  if (options.publish_hz == 0) return;
  frame_.resize(protocol::header_size(options.publish_bytes) + options.publish_bytes, 'x');
  protocol::write_header(frame_.data(), protocol::Opcode::kBinary, true, options.publish_bytes);
  publish_due_ = io.now();
}

void EchoShard::run(const std::atomic<bool>& stop) {
  while (!stop.load(std::memory_order_relaxed)) {
    // The upper bound lets a stop be seen without a wake.
    const base::Instant bound = io_.now() + base::milliseconds(250);
    const base::Instant until = std::min({bound, publish_due_, endpoint_.next_deadline()});
    const std::span<const io::Completion> completions = io_.poll(until);
    const base::Instant now = io_.now();
    endpoint_.begin_turn(now);
    for (const io::Completion& completion : completions) endpoint_.on_completion(completion);
    endpoint_.run_timers();
    if (now >= publish_due_) publish();
    endpoint_.run_handshakes(publish_due_);
    endpoint_.flush();
  }
}

void EchoShard::publish() {
  const base::Duration period = base::nanoseconds(1'000'000'000 / options_.publish_hz);
  publish_due_ = std::max(publish_due_ + period, endpoint_.now() - period);
  for (uint32_t slot = 0; slot < endpoint_.slots_used(); ++slot) {
    endpoint_.send_framed(slot, frame_.data(), static_cast<uint32_t>(frame_.size()), 1);
  }
}

}  // namespace tidegate::echo
