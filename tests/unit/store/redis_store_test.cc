// SPDX-License-Identifier: Apache-2.0
// The shared store against a real redis-server: two gateways, one session.
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <optional>

#include "redis_server.h"
#include "store/session_store_redis.h"

namespace tidegate::store {
namespace {

using mailbox::SessionChangeOp;
using mailbox::SessionClaim;
using mailbox::SessionRecord;
using Kind = StoreNews::Kind;

// A gateway as the store sees it.
class Gateway {
 public:
  Gateway(const RedisOptions& options, const std::string& name,
          base::Duration life = base::seconds(100))
      : store(options, {name, "test " + name, life}) {
    EXPECT_TRUE(store.put_blocking("probe", "1")) << store.why_not();
  }
  Gateway& add(SessionRecord r, std::string tail = {}) {
    r.number = ++number_;
    tails_.push_back(std::move(tail));
    changes_.push_back({r, base::as_bytes(tails_.back()), 0});
    return *this;
  }
  static SessionRecord record(SessionChangeOp op, uint64_t session) {
    SessionRecord r{};
    r.op = op;
    r.session = session;
    r.seen_s = static_cast<uint32_t>(std::time(nullptr));
    return r;
  }
  Gateway& put(uint64_t session, const std::string& player, bool attached = true,
               bool fresh = false) {
    SessionRecord r = record(SessionChangeOp::kPut, session);
    r.attached = attached ? 1 : 0;
    r.nonce = 7;
    r.fresh = fresh ? 1 : 0;
    return add(r, player);
  }
  Gateway& append(uint64_t session, uint64_t sequence, const std::string& text, uint64_t origin = 0,
                  bool first = true) {
    SessionRecord r = record(SessionChangeOp::kAppend, session);
    r.sequence = sequence;
    r.message_type = 1001;
    r.origin = origin;
    r.fresh = first ? 1 : 0;
    return add(r, text);
  }
  Gateway& progress(uint64_t session, uint64_t received, uint64_t acked) {
    SessionRecord r = record(SessionChangeOp::kProgress, session);
    r.received = received;
    r.acked = acked;
    return add(r);
  }
  Gateway& claim(const std::string& player, bool has_row = false, bool refuse = false,
                 uint64_t session = 0, uint32_t nonce = 0) {
    mailbox::SessionOpen open{};
    open.player_bytes = static_cast<uint8_t>(player.size());
    SessionRecord r = record(SessionChangeOp::kClaim, session);
    r.nonce_before = nonce;
    r.nonce = nonce + 1;
    r.attached = has_row ? 1 : 0;
    r.fresh = refuse ? 1 : 0;
    return add(r, std::string(reinterpret_cast<const char*>(&open), sizeof open) + player);
  }
  Gateway& forward(const std::string& player, const std::string& text, uint64_t origin) {
    SessionRecord r = record(SessionChangeOp::kForward, 0);
    r.player_bytes = static_cast<uint32_t>(player.size());
    r.message_type = 1002;
    r.origin = origin;
    return add(r, player + text);
  }
  bool write() {
    news.clear();
    const bool good = store.write_blocking(changes_, &news, &error);
    changes_.clear();
    tails_.clear();
    return good;
  }
  bool poll() {
    news.clear();
    // The first tells what came with the last batch.
    return store.poll_blocking(&news, &error) && store.poll_blocking(&news, &error);
  }

  RedisStore store;
  std::vector<StoreNews> news;
  std::string error;

 private:
  std::vector<SessionChange> changes_;
  std::deque<std::string> tails_;
  uint64_t number_ = 0;
};

class RedisStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server here";
    server_.emplace();
    a_.emplace(server_->options(), "A");
    b_.emplace(server_->options(), "B");
  }
  int64_t keys() { return server_->ask({"DBSIZE"}).number; }

  std::optional<RedisServer> server_;
  std::optional<Gateway> a_, b_;
};

