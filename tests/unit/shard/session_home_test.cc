// SPDX-License-Identifier: Apache-2.0
// The home shard of sessions by itself: shard 0 is the home, shard 1 has the connections.
#include "shard/session_home.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "mailbox/resume_nonce.h"

namespace tidegate::shard {
namespace {

using mailbox::MessageType;
using session::Resume;

struct Delivered {
  uint32_t slot;
  uint64_t sequence;
  std::string text;
};

class Home : public ::testing::Test, mailbox::WakeSink {
 protected:
  static SessionConfig config() {
    SessionConfig c;
    c.limit = 4;
    c.replay = {.messages = 8, .bytes = 4096, .pool_bytes = 8192};
    c.window_bytes = 100;
    c.resume_window = base::seconds(60);
    return c;
  }
  void make(const SessionConfig& c) {
    home_ = std::make_unique<SessionHome>(c, 0, own_, outbox_, counters_);
  }
  Home() { make(config()); }

  void wake_agent(mailbox::AgentId) override {}

  template <class M>
  std::vector<uint8_t> bytes_of(const M& message, std::string_view tail) {
    std::vector<uint8_t> bytes(sizeof message + tail.size());
    std::memcpy(bytes.data(), &message, sizeof message);
    if (!tail.empty()) {
      std::memcpy(bytes.data() + sizeof message, tail.data(), tail.size());
    }
    return bytes;
  }

  mailbox::SessionOpen open_message(uint32_t slot, const std::string& player, uint64_t id) {
    mailbox::SessionOpen open{};
    open.connection = {slot, 1};
    open.session = id;
    open.nonce = ++nonce_;
    open.since_ms = now_ms_;
    open.connection_shard = 1;
    open.player_bytes = static_cast<uint8_t>(player.size());
    open.token_bytes[0] = open.token_bytes[1] = 3;
    return open;
  }
  uint32_t open(uint32_t slot, const std::string& player, uint64_t id) {
    const auto message = open_message(slot, player, id);
    home_->on_open(bytes_of(message, player + "newold"), now_s_);
    take();
    return message.nonce;
  }
  uint32_t resume(uint32_t slot, const std::string& player, uint64_t id, uint32_t nonce) {
    auto message = open_message(slot, player, id + 1000);
    message.resume = static_cast<uint8_t>(Resume::kResumed);
    message.resume_session = id;
    message.resume_nonce = nonce;
    message.nonce = mailbox::nonce_after(nonce);
    home_->on_open(bytes_of(message, player + "newold"), now_s_);
    take();
    return message.nonce;
  }
  void send(const std::string& player, const std::string& text) {
    const mailbox::SessionSend message{0, 0, 1000, static_cast<uint32_t>(player.size())};
    home_->on_send(bytes_of(message, player + text), {});
    take();
  }
  // From the connection that has the session.
  void progress(const std::string& player, uint64_t id, uint64_t acked, uint64_t received,
                bool confirmed) {
    const session::SessionTable& table = home_->table();
    const uint32_t row = table.find(player, world::hash_player_id(player));
    mailbox::SessionProgress message{};
    if (row != session::SessionTable::kNone) message.connection = table.at(row).connection;
    message.connection_shard = 1;
    message.session = id;
    message.acked = acked;
    message.received = received;
    message.confirmed = confirmed ? 1 : 0;
    home_->on_progress(bytes_of(message, player), now_);
    take();
  }
  void ack(const std::string& player, uint64_t id, uint64_t acked, bool confirmed = false) {
    progress(player, id, acked, 0, confirmed);
  }
  void leave(uint32_t slot, const std::string& player, uint64_t id, uint64_t received,
             bool ends = false) {
    mailbox::SessionLeft left{};
    left.connection = {slot, 1};
    left.session = id;
    left.received = received;
    left.ends = ends ? 1 : 0;
    left.connection_shard = 1;
    home_->on_left(bytes_of(left, player), {}, now_s_);
    take();
  }
  // What shard 1 was told. Whether a connection still waits is answered at once, unless it is gone.
  void take() {
    drain();
    while (!asked_.empty() && !gone_) {
      base::Bytes tail;
      auto open = mailbox::read_message<mailbox::SessionOpen>(asked_, &tail);
      open.sure = 1;
      const auto again = bytes_of(open, base::as_text(tail));
      asked_.clear();
      home_->on_open(again, now_s_);
      drain();
    }
  }
  void drain() {
    own_.publish_all(*this);
    other_.drain(1000, [this](mailbox::AgentId, MessageType type, base::Bytes bytes) {
      base::Bytes tail;
      if (type == MessageType::kSessionOpened) {
        opened_ = mailbox::read_message<mailbox::SessionOpened>(bytes, &tail);
        token_ = base::as_text(tail.subspan(opened_->player_bytes));
      } else if (type == MessageType::kSessionDeliver) {
        const auto d = mailbox::read_message<mailbox::SessionDeliver>(bytes, &tail);
        delivered_.push_back({d.connection.slot, d.sequence, std::string(base::as_text(tail))});
      } else if (type == MessageType::kSessionRelease) {
        const auto release = mailbox::read_message<mailbox::SessionRelease>(bytes, &tail);
        if (release.asks != 0) {
          asked_.assign(tail.begin(), tail.end());
          return;
        }
        released_ = release;
        waiting_.assign(tail.begin(), tail.end());
      } else if (type == MessageType::kSessionClosed) {
        closed_ = mailbox::read_message<mailbox::SessionClosed>(bytes);
      } else if (type == MessageType::kSessionSaved) {
        saved_.push_back(mailbox::read_message<mailbox::SessionSaved>(bytes).received);
      } else {
        FAIL() << "unexpected " << mailbox::name_of(type);
      }
    });
  }
  uint64_t ended(session::End why) {
    return counters_.get(metrics::Family::kSessionsEnded, static_cast<uint32_t>(why));
  }
  Resume verdict() { return static_cast<Resume>(opened_->resume); }

