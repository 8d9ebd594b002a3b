// SPDX-License-Identifier: Apache-2.0
// What an attack run does.
// Thread: setup. Owner: main. Limits: none.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tidegate::attack {

enum class Kind : uint8_t {
  kSilent,       // connects and says nothing
  kSlowHead,     // a request head, a byte at a time
  kGarbage,      // noise instead of a request
  kBigHead,      // a head without an end
  kBadToken,     // upgrade requests with forged tokens, one behind the other
  kConnects,     // connects and resets, as fast as it may
  kSlowMessage,  // logged in: a message that is begun and comes byte by byte
  kHalfOpen,     // logged in: never heard of again
  kPings,        // logged in: pings without pause
  kFragments,    // logged in: a message of one-byte fragments without an end
  kZeroWindow,   // logged in: asks for the world and never reads
  kNoise,        // logged in: noise instead of frames
  kNonsense,     // logged in: well-formed frames of nonsense
  kOversized,    // logged in: a message of 4 GiB is announced
  kBadText,      // logged in: text that is no UTF-8
  kBomb,         // logged in with permessage-deflate: 64 MiB of zeros in 64 KiB
  kCount,
};
inline constexpr uint32_t kKinds = static_cast<uint32_t>(Kind::kCount);

const char* name_of(Kind kind);

struct Options {
  sockaddr_in server{};
  in_addr_t source = 0;         // the attackers' address; 0: as the system chooses
  in_addr_t flood_source = 0;   // of kConnects
  std::string secret;           // to log in with
  uint32_t connections = 2000;  // at a time, spread evenly over the kinds
  double seconds = 10;
  uint32_t until_ended = 0;  // not 0: over when the server has ended so many of each kind
  double pause = 1;          // from the end of a connection to the next in its place
  double deaf = 20;          // after so long a kZeroWindow reads what came, to see its end
  std::vector<Kind> kinds;   // empty: all but kBomb
};

}  // namespace tidegate::attack
