// SPDX-License-Identifier: Apache-2.0
#include "world/budget.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidegate::world {
namespace {

// Age of the queue at which a rung is entered; the last one has BudgetConfig::stall_ms.
constexpr uint32_t kRungAgeMs[] = {0, 60, 200, 500, 1000};
static_assert(std::size(kRungAgeMs) == static_cast<size_t>(Rung::kEnd));
constexpr uint32_t kRungRestMs = 500;  // with an empty queue before the next rung up
constexpr uint32_t kMeasureMs = 250;
constexpr uint32_t kMeasureMsMax = 2000;
constexpr uint32_t kOverdrawnMs = 1000;
constexpr uint32_t kTickMsMax = 1000;  // a longer pause fills no more than that

Rung rung_of(uint32_t age_ms) {
  auto rung = static_cast<uint32_t>(Rung::kOwnOnly);
  while (age_ms < kRungAgeMs[rung]) --rung;
  return static_cast<Rung>(rung);
}

}  // namespace

const char* name_of(Rung rung) {
  switch (rung) {
    case Rung::kAll:
      return "all";
    case Rung::kNoLayer3:
      return "skip_layer3";
    case Rung::kNoLayer2:
      return "skip_layer2";
    case Rung::kNear:
      return "far_cells_off";
    case Rung::kOwnOnly:
      return "own_state_only";
    case Rung::kEnd:
      return "closed";
    case Rung::kCount:
      break;
  }
  return "?";
}

void Budget::start(const BudgetConfig& config, uint32_t asked) {
  *this = Budget{};
  rate_max_ = asked == 0 ? config.bytes_per_second
                         : std::clamp(asked, kBudgetRateMin, config.bytes_per_second_max);
  rate_ = rate_max_;
  tokens_ = static_cast<int32_t>(rate_);
  room_ = std::min(config.queue_bytes, rate_max_);
}

void Budget::spend(uint32_t bytes, uint32_t must) {
  // No deeper than a second: what a client needs to begin with is not charged for ever.
  tokens_ = static_cast<int32_t>(std::max(int64_t{tokens_} - bytes, -int64_t{rate_}));
  room_ -= std::min(room_, bytes);
  spent_ += bytes;
  must_ += must;
}

void Budget::turn_slots() {
  if (at_ms_ - slot_ms_ >= kSlots * kSlotMs) {
    std::fill(std::begin(slots_), std::end(slots_), uint16_t{0});
    slot_ms_ = at_ms_;
    spent_ = second_ = 0;
  }
  for (; at_ms_ - slot_ms_ >= kSlotMs; slot_ms_ += kSlotMs) {
    slots_[slot_] = static_cast<uint16_t>(std::min<uint32_t>(spent_ / kUnit, UINT16_MAX));
    spent_ = slots_[slot_] == UINT16_MAX ? 0 : spent_ % kUnit;
    second_ += slots_[slot_];
    slot_ = static_cast<uint8_t>((slot_ + 1) % kSlots);
    second_ -= slots_[slot_];
    slots_[slot_] = 0;
  }
  if (at_ms_ - other_ms_ >= kOtherMs) {
    const uint32_t elapsed = at_ms_ - other_ms_;
    for (auto [sum, rate] : {std::pair{&answers_, &answer_rate_}, {&keyframes_, &keyframe_rate_}}) {
      const auto now = static_cast<uint32_t>(uint64_t{*sum} * 1000 / elapsed);
      *rate = (*rate * 3 + now) / 4;
      *sum = 0;
    }
    other_ms_ = at_ms_;
  }
  peak_ = std::max(peak_, must_);
  must_ = 0;
  if (at_ms_ - peak_ms_ < kPeakMs) return;
  peak_before_ = peak_;
  peak_ = 0;
  peak_ms_ = at_ms_;
}

// The most that a second which ends within the next one will have, with what is to come in any
// case: the seconds that matter end when a slot has left them.
uint32_t Budget::fullest_to_come() const {
  const uint32_t phase = at_ms_ - slot_ms_;
  uint32_t bytes = last_second();
  uint32_t most = bytes;
  uint32_t oldest = slot_ + 1u == kSlots ? 0 : slot_ + 1u;
  for (uint32_t gone = 1; gone < kSlots; ++gone) {
    bytes -= slots_[oldest] * kUnit;
    oldest = oldest + 1 == kSlots ? 0 : oldest + 1;
    const uint64_t to_come = uint64_t{expected_} * (gone * kSlotMs - phase) / 1000;
    most = std::max(most, bytes + static_cast<uint32_t>(to_come));
  }
  return most;
}

