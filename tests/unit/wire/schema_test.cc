// SPDX-License-Identifier: Apache-2.0
// wire/schema.h against proto/tidegate/v1 as protoc understood it: every message but the envelope,
// every field with number, kind, label, name and JSON name, every enum and value, and the method
// names.
#include "wire/schema.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tidegate/v1/envelope.pb.h"
#include "tidegate/v1/presence.pb.h"
#include "tidegate/v1/session.pb.h"
#include "tidegate/v1/social.pb.h"
#include "tidegate/v1/state.pb.h"
#include "tidegate/v1/world.pb.h"

namespace tidegate::wire {
namespace {

namespace pb = google::protobuf;

const pb::FileDescriptor* const* files(size_t* count) {
  static const pb::FileDescriptor* const all[] = {
      ::tidegate::v1::NetworkMessage::descriptor()->file(),
      ::tidegate::v1::PresenceUpdate::descriptor()->file(),
      ::tidegate::v1::StateEntry::descriptor()->file(),
      ::tidegate::v1::ClientHello::descriptor()->file(),
      ::tidegate::v1::GroupRequest::descriptor()->file(),
      ::tidegate::v1::Vector3::descriptor()->file(),
  };
  *count = std::size(all);
  return all;
}

FieldKind kind_of(const pb::FieldDescriptor* f) {
  if (f->is_map()) {
    EXPECT_EQ(f->message_type()->FindFieldByNumber(1)->type(), pb::FieldDescriptor::TYPE_STRING);
    EXPECT_EQ(f->message_type()->FindFieldByNumber(2)->type(), pb::FieldDescriptor::TYPE_STRING);
    return FieldKind::kTextMap;
  }
  switch (f->type()) {
    case pb::FieldDescriptor::TYPE_BOOL:
      return FieldKind::kBool;
    case pb::FieldDescriptor::TYPE_UINT32:
      return FieldKind::kUint32;
    case pb::FieldDescriptor::TYPE_UINT64:
      return FieldKind::kUint64;
    case pb::FieldDescriptor::TYPE_INT64:
      return FieldKind::kInt64;
    case pb::FieldDescriptor::TYPE_SINT32:
      return FieldKind::kSint32;
    case pb::FieldDescriptor::TYPE_FIXED64:
      return FieldKind::kFixed64;
    case pb::FieldDescriptor::TYPE_FLOAT:
      return FieldKind::kFloat;
    case pb::FieldDescriptor::TYPE_STRING:
      return FieldKind::kString;
    case pb::FieldDescriptor::TYPE_BYTES:
      return FieldKind::kBytes;
    case pb::FieldDescriptor::TYPE_ENUM:
      return FieldKind::kEnum;
    case pb::FieldDescriptor::TYPE_MESSAGE:
      return FieldKind::kMessage;
    default:
      ADD_FAILURE() << f->full_name() << " has a type that wire/schema.h does not know";
      return FieldKind::kBool;
  }
}

void expect_same(const MessageSchema& ours, const pb::Descriptor* theirs) {
  SCOPED_TRACE(theirs->full_name());
  ASSERT_EQ(ours.fields.size(), static_cast<size_t>(theirs->field_count()));
  for (const FieldSchema& f : ours.fields) {
    const pb::FieldDescriptor* const t = theirs->FindFieldByNumber(static_cast<int>(f.number));
    ASSERT_NE(t, nullptr) << f.number;
    EXPECT_EQ(f.name, t->name());
    EXPECT_EQ(f.json.text(), t->json_name());
    EXPECT_EQ(f.kind, kind_of(t)) << f.name;
    const bool repeated = t->is_repeated() && !t->is_map();
    EXPECT_EQ(f.label, repeated                    ? FieldLabel::kRepeated
                       : t->has_optional_keyword() ? FieldLabel::kOptional
                                                   : FieldLabel::kPlain)
        << f.name;
    if (f.kind == FieldKind::kMessage) {
      EXPECT_EQ(f.message->name, t->message_type()->name());
    }
    if (f.kind == FieldKind::kEnum) {
      EXPECT_EQ(f.enumeration->name, t->enum_type()->name());
    }
    EXPECT_EQ(ours.find(f.name), &f);
    EXPECT_EQ(ours.find(f.json.text()), &f);
    EXPECT_EQ(&ours.fields[ours.index_of(f.number)], &f);
  }
  EXPECT_EQ(ours.index_of(1000), kFieldsMax);
  EXPECT_EQ(ours.find("no such field"), nullptr);
}

TEST(Schema, HasEveryMessageAndEnumOfTheProtocol) {
  std::set<std::string> messages;
  std::set<std::string> enums;
  size_t count = 0;
  const pb::FileDescriptor* const* const all = files(&count);
  for (size_t i = 0; i < count; ++i) {
    for (int m = 0; m < all[i]->message_type_count(); ++m) {
      messages.insert(all[i]->message_type(m)->name());
    }
    for (int e = 0; e < all[i]->enum_type_count(); ++e) {
      enums.insert(all[i]->enum_type(e)->name());
    }
  }
  // What the envelope is in JSON is written out in protocol/json_rpc.cc.
  EXPECT_EQ(messages.erase("NetworkMessage"), 1u);
  EXPECT_EQ(enums.erase("MessageType"), 1u);
  const pb::DescriptorPool* const pool = all[0]->pool();
  for (const MessageSchema* m : message_schemas()) {
    const std::string name(m->name);
    EXPECT_EQ(messages.erase(name), 1u) << name << " is not in proto/, or twice in the table";
    const pb::Descriptor* const d = pool->FindMessageTypeByName("tidegate.v1." + name);
    ASSERT_NE(d, nullptr);
    expect_same(*m, d);
  }
  for (const EnumSchema* e : enum_schemas()) {
    const std::string name(e->name);
    EXPECT_EQ(enums.erase(name), 1u) << name;
    const pb::EnumDescriptor* const d = pool->FindEnumTypeByName("tidegate.v1." + name);
    ASSERT_NE(d, nullptr);
    ASSERT_EQ(e->values.size(), static_cast<size_t>(d->value_count()));
    for (const EnumValue& v : e->values) {
      const pb::EnumValueDescriptor* const t = d->FindValueByNumber(v.number);
      ASSERT_NE(t, nullptr);
      EXPECT_EQ(v.name, t->name());
      EXPECT_EQ(e->name_of(v.number), v.name);
      int32_t number = -1;
      EXPECT_TRUE(e->number_of(v.name, &number));
      EXPECT_EQ(number, v.number);
    }
    EXPECT_TRUE(e->name_of(99).empty());
  }
  EXPECT_TRUE(messages.empty()) << *messages.begin() << " is missing in src/wire/schema.cc";
  EXPECT_TRUE(enums.empty()) << *enums.begin() << " is missing in src/wire/schema.cc";
}

TEST(Schema, MethodsAreTheMessageNamesInLowerCamelCase) {
  const pb::EnumDescriptor* const types = ::tidegate::v1::MessageType_descriptor();
  EXPECT_EQ(payload_schemas().size() + 1, static_cast<size_t>(types->value_count()));
  std::set<std::string> methods;
  for (const PayloadSchema& row : payload_schemas()) {
    const std::string method(row.method.text());
    EXPECT_TRUE(methods.insert(method).second) << method;
    EXPECT_EQ(payload_of_method(method), &row);
    EXPECT_EQ(payload_of_type(static_cast<uint32_t>(row.type)), &row);
    const auto* const value = types->FindValueByNumber(static_cast<int>(row.type));
    ASSERT_NE(value, nullptr) << method;
    // The name back from its lower camel case.
    std::string upper;
    for (const char c : method) {
      if (c >= 'A' && c <= 'Z') upper += '_';
      upper += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    EXPECT_EQ(upper, value->name());
  }
  EXPECT_TRUE(methods.contains("playerMove"));
  EXPECT_TRUE(methods.contains("timeSync"));
  EXPECT_EQ(payload_of_method("PLAYER_MOVE"), nullptr);
  EXPECT_EQ(payload_of_type(0), nullptr);
  EXPECT_EQ(payload_of_type(1000), nullptr);
}

}  // namespace
}  // namespace tidegate::wire
