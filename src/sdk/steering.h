// SPDX-License-Identifier: Apache-2.0
// Own movement by input: time is cut into steps of the server's tick, each step's sample is applied
// to the predicted self by the rule the server uses (wire/steer.h) and sent, so that both come to
// the same place. docs/sdk-spec.md, "Steering", is the contract.
// Thread: one. Owner: values. Limits: a quarter of a second is made up for after a pause.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "sdk/prediction.h"
#include "sdk/steer_lead.h"
#include "wire/steer.h"

namespace tidegate::sdk {

class Steering {
 public:
  static constexpr uint32_t kStepsMost = 64;  // of one call

  // The place instead of `to`, for walls and the like; the game's server must do the same.
  using Limit = void (*)(void* user, const double from[3], const double to[3], double out[3]);

  void set_limit(Limit limit, void* user) { limit_ = limit, limit_user_ = user; }
  void set_position_step(double metres) { position_step_ = metres; }
  // From CONNECTION_ESTABLISHED. 0: the server does not say, steering is not possible.
  void set_server(uint32_t speed, double step_seconds) {
    speed_ = speed;
    step_ = step_seconds;
  }
  // Makes up for samples that should wait at the server; null: nothing.
  void set_lead(SteerLead* lead) { lead_ = lead; }
  bool possible() const { return speed_ != 0 && step_ > 0; }
  void reset();

  // Applies what `dt` seconds of `sample` are to `prediction`. Returns how many samples, whose
  // first has `first_tick`; fewer than a step's time is kept for the next call. 0 while standing.
  uint32_t advance(const wire::SteerSample& sample, double dt, Prediction* prediction,
                   uint32_t* first_tick);
  // The rule, for Prediction.
  Vec step(const Vec& at, const MoveInput& input) const;
  // What of the last step is still ahead at this moment: to be taken off the predicted place.
  Vec ahead() const;

 private:
  Limit limit_ = nullptr;
  void* limit_user_ = nullptr;
  double position_step_ = 0.02;
  SteerLead* lead_ = nullptr;
  uint32_t speed_ = 0;
  double step_ = 0;
  double time_ = 0;  // not yet a whole step
  Vec last_;         // what the last step moved
  bool stood_ = true;
  wire::SteerSample before_;
};

// A direction of length up to 1 and a yaw in radians.
wire::SteerSample steer_sample(const Vec& direction, double yaw, uint32_t flags);

}  // namespace tidegate::sdk
