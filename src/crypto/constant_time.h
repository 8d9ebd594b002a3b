// SPDX-License-Identifier: Apache-2.0
// Comparison of secrets in a time that does not depend on where they differ.
// Thread: any. Owner: none. Limits: the length of `given` may be learned from the time, never
// `secret`.
#pragma once

#include <string_view>

namespace tidegate::crypto {

// Walks over all of `given`, whatever the size of `secret`.
[[nodiscard]] bool equal_constant_time(std::string_view given, std::string_view secret);

}  // namespace tidegate::crypto
