// SPDX-License-Identifier: Apache-2.0
// What a worker process measures, in memory that it shares with the parent. One writer each.
// Thread: the worker writes, the parent reads. Owner: the parent's mapping. Limits: none.
#pragma once

#include <atomic>
#include <cstdint>

#include "metrics/histogram.h"

namespace tidegate::load {

struct Stats {
  using Count = std::atomic<uint64_t>;
  Count connecting{0}, connected{0}, in_world{0};  // connected and in_world: now
  Count refused{0}, lost{0};                       // never in, or gone before the end
  Count slow_lost{0};                              // of those that read slowly
  Count moves_sent{0}, moves_acked{0}, moves_corrected{0};
  Count frames{0}, updates{0}, enters{0}, leaves{0};
  Count checksums{0}, checksum_mismatches{0}, chain_gaps{0}, malformed{0}, violations{0};
  Count flips{0}, flips_detected{0}, flips_healed{0}, flips_gone{0};
  Count flips_late{0};  // not healed within kHealLimit
  Count errors{0};      // ERROR messages received
  Count bytes_in{0}, bytes_out{0}, messages_in{0};
  // Of what observers (observer.h) see: entities times seconds, and updates in these.
  Count near_seconds{0}, near_updates{0}, far_seconds{0}, far_updates{0}, far_unseen{0};
  // With --resume: connections lost, sessions that went on and that did not, letters.
  Count drops{0}, resumes{0}, sessions_lost{0};
  Count letters_written{0}, letters_read{0}, letters_wrong{0};
  // One-second windows of bots with a budget (--budget), one that ends in each hundredth of a
  // second: all, with more than 2 % above it, with more than 2 % below; bytes of all and of the
  // fullest.
  Count windows{0}, windows_over{0}, windows_under{0}, window_sum{0}, window_most{0};
  Count cpu_ns{0}, wall_ns{0};      // of the worker while it measured
  Count ready{0}, done{0};          // all tried to connect; finished
  metrics::Histogram connect_us;    // intended connect to login accepted
  metrics::Histogram ack_us;        // intended send to MOVE_ACK
  metrics::Histogram neighbour_us;  // intended send to a neighbour's picture
  metrics::Histogram near_age_us;   // of what is shown of the nearest, at any time
  metrics::Histogram far_age_us;    // ... of the others
  metrics::Histogram heal_us;       // flip of a bit to a checksum that agrees again
  metrics::Histogram echo_us;
  metrics::Histogram resume_us;  // loss of a connection to the session's going on
  metrics::Histogram lag_us;     // how late the generator itself was
  char problem[256] = {};        // the first thing that went wrong
};

// Parent to workers.
struct Control {
  std::atomic<int64_t> measure_from_ns{0};  // 0: still connecting
  std::atomic<int64_t> stop_at_ns{0};
};

inline void bump(Stats::Count& c, uint64_t n = 1) {
  c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}
inline void drop(Stats::Count& c) { bump(c, UINT64_MAX); }

}  // namespace tidegate::load
