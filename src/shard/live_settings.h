// SPDX-License-Identifier: Apache-2.0
// What of a shard's configuration may change while it runs (control/config_diff.h names the keys).
// Plain bytes: it is the tail of mailbox::SettingsSet.
// Thread: any. Owner: a value. Limits: kTailBytesMax.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/time.h"
#include "mailbox/messages.h"
#include "net/edge.h"
#include "world/budget.h"

namespace tidegate::shard {

struct LiveSettings {
  net::LiveLimits endpoint;
  uint32_t messages_per_second = 2000;
  uint32_t messages_burst = 4000;
  uint32_t joins_per_second = 2000;
  uint32_t violations_per_minute = 100;
  base::Duration handler_time_limit = base::seconds(5);
  base::Duration handler_budget = base::milliseconds(1);
  base::Duration tick_hook_budget = base::milliseconds(2);
  bool close_at_expiry = true;                        // of the token
  base::Duration expiry_warning = base::seconds(30);  // before it; 0: none
  base::Duration expiry_leeway = base::seconds(5);    // after it
  world::BudgetConfig budget;
};
static_assert(std::is_trivially_copyable_v<LiveSettings>);
static_assert(sizeof(LiveSettings) + 64 < mailbox::kTailBytesMax);

}  // namespace tidegate::shard
