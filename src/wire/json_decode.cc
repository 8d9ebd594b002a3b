// SPDX-License-Identifier: Apache-2.0
#include "wire/json_decode.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "wire/bits.h"
#include "wire/json_text.h"

namespace tidegate::wire {
namespace {

using simdjson::SUCCESS;
using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

// Where in the message we are, for the words of a fault.
struct Path {
  const Path* up;
  std::string_view name;
};

void add_path(JsonFault& fault, const Path* path) {
  if (path == nullptr) return;
  if (path->up != nullptr) {
    add_path(fault, path->up);
    fault.add(".");
  }
  fault.add(path->name);
}

bool refuse(JsonFault& fault, const Path& path, std::string_view why) {
  fault.clear();
  add_path(fault, &path);
  fault.add(": ");
  fault.add(why);
  return false;
}

// A whole number with a sign apart, of any of the forms in which the mapping allows one.
struct Integer {
  uint64_t magnitude = 0;
  bool negative = false;
};

bool whole(double v, Integer* out) {
  if (!(std::fabs(v) < 18446744073709551616.0) || v != std::trunc(v)) return false;
  out->negative = v < 0;
  out->magnitude = static_cast<uint64_t>(std::fabs(v));
  return true;
}

bool read_integer(element value, Integer* out) {
  switch (value.type()) {
    case element_type::INT64: {
      const int64_t v = value.get_int64().value_unsafe();
      out->negative = v < 0;
      out->magnitude = v < 0 ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
      return true;
    }
    case element_type::UINT64:
      out->negative = false;
      out->magnitude = value.get_uint64().value_unsafe();
      return true;
    case element_type::DOUBLE:
      return whole(value.get_double().value_unsafe(), out);
    case element_type::STRING: {
      std::string_view text = value.get_string().value_unsafe();
      out->negative = !text.empty() && text.front() == '-';
      if (out->negative) text.remove_prefix(1);
      const char* const end = text.data() + text.size();
      const auto [at, error] = std::from_chars(text.data(), end, out->magnitude);
      return error == std::errc() && at == end;
    }
    default:
      return false;
  }
}

// A float as the mapping has it. Out of a float's range: not taken.
bool read_float(element value, float* out) {
  double v = 0;
  switch (value.type()) {
    case element_type::INT64:
      v = static_cast<double>(value.get_int64().value_unsafe());
      break;
    case element_type::UINT64:
      v = static_cast<double>(value.get_uint64().value_unsafe());
      break;
    case element_type::DOUBLE:
      v = value.get_double().value_unsafe();
      break;
    case element_type::STRING: {
      const std::string_view text = value.get_string().value_unsafe();
      constexpr float kInfinity = std::numeric_limits<float>::infinity();
      if (text == "NaN") return *out = std::numeric_limits<float>::quiet_NaN(), true;
      if (text == "Infinity") return *out = kInfinity, true;
      if (text == "-Infinity") return *out = -kInfinity, true;
      const char* const end = text.data() + text.size();
      const auto [at, error] = std::from_chars(text.data(), end, v);
      if (error != std::errc() || at != end || !std::isfinite(v)) return false;
      break;
    }
    default:
      return false;
  }
  if (std::fabs(v) > static_cast<double>(std::numeric_limits<float>::max())) return false;
  *out = static_cast<float>(v);
  return true;
}

class Reader {
 public:
  Reader(PbWriter& out, JsonFault& fault) : out_(out), fault_(fault) {}

  bool message(object members, const MessageSchema& schema, const Path* up, JsonOthers* others) {
    for (const auto member : members) {
      const Path here{up, member.key};
      const FieldSchema* const field = schema.find(member.key);
      if (field == nullptr) {
        if (others != nullptr && others->take(member.key, member.value)) continue;
        return refuse(fault_, here, "no such field");
      }
      if (member.value.is_null()) continue;
      if (field->kind == FieldKind::kTextMap) {
        if (!map(member.value, *field, here)) return false;
      } else if (field->repeated()) {
        array items;
        if (member.value.get(items) != SUCCESS) return refuse(fault_, here, "an array is expected");
        for (const element item : items) {
          if (!value(item, *field, here)) return false;
        }
      } else if (!value(member.value, *field, here)) {
        return false;
      }
    }
    return true;
  }

 private:
  // Zero is written where it means something: in lists and in fields with presence.
  static bool keeps_zero(const FieldSchema& field) { return field.label != FieldLabel::kPlain; }

  void put_varint(const FieldSchema& field, uint64_t v) {
    if (v != 0 || keeps_zero(field)) out_.put_varint(field.number, v);
  }

