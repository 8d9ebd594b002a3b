// SPDX-License-Identifier: Apache-2.0
#include "wire/event_messages.h"

#include "wire/envelope.h"
#include "wire/pb_fields.h"

namespace tidegate::wire {
using pb::read_fields;

bool decode(base::Bytes bytes, Subscribe* m) {
  *m = {};
  return read_fields(bytes, &m->topic, &m->replay_from);
}
bool decode(base::Bytes bytes, Unsubscribe* m) {
  *m = {};
  return read_fields(bytes, &m->topic);
}
bool decode(base::Bytes bytes, Publish* m) {
  *m = {};
  return read_fields(bytes, &m->topic, &m->data, &m->event_type);
}
bool decode(base::Bytes bytes, Event* m) {
  *m = {};
  return read_fields(bytes, &m->topic, &m->offset, &m->event_type, &m->version, &m->source_user,
                     &m->data, &m->timestamp);
}
bool decode(base::Bytes bytes, Reply* m) {
  *m = {};
  return read_fields(bytes, &m->request_sequence, &m->code, &m->message);
}
bool decode(base::Bytes bytes, PlayerStatusChange* m) {
  *m = {};
  return read_fields(bytes, &m->player_id, &m->old_status, &m->new_status, &m->reason);
}
bool decode(base::Bytes bytes, PresenceUpdate* m) {
  *m = {};
  return read_fields(bytes, &m->user_id, &m->status, &m->custom_status, &m->last_seen, &m->zone_id,
                     &m->region);
}

void encode(PbWriter& out, const Subscribe& m) {
  out.text(1, m.topic);
  out.varint(2, m.replay_from);
}
void encode(PbWriter& out, const Unsubscribe& m) { out.text(1, m.topic); }
void encode(PbWriter& out, const Publish& m) {
  out.text(1, m.topic);
  out.bytes(2, m.data);
  out.varint(3, m.event_type);
}
void encode(PbWriter& out, const Event& m) {
  out.text(1, m.topic);
  out.varint(2, m.offset);
  out.varint(3, m.event_type);
  out.varint(4, m.version);
  out.text(5, m.source_user);
  out.bytes(6, m.data);
  out.int64(7, m.timestamp);
}
void encode(PbWriter& out, const Reply& m) {
  out.varint(1, m.request_sequence);
  out.varint(2, m.code);
  out.text(3, m.message);
}
void encode(PbWriter& out, const PlayerStatusChange& m) {
  out.text(1, m.player_id);
  out.varint(2, m.old_status);
  out.varint(3, m.new_status);
  out.text(4, m.reason);
}
void encode(PbWriter& out, const PresenceUpdate& m) {
  out.text(1, m.user_id);
  out.varint(2, m.status);
  out.text(3, m.custom_status);
  out.int64(4, m.last_seen);
  out.text(5, m.zone_id);
  out.text(6, m.region);
}

}  // namespace tidegate::wire
