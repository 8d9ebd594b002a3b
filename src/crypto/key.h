// SPDX-License-Identifier: Apache-2.0
// One key of a KeySet with its OpenSSL handles.
// Thread: control. Owner: KeySet. Limits: none.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>

#include "crypto/key_set.h"

namespace tidegate::crypto {

struct FreePkey {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};
struct FreeMacContext {
  void operator()(EVP_MAC_CTX* p) const { EVP_MAC_CTX_free(p); }
};

struct Key {
  Algorithm algorithm = Algorithm::kHs256;
  std::string id;                                    // kid, empty: none
  std::unique_ptr<EVP_PKEY, FreePkey> pkey;          // all but HS256
  std::unique_ptr<EVP_MAC_CTX, FreeMacContext> mac;  // HS256, keyed; init again for each use
};

}  // namespace tidegate::crypto
