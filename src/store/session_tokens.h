// SPDX-License-Identifier: Apache-2.0
// Resume tokens: which session, which of its tokens, until when, signed with HMAC-SHA256 together
// with the user and player it was given to. Any gateway with the same key can check one; that it is
// used once only is known to the session's home shard (shard/session_home.h), by the nonce.
//
// Token: base64url of version u8 = 1, session u64, nonce u32, expiry u64 (Unix seconds), all
// little-endian, then the MAC over "tidegate resume 1", these bytes, u16 bytes of the user id, the
// user id and the player id.
// Thread: control. Owner: server. Limits: session::kResumeBytesMax characters.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace tidegate::store {

struct ResumeClaim {
  enum class Status : uint8_t { kGood, kBad, kExpired };
  Status status = Status::kBad;
  uint64_t session = 0;
  uint32_t nonce = 0;
};

class SessionTokens {
 public:
  static constexpr size_t kSecretBytesMin = 32;

  SessionTokens(std::string secret, int64_t lifetime_s)
      : secret_(std::move(secret)), lifetime_s_(lifetime_s) {}

  // Empty when OpenSSL failed.
  std::string issue(uint64_t session, uint32_t nonce, std::string_view user,
                    std::string_view player, int64_t unix_now) const;
  ResumeClaim check(std::string_view token, std::string_view user, std::string_view player,
                    int64_t unix_now) const;
  static std::string random_secret();  // empty: the system gives no random bytes
  const std::string& secret() const { return secret_; }

 private:
  bool sign(base::Bytes claim, std::string_view user, std::string_view player,
            uint8_t (&mac)[32]) const;

  std::string secret_;
  int64_t lifetime_s_;
};

}  // namespace tidegate::store
