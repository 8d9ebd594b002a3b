// SPDX-License-Identifier: Apache-2.0
// The packed state of one cell, payload of CELL_FRAME. docs/protocol.md, "Cell frames", is the
// normative text; this is its encoder, its decoder and the canonical image both sides compare.
//
// A cell is a set of members by slot. A keyframe carries all of them; a delta refers to the frame
// before it and carries who left, who entered, and for those that moved the second difference of
// their position: both sides expect the step of the last change again and only what differs from
// that is sent, in exp-Golomb bits.
//
// Thread: any. Owner: the writer borrows its output; CellImage owns its members. Limits:
// kCellSlotsMax slots, names of 64 bytes; the decoder takes any bytes and answers with a status.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "wire/bits.h"
#include "wire/limits.h"

namespace tidegate::wire {

inline constexpr uint32_t kCellSlotsMax = 65'536;

struct CellFrameHeader {
  bool keyframe = false;
  bool drop = false;          // the client forgets the cell; nothing follows
  bool has_checksum = false;  // of the image after this frame
  uint8_t layer = 0;          // 0..3
  int16_t cell_x = 0, cell_z = 0;
  uint32_t epoch = 0;      // of the cell's stream; frames of another epoch do not refer to it
  uint32_t frame = 0;      // rises by one for each frame of the cell
  uint32_t reference = 0;  // the frame a delta refers to
  uint32_t tick = 0;
  uint64_t checksum = 0;
};

// One member as a keyframe or an enter carries it.
struct CellMember {
  uint16_t slot = 0;
  uint8_t kind = 0;                  // 0 player, 1 NPC, 2 object
  uint8_t yaw = 0;                   // 256 steps
  uint32_t id = 0;                   // entity id, the same in every cell
  int32_t x = 0, y = 0, z = 0;       // steps; x and z from the cell's corner, y absolute
  int32_t predictor[3] = {0, 0, 0};  // step of the last change: x, y, z
  uint32_t flags = 0;
  std::string_view name;  // player id
};

// One member that changed. Position after = before + predictor + residual, when `moved`; the
// predictor is then the whole step. Yaw after = before + yaw_delta mod 256.
struct CellChange {
  uint16_t slot = 0;
  bool moved = false;
  bool flags_changed = false;
  uint8_t yaw_delta = 0;
  int32_t residual[3] = {0, 0, 0};
  uint32_t flags = 0;  // new value when flags_changed
};

struct CellLeave {
  uint16_t slot = 0;
  bool to_cell = false;  // it went to another cell, not out of the world
  int16_t cell_x = 0, cell_z = 0;
};

// Writes one payload. All lists ascend by slot. Each returns the bytes, 0 when `out` is too small.
size_t write_cell_keyframe(base::MutableBytes out, const CellFrameHeader& header,
                           std::span<const CellMember> members);
size_t write_cell_delta(base::MutableBytes out, const CellFrameHeader& header,
                        std::span<const CellLeave> leaves, std::span<const CellMember> enters,
                        std::span<const CellChange> changes);
size_t write_cell_drop(base::MutableBytes out, const CellFrameHeader& header);

// What a checksum says of one member: 24 bytes, little-endian, in this order.
struct CellRow {
  uint16_t slot = 0;
  uint8_t kind = 0, yaw = 0;
  uint32_t id = 0;
  int32_t x = 0, y = 0, z = 0;  // as in CellMember
  uint32_t flags = 0;
  bool operator==(const CellRow&) const = default;
};
inline constexpr size_t kCellRowBytes = 24;
void write_cell_row(uint8_t* out, const CellRow& row);
CellRow read_cell_row(const uint8_t* in);

// XXH3-64 over the rows of all members in ascending slots.
class CellChecksum {
 public:
  CellChecksum();
  ~CellChecksum();
  CellChecksum(const CellChecksum&) = delete;
  CellChecksum& operator=(const CellChecksum&) = delete;
  // Starts anew; one object serves any number of cells.
  void reset();
  void add(uint16_t slot, uint8_t kind, uint8_t yaw, uint32_t id, int32_t x, int32_t y, int32_t z,
           uint32_t flags);
  uint64_t value() const;

 private:
  void* state_;
};

enum class CellStatus : uint8_t {
  kOk,
  kMalformed,         // not a cell frame
  kMissingReference,  // a delta for a frame this image does not have: wait for a keyframe
  kChecksumMismatch,  // applied, and the image differs from the server's
};

// The receiving side: one cell as a client knows it.
class CellImage {
 public:
  struct Member {
    bool live = false;
    uint8_t kind = 0;
    uint8_t yaw = 0;
    uint32_t id = 0;
    int32_t x = 0, y = 0, z = 0;
    int32_t predictor[3] = {0, 0, 0};
    uint32_t flags = 0;
    std::string name;
  };

  // What a frame did, for clients that keep more than the image. Called while it is applied.
  class Listener {
   public:
    virtual void on_enter(const Member& member) = 0;
    virtual void on_leave(const Member& member, const CellLeave& leave) = 0;
    virtual void on_change(const Member& member) = 0;

   protected:
    ~Listener() = default;
  };

  // Applies one payload; on kMalformed and kMissingReference the image is as before, except that a
  // malformed body may leave it without a frame (has_frame() false), to be healed by a keyframe.
  CellStatus apply(base::Bytes payload, Listener* listener = nullptr);
  // Reads the header only. False: malformed.
  static bool read_header(base::Bytes payload, CellFrameHeader* out);

  bool has_frame() const { return has_frame_; }
  const CellFrameHeader& header() const { return header_; }  // of the last frame applied
  uint64_t checksum() const;
  uint32_t count() const { return count_; }
  // Fills `out` with the rows of members in ascending slots; returns how many there were room for.
  uint32_t rows(std::span<CellRow> out) const;
  // Fault injection: inverts one bit of what some member shows. Returns its slot; -1: no member.
  int32_t flip_bit(uint64_t random);
  const std::vector<Member>& slots() const { return slots_; }

 private:
  bool apply_keyframe(BitReader& in, Listener* listener);
  bool apply_delta(BitReader& in, Listener* listener);
  bool read_member(BitReader& in, uint32_t slot, Listener* listener);
  void clear(Listener* listener);

  CellFrameHeader header_;
  std::vector<Member> slots_;
  uint32_t count_ = 0;
  bool has_frame_ = false;
};

}  // namespace tidegate::wire
