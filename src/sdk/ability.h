// SPDX-License-Identifier: Apache-2.0
// Abilities without waiting for the server: each has a cooldown and a cost of one resource that
// grows back. A use is taken at once when the client thinks it may be; the server's word is final:
// a use it refuses is undone, those after it are looked at again, and what it says the resource was
// at a time is taken as the start. Thread: one. Owner: values. Limits: kAbilitiesMost abilities,
// kUsesMost uses without an answer.
#pragma once

#include <cstdint>

namespace tidegate::sdk {

struct Ability {
  double cooldown_ms = 0;
  double cost = 0;
};

enum class Use : uint8_t {
  kOk,
  kCooldown,  // used too recently
  kCost,      // not enough of the resource
  kFull,      // kUsesMost uses wait for an answer
  kUnknown,   // no such ability
};

class Abilities {
 public:
  static constexpr uint32_t kAbilitiesMost = 64;
  static constexpr uint32_t kUsesMost = 64;

  // The resource grows by `per_second` up to `most`.
  Abilities(double most, double per_second) : most_(most), per_second_(per_second), held_(most) {}
  // False: the number is too large.
  bool define(uint32_t ability, const Ability& what);

  // Uses it now, in the client's eyes. `number` names the use to the server and in its answer.
  Use use(uint32_t ability, double now_ms, uint32_t* number);
  // The server took the use, or it did not; answers to no use that waits are ignored.
  void confirm(uint32_t number);
  void refuse(uint32_t number);
  // The server's word: so much of the resource at that time. Uses that wait come on top.
  void set_resource(double amount, double at_ms);

  double resource(double now_ms) const;
  double cooldown_left_ms(uint32_t ability, double now_ms) const;
  uint32_t waiting() const { return count_; }
  uint32_t refused() const { return refused_; }

 private:
  struct Waiting {
    uint32_t number = 0;
    uint32_t ability = 0;
    double at_ms = 0;
  };
  struct Known {
    Ability what;
    bool defined = false;
    bool used = false;  // and confirmed, at used_ms
    double used_ms = 0;
  };
  double grown(double amount, double from_ms, double to_ms) const;
  int find(uint32_t number) const;
  void remove(uint32_t index);

  double most_, per_second_;
  double held_;  // of the resource at held_at_, uses that wait not taken off
  double held_at_ = 0;
  Known known_[kAbilitiesMost];
  Waiting waiting_[kUsesMost];  // in the order of time
  uint32_t count_ = 0;
  uint32_t numbers_ = 0;
  uint32_t refused_ = 0;
};

}  // namespace tidegate::sdk
