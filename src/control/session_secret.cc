// SPDX-License-Identifier: Apache-2.0
#include "control/session_secret.h"

namespace tidegate::control {

std::unique_ptr<store::SessionTokens> make_session_tokens(const Config::Session& config,
                                                          std::string* error) {
  std::string secret = config.secret;
  std::string key = "session.secret";
  if (secret.empty() && !config.secret_file.empty()) {
    key = "session.secret_file";
    std::string why;
    if (!read_file_blocking(config.secret_file, 64 * 1024, &secret, &why)) {
      *error = key + ": " + why;
      return nullptr;
    }
    while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
    if (secret.empty()) {
      *error = key + ": the file is empty";
      return nullptr;
    }
  }
  const bool given = !secret.empty();
  if (!given) secret = store::SessionTokens::random_secret();
  if (secret.size() < store::SessionTokens::kSecretBytesMin) {
    *error =
        given ? key + ": needs at least 32 bytes" : "the system gives no random bytes (getrandom)";
    return nullptr;
  }
  return std::make_unique<store::SessionTokens>(std::move(secret),
                                                config.token_lifetime.ns / 1'000'000'000);
}

}  // namespace tidegate::control
