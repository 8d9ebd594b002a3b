// SPDX-License-Identifier: Apache-2.0
#include "shard/hook_table.h"

#include <algorithm>

#include "shard/handler_table.h"

namespace tidegate::shard {

Status HookTable::add(ProviderEntry provider) {
  const std::string what = "state provider " + provider.name;
  if (!is_label(provider.name)) {
    return {Code::kNameInvalid, {}, what + ": a name is 1 to 32 of [A-Za-z0-9_.-]"};
  }
  if (provider.priority > kPriorityMax) {
    return {Code::kOutOfRange, {}, what + ": a priority is 0 to 10"};
  }
  if (provider.write == nullptr) return {Code::kMissing, {}, what + ": no function was given"};
  for (const ProviderEntry& other : providers) {
    if (other.name == provider.name) return {Code::kNameTaken, {}, what + " is there already"};
  }
  if (providers.size() == kStateProvidersMax) {
    return {Code::kFull, {}, what + ": there are 8 already"};
  }
  provider.number = static_cast<uint32_t>(providers.size()) + 1;
  const auto at = std::find_if(providers.begin(), providers.end(), [&](const ProviderEntry& p) {
    return p.priority < provider.priority;
  });
  providers.insert(at, std::move(provider));
  return {};
}

}  // namespace tidegate::shard
