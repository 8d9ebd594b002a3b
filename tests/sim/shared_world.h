// SPDX-License-Identifier: Apache-2.0
// Several gateways with one world, a bus that delays, loses and parts, and players who walk about,
// leave and come back at any gateway, on one thread with virtual time, all from one seed. Checked:
//   one owner   when all is quiet each player is owned by one gateway, and by the one where it is
//   one world   each gateway's cells show the entities that all own together: the same ids, in the
//               same places
//   one id      without faults a player keeps its entity's id wherever it connects, and at no
//   moment
//               are there two owners
//   checksums   clients' pictures agree with their gateways, whoever owns what they show
//   messages    a message by radius reaches the players there, wherever they are connected
// A failure is one line that names the seed; the same seed runs the same way again.
// Thread: one. Owner: main. Limits: mailbox::kGatewaysMax gateways.
#pragma once

#include <cstdint>
#include <string>

namespace tidegate::sim {

struct WorldPlan {
  uint64_t seed = 1;
  uint32_t gateways = 3;
  uint32_t shards = 2;  // of each
  uint32_t players = 24;
  double seconds = 6;
  bool faults = true;  // kills, losses, cuts and broken connections; else only players who move on
};

struct WorldOutcome {
  std::string failure;  // empty: everything held
  uint64_t hops = 0, crashes = 0, cuts = 0, lost = 0;
  uint64_t states = 0, wholes = 0, taken = 0, yielded = 0, expired = 0, timeouts = 0;
  uint64_t hash = 0;  // of the world in the end: the same for the same seed
};

WorldOutcome run(const WorldPlan& plan);

}  // namespace tidegate::sim
