// SPDX-License-Identifier: Apache-2.0
// Key files: a JWK set (first byte even) or PEM text (odd). Either keys come in and each has an
// algorithm and what it needs for it, or there is an error text and the set is as it was.
#include <cstdlib>
#include <string>

#include "crypto/key.h"
#include "crypto/key_set.h"

using namespace tidegate;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  crypto::KeySet keys;
  std::string error;
  const bool added =
      data[0] % 2 == 0 ? keys.add_jwks(text, &error) : keys.add_public_keys_pem(text, &error);
  if (added != (keys.size() != 0) || added != error.empty()) std::abort();
  if (keys.size() > crypto::kKeysMax) std::abort();
  for (const crypto::Key& key : keys.keys()) {
    const bool secret = key.algorithm == crypto::Algorithm::kHs256;
    if (secret != (key.mac != nullptr) || secret != (key.pkey == nullptr)) std::abort();
  }
  if (keys.describe().size() != keys.size()) std::abort();
  return 0;
}
