// SPDX-License-Identifier: Apache-2.0
#include "shard/identities.h"

#include <cstring>

namespace tidegate::shard {

uint32_t Identities::store(const IdentityView& identity) {
  const std::string_view player =
      identity.player == identity.user ? std::string_view{} : identity.player;
  const size_t need =
      sizeof(Header) + identity.user.size() + player.size() + identity.permissions.size();
  if (need > kLargeBytes) return kNone;
  uint32_t id = kNone;
  if (need <= kSmallBytes) {
    id = small_.allocate();
  }
  if (id == kNone) {
    const uint32_t block = large_.allocate();
    if (block == mem::BlockPool::kNone) return kNone;
    id = block | kLargeBit;
  }
  const Header header{static_cast<uint16_t>(identity.user.size()),
                      static_cast<uint16_t>(player.size()),
                      static_cast<uint16_t>(identity.permissions.size())};
  uint8_t* p = data(id);
  std::memcpy(p, &header, sizeof header);
  p += sizeof header;
  for (std::string_view part : {identity.user, player, identity.permissions}) {
    if (!part.empty()) std::memcpy(p, part.data(), part.size());
    p += part.size();
  }
  return id;
}

IdentityView Identities::view(uint32_t id) {
  Header header;
  const uint8_t* p = data(id);
  std::memcpy(&header, p, sizeof header);
  const char* text = reinterpret_cast<const char*>(p + sizeof header);
  IdentityView v;
  v.user = {text, header.user_bytes};
  v.player = header.player_bytes == 0
                 ? v.user
                 : std::string_view{text + header.user_bytes, header.player_bytes};
  v.permissions = {text + header.user_bytes + header.player_bytes, header.permission_bytes};
  return v;
}

void Identities::free(uint32_t id) {
  if (id == kNone) return;
  if (id & kLargeBit) {
    large_.free(id & ~kLargeBit);
  } else {
    small_.free(id);
  }
}

}  // namespace tidegate::shard
