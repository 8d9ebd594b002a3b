// SPDX-License-Identifier: Apache-2.0
// The hooks and state providers an embedder registered, as plain functions with one pointer of
// their own: null where there is none, so each place asks one pointer. Module embed fills it and
// catches what the game's functions throw.
//
// Thread: setup fills, shards read. Owner: embed or a test; outlives the shards.
// Limits: kStateProvidersMax.
#pragma once

#include <string>
#include <vector>

#include "tidegate/status.h"
#include "tidegate/world_hooks.h"

namespace tidegate::shard {

// What a guarded call came to: the hook's result, or that it threw.
template <class T>
struct Guarded {
  T value;
  bool failed;
};

struct ProviderEntry {
  using Write = Guarded<size_t> (*)(void* user, const EntityView& entity, StateRequest request,
                                    uint8_t* out, size_t room) noexcept;
  std::string name;
  uint8_t priority = 5;
  bool delta = false;
  Write write = nullptr;
  void* user = nullptr;
  uint32_t number = 0;  // order of registration from 1; set by add()
};

struct HookTable {
  void* user = nullptr;
  Guarded<uint16_t> (*before_input)(void*, const EntityView&, MoveInput&) noexcept = nullptr;
  Guarded<bool> (*after_state_change)(void*, const EntityView&, uint8_t) noexcept = nullptr;
  Guarded<ViolationResponse> (*violation)(void*, const Violation&) noexcept = nullptr;
  Guarded<uint16_t> (*validate_action)(void*, Context&, const Action&) noexcept = nullptr;
  Guarded<float> (*interest_radius)(void*, const Context&, float) noexcept = nullptr;
  Guarded<bool> (*tick)(void*, World&) noexcept = nullptr;
  Guarded<StateVerdict> (*state_attempt)(void*, const StateAttempt&) noexcept = nullptr;
  std::vector<ProviderEntry> providers;  // highest priority first

  // Refuses bad names and priorities, names that are taken, and more than the limit.
  Status add(ProviderEntry provider);
  bool in_slice() const {
    return before_input != nullptr || after_state_change != nullptr || violation != nullptr;
  }
  bool makes_state() const { return tick != nullptr || !providers.empty(); }
};

}  // namespace tidegate::shard
