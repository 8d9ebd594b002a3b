// SPDX-License-Identifier: Apache-2.0
#include "crypto/random.h"

#include <sys/random.h>

#include <cerrno>
#include <vector>

#include "crypto/base64url.h"

namespace tidegate::crypto {

bool fill_random(base::MutableBytes out) {
  while (!out.empty()) {
    const ssize_t n = getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out = out.subspan(static_cast<size_t>(n));
  }
  return true;
}

std::string random_text(size_t byte_count) {
  std::vector<uint8_t> bytes(byte_count);
  return fill_random(bytes) ? encode_base64url(bytes) : std::string{};
}

}  // namespace tidegate::crypto