TEST_F(RedisStoreTest, AnotherGatewayTakesTheSessionWithAllThatIsUnacknowledged) {
  const std::string binary("\0\n \xff{}", 6);
  ASSERT_TRUE(a_->claim("ann").write()) << a_->error;
  ASSERT_EQ(a_->news.size(), 1u);
  EXPECT_EQ(a_->news[0].status, SessionClaim::kNone);
  a_->put(1, "ann").append(1, 1, "one", 901).append(1, 2, binary).append(1, 3, "");
  ASSERT_TRUE(a_->progress(1, 5, 1).write()) << a_->error;
  EXPECT_TRUE(a_->news.empty());

  ASSERT_TRUE(b_->claim("ann").write()) << b_->error;
  ASSERT_EQ(b_->news.size(), 1u);
  EXPECT_EQ(b_->news[0].status, SessionClaim::kState);
  EXPECT_FALSE(b_->news[0].from_here);
  const StoredSession& s = *b_->news[0].state;
  EXPECT_EQ(s.id, 1u);
  EXPECT_EQ(s.player, "ann");
  EXPECT_EQ(s.received, 5u);
  EXPECT_EQ(s.acked, 1u);
  EXPECT_EQ(s.nonce, 7u);
  EXPECT_TRUE(s.attached);
  ASSERT_EQ(s.messages.size(), 2u);
  EXPECT_EQ(s.messages[0].sequence, 2u);
  EXPECT_EQ(s.messages[0].type, 1001u);
  EXPECT_EQ(std::string(base::as_text(s.messages[0].payload)), binary);
  EXPECT_TRUE(s.messages[1].payload.empty());
  EXPECT_EQ(s.effects, std::vector<uint64_t>{901});

  // The first one hears of it, and what it still says does not count.
  ASSERT_TRUE(a_->poll()) << a_->error;
  ASSERT_EQ(a_->news.size(), 1u);
  EXPECT_EQ(a_->news[0].kind, Kind::kTaken);
  EXPECT_EQ(a_->news[0].session, 1u);
  EXPECT_EQ(a_->news[0].player, "ann");
  ASSERT_TRUE(a_->progress(1, 9, 3).write());
  ASSERT_EQ(a_->news.size(), 1u);
  EXPECT_EQ(a_->news[0].kind, Kind::kTaken);
  ASSERT_TRUE(b_->claim("ann", true).write());
  EXPECT_EQ(b_->news[0].status, SessionClaim::kMine);
  ASSERT_TRUE(b_->claim("ann").write());
  EXPECT_EQ(b_->news[0].state->received, 5u);
  EXPECT_TRUE(b_->news[0].from_here);
}

TEST_F(RedisStoreTest, OneOfManyClaimsAtATimeHasItInTheEnd) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(b_->claim("ann").progress(1, 100, 0).write());
    ASSERT_TRUE(a_->claim("ann").progress(1, 200, 0).write());
    ASSERT_TRUE(b_->progress(1, 300, 0).write());  // too late
    EXPECT_EQ(b_->news.at(0).kind, Kind::kTaken);
    EXPECT_EQ(server_->ask({"HGET", "tidegate:{ann}:s", "received"}).text, "200");
  }
  // Old news of a session that is here again is none.
  ASSERT_TRUE(a_->poll());
  EXPECT_TRUE(a_->news.empty());
}

TEST_F(RedisStoreTest, WhatWasNotStoredBeforeTheSessionWasTakenBecomesALetter) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").append(1, 1, "one", 901).write());
  ASSERT_TRUE(b_->claim("ann").write());
  // Said for the first time by the gateway that has lost it; and once more, as after a failure.
  ASSERT_TRUE(a_->append(1, 2, "two", 902).write()) << a_->error;
  ASSERT_TRUE(a_->append(1, 2, "two", 902, false).write()) << a_->error;
  ASSERT_TRUE(a_->forward("ann", "three", 903).write()) << a_->error;
  ASSERT_TRUE(a_->forward("ann", "three", 903).write()) << a_->error;
  ASSERT_TRUE(a_->forward("nobody", "four", 904).write());
  ASSERT_EQ(a_->news.size(), 1u);
  EXPECT_EQ(a_->news[0].kind, Kind::kNoSession);
  ASSERT_TRUE(b_->poll()) << b_->error;
  ASSERT_EQ(b_->news.size(), 2u);
  EXPECT_EQ(b_->news[0].letter.origin, 902u);
  EXPECT_EQ(b_->news[1].letter.origin, 903u);
  EXPECT_EQ(b_->news[1].letter.type, 1002u);
  EXPECT_EQ(std::string(base::as_text(b_->news[1].letter.payload)), "three");
  // The one that gets a number is gone from the letters; the other goes along with the session.
  ASSERT_TRUE(b_->append(1, 2, "two", 902).write());
  ASSERT_TRUE(a_->claim("ann").write());
  const StoredSession& s = *a_->news.at(0).state;
  EXPECT_EQ(s.messages.size(), 2u);
  ASSERT_EQ(s.letters.size(), 1u);
  EXPECT_EQ(s.letters[0].origin, 903u);
  SessionRecord settled = Gateway::record(SessionChangeOp::kSettled, 1);
  settled.origin = 903;
  ASSERT_TRUE(a_->add(settled).write());
  EXPECT_EQ(server_->ask({"EXISTS", "tidegate:{ann}:i"}).number, 0);
}

