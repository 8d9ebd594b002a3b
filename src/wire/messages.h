// SPDX-License-Identifier: Apache-2.0
// Payloads of protocol.md as plain structs; strings and bytes are borrowed from the input. decode()
// returns false when the bytes are not such a message (ERROR 4002) and leaves checks of meaning
// (finite numbers, ranges: ERROR 4003) to the caller. encode() writes the fields into a payload.
// Thread: any. Owner: borrows. Limits: the caller's buffer.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/pb.h"

namespace tidegate::wire {

struct Vector3 {
  float x = 0, y = 0, z = 0;
  bool finite() const { return std::isfinite(x) && std::isfinite(y) && std::isfinite(z); }
};
struct Quaternion {
  float x = 0, y = 0, z = 0, w = 0;
  bool finite() const {
    return std::isfinite(x) && std::isfinite(y) && std::isfinite(z) && std::isfinite(w);
  }
};

enum class StateEncoding : uint8_t { kProtobuf = 0, kPacked = 1 };

struct Disconnect {
  uint32_t code = 0;
  std::string_view reason;
  std::string_view reconnect_url;
  uint32_t retry_after_ms = 0;
};

struct ClientHello {
  std::string_view client_version;
  uint32_t state_encoding = 0;
  float view_distance = 0;   // metres
  uint32_t compression = 0;  // bit n: enum value n was listed
  uint32_t max_bytes_per_second = 0;
  uint32_t zstd_dictionary = 0;  // id of the one it has
};

struct PlayerMovement {
  Vector3 position;
  Quaternion rotation;
  Vector3 velocity;
  uint32_t movement_flags = 0;
  uint32_t client_tick = 0;
  int64_t client_time = 0;
  bool has_position = false, has_rotation = false, has_velocity = false;
};

struct PlayerSteer {
  uint32_t client_tick = 0;  // of the first sample
  base::Bytes samples;       // wire/steer.h
  uint32_t wait = 0;         // ticks that samples should wait at the server; 0: as told before
};

struct PlayerStateUpdate {
  std::string_view player_id;
  Vector3 position;
  Quaternion rotation;
  Vector3 velocity;
  uint32_t state_flags = 0;
  int64_t timestamp = 0;
  uint32_t tick = 0;
  bool has_position = false, has_rotation = false, has_velocity = false;
};

// changed_fields of PlayerStateDelta.
enum ChangedField : uint32_t {
  kChangedPosition = 1,
  kChangedRotation = 2,
  kChangedVelocity = 4,
  kChangedFlags = 8
};

struct PlayerStateDelta {
  std::string_view player_id;
  uint32_t changed_fields = 0;
  Vector3 position;
  Quaternion rotation;
  Vector3 velocity;
  uint32_t state_flags = 0;
  int64_t timestamp = 0;
  uint32_t base_tick = 0, delta_tick = 0;
};

// A client's checksum of one cell, and the rows it was made of when it differs from the server's.
struct CellReport {
  int32_t cell_x = 0, cell_z = 0;
  uint32_t epoch = 0, frame = 0, tick = 0;  // of the last frame applied
  uint64_t checksum = 0;                    // of the client's image
  uint64_t expected = 0;                    // that stood in the frame; 0: none did
  base::Bytes members;                      // CellRow records in ascending slots, may be cut
};

struct TimeSync {
  int64_t server_time = 0;
  uint32_t server_tick = 0;
  int64_t client_time = 0;
  uint32_t latency_ms = 0;
};

struct ConnectionEstablished {
  std::string_view session_id;
  std::string_view server_version;
  int64_t server_time = 0;
  uint32_t heartbeat_interval = 0;   // ms
  std::string_view cell_size;        // features["cell_size"], metres; empty: left out
  std::string_view compression;      // features["compression"], methods by name; empty: left out
  std::string_view zstd_dictionary;  // features["zstd_dictionary"], its id; empty: left out
  std::string_view steer_speed;      // features["steer_speed"], see wire/steer.h; empty: left out
  std::string_view steer_delay;      // features["steer_delay"], ticks; empty: left out
  std::string_view resume_token;
  uint32_t tick_rate = 0;
  uint32_t server_tick = 0;
};

struct AuthenticationResult {
  bool success = false;
  std::string_view user_id;
  std::string_view character_id;
  std::string_view error_message;
  std::string_view permissions;  // separated by spaces; one list entry each on the wire
};

struct ErrorNotification {
  uint32_t code = 0;
  std::string_view message;
  std::string_view details;
  bool fatal = false;
  std::string_view request_id;
};

struct ResumeResult {
  bool resumed = false;
  std::string_view reason;
  uint32_t replayed = 0;
  uint64_t last_client_sequence = 0;
};

struct TokenRefresh {
  std::string_view token;
};

struct TokenStatus {
  bool accepted = false;
  int64_t expires_at = 0;  // Unix seconds; 0: never
  std::string_view reason;
  std::string_view permissions;  // separated by spaces; one list entry each on the wire
};

struct MoveAck {
  uint32_t client_tick = 0;
  uint32_t server_tick = 0;
  Vector3 position;
  Vector3 velocity;
  bool corrected = false;
  uint32_t reason = 0;
  uint32_t buffered = 0;  // samples of PLAYER_STEER that wait
};

bool decode(base::Bytes bytes, Disconnect* out);
bool decode(base::Bytes bytes, ClientHello* out);
bool decode(base::Bytes bytes, PlayerMovement* out);
bool decode(base::Bytes bytes, PlayerSteer* out);
bool decode(base::Bytes bytes, PlayerStateUpdate* out);
bool decode(base::Bytes bytes, PlayerStateDelta* out);
bool decode(base::Bytes bytes, TimeSync* out);
bool decode(base::Bytes bytes, CellReport* out);
bool decode(base::Bytes bytes, ConnectionEstablished* out);
bool decode(base::Bytes bytes, AuthenticationResult* out);  // permissions: the first entry only
bool decode(base::Bytes bytes, ErrorNotification* out);
bool decode(base::Bytes bytes, ResumeResult* out);
bool decode(base::Bytes bytes, TokenRefresh* out);
bool decode(base::Bytes bytes, TokenStatus* out);  // permissions: the first entry only
bool decode(base::Bytes bytes, MoveAck* out);

void encode(PbWriter& out, const Disconnect& m);
void encode(PbWriter& out, const ClientHello& m);
void encode(PbWriter& out, const PlayerMovement& m);
void encode(PbWriter& out, const PlayerSteer& m);
void encode(PbWriter& out, const PlayerStateUpdate& m);
void encode(PbWriter& out, const PlayerStateDelta& m);
void encode(PbWriter& out, const TimeSync& m);
void encode(PbWriter& out, const CellReport& m);
void encode(PbWriter& out, const ConnectionEstablished& m);
void encode(PbWriter& out, const AuthenticationResult& m);
void encode(PbWriter& out, const ErrorNotification& m);
void encode(PbWriter& out, const ResumeResult& m);
void encode(PbWriter& out, const TokenRefresh& m);
void encode(PbWriter& out, const TokenStatus& m);
void encode(PbWriter& out, const MoveAck& m);
void encode_vector(PbWriter& out, uint32_t field, const Vector3& v);
void encode_rotation(PbWriter& out, uint32_t field, const Quaternion& q);

// Fields of WorldStateSnapshot and ZoneUpdate that hold entities.
inline constexpr uint32_t kSnapshotPlayers = 4;
inline constexpr uint32_t kSnapshotNpcs = 5;
inline constexpr uint32_t kSnapshotObjects = 6;
inline constexpr uint32_t kZoneId = 1;
inline constexpr uint32_t kZoneSpawns = 2;
inline constexpr uint32_t kZoneDespawns = 3;
inline constexpr uint32_t kZoneUpdates = 4;
inline constexpr uint32_t kZoneEnvironment = 5;

}  // namespace tidegate::wire
