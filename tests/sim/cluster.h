// SPDX-License-Identifier: Apache-2.0
// Several gateways with their shards, a bus that delays, loses and parts, and clients that
// subscribe, publish and watch each other, on one thread with virtual time, all from one seed.
// Checked:
//   offsets     of a topic rise at every subscriber, none comes twice
// and, without partitions and while one gateway is left that knows the others:
//   offsets     rise for a client wherever it subscribes from, also after its gateway died
//   order       what one connection published to a topic comes in its order
//   one home    one offset never has two messages
// and in any case:
//   letters     with acknowledgement, each once and in order, by sessions that are resumed at any
//               gateway, out of a store that is slow and goes away
//   one owner   at the end each session is at one gateway, and nobody has two
//   quiescence  when faults have ended all gateways agree, every PUBLISH is answered with 0, comes
//   to
//               every subscriber once and in one order, and friends are shown as they are
//   bounded     what waits in front of rings and in the bus
// A failure is one line that names the seed; the same seed runs the same way again.
// Thread: one. Owner: main. Limits: mailbox::kGatewaysMax gateways.
#pragma once

#include <cstdint>
#include <string>

namespace tidegate::sim {

struct ClusterPlan {
  uint64_t seed = 1;
  uint32_t gateways = 3;
  uint32_t shards = 2;  // of each
  uint32_t clients = 45;
  uint32_t writers = 0;  // of letters, with sessions in a store that all share
  uint32_t drops = 1;    // how often writers lose their connections and come back, in times
  uint32_t topics = 12;
  double seconds = 6;        // of faults
  uint32_t slow_turns = 80;  // of 2 ms in which a gateway does not reach the store, at most
  bool partitions = true;    // cut links and connections, losses; else crashes and starts only
};

struct ClusterOutcome {
  std::string failure;  // empty: everything held
  uint64_t published = 0, delivered = 0, refused = 0, unanswered = 0;
  uint64_t crashes = 0, cuts = 0, lost = 0, views = 0, held = 0, repairs = 0, holes = 0;
  uint64_t letters = 0, resumes = 0, taken_over = 0, outages = 0, late = 0, overruns = 0;
  int64_t presence_ms = 0;  // from the agreement of all until friends are shown as they are
  int64_t calm_ms = 0;      // the same from the end of the faults
  uint64_t hash = 0;        // of all that clients were given: the same for the same seed
};

ClusterOutcome run(const ClusterPlan& plan);

}  // namespace tidegate::sim
