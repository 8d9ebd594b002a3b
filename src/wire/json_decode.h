// SPDX-License-Identifier: Apache-2.0
// From protobuf's JSON mapping to a payload in protobuf: names in lower camel case or as in proto/,
// 64-bit integers as numbers or strings, enums by name or number, bytes in base64 of either
// alphabet, null for what is not there. Names that the message does not have are refused, as the
// mapping asks. No heap; works on what simdjson has parsed.
//
// Only json_rpc.cc and tests include this: simdjson's header is large.
// Thread: any. Owner: borrows. Limits: the writer's buffer.
#pragma once

#include <simdjson.h>

#include <string_view>

#include "wire/pb.h"
#include "wire/schema.h"

namespace tidegate::wire {

// Why a value was refused, in words for whoever wrote the client.
class JsonFault {
 public:
  std::string_view text() const { return {text_, size_}; }
  bool empty() const { return size_ == 0; }
  void clear() { size_ = 0; }
  // Appends; what does not fit is left out.
  void add(std::string_view text);

 private:
  static constexpr size_t kBytesMax = 160;
  char text_[kBytesMax];
  size_t size_ = 0;
};

// Members of `object` that are not fields of the message, but the caller's own.
struct JsonOthers {
  virtual ~JsonOthers() = default;
  // True: it was one of them.
  virtual bool take(std::string_view name, simdjson::dom::element value) = 0;
};

// False: `fault` says what is wrong. `others` may be null.
bool read_json(simdjson::dom::object object, const MessageSchema& schema, PbWriter& out,
               JsonFault& fault, JsonOthers* others = nullptr);

// An integer that is written as a number or as a string, from 0 to `max`.
bool read_json_uint(simdjson::dom::element value, uint64_t max, uint64_t* out);

}  // namespace tidegate::wire