int32_t Budget::allowance() const {
  const uint32_t most = rate_ + rate_ / 64;
  return std::min(tokens_, static_cast<int32_t>(most) - static_cast<int32_t>(fullest_to_come()) -
                               static_cast<int32_t>(peak()));
}

void Budget::hold() {
  rung_ = std::max(rung_, Rung::kOwnOnly);
  rung_ms_ = at_ms_;
}

bool Budget::overdrawn() {
  if (tokens_ > 0 || at_ms_ - positive_ms_ < kOverdrawnMs) return false;
  positive_ms_ = at_ms_;
  return true;
}

// While the queue is busy the transport takes what it can: that is the link's rate.
void Budget::measure(const QueueSample& sample) {
  if (!busy_ && sample.waiting != 0) {
    measured_ms_ = at_ms_;
    measured_from_ = sample.sent;
  }
  const uint32_t elapsed = at_ms_ - measured_ms_;
  if (elapsed < kMeasureMs) return;
  // A slow link takes a piece now and then: one at least belongs to a measurement.
  const bool nothing = sample.waiting != 0 && sample.sent == measured_from_;
  if (nothing && elapsed < kMeasureMsMax) return;
  if (sample.waiting != 0) {
    const uint64_t measured = uint64_t{sample.sent - measured_from_} * 1000 / elapsed;
    rate_ = static_cast<uint32_t>(
        std::clamp<uint64_t>(measured - measured / 8, std::min(kBudgetRateMin, rate_), rate_));
    tokens_ = std::min(tokens_, static_cast<int32_t>(rate_));
  } else {
    rate_ = std::min(rate_max_, rate_ + rate_max_ / 16);
  }
  measured_ms_ = at_ms_;
  measured_from_ = sample.sent;
}

Rung Budget::update(const BudgetConfig& config, const QueueSample& sample) {
  if (!started_) {
    started_ = true;
    moved_ms_ = sample.now_ms;
    sent_ = sample.sent;
    at_ms_ = positive_ms_ = rung_ms_ = mark_ms_ = measured_ms_ = sample.now_ms;
    measured_from_ = sample.sent;
    slot_ms_ = peak_ms_ = other_ms_ = sample.now_ms;
  }
  const uint32_t elapsed = std::min(sample.now_ms - at_ms_, kTickMsMax);
  at_ms_ = sample.now_ms;
  turn_slots();
  tokens_ = static_cast<int32_t>(
      std::min(int64_t{tokens_} + int64_t{rate_} * elapsed / 1000, int64_t{rate_}));
  if (tokens_ > 0) positive_ms_ = at_ms_;
  measure(sample);

  // The mark is the queue's end at some time. While it has not left, the oldest byte is at least as
  // old as the mark; when it has, the end of now is the next mark.
  const bool marked = busy_ && static_cast<int32_t>(mark_ - sample.sent) > 0;
  if (!busy_ || sample.waiting == 0 || sample.sent != sent_) moved_ms_ = at_ms_;
  sent_ = sample.sent;
  busy_ = sample.waiting != 0;
  if (!marked) {
    mark_ = sample.sent + sample.waiting;
    mark_ms_ = at_ms_;
  }
  const bool stalled = at_ms_ - moved_ms_ >= config.stall_ms;
  const Rung wanted = stalled ? Rung::kEnd : rung_of(busy_ ? at_ms_ - mark_ms_ : 0);
  if (wanted > rung_) rung_ = wanted;
  if (busy_) {
    rung_ms_ = at_ms_;
  } else if (rung_ != Rung::kAll && at_ms_ - rung_ms_ >= kRungRestMs) {
    rung_ms_ = at_ms_;
    rung_ = static_cast<Rung>(static_cast<uint8_t>(rung_) - 1);
  }
  const uint32_t queue_max = std::min(config.queue_bytes, rate_max_);
  room_ = queue_max - std::min(queue_max, sample.waiting);
  return rung_;
}

}  // namespace tidegate::world
