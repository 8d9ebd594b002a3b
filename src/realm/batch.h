// SPDX-License-Identifier: Apache-2.0
// What gateways of one world say of their entities, as bytes (docs/cluster.md, "Between gateways"):
// a head that names the world, the sender's number, its tick and its clock, and behind it records
// of entities (Kind::kStates) or blocks of cells (Kind::kAreas). Every record says how things are,
// not how they changed, so one that is lost or comes twice does no harm. Little endian, integers as
// varints.
//
// Thread: any. Owner: borrows the bytes. Limits: names of kPlayerIdBytesMax, custom state of
// kCustomBytesMax; the caller's buffer.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/time.h"
#include "world/entity_table.h"

namespace tidegate::realm {

// Entity ids of gateways that share a world: the gateway's number above, a counter below.
inline constexpr uint32_t kNumberBits = 6;
inline constexpr uint32_t kNumberMax = 63;  // 0: none
inline constexpr uint32_t kCounterBits = 26;
constexpr base::EntityId make_id(uint32_t number, uint32_t counter) {
  return {number << kCounterBits | (counter & ((1u << kCounterBits) - 1))};
}

// Stamps order the owners that an entity or a player had: quarters of a second of Unix time, and
// the owner's number, so that two never have the same. They wrap: differences count, up to 97 days.
constexpr bool newer(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }
// The stamp of who takes an entity now, newer than the one before (0: there was none).
constexpr uint32_t next_stamp(base::UnixMs now, uint32_t before, uint32_t number) {
  auto time = static_cast<uint32_t>(static_cast<uint64_t>(now) / 250);
  if (before != 0 && !newer(time << kNumberBits | number, before)) {
    time = (before >> kNumberBits) + 1;
  }
  return time << kNumberBits | number;
}

// Blocks of 4 x 4 cells: what gateways say they watch.
struct Block {
  int16_t x = 0, z = 0;
  constexpr bool operator==(const Block&) const = default;
  constexpr uint32_t packed() const { return world::CellKey{x, z}.packed(); }
};
inline constexpr int kBlockShift = 2;
constexpr Block block_of(world::CellKey cell) {
  return {static_cast<int16_t>(cell.x >> kBlockShift), static_cast<int16_t>(cell.z >> kBlockShift)};
}

enum class Kind : uint8_t { kStates = 1, kAreas = 2 };

struct Head {
  Kind kind = Kind::kStates;
  uint8_t number = 0;        // of the gateway
  uint32_t tick = 0;         // the sender's
  uint64_t world = 0;        // hash of what must be the same at all: world_key()
  base::UnixMs unix_ms = 0;  // when it was sent
};
inline constexpr uint32_t kHeadBytes = 24;

// Of what gateways must agree on to be one world.
uint64_t world_key(const world::WorldConfig& config);

struct State {
  world::Steps3 position{};
  int16_t velocity[3] = {};
  uint8_t yaw = 0;
  uint32_t flags = 0;
};

enum class RecordType : uint8_t {
  kState = 1,  // where a known entity is: id, state
  kWhole = 2,  // all of it
  kGone = 3,   // it left the world: id, stamp
};

struct Record {
  RecordType type = RecordType::kState;
  base::EntityId id{0};
  uint32_t stamp = 0;
  world::EntityKind kind = world::EntityKind::kPlayer;
  State state;
  uint64_t tag = 0;
  std::string_view name;  // of the reader: refers to its bytes
  base::Bytes custom;     // likewise
};
inline constexpr uint32_t kRecordBytesMax = 128 + world::kPlayerIdBytesMax + world::kCustomBytesMax;

class BatchWriter {
 public:
  explicit BatchWriter(base::MutableBytes room) : room_(room) {}
  void begin(const Head& head);
  // False: no room, nothing was written.
  bool put(const Record& record);
  bool put(Block block);
  uint32_t records() const { return records_; }
  base::Bytes bytes() const { return room_.first(used_); }

 private:
  base::MutableBytes room_;
  uint32_t used_ = 0;
  uint32_t records_ = 0;
};

class BatchReader {
 public:
  enum class Next : uint8_t { kOk, kEnd, kBad };
  explicit BatchReader(base::Bytes bytes) : bytes_(bytes) {}
  // False: not of this version, or cut off.
  bool head(Head* out);
  Next next(Record* out);
  Next next(Block* out);

 private:
  bool varint(uint64_t* out);
  bool zigzag(int64_t low, int64_t high, int64_t* out);
  bool u32(uint32_t* out);
  bool byte(uint8_t* out);
  bool state(State* out);
  bool view(uint32_t limit, base::Bytes* out);

  base::Bytes bytes_;
  size_t at_ = 0;
};

}  // namespace tidegate::realm