  mailbox::Fabric fabric_{{.shards = 2, .shard_ring_bytes = 16384, .control_ring_bytes = 16384}};
  mailbox::Mailbox own_{fabric_, 0};
  mailbox::Mailbox other_{fabric_, 1};
  Outbox outbox_{own_, 1 << 20};
  metrics::Counters counters_;
  std::unique_ptr<SessionHome> home_;
  uint32_t now_s_ = 1000;
  uint32_t nonce_ = 0;
  uint32_t now_ms_ = 0;
  std::optional<mailbox::SessionOpened> opened_;
  std::optional<mailbox::SessionRelease> released_;
  std::optional<mailbox::SessionClosed> closed_;
  std::vector<uint8_t> waiting_, asked_;
  bool gone_ = false;  // the connection that asks
  std::string token_;
  // What control was told: the operations, in order.
  std::vector<mailbox::SessionRecord> records() {
    own_.publish_all(*this);
    std::vector<mailbox::SessionRecord> all;
    control_.drain(1000, [&](mailbox::AgentId, MessageType type, base::Bytes bytes) {
      ASSERT_EQ(type, MessageType::kSessionRecord);
      all.push_back(mailbox::read_message<mailbox::SessionRecord>(bytes));
    });
    return all;
  }
  void stored(uint64_t number, bool failed = false, bool again = false) {
    home_->on_stored(
        bytes_of(mailbox::SessionsStored{number, failed ? 1u : 0u, again ? 1u : 0u}, {}));
    turn();
  }
  void turn() {
    outbox_.retry();
    home_->turn(now_, now_s_);
    take();
  }
  void receive(const std::string& player, uint64_t id, uint64_t received) {
    progress(player, id, 0, received, false);
  }
  void make_stored() {
    SessionConfig c = config();
    c.stored = true;
    make(c);
  }

  void make_shared() {
    SessionConfig c = config();
    c.stored = c.shared = true;
    make(c);
  }
  // The store knows no session of the player.
  void open_shared(uint32_t slot, const std::string& player, uint64_t id) {
    const auto request = bytes_of(open_message(slot, player, id), player + "newold");
    home_->on_open(request, now_s_);
    const auto asked = records();
    ASSERT_EQ(asked.back().op, mailbox::SessionChangeOp::kClaim);
    mailbox::SessionClaimed none{};
    none.status = mailbox::SessionClaim::kNone;
    none.coming = asked.back().coming;
    opened_.reset();
    home_->on_claimed(bytes_of(none, base::as_text(request)), now_, now_s_);
    take();
    EXPECT_FALSE(opened_) << "the store is to know of it first";
    ASSERT_EQ(records().back().op, mailbox::SessionChangeOp::kAnswer);
    answer_claim(mailbox::SessionClaim::kStored, request);
    ASSERT_TRUE(opened_);
  }
  void answer_claim(mailbox::SessionClaim status, base::Bytes request) {
    mailbox::SessionClaimed claimed{};
    claimed.status = status;
    home_->on_claimed(bytes_of(claimed, base::as_text(request)), now_, now_s_);
    take();
  }

