// SPDX-License-Identifier: Apache-2.0
#include "control/auth_service.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "crypto/jwt_sign.h"

namespace tidegate::control {
namespace {

using crypto::Algorithm;
using crypto::Signer;

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
constexpr int64_t kNow = 1'800'000'000;

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view text) {
    const int fd = mkstemp(path_);
    EXPECT_GE(fd, 0);
    close(fd);
    write(text);
  }
  ~TemporaryFile() { unlink(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::string_view text) {
    std::FILE* file = std::fopen(path_, "w");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), file), text.size());
    std::fclose(file);
  }
  const char* path() const { return path_; }

 private:
  char path_[32] = "/tmp/tidegate-test-XXXXXX";
};

std::string claims(const char* character = "") {
  crypto::MintClaims c;
  c.subject = "alice";
  c.character_id = character;
  c.permissions = {"publish:news"};
  c.expires_at = kNow + 60;
  return claims_json(c);
}

std::string error_of(const Config::Auth& config) {
  std::string error;
  EXPECT_EQ(AuthService::make(config, &error), nullptr);
  return error;
}

TEST(AuthService, OutcomeIsInTheProtocolsTerms) {
  Config::Auth config;
  config.hs256_secret = kSecret;
  std::string error;
  const auto auth = AuthService::make(config, &error);
  ASSERT_NE(auth, nullptr) << error;
  const Signer signer = Signer::from_secret(kSecret);
  AuthOutcome out = auth->verify(signer.sign_claims(claims("knight")), kNow);
  ASSERT_TRUE(out.ok);
  EXPECT_EQ(out.user_id, "alice");
  EXPECT_EQ(out.player_id, "knight");
  EXPECT_EQ(out.permissions, std::vector<std::string>{"publish:news"});
  EXPECT_EQ(out.expires_at, kNow + 60);
  // Without a character the player is the user, and nothing of the last token stays.
  out = auth->verify(signer.sign_claims(claims()), kNow);
  EXPECT_EQ(out.player_id, "alice");

  out = auth->verify("", kNow);
  EXPECT_FALSE(out.ok);
  EXPECT_EQ(out.http_status, 401);
  EXPECT_EQ(out.code, "no_token");
  out = auth->verify(signer.sign_claims(claims("knight")), kNow + 3600);
  EXPECT_EQ(out.code, "token_expired");
  EXPECT_TRUE(out.user_id.empty());
  EXPECT_FALSE(out.message.empty());
}

TEST(AuthService, ErrorsNameTheKeyOfTheConfiguration) {
  EXPECT_NE(error_of({}).find("auth: no key to check tokens with"), std::string::npos);
  Config::Auth config;
  config.hs256_secret = "short";
  EXPECT_EQ(error_of(config),
            "auth.hs256_secret: an HS256 secret of 5 bytes is too short: at least 32");
  config = {};
  config.hs256_secret_file = "/nonexistent/secret";
  EXPECT_EQ(error_of(config),
            "auth.hs256_secret_file: cannot open /nonexistent/secret: No such file or directory");
  const TemporaryFile nonsense("nonsense");
  config = {};
  config.public_key_file = nonsense.path();
  EXPECT_EQ(error_of(config), "auth.public_key_file: no PEM public key (BEGIN PUBLIC KEY) in it");
  config = {};
  config.jwks_file = nonsense.path();
  EXPECT_EQ(error_of(config), "auth.jwks_file: not a JWK set: expected {\"keys\": [...]}");
  config.jwks_file = "/";
  EXPECT_NE(error_of(config).find("auth.jwks_file: cannot read /"), std::string::npos);
}

TEST(AuthService, ASecretFileMayEndWithANewline) {
  const TemporaryFile file(std::string(kSecret) + "\r\n");
  Config::Auth config;
  config.hs256_secret_file = file.path();
  std::string error;
  const auto auth = AuthService::make(config, &error);
  ASSERT_NE(auth, nullptr) << error;
  EXPECT_TRUE(auth->verify(Signer::from_secret(kSecret).sign_claims(claims()), kNow).ok);
  std::string secret;
  ASSERT_TRUE(read_hs256_secret_blocking(config, &secret, &error));
  EXPECT_EQ(secret, kSecret);
}

