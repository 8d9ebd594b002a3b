// SPDX-License-Identifier: Apache-2.0
// Keyed state on a shard (tidegate/states.h), both sides: the states whose home it is
// (state/state_home.h), and what its connections are told (state/state_board.h).
//
//   set        server or game -> home: holds at once
//   asked      client -> home, decided in the encode phase of its tick, when every shard has
//              simulated it: what came in the tick is there. The answer goes back
//   shown      home -> every shard's board -> connections within reach, looked at every
//              kLookTicks ticks, when they can take it
//   told       home -> the one connection that sees a session or view state
//
// A session state ends with its session, a view state with its connection; the home of both is the
// player's home shard, which knows them.
//
// Thread: shard. Owner: Shard. Limits: state::StateLimits.
#pragma once

#include <cstdint>
#include <string_view>

#include "mailbox/state_messages.h"
#include "mem/mapped_array.h"
#include "shard/router.h"
#include "state/state_board.h"
#include "state/state_home.h"
#include "tidegate/states.h"
#include "wire/state_messages.h"

namespace tidegate::shard {

// How often a connection's states are looked at, and how many changes a tick it may ask for.
inline constexpr uint32_t kLookTicks = 4;
inline constexpr uint32_t kStateChangesPerTick = 8;

// A set or a removal as it goes to the home; made on any thread.
struct StateMail {
  static constexpr size_t kTailBytesMax =
      state::kKeyBytesMax + 2 * state::kPlayerBytesMax + state::kValueBytesMax;
  uint32_t home = 0;
  mailbox::StateSet set{};
  uint32_t tail_bytes = 0;
  uint8_t tail[kTailBytesMax];
  base::Bytes tail_view() const { return {tail, tail_bytes}; }
};
struct StateWorld {
  uint32_t shards = 1;
  float position_step = 0.02F;
  float view_distance = 100;  // radius of a place without one
};
SendResult plan_state(const StateSpec& spec, const StateWorld& world, StateMail* out);
SendResult plan_state_removal(StateScope scope, std::string_view key, std::string_view player,
                              const StateWorld& world, StateMail* out);

class States {
 public:
  States(Shard& shard, const state::StateLimits& limits, uint32_t slots);

  // Route of messages.cc.
  Handled on_change(uint32_t slot, const wire::Envelope& message);
  void on_mail(uint32_t from, mailbox::MessageType type, base::Bytes bytes);
  // From a handler or the tick hook.
  SendResult set(const StateSpec& spec);
  SendResult remove(StateScope scope, std::string_view key, std::string_view player);

  // The player has a connection, or has none any more; at its home (home.cc).
  void on_login(std::string_view player, uint32_t shard, base::ConnectionRef connection);
  void on_logout(std::string_view player, uint32_t shard, base::ConnectionRef connection);
  // A connection of this shard begins to see the world.
  void on_enter(uint32_t slot);
  void on_closed(uint32_t slot) { slots_[slot] = {}; }

  // In the encode phase of a tick: what is over goes, what clients asked for is decided.
  void run_home(uint32_t tick);
  // In the flush phase: connections are told.
  void run_flush(uint32_t tick);

  void update_gauges();
  uint64_t memory_bytes() const {
    return home_.memory_bytes() + board_.memory_bytes() + slots_.bytes();
  }
  const state::StateHome& home() const { return home_; }
  const state::StateBoard& board() const { return board_; }

 private:
  struct Slot {
    uint32_t tick;     // of `changes`
    uint32_t changes;  // asked for in that tick
    uint32_t refused;  // since the connection began
  };

  void on_set(base::Bytes bytes);
  void on_asked(uint32_t from, base::Bytes bytes);
  void on_answered(base::Bytes bytes);
  void on_shown(uint32_t from, base::Bytes bytes);
  void on_told(base::Bytes bytes);

  state::Reason judge(const state::Change& change, uint32_t row, state::Reason by_rule,
                      bool* disconnect);
  void answer(uint32_t slot, const wire::StateResult& result);
  void answer_home(const state::Change& change, uint32_t row, state::Reason reason,
                   bool disconnect);
  // What a row has become (or, with `removed`, that it goes) to whom it may concern.
  void spread(uint32_t row, bool removed);
  void tell_player(uint32_t row, bool removed);
  void drop_orphans();
  void look(uint32_t slot, uint32_t tick);
  uint32_t milliseconds_left(uint32_t expires_tick, uint32_t tick) const;
  uint32_t ticks_of(uint32_t ms) const;

  Shard& shard_;
  state::StateHome home_;
  state::StateBoard board_;
  uint32_t home_rows_;  // zone and place states of one home
  mem::MappedArray<Slot> slots_;
  uint32_t tick_ = 0;  // that was encoded last
};

}  // namespace tidegate::shard
