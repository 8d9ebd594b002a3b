// SPDX-License-Identifier: Apache-2.0
#include "crypto/jwt.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "crypto/base64url.h"
#include "crypto/constant_time.h"
#include "crypto/jwt_sign.h"
#include "crypto/random.h"

namespace tidegate::crypto {
namespace {

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
constexpr int64_t kNow = 1'800'000'000;

MintClaims alice() {
  MintClaims c;
  c.subject = "alice";
  c.issued_at = kNow;
  c.expires_at = kNow + 3600;
  return c;
}

JwtVerifier verifier(JwtRules rules = {}) {
  KeySet keys;
  std::string error;
  EXPECT_TRUE(keys.add_secret(kSecret, &error)) << error;
  return JwtVerifier(std::move(keys), std::move(rules));
}

JwtStatus check(std::string_view token, JwtRules rules = {}, int64_t now = kNow,
                Claims* out = nullptr) {
  Claims claims;
  JwtVerifier v = verifier(std::move(rules));
  return v.verify(token, now, out != nullptr ? out : &claims).status;
}

std::string sign(const char* header, const char* payload) {
  return Signer::from_secret(kSecret).sign(header, payload);
}

constexpr const char* kHeader = R"({"alg":"HS256","typ":"JWT"})";

TEST(Base64Url, RoundTripsAndRefusesWhatIsNotCanonical) {
  base::Prng prng(1);
  for (size_t n = 0; n < 100; ++n) {
    std::vector<uint8_t> bytes(n);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(prng.next());
    const std::string text = encode_base64url(bytes);
    std::vector<uint8_t> back(n + 1);
    ASSERT_EQ(decode_base64url(text, back), n);
    back.resize(n);
    EXPECT_EQ(back, bytes);
  }
  uint8_t out[16];
  for (const char* bad : {"A", "AB=", "A+BC", "A/BC", "A BC"}) {
    EXPECT_EQ(decode_base64url(bad, out), kBase64Invalid) << bad;
  }
  EXPECT_EQ(decode_base64url("AB", out), kBase64Invalid);  // unused bits are not zero
  EXPECT_EQ(decode_base64url("AA", out), 1u);
  EXPECT_EQ(decode_base64url("A", out), kBase64Invalid);
  EXPECT_EQ(decode_base64url("AA==", out), kBase64Invalid);
}

TEST(Jwt, TheExampleOfRfc7515IsAccepted) {
  // Appendix A.1: its key, header and payload with line breaks, expired in 2011.
  const std::string_view key_text =
      "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
  std::vector<uint8_t> key(base64url_decoded_size(key_text.size()));
  ASSERT_EQ(decode_base64url(key_text, key), 64u);
  KeySet keys;
  std::string error;
  ASSERT_TRUE(keys.add_secret(base::as_text(key), &error)) << error;
  JwtVerifier v(std::move(keys), {});
  Claims claims;
  const char* token =
      "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
      "fQ."
      "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  // The signature is right; there is no sub, and in our days it has expired.
  EXPECT_EQ(v.verify(token, 1'300'000'000, &claims).status, JwtStatus::kInvalidToken);
  EXPECT_EQ(v.verify(token, kNow, &claims).status, JwtStatus::kTokenExpired);
}

TEST(Jwt, ReadsTheClaims) {
  MintClaims c = alice();
  c.character_id = "knight";
  c.permissions = {"publish:*", "subscribe:news"};
  Claims claims;
  ASSERT_EQ(check(mint(kSecret, c), {}, kNow, &claims), JwtStatus::kOk);
  EXPECT_EQ(claims.subject, "alice");
  EXPECT_EQ(claims.character_id, "knight");
  EXPECT_EQ(claims.permissions, c.permissions);
  EXPECT_EQ(claims.expires_at, kNow + 3600);
}

TEST(Jwt, EveryAlgorithmSignsAndIsBoundToItsKey) {
  for (const Algorithm a : {Algorithm::kRs256, Algorithm::kEs256, Algorithm::kEdDsa}) {
    const Signer signer = Signer::generate(a);
    const Signer other = Signer::generate(a);
    const std::string token = signer.sign_claims(claims_json(alice()), "k1");
    std::string error;
    KeySet pem;
    ASSERT_TRUE(pem.add_public_keys_pem(signer.public_key_pem(), &error)) << error;
    KeySet jwks;
    ASSERT_TRUE(
        jwks.add_jwks("{\"keys\":[" + other.jwk("k0") + "," + signer.jwk("k1") + "]}", &error))
        << error;
    KeySet wrong;
    ASSERT_TRUE(wrong.add_public_keys_pem(other.public_key_pem(), &error)) << error;
    Claims claims;
    EXPECT_TRUE(JwtVerifier(std::move(pem), {}).verify(token, kNow, &claims).ok()) << name_of(a);
    EXPECT_TRUE(JwtVerifier(std::move(jwks), {}).verify(token, kNow, &claims).ok()) << name_of(a);
    EXPECT_EQ(JwtVerifier(std::move(wrong), {}).verify(token, kNow, &claims).status,
              JwtStatus::kBadSignature);
  }
}

TEST(Jwt, APublicKeyIsNoSecret) {
  const Signer rsa = Signer::generate(Algorithm::kRs256);
  KeySet keys;
  std::string error;
  ASSERT_TRUE(keys.add_public_keys_pem(rsa.public_key_pem(), &error)) << error;
  JwtVerifier v(std::move(keys), {});
  // An HS256 token whose secret is the published PEM text.
  const std::string forged = mint(rsa.public_key_pem(), alice());
  Claims claims;
  EXPECT_EQ(v.verify(forged, kNow, &claims).status, JwtStatus::kBadSignature);
}

TEST(Jwt, RefusesWithTheRightCode) {
  EXPECT_EQ(check(""), JwtStatus::kNoToken);
  EXPECT_EQ(check("garbage"), JwtStatus::kInvalidToken);
  EXPECT_EQ(check("a.b.c"), JwtStatus::kInvalidToken);
  EXPECT_EQ(check("a.b.c.d"), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(std::string(9000, 'a')), JwtStatus::kInvalidToken);
  const std::string body = claims_json(alice());
  const auto with_header = [&](const char* h) { return sign(h, body.c_str()); };
  EXPECT_EQ(check(with_header(R"({"alg":"none"})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(with_header(R"({"alg":"None"})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(with_header(R"({"alg":"HS512"})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(with_header(R"({"typ":"JWT"})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(with_header(R"({"alg":"HS256","crit":["x"]})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(with_header(R"({"alg":"HS256","alg":"HS256"})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(with_header(R"({"alg":"RS256"})")), JwtStatus::kBadSignature);
  const std::string good = mint(kSecret, alice());
  EXPECT_EQ(check(good), JwtStatus::kOk);
  EXPECT_EQ(check(good.substr(0, good.rfind('.') + 1)), JwtStatus::kBadSignature);
  EXPECT_EQ(check(good.substr(0, good.size() - 4)), JwtStatus::kBadSignature);
  EXPECT_EQ(check(mint("another secret of thirty-two bytes", alice())), JwtStatus::kBadSignature);
}

TEST(Jwt, TimesHaveALeewayAndNoMore) {
  const std::string token = mint(kSecret, alice());
  EXPECT_EQ(check(token, {}, kNow + 3604), JwtStatus::kOk);
  EXPECT_EQ(check(token, {}, kNow + 3605), JwtStatus::kTokenExpired);
  const auto body = [](const char* text) { return sign(kHeader, text); };
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"nbf":1800000005})")), JwtStatus::kOk);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"nbf":1800000006})")),
            JwtStatus::kInvalidToken);
  EXPECT_EQ(check(body(R"({"sub":"a"})")), JwtStatus::kInvalidToken);
  JwtRules forever;
  forever.expiry_required = false;
  EXPECT_EQ(check(body(R"({"sub":"a"})"), forever), JwtStatus::kOk);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":"tomorrow"})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":-1})")), JwtStatus::kInvalidToken);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1e300})")), JwtStatus::kInvalidToken);
}

