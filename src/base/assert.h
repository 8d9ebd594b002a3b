// SPDX-License-Identifier: Apache-2.0
// Assertions that stay on in production. They state what only our own bug can break; what a peer,
// the kernel, a store or a file can cause is an error value instead (see result.h).
// Thread: any. Owner: none. Limits: none.
#pragma once

namespace tidegate::base {

// Writes the failed condition to stderr and aborts. Never returns.
[[noreturn]] void assert_failed(const char* condition, const char* file, int line);

}  // namespace tidegate::base

#define TG_ASSERT(condition)          \
  (__builtin_expect(!!(condition), 1) \
       ? static_cast<void>(0)         \
       : ::tidegate::base::assert_failed(#condition, __FILE__, __LINE__))
