// SPDX-License-Identifier: Apache-2.0
// Interpolation of remote entities. The picture shown lies a little in the past, by a delay that
// covers how unevenly state arrives: the late end of the arrivals of the last seconds, plus one
// update. The delay follows slowly, by running the shown time a little faster or slower. When state
// does not come in time, an entity that moved goes on as it went, for a while; what that was off
// is walked off when state comes again.
//
// The same arithmetic in the same order as in the browser SDK: docs/sdk-spec.md, "Interpolation".
// Thread: one. Owner: values. Limits: 256 arrivals, 40 states for each entity.
#pragma once

#include <cstdint>
#include <limits>

namespace tidegate::sdk {

struct PlayoutOptions {
  double least_ms = 20;  // bounds of the delay
  double most_ms = 600;
  double percentile = 0.95;  // share of arrivals that must be in time
  double rate = 0.08;        // how much faster or slower the shown time may run
  double measure_ms = 100;   // between two measurements of what comes late
};

// What a track has to know of the world to tell an entity that stands from one that is not told of.
struct Horizon {
  // Ticks between two states of the world: one that is told of less often is shown so much later,
  // or it would stand and jump.
  double gap = std::numeric_limits<double>::infinity();
  // The newest state of the world. Infinite: there is always one, so nothing is extrapolated.
  double newest = std::numeric_limits<double>::infinity();
  // Ticks that an entity may be shown ahead of its newest state.
  double ahead_most = 15;
  // What was shown wrongly shrinks by settle / (settle + 1) in a tick.
  double settle = 6;
};

// Which tick is shown at a time.
class PlayoutClock {
 public:
  static constexpr uint32_t kArrivals = 256;
  explicit PlayoutClock(PlayoutOptions options = {}) : options_(options) {}

  double tick_ms = 1000.0 / 60;

  uint32_t newest_tick() const { return last_tick_; }
  // Ticks between two states of the world, as they came of late; the delay covers so many.
  double gap_ticks() const { return gap_; }
  double target_ms() const { return wanted_; }
  double delay_ms() const;
  // For the tracks of this world.
  Horizon horizon() const;
  uint64_t starved() const { return starved_; }

  void reset();
  // State of `tick` arrived. True: what the next three say was measured anew.
  bool on_tick(uint32_t tick, double now_ms);
  uint32_t states() const { return late_count_; }  // the last that came
  // Of them, compared to the fastest: how late most of them were, and the latest.
  double late_ms() const { return late_rank_; }
  double late_most_ms() const { return late_most_; }
  // The tick to show, with its fraction; NaN before the first state. Once a picture.
  double shown_tick(double now_ms);

 private:
  void measure();

  PlayoutOptions options_;
  double late_[kArrivals];
  uint32_t late_count_ = 0;
  uint32_t at_ = 0;
  double base_ = std::numeric_limits<double>::infinity();
  double next_base_ = std::numeric_limits<double>::infinity();
  double base_since_ = 0;
  uint32_t last_tick_ = 0;
  double gap_ = 1;
  double wanted_ = 100;
  double late_rank_ = 0, late_most_ = 0;
  double shown_ = std::numeric_limits<double>::quiet_NaN();
  double last_now_ = 0;
  double last_arrival_ = 0;
  double measured_ = 0;
  uint64_t starved_ = 0;
};

struct Pose {
  double x = 0, y = 0, z = 0, yaw = 0;
};

// The last states of one entity.
class Track {
 public:
  static constexpr uint32_t kSamples = 40;

  void clear() { *this = {}; }
  // A state; one of the newest tick takes its place.
  void push(uint32_t tick, const Pose& pose);
  // Where it is at `shown`; before the first state it stands, behind the last one it goes on when
  // the world's state is missing too. Once a picture.
  Pose sample(double shown, const Horizon& horizon);
  // Ticks that the last sample was ahead of the newest state.
  double ahead() const { return ahead_; }

 private:
  void put(double tick, const Pose& pose);
  Pose at(double tick, double ahead_most, double newest);

  double ticks_[kSamples] = {};
  Pose poses_[kSamples];
  uint32_t count_ = 0;
  uint32_t head_ = 0;  // of the newest
  double gap_ = 3;
  double lag_ = std::numeric_limits<double>::quiet_NaN();
  double last_shown_ = 0;
  double ahead_ = 0;
  bool settling_ = false;  // off_ is not zero
  Pose last_;              // sampled, off_ included
  Pose off_;               // what is shown less what is known, on its way to zero
};

}  // namespace tidegate::sdk
