// SPDX-License-Identifier: Apache-2.0
// The one way out for text from the library: a hook that the program installs before it starts
// threads. Without a hook only fatal lines go to stderr. Not for per-message use on a shard.
// Thread: any (the hook must be thread-safe). Owner: the program owns the hook. Limits: 512 bytes.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <string_view>

namespace tidegate::base {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kFatal };

using LogHook = void (*)(LogLevel level, std::string_view text);

// Installs the hook; call once, before other threads exist.
void set_log_hook(LogHook hook);

void log(LogLevel level, std::string_view text);

// printf-style formatting into a fixed array; truncates, always terminates.
template <size_t N>
[[gnu::format(printf, 2, 3)]] std::string_view format_into(char (&out)[N], const char* format,
                                                           ...) {
  va_list args;
  va_start(args, format);
  int n = std::vsnprintf(out, N, format, args);
  va_end(args);
  if (n < 0) n = 0;
  return {out, static_cast<size_t>(n) < N ? static_cast<size_t>(n) : N - 1};
}

}  // namespace tidegate::base