TEST(AuthService, AllKindsOfKeysTogether) {
  const Signer pem = Signer::generate(Algorithm::kEs256);
  const Signer jwk = Signer::generate(Algorithm::kEdDsa);
  const TemporaryFile pem_file(pem.public_key_pem());
  const TemporaryFile jwks_file("{\"keys\":[" + jwk.jwk("k1") + "]}");
  Config::Auth config;
  config.hs256_secret = kSecret;
  config.public_key_file = pem_file.path();
  config.jwks_file = jwks_file.path();
  std::string error;
  const auto auth = AuthService::make(config, &error);
  ASSERT_NE(auth, nullptr) << error;
  EXPECT_EQ(auth->describe_keys(), (std::vector<std::string>{"HS256", "ES256", "EdDSA kid=k1"}));
  EXPECT_TRUE(auth->verify(Signer::from_secret(kSecret).sign_claims(claims()), kNow).ok);
  EXPECT_TRUE(auth->verify(pem.sign_claims(claims(), "whatever"), kNow).ok);
  EXPECT_TRUE(auth->verify(jwk.sign_claims(claims(), "k1"), kNow).ok);
  EXPECT_EQ(auth->verify(jwk.sign_claims(claims(), "k2"), kNow).code, "bad_signature");
}

TEST(AuthService, ReloadTakesNewKeysAndKeepsTheOldOnesOnAnError) {
  TemporaryFile file(kSecret);
  Config::Auth config;
  config.hs256_secret_file = file.path();
  std::string error;
  const auto auth = AuthService::make(config, &error);
  ASSERT_NE(auth, nullptr) << error;
  const std::string before = Signer::from_secret(kSecret).sign_claims(claims());
  const std::string_view new_secret = "fedcba9876543210fedcba9876543210";
  const std::string after = Signer::from_secret(new_secret).sign_claims(claims());

  file.write("too short");
  EXPECT_FALSE(auth->reload_blocking(&error));
  EXPECT_TRUE(auth->verify(before, kNow).ok);
  file.write(new_secret);
  ASSERT_TRUE(auth->reload_blocking(&error)) << error;
  EXPECT_EQ(auth->verify(before, kNow).code, "bad_signature");
  EXPECT_TRUE(auth->verify(after, kNow).ok);
}

TEST(AuthService, ARevokedUserNeedsANewerToken) {
  Config::Auth config;
  config.hs256_secret = kSecret;
  std::string error;
  const auto auth = AuthService::make(config, &error);
  ASSERT_NE(auth, nullptr) << error;
  const Signer signer = Signer::from_secret(kSecret);
  const std::string token = signer.sign_claims(claims("knight"));
  ASSERT_TRUE(auth->verify(token, kNow).ok);
  ASSERT_TRUE(auth->revoke("alice", kNow, kNow + 30));
  const AuthOutcome out = auth->verify(token, kNow + 1);
  EXPECT_FALSE(out.ok);
  EXPECT_EQ(out.code, "invalid_token");
  EXPECT_TRUE(out.user_id.empty());
  // A reload keeps it.
  auth->adopt(std::move(*AuthService::make(config, &error)));
  EXPECT_FALSE(auth->verify(token, kNow + 29).ok);
  EXPECT_TRUE(auth->verify(token, kNow + 30).ok) << "it is over";
}

TEST(AuthService, FetchedKeysStandBesideThoseOfFiles) {
  Config::Auth config;
  config.jwks_url = "https://keys.example/jwks";
  std::string error;
  const auto auth = AuthService::make(config, &error);
  ASSERT_NE(auth, nullptr) << error;
  EXPECT_FALSE(auth->has_keys());
  const std::string token = Signer::from_secret(kSecret).sign_claims(claims());
  EXPECT_TRUE(auth->verify(token, kNow).unknown_key);
  constexpr const char* kJwks = R"({"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA",)"
                                R"("x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})";
  ASSERT_TRUE(auth->set_url_keys(kJwks, &error)) << error;
  EXPECT_TRUE(auth->has_keys());
  EXPECT_FALSE(auth->set_url_keys("nonsense", &error));
  EXPECT_TRUE(auth->has_keys()) << "what was good stays";
  // Read again with a secret beside it: both.
  config.hs256_secret = kSecret;
  auth->adopt(std::move(*AuthService::make(config, &error)));
  EXPECT_EQ(auth->describe_keys().size(), 2u);
  EXPECT_TRUE(auth->verify(token, kNow).ok);
  // A signature that is wrong is no unknown key.
  std::string wrong = token;
  wrong[wrong.size() - 2] = wrong[wrong.size() - 2] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(auth->verify(wrong, kNow).ok);
  EXPECT_FALSE(auth->verify(wrong, kNow).unknown_key);
}

}  // namespace
}  // namespace tidegate::control
