// SPDX-License-Identifier: Apache-2.0
// The messages of proto/tidegate/v1 as tables, and which of them is the payload of which type: what
// the JSON mapping needs to know, in both directions. **The one place where a new message is
// added** for JSON; tests/unit/wire/schema_test.cc holds it to proto/ field by field.
//
// JSON names (lower camel case) and method names follow from the names in the tables, at compile
// time.
// Thread: any. Owner: static tables. Limits: kFieldsMax fields a message, kJsonNameMax characters.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "wire/message_types.h"

namespace tidegate::wire {

inline constexpr uint32_t kFieldsMax = 12;

// A name in lower camel case, made of snake_case or UPPER_CASE, as it stands in JSON: in quotes
// and with a colon behind it.
class JsonName {
 public:
  static constexpr size_t kCharsMax = 36;
  constexpr explicit JsonName(std::string_view name) {
    bool upper = false;
    text_[size_++] = '"';
    for (const char c : name) {
      if (c == '_') {
        upper = true;
        continue;
      }
      const bool capital = c >= 'A' && c <= 'Z';
      const bool small = c >= 'a' && c <= 'z';
      text_[size_++] = upper && small      ? static_cast<char>(c - 'a' + 'A')
                       : !upper && capital ? static_cast<char>(c - 'A' + 'a')
                                           : c;
      upper = false;
    }
    text_[size_++] = '"';
    text_[size_++] = ':';
  }
  constexpr std::string_view text() const { return {text_.data() + 1, size_ - 3u}; }
  constexpr std::string_view quoted() const { return {text_.data(), size_ - 1u}; }
  constexpr std::string_view key() const { return {text_.data(), size_}; }

 private:
  std::array<char, kCharsMax> text_{};
  uint8_t size_ = 0;
};

enum class FieldKind : uint8_t {
  kBool,
  kUint32,
  kUint64,
  kInt64,
  kSint32,
  kFixed64,
  kFloat,
  kString,
  kBytes,
  kEnum,
  kMessage,
  kTextMap,  // map<string, string>
};

enum class FieldLabel : uint8_t {
  kPlain,     // not on the wire when it is 0 or empty
  kOptional,  // has presence: a 0 that was set is written
  kRepeated,
};

struct EnumValue {
  int32_t number;
  std::string_view name;
};
struct EnumSchema {
  std::string_view name;
  std::span<const EnumValue> values;

  // Empty: no value of this number.
  std::string_view name_of(int32_t number) const;
  bool number_of(std::string_view name, int32_t* out) const;
};

struct MessageSchema;

struct FieldSchema {
  uint32_t number;
  FieldKind kind;
  FieldLabel label;
  std::string_view name;  // as in proto/
  JsonName json;
  const MessageSchema* message = nullptr;   // kMessage
  const EnumSchema* enumeration = nullptr;  // kEnum

  bool repeated() const { return label == FieldLabel::kRepeated; }
};

struct MessageSchema {
  std::string_view name;
  std::span<const FieldSchema> fields;  // ascending numbers

  // Position of a field in `fields`; kFieldsMax: there is none.
  uint32_t index_of(uint32_t number) const;
  // By its JSON name or its name in proto/; nullptr: there is none.
  const FieldSchema* find(std::string_view name) const;
};

// What the payload of a message type is.
struct PayloadSchema {
  MessageType type;
  const MessageSchema* message;  // nullptr: opaque bytes, {"payload": "<base64>"}
  // The type that answers a request of this one; 0: none, the request's result is {}. An answer by
  // REPLY may come later, every other comes before the handler returns.
  uint32_t answer;
  JsonName method;
};

// nullptr: no such type; types from 1000 on are `custom`.
const PayloadSchema* payload_of_type(uint32_t type);
const PayloadSchema* payload_of_method(std::string_view method);
std::span<const PayloadSchema> payload_schemas();
// Every message and every enum of the tables, for tests and documentation.
std::span<const MessageSchema* const> message_schemas();
std::span<const EnumSchema* const> enum_schemas();

// The method of all types from 1000 on: {"type": n, "payload": "<base64>"}.
inline constexpr std::string_view kCustomMethod = "custom";
inline constexpr uint32_t kCustomTypeFirst = 1000;

}  // namespace tidegate::wire
