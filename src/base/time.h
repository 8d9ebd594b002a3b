// SPDX-License-Identifier: Apache-2.0
// Time as a parameter: machines are handed `Instant now` and never read a clock.
// Thread: any. Owner: none. Limits: Instant counts nanoseconds of the monotonic clock in 64 bits.
#pragma once

#include <compare>
#include <cstdint>

namespace tidegate::base {

struct Duration {
  int64_t ns = 0;
  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration operator+(Duration o) const { return {ns + o.ns}; }
  constexpr Duration operator-(Duration o) const { return {ns - o.ns}; }
  constexpr Duration operator*(int64_t k) const { return {ns * k}; }
  constexpr Duration operator/(int64_t k) const { return {ns / k}; }
};

constexpr Duration nanoseconds(int64_t n) { return {n}; }
constexpr Duration microseconds(int64_t n) { return {n * 1000}; }
constexpr Duration milliseconds(int64_t n) { return {n * 1000000}; }
constexpr Duration seconds(int64_t n) { return {n * 1000000000}; }

// A point of the monotonic clock (real or simulated).
struct Instant {
  int64_t ns = 0;
  constexpr auto operator<=>(const Instant&) const = default;
  constexpr Instant operator+(Duration d) const { return {ns + d.ns}; }
  constexpr Instant operator-(Duration d) const { return {ns - d.ns}; }
  constexpr Duration operator-(Instant o) const { return {ns - o.ns}; }
  static constexpr Instant never() { return {INT64_MAX}; }
};

// Milliseconds since the Unix epoch, as the wire carries them.
using UnixMs = int64_t;

}  // namespace tidegate::base