TEST(Jwt, OtherClaimsGrantPermissions) {
  JwtRules rules;
  for (const char* text :
       {"realm_access.roles=moderator: publish:chat.* subscribe:chat.*",
        "plan=gold: subscribe:vip.*", "https://game.example/admin=true: publish:*",
        "level=7: subscribe:seven", "plan=gold: subscribe:vip.* subscribe:lounge"}) {
    ClaimGrant grant;
    std::string error;
    ASSERT_TRUE(parse_claim_grant(text, &grant, &error)) << error;
    rules.grants.push_back(grant);
  }
  const auto permissions = [&](const std::string& claims) {
    Claims out;
    EXPECT_EQ(check(sign(kHeader, (R"({"sub":"a","exp":1800003600)" + claims + "}").c_str()), rules,
                    kNow, &out),
              JwtStatus::kOk);
    std::string text;
    for (const std::string& p : out.permissions) text += p + ' ';
    return text;
  };
  EXPECT_EQ(permissions(""), "");
  EXPECT_EQ(permissions(R"(,"realm_access":{"roles":["player","moderator"]})"),
            "publish:chat.* subscribe:chat.* ");
  EXPECT_EQ(permissions(R"(,"realm_access":{"roles":"moderators"})"), "");
  EXPECT_EQ(permissions(R"(,"realm_access":["moderator"])"), "");
  // Each once, behind those the token names itself.
  EXPECT_EQ(permissions(R"(,"plan":"gold","permissions":["subscribe:vip.*"])"),
            "subscribe:vip.* subscribe:lounge ");
  EXPECT_EQ(permissions(R"(,"https://game.example/admin":true)"), "publish:* ");
  EXPECT_EQ(permissions(R"(,"https://game.example/admin":"yes")"), "");
  EXPECT_EQ(permissions(R"(,"level":7)"), "subscribe:seven ");
  EXPECT_EQ(permissions(R"(,"level":[1,7])"), "subscribe:seven ");
}

TEST(Jwt, GrantsThatAreNoneAreRefused) {
  ClaimGrant grant;
  std::string error;
  for (const char* text : {"", "roles", "roles=admin", "roles=admin:publish:*", "=admin: publish:*",
                           "roles=: publish:*", "roles=admin: ", "roles=admin:  "}) {
    EXPECT_FALSE(parse_claim_grant(text, &grant, &error)) << text;
    EXPECT_FALSE(error.empty());
  }
}

TEST(Jwt, IssuerAndAudience) {
  JwtRules rules;
  rules.issuer = "studio";
  rules.audience = "game";
  const auto body = [](const char* text) { return sign(kHeader, text); };
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"iss":"studio","aud":"game"})"), rules),
            JwtStatus::kOk);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"iss":"studio","aud":["x","game"]})"), rules),
            JwtStatus::kOk);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"iss":"other","aud":"game"})"), rules),
            JwtStatus::kBadIssuer);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"aud":"game"})"), rules),
            JwtStatus::kBadIssuer);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"iss":"studio","aud":["x"]})"), rules),
            JwtStatus::kBadAudience);
  EXPECT_EQ(check(body(R"({"sub":"a","exp":1900000000,"iss":"studio"})"), rules),
            JwtStatus::kBadAudience);
}