// EVENTs, and what the game sends of its own accord: nothing caused them that could name them.
TEST_F(RedisStoreTest, LettersWithoutANameAreNotTakenForOneAnother) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  ASSERT_TRUE(b_->claim("ann").write());
  ASSERT_TRUE(a_->append(1, 1, "one").append(1, 2, "two").write()) << a_->error;
  ASSERT_TRUE(b_->poll()) << b_->error;
  ASSERT_EQ(b_->news.size(), 2u);
  EXPECT_EQ(std::string(base::as_text(b_->news[0].letter.payload)), "one");
  EXPECT_EQ(std::string(base::as_text(b_->news[1].letter.payload)), "two");
  const std::vector<StoreNews> letters = std::move(b_->news);
  EXPECT_NE(letters[0].letter.origin, 0u) << "or it could not be told from the next one";
  ASSERT_TRUE(b_->append(1, 1, "one", letters[0].letter.origin)
                  .append(1, 2, "two", letters[1].letter.origin)
                  .write());
  EXPECT_EQ(server_->ask({"EXISTS", "tidegate:{ann}:i"}).number, 0) << "they would come again";
}

TEST_F(RedisStoreTest, ALetterForASessionEndsWithIt) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  ASSERT_TRUE(b_->claim("ann").write());
  ASSERT_TRUE(a_->append(1, 1, "of the session").forward("ann", "for ann", 903).write());
  ASSERT_TRUE(b_->poll()) << b_->error;
  ASSERT_EQ(b_->news.size(), 2u);
  EXPECT_EQ(b_->news[0].letter.session, 1u);
  EXPECT_EQ(b_->news[1].letter.session, 0u);
  // A login that did not resume: ann has another session.
  ASSERT_TRUE(b_->put(2, "ann").write());
  ASSERT_TRUE(a_->claim("ann").write());
  const StoredSession& s = *a_->news.at(0).state;
  EXPECT_EQ(s.id, 2u);
  ASSERT_EQ(s.letters.size(), 1u);
  EXPECT_EQ(s.letters[0].origin, 903u);
}

// It counted as a Redis that lost everything, and all players of the gateway were said anew.
TEST_F(RedisStoreTest, ASessionThatEndedAtAnotherGatewayIsNoFailure) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  ASSERT_TRUE(a_->poll());
  ASSERT_TRUE(b_->claim("ann").put(1, "ann").write());
  ASSERT_TRUE(b_->add(Gateway::record(SessionChangeOp::kEnd, 1)).write());
  ASSERT_TRUE(a_->progress(1, 3, 0).write()) << a_->error;
  ASSERT_EQ(a_->news.size(), 1u);
  EXPECT_EQ(a_->news[0].kind, Kind::kTaken);
  EXPECT_EQ(a_->news[0].session, 1u);
}

TEST_F(RedisStoreTest, AnEndLeavesNothingBehindAndALifeEndsByItself) {
  const int64_t before = keys();
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").append(1, 1, "one", 5).forward("ann", "x", 6).write());
  EXPECT_GT(keys(), before);
  for (const char* part : {"s", "m", "e", "i"}) {
    EXPECT_GT(server_->ask({"PTTL", std::string("tidegate:{ann}:") + part}).number, 100'000)
        << part;
  }
  SessionRecord parked = Gateway::record(SessionChangeOp::kUpdate, 1);
  ASSERT_TRUE(a_->add(parked).write());
  const int64_t left = server_->ask({"PTTL", "tidegate:{ann}:s"}).number;
  EXPECT_GT(left, 50'000);
  EXPECT_LE(left, 101'000);
  ASSERT_TRUE(a_->add(Gateway::record(SessionChangeOp::kEnd, 1)).write());
  EXPECT_EQ(server_
                ->ask({"EXISTS", "tidegate:{ann}:s", "tidegate:{ann}:m", "tidegate:{ann}:e",
                       "tidegate:{ann}:i"})
                .number,
            0);
  ASSERT_TRUE(b_->claim("ann").write());
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kNone);
}

TEST_F(RedisStoreTest, AUsedTokenTakesNothingFromWhoHasTheSession) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());  // its nonce is 7
  ASSERT_TRUE(b_->claim("ann", false, false, 1, 6).write());
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kWait);
  ASSERT_TRUE(a_->poll());
  EXPECT_TRUE(a_->news.empty());
  ASSERT_TRUE(b_->claim("ann", false, false, 99, 6).write()) << "of a session that has ended";
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kState);
  ASSERT_TRUE(a_->claim("ann", false, false, 1, 7).write());
  EXPECT_EQ(a_->news.at(0).status, SessionClaim::kState);
  EXPECT_EQ(a_->news[0].state->nonce, 8u) << "as soon as it was shown";
  EXPECT_EQ(a_->news[0].state->nonce_before, 7u);
  // Another try with the same token, elsewhere: good only when the answer to the first was lost.
  ASSERT_TRUE(b_->claim("ann", false, false, 1, 7).write());
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kWait);
  ASSERT_EQ(server_->ask({"HSET", "tidegate:{ann}:s", "seen", "1000"}).number, 0);
  ASSERT_TRUE(b_->claim("ann", false, false, 1, 7).write());
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kState);
}

