// SPDX-License-Identifier: Apache-2.0
#include "tls/ticket_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstring>
#include <string_view>

#include "base/assert.h"

namespace tidegate::tls {
namespace {

// HMAC-SHA-256 of a name under the chain's state.
void derive(const TicketSeed& state, std::string_view what, uint8_t (&out)[32]) {
  unsigned int size = sizeof out;
  const auto* text = reinterpret_cast<const uint8_t*>(what.data());
  const uint8_t* made = HMAC(EVP_sha256(), state.data(), static_cast<int>(state.size()), text,
                             what.size(), out, &size);
  TG_ASSERT(made != nullptr && size == sizeof out);
}

}  // namespace

TicketKeys::TicketKeys(const TicketSeed& seed, base::Instant origin, base::Duration rotation)
    : rotation_(rotation), due_(origin + rotation), state_(seed) {
  TG_ASSERT(rotation.ns > 0);
  for (int i = 0; i < 3; ++i) step();
}

TicketKeys::~TicketKeys() {
  OPENSSL_cleanse(state_.data(), state_.size());
  OPENSSL_cleanse(keys_, sizeof keys_);
}

void TicketKeys::step() {
  keys_[0] = keys_[1];
  keys_[1] = keys_[2];
  uint8_t bytes[32];
  derive(state_, "ticket name", bytes);
  std::memcpy(keys_[2].name, bytes, sizeof keys_[2].name);
  derive(state_, "ticket cipher", keys_[2].cipher);
  derive(state_, "ticket mac", keys_[2].mac);
  derive(state_, "next", bytes);
  std::memcpy(state_.data(), bytes, state_.size());
  OPENSSL_cleanse(bytes, sizeof bytes);
}

void TicketKeys::rotate(base::Instant now) {
  while (now >= due_) {
    step();
    due_ = due_ + rotation_;
  }
}

const TicketKeys::Key* TicketKeys::find(const uint8_t* name) const {
  for (const Key& key : keys_) {
    if (std::memcmp(key.name, name, sizeof key.name) == 0) return &key;
  }
  return nullptr;
}

}  // namespace tidegate::tls
