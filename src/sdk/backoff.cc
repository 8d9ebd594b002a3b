// SPDX-License-Identifier: Apache-2.0
#include "sdk/backoff.h"

#include <algorithm>
#include <cmath>

namespace tidegate::sdk {

double Backoff::next(double random) {
  const double plain = std::min(
      options_.most_ms,
      options_.first_ms * static_cast<double>(uint64_t{1} << std::min(tries_, uint32_t{30})));
  ++tries_;
  const double spread = random * 2 - 1;
  if (advised_) {
    advised_ = false;
    // A crowd that was told the same delay is spread too, but only to later.
    return advised_ms_ * (1 + options_.jitter * std::fabs(spread));
  }
  return plain * (1 + options_.jitter * spread);
}

}  // namespace tidegate::sdk
