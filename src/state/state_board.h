// SPDX-License-Identifier: Apache-2.0
// The zone's and the places' keyed states as a shard shows them to its connections: a copy of what
// all homes keep, and for each connection what it was told. Telling is by comparison: a connection
// that is looked at gets what has changed since it was looked at last, what came within reach and
// what went; one that cannot take more is not looked at and later gets the newest only. So nothing
// queues, however often a state changes.
//
// Thread: shard. Owner: shard::States. Limits: rows and connections by constructor; a connection
// costs 24 bytes and a bit for each row.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "mem/mapped_array.h"
#include "state/state_home.h"

namespace tidegate::state {

struct BoardRow {
  uint64_t version;
  uint64_t epoch;         // of the board when it last changed
  uint32_t expires_tick;  // 0: never
  int32_t position[3];    // steps
  uint32_t radius;        // steps
  uint32_t home;          // the home's number for it, kNone when removed
  Scope scope;
  uint8_t live;
  Short<kKeyBytesMax> key;  // stays until the row is used again
  Short<kPlayerBytesMax> owner;
  Short<kValueBytesMax> value;
};

class StateBoard {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  StateBoard(uint32_t rows, uint32_t connections);

  // State `home` (a number of the home's, below `rows`) is now this; epoch and live are set here.
  void put(uint32_t home, const BoardRow& row);
  void remove(uint32_t home);

  // A connection begins: it has been told nothing.
  void begin(uint32_t connection);
  // True: nothing has happened that it would have to be told of.
  bool up_to_date(uint32_t connection, const int32_t position[3]) const {
    const Seen& seen = seen_[connection];
    return seen.epoch == epoch_ &&
           (places_ == 0 || (seen.x == position[0] && seen.z == position[2]));
  }
  // Calls tell(row) for each state the connection is to be told of: new or changed with live, else
  // removed or out of reach (`gone`). `afresh`: called before when it has to forget all it has.
  template <class Afresh, class Tell>
  void look(uint32_t connection, const int32_t position[3], Afresh&& afresh, Tell&& tell) {
    Seen& seen = seen_[connection];
    uint64_t* const has = &has_[size_t{connection} * words_];
    if (seen.epoch != 0 && seen.epoch < forgotten_) {
      // A row was given to another state before this connection heard that the old one is gone.
      for (uint32_t w = 0; w < words_; ++w) has[w] = 0;
      seen.epoch = 0;
      afresh();
    }
    for (uint32_t r = 0; r < used_; ++r) {
      const BoardRow& row = rows_[r];
      const uint64_t bit = uint64_t{1} << (r % 64);
      const bool had = (has[r / 64] & bit) != 0;
      const bool shown = row.live != 0 && in_reach(row, position, had);
      if (!shown && !had) continue;
      if (shown && had && row.epoch <= seen.epoch) continue;
      if (shown) {
        has[r / 64] |= bit;
      } else {
        has[r / 64] &= ~bit;
      }
      tell(row, shown);
    }
    seen.epoch = epoch_;
    seen.x = position[0];
    seen.z = position[2];
  }

  uint32_t count() const { return live_; }
  uint64_t memory_bytes() const {
    return rows_.bytes() + by_home_.bytes() + free_.bytes() + seen_.bytes() + has_.bytes();
  }

 private:
  struct Seen {
    uint64_t epoch;  // 0: nothing yet
    int32_t x, z;
  };
  // Who has a place keeps it a little longer than its radius: nobody at the rim flickers.
  static bool in_reach(const BoardRow& row, const int32_t position[3], bool had) {
    if (row.scope != Scope::kPlace) return true;
    const int64_t radius = int64_t{row.radius} + (had ? row.radius / 8 : 0);
    const int64_t dx = int64_t{position[0]} - row.position[0];
    const int64_t dz = int64_t{position[2]} - row.position[2];
    return dx * dx + dz * dz <= radius * radius;
  }

  uint32_t words_;  // of a connection's bits
  mem::MappedArray<BoardRow> rows_;
  mem::MappedArray<uint32_t> by_home_;  // row + 1; 0: none
  mem::MappedArray<uint32_t> free_;     // ring, the row that was freed first is taken first
  uint32_t free_head_ = 0, free_count_ = 0;
  uint32_t used_ = 0;  // rows ever used
  uint32_t live_ = 0, places_ = 0;
  uint64_t epoch_ = 1;
  uint64_t forgotten_ = 0;  // who was told of less than this epoch may have rows of gone states
  mem::MappedArray<Seen> seen_;
  mem::MappedArray<uint64_t> has_;
};

}  // namespace tidegate::state
