// SPDX-License-Identifier: Apache-2.0
#include "wire/messages.h"

#include "wire/bits.h"
#include "wire/envelope.h"

namespace tidegate::wire {
namespace {

// Keys of ConnectionEstablished.features.
constexpr std::string_view kCellSize = "cell_size";
constexpr std::string_view kSteerSpeed = "steer_speed";
constexpr std::string_view kSteerDelay = "steer_delay";
constexpr std::string_view kCompression = "compression";
constexpr std::string_view kZstdDictionary = "zstd_dictionary";

// One field's value into a member, with the check of its wire type; false: malformed.
class Field {
 public:
  explicit Field(const PbReader& reader) : r_(reader) {}
  bool to(uint32_t* v) const {
    return r_.is(WireType::kVarint) && (*v = static_cast<uint32_t>(r_.varint()), true);
  }
  bool to(uint64_t* v) const { return r_.is(WireType::kVarint) && (*v = r_.varint(), true); }
  bool to(int64_t* v) const {
    return r_.is(WireType::kVarint) && (*v = static_cast<int64_t>(r_.varint()), true);
  }
  bool to(bool* v) const { return r_.is(WireType::kVarint) && (*v = r_.varint() != 0, true); }
  bool to(float* v) const { return r_.is(WireType::kFixed32) && (*v = r_.number(), true); }
  bool to(std::string_view* v) const { return r_.is(WireType::kBytes) && is_utf8(*v = r_.text()); }
  bool to(base::Bytes* v) const { return r_.is(WireType::kBytes) && (*v = r_.bytes(), true); }
  bool zigzag_to(int32_t* v) const {
    return r_.is(WireType::kVarint) && (*v = unzigzag(static_cast<uint32_t>(r_.varint())), true);
  }
  bool fixed_to(uint64_t* v) const {
    return r_.is(WireType::kFixed64) && (*v = r_.fixed64(), true);
  }
  bool to(Vector3* v) const;
  bool to(Quaternion* v) const;

 private:
  const PbReader& r_;
};

// Calls visit(field number, Field) for each field; it answers false for a malformed one.
template <class Visit>
bool for_fields(base::Bytes bytes, Visit&& visit) {
  PbReader reader(bytes);
  while (reader.next()) {
    if (!visit(reader.field(), Field(reader))) return false;
  }
  return !reader.failed();
}

// A field that comes again is merged by protobuf; so members are not reset here.
bool Field::to(Vector3* v) const {
  return r_.is(WireType::kBytes) && for_fields(r_.bytes(), [v](uint32_t n, const Field& f) {
           switch (n) {
             case 1:
               return f.to(&v->x);
             case 2:
               return f.to(&v->y);
             case 3:
               return f.to(&v->z);
             default:
               return true;
           }
         });
}

// An entry of the map `features`: what is known of it goes into `m`.
bool read_feature(const Field& field, ConnectionEstablished* m) {
  base::Bytes entry;
  std::string_view parts[2];
  if (!field.to(&entry) || !for_fields(entry, [&](uint32_t n, const Field& f) {
        std::string_view text;
        return n > 2 || f.to(n == 1 ? &parts[0] : n == 2 ? &parts[1] : &text);
      })) {
    return false;
  }
  if (parts[0] == kCellSize) m->cell_size = parts[1];
  if (parts[0] == kSteerSpeed) m->steer_speed = parts[1];
  if (parts[0] == kSteerDelay) m->steer_delay = parts[1];
  if (parts[0] == kCompression) m->compression = parts[1];
  if (parts[0] == kZstdDictionary) m->zstd_dictionary = parts[1];
  return true;
}

void write_feature(PbWriter& out, std::string_view key, std::string_view value) {
  if (value.empty()) return;
  const size_t mark = out.begin(5);
  out.text(1, key);
  out.text(2, value);
  out.end(mark);
}

bool Field::to(Quaternion* q) const {
  return r_.is(WireType::kBytes) && for_fields(r_.bytes(), [q](uint32_t n, const Field& f) {
           switch (n) {
             case 1:
               return f.to(&q->x);
             case 2:
               return f.to(&q->y);
             case 3:
               return f.to(&q->z);
             case 4:
               return f.to(&q->w);
             default:
               return true;
           }
         });
}

}  // namespace

bool decode(base::Bytes bytes, Disconnect* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->code);
      case 2:
        return f.to(&m->reason);
      case 3:
        return f.to(&m->reconnect_url);
      case 4:
        return f.to(&m->retry_after_ms);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, ClientHello* m) {
  *m = {};
  PbReader reader(bytes);
  while (reader.next()) {
    const Field f(reader);
    bool good = true;
    switch (reader.field()) {
      case 1:
        good = f.to(&m->client_version);
        break;
      case 2:
        good = f.to(&m->state_encoding);
        break;
      case 3:
        good = f.to(&m->view_distance);
        break;
      case 4:
        if (reader.is(WireType::kVarint)) {
          if (reader.varint() < 32) m->compression |= 1u << reader.varint();
        } else if (reader.is(WireType::kBytes)) {  // packed
          uint64_t v = 0;
          uint32_t shift = 0;
          for (uint8_t b : reader.bytes()) {  // varints; values without a bit are passed over
            if (shift > 63) {
              good = false;
              break;
            }
            v |= uint64_t{b & 0x7fu} << shift;
            shift += 7;
            if (b >= 0x80) continue;
            if (v < 32) m->compression |= 1u << v;
            v = 0;
            shift = 0;
          }
          if (shift != 0) good = false;
        } else {
          good = false;
        }
        break;
      case 5:
        good = f.to(&m->max_bytes_per_second);
        break;
      case 6:
        good = f.to(&m->zstd_dictionary);
        break;
      default:
        break;
    }
    if (!good) return false;
  }
  return !reader.failed();
}

