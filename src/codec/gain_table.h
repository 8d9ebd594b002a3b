// SPDX-License-Identifier: Apache-2.0
// Whether packing pays, measured for each type of message: a type whose payloads come out hardly
// smaller is left alone, and tried again now and then, because games change what they send.
// Thread: as its owner. Owner: values. Limits: kTypes rows; two types that share one are judged
// together.
#pragma once

#include <cstdint>

namespace tidegate::codec {

class GainTable {
 public:
  static constexpr uint32_t kTypes = 256;
  static constexpr uint32_t kTries = 4;        // bad ones in a row before a type is left alone
  static constexpr uint32_t kPauseMin = 64;    // messages that pass then; doubles with each
  static constexpr uint32_t kPauseMax = 4096;  // further failure up to this
  // A packed payload of more than this part of the raw one is bad.
  static constexpr uint32_t kGoodPercent = 90;

  // Whether this message is to be packed.
  bool wants(uint32_t type) {
    Row& row = rows_[type % kTypes];
    if (row.pause == 0) return true;
    --row.pause;
    return false;
  }
  // What came of it; packed 0: it did not become smaller.
  void note(uint32_t type, uint32_t raw, uint32_t packed);
  // Types that are left alone just now.
  uint32_t paused() const;

 private:
  struct Row {
    uint16_t pause = 0;  // messages to pass
    uint16_t next = 0;   // ... the next time; 0: kPauseMin
    uint8_t bad = 0;     // in a row
  };
  Row rows_[kTypes];
};

}  // namespace tidegate::codec
