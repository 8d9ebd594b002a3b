// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

namespace tidegate::base {
namespace {
LogHook installed_hook = nullptr;
}

void set_log_hook(LogHook hook) { installed_hook = hook; }

void log(LogLevel level, std::string_view text) {
  if (installed_hook != nullptr) {
    installed_hook(level, text);
  } else if (level == LogLevel::kFatal) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  }
}

}  // namespace tidegate::base
