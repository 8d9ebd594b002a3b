// SPDX-License-Identifier: Apache-2.0
#include "shard/router.h"

#include <algorithm>

namespace tidegate::shard {

bool Router::add(uint32_t type, Handler handler) {
  if (type < kBuiltInMax) {
    if (built_in_[type] != nullptr) return false;
    built_in_[type] = handler;
    return true;
  }
  Route* const end = custom_ + custom_count_;
  Route* const at =
      std::lower_bound(custom_, end, type, [](const Route& r, uint32_t t) { return r.type < t; });
  if ((at != end && at->type == type) || custom_count_ == kRoutesMax - kBuiltInMax) return false;
  std::copy_backward(at, end, end + 1);
  *at = {type, handler};
  ++custom_count_;
  return true;
}

Handler Router::find(uint32_t type) const {
  if (type < kBuiltInMax) return built_in_[type];
  const Route* const end = custom_ + custom_count_;
  const Route* const at =
      std::lower_bound(custom_, end, type, [](const Route& r, uint32_t t) { return r.type < t; });
  return at != end && at->type == type ? at->handler : nullptr;
}

}  // namespace tidegate::shard