  mailbox::Mailbox control_{fabric_, 2};
  base::Instant now_{};
  std::vector<uint64_t> saved_;
  std::vector<Delivered> delivered_;
};

TEST_F(Home, KeepsWhatIsSentWhileNobodyIsThereAndReplaysItInOrder) {
  const uint32_t nonce = open(1, "ann", 7);
  ASSERT_TRUE(opened_);
  EXPECT_EQ(opened_->session, 7u);
  EXPECT_EQ(token_, "new");
  send("ann", "a");
  send("ann", "b");
  ASSERT_EQ(delivered_.size(), 2u);
  ack("ann", 7, 1);
  leave(1, "ann", 7, 5);
  EXPECT_EQ(home_->table().parked_count(), 1u);
  send("ann", "c");
  delivered_.clear();
  resume(9, "ann", 7, nonce);
  EXPECT_EQ(verdict(), Resume::kResumed);
  EXPECT_EQ(token_, "old");
  EXPECT_EQ(opened_->received, 5u);
  EXPECT_EQ(opened_->replayed, 2u);
  EXPECT_EQ(opened_->last_sent, 3u);
  ASSERT_EQ(delivered_.size(), 2u);
  EXPECT_EQ(delivered_[0].sequence, 2u);
  EXPECT_EQ(delivered_[0].text, "b");
  EXPECT_EQ(delivered_[0].slot, 9u);
  EXPECT_EQ(delivered_[1].sequence, 3u);
  EXPECT_EQ(delivered_[1].text, "c");
  ack("ann", 7, 3);
  EXPECT_EQ(home_->replay_messages(), 0u);
  EXPECT_EQ(home_->logs().bytes_in_use(), 0u);
}

TEST_F(Home, ATokenIsGoodOnceButForAnAnswerThatWasLost) {
  const uint32_t first = open(1, "ann", 7);
  leave(1, "ann", 7, 0);
  const uint32_t lost = resume(2, "ann", 7, first);
  leave(2, "ann", 7, 0);  // the answer never arrived: the client comes with the same token
  const uint32_t second = resume(3, "ann", 7, first);
  EXPECT_EQ(verdict(), Resume::kResumed);
  ack("ann", 7, 0, true);  // now it has the new one
  leave(3, "ann", 7, 0);
  resume(4, "ann", 7, first);
  EXPECT_EQ(verdict(), Resume::kTokenUsed);
  EXPECT_EQ(opened_->session, 1007u) << "a new session takes its place";
  (void)lost;
  (void)second;
}

// An answer that was lost had been given to a try that came late, and the token that the client got
// meanwhile counted as used.
TEST_F(Home, TokensGivenForTheSameOneAreEquallyGood) {
  const uint32_t first = open(1, "ann", 7);
  leave(1, "ann", 7, 0);
  const uint32_t had = resume(2, "ann", 7, first);
  leave(2, "ann", 7, 0);
  const uint32_t lost = resume(3, "ann", 7, first);
  leave(3, "ann", 7, 0);
  EXPECT_EQ(had, lost);
  resume(4, "ann", 7, had);
  EXPECT_EQ(verdict(), Resume::kResumed);
  ack("ann", 7, 0, true);
  leave(4, "ann", 7, 0);
  resume(5, "ann", 7, lost);
  EXPECT_EQ(verdict(), Resume::kTokenUsed);
}

// What is here is older than what the client has: the store was behind when a gateway ended.
TEST_F(Home, ATokenThatIsAheadWasGivenToo) {
  make_stored();
  session::Session s;
  s.id = 7;
  s.nonce = 3;
  s.seen_s = now_s_;
  ASSERT_TRUE(home_->restore(s, "ann", 0, now_s_));
  resume(1, "ann", 7, 5);
  EXPECT_EQ(verdict(), Resume::kResumed);
  ack("ann", 7, 0, true);
  leave(1, "ann", 7, 0);
  resume(2, "ann", 7, 4);
  EXPECT_EQ(verdict(), Resume::kTokenUsed);
}

// A try that the client had given up long ago, and that was worked on late, ended its session or
// took it from the connection on which it had gone on.
TEST_F(Home, ATryThatComesLateChangesNothing) {
  now_ms_ = 100;
  const uint32_t first = open(1, "ann", 7);
  leave(1, "ann", 7, 0);
  now_ms_ = 300;
  const uint32_t second = resume(3, "ann", 7, first);
  ack("ann", 7, 0, true);
  now_ms_ = 200;
  resume(2, "ann", 7, first);
  EXPECT_EQ(opened_->session, 0u);
  EXPECT_EQ(opened_->refused, 3);
  open(2, "ann", 8);
  EXPECT_EQ(opened_->refused, 3);
  leave(3, "ann", 7, 0);
  resume(2, "ann", 7, first);
  EXPECT_EQ(opened_->refused, 3);
  EXPECT_FALSE(released_);
  now_ms_ = 400;
  resume(4, "ann", 7, second);
  EXPECT_EQ(verdict(), Resume::kResumed);
}

// By its time it was the later one, as its bytes came later.
TEST_F(Home, ALoginThatNobodyWaitsForEndsNoSession) {
  const uint32_t nonce = open(1, "ann", 7);
  gone_ = true;
  opened_.reset();
  open(2, "ann", 8);
  resume(3, "ann", 7, nonce + 5000);
  EXPECT_FALSE(opened_);
  EXPECT_FALSE(released_) << "who is in stays";
  gone_ = false;
  asked_.clear();
  resume(4, "ann", 7, nonce);
  ASSERT_TRUE(released_);
  leave(1, "ann", 7, 0);
  home_->on_open(waiting_, now_s_);
  take();
  ASSERT_TRUE(opened_);
  EXPECT_EQ(verdict(), Resume::kResumed);
}

// A connection that does not know yet that its session went to another gateway and came back.
TEST_F(Home, WhatAnOlderConnectionSaysDoesNotConfirmATokenOfTheNext) {
  const uint32_t first = open(1, "ann", 7);
  leave(1, "ann", 7, 0);
  resume(2, "ann", 7, first);
  mailbox::SessionProgress stale{};
  stale.connection = {1, 1};
  stale.connection_shard = 1;
  stale.session = 7;
  stale.received = 5;
  stale.confirmed = 1;
  home_->on_progress(bytes_of(stale, "ann"), now_);
  leave(2, "ann", 7, 0);
  resume(3, "ann", 7, first);
  EXPECT_EQ(verdict(), Resume::kResumed) << "the answer with the next one was lost";
  EXPECT_EQ(opened_->received, 0u);
}

// The store said to try again, and the session was resumed out of a row that another gateway had
// taken: its client got a token that nobody else knew.
TEST_F(Home, WhatAnotherGatewayHasIsNotGoneOnWithHere) {
  make_shared();
  open_shared(1, "ann", 7);
  leave(1, "ann", 7, 0);
  auto message = open_message(2, "ann", 1007);
  message.resume = static_cast<uint8_t>(Resume::kResumed);
  message.resume_session = 7;
  message.resume_nonce = nonce_ - 1;
  const auto request = bytes_of(message, "annnewold");
  home_->on_open(request, now_s_);
  answer_claim(mailbox::SessionClaim::kWait, request);
  EXPECT_EQ(opened_->session, 0u);
  EXPECT_EQ(opened_->refused, 3);
  home_->on_open(request, now_s_);
  answer_claim(mailbox::SessionClaim::kDown, request);
  EXPECT_EQ(opened_->session, 7u) << "nobody can tell";
}

TEST_F(Home, ALoginWhoseSessionWentElsewhereBeforeItWasAnsweredIsRefused) {
  make_shared();
  const auto message = open_message(1, "ann", 7);
  const auto request = bytes_of(message, "annnewold");
  home_->on_open(request, now_s_);
  answer_claim(mailbox::SessionClaim::kNone, request);
  EXPECT_FALSE(opened_);
  send("ann", "a");
  stored(0, true);
  EXPECT_TRUE(delivered_.empty()) << "not before the connection has its session";
  home_->on_taken(bytes_of(mailbox::SessionTaken{7, home_->table().at(0).coming}, "ann"));
  answer_claim(mailbox::SessionClaim::kStored, request);
  ASSERT_TRUE(opened_);
  EXPECT_EQ(opened_->session, 0u);
  EXPECT_EQ(opened_->refused, 3);
}

TEST_F(Home, TheOlderConnectionLeavesBeforeAResumeIsAnswered) {
  const uint32_t nonce = open(1, "ann", 7);
  send("ann", "a");
  opened_.reset();
  resume(2, "ann", 7, nonce);
  EXPECT_FALSE(opened_);
  ASSERT_TRUE(released_);
  EXPECT_EQ(released_->connection.slot, 1u);
  ASSERT_EQ(waiting_.size(), released_->open_bytes);
  leave(1, "ann", 7, 11);
  home_->on_open(waiting_, now_s_);
  take();
  ASSERT_TRUE(opened_);
  EXPECT_EQ(verdict(), Resume::kResumed);
  EXPECT_EQ(opened_->received, 11u);
  EXPECT_EQ(opened_->replayed, 1u);
  leave(1, "ann", 7, 99);  // the old one again: it is not the session's connection any more
  EXPECT_EQ(home_->table().parked_count(), 0u);
}

TEST_F(Home, AnotherLoginReplacesOrIsRefusedByPolicy) {
  open(1, "ann", 7);
  send("ann", "a");
  open(2, "ann", 8);
  ASSERT_TRUE(released_);
  EXPECT_EQ(released_->open_bytes, 0u);
  EXPECT_EQ(opened_->session, 8u);
  EXPECT_EQ(ended(session::End::kReplaced), 1u);
  EXPECT_EQ(home_->replay_messages(), 0u);
  SessionConfig c = config();
  c.second_login = SecondLogin::kRefuse;
  make(c);
  open(1, "bob", 9);
  open(2, "bob", 10);
  EXPECT_EQ(opened_->session, 0u);
  EXPECT_EQ(opened_->refused, 1);
  leave(1, "bob", 9, 0);
  open(2, "bob", 11);
  EXPECT_EQ(opened_->session, 11u);
}

TEST_F(Home, OnlyAWindowIsOutstandingAndAnAcknowledgementMovesIt) {
  open(1, "ann", 7);
  const std::string text(60, 'x');
  for (int i = 0; i < 5; ++i) send("ann", text);
  EXPECT_EQ(delivered_.size(), 2u) << "120 bytes are out, above the window of 100";
  ack("ann", 7, 1);
  EXPECT_EQ(delivered_.size(), 3u);
  ack("ann", 7, 3);
  EXPECT_EQ(delivered_.size(), 5u);
  ack("ann", 7, 77);  // more than there is counts as all
  EXPECT_EQ(home_->replay_messages(), 0u);
}

TEST_F(Home, ASessionThatDoesNotAcknowledgeEndsAloud) {
  open(1, "ann", 7);
  for (int i = 0; i < 8; ++i) send("ann", "a");
  EXPECT_FALSE(closed_);
  send("ann", "a");
  ASSERT_TRUE(closed_);
  EXPECT_EQ(closed_->end, static_cast<uint32_t>(session::End::kReplay));
  EXPECT_EQ(home_->table().count(), 0u);
  send("ann", "a");
  EXPECT_EQ(counters_.get(metrics::Counter::kAcknowledgedNoSession), 1u);
}

TEST_F(Home, MemoryOfAllLogsIsTakenFromWhoWasAwayLongest) {
  SessionConfig c = config();
  c.replay.pool_bytes = 31 * session::ReplayLogs::kBlockBytes;  // a block less than four of these
  make(c);
  const std::string text(2000, 'x');
  open(1, "ann", 7);
  leave(1, "ann", 7, 0);
  for (int i = 0; i < 2; ++i) send("ann", text);
  open(2, "bob", 8);
  for (int i = 0; i < 2; ++i) send("bob", text);
  EXPECT_EQ(ended(session::End::kMemory), 1u);
  EXPECT_EQ(home_->table().count(), 1u);
  EXPECT_EQ(home_->replay_messages(), 2u);
}

TEST_F(Home, SessionsExpireAndMakeRoom) {
  for (uint32_t i = 0; i < 4; ++i) {
    open(i, "p" + std::to_string(i), 10 + i);
    leave(i, "p" + std::to_string(i), 10 + i, 0);
    now_s_ += 10;
  }
  open(5, "late", 50);
  EXPECT_EQ(ended(session::End::kRoom), 1u) << "the longest parked one goes";
  now_s_ = 1000 + 10 + 59;
  home_->turn({}, now_s_);
  EXPECT_EQ(ended(session::End::kExpired), 0u);
  now_s_ += 1;
  home_->turn({}, now_s_);
  EXPECT_EQ(ended(session::End::kExpired), 1u);
  leave(5, "late", 50, 0, true);
  EXPECT_EQ(ended(session::End::kLeft), 1u);
  for (uint32_t i = 0; i < 4; ++i) open(i, "q" + std::to_string(i), 60 + i);
  EXPECT_EQ(opened_->refused, 0);
  open(9, "full", 70);
  EXPECT_EQ(opened_->refused, 2) << "nobody is parked";
}

TEST_F(Home, AFullRingHoldsUpButLosesNothing) {
  SessionConfig c = config();
  c.window_bytes = 20000;
  c.replay = {.messages = 8, .bytes = 20000, .pool_bytes = 65536};
  make(c);
  open(1, "ann", 7);
  const std::string text(2500, 'x');
  for (int i = 0; i < 7; ++i) {
    const mailbox::SessionSend message{0, 0, 1000, 3};
    home_->on_send(bytes_of(message, "ann" + text + std::to_string(i)), {});
  }
  EXPECT_TRUE(home_->stalled()) << "the ring holds 16,384 bytes";
  for (int i = 0; i < 4; ++i) {
    take();
    home_->turn({}, now_s_);
  }
  EXPECT_FALSE(home_->stalled());
  take();
  ASSERT_EQ(delivered_.size(), 7u);
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(delivered_[i].sequence, i + 1);
}

TEST_F(Home, WithAStoreNothingGoesOutBeforeItIsStored) {
  make_stored();
  open(1, "ann", 7);
  send("ann", "a");
  send("ann", "b");
  receive("ann", 7, 4);
  turn();
  EXPECT_TRUE(delivered_.empty());
  EXPECT_TRUE(saved_.empty());
  const auto all = records();
  ASSERT_EQ(all.size(), 4u);
  using Op = mailbox::SessionChangeOp;
  EXPECT_EQ(all[0].op, Op::kPut);
  EXPECT_EQ(all[1].op, Op::kAppend);
  EXPECT_EQ(all[2].sequence, 2u);
  EXPECT_EQ(all[3].op, Op::kProgress);
  EXPECT_EQ(all[3].received, 4u);
  EXPECT_EQ(all[3].number, 4u);
  stored(2);
  ASSERT_EQ(delivered_.size(), 1u);
  EXPECT_EQ(delivered_[0].text, "a");
  EXPECT_TRUE(saved_.empty());
  stored(4);
  EXPECT_EQ(delivered_.size(), 2u);
  EXPECT_EQ(saved_, (std::vector<uint64_t>{4}));
}

TEST_F(Home, AStoreThatGatewaysShareIsWaitedForAsLongAsItIsUp) {
  make_shared();
  open_shared(1, "ann", 7);
  turn();
  const uint64_t last = records().back().number;
  send("ann", "a");
  receive("ann", 7, 4);
  now_ = now_ + SessionJournal::kPatience * 100;
  turn();
  EXPECT_TRUE(delivered_.empty()) << "another gateway may give this number to another message";
  EXPECT_TRUE(saved_.empty());
  stored(last + 1);
  EXPECT_EQ(delivered_.size(), 1u);
  EXPECT_TRUE(saved_.empty());
  stored(last + 1, true);
  EXPECT_EQ(saved_, (std::vector<uint64_t>{4})) << "it is away";
}

TEST_F(Home, MoreThanMayWaitForASharedStoreWaitsAllTheSame) {
  make_shared();
  open_shared(1, "ann", 7);
  open_shared(2, "bob", 8);
  uint64_t last = 0;
  const uint64_t most = SessionJournal::kWaitingMax + 100;
  for (uint64_t i = 1; i <= most; ++i) {
    receive("ann", 7, i);
    last = records().back().number;
  }
  send("bob", "a");
  last = records().back().number;
  turn();
  EXPECT_TRUE(saved_.empty());
  EXPECT_TRUE(delivered_.empty());
  for (int i = 0; i < 1000 && delivered_.empty(); ++i) {
    for (const auto& record : records()) last = record.number;  // connected players' rows once more
    stored(last);
  }
  ASSERT_FALSE(saved_.empty());
  EXPECT_EQ(saved_.back(), most);
  EXPECT_EQ(delivered_.size(), 1u) << "it found no room to wait";
}

// EVENTs that another gateway had for the session before came a second time, out of order.
TEST_F(Home, ALetterForASessionThatHasEndedDoesNotComeToTheNext) {
  make_shared();
  open_shared(1, "ann", 7);
  const auto letter = [&](uint64_t origin, uint64_t session) {
    home_->on_letter(bytes_of(mailbox::SessionLetter{origin, session, 1000, 3}, "anntext"), now_);
  };
  letter(901, 6);
  EXPECT_EQ(home_->replay_messages(), 0u);
  letter(902, 7);
  letter(903, 0);
  EXPECT_EQ(home_->replay_messages(), 2u);
}

TEST_F(Home, AStoreThatIsLateOrFailsHoldsNobodyUp) {
  make_stored();
  open(1, "ann", 7);
  send("ann", "a");
  now_ = now_ + SessionJournal::kPatience;
  turn();
  EXPECT_EQ(delivered_.size(), 1u);
  EXPECT_EQ(counters_.get(metrics::Counter::kSessionStoreLate), 1u);
  send("ann", "b");
  stored(0, true);
  EXPECT_EQ(delivered_.size(), 2u);
  send("ann", "c");
  receive("ann", 7, 2);
  EXPECT_EQ(delivered_.size(), 3u);
  EXPECT_EQ(saved_, (std::vector<uint64_t>{2}));
  records();
  // It can be written again: everything is said anew, and waiting begins again.
  stored(0, false, true);
  const auto all = records();
  using Op = mailbox::SessionChangeOp;
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0].op, Op::kClear);
  EXPECT_EQ(all[1].op, Op::kPut);
  EXPECT_EQ(all[1].received, 2u);
  EXPECT_EQ(all[4].sequence, 3u);
  EXPECT_EQ(all[5].op, Op::kSynced);
  turn();
  send("ann", "d");
  EXPECT_EQ(delivered_.size(), 3u);
  stored(all[5].number + 1);
  EXPECT_EQ(delivered_.size(), 4u);
}

