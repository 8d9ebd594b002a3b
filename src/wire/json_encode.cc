// SPDX-License-Identifier: Apache-2.0
#include "wire/json_encode.h"

#include "wire/bits.h"
#include "wire/pb.h"

namespace tidegate::wire {
namespace {

WireType wire_type_of(FieldKind kind) {
  switch (kind) {
    case FieldKind::kFloat:
      return WireType::kFixed32;
    case FieldKind::kFixed64:
      return WireType::kFixed64;
    case FieldKind::kString:
    case FieldKind::kBytes:
    case FieldKind::kMessage:
    case FieldKind::kTextMap:
      return WireType::kBytes;
    default:
      return WireType::kVarint;
  }
}

// The value of one field as it was read.
struct Value {
  uint64_t number;  // of varints and fixed fields
  base::Bytes bytes;
};

Value value_of(const PbReader& reader) {
  return {reader.is(WireType::kBytes) ? 0 : reader.varint(),
          reader.is(WireType::kBytes) ? reader.bytes() : base::Bytes{}};
}

void quote(JsonText& out, auto v) {
  out.put('"');
  out.number(v);
  out.put('"');
}

void write_enum(JsonText& out, const EnumSchema& schema, uint64_t v) {
  const auto number = static_cast<int32_t>(v);
  const std::string_view name = schema.name_of(number);
  if (name.empty()) {
    out.number(int64_t{number});
    return;
  }
  out.put('"');
  out.put(name);
  out.put('"');
}

bool write_value(JsonText& out, const FieldSchema& field, const Value& v) {
  switch (field.kind) {
    case FieldKind::kBool:
      out.boolean(v.number != 0);
      return true;
    case FieldKind::kUint32:
      out.number(uint64_t{static_cast<uint32_t>(v.number)});
      return true;
    case FieldKind::kSint32:
      out.number(int64_t{unzigzag(static_cast<uint32_t>(v.number))});
      return true;
    case FieldKind::kUint64:
    case FieldKind::kFixed64:
      quote(out, v.number);
      return true;
    case FieldKind::kInt64:
      quote(out, static_cast<int64_t>(v.number));
      return true;
    case FieldKind::kFloat:
      out.number(std::bit_cast<float>(static_cast<uint32_t>(v.number)));
      return true;
    case FieldKind::kString:
      out.string(base::as_text(v.bytes));
      return true;
    case FieldKind::kBytes:
      out.base64(v.bytes);
      return true;
    case FieldKind::kEnum:
      write_enum(out, *field.enumeration, v.number);
      return true;
    case FieldKind::kMessage:
      return write_json(out, *field.message, v.bytes);
    case FieldKind::kTextMap:
      break;
  }
  return false;
}

// key, value of one entry; both may be left out when they are empty.
bool write_entry(JsonText& out, base::Bytes bytes) {
  std::string_view key;
  std::string_view value;
  PbReader entry(bytes);
  while (entry.next()) {
    if (!entry.is(WireType::kBytes)) continue;
    if (entry.field() == 1) key = entry.text();
    if (entry.field() == 2) value = entry.text();
  }
  out.string(key);
  out.put(':');
  out.string(value);
  return !entry.failed();
}

// All occurrences of a repeated field from the first on, `count` of them.
bool write_repeated(JsonText& out, const FieldSchema& field, base::Bytes from, uint32_t count) {
  const bool map = field.kind == FieldKind::kTextMap;
  const WireType type = wire_type_of(field.kind);
  out.put(map ? '{' : '[');
  bool first = true;
  const auto comma = [&] {
    if (!first) out.put(',');
    first = false;
  };
  PbReader reader(from);
  while (count != 0 && reader.next()) {
    if (reader.field() != field.number) continue;
    if (reader.is(type)) {
      comma();
      if (!(map ? write_entry(out, reader.bytes()) : write_value(out, field, value_of(reader)))) {
        return false;
      }
    } else if (type == WireType::kVarint && reader.is(WireType::kBytes)) {
      PbReader packed(reader.bytes());
      uint64_t v = 0;
      while (packed.next_packed(&v)) {
        comma();
        if (!write_value(out, field, {v, {}})) return false;
      }
      if (packed.failed()) return false;
    } else {
      continue;
    }
    --count;
  }
  out.put(map ? '}' : ']');
  return true;
}

// A field's wire type is the one of its kind, or packed.
bool fits(const FieldSchema& field, const PbReader& reader) {
  const WireType type = wire_type_of(field.kind);
  if (reader.is(type)) return true;
  return field.repeated() && type == WireType::kVarint && reader.is(WireType::kBytes);
}

}  // namespace

bool write_json_members(JsonText& out, const MessageSchema& schema, base::Bytes payload,
                        bool* first) {
  uint32_t count[kFieldsMax] = {};
  Value last[kFieldsMax];          // of plain fields: the last one counts
  base::Bytes begins[kFieldsMax];  // of repeated ones: the payload from the first on
  PbReader reader(payload);
  for (base::Bytes rest = payload; reader.next(); rest = reader.rest()) {
    const uint32_t i = schema.index_of(reader.field());
    if (i == kFieldsMax || !fits(schema.fields[i], reader)) continue;  // unknown to us
    const FieldSchema& field = schema.fields[i];
    if (field.repeated() || field.kind == FieldKind::kTextMap) {
      if (count[i] == 0) begins[i] = rest;
    } else {
      last[i] = value_of(reader);
    }
    ++count[i];
  }
  if (reader.failed()) return false;
  for (uint32_t i = 0; i < schema.fields.size(); ++i) {
    if (count[i] == 0) continue;
    const FieldSchema& field = schema.fields[i];
    if (!*first) out.put(',');
    *first = false;
    out.put(field.json.key());
    const bool many = field.repeated() || field.kind == FieldKind::kTextMap;
    if (!(many ? write_repeated(out, field, begins[i], count[i])
               : write_value(out, field, last[i]))) {
      return false;
    }
  }
  return true;
}

bool write_json(JsonText& out, const MessageSchema& schema, base::Bytes payload) {
  bool first = true;
  out.put('{');
  const bool good = write_json_members(out, schema, payload, &first);
  out.put('}');
  return good;
}

}  // namespace tidegate::wire
