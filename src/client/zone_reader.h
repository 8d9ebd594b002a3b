// SPDX-License-Identifier: Apache-2.0
// Walks the state messages in protobuf, WORLD_STATE and ZONE_UPDATE, part by part and without a
// copy: what to make of a part is the visitor's.
// Thread: any. Owner: borrows; views live as long as the payload. Limits: none of its own.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/messages.h"

namespace tidegate::client {

class ZoneVisitor {
 public:
  // Of a WORLD_STATE, before its entities.
  virtual void on_snapshot_tick(uint32_t /*tick*/) {}
  virtual void on_zone(std::string_view /*id*/) {}
  // `snapshot`: it stands in a WORLD_STATE. `custom`: empty when there is none.
  virtual void on_spawn(const wire::PlayerStateUpdate& state, uint32_t kind, base::Bytes custom,
                        bool snapshot) = 0;
  virtual void on_despawn(std::string_view name) = 0;
  virtual void on_update(const wire::PlayerStateDelta& delta, base::Bytes custom) = 0;
  virtual void on_environment(base::Bytes /*encoded*/) {}

 protected:
  ~ZoneVisitor() = default;
};

// False: malformed; the parts before were visited.
bool read_world_state(base::Bytes payload, ZoneVisitor& visitor);
bool read_zone_update(base::Bytes payload, ZoneVisitor& visitor);

}  // namespace tidegate::client
