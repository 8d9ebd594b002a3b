// SPDX-License-Identifier: Apache-2.0
// Resume tokens, the embedded store of sessions, and the thread that writes them behind.
#include "store/session_store.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include "store/session_keeper.h"
#include "store/session_tokens.h"

namespace tidegate::store {
namespace {

using mailbox::SessionChangeOp;
using mailbox::SessionRecord;

constexpr const char* kSecret = "a key of resume tokens, 32 bytes or more";

TEST(SessionTokens, AreGoodForTheirUserAndTimeOnly) {
  const SessionTokens tokens(kSecret, 100);
  const std::string token = tokens.issue(0xfedcba9876543210u, 77, "user", "knight", 1000);
  ASSERT_FALSE(token.empty());
  EXPECT_LE(token.size(), 96u);
  const ResumeClaim claim = tokens.check(token, "user", "knight", 1099);
  EXPECT_EQ(claim.status, ResumeClaim::Status::kGood);
  EXPECT_EQ(claim.session, 0xfedcba9876543210u);
  EXPECT_EQ(claim.nonce, 77u);
  EXPECT_EQ(tokens.check(token, "user", "knight", 1100).status, ResumeClaim::Status::kExpired);
  EXPECT_EQ(tokens.check(token, "user", "other", 1000).status, ResumeClaim::Status::kBad);
  EXPECT_EQ(tokens.check(token, "userk", "night", 1000).status, ResumeClaim::Status::kBad);
  const SessionTokens elsewhere("another key of resume tokens, long enough", 100);
  EXPECT_EQ(elsewhere.check(token, "user", "knight", 1000).status, ResumeClaim::Status::kBad);
  const SessionTokens same(kSecret, 5);
  EXPECT_EQ(same.check(token, "user", "knight", 1000).status, ResumeClaim::Status::kGood)
      << "any gateway with the key can check it";
}

TEST(SessionTokens, NoChangedOrCutTokenIsGood) {
  const SessionTokens tokens(kSecret, 100);
  const std::string token = tokens.issue(5, 6, "user", "user", 1000);
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (size_t at = 0; at < token.size(); ++at) {
    for (const char c : alphabet) {
      if (c == token[at]) continue;
      std::string changed = token;
      changed[at] = c;
      ASSERT_EQ(tokens.check(changed, "user", "user", 1000).status, ResumeClaim::Status::kBad);
    }
    ASSERT_EQ(tokens.check(token.substr(0, at), "user", "user", 1000).status,
              ResumeClaim::Status::kBad);
  }
  EXPECT_EQ(tokens.check(token + "A", "user", "user", 1000).status, ResumeClaim::Status::kBad);
  EXPECT_EQ(tokens.check(std::string(5000, 'A'), "user", "user", 1000).status,
            ResumeClaim::Status::kBad);
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    char name[] = "/tmp/tidegate-store-XXXXXX";
    folder_ = mkdtemp(name);
    path_ = folder_ + "/sessions.db";
  }
  ~StoreTest() override {
    for (const std::string& file : files()) std::remove((folder_ + "/" + file).c_str());
    rmdir(folder_.c_str());
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    DIR* dir = opendir(folder_.c_str());
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    closedir(dir);
    return names;
  }
  std::unique_ptr<SessionStore> open() {
    note_.clear();
    error_.clear();
    return open_embedded_store_blocking(path_, 1234, &note_, &error_);
  }
  static std::vector<StoredSession> load(SessionStore& store) {
    std::vector<StoredSession> all;
    std::string error;
    EXPECT_TRUE(
        store.load_blocking([&](StoredSession&& s) { all.push_back(std::move(s)); }, &error))
        << error;
    return all;
  }
  static SessionRecord record(SessionChangeOp op, uint64_t session) {
    SessionRecord r{};
    r.op = op;
    r.session = session;
    return r;
  }
  bool write(SessionStore& store, const SessionRecord& r, std::string_view tail = {},
             uint32_t shard = 0) {
    const SessionChange change{r, base::as_bytes(tail), shard};
    std::vector<StoreNews> news;
    return store.write_blocking({&change, 1}, &news, &error_) && news.empty();
  }

