// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next try: doubling from 1 s to 60 s, each by up to a quarter longer
// or shorter, so that a thousand clients of one lost server do not come back at once. A delay that
// the server advised wins and is only ever made longer.
// Thread: one. Owner: values. Limits: none.
#pragma once

#include <cstdint>

namespace tidegate::sdk {

struct BackoffOptions {
  double first_ms = 1000;
  double most_ms = 60'000;
  double jitter = 0.25;  // share
};

class Backoff {
 public:
  explicit Backoff(BackoffOptions options) : options_(options) {}
  uint32_t attempts() const { return tries_; }
  // The next wait is this one, and no shorter.
  void advise(double ms) {
    advised_ms_ = ms;
    advised_ = true;
  }
  void reset() { tries_ = 0; }
  // `random`: uniform in [0, 1).
  double next(double random);

 private:
  BackoffOptions options_;
  uint32_t tries_ = 0;
  double advised_ms_ = 0;
  bool advised_ = false;
};

}  // namespace tidegate::sdk
