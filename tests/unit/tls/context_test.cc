// SPDX-License-Identifier: Apache-2.0
// Certificates and keys that are wrong in every way an operator has managed so far; ticket keys.
#include <gtest/gtest.h>

#include <ctime>

#include "make_certificate.h"
#include "tls/server_context.h"
#include "tls/ticket_keys.h"

namespace tidegate::tls {
namespace {

struct Outcome {
  std::shared_ptr<const ServerContext> context;
  std::string error;
  std::vector<std::string> warnings;
};

Outcome make(std::vector<CertificatePem> certificates) {
  Outcome out;
  ServerOptions options;
  options.certificates = std::move(certificates);
  options.unix_seconds = std::time(nullptr);
  out.context = ServerContext::make(options, &out.error, &out.warnings);
  return out;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(ServerContext, AGoodPairIsTakenWithoutAWord) {
  const Outcome o = make({make_certificate()});
  ASSERT_NE(o.context, nullptr) << o.error;
  EXPECT_TRUE(o.warnings.empty());
  EXPECT_EQ(o.context->certificates(), 1u);
  EXPECT_NEAR(static_cast<double>(o.context->expires_unix() - std::time(nullptr)), 90 * 86400, 60);
}

TEST(ServerContext, OneFileMayHoldBoth) {
  CertificatePem pem = make_certificate();
  pem.certificate = pem.key + pem.certificate;
  pem.key = pem.certificate;
  EXPECT_NE(make({pem}).context, nullptr);
}

TEST(ServerContext, SaysWhichFileHoldsNoCertificate) {
  CertificatePem pem = make_certificate();
  pem.certificate = "hello";
  const Outcome o = make({pem});
  EXPECT_EQ(o.context, nullptr);
  EXPECT_TRUE(holds(o.error, "game.example.pem: holds no certificate")) << o.error;
}

TEST(ServerContext, SaysWhichFileHoldsNoKey) {
  CertificatePem pem = make_certificate();
  pem.key = pem.certificate;
  EXPECT_TRUE(holds(make({pem}).error, "game.example.key: holds no private key"));
  pem.key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
  EXPECT_TRUE(holds(make({pem}).error, "the key is encrypted"));
}

TEST(ServerContext, AKeyOfAnotherCertificateIsRefused) {
  CertificatePem pem = make_certificate();
  pem.key = make_certificate().key;
  EXPECT_TRUE(holds(make({pem}).error, "the key does not belong to the certificate"));
  pem.key = make_certificate({.kind = KeyKind::kRsa}).key;
  EXPECT_TRUE(holds(make({pem}).error, "the key does not belong to the certificate"));
}

TEST(ServerContext, ADamagedChainIsRefused) {
  CertificatePem pem = make_certificate();
  std::string second = make_certificate({.names = {"authority.example"}}).certificate;
  second.replace(second.size() / 2, 4, "####");
  pem.certificate += second;
  EXPECT_TRUE(holds(make({pem}).error, "a certificate of the chain is damaged"));
}

TEST(ServerContext, AChainMustFitIntoTheOutput) {
  CertificatePem pem = make_certificate();
  for (int i = 0; i < 11; ++i) pem.certificate += make_certificate().certificate;
  EXPECT_TRUE(holds(make({pem}).error, "the chain is longer than"));
  pem = make_certificate();
  pem.certificate += make_certificate({.extensions_bytes = 60'000}).certificate;
  EXPECT_TRUE(holds(make({pem}).error, "the chain is longer than"));
}

TEST(ServerContext, ExpiredAndSoonExpiredAreWarningsOnly) {
  const Outcome expired = make({make_certificate({.expires_in_seconds = -60})});
  ASSERT_NE(expired.context, nullptr);
  ASSERT_EQ(expired.warnings.size(), 1u);
  EXPECT_TRUE(holds(expired.warnings[0], "game.example.pem: the certificate expired on 20"));
  const Outcome soon = make({make_certificate({.expires_in_seconds = 86400})});
  ASSERT_EQ(soon.warnings.size(), 1u);
  EXPECT_TRUE(holds(soon.warnings[0], "expires on 20"));
  const Outcome later = make({make_certificate({.begins_in_seconds = 86400})});
  ASSERT_EQ(later.warnings.size(), 1u);
  EXPECT_TRUE(holds(later.warnings[0], "is not valid before"));
}

TEST(ServerContext, NeedsOneCertificateAtLeast) {
  EXPECT_TRUE(holds(make({}).error, "1 to 64 pairs"));
}

TEST(TicketKeys, AreTheSameEverywhereAndChangeWithTime) {
  const TicketSeed seed = {1, 2, 3};
  const base::Instant origin{1000};
  TicketKeys a(seed, origin, base::seconds(100));
  TicketKeys b(seed, origin, base::seconds(100));
  EXPECT_EQ(std::memcmp(&a.current(), &b.current(), sizeof(TicketKeys::Key)), 0);
  const TicketKeys::Key first = a.current();
  a.advance(origin + base::seconds(99));
  EXPECT_EQ(std::memcmp(&a.current(), &first, sizeof first), 0);
  a.advance(origin + base::seconds(100));
  EXPECT_NE(std::memcmp(a.current().name, first.name, sizeof first.name), 0);
  EXPECT_NE(std::memcmp(a.current().cipher, first.cipher, sizeof first.cipher), 0);
  EXPECT_NE(std::memcmp(a.current().mac, first.mac, sizeof first.mac), 0);
  // The shard whose clock is behind knows the new key already, the other one still knows the old.
  EXPECT_NE(b.find(a.current().name), nullptr);
  EXPECT_NE(a.find(first.name), nullptr);
  a.advance(origin + base::seconds(200));
  EXPECT_EQ(a.find(first.name), nullptr);
  b.advance(origin + base::seconds(250));
  EXPECT_EQ(std::memcmp(&a.current(), &b.current(), sizeof(TicketKeys::Key)), 0);
  const TicketSeed other = {9};
  EXPECT_EQ(TicketKeys(other, origin, base::seconds(100)).find(first.name), nullptr);
}

}  // namespace
}  // namespace tidegate::tls
