// SPDX-License-Identifier: Apache-2.0
#include "session/replay_log.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

#include "base/prng.h"

namespace tidegate::session {
namespace {

using Append = ReplayLogs::Append;

std::string text_of(const LoggedMessage& m) { return std::string(base::as_text(m.payload)); }

TEST(ReplayLog, NumbersKeepsAndLetsGo) {
  ReplayLogs logs({.messages = 10, .bytes = 4096, .pool_bytes = 64 * 1024});
  ReplayLog log;
  EXPECT_EQ(logs.append(log, 1000, base::as_bytes("one")), Append::kOk);
  EXPECT_EQ(logs.append(log, 1001, {}), Append::kOk);
  EXPECT_EQ(log.last(), 2u);
  LoggedMessage m{};
  ASSERT_TRUE(logs.next_unsent(log, &m));
  EXPECT_EQ(m.sequence, 1u);
  EXPECT_EQ(m.type, 1000u);
  EXPECT_EQ(text_of(m), "one");
  logs.advance(log);
  ASSERT_TRUE(logs.next_unsent(log, &m));
  EXPECT_EQ(m.sequence, 2u);
  EXPECT_TRUE(m.payload.empty());
  logs.advance(log);
  EXPECT_FALSE(logs.next_unsent(log, &m));
  EXPECT_EQ(logs.acknowledge(log, 1), 1u);
  EXPECT_EQ(logs.acknowledge(log, 1), 0u);
  logs.rewind(log);
  ASSERT_TRUE(logs.next_unsent(log, &m));
  EXPECT_EQ(m.sequence, 2u);
  logs.advance(log);
  EXPECT_EQ(logs.acknowledge(log, 2), 1u);
  EXPECT_EQ(logs.bytes_in_use(), 0u) << "a session without messages holds no memory";
  EXPECT_EQ(log.last(), 2u);
}

TEST(ReplayLog, RefusesBeyondEachBoundAndChangesNothing) {
  ReplayLogs logs({.messages = 3, .bytes = 1000, .pool_bytes = 8 * 256});
  ReplayLog log;
  const std::vector<uint8_t> big(999, 7);
  EXPECT_EQ(logs.append(log, 1, big), Append::kOk);
  EXPECT_EQ(logs.append(log, 1, {big.data(), 2}), Append::kBytes);
  EXPECT_EQ(logs.append(log, 1, {big.data(), 1}), Append::kOk);
  EXPECT_EQ(logs.append(log, 1, {}), Append::kOk);
  EXPECT_EQ(logs.append(log, 1, {}), Append::kMessages);
  EXPECT_EQ(log.last(), 3u);
  ReplayLog other;  // the pool has 8 blocks, 4 are taken
  EXPECT_EQ(logs.append(other, 1, {big.data(), 900}), Append::kOk);
  ReplayLog third;
  EXPECT_EQ(logs.append(third, 1, {big.data(), 1}), Append::kPool);
  EXPECT_EQ(third.last(), 0u);
  logs.clear(other);
  EXPECT_EQ(other.last(), 1u);
  EXPECT_EQ(logs.append(third, 1, {big.data(), 1}), Append::kOk);
}

// Against a plain queue: any order of calls, several logs in one pool.
TEST(ReplayLog, AgreesWithAQueueForAnyOrderOfCalls) {
  struct Model {
    ReplayLog log;
    std::deque<std::pair<uint32_t, std::string>> kept;
    size_t sent = 0;
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    base::Prng prng(seed);
    const ReplayLimits limits{.messages = 40, .bytes = 6000, .pool_bytes = 24 * 1024};
    ReplayLogs logs(limits);
    std::vector<Model> models(5);
    for (int step = 0; step < 4000; ++step) {
      Model& m = models[prng.below(models.size())];
      const uint64_t what = prng.below(100);
      if (what < 45) {
        std::string payload(prng.below(prng.chance(0.1) ? 1500 : 120), 'x');
        for (char& c : payload) c = static_cast<char>(prng.next());
        const auto type = static_cast<uint32_t>(prng.next());
        const Append done = logs.append(m.log, type, base::as_bytes(payload));
        size_t bytes = payload.size();
        for (const auto& [t, p] : m.kept) bytes += p.size();
        if (m.kept.size() >= limits.messages) {
          ASSERT_EQ(done, Append::kMessages);
        } else if (bytes > limits.bytes) {
          ASSERT_EQ(done, Append::kBytes);
        } else {
          ASSERT_TRUE(done == Append::kOk || done == Append::kPool);
        }
        if (done == Append::kOk) m.kept.emplace_back(type, payload);
      } else if (what < 75) {
        LoggedMessage out{};
        const bool any = logs.next_unsent(m.log, &out);
        ASSERT_EQ(any, m.sent < m.kept.size());
        if (any) {
          ASSERT_EQ(out.sequence, m.log.acked + m.sent + 1);
          ASSERT_EQ(out.type, m.kept[m.sent].first);
          ASSERT_EQ(text_of(out), m.kept[m.sent].second);
          logs.advance(m.log);
          ++m.sent;
        }
      } else if (what < 90) {
        const uint64_t n = prng.below(m.sent + 1);
        ASSERT_EQ(logs.acknowledge(m.log, m.log.acked + n), n);
        m.kept.erase(m.kept.begin(), m.kept.begin() + static_cast<ptrdiff_t>(n));
        m.sent -= n;
      } else if (what < 98) {
        logs.rewind(m.log);
        m.sent = 0;
      } else {
        logs.clear(m.log);
        m.kept.clear();
        m.sent = 0;
      }
      size_t at = 0;
      logs.for_each(m.log, [&](const LoggedMessage& out) {
        EXPECT_EQ(out.sequence, m.log.acked + at + 1);
        EXPECT_EQ(text_of(out), m.kept[at].second);
        ++at;
      });
      ASSERT_EQ(at, m.kept.size());
      ASSERT_EQ(m.log.count, m.kept.size());
      ASSERT_EQ(m.log.sent, m.sent);
    }
    for (Model& m : models) logs.clear(m.log);
    EXPECT_EQ(logs.bytes_in_use(), 0u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tidegate::session
