// SPDX-License-Identifier: Apache-2.0
#include "wire/steer.h"

namespace tidegate::wire {

namespace {

constexpr int64_t kDivisor = 256 * kSteerFull;

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// Smallest r with r * r >= v, for v of three squares of 8 bits.
int32_t ceil_sqrt(int32_t v) {
  int32_t low = 0;
  int32_t high = 256;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (middle * middle >= v) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

uint32_t put_varint(uint8_t* out, uint32_t v) {
  uint32_t n = 0;
  for (; v >= 0x80; v >>= 7) out[n++] = static_cast<uint8_t>(v | 0x80);
  out[n++] = static_cast<uint8_t>(v);
  return n;
}

bool take_varint(base::Bytes* rest, uint32_t* out) {
  uint32_t v = 0;
  for (uint32_t i = 0; i < 5 && i < rest->size(); ++i) {
    const uint8_t byte = (*rest)[i];
    if (i == 4 && byte > 0x0F) return false;
    v |= uint32_t{byte & 0x7FU} << (7 * i);
    if (byte < 0x80) {
      *rest = rest->subspan(i + 1);
      *out = v;
      return true;
    }
  }
  return false;
}

}  // namespace

std::array<int32_t, 3> steer_steps(const SteerSample& sample, uint32_t client_tick,
                                   uint32_t speed) {
  const int32_t d[3] = {sample.direction[0], sample.direction[1], sample.direction[2]};
  const int32_t squares = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
  int32_t length = kSteerFull;
  if (squares > kSteerFull * kSteerFull) length = ceil_sqrt(squares);
  const auto phase = static_cast<int64_t>(client_tick % kDivisor);
  std::array<int32_t, 3> moved;
  for (int i = 0; i < 3; ++i) {
    const int64_t v = int64_t{d[i] * kSteerFull / length} * speed;
    moved[static_cast<size_t>(i)] =
        static_cast<int32_t>(floor_div((phase + 1) * v, kDivisor) - floor_div(phase * v, kDivisor));
  }
  return moved;
}

uint32_t encode_steer_runs(base::MutableBytes out, const SteerSample* samples, uint32_t count) {
  constexpr uint32_t kRunMost = 5 + 3 + 1 + 5;
  uint32_t used = 0;
  for (uint32_t i = 0; i < count;) {
    uint32_t run = 1;
    while (i + run < count && samples[i + run] == samples[i]) ++run;
    if (out.size() - used < kRunMost) return 0;
    used += put_varint(out.data() + used, run);
    for (const int8_t axis : samples[i].direction) out[used++] = static_cast<uint8_t>(axis);
    out[used++] = samples[i].yaw;
    used += put_varint(out.data() + used, samples[i].flags);
    i += run;
  }
  return used;
}

bool SteerRuns::next(SteerSample* out) {
  if (left_ == 0) {
    if (rest_.empty() || malformed_) return false;
    malformed_ = true;
    if (!take_varint(&rest_, &left_) || left_ == 0 || rest_.size() < 4) return false;
    for (int i = 0; i < 3; ++i)
      run_.direction[i] = static_cast<int8_t>(rest_[static_cast<size_t>(i)]);
    run_.yaw = rest_[3];
    rest_ = rest_.subspan(4);
    if (!take_varint(&rest_, &run_.flags)) return false;
    if (left_ > kSteerSamplesMost - samples_) return false;
    malformed_ = false;
  }
  --left_;
  ++samples_;
  *out = run_;
  return true;
}

}  // namespace tidegate::wire