// Its client had given it up and was in at another gateway, where its session ended.
TEST_F(RedisStoreTest, ATryThatComesLateTakesNothing) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  const auto now_ms = static_cast<int64_t>(std::time(nullptr)) * 1000;
  const auto since = [&](int64_t ms) {
    return server_->ask({"HSET", "tidegate:{ann}:s", "since", std::to_string(now_ms + ms)}).number;
  };
  ASSERT_EQ(since(3000), 0) << "the claim had said when it was asked for";
  ASSERT_TRUE(b_->claim("ann").write());
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kLate);
  ASSERT_TRUE(b_->claim("ann", false, false, 1, 7).write());
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kLate);
  ASSERT_TRUE(a_->claim("ann", true, false, 1, 7).write());
  EXPECT_EQ(a_->news.at(0).status, SessionClaim::kMine) << "its home sees for itself";
  ASSERT_EQ(since(3'600'000), 0);
  ASSERT_TRUE(b_->claim("ann", false, false, 1, 8).write());
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kState) << "the clock of another gateway is wrong";
}

// Written to a session that another login had replaced elsewhere, which was not known here yet.
TEST_F(RedisStoreTest, WhatIsForThePlayerGoesToTheSessionThatTookThePlaceOfAnother) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  ASSERT_TRUE(b_->claim("ann").put(2, "ann").write());
  SessionRecord r = Gateway::record(SessionChangeOp::kAppend, 1);
  r.sequence = 1;
  r.message_type = 1001;
  r.origin = 5;
  r.fresh = 1;
  ASSERT_TRUE(a_->add(r, "for the session").write());
  r.sequence = 2;
  r.origin = 6;
  r.fresh = 2;
  ASSERT_TRUE(a_->add(r, "for ann").write());
  ASSERT_TRUE(b_->poll());
  ASSERT_EQ(b_->news.size(), 1u);
  ASSERT_EQ(b_->news[0].kind, Kind::kLetter);
  EXPECT_EQ(b_->news[0].letter.origin, 6u);
  EXPECT_EQ(b_->news[0].letter.session, 0u);
}

// The gateway that gave it was killed before it could write that.
TEST_F(RedisStoreTest, ATokenThatIsAheadIsTheLastOne) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());  // its nonce is 7
  ASSERT_TRUE(b_->claim("ann", false, false, 1, 9).write());
  ASSERT_EQ(b_->news.at(0).status, SessionClaim::kState);
  EXPECT_EQ(b_->news[0].state->nonce, 10u);
  EXPECT_EQ(b_->news[0].state->nonce_before, 9u);
}

TEST_F(RedisStoreTest, ASecondLoginIsRefusedWhileTheHolderLives) {
  ASSERT_TRUE(a_->poll());  // says that it lives
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  ASSERT_TRUE(b_->claim("ann", false, true).write()) << b_->error;
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kHeld);
  ASSERT_EQ(server_->ask({"DEL", "tidegate:@gw:A"}).number, 1);
  ASSERT_TRUE(b_->claim("ann", false, true).write()) << b_->error;
  EXPECT_EQ(b_->news.at(0).status, SessionClaim::kState);
}

