// SPDX-License-Identifier: Apache-2.0
// sim-cluster --seeds N [--from S]   N runs with seeds S, S + 1, ...; odd ones with partitions
// sim-cluster --seed S               one run, to replay a failure
// More: --clients N, --writers N, --drops N (times as often), --gateways N, --shards N, --slow N
// (turns of 2 ms in which a gateway does not reach the store, at most). The last line is "N passed,
// N failed".
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cluster.h"

int main(int argc, char** argv) {
  using tidegate::sim::ClusterOutcome;
  tidegate::sim::ClusterPlan plan;
  uint64_t from = 1;
  uint64_t seeds = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seeds") == 0) {
      seeds = value;
    } else if (std::strcmp(argv[i], "--from") == 0 || std::strcmp(argv[i], "--seed") == 0) {
      from = value;
    } else if (std::strcmp(argv[i], "--clients") == 0) {
      plan.clients = static_cast<uint32_t>(value);
    } else if (std::strcmp(argv[i], "--writers") == 0) {
      plan.writers = static_cast<uint32_t>(value);
    } else if (std::strcmp(argv[i], "--drops") == 0) {
      plan.drops = static_cast<uint32_t>(value);
    } else if (std::strcmp(argv[i], "--slow") == 0) {
      plan.slow_turns = static_cast<uint32_t>(value);
    } else if (std::strcmp(argv[i], "--gateways") == 0) {
      plan.gateways = static_cast<uint32_t>(value);
    } else if (std::strcmp(argv[i], "--shards") == 0) {
      plan.shards = static_cast<uint32_t>(value);
    } else {
      std::fprintf(stderr, "sim-cluster: unknown option %s; see the head of cluster_main.cc\n",
                   argv[i]);
      return 2;
    }
  }
  int passed = 0;
  int failed = 0;
  for (uint64_t s = from; s < from + seeds; ++s) {
    plan.seed = s;
    plan.partitions = s % 2 == 1;
    const ClusterOutcome o = tidegate::sim::run(plan);
    const auto n = [](uint64_t v) { return static_cast<unsigned long long>(v); };
    std::printf(
        "seed %llu: %s; %llu published, %llu refused, %llu events, %llu crashes, %llu cuts, %llu "
        "lost, %llu views, %llu held, %llu repairs, %llu holes; %llu letters, %llu resumes, %llu "
        "taken over, %llu outages, %llu late, %llu overruns; presence %lld ms, %lld behind the "
        "faults, hash %016llx\n",
        n(s), o.failure.empty() ? "ok" : "FAILED", n(o.published), n(o.refused), n(o.delivered),
        n(o.crashes), n(o.cuts), n(o.lost), n(o.views), n(o.held), n(o.repairs), n(o.holes),
        n(o.letters), n(o.resumes), n(o.taken_over), n(o.outages), n(o.late), n(o.overruns),
        static_cast<long long>(o.presence_ms), static_cast<long long>(o.calm_ms), n(o.hash));
    if (!o.failure.empty()) {
      std::printf("  %s\n  replay: sim-cluster --seed %llu\n", o.failure.c_str(), n(s));
    }
    std::fflush(stdout);
    ++(o.failure.empty() ? passed : failed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
