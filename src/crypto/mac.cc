// SPDX-License-Identifier: Apache-2.0
#include "crypto/mac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace tidegate::crypto {

bool hmac_sha256(base::Bytes key, base::Bytes message, Mac* out) {
  unsigned size = 0;
  return HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), message.data(),
              message.size(), out->data(), &size) != nullptr &&
         size == out->size();
}

}  // namespace tidegate::crypto
