// SPDX-License-Identifier: Apache-2.0
// A WORLD_STATE or ZONE_UPDATE that is too long for one message in another encoding, cut into
// several that mean the same: the first keeps what is there once, the entities follow in order, and
// what comes behind the first piece of a WORLD_STATE are ZONE_UPDATEs with spawns.
// Thread: any. Owner: borrows payload and scratch. Limits: a piece fits `scratch`.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/message_types.h"
#include "wire/pb.h"

namespace tidegate::wire {

constexpr bool is_state(uint32_t type) {
  return type == static_cast<uint32_t>(MessageType::kWorldState) ||
         type == static_cast<uint32_t>(MessageType::kZoneUpdate);
}

class StatePieces {
 public:
  StatePieces(MessageType type, base::Bytes payload, base::MutableBytes scratch);

  struct Piece {
    MessageType type;
    base::Bytes payload;
    uint32_t entries;  // of lists; 1: it cannot be cut further
  };
  // A piece with entries of up to `bytes` bytes, at least one of them. False: nothing is left, or
  // the payload is malformed.
  bool next(uint32_t bytes, Piece* out);
  // The last piece was too long: the next call begins where it began.
  void again() { at_ = before_; }

 private:
  bool is_entry(uint32_t field) const;
  void put_entry(PbWriter& out, const PbReader& field, bool first) const;

  bool world_;
  base::Bytes payload_;
  base::MutableBytes scratch_;
  base::Bytes zone_;
  size_t at_ = 0;      // offset of what was not cut off yet
  size_t before_ = 0;  // the same before the last piece
};

}  // namespace tidegate::wire
