// SPDX-License-Identifier: Apache-2.0
#include "base/assert.h"

#include <cstdlib>

#include "base/log.h"

namespace tidegate::base {

void assert_failed(const char* condition, const char* file, int line) {
  char text[512];
  format_into(text, "assertion failed: %s (%s:%d)", condition, file, line);
  log(LogLevel::kFatal, text);
  std::abort();
}

}  // namespace tidegate::base