bool decode(base::Bytes bytes, PlayerMovement* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        m->has_position = true;
        return f.to(&m->position);
      case 2:
        m->has_rotation = true;
        return f.to(&m->rotation);
      case 3:
        m->has_velocity = true;
        return f.to(&m->velocity);
      case 4:
        return f.to(&m->movement_flags);
      case 5:
        return f.to(&m->client_tick);
      case 6:
        return f.to(&m->client_time);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, PlayerSteer* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    if (n == 1) return f.to(&m->client_tick);
    if (n == 2) return f.to(&m->samples);
    if (n == 3) return f.to(&m->wait);
    return true;
  });
}

bool decode(base::Bytes bytes, PlayerStateUpdate* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->player_id);
      case 2:
        m->has_position = true;
        return f.to(&m->position);
      case 3:
        m->has_rotation = true;
        return f.to(&m->rotation);
      case 4:
        m->has_velocity = true;
        return f.to(&m->velocity);
      case 5:
        return f.to(&m->state_flags);
      case 6:
        return f.to(&m->timestamp);
      case 7:
        return f.to(&m->tick);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, PlayerStateDelta* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->player_id);
      case 2:
        return f.to(&m->changed_fields);
      case 3:
        return f.to(&m->position);
      case 4:
        return f.to(&m->rotation);
      case 5:
        return f.to(&m->velocity);
      case 6:
        return f.to(&m->state_flags);
      case 7:
        return f.to(&m->timestamp);
      case 8:
        return f.to(&m->base_tick);
      case 9:
        return f.to(&m->delta_tick);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, CellReport* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.zigzag_to(&m->cell_x);
      case 2:
        return f.zigzag_to(&m->cell_z);
      case 3:
        return f.to(&m->epoch);
      case 4:
        return f.to(&m->frame);
      case 5:
        return f.to(&m->tick);
      case 6:
        return f.fixed_to(&m->checksum);
      case 7:
        return f.fixed_to(&m->expected);
      case 8:
        return f.to(&m->members);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, TimeSync* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->server_time);
      case 2:
        return f.to(&m->server_tick);
      case 3:
        return f.to(&m->client_time);
      case 4:
        return f.to(&m->latency_ms);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, ConnectionEstablished* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->session_id);
      case 2:
        return f.to(&m->server_version);
      case 3:
        return f.to(&m->server_time);
      case 4:
        return f.to(&m->heartbeat_interval);
      case 5:
        return read_feature(f, m);
      case 6:
        return f.to(&m->resume_token);
      case 7:
        return f.to(&m->tick_rate);
      case 8:
        return f.to(&m->server_tick);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, AuthenticationResult* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->success);
      case 2:
        return f.to(&m->user_id);
      case 3:
        return f.to(&m->character_id);
      case 4:
        return f.to(&m->error_message);
      case 5: {
        std::string_view permission;
        if (!f.to(&permission)) return false;
        if (m->permissions.empty()) m->permissions = permission;
        return true;
      }
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, ErrorNotification* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->code);
      case 2:
        return f.to(&m->message);
      case 3:
        return f.to(&m->details);
      case 4:
        return f.to(&m->fatal);
      case 5:
        return f.to(&m->request_id);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, ResumeResult* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->resumed);
      case 2:
        return f.to(&m->reason);
      case 3:
        return f.to(&m->replayed);
      case 4:
        return f.to(&m->last_client_sequence);
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, TokenRefresh* m) {
  *m = {};
  return for_fields(bytes,
                    [m](uint32_t n, const Field& f) { return n == 1 ? f.to(&m->token) : true; });
}

