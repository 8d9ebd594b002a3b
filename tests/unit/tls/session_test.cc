// SPDX-License-Identifier: Apache-2.0
// Sessions against each other and against nonsense, with no socket in between.
#include "tls/session.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <atomic>
#include <ctime>
#include <thread>

#include "base/prng.h"
#include "make_certificate.h"
#include "peer.h"

namespace tidegate::tls {
namespace {

std::shared_ptr<const ServerContext> server_context(
    std::vector<CertificatePem> certificates = {make_certificate()},
    Version version = Version::kTls12) {
  ServerOptions options;
  options.certificates = std::move(certificates);
  options.min_version = version;
  options.unix_seconds = std::time(nullptr);
  std::string error;
  std::vector<std::string> warnings;
  auto made = ServerContext::make(options, &error, &warnings);
  EXPECT_NE(made, nullptr) << error;
  return made;
}

std::unique_ptr<ClientContext> client_context(const ClientOptions& options = {.insecure = true}) {
  std::string error;
  auto made = ClientContext::make(options, &error);
  EXPECT_NE(made, nullptr) << error;
  return made;
}

struct Pair {
  explicit Pair(const ClientOptions& options = {.insecure = true})
      : context(server_context()), client_side(client_context(options)) {
    server.accept(*context);
    client.connect(*client_side, "game.example");
  }
  std::shared_ptr<const ServerContext> context;
  std::unique_ptr<ClientContext> client_side;
  Peer client, server;
};

class BothVersions : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Tls, BothVersions, testing::Bool(),
                         [](const auto& info) { return info.param ? "Tls12" : "Tls13"; });

TEST_P(BothVersions, HandshakeAndBytesInPiecesOfAnySize) {
  for (const size_t piece : {1u, 2u, 7u, 100u, 100'000u}) {
    Pair p({.insecure = true, .tls12_only = GetParam()});
    talk(p.client, p.server, piece);
    ASSERT_TRUE(p.client.session.established() && p.server.session.established()) << piece;
    EXPECT_STREQ(p.server.session.version(), GetParam() ? "TLSv1.2" : "TLSv1.3");
    EXPECT_EQ(p.server.established, 1);
    base::Prng prng(piece);
    std::string big(70'000, ' ');
    for (char& c : big) c = static_cast<char>(prng.next());
    p.client.say("hello");
    p.client.say(big);
    p.server.say("welcome");
    talk(p.client, p.server, piece);
    EXPECT_EQ(p.server.plain, "hello" + big);
    EXPECT_EQ(p.client.plain, "welcome");
    EXPECT_TRUE(p.server.in.empty());
  }
}

TEST_P(BothVersions, CloseNotifyIsSaidOnceAndSeen) {
  Pair p({.insecure = true, .tls12_only = GetParam()});
  talk(p.client, p.server);
  p.server.say("last");
  p.server.shut_down();
  const std::string bytes = p.server.take();
  p.server.shut_down();
  EXPECT_TRUE(p.server.out.empty());
  p.client.feed(bytes);
  EXPECT_EQ(p.client.plain, "last");
  EXPECT_EQ(p.client.status, Status::kClosed);
  EXPECT_EQ(p.server.status, Status::kOk);
}

TEST_P(BothVersions, ATamperedRecordEndsItWithAnAlert) {
  Pair p({.insecure = true, .tls12_only = GetParam()});
  talk(p.client, p.server);
  p.client.say("hello");
  std::string bytes = p.client.take();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  p.server.feed(bytes);
  EXPECT_EQ(p.server.status, Status::kFailed);
  EXPECT_EQ(p.server.failure, Failure::kBadRecord);
  EXPECT_EQ(p.server.plain, "");
  EXPECT_FALSE(p.server.session.established());  // nothing is sealed any more
  const std::string alert = p.server.take();
  ASSERT_FALSE(alert.empty());
  p.client.feed(alert);
  EXPECT_EQ(p.client.status, Status::kFailed);
  EXPECT_EQ(p.client.failure, Failure::kPeerAlert);
}

TEST(Session, ATooLongRecordIsAnsweredByRecordOverflow) {
  Pair p;
  talk(p.client, p.server);
  p.server.feed(std::string("\x17\x03\x03\xff\xff", 5));
  EXPECT_EQ(p.server.status, Status::kFailed);
  EXPECT_EQ(p.server.failure, Failure::kBadRecord);
  EXPECT_FALSE(p.server.out.empty());
}

TEST(Session, ATruncatedRecordWaitsOutsideOfTheLibrary) {
  Pair p;
  talk(p.client, p.server);
  p.client.say(std::string(5000, 'a'));
  const std::string bytes = p.client.take();
  p.server.feed(bytes.substr(0, bytes.size() - 1));
  EXPECT_EQ(p.server.plain, "");
  EXPECT_EQ(p.server.status, Status::kOk);
  EXPECT_EQ(p.server.in.size(), bytes.size() - 1);
  p.server.feed(bytes.substr(bytes.size() - 1));
  EXPECT_EQ(p.server.plain.size(), 5000u);
}

TEST(Session, HalfAHandshakeIsJustThatAndFreesEverything) {
  const auto context = server_context();
  const auto client_side = client_context();
  Peer first;
  first.connect(*client_side, "game.example");
  const std::string hello = first.take();
  for (size_t size = 0; size < hello.size(); size += 5) {
    Peer server;
    server.accept(*context);
    server.feed(hello.substr(0, size));
    EXPECT_FALSE(server.session.established());
    EXPECT_EQ(server.status, Status::kOk);
  }
  Peer server;
  server.accept(*context);
  server.feed(hello);
  EXPECT_FALSE(server.out.empty());  // its flight is made; the answer never comes
}

TEST(Session, GarbageNeverEstablishesAnything) {
  const auto context = server_context();
  const auto client_side = client_context();
  base::Prng prng(5);
  int failed = 0;
  for (int round = 0; round < 400; ++round) {
    Peer client, server;
    server.accept(*context);
    client.connect(*client_side, "game.example");
    std::string bytes = client.take();
    if (round % 4 == 0) {
      bytes.resize(1 + prng.below(400));
      for (char& c : bytes) c = static_cast<char>(prng.next());
    } else {  // a hello with some of its bits flipped, behind the record's header
      for (uint64_t n = 1 + prng.below(3); n > 0; --n) {
        bytes[5 + prng.below(bytes.size() - 5)] ^= static_cast<char>(1 << prng.below(8));
      }
    }
    server.feed(bytes);
    failed += server.status == Status::kFailed || server.not_tls;
    EXPECT_FALSE(server.session.established());
  }
  EXPECT_GT(failed, 50);
}

TEST(Session, PlainHttpIsSeenAsNoTls) {
  Records cut = cut_records(base::as_bytes("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_TRUE(cut.not_tls);
  EXPECT_TRUE(cut_records(base::as_bytes("G")).not_tls);
  EXPECT_FALSE(cut_records(base::as_bytes("\x16")).not_tls);
  EXPECT_FALSE(cut_records({}).not_tls);
  EXPECT_TRUE(cut_records(base::as_bytes("\x16\x02")).not_tls);
}

TEST(Session, AHelloThatSaysItIsHugeIsNotWaitedFor) {
  const auto context = server_context();
  const auto hello = [](uint32_t length, size_t bytes) {
    std::string out("\x16\x03\x01", 3);
    out += static_cast<char>(bytes >> 8);
    out += static_cast<char>(bytes);
    out += '\x01';
    for (const int shift : {16, 8, 0}) out += static_cast<char>(length >> shift);
    out.resize(kRecordHeader + bytes);
    return out;
  };
  for (const uint32_t length : {16'385u, 131'000u, 0xffffffu}) {
    Peer server;
    server.accept(*context);
    server.feed(hello(length, 40));
    EXPECT_EQ(server.failure, Failure::kBadMessage) << length;
  }
  Peer patient;
  patient.accept(*context);
  patient.feed(hello(16'000, 40));
  EXPECT_EQ(patient.status, Status::kOk);
  Peer pieces;  // its length in pieces
  pieces.accept(*context);
  pieces.feed(hello(131'000, 3).substr(0, kRecordHeader + 3));
  EXPECT_EQ(pieces.failure, Failure::kBadMessage);
}

TEST(Session, TheCertificateIsChosenByServerName) {
  const auto context =
      server_context({make_certificate({.names = {"first.example"}}),
                      make_certificate({.names = {"Second.example", "third.example"}}),
                      make_certificate({.names = {"*.wild.example"}})});
  const auto client_side = client_context();
  const auto name_for = [&](const char* host, const char* name) {
    Peer client, server;
    server.accept(*context);
    client.connect(*client_side, host);
    talk(client, server);
    EXPECT_TRUE(client.session.established()) << host;
    return client.session.peer_certificate_has_name(name);
  };
  EXPECT_TRUE(name_for("first.example", "first.example"));
  EXPECT_TRUE(name_for("SECOND.example", "second.example"));
  EXPECT_TRUE(name_for("third.example", "second.example"));
  EXPECT_TRUE(name_for("a.wild.example", "b.wild.example"));
  EXPECT_TRUE(name_for("a.b.wild.example", "first.example"));  // one label only
  EXPECT_TRUE(name_for("wild.example", "first.example"));
  EXPECT_TRUE(name_for("unknown.example", "first.example"));
  EXPECT_TRUE(name_for("127.0.0.1", "first.example"));  // no name is sent
}

TEST(Session, TwoKindsOfKeysForOneNameStandSideBySide) {
  const auto context =
      server_context({make_certificate({.kind = KeyKind::kRsa}), make_certificate()});
  const auto client_side = client_context();
  for (const bool rsa : {false, true}) {
    Peer client, server;
    server.accept(*context);
    ASSERT_TRUE(client.session.connect(*client_side, client.engine, "game.example"));
    client.session.reset();
    SSL_CTX* const only = client_side->native();
    SSL_CTX_set1_sigalgs_list(only, rsa ? "RSA-PSS+SHA256" : "ECDSA+SHA256");
    client.connect(*client_side, "game.example");
    talk(client, server);
    ASSERT_TRUE(client.session.established());
    X509* certificate = SSL_get0_peer_certificate(client.session.native());
    EXPECT_EQ(EVP_PKEY_get_base_id(X509_get0_pubkey(certificate)),
              rsa ? EVP_PKEY_RSA : EVP_PKEY_EC);
  }
}

TEST(Session, ClientsThatTrustNobodySayWhy) {
  const CertificatePem mine = make_certificate();
  const auto context = server_context({mine});
  const auto outcome = [&](const std::string& authorities, const char* host) {
    const auto client_side = client_context({.authorities = authorities});
    Peer client, server;
    server.accept(*context);
    client.connect(*client_side, host);
    talk(client, server);
    if (client.status == Status::kFailed) {
      EXPECT_EQ(client.failure, Failure::kCertificate);
      EXPECT_EQ(server.failure, Failure::kPeerAlert);
    }
    return client.session.established();
  };
  EXPECT_TRUE(outcome(mine.certificate, "game.example"));
  EXPECT_FALSE(outcome(mine.certificate, "other.example"));
  EXPECT_FALSE(outcome(make_certificate().certificate, "game.example"));
}

TEST(Session, OldVersionsAndForeignProtocolsAreRefused) {
  const auto strict = server_context({make_certificate()}, Version::kTls13);
  const auto old = client_context({.insecure = true, .tls12_only = true});
  Peer client, server;
  server.accept(*strict);
  client.connect(*old, "game.example");
  talk(client, server);
  EXPECT_EQ(server.failure, Failure::kNoSharedVersion);

  const auto context = server_context();
  const auto h2 = client_context({.insecure = true, .offer_alpn = false});
  SSL_CTX_set_alpn_protos(h2->native(), reinterpret_cast<const uint8_t*>("\x02h2"), 3);
  Peer client2, server2;
  server2.accept(*context);
  client2.connect(*h2, "game.example");
  talk(client2, server2);
  EXPECT_EQ(server2.failure, Failure::kNoSharedProtocol);

  const auto weak = client_context({.insecure = true, .tls12_only = true});
  SSL_CTX_set_cipher_list(weak->native(), "AES128-SHA");
  Peer client3, server3;
  server3.accept(*context);
  client3.connect(*weak, "game.example");
  talk(client3, server3);
  EXPECT_EQ(server3.failure, Failure::kNoSharedCipher);
}

TEST(Session, Http11IsChosenOutOfSeveral) {
  Pair p({.insecure = true, .offer_alpn = false});
  SSL_CTX_set_alpn_protos(p.client_side->native(),
                          reinterpret_cast<const uint8_t*>("\x02h2\x08http/1.1"), 12);
  Peer client, server;
  server.accept(*p.context);
  client.connect(*p.client_side, "game.example");
  talk(client, server);
  const uint8_t* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(client.session.native(), &name, &size);
  EXPECT_EQ(text({name, size}), "http/1.1");
}

TEST(Session, AClientMayNotRenegotiate) {
  Pair p({.insecure = true, .tls12_only = true});
  talk(p.client, p.server);
  SSL* const ssl = p.client.session.native();
  ASSERT_EQ(SSL_renegotiate(ssl), 1);
  // Its hello leaves instead of the next bytes, which wait.
  std::vector<uint8_t> record(4096);
  EXPECT_EQ(p.client.session.seal(p.client.engine, base::as_bytes("x"), record), 0u);
  const size_t size = kRecordHeader + (static_cast<size_t>(record[3]) << 8 | record[4]);
  ASSERT_GT(size, 100u);
  p.server.feed(text({record.data(), size}));
  EXPECT_EQ(p.server.status, Status::kOk);
  EXPECT_FALSE(p.server.out.empty());  // no_renegotiation
  EXPECT_TRUE(p.server.session.established());
  EXPECT_EQ(SSL_num_renegotiations(p.server.session.native()), 0);
}

TEST(Session, KeyUpdatesAreAnswered) {
  Pair p;
  talk(p.client, p.server);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(SSL_key_update(p.client.session.native(), SSL_KEY_UPDATE_REQUESTED), 1);
    p.client.say("a");
    talk(p.client, p.server);
    p.server.say("b");
    talk(p.client, p.server);
  }
  EXPECT_EQ(p.server.plain, std::string(20, 'a'));
  EXPECT_EQ(p.client.plain, std::string(20, 'b'));
}

// --- tickets ---

TicketConfig tickets() {
  TicketConfig t;
  t.seed = {7};
  t.rotation = base::seconds(100);
  return t;
}

// One visit with the ticket of an earlier one (null: none); the ticket for the next. It frees
// `with`.
struct Visit {
  SSL_SESSION* ticket;
  bool resumed;
};
Visit visit(const ServerContext& context, const ClientContext& client_side, SSL_SESSION* with,
            base::Instant now = {}, const TicketConfig& config = tickets(),
            const char* host = "game.example") {
  Peer client;
  Peer server(config);
  server.engine.set_now(now);
  server.accept(context);
  EXPECT_TRUE(client.session.connect(client_side, client.engine, host, with));
  client.out = text(client.engine.output());
  if (with != nullptr) SSL_SESSION_free(with);
  talk(client, server);
  EXPECT_TRUE(client.session.established() && server.session.established());
  const Visit v{SSL_get1_session(client.session.native()), server.session.resumed()};
  EXPECT_EQ(client.session.resumed(), v.resumed);
  client.shut_down();  // or its ticket would not count
  talk(client, server);
  return v;
}

TEST_P(BothVersions, ATicketOpensTheDoorAtAnyShardUntilItsKeyIsGone) {
  const auto context = server_context();
  const auto client_side = client_context({.insecure = true, .tls12_only = GetParam()});
  Visit v = visit(*context, *client_side, nullptr);
  EXPECT_FALSE(v.resumed);
  // Every visit is another engine: another shard.
  v = visit(*context, *client_side, v.ticket);
  EXPECT_TRUE(v.resumed);
  v = visit(*context, *client_side, v.ticket, base::Instant{} + base::seconds(150));
  EXPECT_TRUE(v.resumed);  // sealed with the previous key
  v = visit(*context, *client_side, v.ticket, base::Instant{} + base::seconds(190));
  EXPECT_TRUE(v.resumed);  // was renewed
  v = visit(*context, *client_side, v.ticket, base::Instant{} + base::seconds(1000));
  EXPECT_FALSE(v.resumed);
  TicketConfig other = tickets();
  other.seed = {8};
  v = visit(*context, *client_side, v.ticket, base::Instant{} + base::seconds(1000), other);
  EXPECT_FALSE(v.resumed);
  SSL_SESSION_free(v.ticket);
}

TEST_P(BothVersions, WithoutTicketKeysThereAreNoTickets) {
  const auto context = server_context();
  const auto client_side = client_context({.insecure = true, .tls12_only = GetParam()});
  Visit v = visit(*context, *client_side, nullptr, {}, TicketConfig{});
  v = visit(*context, *client_side, v.ticket, {}, TicketConfig{});
  EXPECT_FALSE(v.resumed);
  SSL_SESSION_free(v.ticket);
}

TEST(Session, ATicketSurvivesAReload) {
  const auto client_side = client_context();
  Visit v = visit(*server_context(), *client_side, nullptr);
  v = visit(*server_context(), *client_side, v.ticket);
  EXPECT_TRUE(v.resumed);
  SSL_SESSION_free(v.ticket);
}

// --- reload ---

TEST(Session, OldConnectionsOutliveTheContextTheyWereMadeWith) {
  auto context =
      server_context({make_certificate(), make_certificate({.names = {"second.example"}})});
  const auto client_side = client_context();
  Peer client, server, half;
  server.accept(*context);
  half.accept(*context);  // has not even said hello
  client.connect(*client_side, "second.example");
  talk(client, server);
  context = server_context({make_certificate({.names = {"new.example"}})});
  client.say("still here");
  talk(client, server);
  EXPECT_EQ(server.plain, "still here");
  Peer late;
  late.connect(*client_side, "second.example");
  talk(late, half);
  EXPECT_TRUE(late.session.peer_certificate_has_name("second.example"));
  Peer fresh, fresh_server;
  fresh_server.accept(*context);
  fresh.connect(*client_side, "second.example");
  talk(fresh, fresh_server);
  EXPECT_TRUE(fresh.session.peer_certificate_has_name("new.example"));
}

// For the thread sanitizer: shards make sessions of a context while another one is put in its
// place.
TEST(ContextHolder, IsReadByShardsWhileControlReloads) {
  ContextHolder holder;
  holder.set(server_context());
  std::atomic<bool> stop{false};
  std::atomic<int> established{0};
  const auto client_side = client_context();
  std::vector<std::thread> shards;
  for (int i = 0; i < 3; ++i) {
    shards.emplace_back([&] {
      while (!stop.load()) {
        Peer client, server(tickets());
        server.accept(*holder.get());
        client.connect(*client_side, "game.example");
        talk(client, server);
        established += server.session.established();
      }
    });
  }
  for (int i = 0; i < 10 || established < 20; ++i) holder.set(server_context());
  stop = true;
  for (std::thread& shard : shards) shard.join();
  EXPECT_GE(established.load(), 20);
}

}  // namespace
}  // namespace tidegate::tls
