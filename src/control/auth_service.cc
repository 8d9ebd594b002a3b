// SPDX-License-Identifier: Apache-2.0
#include "control/auth_service.h"

#include <algorithm>

namespace tidegate::control {
namespace {

// Reads every configured key. False with text that names the configuration key.
bool load_keys(const Config::Auth& config, const std::string& url_keys, crypto::KeySet* keys,
               std::string* error) {
  std::string text;
  std::string why;
  if (!config.hs256_secret.empty() || !config.hs256_secret_file.empty()) {
    if (!read_hs256_secret_blocking(config, &text, error)) return false;
    if (!keys->add_secret(text, &why)) {
      *error =
          (config.hs256_secret.empty() ? "auth.hs256_secret_file: " : "auth.hs256_secret: ") + why;
      return false;
    }
  }
  if (!config.public_key_file.empty()) {
    if (!read_file_blocking(config.public_key_file, kKeyFileBytesMax, &text, &why) ||
        !keys->add_public_keys_pem(text, &why)) {
      *error = "auth.public_key_file: " + why;
      return false;
    }
  }
  if (!config.jwks_file.empty()) {
    if (!read_file_blocking(config.jwks_file, kKeyFileBytesMax, &text, &why) ||
        !keys->add_jwks(text, &why)) {
      *error = "auth.jwks_file: " + why;
      return false;
    }
  }
  if (!url_keys.empty() && !keys->add_jwks(url_keys, &why)) {
    *error = "auth.jwks_url: " + why;
    return false;
  }
  if (keys->size() == 0 && config.jwks_url.empty()) {
    *error =
        "auth: no key to check tokens with; set auth.hs256_secret, auth.hs256_secret_file, "
        "auth.public_key_file, auth.jwks_file or auth.jwks_url";
    return false;
  }
  return true;
}

crypto::JwtRules rules_of(const Config::Auth& config) {
  crypto::JwtRules rules;
  rules.issuer = config.issuer;
  rules.audience = config.audience;
  rules.leeway_s = config.leeway.ns / 1'000'000'000;
  rules.expiry_required = config.expiry_required;
  for (const std::string& text : config.grants) {
    crypto::ClaimGrant grant;
    std::string ignored;  // load_config() has looked at them
    if (crypto::parse_claim_grant(text, &grant, &ignored)) rules.grants.push_back(grant);
  }
  return rules;
}

}  // namespace

bool read_hs256_secret_blocking(const Config::Auth& config, std::string* secret,
                                std::string* error) {
  if (!config.hs256_secret.empty()) {
    *secret = config.hs256_secret;
    return true;
  }
  if (config.hs256_secret_file.empty()) {
    *error = "auth.hs256_secret and auth.hs256_secret_file are both empty; one is needed to sign";
    return false;
  }
  std::string why;
  if (!read_file_blocking(config.hs256_secret_file, kKeyFileBytesMax, secret, &why)) {
    *error = "auth.hs256_secret_file: " + why;
    return false;
  }
  // Editors end a file with a newline; it is no part of the secret.
  while (!secret->empty() && (secret->back() == '\n' || secret->back() == '\r')) secret->pop_back();
  return true;
}

std::unique_ptr<AuthService> AuthService::make(const Config::Auth& config, std::string* error) {
  // What was fetched last time does until it is fetched again; a cache that is gone or damaged is
  // none.
  std::string cached;
  std::string why;
  crypto::KeySet trial;
  if (config.jwks_url.empty() || config.jwks_cache_file.empty() ||
      !read_file_blocking(config.jwks_cache_file, kKeyFileBytesMax, &cached, &why) ||
      !trial.add_jwks(cached, &why)) {
    cached.clear();
  }
  crypto::KeySet keys;
  if (!load_keys(config, cached, &keys, error)) return nullptr;
  return std::unique_ptr<AuthService>(new AuthService(
      config, std::move(cached), crypto::JwtVerifier(std::move(keys), rules_of(config))));
}

bool AuthService::reload_blocking(std::string* error) {
  crypto::KeySet keys;
  if (!load_keys(config_, url_keys_, &keys, error)) return false;
  verifier_ = crypto::JwtVerifier(std::move(keys), rules_of(config_));
  return true;
}

bool AuthService::set_url_keys(const std::string& jwks, std::string* error) {
  crypto::KeySet keys;
  if (!load_keys(config_, jwks, &keys, error)) return false;
  verifier_ = crypto::JwtVerifier(std::move(keys), rules_of(config_));
  url_keys_ = jwks;
  return true;
}

void AuthService::adopt(AuthService&& other) {
  const bool same_address = other.config_.jwks_url == config_.jwks_url;
  const std::string fetched = same_address ? url_keys_ : std::string();
  config_ = std::move(other.config_);
  verifier_ = std::move(other.verifier_);
  url_keys_ = std::move(other.url_keys_);
  std::string ignored;  // the files were read a moment ago
  if (!fetched.empty()) (void)set_url_keys(fetched, &ignored);
}

bool AuthService::revoke(const std::string& user, int64_t now, int64_t until) {
  std::erase_if(revoked_, [now](const auto& entry) { return entry.second.until <= now; });
  if (revoked_.size() >= kRevocationsMax && !revoked_.contains(user)) return false;
  Revocation& r = revoked_[user];
  r.at = std::max(r.at, now);
  r.until = std::max(r.until, until);
  return true;
}

AuthOutcome AuthService::verify(std::string_view token, int64_t unix_now) {
  const crypto::JwtResult result = verifier_.verify(token, unix_now, &claims_);
  AuthOutcome out;
  out.ok = result.ok();
  out.code = crypto::code_of(result.status);
  out.message = result.message;
  out.unknown_key = result.unknown_key;
  if (!out.ok) return out;
  if (const auto it = revoked_.find(claims_.subject);
      it != revoked_.end() && unix_now < it->second.until && claims_.issued_at <= it->second.at) {
    out.ok = false;
    out.code = crypto::code_of(crypto::JwtStatus::kInvalidToken);
    out.message = "the token was revoked";
    return out;
  }
  out.user_id = claims_.subject;
  out.player_id = claims_.character_id.empty() ? claims_.subject : claims_.character_id;
  out.permissions = claims_.permissions;
  out.expires_at = claims_.expires_at;
  return out;
}

}  // namespace tidegate::control