bool decode(base::Bytes bytes, TokenStatus* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->accepted);
      case 2:
        return f.to(&m->expires_at);
      case 3:
        return f.to(&m->reason);
      case 4: {
        std::string_view permission;
        if (!f.to(&permission)) return false;
        if (m->permissions.empty()) m->permissions = permission;
        return true;
      }
      default:
        return true;
    }
  });
}

bool decode(base::Bytes bytes, MoveAck* m) {
  *m = {};
  return for_fields(bytes, [m](uint32_t n, const Field& f) {
    switch (n) {
      case 1:
        return f.to(&m->client_tick);
      case 2:
        return f.to(&m->server_tick);
      case 3:
        return f.to(&m->position);
      case 4:
        return f.to(&m->velocity);
      case 5:
        return f.to(&m->corrected);
      case 6:
        return f.to(&m->reason);
      case 7:
        return f.to(&m->buffered);
      default:
        return true;
    }
  });
}

void encode_vector(PbWriter& out, uint32_t field, const Vector3& v) {
  const size_t mark = out.begin(field);
  out.number(1, v.x);
  out.number(2, v.y);
  out.number(3, v.z);
  out.end(mark);
}

void encode_rotation(PbWriter& out, uint32_t field, const Quaternion& q) {
  const size_t mark = out.begin(field);
  out.number(1, q.x);
  out.number(2, q.y);
  out.number(3, q.z);
  out.number(4, q.w);
  out.end(mark);
}

void encode(PbWriter& out, const Disconnect& m) {
  out.varint(1, m.code);
  out.text(2, m.reason);
  out.text(3, m.reconnect_url);
  out.varint(4, m.retry_after_ms);
}

void encode(PbWriter& out, const ClientHello& m) {
  out.text(1, m.client_version);
  out.varint(2, m.state_encoding);
  out.number(3, m.view_distance);
  if (m.compression != 0) {
    const size_t mark = out.begin(4);
    for (uint32_t i = 0; i < 32; ++i) {
      if (m.compression >> i & 1) out.raw_varint(i);
    }
    out.end(mark);
  }
  out.varint(5, m.max_bytes_per_second);
  out.varint(6, m.zstd_dictionary);
}

void encode(PbWriter& out, const PlayerMovement& m) {
  if (m.has_position) encode_vector(out, 1, m.position);
  if (m.has_rotation) encode_rotation(out, 2, m.rotation);
  if (m.has_velocity) encode_vector(out, 3, m.velocity);
  out.varint(4, m.movement_flags);
  out.varint(5, m.client_tick);
  out.int64(6, m.client_time);
}

void encode(PbWriter& out, const PlayerSteer& m) {
  out.varint(1, m.client_tick);
  out.bytes(2, m.samples);
  out.varint(3, m.wait);
}

