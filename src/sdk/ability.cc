// SPDX-License-Identifier: Apache-2.0
#include "sdk/ability.h"

#include <algorithm>

namespace tidegate::sdk {

bool Abilities::define(uint32_t ability, const Ability& what) {
  if (ability >= kAbilitiesMost) return false;
  known_[ability] = {};
  known_[ability].what = what;
  known_[ability].defined = true;
  return true;
}

double Abilities::grown(double amount, double from_ms, double to_ms) const {
  return std::min(most_, amount + std::max(0.0, to_ms - from_ms) * per_second_ / 1000);
}

// Uses that wait are taken off at their times: the resource does not grow above its most meanwhile.
double Abilities::resource(double now_ms) const {
  double amount = held_;
  double at = held_at_;
  for (uint32_t i = 0; i < count_; ++i) {
    const Waiting& w = waiting_[i];
    amount = grown(amount, at, w.at_ms) - known_[w.ability].what.cost;
    at = std::max(at, w.at_ms);
  }
  return grown(amount, at, now_ms);
}

double Abilities::cooldown_left_ms(uint32_t ability, double now_ms) const {
  if (ability >= kAbilitiesMost || !known_[ability].defined) return 0;
  const Known& k = known_[ability];
  double left = k.used ? k.used_ms + k.what.cooldown_ms - now_ms : 0;
  for (uint32_t i = 0; i < count_; ++i) {
    if (waiting_[i].ability != ability) continue;
    left = std::max(left, waiting_[i].at_ms + k.what.cooldown_ms - now_ms);
  }
  return std::max(0.0, left);
}

Use Abilities::use(uint32_t ability, double now_ms, uint32_t* number) {
  if (ability >= kAbilitiesMost || !known_[ability].defined) return Use::kUnknown;
  if (cooldown_left_ms(ability, now_ms) > 0) return Use::kCooldown;
  if (resource(now_ms) < known_[ability].what.cost) return Use::kCost;
  if (count_ == kUsesMost) return Use::kFull;
  *number = ++numbers_ != 0 ? numbers_ : ++numbers_;
  waiting_[count_++] = {*number, ability, now_ms};
  return Use::kOk;
}

int Abilities::find(uint32_t number) const {
  for (uint32_t i = 0; i < count_; ++i) {
    if (waiting_[i].number == number) return static_cast<int>(i);
  }
  return -1;
}

void Abilities::remove(uint32_t index) {
  std::copy(waiting_ + index + 1, waiting_ + count_, waiting_ + index);
  --count_;
}

void Abilities::confirm(uint32_t number) {
  const int index = find(number);
  if (index < 0) return;
  const Waiting w = waiting_[index];
  Known& k = known_[w.ability];
  k.used_ms = k.used ? std::max(k.used_ms, w.at_ms) : w.at_ms;
  k.used = true;
  // What is held is moved to the time of the use; later uses still wait on top of it.
  if (w.at_ms >= held_at_) {
    held_ = grown(held_, held_at_, w.at_ms) - k.what.cost;
    held_at_ = w.at_ms;
  } else {
    held_ -= k.what.cost;
  }
  remove(static_cast<uint32_t>(index));
}

void Abilities::refuse(uint32_t number) {
  const int index = find(number);
  if (index < 0) return;
  ++refused_;
  remove(static_cast<uint32_t>(index));
}

void Abilities::set_resource(double amount, double at_ms) {
  held_ = std::clamp(amount, 0.0, most_);
  held_at_ = at_ms;
}

}  // namespace tidegate::sdk
