// SPDX-License-Identifier: Apache-2.0
// A connection that breaks at random bytes of the handshake and of the stream, many times over: the
// client always comes back, and what is acknowledged is neither lost nor doubled, in either
// direction. 100 seeds of 100 drops each; TIDEGATE_DROP_SEEDS=1000 runs as many as one has time
// for.
#include <gtest/gtest.h>

#include <cstdlib>

#include "model_server.h"

namespace tidegate::sdk {
namespace {

constexpr int kDrops = 100;

// Empty: all went well.
std::string run(uint64_t seed) {
  Game game(seed);
  base::Prng random(seed * 77 + 1);
  game.net.fragment = true;
  int drops = 0;
  game.net.on_open = [&](Wire& w) {
    if (drops == kDrops) return;
    ++drops;
    // Often in the upgrade and the login, sometimes later; up or down.
    const size_t at = random.below(random.chance(0.5) ? 700 : 4000);
    (random.chance(0.5) ? w.cut_up_at : w.cut_down_at) = at;
    if (random.chance(0.05)) w.refused = true;
  };
  game.create([](auto& c) {
    c.endpoint_count = 2;
    c.backoff_first_ms = 20;
    c.backoff_most_ms = 100;
    c.queue_messages = 4096;
    c.queue_bytes = 1 << 20;
    c.protobuf = 1;
  });
  std::vector<std::string> sent, told;
  // A session that the client never heard of is followed by another one, without what was in it.
  bool resumable = false;
  game.hook = [&](const auto& e) {
    if (e.kind == TIDEGATE_EVENT_STATE && e.state == TIDEGATE_CLIENT_AUTHENTICATING) {
      resumable = true;
    }
    if (e.kind == TIDEGATE_EVENT_MESSAGE && e.sequence != 0) {
      told.emplace_back(static_cast<const char*>(e.payload.data), e.payload.size);
    }
  };
  tidegate_client_connect(game.client);
  std::vector<std::string> server_sent;
  for (int64_t t = 0; t < 600'000 && drops < kDrops; t += 10) {
    if (random.chance(0.2)) {
      const std::string text =
          "c" + std::to_string(sent.size()) + std::string(random.below(100), '.');
      if (game.send(text, TIDEGATE_SEND_ACKNOWLEDGED, static_cast<int32_t>(random.below(11))) <=
          TIDEGATE_CLIENT_QUEUED) {
        sent.push_back(text);
      }
    }
    if (resumable && random.chance(0.2)) {
      server_sent.push_back("s" + std::to_string(server_sent.size()) +
                            std::string(random.below(100), '.'));
      game.server.send_acknowledged(1001, server_sent.back());
    }
    if (!game.step()) return "it was destroyed";
  }
  if (drops < kDrops) return "only " + std::to_string(drops) + " drops in ten minutes";
  if (!game.until(
          [&] {
            return game.in(TIDEGATE_CLIENT_IN_WORLD) &&
                   game.server.delivered.size() >= sent.size() && told.size() >= server_sent.size();
          },
          60'000)) {
    return "it did not come back whole: " + std::to_string(game.server.delivered.size()) + " of " +
           std::to_string(sent.size()) + " arrived, " + std::to_string(told.size()) + " of " +
           std::to_string(server_sent.size()) + " came; " + game.lost_text;
  }
  for (int i = 0; i < 50; ++i) game.step();
  auto delivered = game.server.delivered;
  std::sort(delivered.begin(), delivered.end());
  std::sort(sent.begin(), sent.end());
  if (delivered != sent) return "what the server has differs from what was sent";
  if (told != server_sent) return "what the client was told differs from what the server sent";
  if (game.server.gaps != 0) return "a gap in the client's sequences";
  tidegate_client_stats stats{};
  stats.struct_size = sizeof stats;
  tidegate_client_get_stats(game.client, &stats);
  if (stats.unacknowledged != 0) return "something is kept that was acknowledged";
  return {};
}

TEST(SdkDrops, AlwaysBackNothingLostNothingDoubled) {
  const char* const wanted = std::getenv("TIDEGATE_DROP_SEEDS");
#ifdef __SANITIZE_THREAD__
  constexpr uint64_t kSeeds = 20;  // there is one thread; the others of this program are watched
#else
  constexpr uint64_t kSeeds = 100;
#endif
  const uint64_t seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : kSeeds;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    ASSERT_EQ(run(seed), "") << "seed " << seed;
  }
}

// A server that forgets sessions: nothing is lost, and the order stays; twice may come what was
// acknowledged on a connection that broke, which is why this is for resumed sessions to avoid.
TEST(SdkDrops, WithoutResumeNothingIsLost) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Game game(seed);
    base::Prng random(seed);
    game.server.resumes = false;
    int drops = 0;
    game.net.on_open = [&](Wire& w) {
      if (drops++ < 20) w.cut_up_at = 300 + random.below(2000);
    };
    game.create([](auto& c) {
      c.backoff_first_ms = 20;
      c.backoff_most_ms = 50;
    });
    tidegate_client_connect(game.client);
    std::vector<std::string> sent;
    for (int i = 0; i < 2000; ++i) {
      if (i % 10 == 0 && game.send(std::to_string(i), TIDEGATE_SEND_ACKNOWLEDGED) <= 1) {
        sent.push_back(std::to_string(i));
      }
      game.step();
    }
    ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
    for (int i = 0; i < 50; ++i) game.step();
    const auto& got = game.server.delivered;
    for (const std::string& s : sent) {
      EXPECT_NE(std::find(got.begin(), got.end(), s), got.end()) << "seed " << seed << ": " << s;
    }
    EXPECT_EQ(game.server.gaps, 0u);
  }
}

}  // namespace
}  // namespace tidegate::sdk