void encode(PbWriter& out, const PlayerStateUpdate& m) {
  out.text(1, m.player_id);
  if (m.has_position) encode_vector(out, 2, m.position);
  if (m.has_rotation) encode_rotation(out, 3, m.rotation);
  if (m.has_velocity) encode_vector(out, 4, m.velocity);
  out.varint(5, m.state_flags);
  out.int64(6, m.timestamp);
  out.varint(7, m.tick);
}

void encode(PbWriter& out, const PlayerStateDelta& m) {
  out.text(1, m.player_id);
  out.varint(2, m.changed_fields);
  if (m.changed_fields & kChangedPosition) encode_vector(out, 3, m.position);
  if (m.changed_fields & kChangedRotation) encode_rotation(out, 4, m.rotation);
  if (m.changed_fields & kChangedVelocity) encode_vector(out, 5, m.velocity);
  // Optional in the schema: present when it changed, also to 0.
  if (m.changed_fields & kChangedFlags) out.put_varint(6, m.state_flags);
  out.int64(7, m.timestamp);
  out.varint(8, m.base_tick);
  out.varint(9, m.delta_tick);
}

void encode(PbWriter& out, const CellReport& m) {
  out.varint(1, zigzag(m.cell_x));
  out.varint(2, zigzag(m.cell_z));
  out.varint(3, m.epoch);
  out.varint(4, m.frame);
  out.varint(5, m.tick);
  out.fixed64(6, m.checksum);
  out.fixed64(7, m.expected);
  out.bytes(8, m.members);
}

void encode(PbWriter& out, const TimeSync& m) {
  out.int64(1, m.server_time);
  out.varint(2, m.server_tick);
  out.int64(3, m.client_time);
  out.varint(4, m.latency_ms);
}

void encode(PbWriter& out, const ConnectionEstablished& m) {
  out.text(1, m.session_id);
  out.text(2, m.server_version);
  out.int64(3, m.server_time);
  out.varint(4, m.heartbeat_interval);
  write_feature(out, kCellSize, m.cell_size);
  write_feature(out, kSteerSpeed, m.steer_speed);
  write_feature(out, kSteerDelay, m.steer_delay);
  write_feature(out, kCompression, m.compression);
  write_feature(out, kZstdDictionary, m.zstd_dictionary);
  out.text(6, m.resume_token);
  out.varint(7, m.tick_rate);
  out.varint(8, m.server_tick);
}

// One entry for each word.
static void encode_words(PbWriter& out, uint32_t field, std::string_view rest) {
  while (!rest.empty()) {
    const size_t space = rest.find(' ');
    out.text(field, rest.substr(0, space));
    if (space == std::string_view::npos) break;
    rest.remove_prefix(space + 1);
  }
}

void encode(PbWriter& out, const AuthenticationResult& m) {
  out.boolean(1, m.success);
  out.text(2, m.user_id);
  out.text(3, m.character_id);
  out.text(4, m.error_message);
  encode_words(out, 5, m.permissions);
}

void encode(PbWriter& out, const TokenRefresh& m) { out.text(1, m.token); }

void encode(PbWriter& out, const TokenStatus& m) {
  out.boolean(1, m.accepted);
  out.int64(2, m.expires_at);
  out.text(3, m.reason);
  encode_words(out, 4, m.permissions);
}

void encode(PbWriter& out, const ErrorNotification& m) {
  out.varint(1, m.code);
  out.text(2, m.message);
  out.text(3, m.details);
  out.boolean(4, m.fatal);
  out.text(5, m.request_id);
}

void encode(PbWriter& out, const ResumeResult& m) {
  out.boolean(1, m.resumed);
  out.text(2, m.reason);
  out.varint(3, m.replayed);
  out.varint(4, m.last_client_sequence);
}

void encode(PbWriter& out, const MoveAck& m) {
  out.varint(1, m.client_tick);
  out.varint(2, m.server_tick);
  encode_vector(out, 3, m.position);
  encode_vector(out, 4, m.velocity);
  out.boolean(5, m.corrected);
  out.varint(6, m.reason);
  out.varint(7, m.buffered);
}

}  // namespace tidegate::wire