  std::string folder_, path_, note_, error_;
};

TEST_F(StoreTest, SessionsComeBackAsTheyWere) {
  auto store = open();
  ASSERT_NE(store, nullptr) << error_;
  SessionRecord put = record(SessionChangeOp::kPut, 0xfedcba9876543210u);
  put.nonce = 0xffffffff;
  put.created_s = 10;
  put.seen_s = 30;
  put.attached = 1;
  ASSERT_TRUE(write(*store, put, "ann"));
  for (uint64_t i = 1; i <= 3; ++i) {
    SessionRecord append = record(SessionChangeOp::kAppend, put.session);
    append.sequence = i;
    append.origin = 1000 + i;
    append.message_type = 1001;
    ASSERT_TRUE(write(*store, append, i == 2 ? std::string_view{} : std::string_view("a\0b", 3)));
  }
  SessionRecord progress = record(SessionChangeOp::kProgress, put.session);
  progress.acked = 1;
  progress.received = 9;
  ASSERT_TRUE(write(*store, progress));
  SessionRecord other = record(SessionChangeOp::kPut, 7);
  other.seen_s = 20;
  ASSERT_TRUE(write(*store, other, "bob", 1));
  EXPECT_TRUE(store->put_blocking("name", "value"));
  store.reset();

  store = open();
  ASSERT_NE(store, nullptr) << error_;
  EXPECT_EQ(note_, "");
  const std::vector<StoredSession> all = load(*store);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].player, "bob") << "left longest ago first";
  const StoredSession& ann = all[1];
  EXPECT_EQ(ann.id, put.session);
  EXPECT_EQ(ann.nonce, 0xffffffffu);
  EXPECT_EQ(ann.received, 9u);
  EXPECT_EQ(ann.acked, 1u);
  EXPECT_TRUE(ann.attached);
  ASSERT_EQ(ann.messages.size(), 2u);
  EXPECT_EQ(ann.messages[0].sequence, 2u);
  EXPECT_TRUE(ann.messages[0].payload.empty());
  std::vector<uint64_t> effects;
  ASSERT_TRUE(store->load_effects_blocking(&effects, &error_));
  EXPECT_EQ(effects, (std::vector<uint64_t>{1001, 1002, 1003}));
  EXPECT_EQ(base::as_text(ann.messages[1].payload), std::string_view("a\0b", 3));
  EXPECT_EQ(store->get_blocking("name"), "value");
  EXPECT_EQ(store->get_blocking("none"), "");

  ASSERT_TRUE(write(*store, record(SessionChangeOp::kClear, 0), {}, 1));
  EXPECT_EQ(load(*store).size(), 1u);
  ASSERT_TRUE(write(*store, record(SessionChangeOp::kEnd, put.session)));
  EXPECT_TRUE(load(*store).empty());
}

TEST_F(StoreTest, ADamagedFileIsPutAsideAndSaidSo) {
  {
    auto store = open();
    for (uint64_t i = 1; i < 200; ++i) {
      SessionRecord put = record(SessionChangeOp::kPut, i);
      ASSERT_TRUE(write(*store, put, "player-" + std::to_string(i)));
    }
  }
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    const std::string noise(9000, '\x5a');
    file.write(noise.data(), static_cast<std::streamsize>(noise.size()));
  }
  auto store = open();
  ASSERT_NE(store, nullptr) << error_;
  EXPECT_NE(note_.find("damaged"), std::string::npos);
  EXPECT_NE(note_.find(path_ + ".damaged-1234"), std::string::npos);
  struct stat there{};
  EXPECT_EQ(stat((path_ + ".damaged-1234").c_str(), &there), 0);
  EXPECT_TRUE(load(*store).empty());
  EXPECT_TRUE(write(*store, record(SessionChangeOp::kPut, 1), "ann"));
}

TEST_F(StoreTest, AFileThatIsNoDatabaseIsPutAsideToo) {
  std::ofstream(path_) << std::string(5000, 'x');
  auto store = open();
  ASSERT_NE(store, nullptr) << error_;
  EXPECT_NE(note_.find("damaged"), std::string::npos);
}

TEST_F(StoreTest, OneServerToAFileAndAFolderThatIsThere) {
  auto store = open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(open(), nullptr);
  EXPECT_NE(error_.find("locked"), std::string::npos) << error_;
  path_ = "/nonexistent/sessions.db";
  EXPECT_EQ(open(), nullptr);
  EXPECT_NE(error_, "");
}

// Takes what it is told to take.
class FakeStore final : public SessionStore {
 public:
  bool load_blocking(const std::function<void(StoredSession&&)>&, std::string*) override {
    return true;
  }
  bool write_blocking(std::span<const SessionChange> changes, std::vector<StoreNews>*,
                      std::string* error) override {
    if (broken) {
      *error = "disk full";
      return false;
    }
    for (const SessionChange& c : changes) written.push_back(c.record.number);
    return true;
  }
  bool load_effects_blocking(std::vector<uint64_t>*, std::string*) override { return true; }
  std::string get_blocking(const std::string&) override { return {}; }
  bool put_blocking(const std::string&, const std::string&) override { return !broken; }