TEST_F(Home, ARestoredSessionGoesOnWhereItWas) {
  make_stored();
  session::Session s;
  s.id = 7;
  s.nonce = 3;
  s.received = 12;
  s.seen_s = now_s_ - 10;
  ASSERT_TRUE(home_->restore(s, "ann", 40, now_s_));
  ASSERT_TRUE(home_->restore_message("ann", 1000, base::as_bytes("one")));
  ASSERT_TRUE(home_->restore_message("ann", 1000, base::as_bytes("two")));
  home_->restore_effects({7, 901});
  s.seen_s = now_s_ - 60;
  EXPECT_FALSE(home_->restore(s, "old", 0, now_s_)) << "expired meanwhile";
  resume(4, "ann", 7, 3);
  EXPECT_EQ(verdict(), Resume::kResumed);
  EXPECT_EQ(opened_->received, 12u);
  EXPECT_EQ(opened_->last_sent, 42u);
  EXPECT_EQ(opened_->replayed, 2u);
  EXPECT_EQ(opened_->restored, 1);
  ASSERT_EQ(delivered_.size(), 2u);
  EXPECT_EQ(delivered_[0].sequence, 41u);
  EXPECT_EQ(delivered_[1].text, "two");
  // The message of a client that caused "two" was not acknowledged, and comes again.
  const mailbox::SessionSend again{0, 901, 1000, 3};
  home_->on_send(bytes_of(again, "anntwo"), now_);
  EXPECT_EQ(home_->replay_messages(), 2u);
  EXPECT_EQ(counters_.get(metrics::Counter::kEffectsKnown), 1u);
}

}  // namespace
}  // namespace tidegate::shard
