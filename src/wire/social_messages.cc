// SPDX-License-Identifier: Apache-2.0
#include "wire/social_messages.h"

namespace tidegate::wire {
namespace {

bool number(const PbReader& in, uint32_t* v) {
  *v = static_cast<uint32_t>(in.varint());
  return in.is(WireType::kVarint);
}
bool number(const PbReader& in, uint64_t* v) {
  *v = in.varint();
  return in.is(WireType::kVarint);
}
bool text(const PbReader& in, std::string_view* v) {
  if (!in.is(WireType::kBytes)) return false;
  *v = in.text();
  return is_utf8(*v);
}

}  // namespace

bool decode(base::Bytes bytes, GroupRequest* m) {
  *m = {};
  PbReader in(bytes);
  while (in.next()) {
    bool good = true;
    switch (in.field()) {
      case 1:
        good = number(in, &m->operation);
        break;
      case 2:
        good = text(in, &m->group);
        break;
      case 3:
        good = text(in, &m->user_id);
        break;
      case 4:
        good = number(in, &m->role);
        break;
      case 5:
        good = number(in, &m->access);
        break;
      default:
        break;
    }
    if (!good) return false;
  }
  return !in.failed();
}

bool decode(base::Bytes bytes, GroupEvent* m) {
  *m = {};
  PbReader in(bytes);
  while (in.next()) {
    bool good = true;
    switch (in.field()) {
      case 1:
        good = text(in, &m->group);
        break;
      case 2:
        good = number(in, &m->change);
        break;
      case 3:
        good = text(in, &m->user_id);
        break;
      case 4:
        good = text(in, &m->by_user);
        break;
      case 5:
        good = number(in, &m->role);
        break;
      case 6:
        good = number(in, &m->access);
        break;
      case 7:
        good = number(in, &m->version);
        break;
      case 8:
        good = number(in, &m->offset);
        break;
      default:
        break;
    }
    if (!good) return false;
  }
  return !in.failed();
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
