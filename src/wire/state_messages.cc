// SPDX-License-Identifier: Apache-2.0
#include "wire/state_messages.h"

#include "wire/envelope.h"
#include "wire/pb_fields.h"

namespace tidegate::wire {
namespace {

using pb::read_fields;

// A vector as a field of read_fields(); one that comes again is merged, as protobuf has it.
struct Place {
  Vector3* at;
  bool* there;
};
bool to(const PbReader& in, const Place* place) {
  *place->there = true;
  return in.is(WireType::kBytes) &&
         read_fields(in.bytes(), &place->at->x, &place->at->y, &place->at->z);
}
struct Current {
  StateEntry* entry;
  bool* there;
};
bool to(const PbReader& in, const Current* current) {
  *current->there = true;
  return in.is(WireType::kBytes) && decode(in.bytes(), current->entry);
}

}  // namespace

bool decode(base::Bytes bytes, StateEntry* m) {
  *m = {};
  const Place place{&m->position, &m->has_position};
  return read_fields(bytes, &m->key, &m->value, &m->version, &m->scope, &m->owner, &place,
                     &m->expires_in_ms, &m->removed);
}
bool decode(base::Bytes bytes, StateChange* m) {
  *m = {};
  return read_fields(bytes, &m->key, &m->value, &m->base_version, &m->scope, &m->operation,
                     &m->request);
}
bool decode(base::Bytes bytes, StateResult* m) {
  *m = {};
  const Current current{&m->current, &m->has_current};
  return read_fields(bytes, &m->request, &m->key, &m->scope, &m->reason, &m->version, &current);
}

void encode(PbWriter& out, const StateEntry& m) {
  out.text(1, m.key);
  out.bytes(2, m.value);
  out.varint(3, m.version);
  out.varint(4, m.scope);
  out.text(5, m.owner);
  if (m.has_position) encode_vector(out, 6, m.position);
  out.varint(7, m.expires_in_ms);
  out.boolean(8, m.removed);
}
void encode(PbWriter& out, const StateChange& m) {
  out.text(1, m.key);
  out.bytes(2, m.value);
  out.varint(3, m.base_version);
  out.varint(4, m.scope);
  out.varint(5, m.operation);
  out.varint(6, m.request);
}
void encode(PbWriter& out, const StateResult& m) {
  out.varint(1, m.request);
  out.text(2, m.key);
  out.varint(3, m.scope);
  out.varint(4, m.reason);
  out.varint(5, m.version);
  if (m.has_current) {
    const size_t current = out.begin(6);
    encode(out, m.current);
    out.end(current);
  }
}

}  // namespace tidegate::wire
