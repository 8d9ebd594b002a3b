// SPDX-License-Identifier: Apache-2.0
// One shard with what the server holds around it.
// Thread: host (set-up, join), shard (the rest). Owner: Server. Limits: none of its own.
#pragma once

#include <memory>
#include <thread>

#include "io/io.h"
#include "mem/budget.h"
#include "metrics/metrics.h"
#include "server/server.h"
#include "shard/handover.h"
#include "shard/shard.h"

namespace tidegate::server {

struct Server::Agent {
  metrics::Counters counters;
  std::unique_ptr<mem::Account> account;
  std::unique_ptr<io::Io> io;
  std::unique_ptr<shard::Shard> shard;
  std::thread thread;
  // Of an upgrade (upgrade.cc); the shard's thread writes what is atomic.
  std::unique_ptr<shard::Handover> handover;
  shard::Handover::State state;  // read by the host when step is kSave
  bool saved = false;
  std::atomic<UpgradePhase> step{UpgradePhase::kNone};
  std::atomic<uint64_t> turns{0};
  std::atomic<uint64_t> work{0};
  std::atomic<bool> quiet{false};
  uint32_t inherited_tick = 0;  // of the process before
  uint32_t cpu = 0;
  uint32_t buffers = 0;
};

}  // namespace tidegate::server
