// SPDX-License-Identifier: Apache-2.0
#include "store/session_tokens.h"

#include <cstring>

#include "crypto/base64url.h"
#include "crypto/constant_time.h"
#include "crypto/mac.h"
#include "crypto/random.h"

namespace tidegate::store {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kClaimBytes = 1 + 8 + 4 + 8;
constexpr size_t kTokenBytes = kClaimBytes + 32;
constexpr std::string_view kDomain = "tidegate resume 1";

}  // namespace

std::string SessionTokens::random_secret() { return crypto::random_text(kSecretBytesMin); }

bool SessionTokens::sign(base::Bytes claim, std::string_view user, std::string_view player,
                         uint8_t (&mac)[32]) const {
  std::string message(kDomain);
  message.append(base::as_text(claim));
  uint8_t size[2];
  base::store_le<uint16_t>(size, static_cast<uint16_t>(user.size()));
  message.append(base::as_text(size));
  message.append(user);
  message.append(player);
  crypto::Mac out;
  if (!crypto::hmac_sha256(base::as_bytes(secret_), base::as_bytes(message), &out)) return false;
  std::memcpy(mac, out.data(), sizeof mac);
  return true;
}

std::string SessionTokens::issue(uint64_t session, uint32_t nonce, std::string_view user,
                                 std::string_view player, int64_t unix_now) const {
  uint8_t bytes[kTokenBytes];
  bytes[0] = kVersion;
  base::store_le<uint64_t>(bytes + 1, session);
  base::store_le<uint32_t>(bytes + 9, nonce);
  base::store_le<uint64_t>(bytes + 13, static_cast<uint64_t>(unix_now + lifetime_s_));
  uint8_t mac[32];
  if (!sign({bytes, kClaimBytes}, user, player, mac)) return {};
  std::memcpy(bytes + kClaimBytes, mac, sizeof mac);
  return crypto::encode_base64url(bytes);
}

ResumeClaim SessionTokens::check(std::string_view token, std::string_view user,
                                 std::string_view player, int64_t unix_now) const {
  ResumeClaim claim;
  uint8_t bytes[kTokenBytes + 3];
  if (crypto::base64url_decoded_size(token.size()) > sizeof bytes ||
      crypto::decode_base64url(token, bytes) != kTokenBytes || bytes[0] != kVersion) {
    return claim;
  }
  uint8_t mac[32];
  if (!sign({bytes, kClaimBytes}, user, player, mac) ||
      !crypto::equal_constant_time(base::as_text({bytes + kClaimBytes, 32}), base::as_text(mac))) {
    return claim;
  }
  claim.session = base::load_le<uint64_t>(bytes + 1);
  claim.nonce = base::load_le<uint32_t>(bytes + 9);
  const auto expires_at = static_cast<int64_t>(base::load_le<uint64_t>(bytes + 13));
  claim.status = unix_now < expires_at ? ResumeClaim::Status::kGood : ResumeClaim::Status::kExpired;
  return claim;
}

}  // namespace tidegate::store
