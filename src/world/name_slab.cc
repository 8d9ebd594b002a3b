// SPDX-License-Identifier: Apache-2.0
#include "world/name_slab.h"

#include <cstring>

#include "base/assert.h"

namespace tidegate::world {

namespace {
constexpr size_t kClassBytesSum = 16 + 24 + 40 + 64;
}

NameSlab::NameSlab(uint32_t limit) : bytes_(size_t{limit} * kClassBytesSum) {
  TG_ASSERT(bytes_.size() < UINT32_MAX);
  uint32_t at = 0;
  for (uint32_t c = 0; c < kClasses; ++c) {
    next_[c] = at;
    at += limit * kClassBytes[c];
    end_[c] = at;
    free_[c] = UINT32_MAX;
  }
}

NameRef NameSlab::add(std::string_view name) {
  TG_ASSERT(!name.empty() && name.size() <= kClassBytes[kClasses - 1]);
  const auto length = static_cast<uint32_t>(name.size());
  const uint32_t c = class_of(length);
  uint32_t at = free_[c];
  if (at != UINT32_MAX) {
    std::memcpy(&free_[c], bytes_.data() + at, sizeof free_[c]);
  } else {
    TG_ASSERT(next_[c] < end_[c]);
    at = next_[c];
    next_[c] += kClassBytes[c];
  }
  std::memcpy(bytes_.data() + at, name.data(), length);
  return {at, length};
}

void NameSlab::remove(NameRef name) {
  const uint32_t c = class_of(name.length);
  std::memcpy(bytes_.data() + name.offset, &free_[c], sizeof free_[c]);
  free_[c] = name.offset;
}

}  // namespace tidegate::world
