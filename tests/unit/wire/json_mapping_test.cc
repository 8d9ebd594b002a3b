// SPDX-License-Identifier: Apache-2.0
// The JSON mapping of wire against libprotobuf's own, both ways, on random messages of every kind
// in the schema: what wire writes libprotobuf reads as the same message, what libprotobuf writes
// (in each of its styles) wire reads as the same message, and of values that do not fit wire takes
// nothing that libprotobuf refuses or understands otherwise.
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "random_messages.h"
#include "tidegate/v1/presence.pb.h"
#include "tidegate/v1/state.pb.h"
#include "wire/json_decode.h"
#include "wire/json_encode.h"

namespace tidegate::wire {
namespace {

namespace gp = google::protobuf;

std::unique_ptr<gp::Message> make(const MessageSchema& schema) {
  static_cast<void>(pb::PresenceUpdate::descriptor());
  static_cast<void>(pb::StateEntry::descriptor());
  const auto* const descriptor = gp::DescriptorPool::generated_pool()->FindMessageTypeByName(
      "tidegate.v1." + std::string(schema.name));
  EXPECT_NE(descriptor, nullptr);
  const gp::Message* const prototype =
      gp::MessageFactory::generated_factory()->GetPrototype(descriptor);
  return std::unique_ptr<gp::Message>(prototype->New());
}

// JSON numbers do not keep the sign of a zero.
float json_float(base::Prng& r) {
  const float v = random_float(r);
  return v == 0.0F ? 0.0F : v;
}

void fill_random(base::Prng& r, gp::Message* m, int depth) {
  const gp::Reflection* const reflection = m->GetReflection();
  const gp::Descriptor* const d = m->GetDescriptor();
  for (int i = 0; i < d->field_count(); ++i) {
    const gp::FieldDescriptor* const f = d->field(i);
    if (f->is_map()) {
      for (uint64_t n = r.below(4); n > 0; --n) {
        gp::Message* const entry = reflection->AddMessage(m, f);
        const auto* const key = entry->GetDescriptor()->FindFieldByNumber(1);
        const auto* const value = entry->GetDescriptor()->FindFieldByNumber(2);
        // Keys once each: of the same key libprotobuf refuses the second.
        entry->GetReflection()->SetString(entry, key, std::to_string(n) + random_text(r, 4));
        entry->GetReflection()->SetString(entry, value, random_text(r, 6));
      }
      continue;
    }
    const uint64_t times = f->is_repeated() ? r.below(4) : r.chance(0.8) ? 1 : 0;
    for (uint64_t n = 0; n < times; ++n) {
      const bool add = f->is_repeated();
#define SET(Type, value) \
  (add ? reflection->Add##Type(m, f, value) : reflection->Set##Type(m, f, value))
      switch (f->cpp_type()) {
        case gp::FieldDescriptor::CPPTYPE_BOOL:
          SET(Bool, r.chance(0.5));
          break;
        case gp::FieldDescriptor::CPPTYPE_UINT32:
          SET(UInt32, random_u32(r));
          break;
        case gp::FieldDescriptor::CPPTYPE_INT32:
          SET(Int32, static_cast<int32_t>(random_u32(r)));
          break;
        case gp::FieldDescriptor::CPPTYPE_UINT64:
          SET(UInt64, random_u64(r));
          break;
        case gp::FieldDescriptor::CPPTYPE_INT64:
          SET(Int64, random_i64(r));
          break;
        case gp::FieldDescriptor::CPPTYPE_FLOAT:
          SET(Float, json_float(r));
          break;
        case gp::FieldDescriptor::CPPTYPE_ENUM:
          SET(EnumValue, static_cast<int>(r.below(7)));  // also numbers without a name
          break;
        case gp::FieldDescriptor::CPPTYPE_STRING: {
          std::string text = random_text(r, 12);
          if (f->type() == gp::FieldDescriptor::TYPE_BYTES) {
            text.clear();
            for (uint64_t left = r.below(9); left > 0; --left) text += static_cast<char>(r.next());
          } else if (r.chance(0.3)) {
            text += std::string("\"\\\n\t\x01\x7f/<&>\0 ", 12);
          }
          SET(String, text);
          break;
        }
        case gp::FieldDescriptor::CPPTYPE_MESSAGE:
          if (depth > 0) {
            fill_random(r, add ? reflection->AddMessage(m, f) : reflection->MutableMessage(m, f),
                        depth - 1);
          }
          break;
        default:
          ADD_FAILURE() << f->full_name();
      }
#undef SET
    }
  }
}

// Map entries and NaNs have more than one form, so messages are compared as libprotobuf's text.
std::string text_of(const gp::Message& m) { return m.DebugString(); }

std::string write(const MessageSchema& schema, const std::string& bytes) {
  std::vector<uint8_t> room(64 * 1024 + bytes.size() * 16);
  JsonText out(room);
  EXPECT_TRUE(write_json(out, schema, base::as_bytes(bytes)));
  EXPECT_FALSE(out.overflow());
  return std::string(out.text());
}

bool read(const MessageSchema& schema, const std::string& json, std::string* bytes,
          std::string* why = nullptr) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  simdjson::dom::element root;
  if (parser.parse(json).get(root) != simdjson::SUCCESS || root.get(object) != simdjson::SUCCESS) {
    if (why != nullptr) *why = "not an object";
    return false;
  }
  std::vector<uint8_t> room(json.size() * 8 + 64);
  PbWriter out(room);
  JsonFault fault;
  const bool good = read_json(object, schema, out, fault);
  if (why != nullptr) *why = std::string(fault.text());
  EXPECT_EQ(good, fault.empty());
  EXPECT_FALSE(out.overflow());
  *bytes = std::string(base::as_text(out.written()));
  return good;
}

TEST(JsonMapping, WhatWireWritesLibprotobufReads) {
  base::Prng r(11);
  for (const MessageSchema* schema : message_schemas()) {
    SCOPED_TRACE(schema->name);
    for (int round = 0; round < 200; ++round) {
      const auto message = make(*schema);
      fill_random(r, message.get(), 3);
      const std::string json = write(*schema, message->SerializeAsString());
      const auto back = make(*schema);
      const auto status = gp::util::JsonStringToMessage(json, back.get());
      ASSERT_TRUE(status.ok()) << status.ToString() << "\n" << json;
      ASSERT_EQ(text_of(*back), text_of(*message)) << json;
    }
  }
}

TEST(JsonMapping, WhatLibprotobufWritesWireReads) {
  base::Prng r(12);
  for (const MessageSchema* schema : message_schemas()) {
    SCOPED_TRACE(schema->name);
    for (int round = 0; round < 200; ++round) {
      const auto message = make(*schema);
      fill_random(r, message.get(), 3);
      gp::util::JsonPrintOptions style;
      style.preserve_proto_field_names = r.chance(0.5);
      style.always_print_enums_as_ints = r.chance(0.5);
      style.always_print_primitive_fields = r.chance(0.5);
      style.add_whitespace = r.chance(0.5);
      std::string json;
      ASSERT_TRUE(gp::util::MessageToJsonString(*message, &json, style).ok());
      std::string bytes;
      std::string why;
      ASSERT_TRUE(read(*schema, json, &bytes, &why)) << why << "\n" << json;
      const auto back = make(*schema);
      ASSERT_TRUE(back->ParseFromString(bytes)) << json;
      ASSERT_EQ(text_of(*back), text_of(*message)) << json;
    }
  }
}

// One value of a message replaced by something else.
TEST(JsonMapping, TakesNothingThatLibprotobufRefuses) {
  static const char* const kValues[] = {"1.5",
                                        "-1",
                                        "1e2",
                                        "\"12\"",
                                        "\"abc\"",
                                        "null",
                                        "true",
                                        "[]",
                                        "{}",
                                        "1e40",
                                        "\"1e3\"",
                                        "4294967296",
                                        "\"\"",
                                        "0",
                                        "[1]",
                                        "[null]",
                                        "[[]]",
                                        "{\"x\":1}",
                                        "\"NaN\"",
                                        "-0.0",
                                        "\" 1\"",
                                        "\"Infinity\"",
                                        "18446744073709551615",
                                        "{\"a\":1}",
                                        "\"-5\"",
                                        "9223372036854775808",
                                        "\"AAE=\"",
                                        "\"AAE\"",
                                        "\"-_8\"",
                                        "\"A\"",
                                        "\"PLAYER_STATUS_AWAY\"",
                                        "\"away\"",
                                        "[\"COMPRESSION_ZSTD\", 2]",
                                        "[1.0]",
                                        "3.0"};
  int taken = 0;
  int refused = 0;
  for (const MessageSchema* schema : message_schemas()) {
    for (const FieldSchema& field : schema->fields) {
      for (const char* value : kValues) {
        const std::string json = "{" + std::string(field.json.key()) + std::string(value) + "}";
        std::string bytes;
        const bool ours = read(*schema, json, &bytes);
        const auto theirs = make(*schema);
        const bool accepted = gp::util::JsonStringToMessage(json, theirs.get()).ok();
        if (!ours) {
          ++refused;
          continue;
        }
        ++taken;
        EXPECT_TRUE(accepted) << schema->name << " " << json;
        if (!accepted) continue;
        const auto back = make(*schema);
        ASSERT_TRUE(back->ParseFromString(bytes)) << json;
        EXPECT_EQ(text_of(*back), text_of(*theirs)) << schema->name << " " << json;
      }
    }
  }
  EXPECT_GT(taken, 500);
  EXPECT_GT(refused, 500);
}

TEST(JsonMapping, SaysWhatIsWrongAndWhere) {
  const MessageSchema& move = *payload_of_method("playerMove")->message;
  const MessageSchema& hello = *payload_of_method("clientHello")->message;
  std::string bytes;
  std::string why;
  EXPECT_FALSE(read(move, R"({"position": {"x": "wide"}})", &bytes, &why));
  EXPECT_EQ(why, "position.x: a number is expected");
  EXPECT_FALSE(read(move, R"({"positon": {"x": 1}})", &bytes, &why));
  EXPECT_EQ(why, "positon: no such field");
  EXPECT_FALSE(read(move, R"({"client_tick": -1})", &bytes, &why));
  EXPECT_EQ(why, "client_tick: an integer of 32 bits is expected");
  EXPECT_FALSE(read(hello, R"({"stateEncoding": "PACKED"})", &bytes, &why));
  EXPECT_EQ(why, "stateEncoding: no such name");
}

// Fields of shared bytes stand in several groups: JSON has one array.
TEST(JsonMapping, GathersRepeatedFieldsThatAreApart) {
  uint8_t room[256];
  PbWriter out(room);
  out.put_text(3, "gone-1");
  out.text(1, "zone");
  out.put_text(3, "gone-2");
  out.varint(99, 7);  // a field of a newer server
  const MessageSchema& zone = *payload_of_method("zoneUpdate")->message;
  EXPECT_EQ(write(zone, std::string(base::as_text(out.written()))),
            R"({"zoneId":"zone","despawns":["gone-1","gone-2"]})");
}

TEST(JsonMapping, OfBytesThatAreNoSuchMessageNothingIsMade) {
  uint8_t room[256];
  JsonText out(room);
  const uint8_t cut[] = {0x0a, 0x7f, 'a'};
  EXPECT_FALSE(write_json(out, *payload_of_method("zoneUpdate")->message, cut));
}

}  // namespace
}  // namespace tidegate::wire
