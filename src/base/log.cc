// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <unistd.h>

namespace tidegate::base {
namespace {
LogHook installed_hook = nullptr;
}

void set_log_hook(LogHook hook) { installed_hook = hook; }

void log(LogLevel level, std::string_view text) {
  if (installed_hook != nullptr) {
    installed_hook(level, text);
  } else if (level == LogLevel::kFatal) {
    // No stream of the C library: it may be what failed.
    (void)!::write(STDERR_FILENO, text.data(), text.size());
    (void)!::write(STDERR_FILENO, "\n", 1);
  }
}

}  // namespace tidegate::base