TEST_F(RedisStoreTest, EverythingSaidAnewReplacesWhatWasThere) {
  ASSERT_TRUE(a_->claim("ann").claim("bob").put(1, "ann").put(2, "bob").write());
  ASSERT_TRUE(a_->claim("eve").put(3, "eve").append(1, 1, "one").append(1, 2, "two").write());
  ASSERT_TRUE(b_->claim("eve").write());
  // Meanwhile ann was taken everything from her, bob left, and eve's came over from nowhere.
  a_->add(Gateway::record(SessionChangeOp::kClear, 0)).put(1, "ann").append(1, 1, "one", 0, false);
  a_->put(3, "eve").add(Gateway::record(SessionChangeOp::kSynced, 0));
  ASSERT_TRUE(a_->write()) << a_->error;
  ASSERT_EQ(a_->news.size(), 1u);
  EXPECT_EQ(a_->news[0].kind, Kind::kTaken);
  EXPECT_EQ(a_->news[0].player, "eve");
  EXPECT_EQ(server_->ask({"LLEN", "tidegate:{ann}:m"}).number, 1);
  EXPECT_EQ(server_->ask({"EXISTS", "tidegate:{bob}:s"}).number, 0);
  EXPECT_EQ(server_->ask({"EXISTS", "tidegate:{eve}:s"}).number, 1);
  // A login here while the store was away is the newer one.
  ASSERT_TRUE(a_->put(4, "eve", true, true).write());
  EXPECT_TRUE(a_->news.empty());
  ASSERT_TRUE(b_->poll());
  ASSERT_EQ(b_->news.size(), 1u);
  EXPECT_EQ(b_->news[0].player, "eve");
}

TEST_F(RedisStoreTest, AnEmptiedOrFullRedisIsAFailureAndNotALoss) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").append(1, 1, "one").write());
  ASSERT_EQ(server_->ask({"FLUSHALL"}).text, "OK");
  EXPECT_FALSE(a_->append(1, 2, "two").write());
  EXPECT_NE(a_->error.find("lost sessions"), std::string::npos) << a_->error;
  ASSERT_TRUE(a_->store.put_blocking("probe", "1"));
  a_->add(Gateway::record(SessionChangeOp::kClear, 0)).put(1, "ann").append(1, 1, "one", 0, false);
  ASSERT_TRUE(
      a_->append(1, 2, "two", 0, false).add(Gateway::record(SessionChangeOp::kSynced, 0)).write())
      << a_->error;
  EXPECT_EQ(server_->ask({"LLEN", "tidegate:{ann}:m"}).number, 2);

  ASSERT_EQ(server_->ask({"CONFIG", "SET", "maxmemory", "1mb"}).text, "OK");
  EXPECT_FALSE(a_->append(1, 3, "three").write());
  EXPECT_NE(a_->error.find("OOM"), std::string::npos) << a_->error;
  EXPECT_FALSE(a_->store.put_blocking("probe", "1"));
  EXPECT_NE(a_->store.why_not().find("OOM"), std::string::npos) << a_->store.why_not();
  ASSERT_EQ(server_->ask({"CONFIG", "SET", "maxmemory", "0"}).text, "OK");
  EXPECT_TRUE(a_->store.put_blocking("probe", "1")) << a_->store.why_not();
}

TEST_F(RedisStoreTest, ARestartIsAFailureUntilItAnswersAgain) {
  ASSERT_TRUE(a_->claim("ann").put(1, "ann").write());
  server_->stop();
  EXPECT_FALSE(a_->progress(1, 1, 0).write());
  EXPECT_FALSE(a_->poll());
  EXPECT_FALSE(a_->store.put_blocking("probe", "1"));
  EXPECT_NE(a_->store.why_not(), "");
  server_->start();
  EXPECT_TRUE(a_->store.put_blocking("probe", "1")) << a_->store.why_not();
  EXPECT_TRUE(a_->claim("ann").put(1, "ann").progress(1, 1, 0).write()) << a_->error;
  // What another gateway may not have said yet is not taken from it in a hurry.
  Gateway c(server_->options(), "C");
  ASSERT_TRUE(c.claim("ann").write());
  EXPECT_EQ(c.news.at(0).status, SessionClaim::kState) << "it was never without Redis";
  ASSERT_TRUE(a_->claim("ann").write()) << a_->error;
  EXPECT_EQ(a_->news.at(0).status, SessionClaim::kWait) << "it was";
  ASSERT_TRUE(a_->claim("bob", false, false, 5, 1).write());
  EXPECT_EQ(a_->news.at(0).status, SessionClaim::kWait) << "another one may not have said it yet";
  ASSERT_TRUE(a_->claim("bob", true, false, 5, 1).write());
  EXPECT_EQ(a_->news.at(0).status, SessionClaim::kNone) << "here it is known";
}

}  // namespace
}  // namespace tidegate::store
