// SPDX-License-Identifier: Apache-2.0
// Payloads of topics and presence (protocol.md) as plain structs, beside wire/messages.h and by its
// rules: strings and bytes are borrowed, decode() returns false when the bytes are not such a
// message, encode() writes the fields.
// Thread: any. Owner: borrows. Limits: the caller's buffer.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/envelope.h"
#include "wire/pb.h"

namespace tidegate::wire {

struct Subscribe {
  std::string_view topic;
  uint64_t replay_from = 0;  // 0: only what is new
};

struct Unsubscribe {
  std::string_view topic;
};

struct Publish {
  std::string_view topic;
  base::Bytes data;
  uint32_t event_type = 0;
};

struct Event {
  std::string_view topic;
  uint64_t offset = 0;
  uint32_t event_type = 0;
  uint32_t version = 0;
  std::string_view source_user;
  base::Bytes data;
  int64_t timestamp = 0;  // Unix ms
};

struct Reply {
  uint64_t request_sequence = 0;
  uint32_t code = 0;
  std::string_view message;
};

enum class PlayerStatus : uint8_t {
  kUnknown = 0,
  kOnline = 1,
  kAway = 2,
  kBusy = 3,
  kInvisible = 4,
  kOffline = 5
};

struct PlayerStatusChange {
  std::string_view player_id;
  uint32_t old_status = 0;
  uint32_t new_status = 0;
  std::string_view reason;
};

struct PresenceUpdate {
  std::string_view user_id;
  uint32_t status = 0;
  std::string_view custom_status;
  int64_t last_seen = 0;  // Unix ms
  std::string_view zone_id;
  std::string_view region;
};

bool decode(base::Bytes bytes, Subscribe* out);
bool decode(base::Bytes bytes, Unsubscribe* out);
bool decode(base::Bytes bytes, Publish* out);
bool decode(base::Bytes bytes, Event* out);
bool decode(base::Bytes bytes, Reply* out);
bool decode(base::Bytes bytes, PlayerStatusChange* out);
bool decode(base::Bytes bytes, PresenceUpdate* out);
// Calls visit(std::string_view) for each user id of a PresenceSubscribe until it answers false;
// false also when the bytes are malformed.
template <class Visit>
bool decode_presence_subscribe(base::Bytes bytes, Visit&& visit);

void encode(PbWriter& out, const Subscribe& m);
void encode(PbWriter& out, const Unsubscribe& m);
void encode(PbWriter& out, const Publish& m);
void encode(PbWriter& out, const Event& m);
void encode(PbWriter& out, const Reply& m);
void encode(PbWriter& out, const PlayerStatusChange& m);
void encode(PbWriter& out, const PresenceUpdate& m);

template <class Visit>
bool decode_presence_subscribe(base::Bytes bytes, Visit&& visit) {
  PbReader in(bytes);
  while (in.next()) {
    if (in.field() != 1) continue;
    if (!in.is(WireType::kBytes) || !is_utf8(in.text()) || !visit(in.text())) return false;
  }
  return !in.failed();
}

}  // namespace tidegate::wire
