// SPDX-License-Identifier: Apache-2.0
#include "wire/message_types.h"

namespace tidegate::wire {
namespace {
struct Row {
  uint32_t number;
  const char* name;
};
#define X(id, number, name) {number, name},
constexpr Row kTypes[] = {TIDEGATE_MESSAGE_TYPES(X)};
constexpr Row kErrors[] = {TIDEGATE_ERROR_CODES(X)};
#undef X
constexpr uint32_t kTypes_count = sizeof kTypes / sizeof *kTypes;
static_assert(sizeof kErrors / sizeof *kErrors == kErrorCodeCount);
}  // namespace

const uint32_t kTypeCount = kTypes_count;

uint32_t index_of_type(uint32_t type) {
  for (uint32_t i = 0; i < kTypes_count; ++i) {
    if (kTypes[i].number == type) return i;
  }
  return kTypes_count;
}

const char* name_of_type_index(uint32_t index) {
  return index < kTypes_count ? kTypes[index].name : nullptr;
}

const char* name_of_type(uint32_t type) { return name_of_type_index(index_of_type(type)); }

const char* text_of_error(uint32_t code) {
  return code >= kErrorCodeFirst && code < kErrorCodeFirst + kErrorCodeCount
             ? kErrors[code - kErrorCodeFirst].name
             : nullptr;
}

}  // namespace tidegate::wire
