// SPDX-License-Identifier: Apache-2.0
#include "world/history.h"

#include <algorithm>

namespace tidegate::world {

namespace {

int32_t between(int32_t a, int32_t b, uint16_t fraction) {
  // Rounded to nearest, half away from zero: the same forwards and backwards.
  const int64_t way = (int64_t{b} - a) * fraction;
  return static_cast<int32_t>(a + (way >= 0 ? way + 32'768 : way - 32'768) / 65'536);
}

}  // namespace

uint32_t History::depth_for(uint32_t entities, uint32_t wanted, uint64_t bytes) {
  const uint64_t fixed = uint64_t{entities} * sizeof(uint32_t);
  const uint64_t row = uint64_t{entities} * kSampleBytes;
  if (row == 0 || bytes <= fixed) return 0;
  const uint64_t fits = std::min<uint64_t>({(bytes - fixed) / row, wanted, kDepthMax});
  return fits < 2 ? 0 : static_cast<uint32_t>(fits);
}

History::History(uint32_t entities, uint32_t depth)
    : slots_(entities),
      depth_(std::min(depth, kDepthMax)),
      first_(depth_ == 0 ? 0 : entities),
      x_(size_t{depth_} * entities),
      y_(size_t{depth_} * entities),
      z_(size_t{depth_} * entities),
      flags_(size_t{depth_} * entities),
      yaw_(size_t{depth_} * entities) {}

size_t History::bytes() const {
  return first_.bytes() + x_.bytes() + y_.bytes() + z_.bytes() + flags_.bytes() + yaw_.bytes();
}

void History::begin(EntitySlot s) {
  if (depth_ == 0) return;
  // Slots between were never used: they are absent.
  while (used_ <= s) first_[used_++] = kAbsent;
  first_[s] = newest_ + 1;
}

void History::record(uint32_t tick, const EntityTable& entities) {
  if (depth_ == 0) return;
  if (tick != newest_ + 1) {
    start_ = tick;
    // What was imported or begun for the next tick holds for this one.
    for (uint32_t s = 0; s < used_; ++s) {
      if (first_[s] != kAbsent && first_[s] < tick) first_[s] = tick;
    }
  }
  newest_ = tick;
  const size_t at = row(tick);
  int32_t* const x = x_.data() + at;
  int32_t* const y = y_.data() + at;
  int32_t* const z = z_.data() + at;
  uint32_t* const flags = flags_.data() + at;
  uint8_t* const yaw = yaw_.data() + at;
  const uint32_t n = std::min(used_, entities.high_water());
  for (uint32_t s = 0; s < n; ++s) {
    const Image& image = entities.image(s);
    x[s] = image.position[0];
    y[s] = image.position[1];
    z[s] = image.position[2];
    flags[s] = image.flags;
    yaw[s] = image.yaw;
  }
}

uint32_t History::oldest(EntitySlot s) const {
  uint32_t tick = std::max(first_[s], start_);
  if (newest_ >= depth_) tick = std::max(tick, newest_ - depth_ + 1);
  return tick;
}

void History::load(EntitySlot s, uint32_t tick, HistorySample* out) const {
  const size_t at = row(tick) + s;
  *out = HistorySample{{x_[at], y_[at], z_[at]}, flags_[at], yaw_[at], {}};
}

void History::store(EntitySlot s, uint32_t tick, const HistorySample& sample) {
  const size_t at = row(tick) + s;
  x_[at] = sample.position[0];
  y_[at] = sample.position[1];
  z_[at] = sample.position[2];
  flags_[at] = sample.flags;
  yaw_[at] = sample.yaw;
}

bool History::at(EntitySlot s, TickTime time, HistorySample* out) const {
  if (depth_ == 0 || s >= used_ || first_[s] == kAbsent) return false;
  if (time.tick < oldest(s) || time.tick > newest_) return false;
  load(s, time.tick, out);
  if (time.fraction == 0) return true;
  if (time.tick == newest_) return false;  // the future is not known here
  HistorySample next;
  load(s, time.tick + 1, &next);
  for (size_t i = 0; i < 3; ++i) {
    out->position[i] = between(out->position[i], next.position[i], time.fraction);
  }
  // The short way round.
  const auto turn = static_cast<int8_t>(static_cast<uint8_t>(next.yaw - out->yaw));
  out->yaw = static_cast<uint8_t>(out->yaw + between(0, turn, time.fraction));
  return true;
}

uint32_t History::samples(EntitySlot s, uint32_t tick, std::span<HistorySample> out) const {
  if (depth_ == 0 || s >= used_ || first_[s] == kAbsent) return 0;
  const uint32_t last = std::min(tick, newest_);
  const uint32_t first = oldest(s);
  if (last < first) return 0;
  const auto n = static_cast<uint32_t>(std::min<size_t>(out.size(), last - first + 1));
  for (uint32_t i = 0; i < n; ++i) load(s, last - n + 1 + i, &out[i]);
  return n;
}

void History::import(EntitySlot s, uint32_t tick, std::span<const HistorySample> samples) {
  if (depth_ == 0) return;
  begin(s);
  // Only what lies within this ring: ticks it has recorded, or the one it records next.
  if (tick != newest_ && tick != newest_ + 1) return;
  uint32_t n = 0;
  while (n < samples.size() && n < depth_ && tick - n >= start_ && tick != n) {
    store(s, tick - n, samples[samples.size() - 1 - n]);
    ++n;
  }
  if (n != 0) first_[s] = tick - n + 1;
}

}  // namespace tidegate::world
