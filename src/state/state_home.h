// SPDX-License-Identifier: Apache-2.0
// Where keyed state is kept and decided: the states whose keys hash to this shard, and the changes
// that clients ask for. What the server sets holds at once. Changes of clients wait for the end of
// the tick in which they came and are then decided in an order that depends on nothing but the
// tick, the player and the key, so that no shard and no fast connection has an advantage, and the
// number of shards makes no difference.
//
// Does not know connections or messages: what to tell whom is the caller's (shard/states.h).
//
// Thread: shard. Owner: shard::States. Limits: StateLimits; all memory at construction.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "mem/mapped_array.h"
#include "session/name_table.h"

namespace tidegate::state {

inline constexpr uint32_t kKeyBytesMax = 64;
inline constexpr uint32_t kPlayerBytesMax = 64;
inline constexpr uint32_t kValueBytesMax = 256;

// As in tidegate/states.h and on the wire.
enum class Scope : uint8_t { kZone = 0, kPlace = 1, kSession = 2, kView = 3 };
enum class Rule : uint8_t { kServer = 0, kVersion = 1, kFirst = 2, kOwner = 3 };
enum class Operation : uint8_t { kSet = 0, kClaim = 1, kRelease = 2 };
enum class Reason : uint8_t {
  kApplied = 0,
  kUnknown = 1,
  kServerOnly = 2,
  kStale = 3,
  kTaken = 4,
  kNotOwner = 5,
  kTooFar = 6,
  kInvalid = 7,
  kRefused = 8,
  kBusy = 9,
};
inline constexpr uint32_t kReasonCount = 10;

// Whether one player alone sees it.
inline bool is_private(Scope scope) { return scope == Scope::kSession || scope == Scope::kView; }

struct StateLimits {
  uint32_t entries = 256;           // zone and place, of a home shard
  uint32_t private_entries = 1024;  // session and view, likewise
  uint32_t changes = 512;           // of clients that wait for a decision
};

// A short text or value in place.
template <uint32_t kMax>
class Short {
 public:
  // False, and nothing done: too long.
  bool set(base::Bytes bytes) {
    if (bytes.size() > kMax) return false;
    size_ = static_cast<uint16_t>(bytes.size());
    if (size_ != 0) std::memcpy(data_, bytes.data(), size_);
    return true;
  }
  bool set(std::string_view text) { return set(base::as_bytes(text)); }
  base::Bytes bytes() const { return {data_, size_}; }
  std::string_view text() const { return base::as_text(bytes()); }
  bool empty() const { return size_ == 0; }
  void clear() { size_ = 0; }

 private:
  uint16_t size_;
  uint8_t data_[kMax];
};

struct Row {
  uint64_t version;  // of the value, owner and all; rises with each change, also over a removal
  uint64_t holder;   // private: what it ends with (session, or connection); see StateHome::put
  uint32_t expires_tick;  // 0: never
  uint32_t held_until;    // tick in which a claim runs out; 0: never
  uint32_t hold_ticks;    // of a claim; 0: until it is released
  int32_t position[3];    // steps, of a place
  uint32_t radius;        // steps, of a place
  Scope scope;
  Rule rule;
  Short<kPlayerBytesMax> owner;
  Short<kValueBytesMax> value;
};

struct Change {
  uint32_t tick;  // in which it came; decided when all shards have simulated it
  uint32_t request;
  base::ConnectionRef connection;
  uint16_t connection_shard;
  Scope scope;
  Operation operation;
  uint64_t base_version;
  int32_t position[3];  // of the player
  uint32_t refused;     // changes of the connection refused before
  Short<kPlayerBytesMax> player;
  Short<kKeyBytesMax> key;
  Short<kValueBytesMax> value;
};

// A key of 1 to kKeyBytesMax bytes without control characters. UTF-8 is the caller's to check.
bool is_key(std::string_view key);
// The shard that keeps zone and place states of this key.
uint32_t home_of_key(std::string_view key, uint32_t shards);

class StateHome {
 public:
  static constexpr uint32_t kNone = session::NameTable::kNone;

