// SPDX-License-Identifier: Apache-2.0
// The packed state of cells, payload of CELL_FRAME. docs/protocol.md, "Cell frames", is the
// normative text; this is its encoder, its decoder and the canonical image both sides compare.
//
// A cell is a set of members by slot. A keyframe carries all of them; a delta refers to an earlier
// frame and carries who left, who entered, and for those that moved what differs from the motion
// that both sides expect of them, in exp-Golomb bits. Layers 0 to 2 are dyadic (0 refers to the 0
// before, 1 to 0, 2 to the nearest of the two) for readers at an eighth, a quarter and half of the
// rate; layer 3 is a plain chain of every change for readers at full rate. Both kinds meet at each
// layer 0, the anchor: there a reader changes from the chain to the layers without a word.
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
#include "wire/cell_tally.h"
#include "wire/limits.h"

namespace tidegate::wire {

inline constexpr uint32_t kCellSlotsMax = 65'536;
inline constexpr uint8_t kChainLayer = 3;

struct CellFrameHeader {
  bool keyframe = false;
  bool drop = false;            // the client forgets the cell; nothing follows
  bool tracks = false;          // who holds `frame`, an anchor, is in the chain from here on
  bool has_checksum = false;    // of the image after this frame
  bool anchor = false;          // layer 3: the image after this frame is also that of layer 0
  uint8_t layer = kChainLayer;  // 0..3
  int16_t cell_x = 0, cell_z = 0;
  uint32_t epoch = 0;      // of the cell's stream; frames of another epoch do not refer to it
  uint32_t frame = 0;      // number of the image after this frame; rises with each change
  uint32_t reference = 0;  // the frame a delta refers to; in layer 3 `frame` or the one before it
  uint32_t tick = 0;       // of the message; not part of the frame
  uint64_t checksum = 0;
};

// What the chain expects of a member along one axis, in sixteenths of a step: half of what a step
// differs from the expected one goes into the speed and half into where it is thought to stand
// between two steps. A step that differs by more than one starts anew.
struct CellTrack {
  int32_t speed = 0;
  int8_t offset = 0;  // of the true place from the one told; -16..15

  int32_t expected() const { return static_cast<int32_t>(sum() + 8U) >> 4; }
  // It went `step` in all.
  void follow(int32_t step) {
    const auto miss =
        static_cast<int32_t>(static_cast<uint32_t>(step) - static_cast<uint32_t>(expected()));
    if (miss < -1 || miss > 1) return begin(step);
    const auto differs = static_cast<int32_t>((static_cast<uint32_t>(step) << 4) - sum());
    speed =
        static_cast<int32_t>(static_cast<uint32_t>(speed) + static_cast<uint32_t>(differs >> 1));
    offset = static_cast<int8_t>((differs >> 1) - differs);
  }
  // Nothing is known but this step.
  void begin(int32_t step) {
    speed = static_cast<int32_t>(static_cast<uint32_t>(step) << 4);
    offset = 0;
  }
  bool operator==(const CellTrack&) const = default;

 private:
  uint32_t sum() const {
    return static_cast<uint32_t>(speed) + static_cast<uint32_t>(int32_t{offset});
  }
};

// One member as a keyframe or an enter carries it.
struct CellMember {
  uint16_t slot = 0;
  uint8_t kind = 0;             // 0 player, 1 NPC, 2 object
  uint8_t yaw = 0;              // 256 steps
  uint8_t age = 0;              // ticks since the chain told of it, kCellAgeMax at the most
  uint32_t id = 0;              // entity id, the same in every cell
  int32_t x = 0, y = 0, z = 0;  // steps; x and z from the cell's corner, y absolute
  CellTrack track[3];           // x, y, z
  int32_t pace[3] = {0, 0, 0};  // motion between the last two anchors that differ
  uint32_t flags = 0;
  std::string_view name;  // player id
};

// The share of a member's pace that a frame of a layer expects: the whole for layer 0, half for 1,
// a quarter for 2.
constexpr int32_t expected_motion(int32_t pace, uint8_t layer) {
  return layer == 0 ? pace : layer == 1 ? (pace + 1) >> 1 : (pace + 2) >> 2;
}

// One member that changed, against the image referred to. Position after = before + expected +
// residual, when `moved`: layer 3 expects what the track says; the others
// expect their share of the pace. Yaw after = before + yaw_delta mod 256.
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

inline constexpr uint8_t kCellAgeMax = 15;
inline constexpr uint8_t kCellPeriodMax = 7;

// Members that are due: those the chain last told of `period` ticks ago (1..kCellPeriodMax), that
// neither leave nor enter in the frame, in ascending slots. Who sends its moves at a steady rate
// is among them, and then only the exceptions need to be listed.
struct CellSchedule {
  uint8_t period = 0;  // 0: not known
  std::span<const uint16_t> due;
};

// Writes one frame. All lists ascend by slot. Each returns the bytes, 0 when `out` is too small.
size_t write_cell_keyframe(base::MutableBytes out, const CellFrameHeader& header,
                           std::span<const CellMember> members);
size_t write_cell_delta(base::MutableBytes out, const CellFrameHeader& header,
                        std::span<const CellLeave> leaves, std::span<const CellMember> enters,
                        std::span<const CellChange> changes, const CellSchedule& schedule = {});
size_t write_cell_drop(base::MutableBytes out, const CellFrameHeader& header);
// What the chain expects of all members of the anchor `header.frame`: of `members` slot, age, track
// and pace count.
size_t write_cell_tracks(base::MutableBytes out, const CellFrameHeader& header,
                         std::span<const CellMember> members);

// The payload of CELL_FRAME: its layout, the tick, then frames with their lengths in front.
inline constexpr uint8_t kCellLayout = 3;
inline constexpr size_t kCellHeadBytesMax = 6;
size_t write_cell_head(base::MutableBytes out, uint32_t tick);
// Puts the length in front of the frame that stands at `out` + kCellLengthRoom and moves both
// together to the front. Returns the bytes.
inline constexpr size_t kCellLengthRoom = 3;
size_t close_cell_frame(base::MutableBytes out, size_t frame_bytes);

class CellFrames {
 public:
  explicit CellFrames(base::Bytes payload);
  // False: the end, or malformed.
  bool next(base::Bytes* frame);
  bool malformed() const { return malformed_; }
  uint32_t tick() const { return tick_; }

