// SPDX-License-Identifier: Apache-2.0
#include "wire/social_messages.h"

#include "wire/pb_fields.h"

namespace tidegate::wire {
bool decode(base::Bytes bytes, GroupRequest* m) {
  *m = {};
  return pb::read_fields(bytes, &m->operation, &m->group, &m->user_id, &m->role, &m->access);
}

bool decode(base::Bytes bytes, GroupEvent* m) {
  *m = {};
  return pb::read_fields(bytes, &m->group, &m->change, &m->user_id, &m->by_user, &m->role,
                         &m->access, &m->version, &m->offset);
}

void encode(PbWriter& out, const GroupRequest& m) {
  out.varint(1, m.operation);
  out.text(2, m.group);
  out.text(3, m.user_id);
  out.varint(4, m.role);
  out.varint(5, m.access);
}

void encode(PbWriter& out, const GroupEvent& m) {
  out.text(1, m.group);
  out.varint(2, m.change);
  out.text(3, m.user_id);
  out.text(4, m.by_user);
  out.varint(5, m.role);
  out.varint(6, m.access);
  out.varint(7, m.version);
  out.varint(8, m.offset);
}

void encode(PbWriter& out, const GroupMember& m) {
  out.text(1, m.user_id);
  out.varint(2, m.role);
}

}  // namespace tidegate::wire
