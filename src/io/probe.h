// SPDX-License-Identifier: Apache-2.0
// Asks the running kernel for each thing the io_uring backend needs, and says in words what is
// missing and what to do about it. Used at start-up and by `doctor`.
//
// Thread: setup, control (it makes system calls and opens short-lived descriptors). Owner: the
// caller owns the report. Limits: kProbeFeatures entries.
#pragma once

#include <cstdint>
#include <span>

namespace tidegate::io {

enum class ProbeNeed : uint8_t {
  kRequired,     // without it the backend does not start
  kRecommended,  // works without, with the loss that `remedy` names
};

struct ProbeFinding {
  const char* feature = "";  // short stable name, e.g. "multishot-receive"
  ProbeNeed need = ProbeNeed::kRequired;
  bool ok = false;
  char reason[160] = {};    // what was found; also set when ok
  const char* remedy = "";  // what to do; empty when ok
};

inline constexpr uint32_t kProbeFeatures = 12;

struct ProbeReport {
  ProbeFinding findings[kProbeFeatures];
  uint32_t count = 0;
  bool usable = false;  // every required feature is there

  std::span<const ProbeFinding> all() const { return {findings, count}; }
  // The first required finding that failed; null when usable.
  const ProbeFinding* first_failure() const;
};

// Fills `report`. Never fails itself: what could not be asked is a finding that is not ok.
void probe_kernel(ProbeReport* report);

// The finding that io_uring_setup's -errno stands for, by itself; used by UringIo::make.
const char* explain_setup_error(int error);

}  // namespace tidegate::io
