// SPDX-License-Identifier: Apache-2.0
// Own movement without waiting for the server. Each input moves the predicted self at once and is
// kept until MOVE_ACK names it; then what the server holds is taken as the start and the inputs
// behind it are applied again. A difference is not shown as a jump: the shown self walks it off.
// docs/sdk-spec.md, "Prediction", is the contract.
// Thread: one. Owner: values; the step function is the caller's. Limits: kPendingMost inputs kept,
// the oldest is given up.
#pragma once

#include <cstdint>

#include "wire/steer.h"

namespace tidegate::sdk {

struct Vec {
  double x = 0, y = 0, z = 0;
};

struct MoveInput {
  Vec velocity;    // metres a second
  double yaw = 0;  // radians about y
  uint32_t flags = 0;
  double dt = 0;         // seconds
  bool steered = false;  // `sample` holds instead (steering.h)
  wire::SteerSample sample;
  uint32_t tick = 0;  // client tick, set by Prediction
};

// The place after an input. It must give the same for the same arguments.
using StepFunction = Vec (*)(void* user, const Vec& at, const MoveInput& input);
Vec walk(void* user, const Vec& at, const MoveInput& input);

struct PredictionOptions {
  StepFunction step = walk;
  void* user = nullptr;
  double tolerance = 0.04;  // metres; differences up to here come from the wire's 2 cm steps
  double smooth_ms = 80;    // in which a difference shrinks to a third
  double snap = 8;          // metres; larger differences are shown at once
};

struct Ack {
  uint32_t client_tick = 0;
  Vec position;
  bool has_position = false;
  bool corrected = false;
  uint32_t reason = 0;
};

struct PredictionStats {
  uint64_t acks = 0, refused = 0;
  uint64_t corrections = 0;  // acks whose place differed by more than the tolerance
  double last_error = 0;     // metres
  uint32_t last_reason = 0;
};

class Prediction {
 public:
  static constexpr uint32_t kPendingMost = 256;
  explicit Prediction(PredictionOptions options = {}) : options_(options) {}

  bool placed() const { return placed_; }  // reset() was called
  const Vec& position() const { return predicted_; }
  const Vec& confirmed() const { return held_; }
  uint32_t client_tick() const { return tick_; }
  uint32_t pending() const { return count_; }
  const PredictionStats& stats() const { return stats_; }
  double smoothing(double now_ms) const;  // still to be walked off, metres

  // No place is known; move() has to wait.
  void forget() {
    placed_ = false;
    count_ = 0;
  }
  // Begins anew at a place: entry, or coming back. Client ticks go on rising.
  void reset(const Vec& place);
  // Applies an input; client_tick() then names it. There must be a place.
  const Vec& apply(const MoveInput& input);
  void on_ack(const Ack& ack, double now_ms);
  // The server put the player somewhere without being asked: taken when no input is on its way.
  void on_server_place(const Vec& place, double now_ms);
  // Where to draw the own player.
  Vec shown(double now_ms) const;

 private:
  void walk_off(const Vec& shown, double now_ms);

  PredictionOptions options_;
  MoveInput ring_[kPendingMost];
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  bool placed_ = false;
  Vec predicted_, held_, offset_;
  double offset_at_ = 0;
  uint32_t tick_ = 0;
  PredictionStats stats_;
};

}  // namespace tidegate::sdk
