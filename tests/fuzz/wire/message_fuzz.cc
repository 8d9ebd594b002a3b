// SPDX-License-Identifier: Apache-2.0
// Bytes from a peer through frames, envelope and every payload decoder. What decodes is encoded and
// decoded again: the second encoding must equal the first. First byte: 0 the rest is a WebSocket
// message, else the rest is one payload.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "wire/envelope.h"
#include "wire/event_messages.h"
#include "wire/messages.h"
#include "wire/social_messages.h"
#include "wire/state_messages.h"

namespace {

using namespace tidegate;

template <class T>
void check(base::Bytes payload) {
  T first;
  if (!wire::decode(payload, &first)) return;
  // Every field at its longest, and nested lengths that were padded shorter: never above this.
  std::vector<uint8_t> room(payload.size() * 2 + 256);
  wire::PbWriter writer(room);
  wire::encode(writer, first);
  if (writer.overflow()) std::abort();
  T second;
  if (!wire::decode(writer.written(), &second)) std::abort();
  std::vector<uint8_t> again(room.size());
  wire::PbWriter rewriter(again);
  wire::encode(rewriter, second);
  if (rewriter.size() != writer.size() ||
      std::memcmp(room.data(), again.data(), writer.size()) != 0) {
    std::abort();
  }
}

void check_payload(base::Bytes payload) {
  check<wire::Disconnect>(payload);
  check<wire::ClientHello>(payload);
  check<wire::PlayerMovement>(payload);
  check<wire::PlayerStateUpdate>(payload);
  check<wire::TimeSync>(payload);
  check<wire::CellReport>(payload);
  check<wire::ConnectionEstablished>(payload);
  check<wire::ErrorNotification>(payload);
  check<wire::ResumeResult>(payload);
  check<wire::TokenRefresh>(payload);
  check<wire::MoveAck>(payload);
  check<wire::Subscribe>(payload);
  check<wire::Publish>(payload);
  check<wire::Event>(payload);
  check<wire::Reply>(payload);
  check<wire::PlayerStatusChange>(payload);
  check<wire::PresenceUpdate>(payload);
  check<wire::GroupRequest>(payload);
  check<wire::GroupEvent>(payload);
  uint32_t sharing = 0;
  size_t ids = 0;
  static_cast<void>(
      wire::decode_social_update(payload, &sharing, [&](uint32_t field, std::string_view id) {
        if (field < 2 || field > 7) std::abort();
        ids += id.size();
      }));
  if (ids > payload.size()) std::abort();
  check<wire::StateChange>(payload);
  check<wire::StateResult>(payload);
  // The encoders of these leave out what changed_fields does not name, and split permissions at
  // spaces, so a second encoding may differ: only their decoders are tried.
  wire::PlayerStateDelta delta;
  static_cast<void>(wire::decode(payload, &delta));
  wire::AuthenticationResult result;
  static_cast<void>(wire::decode(payload, &result));
  wire::TokenStatus status;
  static_cast<void>(wire::decode(payload, &status));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const base::Bytes input(data + 1, size - 1);
  if (data[0] != 0) {
    check_payload(input);
    return 0;
  }
  wire::FrameReader frames(input);
  base::Bytes body;
  while (frames.next(&body) == wire::FrameStatus::kFrame) {
    wire::Envelope envelope;
    if (wire::decode_envelope(body, &envelope)) check_payload(envelope.payload);
  }
  return 0;
}