TEST(Jwt, ClaimsMustBeAsTheyMust) {
  const auto status = [](const std::string& claims) {
    return check(sign(kHeader, ("{\"exp\":1900000000," + claims + "}").c_str()));
  };
  EXPECT_EQ(status(R"("sub":"")"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":5)"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a\u0000b")"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a\u0085b")"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a\udc00b")"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a\ud83d\ude00b")"), JwtStatus::kOk);
  EXPECT_EQ(status("\"sub\":\"" + std::string(64, 'x') + "\""), JwtStatus::kOk);
  EXPECT_EQ(status("\"sub\":\"" + std::string(65, 'x') + "\""), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a","sub":"b")"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a","permissions":"all")"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a","permissions":["a b"])"), JwtStatus::kInvalidToken);
  EXPECT_EQ(status(R"("sub":"a","scope":"x y")"), JwtStatus::kOk);
}

TEST(Jwt, NoMutationIsAccepted) {
  const std::string good = mint(kSecret, alice());
  JwtVerifier v = verifier();
  base::Prng prng(4);
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (uint64_t n = prng.below(3) + 1; n > 0; --n) {
      bad[prng.below(bad.size())] = static_cast<char>(prng.below(256));
    }
    Claims claims;
    if (bad != good) {
      EXPECT_FALSE(v.verify(bad, kNow, &claims).ok()) << bad;
    }
  }
}

