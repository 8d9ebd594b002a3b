// SPDX-License-Identifier: Apache-2.0
// Bytes from a peer through the WebSocket machine, in one piece and in pieces whose sizes come
// from the input. Both must see the same events. Input: role and extension, limit, split seed, then
// the stream.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "../../unit/protocol/ws_events.h"
#include "base/prng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidegate;
  if (size < 4) return 0;
  const protocol::Role role =
      (data[0] & 1) != 0 ? protocol::Role::kClient : protocol::Role::kServer;
  const uint64_t message_bytes_max = data[1] * 16u;
  base::Prng prng(base::load_le<uint16_t>(data + 2));
  const base::Bytes stream(data + 4, size - 4);

  protocol::WsEvents whole(role, message_bytes_max);
  protocol::WsEvents pieces(role, message_bytes_max);
  if ((data[0] & 2) != 0) {
    const uint8_t window_bits = static_cast<uint8_t>(8 + (data[0] >> 4 & 7));
    const auto context =
        (data[0] & 4) != 0 ? protocol::Context::kTakeover : protocol::Context::kFresh;
    whole.speak_deflate(window_bits, context);
    pieces.speak_deflate(window_bits, context);
  }
  whole.feed(stream);
  const uint64_t piece_max = prng.chance(0.5) ? 3 : 200;
  for (size_t at = 0; at < stream.size();) {
    const size_t piece = std::min<size_t>(stream.size() - at, prng.below(piece_max) + 1);
    pieces.feed(stream.subspan(at, piece));
    at += piece;
  }
  if (pieces.lines() != whole.lines() || pieces.ended() != whole.ended()) std::abort();
  return 0;
}