  bool integer(element v, const FieldSchema& field, const Path& here, uint64_t max,
               uint64_t max_below, std::string_view what) {
    Integer i;
    if (!read_integer(v, &i) || i.magnitude > (i.negative ? max_below : max)) {
      return refuse(fault_, here, what);
    }
    const uint64_t bits = i.negative ? 0 - i.magnitude : i.magnitude;
    switch (field.kind) {
      case FieldKind::kSint32:
        put_varint(field, zigzag(static_cast<int32_t>(bits)));
        break;
      case FieldKind::kFixed64:
        out_.fixed64(field.number, bits);
        break;
      default:
        put_varint(field, bits);
    }
    return true;
  }

  bool value(element v, const FieldSchema& field, const Path& here) {
    constexpr uint64_t kInt32Max = std::numeric_limits<int32_t>::max();
    constexpr uint64_t kInt64Max = std::numeric_limits<int64_t>::max();
    switch (field.kind) {
      case FieldKind::kBool: {
        bool b = false;
        if (v.get(b) != SUCCESS) return refuse(fault_, here, "true or false is expected");
        put_varint(field, b ? 1 : 0);
        return true;
      }
      case FieldKind::kUint32:
        return integer(v, field, here, UINT32_MAX, 0, "an integer of 32 bits is expected");
      case FieldKind::kSint32:
        return integer(v, field, here, kInt32Max, kInt32Max + 1,
                       "a signed integer of 32 bits is expected");
      case FieldKind::kUint64:
      case FieldKind::kFixed64:
        return integer(v, field, here, UINT64_MAX, 0, "an integer of 64 bits is expected");
      case FieldKind::kInt64:
        return integer(v, field, here, kInt64Max, kInt64Max + 1,
                       "a signed integer of 64 bits is expected");
      case FieldKind::kEnum: {
        std::string_view name;
        int32_t number = 0;
        if (v.get(name) != SUCCESS) {
          return integer(v, field, here, kInt32Max, kInt32Max + 1, "a name or number is expected");
        }
        if (!field.enumeration->number_of(name, &number)) {
          return refuse(fault_, here, "no such name");
        }
        put_varint(field, static_cast<uint64_t>(int64_t{number}));
        return true;
      }
      case FieldKind::kFloat: {
        float number = 0;
        if (!read_float(v, &number)) return refuse(fault_, here, "a number is expected");
        out_.number(field.number, number);
        return true;
      }
      case FieldKind::kString: {
        std::string_view text;
        if (v.get(text) != SUCCESS) return refuse(fault_, here, "a string is expected");
        if (!text.empty() || keeps_zero(field)) out_.put_text(field.number, text);
        return true;
      }
      case FieldKind::kBytes:
        return bytes(v, field, here);
      case FieldKind::kMessage: {
        object members;
        if (v.get(members) != SUCCESS) return refuse(fault_, here, "an object is expected");
        const size_t mark = out_.begin(field.number);
        if (!message(members, *field.message, &here, nullptr)) return false;
        out_.end(mark);
        return true;
      }
      case FieldKind::kTextMap:
        break;
    }
    return false;
  }

  bool bytes(element v, const FieldSchema& field, const Path& here) {
    std::string_view text;
    if (v.get(text) == SUCCESS) {
      const size_t mark = out_.begin(field.number);
      if (out_.base64(text)) {
        out_.end(mark);
        return true;
      }
    }
    return refuse(fault_, here, "a string of base64 is expected");
  }

  bool map(element v, const FieldSchema& field, const Path& here) {
    object members;
    if (v.get(members) != SUCCESS) return refuse(fault_, here, "an object is expected");
    for (const auto member : members) {
      std::string_view text;
      if (member.value.get(text) != SUCCESS) {
        return refuse(fault_, Path{&here, member.key}, "a string is expected");
      }
      const size_t mark = out_.begin(field.number);
      out_.put_text(1, member.key);
      out_.put_text(2, text);
      out_.end(mark);
    }
    return true;
  }

  PbWriter& out_;
  JsonFault& fault_;
};

}  // namespace

void JsonFault::add(std::string_view text) {
  const size_t fits = std::min(text.size(), kBytesMax - size_);
  if (fits != 0) std::memcpy(text_ + size_, text.data(), fits);
  size_ += fits;
}

bool read_json(object members, const MessageSchema& schema, PbWriter& out, JsonFault& fault,
               JsonOthers* others) {
  return Reader(out, fault).message(members, schema, nullptr, others);
}

bool read_json_uint(element value, uint64_t max, uint64_t* out) {
  Integer i;
  if (!read_integer(value, &i) || (i.negative && i.magnitude != 0) || i.magnitude > max) {
    return false;
  }
  *out = i.magnitude;
  return true;
}

}  // namespace tidegate::wire
