// SPDX-License-Identifier: Apache-2.0
// The golden vectors under tests/vectors/: what this code writes, for implementations in other
// languages to read. The test makes them anew and compares; after a change of the wire that is
// meant, TIDEGATE_WRITE_VECTORS=1 writes them:
//   TIDEGATE_WRITE_VECTORS=1 build/debug/tests/unit-wire --gtest_filter='Vectors.*'
#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "base/prng.h"
#include "tidegate/v1/envelope.pb.h"
#include "tidegate/v1/presence.pb.h"
#include "tidegate/v1/session.pb.h"
#include "tidegate/v1/social.pb.h"
#include "tidegate/v1/state.pb.h"
#include "tidegate/v1/world.pb.h"
#include "wire/cell_codec.h"
#include "wire/envelope.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

namespace tidegate::wire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string hex(base::Bytes bytes) {
  static const char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}
std::string hex64(uint64_t v) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(v));
  return text;
}
std::string quoted(const std::string& text) { return '"' + text + '"'; }

// One row a line, so that a difference can be read.
class Rows {
 public:
  void add(const std::string& row) {
    text_ += text_.empty() ? "\n    " : ",\n    ";
    text_ += row;
  }
  std::string list() const { return "[" + text_ + "\n  ]"; }

 private:
  std::string text_;
};

// ---- checksums: byte i of an input of n bytes is (131 i + 7 (i >> 3) + n) mod 256

