// SPDX-License-Identifier: Apache-2.0
// What a strict client of either encoding makes of the bytes it is sent. Every rule of protocol.md
// that a stranger may rely on is an expectation here: nothing unknown is updated or despawned,
// nothing known is spawned again, views and spawns agree.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "wire/cell_codec.h"
#include "wire/envelope.h"
#include "wire/messages.h"
#include "world/interest.h"

namespace tidegate::world::test {

struct Seen {  // one entity as a protobuf client knows it
  wire::Vector3 position, velocity;
  wire::Quaternion rotation;
  uint32_t flags = 0;
  uint32_t kind = 0;
  std::string custom = {};
};

class ClientModel {
 public:
  explicit ClientModel(bool packed, bool strict) : packed_(packed), strict_(strict) {}

  void take(const ChunkList& chunks, uint32_t tick) {
    for (uint32_t i = 0; i < chunks.count; ++i) {
      const Chunk& chunk = chunks.items[i];
      ASSERT_LE(chunk.bytes, kChunkBytesMax);
      if (packed_) {
        take_cells(chunk, tick);
        continue;
      }
      wire::FrameReader reader({chunk.data, chunk.bytes});
      base::Bytes payload;
      wire::FrameStatus status;
      while ((status = reader.next(&payload)) == wire::FrameStatus::kFrame) take_message(payload);
      ASSERT_EQ(status, wire::FrameStatus::kEnd);
    }
    EXPECT_EQ(entered_, spawned_);
    EXPECT_EQ(exited_, despawned_);
    entered_.clear(), spawned_.clear(), exited_.clear(), despawned_.clear();
  }
  void take_world(const ChunkList& world) {
    if (strict_) {
      EXPECT_FALSE(has_world_);
    }
    has_world_ = true;
    seen.clear();
    for (uint32_t i = 0; i < world.count; ++i) {
      wire::PbReader in({world.items[i].data, world.items[i].bytes});
      uint32_t records = 0;
      while (in.next()) {
        ASSERT_GE(in.field(), wire::kSnapshotPlayers);
        ASSERT_LE(in.field(), wire::kSnapshotObjects);
        spawn(in.bytes(), in.field() - wire::kSnapshotPlayers);
        ++records;
      }
      ASSERT_FALSE(in.failed());
      EXPECT_EQ(records, world.items[i].entities);
    }
    spawned_.clear();
  }

  std::map<CellKey, wire::CellImage> images;
  std::map<std::string, Seen, std::less<>> seen;
  uint64_t checksums = 0, frames = 0, customs = 0;

 private:
  void take_message(base::Bytes bytes) {
    wire::Envelope envelope;
    ASSERT_TRUE(wire::decode_envelope(bytes, &envelope));
    switch (static_cast<wire::MessageType>(envelope.type)) {
      case wire::MessageType::kZoneUpdate:
        take_zone(envelope.payload);
        break;
      case wire::MessageType::kInterestUpdate:
        take_interest(envelope.payload);
        break;
      default:
        FAIL() << "type " << envelope.type;
    }
  }

  // A chunk behind the head that the flush writes.
  void take_cells(const Chunk& chunk, uint32_t tick) {
    std::vector<uint8_t> payload(wire::kCellHeadBytesMax);
    payload.resize(wire::write_cell_head(payload, tick));
    payload.insert(payload.end(), chunk.data, chunk.data + chunk.bytes);
    wire::CellFrames cells(payload);
    base::Bytes frame;
    while (cells.next(&frame)) take_cell(frame, cells.tick());
    ASSERT_FALSE(cells.malformed());
    ASSERT_EQ(cells.tick(), tick);
  }

  void take_cell(base::Bytes payload, uint32_t tick) {
    ++frames;
    wire::CellFrameHeader h;
    ASSERT_TRUE(wire::CellImage::read_header(payload, &h));
    const CellKey key{h.cell_x, h.cell_z};
    const auto status = images[key].apply(payload, tick);
    ASSERT_EQ(static_cast<int>(status), static_cast<int>(wire::CellStatus::kOk))
        << "cell " << key.x << "," << key.z << " frame " << h.frame;
    if (h.has_checksum) ++checksums;
    if (h.drop) images.erase(key);
  }

  void spawn(base::Bytes bytes, uint32_t kind, std::string_view custom = {}) {
    wire::PlayerStateUpdate m;
    ASSERT_TRUE(wire::decode(bytes, &m));
    ASSERT_TRUE(m.has_position && m.has_rotation && m.has_velocity);
    const std::string name(m.player_id);
    if (strict_) {
      EXPECT_EQ(seen.count(name), 0u) << name << " spawned twice";
    }
    seen[name] = {m.position, m.velocity, m.rotation, m.state_flags, kind, std::string(custom)};
    spawned_.insert(name);
  }

  void take_zone(base::Bytes payload) {
    ASSERT_TRUE(!packed_ && has_world_);
    wire::PbReader zone(payload);
    while (zone.next()) {
      if (zone.field() == wire::kZoneSpawns) {
        wire::PbReader in(zone.bytes());
        base::Bytes state;
        uint32_t kind = 0;
        std::string_view custom;
        while (in.next()) {
          if (in.field() == 1) state = in.bytes();
          if (in.field() == 2) kind = static_cast<uint32_t>(in.varint());
          if (in.field() == 3) custom = in.text();
        }
        spawn(state, kind, custom);
      } else if (zone.field() == wire::kZoneDespawns) {
        const auto found = seen.find(zone.text());
        if (strict_) {
          EXPECT_NE(found, seen.end()) << zone.text() << " despawned unknown";
        }
        if (found != seen.end()) seen.erase(found);
        despawned_.insert(std::string(zone.text()));
      } else if (zone.field() == wire::kZoneUpdates) {
        wire::PbReader in(zone.bytes());
        ASSERT_TRUE(in.next());
        wire::PlayerStateDelta m;
        ASSERT_TRUE(wire::decode(in.bytes(), &m));
        const auto found = seen.find(m.player_id);
        ASSERT_NE(found, seen.end()) << m.player_id << " updated unknown";
        Seen& s = found->second;
        if (in.next()) {
          EXPECT_EQ(in.field(), 2u);
          EXPECT_FALSE(in.text().empty());
          s.custom = in.text();
          ++customs;
        } else {
          EXPECT_NE(m.changed_fields, 0u);
        }
        if (m.changed_fields & wire::kChangedPosition) s.position = m.position;
        if (m.changed_fields & wire::kChangedRotation) s.rotation = m.rotation;
        if (m.changed_fields & wire::kChangedVelocity) s.velocity = m.velocity;
        if (m.changed_fields & wire::kChangedFlags) s.flags = m.state_flags;
      }
    }
    ASSERT_FALSE(zone.failed());
  }

  void take_interest(base::Bytes payload) {
    wire::PbReader in(payload);
    while (in.next()) {
      (in.field() == 1 ? entered_ : exited_).insert(std::string(in.text()));
    }
    ASSERT_FALSE(in.failed());
  }

  bool packed_, strict_;
  bool has_world_ = false;
  std::multiset<std::string> entered_, spawned_, exited_, despawned_;  // of one message
};

}  // namespace tidegate::world::test
