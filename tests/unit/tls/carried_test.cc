// SPDX-License-Identifier: Apache-2.0
// Connections whose server's side goes to another session in the middle, as in an upgrade, against
// the library's own client.
#include "tls/carried.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <ctime>

#include "base/prng.h"
#include "make_certificate.h"
#include "peer.h"
#include "tls/traffic.h"

namespace tidegate::tls {
namespace {

struct Kind {
  const char* name;
  bool tls13;
  const char* suite;
};
constexpr Kind kKinds[] = {
    {"Tls13Aes128", true, "TLS_AES_128_GCM_SHA256"},
    {"Tls13Aes256", true, "TLS_AES_256_GCM_SHA384"},
    {"Tls13ChaCha", true, "TLS_CHACHA20_POLY1305_SHA256"},
    {"Tls12Aes128", false, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"Tls12Aes256", false, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"Tls12ChaCha", false, "ECDHE-ECDSA-CHACHA20-POLY1305"},
};

struct Carry {
  explicit Carry(const Kind& kind) {
    ServerOptions options;
    options.certificates = {make_certificate()};
    options.unix_seconds = std::time(nullptr);
    std::string error;
    std::vector<std::string> warnings;
    context = ServerContext::make(options, &error, &warnings);
    client_context = ClientContext::make({.insecure = true, .tls12_only = !kind.tls13}, &error);
    SSL_CTX* native = client_context->native();
    EXPECT_EQ(kind.tls13 ? SSL_CTX_set_ciphersuites(native, kind.suite)
                         : SSL_CTX_set_cipher_list(native, kind.suite),
              1);
    server = std::make_unique<Peer>();
    server->accept(*context);
    client.connect(*client_context, "game.example");
    talk(client, *server);
    EXPECT_TRUE(client.session.established() && server->session.established());
    EXPECT_STREQ(server->session.cipher(), kind.suite);
    // Everybody was sent the answer to the upgrade request.
    server->say("101");
    talk(client, *server);
    EXPECT_EQ(client.plain, "101");
    client.plain.clear();
  }
  // Another session in place of the server's.
  void move() {
    Traffic traffic;
    ASSERT_TRUE(server->session.traffic(&traffic));
    auto heir = std::make_unique<Peer>();
    ASSERT_TRUE(heir->session.carry(traffic));
    heir->in = server->in;
    heir->plain = server->plain;
    server = std::move(heir);
  }
  // Both say something, and hear it.
  void converse(int round) {
    const std::string up = "from the client " + std::to_string(round);
    const std::string down = "from the server " + std::to_string(round);
    client.plain.clear();
    server->plain.clear();
    client.say(up);
    server->say(down);
    talk(client, *server);
    EXPECT_EQ(server->plain, up);
    EXPECT_EQ(client.plain, down);
    EXPECT_EQ(client.status, Status::kOk);
    EXPECT_EQ(server->status, Status::kOk);
  }
  std::shared_ptr<const ServerContext> context;
  std::unique_ptr<ClientContext> client_context;
  Peer client;
  std::unique_ptr<Peer> server;
};

class Carried_ : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Tls, Carried_, testing::ValuesIn(kKinds),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Carried_, GoesOnAfterEachMove) {
  Carry c(GetParam());
  for (int round = 0; round < 20; ++round) {
    c.converse(round);
    if (round % 3 == 0) c.move();
  }
  EXPECT_STREQ(c.server->session.cipher(), GetParam().suite);
  EXPECT_STREQ(c.server->session.version(), GetParam().tls13 ? "TLSv1.3" : "TLSv1.2");
}

TEST_P(Carried_, BytesOfAnySizeInPiecesOfAnySize) {
  Carry c(GetParam());
  c.move();
  base::Prng prng(9);
  for (const size_t piece : {1u, 7u, 1000u, 100'000u}) {
    std::string big(50'000, ' ');
    for (char& byte : big) byte = static_cast<char>(prng.next());
    c.client.plain.clear();
    c.server->plain.clear();
    c.client.say(big);
    c.server->say(big);
    talk(c.client, *c.server, piece);
    EXPECT_TRUE(c.server->plain == big && c.client.plain == big) << piece;
  }
}

TEST_P(Carried_, ARecordInTwoHalvesComesWhole) {
  Carry c(GetParam());
  c.client.say("before and behind");
  const std::string bytes = c.client.take();
  c.server->feed(bytes.substr(0, 11));
  c.move();
  c.server->feed(bytes.substr(11));
  EXPECT_EQ(c.server->plain, "before and behind");
  c.converse(1);
}

TEST_P(Carried_, CloseNotifyIsSaidOnceAndSeen) {
  for (const bool by_client : {false, true}) {
    Carry c(GetParam());
    c.move();
    Peer& first = by_client ? c.client : *c.server;
    Peer& other = by_client ? *c.server : c.client;
    first.say("last");
    first.shut_down();
    other.feed(first.take());
    EXPECT_EQ(other.plain, "last");
    EXPECT_EQ(other.status, Status::kClosed);
    first.shut_down();
    EXPECT_TRUE(first.out.empty());
    other.shut_down();
    first.feed(other.take());
    EXPECT_EQ(first.status, Status::kClosed);
    Traffic traffic;
    EXPECT_FALSE(c.server->session.traffic(&traffic));
  }
}

TEST_P(Carried_, ATamperedRecordEndsItWithAnAlert) {
  Carry c(GetParam());
  c.move();
  c.client.say("hello");
  std::string bytes = c.client.take();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  c.server->feed(bytes);
  EXPECT_EQ(c.server->status, Status::kFailed);
  EXPECT_EQ(c.server->failure, Failure::kBadRecord);
  EXPECT_EQ(c.server->plain, "");
  EXPECT_FALSE(c.server->session.established());
  c.client.feed(c.server->take());
  EXPECT_EQ(c.client.failure, Failure::kPeerAlert);
  Traffic traffic;
  EXPECT_FALSE(c.server->session.traffic(&traffic));
}

TEST_P(Carried_, ARecordIsNotTakenTwice) {
  Carry c(GetParam());
  c.move();
  c.client.say("once");
  const std::string bytes = c.client.take();
  c.server->feed(bytes);
  c.server->feed(bytes);
  EXPECT_EQ(c.server->plain, "once");
  EXPECT_EQ(c.server->status, Status::kFailed);
}

TEST_P(Carried_, NonsenseEndsIt) {
  base::Prng prng(4);
  for (int round = 0; round < 300; ++round) {
    Carry* kept = nullptr;
    static std::unique_ptr<Carry> base;  // handshakes are slow
    if (round % 50 == 0) base = std::make_unique<Carry>(GetParam());
    kept = base.get();
    Traffic traffic;
    ASSERT_TRUE(kept->server->session.traffic(&traffic));
    Peer heir;
    ASSERT_TRUE(heir.session.carry(traffic));
    std::string bytes(5 + prng.next() % 40, ' ');
    for (char& byte : bytes) byte = static_cast<char>(prng.next());
    bytes[0] = static_cast<char>(20 + prng.next() % 4);
    bytes[1] = 3;
    bytes[3] = 0;
    bytes[4] = static_cast<char>(bytes.size() - 5);
    heir.feed(bytes);
    EXPECT_EQ(heir.plain, "");
    EXPECT_EQ(heir.status, Status::kFailed);
    if (round % 50 == 49) base.reset();
  }
}

TEST_P(Carried_, RecordsWithNothingInThemAreNotTakenForEver) {
  Carry c(GetParam());
  c.move();
  Traffic traffic;
  ASSERT_TRUE(c.server->session.traffic(&traffic));
  std::swap(traffic.in, traffic.out);
  const auto client = Carried::make(traffic);
  ASSERT_NE(client, nullptr);
  const auto send = [&](std::string_view plain) {
    uint8_t record[64 + kRecordExpansionMax];
    c.server->feed(text({record, client->seal(base::as_bytes(plain), record)}));
  };
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < kVainRecordsMax; ++i) send("");
    send("something");
    EXPECT_EQ(c.server->status, Status::kOk);
  }
  EXPECT_EQ(c.server->plain, "somethingsomethingsomething");
  for (uint32_t i = 0; i <= kVainRecordsMax; ++i) {
    EXPECT_EQ(c.server->status, Status::kOk) << i;
    send("");
  }
  EXPECT_EQ(c.server->status, Status::kFailed);
  EXPECT_EQ(c.server->failure, Failure::kBadMessage);
}

class CarriedTls13 : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Tls, CarriedTls13, testing::Values(kKinds[0], kKinds[1], kKinds[2]),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(CarriedTls13, KeyUpdatesBeforeAndBehindTheMove) {
  for (const int kind : {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED}) {
    Carry c(GetParam());
    const auto update = [&] { ASSERT_EQ(SSL_key_update(c.client.session.native(), kind), 1); };
    update();  // of the library's session
    c.converse(1);
    c.converse(2);
    c.move();
    c.converse(3);
    update();  // of the one that was carried
    c.converse(4);
    update();
    c.client.say("asks, and moves before it is answered");
    c.server->feed(c.client.take());
    c.move();
    c.converse(5);
    c.converse(6);
  }
}

TEST_P(CarriedTls13, AnAnswerThatIsOwedIsGivenElsewhere) {
  Carry c(GetParam());
  ASSERT_EQ(SSL_key_update(c.client.session.native(), SSL_KEY_UPDATE_REQUESTED), 1);
  c.client.say("asks");
  c.server->feed(c.client.take());
  Traffic traffic;
  ASSERT_TRUE(c.server->session.traffic(&traffic));
  EXPECT_TRUE(traffic.key_update_owed);
  c.move();
  c.converse(1);
  c.converse(2);
}

TEST(Carried, WhatDoesNotFitIsRefused) {
  Traffic traffic;
  Session session;
  EXPECT_FALSE(session.carry(traffic));
  traffic.tls13 = true;
  traffic.suite = 0x1301;
  traffic.in.secret_bytes = traffic.out.secret_bytes = 48;
  EXPECT_FALSE(session.carry(traffic));
  traffic.in.secret_bytes = traffic.out.secret_bytes = 32;
  traffic.tls13 = false;
  EXPECT_FALSE(session.carry(traffic));
  traffic.tls13 = true;
  EXPECT_TRUE(session.carry(traffic));
  Peer fresh;
  Traffic none;
  EXPECT_FALSE(fresh.session.traffic(&none));  // never opened
}

}  // namespace
}  // namespace tidegate::tls
