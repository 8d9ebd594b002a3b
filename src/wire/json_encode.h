// SPDX-License-Identifier: Apache-2.0
// From a payload in protobuf to its JSON mapping, as libprotobuf's MessageToJsonString writes it by
// default: lower camel case, fields that are not on the wire left out, 64-bit integers in strings,
// enums by name (unknown numbers as numbers), bytes in base64. No heap; the payload is walked once,
// and once more for each repeated field of it.
// Thread: any. Owner: borrows. Limits: the buffer given.
#pragma once

#include "base/bytes.h"
#include "wire/json_text.h"
#include "wire/schema.h"

namespace tidegate::wire {

// Whole objects. False: the payload is not such a message; what was written is then useless.
bool write_json(JsonText& out, const MessageSchema& schema, base::Bytes payload);
// The same without braces, for objects that hold more; `*first` is whether no member stands yet.
bool write_json_members(JsonText& out, const MessageSchema& schema, base::Bytes payload,
                        bool* first);

}  // namespace tidegate::wire
