// SPDX-License-Identifier: Apache-2.0
// The one table of configuration keys.
// Thread: setup. Owner: static. Limits: none.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "control/config.h"

namespace tidegate::control {

enum class KeyType : uint8_t {
  kText,
  kSecret,
  kPath,
  kAddress,
  kCount,
  kSize,
  kDuration,
  kNumber,
  kFlag,
  kCpus,
  kVector,
  kTexts,    // list of texts without spaces
  kNetworks  // list of addresses and networks
};

// One value as the table reads and writes it.
struct KeySpec {
  const char* name;  // section.key
  KeyType type;
  double low, high;  // range: counts, bytes (also of texts), seconds, metres
  const char* unit;  // for docs, "" when the type says it
  const char* help;
  void* (*field)(Config&);
};

std::span<const KeySpec> config_keys();
// Index in the table, or -1.
int find_key(std::string_view name);
// The known key that is most like `name`, null when none is near.
const char* nearest_key(std::string_view name);

// Text of a value as it would stand in the file; secrets as "(set)" or "".
std::string value_text(const KeySpec& key, const Config& config);
// Reads a value written as in a flag or variable. Empty on success, else what is wrong with it.
std::string parse_value(const KeySpec& key, std::string_view text, Config* config);
const char* name_of(KeyType type);
// "250ms", "10s", "5m", "24h", "7d".
bool parse_duration_text(std::string_view text, double* seconds);

}  // namespace tidegate::control
