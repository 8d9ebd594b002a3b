// SPDX-License-Identifier: Apache-2.0
// State of the game's own in a running server: what providers write of each entity, and the zone's
// environment, as clients of either encoding get them.
#include <cstring>

#include "live_server.h"

namespace tidegate::embed_test {
namespace {

class State : public LiveServer {};

TEST_F(State, StateProvidersWriteWholesAndChangesByPriority) {
  std::atomic<int> health{100};
  std::atomic<bool> large{false};
  ASSERT_TRUE(server->state_provider({.name = "title",
                                      .priority = 1,
                                      .write = [&](const EntityView& e, StateRequest request,
                                                   uint8_t* out, size_t room) -> size_t {
                                        EXPECT_EQ(request, StateRequest::kWhole);
                                        EXPECT_GE(room, 100u);
                                        if (large) return 100;
                                        const std::string text = "Sir " + std::string(e.id);
                                        std::memcpy(out, text.data(), text.size());
                                        return text.size();
                                      }}));
  ASSERT_TRUE(
      server->state_provider({.name = "health",
                              .priority = 9,
                              .delta = true,
                              .write = [&, told = 100](const EntityView&, StateRequest request,
                                                       uint8_t* out, size_t) mutable -> size_t {
                                if (health < 0) throw 1;
                                const int now = health;
                                const std::string text = request == StateRequest::kWhole
                                                             ? "=" + std::to_string(now)
                                                             : "-" + std::to_string(told - now);
                                told = now;
                                std::memcpy(out, text.data(), text.size());
                                return text.size();
                              }}));
  add(1000, "hurt", [&](Context& c, const Message& m) {
    health = std::stoi(std::string(m.payload.text()));
    return c.mark_state() == SendResult::kOk ? Outcome::kOk : Outcome::kFailed;
  });
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  // Fields: title has number 1, health 2; health stands first.
  const auto expect = [&](const std::string& bytes) {
    EXPECT_TRUE(client.until([&] { return client.customs["ann"] == bytes; }))
        << "last: " << client.customs["ann"];
  };
  expect("\x22\x04=100\x12\x07Sir ann");
  client.send(1000, "70");
  expect("\x2a\x03-30\x12\x07Sir ann");
  client.send(1000, "65");
  expect("\x2a\x02-5\x12\x07Sir ann");
  LiveClient second(server->port(), "bob");  // comes later: the whole
  ASSERT_TRUE(second.enter());
  EXPECT_TRUE(second.until([&] { return second.customs["ann"] == "\x22\x03=65\x12\x07Sir ann"; }));
  EXPECT_EQ(count("tidegate_custom_state_left_out_total"), 0u);
  client.send(1000, "-1");
  expect("\x12\x07Sir ann");
  EXPECT_GE(count("tidegate_hook_failures_total"), 1u);
}

TEST_F(State, StateThatDoesNotFitIsLeftOutByPriority) {
  const auto filled = [](char c, size_t n) {
    return [c, n](const EntityView&, StateRequest, uint8_t* out, size_t) -> size_t {
      std::memset(out, c, std::min(n, kCustomBytesMax));
      return n;
    };
  };
  ASSERT_TRUE(server->state_provider({.name = "low", .priority = 0, .write = filled('l', 10)}));
  ASSERT_TRUE(server->state_provider({.name = "high", .priority = 10, .write = filled('h', 100)}));
  ASSERT_TRUE(server->state_provider({.name = "middle", .priority = 5, .write = filled('m', 30)}));
  ASSERT_TRUE(server->state_provider({.name = "wrong", .write = filled('w', 1000)}));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  const std::string bytes = "\x22\x64" + std::string(100, 'h') + "\x12\x0a" + std::string(10, 'l');
  EXPECT_TRUE(client.until([&] { return client.customs["ann"] == bytes; }))
      << client.customs["ann"];
  EXPECT_GE(count("tidegate_custom_state_left_out_total"), 1u);  // middle
  EXPECT_GE(count("tidegate_hook_failures_total"), 1u);          // wrong
}

TEST_F(State, TheEnvironmentReachesWhoIsThereAndWhoComes) {
  Environment dusk;
  dusk.time_of_day = 18.5F;
  dusk.weather = "fog";
  dusk.properties = {{"moon", "full"}};
  dusk.time_of_day = 25;
  EXPECT_EQ(server->set_environment(dusk).code(), Code::kOutOfRange);
  dusk.time_of_day = 18.5F;
  dusk.weather = "\xff";
  EXPECT_EQ(server->set_environment(dusk).code(), Code::kOutOfRange);
  dusk.weather = std::string(kEnvironmentBytesMax, 'x');
  EXPECT_EQ(server->set_environment(dusk).code(), Code::kOutOfRange);
  dusk.weather = "fog";
  ASSERT_TRUE(server->set_environment(dusk));
  start();
  const auto stop = stop_at_end();
  const std::string encoded =
      std::string("\x0d\x00\x00\x94\x41\x12\x03", 7) + "fog\x1a\x0c\x0a\x04moon\x12\x04" + "full";
  LiveClient early(server->port(), "early");
  LiveClient packed(server->port(), "packed", {}, wire::StateEncoding::kPacked);
  ASSERT_TRUE(early.enter());
  ASSERT_TRUE(packed.enter());
  for (LiveClient* client : {&early, &packed}) {
    ASSERT_TRUE(client->until([&] { return !client->environments.empty(); }));
    EXPECT_EQ(client->environments.back(), encoded);
  }
  ASSERT_TRUE(server->set_environment({.time_of_day = 6, .weather = {}, .properties = {}}));
  const std::string dawn("\x0d\x00\x00\xc0\x40", 5);
  LiveClient late(server->port(), "late");
  ASSERT_TRUE(late.enter());
  for (LiveClient* client : {&early, &packed, &late}) {
    EXPECT_TRUE(client->until(
        [&] { return !client->environments.empty() && client->environments.back() == dawn; }));
  }
  ASSERT_TRUE(server->set_environment({}));
  EXPECT_TRUE(early.until([&] { return early.environments.back().empty(); }));
}

TEST_F(State, ATickHookMaySetTheEnvironmentFromItsFirstTick) {
  WorldHooks hooks;
  Server* self = server.get();
  hooks.tick = [self](World& world) {
    if (world.shard() == 0 && world.tick() == 1) {
      EXPECT_TRUE(self->set_environment({.time_of_day = 12, .weather = {}, .properties = {}}));
    }
  };
  ASSERT_TRUE(server->hooks(std::move(hooks)));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  EXPECT_TRUE(client.until([&] { return !client.environments.empty(); }));
}

}  // namespace
}  // namespace tidegate::embed_test
