// SPDX-License-Identifier: Apache-2.0
// Sums of all workers' measurements, as text and JSON.
// Thread: parent. Owner: main. Limits: none.
#pragma once

#include <string>
#include <vector>

#include "options.h"
#include "stats.h"

namespace tidegate::load {

struct Sums {
  uint64_t connecting = 0, connected = 0, in_world = 0, refused = 0, lost = 0, slow_lost = 0;
  uint64_t moves_sent = 0, moves_acked = 0, moves_corrected = 0;
  uint64_t frames = 0, updates = 0, enters = 0, leaves = 0;
  uint64_t checksums = 0, checksum_mismatches = 0, chain_gaps = 0, malformed = 0, violations = 0;
  uint64_t flips = 0, flips_detected = 0, flips_healed = 0, flips_gone = 0, flips_late = 0;
  uint64_t errors = 0, bytes_in = 0, bytes_out = 0, messages_in = 0;
  uint64_t near_seconds = 0, near_updates = 0, far_seconds = 0, far_updates = 0, far_unseen = 0;
  uint64_t drops = 0, resumes = 0, sessions_lost = 0;
  uint64_t letters_written = 0, letters_read = 0, letters_wrong = 0;
  uint64_t windows = 0, windows_over = 0, windows_under = 0;
  uint64_t window_sum = 0, window_most = 0;
  double worker_cpu_max = 0;  // share of a core, busiest worker
  metrics::Histogram connect_us, ack_us, neighbour_us, heal_us, echo_us, lag_us, near_age_us,
      far_age_us, resume_us;
  uint32_t workers_died = 0;
  std::string problem;
};

void sum(const Stats* stats, uint32_t count, Sums* out);

// Everything the run is judged by. `seconds`: measured time.
std::string to_json(const Options& options, const Sums& sums, double seconds,
                    double connect_seconds);
std::string to_text(const Options& options, const Sums& sums, double seconds,
                    double connect_seconds);
// One line for --live; `before`: the sums a second ago.
std::string live_line(const Options& options, const Sums& now, const Sums& before, double elapsed);

// Empty when the generator kept its schedule; else why its numbers are not the server's.
std::string generator_verdict(const Sums& sums);
// True when nobody was refused or lost (but bots that read slowly) and every picture agreed.
bool all_good(const Options& options, const Sums& sums);

}  // namespace tidegate::load
