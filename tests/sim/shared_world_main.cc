// SPDX-License-Identifier: Apache-2.0
// sim-world --seeds N [--from S]   N runs with seeds S, S + 1, ...; odd ones with faults
// sim-world --seed S               one run, to replay a failure
// More: --players N, --gateways N, --shards N. The last line is "N passed, N failed".
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shared_world.h"

int main(int argc, char** argv) {
  using tidegate::sim::WorldOutcome;
  tidegate::sim::WorldPlan plan;
  uint64_t from = 1;
  uint64_t seeds = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seeds") == 0) {
      seeds = value;
    } else if (std::strcmp(argv[i], "--from") == 0 || std::strcmp(argv[i], "--seed") == 0) {
      from = value;
    } else if (std::strcmp(argv[i], "--players") == 0) {
      plan.players = static_cast<uint32_t>(value);
    } else if (std::strcmp(argv[i], "--gateways") == 0) {
      plan.gateways = static_cast<uint32_t>(value);
    } else if (std::strcmp(argv[i], "--shards") == 0) {
      plan.shards = static_cast<uint32_t>(value);
    } else {
      std::fprintf(stderr, "sim-world: unknown option %s; see the head of shared_world_main.cc\n",
                   argv[i]);
      return 2;
    }
  }
  int passed = 0;
  int failed = 0;
  for (uint64_t s = from; s < from + seeds; ++s) {
    plan.seed = s;
    plan.faults = s % 2 == 1;
    const WorldOutcome o = tidegate::sim::run(plan);
    const auto n = [](uint64_t v) { return static_cast<unsigned long long>(v); };
    std::printf(
        "seed %llu: %s; %llu hops, %llu crashes, %llu cuts, %llu lost, %llu states, %llu wholes, "
        "%llu taken, %llu given, %llu expired, %llu timeouts, hash %016llx\n",
        n(s), o.failure.empty() ? "ok" : "FAILED", n(o.hops), n(o.crashes), n(o.cuts), n(o.lost),
        n(o.states), n(o.wholes), n(o.taken), n(o.yielded), n(o.expired), n(o.timeouts), n(o.hash));
    if (!o.failure.empty()) {
      std::printf("  %s\n  replay: sim-world --seed %llu\n", o.failure.c_str(), n(s));
    }
    std::fflush(stdout);
    ++(o.failure.empty() ? passed : failed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
