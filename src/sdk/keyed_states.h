// SPDX-License-Identifier: Apache-2.0
// The client's copy of keyed state (docs/protocol.md, "Keyed state"): what STATE_UPDATE and
// STATE_RESULT said last. The server says when a state ends; no time is kept here.
//
// Thread: one. Owner: Client. Limits: kStatesMost; what comes above it is counted and not kept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "wire/state_messages.h"

namespace tidegate::sdk {

inline constexpr uint32_t kStatesMost = 16'384;

struct KeyedState {
  std::string key;
  std::vector<uint8_t> value;
  std::string owner;
  uint64_t version = 0;
  uint32_t scope = 0;
  uint32_t expires_in_ms = 0;  // when it was told
  wire::Vector3 position;
};

class KeyedStates {
 public:
  // Calls told(state, removed) for each state that changed. False: malformed.
  template <class Told>
  bool apply(base::Bytes update, Told&& told) {
    wire::StateUpdateHead head;
    bool first = true;
    const bool whole = wire::decode_state_update(update, &head, [&](const wire::StateEntry& e) {
      if (std::exchange(first, false)) forget(head.complete, told);
      apply(e, told);
    });
    if (first && whole) forget(head.complete, told);
    return whole;
  }
  template <class Told>
  void apply(const wire::StateEntry& e, Told&& told) {
    const size_t at = index_of(e.scope, e.key);
    if (e.removed) {
      if (at == states_.size()) return;
      KeyedState gone = std::move(states_[at]);
      states_[at] = std::move(states_.back());
      states_.pop_back();
      told(gone, true);
      return;
    }
    if (at == states_.size()) {
      if (at == kStatesMost) {
        ++overflow_;
        return;
      }
      states_.emplace_back();
      states_[at].key = e.key;
      states_[at].scope = e.scope;
    }
    KeyedState& s = states_[at];
    s.value.assign(e.value.begin(), e.value.end());
    s.owner = e.owner;
    s.version = e.version;
    s.expires_in_ms = e.expires_in_ms;
    if (e.has_position) s.position = e.position;
    told(s, false);
  }
  // Forgets the states of these scopes (bits).
  template <class Told>
  void forget(uint32_t scopes, Told&& told) {
    for (size_t i = states_.size(); i-- > 0;) {
      if (i >= states_.size() || (scopes >> states_[i].scope & 1) == 0) continue;
      KeyedState gone = std::move(states_[i]);
      states_[i] = std::move(states_.back());
      states_.pop_back();
      told(gone, true);
    }
  }

  const KeyedState* find(uint32_t scope, std::string_view key) const {
    const size_t at = index_of(scope, key);
    return at == states_.size() ? nullptr : &states_[at];
  }
  const std::vector<KeyedState>& all() const { return states_; }
  uint64_t overflow() const { return overflow_; }

 private:
  // There are a few hundred at most, and most messages name one.
  size_t index_of(uint32_t scope, std::string_view key) const {
    size_t i = 0;
    while (i < states_.size() && (states_[i].scope != scope || states_[i].key != key)) ++i;
    return i;
  }

  std::vector<KeyedState> states_;
  uint64_t overflow_ = 0;
};

}  // namespace tidegate::sdk
