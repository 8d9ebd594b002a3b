// SPDX-License-Identifier: Apache-2.0
// The keys that session tickets are sealed with (RFC 5077 section 4). Every shard makes the same
// keys from one seed and the time, so a ticket of one is good at all others without anything being
// shared while they run: a new key comes every `rotation`, each made from the one before by a hash,
// and old ones are erased. Who reads the memory cannot open what was sealed with erased keys.
//
// Thread: the one of its owner. Owner: Engine. Limits: three keys: the previous, the current, and
// the next one for shards whose clock is a moment ahead.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/time.h"

namespace tidegate::tls {

using TicketSeed = std::array<uint8_t, 32>;  // random, the same for all shards

class TicketKeys {
 public:
  struct Key {
    uint8_t name[16];
    uint8_t cipher[32];  // AES-256-CBC
    uint8_t mac[32];     // HMAC-SHA-256
  };

  // rotation.ns must be above 0.
  TicketKeys(const TicketSeed& seed, base::Instant origin, base::Duration rotation);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // Makes the keys of this time; cheap when they are the same as before.
  void advance(base::Instant now) {
    if (now >= due_) rotate(now);
  }
  const Key& current() const { return keys_[1]; }
  // Null: none of ours, or too old.
  const Key* find(const uint8_t* name) const;

 private:
  void rotate(base::Instant now);
  void step();

  base::Duration rotation_;
  base::Instant due_;  // of the next rotation
  TicketSeed state_;   // what the key after the next one is made from
  Key keys_[3];        // previous, current, next
};

}  // namespace tidegate::tls
