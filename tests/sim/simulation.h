// SPDX-License-Identifier: Apache-2.0
// Whole shards, clients and a faulty network on one thread with virtual time, all from one seed.
// Checkers watch while it runs and at quiescence:
//   one owner      an entity is on one shard, and a player has one entity
//   pictures       no checksum mismatch, no chain gap, no double enter, nothing unknown changed;
//                  at the end each picture is the world around its player
//   bounded        what waits in front of rings and sockets stays below its limit
//   letters        with acknowledgement, each once and in order, whatever breaks
//   no orphan      when all clients have gone and the linger is over, nobody is left
// A failure is one line that names the seed; the same seed runs the same way again.
// Thread: one. Owner: main. Limits: 62 shards.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "client/client.h"
#include "io/sim_io.h"
#include "io/sim_network.h"
#include "mailbox/mailboxes.h"
#include "shard/shard.h"

namespace tidegate::sim {

struct Plan {
  uint64_t seed = 1;
  uint32_t shards = 4;
  uint32_t clients = 200;
  uint32_t npcs = 24;  // walk in circles over all borders, driven by a tick hook
  double seconds = 6;  // of walking
  double move_rate = 20;
  float speed = 11;    // metres a second
  float area = 320;    // metres: some cells and all shards
  double moves = 15;   // cells that get another owner, a second
  bool faults = true;  // jitter, fragments, stalls, resets, narrow windows
};

struct Outcome {
  std::string failure;      // empty: everything held
  uint64_t state_hash = 0;  // of the world at the end, independent of the number of shards
  uint64_t trace_hash = 0;  // of the network: the same for the same seed
  uint64_t updates = 0, checksums = 0, handovers = 0, reconnects = 0, healed = 0, ticks = 0;
  uint64_t left_out = 0, slow_closed = 0;  // by budgets
  uint64_t letters = 0, resumes = 0;
  uint64_t poll_cuts = 0;                        // of requests and answers of long polling
  uint64_t cells_moved = 0, entities_moved = 0;  // ... with their cells
  uint64_t overflows = 0;  // connections cut because even the last rung was not enough
};

Outcome run(const Plan& plan);

}  // namespace tidegate::sim
