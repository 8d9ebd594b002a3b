// SPDX-License-Identifier: Apache-2.0
// Who a token is: keys from the configuration, the check of crypto/jwt.h, and its outcome in the
// terms of protocol.md.
// Thread: control (verify and reload share scratch memory and are not for several threads).
// Owner: server. Limits: those of crypto/jwt.h; key files of at most kKeyFileBytesMax.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/config.h"
#include "crypto/jwt.h"

namespace tidegate::control {

inline constexpr size_t kKeyFileBytesMax = 256 * 1024;
inline constexpr size_t kRevocationsMax = 100'000;

struct AuthOutcome {
  bool ok = false;
  int http_status = 401;                 // for the answer when not ok
  std::string_view code;                 // static: "invalid_token", ...; "ok"
  std::string_view message;              // static, for people
  bool unknown_key = false;              // a key set that is fetched anew might have its key
  std::string user_id;                   // sub
  std::string player_id;                 // character_id, or user_id when the token has none
  std::vector<std::string> permissions;  // no spaces inside one
  int64_t expires_at = 0;                // Unix seconds; 0: never
};

class AuthService {
 public:
  // Null with text in `error` when a key cannot be read or is too weak, or none is configured.
  [[nodiscard]] static std::unique_ptr<AuthService> make(const Config::Auth& config,
                                                         std::string* error);

  // `unix_now` in seconds.
  AuthOutcome verify(std::string_view token, int64_t unix_now);

  // Reads the key files again. On an error the keys stay as they are.
  [[nodiscard]] bool reload_blocking(std::string* error);

  // The key set of auth.jwks_url, beside those of files. False: nothing changed.
  [[nodiscard]] bool set_url_keys(const std::string& jwks, std::string* error);
  // False: auth.jwks_url is the only source and has not answered yet.
  bool has_keys() const { return verifier_.keys().size() != 0; }

  // Keys and rules of `other`; who is revoked stays so, fetched keys of the same address too.
  void adopt(AuthService&& other);

  // Tokens of the user that were made up to `now` are refused until `until` (Unix seconds); those
  // without iat too. False: kRevocationsMax users are revoked already.
  bool revoke(const std::string& user, int64_t now, int64_t until);

  // For another process, from any thread while control stands still.
  const std::string& url_keys() const { return url_keys_; }
  template <class Visit>
  void for_each_revoked(Visit&& visit) const {
    for (const auto& [user, r] : revoked_) visit(std::string_view(user), r.at, r.until);
  }
  void restore_revoked(const std::string& user, int64_t at, int64_t until) {
    if (revoked_.size() < kRevocationsMax) revoked_[user] = {at, until};
  }

  // "HS256", "RS256 kid=a", ...
  std::vector<std::string> describe_keys() const { return verifier_.keys().describe(); }

 private:
  AuthService(const Config::Auth& config, std::string url_keys, crypto::JwtVerifier verifier)
      : config_(config), url_keys_(std::move(url_keys)), verifier_(std::move(verifier)) {}

  Config::Auth config_;
  std::string url_keys_;  // the last good set of auth.jwks_url
  crypto::JwtVerifier verifier_;
  crypto::Claims claims_;  // scratch
  struct Revocation {
    int64_t at = 0;
    int64_t until = 0;
  };
  std::map<std::string, Revocation, std::less<>> revoked_;
};

// The HS256 secret that `tidegate token` signs with: auth.hs256_secret or the file's content.
// False with text in `error` when there is none.
[[nodiscard]] bool read_hs256_secret_blocking(const Config::Auth& config, std::string* secret,
                                              std::string* error);

}  // namespace tidegate::control