TEST(KeySet, WeakAndWrongKeysAreRefusedInWords) {
  KeySet keys;
  std::string error;
  EXPECT_FALSE(keys.add_secret("short", &error));
  EXPECT_NE(error.find("at least 32"), std::string::npos);
  EXPECT_FALSE(
      keys.add_public_keys_pem(Signer::generate(Algorithm::kRs256, 1024).public_key_pem(), &error));
  EXPECT_NE(error.find("1024 bits"), std::string::npos);
  EXPECT_FALSE(keys.add_public_keys_pem("nothing", &error));
  EXPECT_FALSE(keys.add_public_keys_pem("-----BEGIN PRIVATE KEY-----", &error));
  EXPECT_NE(error.find("private"), std::string::npos);
  EXPECT_FALSE(keys.add_jwks("{}", &error));
  EXPECT_FALSE(keys.add_jwks(R"({"keys":[{"kty":"RSA","use":"enc"}]})", &error));
  EXPECT_FALSE(
      keys.add_jwks(R"({"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}]})", &error));
  EXPECT_EQ(keys.size(), 0u);
}

TEST(KeySet, APemBlockThatCannotBeReadIsAnError) {
  const std::string good = Signer::generate(Algorithm::kEs256).public_key_pem();
  const std::string bad = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
  std::string error;
  KeySet keys;
  EXPECT_FALSE(keys.add_public_keys_pem(good + bad, &error));
  EXPECT_EQ(error, "only 1 of 2 PEM blocks are public keys that can be read");
  EXPECT_FALSE(keys.add_public_keys_pem(bad + good, &error));
  EXPECT_EQ(keys.size(), 0u);
  EXPECT_TRUE(keys.add_public_keys_pem(good + Signer::generate(Algorithm::kEdDsa).public_key_pem(),
                                       &error));
  EXPECT_EQ(keys.size(), 2u);
}

TEST(KeySet, AnExponentOfOneIsRefused) {
  // With e = 1 the padded digest itself is the signature.
  std::string jwk = Signer::generate(Algorithm::kRs256).jwk("a");
  const size_t at = jwk.find("\"e\":\"AQAB\"");
  ASSERT_NE(at, std::string::npos);
  jwk.replace(at, 10, "\"e\":\"AQ\"");
  KeySet keys;
  std::string error;
  EXPECT_FALSE(keys.add_jwks("{\"keys\":[" + jwk + "]}", &error));
  EXPECT_EQ(error, "key a: an RSA key with a public exponent that is 1 or even is not accepted");
}

TEST(KeySet, KeyOperationsAreHeeded) {
  const std::string jwk = Signer::generate(Algorithm::kEdDsa).jwk("");
  const auto with = [&](const char* operations) {
    return "{\"keys\":[{\"key_ops\":" + std::string(operations) + "," + jwk.substr(1) + "]}";
  };
  KeySet keys;
  std::string error;
  EXPECT_FALSE(keys.add_jwks(with(R"(["encrypt"])"), &error));
  EXPECT_TRUE(keys.add_jwks(with(R"(["sign","verify"])"), &error)) << error;
}

TEST(ConstantTime, ComparesLikeEquality) {
  EXPECT_TRUE(equal_constant_time("abc", "abc"));
  EXPECT_TRUE(equal_constant_time("", ""));
  EXPECT_FALSE(equal_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_constant_time("abcabc", "abc"));
  EXPECT_FALSE(equal_constant_time("", "abc"));
  EXPECT_FALSE(equal_constant_time("abc", ""));
}

TEST(Random, GivesDifferentText) {
  const std::string a = random_text(32);
  EXPECT_EQ(a.size(), 43u);
  EXPECT_NE(a, random_text(32));
}

}  // namespace
}  // namespace tidegate::crypto
