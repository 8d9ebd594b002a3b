// SPDX-License-Identifier: Apache-2.0
// The client's address out of what reverse proxies say of it: X-Forwarded-For, or Forwarded (RFC
// 7239). Each proxy appends the address it was connected from, so the list is read from its end, as
// long as those who speak are trusted; what stands before was written by the client itself.
// Thread: any. Owner: borrows the text. Limits: that of the request's head.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ip.h"

namespace tidegate::protocol {

enum class ForwardedField : uint8_t { kNone, kXForwardedFor, kForwarded };

// Takes the last element off `list` and reads its address. False: no element is left, or it names
// no address (an obfuscated name, "unknown", rubbish).
[[nodiscard]] bool take_last_forwarded(ForwardedField field, std::string_view* list,
                                       base::IpAddress* out);

// The first address from the end that `trusted(address)` does not say true of, else the first of
// the list; `peer` when the list is empty.
template <class Trusted>
base::IpAddress forwarded_client(ForwardedField field, std::string_view list,
                                 const base::IpAddress& peer, Trusted&& trusted) {
  base::IpAddress client = peer;
  base::IpAddress next;
  while (trusted(client) && take_last_forwarded(field, &list, &next)) client = next;
  return client;
}

}  // namespace tidegate::protocol
