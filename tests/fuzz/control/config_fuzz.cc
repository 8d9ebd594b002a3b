// SPDX-License-Identifier: Apache-2.0
// Configuration from a file, a variable or a flag, by the first byte. Never a crash; and what was
// accepted and is then printed as TOML reads back as the same configuration.
#include <cstdlib>
#include <string>

#include "control/config.h"

using namespace tidegate;

namespace {

// Secrets are printed as "(set)", which reads back as another, equally hidden secret.
void check_round_trip(const control::LoadedConfig& loaded) {
  control::ConfigInput again;
  again.file_name = "again.toml";
  again.file_text = control::describe(loaded.config, loaded.sources);
  const control::LoadedConfig read = control::load_config(again);
  if (!read.ok() || control::to_json(read.config) != control::to_json(loaded.config)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  control::ConfigInput input;
  switch (data[0] % 3) {
    case 0:
      input.file_name = "fuzz.toml";
      input.file_text = text;
      break;
    case 1: {
      const size_t equals = text.find('=');
      const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
      input.environment = {{"TIDEGATE_" + text.substr(0, equals), value}};
      break;
    }
    default:
      input.flags = {"--" + text};
      break;
  }
  const control::LoadedConfig loaded = control::load_config(input);
  for (const std::string& error : loaded.errors) {
    if (error.empty()) std::abort();
  }
  if (loaded.ok()) check_round_trip(loaded);
  return 0;
}
