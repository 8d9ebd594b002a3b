// SPDX-License-Identifier: Apache-2.0
// Resume tokens from anywhere. The first byte says what the rest is:
//   even   a token; the key is in no seed, so none may be good
//   odd    session, nonce, and how one of our own tokens is changed: only the unchanged one is
//   good,
//          only for its user and player, and only until it expires
#include <cstdlib>
#include <cstring>
#include <string>

#include "store/session_tokens.h"

using namespace tidegate;

namespace {
constexpr int64_t kNow = 1'800'000'000;
constexpr int64_t kLifetime = 1000;
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const store::SessionTokens tokens("a key of resume tokens that stands in no seed.",
                                           kLifetime);
  using Status = store::ResumeClaim::Status;
  if (size == 0) return 0;
  const bool own = (data[0] & 1) != 0;
  ++data;
  --size;
  if (!own) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (tokens.check(text, "ann", "ann-1", kNow).status == Status::kGood) std::abort();
    return 0;
  }
  if (size < 14) return 0;
  uint64_t session = 0;
  uint32_t nonce = 0;
  std::memcpy(&session, data, 8);
  std::memcpy(&nonce, data + 8, 4);
  const std::string token = tokens.issue(session, nonce, "ann", "ann-1", kNow);
  const auto claim = tokens.check(token, "ann", "ann-1", kNow + 1);
  if (claim.status != Status::kGood || claim.session != session || claim.nonce != nonce) {
    std::abort();
  }
  if (tokens.check(token, "bob", "ann-1", kNow).status == Status::kGood) std::abort();
  if (tokens.check(token, "ann", "ann-2", kNow).status == Status::kGood) std::abort();
  // The border between the two names is part of what is signed.
  if (tokens.check(token, "ann-", "1ann-1", kNow).status == Status::kGood) std::abort();
  if (tokens.check(token, "ann", "ann-1", kNow + kLifetime + 1).status != Status::kExpired) {
    std::abort();
  }
  std::string changed = token;
  for (size_t i = 12; i + 1 < size; i += 2) {
    changed[data[i] % changed.size()] = static_cast<char>(data[i + 1]);
  }
  if (changed != token && tokens.check(changed, "ann", "ann-1", kNow).status == Status::kGood) {
    std::abort();
  }
  return 0;
}
