// SPDX-License-Identifier: Apache-2.0
// sim --seeds N [--from S]   N runs with seeds S, S + 1, ...
// sim --seed S               one run, to replay a failure
// sim --updates N [--from S]   seeds S, S + 1, ... until clients have applied N entity updates in
// all,
//                            while cells change their owner all the time (--moves a second)
// sim --agree N              N seeds without faults on 1, 2 and 4 shards: equal worlds
// The last line is "N passed, N failed".
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "simulation.h"

namespace {

using tidegate::sim::Outcome;
using tidegate::sim::Plan;

void print(const Plan& plan, const Outcome& o) {
  std::printf(
      "seed %llu: %s; %llu ticks, %llu updates, %llu checksums, %llu hand-overs, %llu cells and "
      "%llu entities moved, "
      "%llu reconnects, %llu letters, %llu resumes, %llu frames left out, %llu slow closed, %llu "
      "overflows, world %016llx, "
      "trace %016llx\n",
      static_cast<unsigned long long>(plan.seed), o.failure.empty() ? "ok" : "FAILED",
      static_cast<unsigned long long>(o.ticks), static_cast<unsigned long long>(o.updates),
      static_cast<unsigned long long>(o.checksums), static_cast<unsigned long long>(o.handovers),
      static_cast<unsigned long long>(o.cells_moved),
      static_cast<unsigned long long>(o.entities_moved),
      static_cast<unsigned long long>(o.reconnects), static_cast<unsigned long long>(o.letters),
      static_cast<unsigned long long>(o.resumes), static_cast<unsigned long long>(o.left_out),
      static_cast<unsigned long long>(o.slow_closed), static_cast<unsigned long long>(o.overflows),
      static_cast<unsigned long long>(o.state_hash), static_cast<unsigned long long>(o.trace_hash));
  if (!o.failure.empty()) {
    std::printf("  %s\n  replay: sim --seed %llu\n", o.failure.c_str(),
                static_cast<unsigned long long>(plan.seed));
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t from = 1;
  uint64_t seeds = 1;
  uint64_t agree = 0;
  uint64_t updates = 0;
  Plan plan;
  for (int i = 1; i + 1 < argc; i += 2) {
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seeds") == 0)
      seeds = value;
    else if (std::strcmp(argv[i], "--from") == 0)
      from = value;
    else if (std::strcmp(argv[i], "--seed") == 0)
      from = value;
    else if (std::strcmp(argv[i], "--agree") == 0)
      agree = value;
    else if (std::strcmp(argv[i], "--updates") == 0)
      updates = value;
    else if (std::strcmp(argv[i], "--clients") == 0)
      plan.clients = static_cast<uint32_t>(value);
    else if (std::strcmp(argv[i], "--moves") == 0)
      plan.moves = static_cast<double>(value);
    else if (std::strcmp(argv[i], "--shards") == 0)
      plan.shards = static_cast<uint32_t>(value);
    else {
      std::fprintf(stderr, "sim: unknown option %s; see the head of main.cc\n", argv[i]);
      return 2;
    }
  }
  int passed = 0;
  int failed = 0;
  if (agree != 0) {
    plan.faults = false;
    plan.speed = 5;  // far from the limit: whether a clump of moves is refused depends on its tick
    for (uint64_t s = from; s < from + agree; ++s) {
      plan.seed = s;
      uint64_t first = 0;
      bool same = true;
      for (uint32_t shards : {1u, 2u, 4u}) {
        plan.shards = shards;
        const Outcome o = tidegate::sim::run(plan);
        print(plan, o);
        if (shards == 1) first = o.state_hash;
        same = same && o.failure.empty() && o.state_hash == first;
      }
      if (!same)
        std::printf("  seed %llu: the worlds differ by the number of shards\n",
                    static_cast<unsigned long long>(s));
      ++(same ? passed : failed);
    }
  } else {
    Outcome sum;
    const auto more = [&](uint64_t s) {
      return updates != 0 ? sum.updates < updates && failed == 0 : s < from + seeds;
    };
    for (uint64_t s = from; more(s); ++s) {
      plan.seed = s;
      const Outcome o = tidegate::sim::run(plan);
      print(plan, o);
      ++(o.failure.empty() ? passed : failed);
      sum.updates += o.updates;
      sum.checksums += o.checksums;
      sum.handovers += o.handovers;
      sum.cells_moved += o.cells_moved;
      sum.entities_moved += o.entities_moved;
    }
    std::printf(
        "in all %llu updates, %llu checksums of clients held against their cells, %llu hand-overs, "
        "%llu cells moved with %llu entities\n",
        static_cast<unsigned long long>(sum.updates),
        static_cast<unsigned long long>(sum.checksums),
        static_cast<unsigned long long>(sum.handovers),
        static_cast<unsigned long long>(sum.cells_moved),
        static_cast<unsigned long long>(sum.entities_moved));
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
