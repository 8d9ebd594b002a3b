// SPDX-License-Identifier: Apache-2.0
#include "crypto/constant_time.h"

#include <cstddef>
#include <cstdint>

namespace tidegate::crypto {

bool equal_constant_time(std::string_view given, std::string_view secret) {
  uint32_t difference = given.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    const char other = secret.empty() ? '\0' : secret[i % secret.size()];
    difference |= static_cast<uint8_t>(given[i] ^ other);
  }
  return difference == 0;
}

}  // namespace tidegate::crypto
