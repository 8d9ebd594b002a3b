// SPDX-License-Identifier: Apache-2.0
// Between the floats of the protocol and the integers the world runs on. Rounds to nearest,
// saturates; the caller has checked that floats are finite.
// Thread: any. Owner: values. Limits: positions of 2^31 steps, speeds of 327 m/s, yaw in 256 steps.
#pragma once

#include <cmath>
#include <cstdint>

#include "wire/messages.h"

namespace tidegate::wire {

inline int32_t to_steps(float metres, float step) {
  const double v = std::nearbyint(static_cast<double>(metres) / static_cast<double>(step));
  if (v >= 2147483647.0) return INT32_MAX;
  if (v <= -2147483648.0) return INT32_MIN;
  return static_cast<int32_t>(v);
}
inline float to_metres(int32_t steps, float step) {
  return static_cast<float>(static_cast<double>(steps) * static_cast<double>(step));
}

// Velocities are in centimetres a second.
inline int16_t to_velocity(float metres_per_second) {
  const float v = std::nearbyint(metres_per_second * 100.0F);
  return static_cast<int16_t>(v > 32767.0F ? 32767.0F : v < -32768.0F ? -32768.0F : v);
}
inline float from_velocity(int16_t v) { return static_cast<float>(v) * 0.01F; }

// Rotation about y (right-handed, y up) in 256 steps; other axes are dropped. A quaternion of
// length 0 is no rotation.
inline uint8_t to_yaw(const Quaternion& q) {
  const double yaw = 2.0 * std::atan2(static_cast<double>(q.y), static_cast<double>(q.w));
  return static_cast<uint8_t>(
      static_cast<int64_t>(std::nearbyint(yaw * (128.0 / 3.14159265358979323846))));
}
inline Quaternion from_yaw(uint8_t yaw) {
  const double half = yaw * (3.14159265358979323846 / 256.0);
  return {0, static_cast<float>(std::sin(half)), 0, static_cast<float>(std::cos(half))};
}

}  // namespace tidegate::wire
