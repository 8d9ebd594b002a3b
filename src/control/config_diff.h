// SPDX-License-Identifier: Apache-2.0
// What a configuration that was read again would change, and which of it may change while the
// server runs. One list of live keys (config_diff.cc) stands behind reload, docs/configuration.md
// and the answer of POST /api/v1/reload. Thread: any. Owner: values. Limits: none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/config.h"

namespace tidegate::control {

struct ConfigChange {
  std::string key;
  std::string from, to;  // as in the file; secrets as "(set)"
  bool live = false;     // takes effect without a restart
};

bool is_live_key(std::string_view name);

std::vector<ConfigChange> diff_configs(const Config& running, const Config& wanted);
// Copies the live keys only.
void take_live_keys(const Config& wanted, Config* running);

// {"applied": [...], "needs_restart": [...]}, each {"key", "from", "to"}.
std::string changes_json(const std::vector<ConfigChange>& changes);

}  // namespace tidegate::control
