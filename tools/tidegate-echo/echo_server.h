// SPDX-License-Identifier: Apache-2.0
// A WebSocket echo, and optionally a publisher of one shared frame, on the product's own io, net
// and protocol stack: for conformance suites and for comparison with other WebSocket servers.
// Thread: one EchoShard for each thread. Owner: main. Limits: EchoOptions.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "io/io.h"
#include "metrics/metrics.h"
#include "net/endpoint.h"

namespace tidegate::echo {

struct EchoOptions {
  uint32_t shards = 1;
  uint32_t connections = 16384;  // of each shard
  uint32_t message_bytes = 16u << 20;
  uint32_t publish_bytes = 0;  // 0: echo only
  uint32_t publish_hz = 0;
  base::Duration heartbeat_interval = base::seconds(20);
  base::Duration heartbeat_timeout = base::seconds(60);
  base::Duration message_timeout = base::seconds(30);
  base::Duration stall_timeout = base::seconds(30);
  net::CompressionConfig deflate;
  net::TlsConfig tls;  // contexts null: plain
};

class EchoShard final : net::ConnectionHandler {
 public:
  EchoShard(const EchoOptions& options, io::Io& io, metrics::Counters& counters);

  // Serves until `stop` is set.
  void run(const std::atomic<bool>& stop);
  uint32_t open_connections() const { return endpoint_.open_count(); }

 private:
  net::UpgradeDecision on_upgrade(uint32_t, const protocol::UpgradeRequest&) override {
    return net::UpgradeDecision::kAccept;
  }
  void on_open(uint32_t) override {}
  void on_message(uint32_t slot, protocol::Opcode opcode, base::MutableBytes payload) override {
    endpoint_.send_message(slot, opcode, payload);
  }
  void on_closed(uint32_t, net::CloseCause, uint16_t) override {}
  void publish();

  EchoOptions options_;
  io::Io& io_;
  net::Endpoint endpoint_;
  std::vector<uint8_t> frame_;  // the published frame with its header; immutable while in flight
  base::Instant publish_due_ = base::Instant::never();
};

}  // namespace tidegate::echo
