// SPDX-License-Identifier: Apache-2.0
#include "mem/budget.h"

#include "base/assert.h"

namespace tidegate::mem {

bool Budget::take(uint64_t bytes, Rank rank) {
  const uint64_t ceiling = this->ceiling(rank);
  uint64_t taken = taken_.load(std::memory_order_relaxed);
  do {
    if (rank != Rank::kKept && (taken > ceiling || bytes > ceiling - taken)) return false;
  } while (!taken_.compare_exchange_weak(taken, taken + bytes, std::memory_order_relaxed));
  return true;
}

bool Account::charge(uint64_t bytes, Rank rank) {
  if (charged_ + bytes > taken_) {
    const uint64_t missing = charged_ + bytes - taken_;
    const uint64_t step = (missing + kStepBytes - 1) / kStepBytes * kStepBytes;
    // Near the end the step does not fit any more, but what is needed may.
    if (budget_.take(step, rank)) {
      taken_ += step;
    } else if (budget_.take(missing, rank)) {
      taken_ += missing;
    } else {
      ++refused_;
      return false;
    }
  } else if (rank != Rank::kKept && budget_.taken() > budget_.ceiling(rank)) {
    ++refused_;  // there is room in this account, but not for this rank
    return false;
  }
  charged_ += bytes;
  return true;
}

void Account::release(uint64_t bytes) {
  TG_ASSERT(bytes <= charged_);
  charged_ -= bytes;
  // One step stays, so that a buffer that comes and goes does not touch the sum each time.
  if (taken_ - charged_ < 2 * kStepBytes) return;
  const uint64_t back = (taken_ - charged_ - kStepBytes) / kStepBytes * kStepBytes;
  budget_.give(back);
  taken_ -= back;
}

}  // namespace tidegate::mem
