// SPDX-License-Identifier: Apache-2.0
// From the configuration to what a shard may be given while it runs: at the start and at a reload
// the same function.
// Thread: setup, control. Owner: values. Limits: none.
#pragma once

#include "control/config.h"
#include "shard/live_settings.h"
#include "shard/shard.h"

namespace tidegate::server {

// The configuration was checked already; what does not fit the fixed lists is left out by it.
shard::LiveSettings live_settings(const control::Config& config);
// Writes them into the configuration of a shard that does not run yet.
void put_live_settings(const shard::LiveSettings& settings, shard::ShardConfig* shard);

}  // namespace tidegate::server