std::string checksum_vectors() {
  Rows rows;
  std::vector<uint32_t> sizes;
  for (uint32_t n = 0; n <= 260; ++n) sizes.push_back(n);
  for (const uint32_t n : {511, 512, 513, 1023, 1024, 1025, 1087, 1088, 1089, 2400, 4096, 10'000}) {
    sizes.push_back(n);
  }
  for (const uint32_t n : sizes) {
    std::vector<uint8_t> input(n);
    for (uint32_t i = 0; i < n; ++i) input[i] = static_cast<uint8_t>(131 * i + 7 * (i >> 3) + n);
    rows.add("[" + std::to_string(n) + ", \"" + hex64(XXH3_64bits(input.data(), n)) + "\"]");
  }
  return rows.list();
}

// ---- payload messages: every field of every message of the schema

std::string some_text(base::Prng& r) {
  static const char* const kPieces[] = {"a",        "Zone",         "_7",
                                        "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a"};
  std::string text;
  for (uint64_t n = 1 + r.below(9); n > 0; --n) text += kPieces[r.below(6)];
  return text;
}
// Whole numbers that a JavaScript number holds.
int64_t some_number(base::Prng& r) { return static_cast<int64_t>(r.next() >> (11 + r.below(50))); }

void fill(base::Prng& r, Message* m, int depth);

void set_field(base::Prng& r, Message* m, const FieldDescriptor* f, int depth) {
  const Reflection* to = m->GetReflection();
  const bool list = f->is_repeated();
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32: {
      const uint32_t v = static_cast<uint32_t>(r.next() >> (32 + r.below(32)));
      list ? to->AddUInt32(m, f, v) : to->SetUInt32(m, f, v);
      break;
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      const int32_t v = static_cast<int32_t>(r.next() >> 32) >> r.below(32);
      list ? to->AddInt32(m, f, v) : to->SetInt32(m, f, v);
      break;
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      // A checksum uses all bits; what is a number there does not.
      const uint64_t v = f->type() == FieldDescriptor::TYPE_FIXED64
                             ? r.next()
                             : static_cast<uint64_t>(some_number(r));
      list ? to->AddUInt64(m, f, v) : to->SetUInt64(m, f, v);
      break;
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t v = r.chance(0.3) ? -some_number(r) : some_number(r);
      list ? to->AddInt64(m, f, v) : to->SetInt64(m, f, v);
      break;
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      const float v = static_cast<float>(r.between(-4'000'000, 4'000'000)) * 0.0137F;
      list ? to->AddFloat(m, f, v) : to->SetFloat(m, f, v);
      break;
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      list ? to->AddBool(m, f, true) : to->SetBool(m, f, true);
      break;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* values = f->enum_type();
      const int at = static_cast<int>(r.below(static_cast<uint64_t>(values->value_count())));
      list ? to->AddEnum(m, f, values->value(at)) : to->SetEnum(m, f, values->value(at));
      break;
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string v = some_text(r);
      if (f->type() == FieldDescriptor::TYPE_BYTES) v += '\xff';
      list ? to->AddString(m, f, v) : to->SetString(m, f, v);
      break;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      fill(r, list ? to->AddMessage(m, f) : to->MutableMessage(m, f), depth + 1);
      break;
    default:
      ADD_FAILURE() << "a kind of field that this generator does not know: " << f->full_name();
  }
}

void fill(base::Prng& r, Message* m, int depth) {
  const Descriptor* d = m->GetDescriptor();
  for (int i = 0; i < d->field_count(); ++i) {
    const FieldDescriptor* f = d->field(i);
    if (depth >= 0 && !f->is_map() && r.chance(0.15)) continue;
    // One entry a map: their order on the wire is nobody's promise.
    const uint64_t count = f->is_repeated() && !f->is_map() ? 1 + r.below(3) : 1;
    for (uint64_t n = 0; n < count; ++n) set_field(r, m, f, depth);
  }
}

std::string message_vectors() {
  Rows rows;
  base::Prng prng(1);
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  for (const auto* file :
       {tidegate::v1::NetworkMessage::descriptor()->file(),
        tidegate::v1::TimeSync::descriptor()->file(), tidegate::v1::MoveAck::descriptor()->file(),
        tidegate::v1::PresenceUpdate::descriptor()->file(),
        tidegate::v1::GroupRequest::descriptor()->file(),
        tidegate::v1::StateEntry::descriptor()->file()}) {
    for (int i = 0; i < file->message_type_count(); ++i) {
      const Descriptor* type = file->message_type(i);
      const Message* prototype =
          google::protobuf::MessageFactory::generated_factory()->GetPrototype(type);
      // Empty, full, and one with gaps.
      for (int depth = -2; depth <= 0; ++depth) {
        const std::unique_ptr<Message> m(prototype->New());
        if (depth > -2) fill(prng, m.get(), depth);
        std::string json;
        EXPECT_TRUE(google::protobuf::util::MessageToJsonString(*m, &json, options).ok());
        rows.add("[" + quoted(type->name()) + ", " +
                 quoted(hex(base::as_bytes(m->SerializeAsString()))) + ", " + json + "]");
      }
    }
  }
  return rows.list();
}

// ---- frames: bytes, the types in them, and the error code for those that are none

std::string frame_of(MessageType type, base::Bytes payload, uint64_t sequence) {
  uint8_t buffer[256];
  EnvelopeHead head;
  head.type = type;
  head.timestamp = 1'700'000'000'123;
  head.sequence = sequence;
  head.requires_ack = sequence != 0;
  MessageWriter writer(buffer, head);
  writer.payload().raw(payload.data(), payload.size());
  const uint32_t size = writer.finish();
  return {reinterpret_cast<const char*>(buffer), size};
}

std::string frame_vectors() {
  Rows rows;
  const auto add = [&](const std::string& bytes) {
    std::string types;
    int error = 0;
    FrameReader reader(base::as_bytes(bytes));
    for (;;) {
      base::Bytes payload;
      Envelope envelope;
      const FrameStatus status = reader.next(&payload);
      if (status == FrameStatus::kEnd) break;
      if (status == FrameStatus::kMalformed) error = kErrorMalformedFrame;
      if (status == FrameStatus::kVersion) error = kErrorUnsupportedVersion;
      if (status == FrameStatus::kFrame && !decode_envelope(payload, &envelope)) {
        error = kErrorMalformedMessage;
      }
      if (error != 0) break;
      types += (types.empty() ? "" : ", ") + std::to_string(envelope.type);
    }
    rows.add("[" + quoted(hex(base::as_bytes(bytes))) + ", [" + (error == 0 ? types : "") + "], " +
             std::to_string(error) + "]");
  };
  const uint8_t payload[] = {1, 2, 3, 250};
  const std::string beat = frame_of(MessageType::kHeartbeat, payload, 0);
  const std::string two = beat + frame_of(MessageType::kAck, {}, 0);
  add("");
  add(beat);
  add(two);
  add(two + frame_of(MessageType::kPublish, payload, 7));
  add(beat.substr(0, beat.size() - 1));
  add(beat + '\0');
  add(beat.substr(0, 7));
  std::string other = beat;
  other[0] = 'X';
  add(other);
  other = beat;
  other[3] = 2;
  add(other);
  other = beat;
  other[8] = '\x07';  // a wire type that does not exist
  add(other);
  return rows.list();
}

// ---- cells

struct Entity {
  uint8_t kind = 0, yaw = 0;
  uint32_t id = 0, flags = 0;
  int32_t place[3] = {};
  CellTrack track[3];    // as the reference knows it
  uint32_t told = 0;     // tick of the last frame that told of it
  int32_t pace[3] = {};  // between the last anchors that differ
  std::string name;
};
using Model = std::map<uint16_t, Entity>;

CellMember view(uint16_t slot, const Entity& e, uint32_t tick) {
  CellMember m;
  m.age = static_cast<uint8_t>(std::min<uint32_t>(tick - e.told, kCellAgeMax));
  m.slot = slot;
  m.kind = e.kind;
  m.yaw = e.yaw;
  m.id = e.id;
  m.flags = e.flags;
  m.name = e.name;
  m.x = e.place[0];
  m.y = e.place[1];
  m.z = e.place[2];
  for (int a = 0; a < 3; ++a) m.track[a] = e.track[a];
  for (int a = 0; a < 3; ++a) m.pace[a] = e.pace[a];
  return m;
}
uint64_t checksum_of(const Model& model) {
  CellChecksum sum;
  for (const auto& [slot, e] : model) {
    sum.add(slot, e.kind, e.yaw, e.id, e.place[0], e.place[1], e.place[2], e.flags);
  }
  return sum.value();
}
std::string image_of(const Model& model) {
  std::string out;
  for (const auto& [slot, e] : model) {
    if (!out.empty()) out += ", ";
    out += "[" + std::to_string(slot) + ", " + std::to_string(e.kind) + ", " +
           std::to_string(e.yaw) + ", " + std::to_string(e.id) + ", " + std::to_string(e.place[0]) +
           ", " + std::to_string(e.place[1]) + ", " + std::to_string(e.place[2]) + ", " +
           std::to_string(e.flags) + ", " + quoted(e.name) + "]";
  }
  return "[" + out + "]";
}

using Frame = std::vector<uint8_t>;

Frame keyframe(const Model& model, CellFrameHeader head) {
  std::vector<CellMember> members;
  for (const auto& [slot, e] : model) members.push_back(view(slot, e, head.tick));
  head.keyframe = true;
  head.has_checksum = true;
  head.checksum = checksum_of(model);
  Frame out(64 * 1024);
  out.resize(write_cell_keyframe(out, head, members));
  return out;
}

Frame tracks_of(const Model& model, const CellFrameHeader& head) {
  std::vector<CellMember> members;
  for (const auto& [slot, e] : model) members.push_back(view(slot, e, head.tick));
  Frame out(64 * 1024);
  out.resize(write_cell_tracks(out, head, members));
  return out;
}

// The delta from one model to another; sets the steps of `now` as the decoder will have them.
Frame delta(const Model& before, Model* now, CellFrameHeader head) {
  std::vector<CellLeave> leaves;
  std::vector<CellMember> enters;
  std::vector<CellChange> changes;
  for (const auto& [slot, e] : before) {
    const auto it = now->find(slot);
    if (it != now->end() && it->second.id == e.id) continue;
    CellLeave leave{.slot = slot, .to_cell = (e.id & 1) != 0};
    leave.cell_x = static_cast<int16_t>(head.cell_x + 1);
    leave.cell_z = head.cell_z;
    leaves.push_back(leave);
  }
  for (auto& [slot, e] : *now) {
    const auto it = before.find(slot);
    if (it == before.end() || it->second.id != e.id) {
      e.told = head.tick;
      enters.push_back(view(slot, e, head.tick));
      continue;
    }
    const Entity& was = it->second;
    CellChange c{.slot = slot};
    for (int a = 0; a < 3; ++a) c.moved |= e.place[a] != was.place[a];
    for (int a = 0; a < 3; ++a) {
      e.track[a] = was.track[a];
      if (!c.moved) continue;
      const int32_t step = e.place[a] - was.place[a];
      c.residual[a] = step - was.track[a].expected();
      e.track[a].follow(step);
    }
    c.yaw_delta = static_cast<uint8_t>(e.yaw - was.yaw);
    c.flags_changed = e.flags != was.flags;
    c.flags = e.flags;
    if (c.moved || c.yaw_delta != 0 || c.flags_changed) changes.push_back(c);
  }
  head.has_checksum = true;
  head.checksum = checksum_of(*now);
  // Of whom the chain told two ticks ago.
  std::vector<uint16_t> due;
  for (const auto& [slot, e] : before) {
    const auto it = now->find(slot);
    if (it != now->end() && it->second.id == e.id && head.tick - e.told == 2) due.push_back(slot);
  }
  for (const CellChange& c : changes) (*now)[c.slot].told = head.tick;
  Frame out(64 * 1024);
  out.resize(write_cell_delta(out, head, leaves, enters, changes, {2, due}));
  return out;
}

// The delta of a layer from `reference`; `anchor` when that is the half.
Frame layer_delta(const Model& reference, const Model* anchor, const Model& now,
                  CellFrameHeader head) {
  std::vector<CellLeave> leaves;
  std::vector<CellMember> enters;
  std::vector<CellChange> changes;
  for (const auto& [slot, e] : reference) {
    if (now.count(slot) == 0) leaves.push_back({.slot = slot, .to_cell = false});
  }
  for (const auto& [slot, e] : now) {
    const auto it = reference.find(slot);
    if (it == reference.end()) {
      enters.push_back(view(slot, e, head.tick));
      continue;
    }
    const Entity& was = it->second;
    CellChange c{.slot = slot};
    for (int a = 0; a < 3; ++a) c.moved |= e.place[a] != was.place[a];
    for (int a = 0; c.moved && a < 3; ++a) {
      const bool twice = anchor != nullptr && anchor->count(slot) != 0;
      const int32_t pace = twice ? 2 * (was.place[a] - anchor->at(slot).place[a]) : e.pace[a];
      c.residual[a] = e.place[a] - was.place[a] - expected_motion(pace, head.layer);
    }
    c.yaw_delta = static_cast<uint8_t>(e.yaw - was.yaw);
    c.flags_changed = e.flags != was.flags;
    c.flags = e.flags;
    if (c.moved || c.yaw_delta != 0 || c.flags_changed) changes.push_back(c);
  }
  head.has_checksum = true;
  head.checksum = checksum_of(now);
  Frame out(64 * 1024);
  out.resize(write_cell_delta(out, head, leaves, enters, changes));
  return out;
}

Entity some_entity(base::Prng& r, uint32_t id) {
  Entity e;
  e.kind = static_cast<uint8_t>(r.below(3));
  e.yaw = static_cast<uint8_t>(r.below(256));
  e.id = r.chance(0.1) ? UINT32_MAX - id : id;
  e.flags = r.chance(0.7) ? 0 : static_cast<uint32_t>(r.next());
  for (CellTrack& t : e.track) {
    t.speed = static_cast<int32_t>(r.between(-150, 150));
    t.offset = static_cast<int8_t>(r.chance(0.5) ? 0 : r.between(-16, 15));
  }
  e.place[0] = static_cast<int32_t>(r.below(3200));
  e.place[1] = static_cast<int32_t>(r.between(-5000, 5000));
  e.place[2] = static_cast<int32_t>(r.below(3200));
  e.name = "player-" + std::to_string(id);
  if (r.chance(0.2))
    e.name = "0123abcd-" + std::to_string(1000 + id % 9000) + "-4fed-8000-cba987654321";
  if (r.chance(0.2)) e.name += "\xc3\xa9\xf0\x9f\x8c\x8a";
  return e;
}

void evolve(base::Prng& r, Model* model, uint32_t* next_id) {
  for (auto it = model->begin(); it != model->end();) {
    if (r.chance(0.05)) {
      it = model->erase(it);
      continue;
    }
    Entity& e = it->second;
    if (r.chance(0.7)) {
      e.place[0] += static_cast<int32_t>(r.between(-9, 9));
      e.place[2] += static_cast<int32_t>(r.between(-9, 9));
      if (r.chance(0.2)) e.place[1] += static_cast<int32_t>(r.between(-400, 400));
    }
    if (r.chance(0.3)) e.yaw = static_cast<uint8_t>(r.below(256));
    if (r.chance(0.1)) e.flags = static_cast<uint32_t>(r.next() >> r.below(64));
    ++it;
  }
  while (model->size() < 10 || r.chance(0.3)) {
    const auto slot = static_cast<uint16_t>(r.chance(0.05) ? r.below(3000) : r.below(40));
    if (model->count(slot) == 0) (*model)[slot] = some_entity(r, (*next_id)++);
  }
}

const char* name_of(CellStatus status) {
  switch (status) {
    case CellStatus::kOk:
      return "ok";
    case CellStatus::kMalformed:
      return "malformed";
    case CellStatus::kMissingReference:
      return "missingReference";
    case CellStatus::kChecksumMismatch:
      return "checksumMismatch";
  }
  return "?";
}
// The frame alone in a CELL_FRAME.
Frame message_of(const Frame& frame, uint32_t tick) {
  Frame out(kCellHeadBytesMax + kCellLengthRoom + frame.size());
  const size_t head = write_cell_head(out, tick);
  const base::MutableBytes rest = base::MutableBytes(out).subspan(head);
  std::copy(frame.begin(), frame.end(), rest.begin() + kCellLengthRoom);
  out.resize(head + close_cell_frame(rest, frame.size()));
  return out;
}
std::string row(const char* status, const Frame& frame, uint32_t tick, const Model& model,
                bool whole) {
  return "[" + quoted(status) + ", " + quoted(hex(message_of(frame, tick))) + ", " +
         (whole ? image_of(model) : std::string("null")) + "]";
}

// Each frame refers to the one before; the statuses are CellImage's own. Rows: what applying the
// frame answers, a CELL_FRAME with it alone, the image afterwards (or null).
std::string chain_vectors() {
  Rows rows;
  base::Prng prng(2);
  Model model;
  uint32_t next_id = 1;
  CellImage image;
  CellFrameHeader head;
  head.cell_x = -3;
  head.cell_z = 32'767;
  head.epoch = 9;
  head.frame = UINT32_MAX - 9;  // crosses the wrap
  head.tick = 1000;
  const auto add = [&](const Frame& frame, bool whole) {
    rows.add(row(name_of(image.apply(frame, head.tick)), frame, head.tick, model, whole));
  };
  evolve(prng, &model, &next_id);
  add(keyframe(model, head), true);
  for (int i = 0; i < 24; ++i) {
    const Model before = model;
    evolve(prng, &model, &next_id);
    head.reference = head.frame++;
    head.tick += 2;
    const Frame frame = delta(before, &model, head);
    if (i == 5) {  // a frame whose reference is not there changes nothing
      CellFrameHeader lost = head;
      lost.frame += 3;
      lost.reference += 3;
      Model copy = model;
      const Frame ahead = delta(before, &copy, lost);
      rows.add(row(name_of(image.apply(ahead, head.tick)), ahead, head.tick, before, true));
    }
    if (i == 9) {  // another epoch too
      CellFrameHeader other = head;
      other.epoch += 1;
      Model copy = model;
      const Frame elsewhere = delta(before, &copy, other);
      rows.add(row(name_of(image.apply(elsewhere, head.tick)), elsewhere, head.tick, before, true));
    }
    add(frame, i % 6 == 5 || i == 9);
  }
  // A frame in two parts: the second is a delta of the frame to itself.
  Model first = model;
  evolve(prng, &model, &next_id);
  Model half = model;
  for (auto& [slot, e] : half) {
    if (slot % 2 == 1 && first.count(slot) != 0 && first[slot].id == e.id) e = first[slot];
  }
  head.reference = head.frame++;
  ++head.tick;
  add(delta(first, &half, head), false);
  head.reference = head.frame;
  add(delta(half, &model, head), true);
  Frame damaged = keyframe(model, head);
  damaged.pop_back();
  rows.add(row(name_of(image.apply(damaged, head.tick)), damaged, head.tick, model, false));
  CellFrameHeader forged = head;
  forged.has_checksum = true;
  const std::vector<CellMember> nobody;
  forged.keyframe = true;
  forged.checksum = 1;
  Frame wrong(64);
  wrong.resize(write_cell_keyframe(wrong, forged, nobody));
  rows.add(row(name_of(image.apply(wrong, head.tick)), wrong, head.tick, {}, true));
  add(keyframe(model, head), true);
  return rows.list();
}

// Layers of four periods of eight ticks: layer 0 at 0, layer 1 at 4, layer 2 at 2 and 6; slots are
// not used again. Behind the last anchor the chain is taken up.
std::string layer_vectors() {
  Rows rows;
  base::Prng prng(3);
  Model model;
  uint32_t next_id = 1;
  CellFrameHeader head;
  head.cell_x = 4;
  head.cell_z = -1;
  head.epoch = 1;
  for (; next_id < 9; ++next_id) {
    model[static_cast<uint16_t>(next_id * 3)] = some_entity(prng, next_id);
  }
  CellImage image;
  Model anchor = model;
  Model half;
  uint32_t anchor_frame = 0;
  uint32_t half_frame = 0;
  const Frame whole = keyframe(model, head);
  rows.add(row(name_of(image.apply(whole, head.tick)), whole, head.tick, model, true));
  for (uint32_t i = 2; i <= 32; i += 2) {
    for (auto& [slot, e] : model) {
      if (prng.chance(0.2)) continue;
      for (int a = 0; a < 3; ++a) {
        e.place[a] += e.track[a].expected() + static_cast<int32_t>(prng.between(-2, 2));
      }
      if (prng.chance(0.3)) e.yaw = static_cast<uint8_t>(prng.below(256));
      if (prng.chance(0.1)) e.flags = static_cast<uint32_t>(prng.next());
    }
    if (i % 10 == 0) model.erase(model.begin());
    if (i % 6 == 0) {
      model[static_cast<uint16_t>(next_id * 3)] = some_entity(prng, next_id);
      ++next_id;
    }
    head.layer = i % 8 == 0 ? 0 : i % 8 == 4 ? 1 : 2;
    const bool from_half = i % 8 == 6;
    head.frame += 2;
    head.tick += 2;
    head.reference = from_half ? half_frame : anchor_frame;
    const Frame frame =
        layer_delta(from_half ? half : anchor, from_half ? &anchor : nullptr, model, head);
    EXPECT_EQ(image.apply(frame, head.tick), CellStatus::kOk) << i;
    rows.add(row("ok", frame, head.tick, model, true));
    if (head.layer == 1) {
      half = model;
      half_frame = head.frame;
    }
    if (head.layer != 0) continue;
    for (auto& [slot, e] : model) {
      const auto was = anchor.find(slot);
      if (was == anchor.end()) continue;
      int32_t motion[3];
      bool moved = false;
      for (int a = 0; a < 3; ++a) {
        motion[a] = e.place[a] - was->second.place[a];
        moved |= motion[a] != 0;
      }
      for (int a = 0; moved && a < 3; ++a) e.pace[a] = motion[a];
    }
    anchor = model;
    anchor_frame = head.frame;
  }
  // Into the chain: tracks of another image are ignored, those of the anchor are not.
  CellFrameHeader begin = head;
  begin.layer = 0;
  begin.tracks = true;
  for (const uint32_t frame : {anchor_frame - 1, anchor_frame}) {
    begin.frame = frame;
    const Frame tracks = tracks_of(model, begin);
    rows.add(row(name_of(image.apply(tracks, head.tick)), tracks, head.tick, model, true));
  }
  head.layer = kChainLayer;
  for (int i = 0; i < 3; ++i) {
    const Model before = model;
    evolve(prng, &model, &next_id);
    head.reference = head.frame++;
    head.tick += 2;
    const Frame frame = delta(before, &model, head);
    EXPECT_EQ(image.apply(frame, head.tick), CellStatus::kOk) << i;
    rows.add(row("ok", frame, head.tick, model, true));
  }
  return rows.list();
}

TEST(Vectors, AreWhatThisCodeWrites) {
  const std::string text =
      "{\n  \"made by\": \"tests/unit/wire/vectors_test.cc\",\n  \"checksums\": " +
      checksum_vectors() + ",\n  \"messages\": " + message_vectors() +
      ",\n  \"frames\": " + frame_vectors() + ",\n  \"cell chain\": " + chain_vectors() +
      ",\n  \"cell layers\": " + layer_vectors() + "\n}\n";
  const std::string path = TIDEGATE_SOURCE_ROOT "/tests/vectors/wire.json";
  if (std::getenv("TIDEGATE_WRITE_VECTORS") != nullptr) {
    std::ofstream out(path);
    out << text;
    ASSERT_TRUE(out.flush()) << path;
  }
  std::ifstream in(path);
  std::stringstream held;
  held << in.rdbuf();
  const std::string on_disk = held.str();
  size_t at = 0;
  while (at < text.size() && at < on_disk.size() && text[at] == on_disk[at]) ++at;
  EXPECT_TRUE(on_disk == text)
      << path << " differs from byte " << at << " on: " << text.substr(at < 40 ? 0 : at - 40, 100)
      << "\nA change of the wire that is meant: TIDEGATE_WRITE_VECTORS=1 writes the file anew.";
}

}  // namespace
}  // namespace tidegate::wire
