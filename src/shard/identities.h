// SPDX-License-Identifier: Apache-2.0
// User id, player id and permissions of each connection, in blocks of 64 bytes or, for the long
// ones, 2 KiB, so that ten thousand ordinary players do not pay for the longest.
// Thread: shard. Owner: Shard. Limits: one block for each connection, one large for each eighth.
#pragma once

#include <cstdint>
#include <string_view>

#include "mem/block_pool.h"

namespace tidegate::shard {

struct IdentityView {
  std::string_view user;         // the token's sub
  std::string_view player;       // character_id, or the user
  std::string_view permissions;  // separated by spaces
};

class Identities {
 public:
  explicit Identities(uint32_t connections)
      : small_(connections, kSmallBytes), large_(connections / 8 + 16, kLargeBytes) {}

  static constexpr uint32_t kNone = UINT32_MAX;
  // kNone when it does not fit or no block is free.
  uint32_t store(const IdentityView& identity);
  IdentityView view(uint32_t id);
  void free(uint32_t id);
  uint64_t memory_bytes() const { return small_.memory_bytes() + large_.memory_bytes(); }

 private:
  static constexpr uint32_t kSmallBytes = 64;
  static constexpr uint32_t kLargeBytes = 2048;
  static constexpr uint32_t kLargeBit = 1u << 31;
  struct Header {  // the bytes follow; player_bytes 0: the same as the user
    uint16_t user_bytes, player_bytes, permission_bytes;
  };
  uint8_t* data(uint32_t id) {
    return id & kLargeBit ? large_.data(id & ~kLargeBit) : small_.data(id);
  }

  mem::BlockPool small_;
  mem::BlockPool large_;
};

}  // namespace tidegate::shard