 private:
  base::Bytes rest_;
  uint32_t tick_ = 0;
  bool malformed_ = false;
};

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
    CellTrack track[3];
    int32_t pace[3] = {0, 0, 0};
    uint32_t flags = 0;
    uint32_t told = 0;  // tick in which the chain last told of it
    std::string name;
  };

  // What a frame did to the image as it was before it, for clients that keep more than the image.
  class Listener {
   public:
    virtual void on_enter(const Member& member) = 0;
    virtual void on_leave(const Member& member, const CellLeave& leave) = 0;
    virtual void on_change(const Member& member) = 0;

   protected:
    ~Listener() = default;
  };

  // Applies one frame of a message of `tick`; on kMalformed and kMissingReference the image is as
  // before, except that a malformed body may leave it without a frame (has_frame() false), to be
  // healed by a keyframe.
  CellStatus apply(base::Bytes frame, uint32_t tick, Listener* listener = nullptr);
  // Reads the header only. False: malformed. The number of a delta has its last 8 bits, and its
  // reference is not known: both depend on the image it is applied to.
  static bool read_header(base::Bytes frame, CellFrameHeader* out);

  // Counts the bits of all frames from now on by part; null: no more.
  void set_tally(CellTally* tally) { tally_ = tally; }

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
  // What a layer's image keeps of a member. Its identity is the slot's: a slot is not used again
  // while an image that refers to it is.
  struct Kept {
    bool live = false;
    uint8_t yaw = 0;
    int32_t x = 0, y = 0, z = 0;
    uint32_t flags = 0;
    bool operator==(const Kept&) const = default;
  };
  struct KeptImage {
    bool valid = false;
    uint32_t frame = 0;
    std::vector<Kept> members;
  };

  bool apply_keyframe(BitReader& in, Listener* listener);
  bool apply_tracks(BitReader& in);
  bool read_slots(BitReader& in, uint8_t layer, uint32_t changes);
  bool apply_delta(BitReader& in, const CellFrameHeader& header, Listener* listener);
  bool read_member(BitReader& in, uint32_t slot, Listener* listener);
  void move(Member& m, uint32_t slot, const CellFrameHeader& header, const int32_t (&residual)[3]);
  bool find_reference(const CellFrameHeader& header, Listener* listener);
  void keep(KeptImage& image, uint32_t frame);
  void restore(const KeptImage& image);
  void reach_anchor(uint32_t frame, bool fresh);
  void report_differences(Listener& listener);
  void clear(Listener* listener);
  void count_header(const CellFrameHeader& header, size_t head, size_t body);
  // What was read since the call before is of this part.
  void count(const BitReader& in, CellPart part) {
    if (tally_ == nullptr) return;
    const uint64_t at = in.position();
    tally_->bits[static_cast<uint32_t>(part)] += at - counted_;
    counted_ = at;
  }
  static Kept kept(const Member& m) { return {m.live, m.yaw, m.x, m.y, m.z, m.flags}; }

  CellFrameHeader header_;
  std::vector<Member> slots_;
  uint32_t count_ = 0;
  bool has_frame_ = false;
  bool chained_ = false;     // tracks are those of the chain: layer 3 may follow
  bool from_half_ = false;   // the frame under way refers to the image of layer 1
  KeptImage layer_[2];       // images after the last layer 0 (or anchor) and the last layer 1
  std::vector<Kept> shown_;  // before the frame under way, when it does not refer to what is shown
  bool comparing_ = false;   // ... which is so
  bool in_keyframe_ = false;
  uint32_t tick_ = 0;                    // of the frame under way
  std::vector<uint16_t> due_, changed_;  // slots, of the frame under way
  CellTally* tally_ = nullptr;
  uint64_t counted_ = 0;  // bits of the frame under way
};

}  // namespace tidegate::wire
