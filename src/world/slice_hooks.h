// SPDX-License-Identifier: Apache-2.0
// What a game may decide inside a slice's simulate phase. A slice without hooks asks one pointer.
// Thread: shard. Owner: the shard; outlives the slice's use. Limits: none of its own.
#pragma once

#include <cstdint>

namespace tidegate::world {

struct Input;
using EntitySlot = uint32_t;

enum class Verdict : uint8_t {
  kCorrect,  // the move is refused and its client corrected
  kForgive,  // it is applied all the same, cut to the world's bounds
};

class SliceHooks {
 public:
  // Before the checks; may change the input. 0, or the error code that refuses it.
  virtual uint16_t before_input(EntitySlot s, Input* input) = 0;
  // The checks refuse a move: `reason` is kReasonSpeed or kReasonBounds, counted already.
  virtual Verdict on_violation(EntitySlot s, const Input& input, uint16_t reason) = 0;
  // An input changed the image: ChangedField bits.
  virtual void changed(EntitySlot s, uint8_t fields) = 0;

 protected:
  ~SliceHooks() = default;
};

}  // namespace tidegate::world
