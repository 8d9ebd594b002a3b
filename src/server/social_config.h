// SPDX-License-Identifier: Apache-2.0
// From the configuration to what shards are given for groups, users' lists and compressed payloads.
// Thread: host, before threads. Owner: values. Limits: the configuration's.
#pragma once

#include <string>

#include "control/config.h"
#include "session/group_rules.h"
#include "session/user_home.h"
#include "shard/packing.h"

namespace tidegate::server {

// False with text in `error`. `dictionary` holds what `out` refers to.
bool packing_config(const control::Config& config, std::string* dictionary,
                    shard::PackingConfig* out, std::string* error);
session::GroupLimits group_limits(const control::Config& config);
session::UserLimits user_limits(const control::Config& config);

}  // namespace tidegate::server