  explicit StateHome(const StateLimits& limits);

  // The row of a state; kNone: it is not there. `player` is empty for zone and place.
  uint32_t find(std::string_view player, std::string_view key) const;
  // Makes a state or takes the place of the one that is there; its version rises. kNone: no room.
  // What is no text (`version` apart) is taken from `from`.
  uint32_t put(std::string_view player, std::string_view key, const Row& from, uint32_t tick);
  void erase(uint32_t row);
  const Row& row(uint32_t row) const { return rows_[row]; }
  std::string_view key(uint32_t row) const;
  std::string_view player(uint32_t row) const;  // empty for zone and place
  bool used(uint32_t row) const;
  // One past the highest row of a walk with used(); rows below shared_limit() are zone and place.
  uint32_t end() const { return shared_limit_ + private_.high_water(); }
  uint32_t shared_limit() const { return shared_limit_; }

  // A client's change; false: there is no room, refuse it with kBusy.
  bool queue(const Change& change);
  // Decides what came up to `tick`, in order: calls judge(change, row, reason) with what the rule
  // says, which answers what counts; then what was applied stands in the row, and
  // told(change, row, reason) is called. `row` is kNone when there is none.
  template <class Judge, class Told>
  void decide(uint32_t tick, Judge&& judge, Told&& told) {
    const uint32_t due = sort_due(tick);
    for (uint32_t i = 0; i < due; ++i) {
      const Change& change = changes_[order_[i]];
      const uint32_t row =
          find(is_private(change.scope) ? change.player.text() : "", change.key.text());
      const Reason reason = judge(change, row, rule_says(change, row));
      if (reason == Reason::kApplied) apply(change, row, tick);
      told(change, row, reason);
    }
    drop_due(tick);
  }
  // Calls ended(row) for each state whose time is over, before it is erased, and freed(row) for
  // each whose claim ran out, after.
  template <class Ended, class Freed>
  void expire(uint32_t tick, Ended&& ended, Freed&& freed) {
    if (next_expiry_ == 0 || static_cast<int32_t>(tick - next_expiry_) < 0) return;
    next_expiry_ = 0;
    for (uint32_t r = 0; r < end(); ++r) {
      if (!used(r)) continue;
      Row& row = rows_[r];
      if (row.expires_tick != 0 && static_cast<int32_t>(tick - row.expires_tick) >= 0) {
        ended(r);
        erase(r);
        continue;
      }
      if (row.held_until != 0 && static_cast<int32_t>(tick - row.held_until) >= 0) {
        row.held_until = 0;
        row.owner.clear();
        renew(row, tick);
        freed(r);
      }
      note_expiry(row);
    }
  }

  uint32_t count() const { return shared_.count() + private_.count(); }
  uint32_t waiting() const { return change_count_; }
  uint64_t memory_bytes() const {
    return shared_.memory_bytes() + private_.memory_bytes() + rows_.bytes() + changes_.bytes() +
           order_.bytes();
  }
  // What the rule says to a change, for tests and decide().
  Reason rule_says(const Change& change, uint32_t row) const;

 private:
  static constexpr uint32_t kNameBytesMax = kPlayerBytesMax + 1 + kKeyBytesMax;

  void apply(const Change& change, uint32_t row, uint32_t tick);
  static void renew(Row& row, uint32_t tick);
  void note_expiry(const Row& row);
  uint32_t sort_due(uint32_t tick);
  void drop_due(uint32_t tick);

  uint32_t shared_limit_;
  session::NameTable shared_;
  session::NameTable private_;  // names: player, 0, key
  mem::MappedArray<Row> rows_;  // shared ones, then private ones
  mem::MappedArray<Change> changes_;
  mem::MappedArray<uint32_t> order_;
  uint32_t change_count_ = 0;
  uint32_t next_expiry_ = 0;  // no state ends and no claim runs out before this tick; 0: never
};

}  // namespace tidegate::state