  std::atomic<bool> broken{false};
  std::vector<uint64_t> written;  // by the writer; read after stop()
};

TEST(SessionKeeper, SaysWhatIsSafeWhatIsNotAndWhenToBeginAnew) {
  auto owned = std::make_unique<FakeStore>();
  FakeStore& store = *owned;
  metrics::Counters counters;
  std::mutex mutex;
  std::condition_variable woken;
  SessionKeeper keeper(std::move(owned), 2, "here", "mend it", counters, [&] {
    const std::lock_guard lock(mutex);
    woken.notify_all();
  });
  keeper.start();
  const auto change = [&](uint32_t shard, uint64_t number, SessionChangeOp op) {
    SessionRecord r{};
    r.number = number;
    r.op = op;
    keeper.on_record(shard, {reinterpret_cast<const uint8_t*>(&r), sizeof r});
  };
  const auto word = [&](uint32_t shard) {
    mailbox::SessionsStored w{};
    uint32_t to = 99;
    std::unique_lock lock(mutex);
    for (;;) {
      while (keeper.next_word(&to, &w)) {
        if (to == shard) return w;
      }
      woken.wait_for(lock, std::chrono::milliseconds(20));
    }
  };
  change(1, 1, SessionChangeOp::kPut);
  change(1, 2, SessionChangeOp::kPut);
  for (;;) {
    const mailbox::SessionsStored w = word(1);
    EXPECT_EQ(w.failed, 0u);
    if (w.number == 2) break;
  }
  store.broken = true;
  change(1, 3, SessionChangeOp::kPut);
  mailbox::SessionsStored w = word(1);
  EXPECT_EQ(w.failed, 1u);
  EXPECT_EQ(w.number, 2u);
  change(1, 4, SessionChangeOp::kPut);  // passed over
  store.broken = false;
  do {
    w = word(1);
  } while (w.again == 0);
  EXPECT_EQ(w.failed, 0u);
  change(1, 5, SessionChangeOp::kPut);  // was under way: still passed over
  change(1, 6, SessionChangeOp::kClear);
  change(1, 7, SessionChangeOp::kPut);
  do {
    w = word(1);
  } while (w.number < 7);
  keeper.stop();
  EXPECT_EQ(store.written, (std::vector<uint64_t>{1, 2, 6, 7}));
  EXPECT_EQ(counters.get(metrics::Counter::kSessionStoreFailures), 1u);
}

// A store of several gateways that answers every claim with a session and has a letter for it.
class FakeSharedStore final : public SessionStore {
 public:
  bool shared() const override { return true; }
  bool load_blocking(const std::function<void(StoredSession&&)>&, std::string*) override {
    return true;
  }
  bool load_effects_blocking(std::vector<uint64_t>*, std::string*) override { return true; }
  bool write_blocking(std::span<const SessionChange> changes, std::vector<StoreNews>* news,
                      std::string* error) override {
    if (broken) {
      *error = "away";
      return false;
    }
    for (const SessionChange& c : changes) {
      written.push_back(c.record.op);
      if (c.record.op == SessionChangeOp::kForward) forwarded.emplace_back(base::as_text(c.tail));
      if (c.record.op != SessionChangeOp::kClaim) continue;
      StoreNews answer{StoreNews::Kind::kClaim};
      answer.shard = c.shard;
      answer.asked = &c;
      answer.status = mailbox::SessionClaim::kState;
      answer.coming = c.record.coming;
      answer.state = std::make_unique<StoredSession>();
      answer.state->id = 77;
      news->push_back(std::move(answer));
      letters.push_back("ann");
      letters.push_back("bob");
    }
    return true;
  }
  bool settling() const override { return unsettled; }
  bool poll_blocking(std::vector<StoreNews>* news, std::string*) override {
    ++polls;
    for (const std::string& player : letters) {
      StoreNews letter{StoreNews::Kind::kLetter};
      letter.player = player;
      letter.letter = {5, 0, 1000, {1, 2}};
      news->push_back(std::move(letter));
    }
    letters.clear();
    return true;
  }
  std::string get_blocking(const std::string&) override { return {}; }
  bool put_blocking(const std::string&, const std::string&) override { return !broken; }

  std::atomic<bool> broken{false};
  std::atomic<bool> unsettled{false};
  std::atomic<uint32_t> polls{0};
  std::vector<SessionChangeOp> written;  // by the writer; read after stop()
  std::vector<std::string> forwarded;    // likewise
  std::vector<std::string> letters;
};

TEST(SessionKeeper, AnswersClaimsInOrderAndKeepsMessagesForOthersWhileTheStoreIsAway) {
  auto owned = std::make_unique<FakeSharedStore>();
  FakeSharedStore& store = *owned;
  metrics::Counters counters;
  std::mutex mutex;
  std::condition_variable woken;
  SessionKeeper keeper(std::move(owned), 1, "here", "mend it", counters, [&] {
    const std::lock_guard lock(mutex);
    woken.notify_all();
  });
  keeper.start();
  uint64_t number = 0;
  const auto change = [&](SessionChangeOp op, const std::string& tail = {}) {
    SessionRecord r{};
    r.number = ++number;
    r.op = op;
    r.coming = 9;
    r.player_bytes = 3;
    std::vector<uint8_t> bytes(sizeof r + tail.size());
    std::memcpy(bytes.data(), &r, sizeof r);
    std::memcpy(bytes.data() + sizeof r, tail.data(), tail.size());
    keeper.on_record(0, bytes);
  };
  const auto claim = [&] {
    mailbox::SessionOpen open{};
    open.player_bytes = 3;
    change(SessionChangeOp::kClaim,
           std::string(reinterpret_cast<const char*>(&open), sizeof open) + "ann");
  };
  const auto next = [&] {
    std::unique_lock lock(mutex);
    for (;;) {
      if (const SessionKeeper::Post* post = keeper.next_post()) {
        SessionKeeper::Post copy = *post;
        keeper.drop_post();
        return copy;
      }
      woken.wait_for(lock, std::chrono::milliseconds(20));
    }
  };
  claim();
  // Bob's letter may be from one that ann has read an answer to: before her. Hers come behind her.
  SessionKeeper::Post post = next();
  EXPECT_EQ(post.type, mailbox::MessageType::kSessionLetter);
  mailbox::SessionsStored word{};
  uint32_t to = 99;
  EXPECT_FALSE(keeper.next_word(&to, &word)) << "not before what was learnt";
  post = next();
  ASSERT_EQ(post.type, mailbox::MessageType::kSessionClaimed);
  mailbox::SessionClaimed claimed;
  std::memcpy(&claimed, post.bytes.data(), sizeof claimed);
  EXPECT_EQ(claimed.status, mailbox::SessionClaim::kState);
  EXPECT_EQ(claimed.coming, 9u);
  EXPECT_EQ(claimed.state->id, 77u);
  SessionRecord back{};
  back.op = SessionChangeOp::kReturn;
  back.sequence = claimed.claim;
  keeper.on_record(0, {reinterpret_cast<const uint8_t*>(&back), sizeof back});
  post = next();
  EXPECT_EQ(post.type, mailbox::MessageType::kSessionLetter);
  while (!keeper.next_word(&to, &word)) ::poll(nullptr, 0, 5);
  EXPECT_EQ(word.number, 1u);

  store.broken = true;
  change(SessionChangeOp::kForward, "bobhello");
  claim();
  post = next();
  ASSERT_EQ(post.type, mailbox::MessageType::kSessionClaimed);
  std::memcpy(&claimed, post.bytes.data(), sizeof claimed);
  EXPECT_EQ(claimed.status, mailbox::SessionClaim::kDown);
  EXPECT_EQ(post.bytes.size(), sizeof claimed + sizeof(mailbox::SessionOpen) + 3);
  while (!keeper.status().failed) ::poll(nullptr, 0, 5);
  EXPECT_EQ(keeper.status().why, "away");
  change(SessionChangeOp::kForward, "bobagain");
  EXPECT_GT(keeper.status().waiting_bytes, 16u);
  // A store that came back empty: whom these are for is said by another gateway a little later.
  store.unsettled = true;
  store.broken = false;
  while (keeper.status().failed) ::poll(nullptr, 0, 5);
  change(SessionChangeOp::kForward, "bobthird");
  for (const uint32_t before = store.polls; store.polls - before < 3;) ::poll(nullptr, 0, 5);
  EXPECT_GT(keeper.status().waiting_bytes, 24u);
  store.unsettled = false;
  while (keeper.status().waiting_bytes != 0) ::poll(nullptr, 0, 5);
  keeper.stop();
  EXPECT_EQ(store.written,
            (std::vector<SessionChangeOp>{SessionChangeOp::kClaim, SessionChangeOp::kForward,
                                          SessionChangeOp::kForward, SessionChangeOp::kForward}));
  EXPECT_EQ(store.forwarded, (std::vector<std::string>{"bobhello", "bobagain", "bobthird"}));
}

}  // namespace
}  // namespace tidegate::store
